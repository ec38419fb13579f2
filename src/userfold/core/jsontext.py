"""JSON text in and out: strict when reading, one normal form when writing.

The normal form is what every store keeps: UTF-8, no blanks, keys in the order they were given, integers of up to
4,300 digits exact, decimals as the shortest text of their IEEE double.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any, NoReturn

import msgspec

from userfold.core.errors import JsonDuplicateKey, JsonInvalid, JsonTooDeep

# Deeper than any bag may be (`records.BAG_LEVELS_MAX`), and shallow enough that no recursion below can overflow.
TEXT_LEVELS_MAX = 100

encode = msgspec.json.Encoder().encode
# One text for equal data, whatever the order of the keys: `same_text` of two large values, at a fraction of its price.
encode_sorted = msgspec.json.Encoder(order="sorted").encode

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
# Smaller numbers hash to (nearly) as many different hashes (`sys.hash_info.modulus`).
_HASH_MODULUS = (1 << 61) - 1
# A decimal that is a whole number has one or `.0`: 1.0, 1e300. What looks like it in a string does no harm.
_EXPONENT = re.compile(rb"e[-+]?\d")


def decode(text: bytes) -> Any:
    """The value of strict JSON text (RFC 8259, RFC 7493).

    Raises `JsonInvalid` for anything else: NaN, `1e400`, a lone surrogate, a byte order mark, trailing text;
    `JsonDuplicateKey` for an object with the same key twice; `JsonTooDeep` past `TEXT_LEVELS_MAX` levels.
    """
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise JsonTooDeep(levels_max=TEXT_LEVELS_MAX) from None
    except UnicodeDecodeError:
        raise JsonInvalid(reason="it is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise JsonInvalid(reason=str(error)) from None
    if isinstance(value, dict | list) and _keys_in_value(value, TEXT_LEVELS_MAX) != _keys_in_text(text):
        _raise_duplicate_key(text)
    return value


def size(value: Any) -> int:
    """Bytes of `value` in the normal form."""
    return len(encode(value))


def levels(value: Any) -> int:
    """How many objects and lists lie inside each other: 0 for a scalar, 1 for `{}`, 2 for `{"a": []}`."""
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(levels, value), default=0)
    return 0


def same_text(one: Any, other: Any) -> bool:
    """Whether two values are the same data: `1`, `1.0` and `true` differ, the order of an object's keys does not."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_text(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_text, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)  # 0.0 == -0.0, but they are stored as different text
    return bool(one == other)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are equal as RFC 6902's `test` sees it: numbers numerically, and no boolean is a number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


def token(value: Any) -> Hashable:
    """Something hashable: the tokens of two values are equal exactly if the values are, as `same_value` sees it.

    Python hashes integers by their remainder, so whoever sends them could make thousands that share one hash. All but
    small ones are therefore hashed as text, whose hashes are different in every process.
    """
    if value is None or isinstance(value, str):
        return value
    kind = type(value)  # a boolean's is another
    if kind is int or kind is float:
        return value if -_HASH_MODULUS < value < _HASH_MODULUS else hex(int(value)).encode()
    text = _encode_sorted(value)
    if b".0" in text or _EXPONENT.search(text):
        text = _encode_sorted(_WHOLE_AS_INTEGERS.decode(text.decode()))
    return text


def _integer_if_whole(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


_WHOLE_AS_INTEGERS = json.JSONDecoder(parse_float=_integer_if_whole)


def _keys_in_value(value: Any, levels_left: int) -> int:
    if levels_left == 0:
        raise JsonTooDeep(levels_max=TEXT_LEVELS_MAX)
    count = 0
    if type(value) is dict:
        count = len(value)
        value = value.values()
    for item in value:
        if type(item) is dict or type(item) is list:
            count += _keys_in_value(item, levels_left - 1)
    return count


def _keys_in_text(text: bytes) -> int:
    """Colons outside of strings, in text that is known to be valid JSON: one for every key that was written.

    msgspec keeps the last of two equal keys in silence; counting finds that at a tenth of the price of a second parser.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(text.split(b'"')[::2]).count(b":")


def _raise_duplicate_key(text: bytes) -> NoReturn:
    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonDuplicateKey(key=key[:64])
            seen.add(key)
        return {}

    try:
        json.loads(text, object_pairs_hook=refuse_duplicates, parse_int=float)
    except RecursionError:
        raise JsonTooDeep(levels_max=TEXT_LEVELS_MAX) from None
    raise AssertionError("the number of keys differs, yet no object has the same key twice")
