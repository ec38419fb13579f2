"""Operations: what can be done to a document beyond merging it. RFC 6902's six, and ours.

    add remove replace move copy test                                     RFC 6902, exactly
    set unset set_once merge increment min max append union pull          ours

Ours never fail because something is absent: `set` makes the objects on the way, `unset` of nothing is nothing,
`increment` counts from 0, a list that is not there is empty. All or nothing: one that fails refuses them all.

Pure functions: a document is copied along the path that changes and shared everywhere else.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from userfold.core.errors import (
    NumberInvalid,
    OperationInvalid,
    OperationUnknown,
    PathNotFound,
    TestFailed,
)
from userfold.core.jsontext import TEXT_LEVELS_MAX, levels, same_value, size
from userfold.core.merge import merge_patch

# `copy` can double a document with thirty bytes; this bounds what all copies of one request may add.
COPIED_BYTES_MAX = 1 << 20
# No bag is nested deeper, so a longer pointer can only fail later and at a higher price.
POINTER_PARTS_MAX = 64
OPERATIONS_MAX = 1_000
DIGITS_MAX = 4_300

_ABSENT: Final = object()
_DECIMALS = decimal.Context(prec=5_000, Emax=10_000, Emin=-10_000)

Pointer = tuple[str, ...]
Change = Callable[[Any], Any]


def operate(document: Any, operations: Any, allowed: Sequence[str]) -> Any:
    """`document` after a list of operations, of which those named in `allowed` are known.

    Raises an `InputError`, or `TestFailed`.
    """
    if not isinstance(operations, list) or len(operations) > OPERATIONS_MAX:
        raise OperationInvalid(path="", reason=f"a list of up to {OPERATIONS_MAX} operations is needed")
    copied = 0
    for index, operation in enumerate(operations):
        place = f"/{index}"
        if not isinstance(operation, dict):
            raise OperationInvalid(path=place, reason="an object is needed")
        name = operation.get("op")
        if not isinstance(name, str) or name not in allowed:
            raise OperationUnknown(path=f"{place}/op", known=", ".join(allowed))
        if name == "copy":
            copied += size(_get(document, _pointer(operation, "from", place)))
            if copied > COPIED_BYTES_MAX:
                raise OperationInvalid(path=place, reason=f"all copies may add up to {COPIED_BYTES_MAX} bytes")
        document = OPERATIONS[name](document, operation, place)
        if name in ("copy", "move") and levels(document) > TEXT_LEVELS_MAX:
            raise OperationInvalid(path=place, reason=f"the user would nest more than {TEXT_LEVELS_MAX} levels deep")
    return document


def _add(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _put(document, _pointer(operation, "path", place), _member(operation, "value", place))


def _remove(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _take_out(document, _pointer(operation, "path", place))


def _replace(document: Any, operation: dict[str, Any], place: str) -> Any:
    value = _member(operation, "value", place)
    pointer = _pointer(operation, "path", place)
    _get(document, pointer)
    return _change(document, pointer, lambda _: value)


def _move(document: Any, operation: dict[str, Any], place: str) -> Any:
    source, target = _pointer(operation, "from", place), _pointer(operation, "path", place)
    value = _get(document, source)
    if target[: len(source)] == source:
        if target == source:
            return document
        raise OperationInvalid(path=place, reason="a value cannot be moved into itself")
    return _put(_take_out(document, source), target, value)


def _copy(document: Any, operation: dict[str, Any], place: str) -> Any:
    value = _get(document, _pointer(operation, "from", place))
    return _put(document, _pointer(operation, "path", place), value)


def _test(document: Any, operation: dict[str, Any], place: str) -> Any:
    expected = _member(operation, "value", place)
    pointer = _pointer(operation, "path", place)
    current = _get(document, pointer)
    if not same_value(current, expected):
        raise TestFailed(path=operation["path"], current=current)
    return document


def _set(document: Any, operation: dict[str, Any], place: str) -> Any:
    value = _member(operation, "value", place)
    return _change(document, _pointer(operation, "path", place), lambda _: value, make_parents=True)


def _unset(document: Any, operation: dict[str, Any], place: str) -> Any:
    pointer = _pointer(operation, "path", place)
    try:
        return _take_out(document, pointer)
    except PathNotFound:
        return document


def _set_once(document: Any, operation: dict[str, Any], place: str) -> Any:
    value = _member(operation, "value", place)
    pointer = _pointer(operation, "path", place)
    # A field of a user that has no value is null, and counts as not set.
    return _change(document, pointer, lambda old: value if old in (_ABSENT, None) else old, make_parents=True)


def _merge(document: Any, operation: dict[str, Any], place: str) -> Any:
    patch = _member(operation, "value", place)
    pointer = _pointer(operation, "path", place)
    return _change(document, pointer, lambda old: merge_patch(_or(old, {}), patch), make_parents=True)


def _increment(document: Any, operation: dict[str, Any], place: str) -> Any:
    by = _number(operation.get("by", 1), f"{place}/by")
    path = operation.get("path", "")
    pointer = _pointer(operation, "path", place)
    return _change(document, pointer, lambda old: _sum(_number(_or(old, 0), path), by, path), make_parents=True)


def _min(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _extreme(document, operation, place, min)


def _max(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _extreme(document, operation, place, max)


def _extreme(document: Any, operation: dict[str, Any], place: str, choose: Callable[[Any, Any], Any]) -> Any:
    value = _number(_member(operation, "value", place), f"{place}/value")
    path = operation.get("path", "")

    def change(old: Any) -> Any:
        # The stored one first: equal numbers keep the text that is stored.
        return choose(_number(_or(old, value), path), value)

    return _change(document, _pointer(operation, "path", place), change, make_parents=True)


def _append(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _change_list(document, operation, place, lambda old, given: [*old, *given])


def _union(document: Any, operation: dict[str, Any], place: str) -> Any:
    def change(old: list[Any], given: list[Any]) -> list[Any]:
        joined = list(old)
        for value in given:
            if not _holds(joined, value):
                joined.append(value)
        return joined

    return _change_list(document, operation, place, change)


def _pull(document: Any, operation: dict[str, Any], place: str) -> Any:
    return _change_list(document, operation, place, lambda old, given: [v for v in old if not _holds(given, v)])


OPERATIONS: dict[str, Callable[[Any, dict[str, Any], str], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
    "set": _set,
    "unset": _unset,
    "set_once": _set_once,
    "merge": _merge,
    "increment": _increment,
    "min": _min,
    "max": _max,
    "append": _append,
    "union": _union,
    "pull": _pull,
}
JSON_PATCH = ("add", "remove", "replace", "move", "copy", "test")


def _change_list(
    document: Any, operation: dict[str, Any], place: str, change: Callable[[list[Any], list[Any]], list[Any]]
) -> Any:
    if ("value" in operation) == ("values" in operation):
        raise OperationInvalid(path=place, reason="either value or values is needed")
    given = [operation["value"]] if "value" in operation else operation["values"]
    if not isinstance(given, list):
        raise OperationInvalid(path=f"{place}/values", reason="a list is needed")

    def change_value(old: Any) -> Any:
        stored = _or(old, [])
        if not isinstance(stored, list):
            raise OperationInvalid(path=place, reason=f"there is no list at {operation['path']}")
        return change(stored, given)

    return _change(document, _pointer(operation, "path", place), change_value, make_parents=True)


def _pointer(operation: dict[str, Any], member: str, place: str) -> Pointer:
    """The parts of a JSON Pointer (RFC 6901)."""
    text = _member(operation, member, place)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise OperationInvalid(path=f"{place}/{member}", reason="a JSON Pointer is needed, such as /traits/plan")
    parts = text.split("/")[1:]
    if len(parts) > POINTER_PARTS_MAX:
        raise OperationInvalid(path=f"{place}/{member}", reason=f"at most {POINTER_PARTS_MAX} parts are allowed")
    if any("~" in part.replace("~0", "").replace("~1", "") for part in parts):
        raise OperationInvalid(path=f"{place}/{member}", reason="~ must be written ~0")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _member(operation: dict[str, Any], name: str, place: str) -> Any:
    if name not in operation:
        raise OperationInvalid(path=place, reason=f"{name} is missing")
    return operation[name]


def _get(value: Any, pointer: Pointer) -> Any:
    for depth, part in enumerate(pointer):
        value = _child(value, part, pointer[: depth + 1])
        if value is _ABSENT:
            raise PathNotFound(path=_text(pointer[: depth + 1]))
    return value


def _child(value: Any, part: str, at: Pointer) -> Any:
    """The member or item `part`, or `_ABSENT`. Raises `PathNotFound` where there can be none."""
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list):
        index = _index(part, at)
        return value[index] if index < len(value) else _ABSENT
    raise PathNotFound(path=_text(at))


def _change(value: Any, pointer: Pointer, change: Change, *, make_parents: bool = False, at: int = 0) -> Any:
    """`value` with what is at `pointer` changed; what `change` is given may be `_ABSENT`."""
    if at == len(pointer):
        return change(value)
    part = pointer[at]
    child = _child(value, part, pointer[: at + 1])
    last = at + 1 == len(pointer)
    if child is _ABSENT:
        if isinstance(value, list) or not (last or make_parents):
            raise PathNotFound(path=_text(pointer[: at + 1]))
        child = _ABSENT if last else {}
    elif child is None and make_parents and not last:
        child = {}
    changed = _change(child, pointer, change, make_parents=make_parents, at=at + 1)
    return _with(value, part, changed)


def _with(value: Any, part: str, child: Any) -> Any:
    if isinstance(value, dict):
        return {**value, part: child}
    index = int(part)
    return [*value[:index], child, *value[index + 1 :]]


def _put(document: Any, pointer: Pointer, value: Any) -> Any:
    """RFC 6902 `add`: sets a member, inserts an item."""
    if not pointer:
        return value
    part = pointer[-1]

    def insert(parent: Any) -> Any:
        if isinstance(parent, dict):
            return {**parent, part: value}
        if not isinstance(parent, list):
            raise PathNotFound(path=_text(pointer))
        index = len(parent) if part == "-" else _index(part, pointer)
        if index > len(parent):
            raise PathNotFound(path=_text(pointer))
        return [*parent[:index], value, *parent[index:]]

    _get(document, pointer[:-1])
    return _change(document, pointer[:-1], insert)


def _take_out(document: Any, pointer: Pointer) -> Any:
    _get(document, pointer)
    if not pointer:
        return {}  # a document is an object: taking all of it out leaves an empty one

    def remove(parent: Any) -> Any:
        if isinstance(parent, dict):
            return {name: value for name, value in parent.items() if name != pointer[-1]}
        index = int(pointer[-1])
        return [*parent[:index], *parent[index + 1 :]]

    return _change(document, pointer[:-1], remove)


def _index(part: str, at: Pointer) -> int:
    """An index into a list (RFC 6901, 4): no sign, no leading zero."""
    if not (part.isascii() and part.isdecimal() and (part == "0" or part[0] != "0") and len(part) <= 9):
        raise PathNotFound(path=_text(at))
    return int(part)


def _text(pointer: Pointer) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in pointer)


def _or(value: Any, default: Any) -> Any:
    """`value`, or `default` where there is none. A field of a user that has no value is null."""
    return default if value is _ABSENT or value is None else value


def _holds(values: Sequence[Any], value: Any) -> bool:
    return any(same_value(value, other) for other in values)


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NumberInvalid(path=path, reason="a number is needed")
    return value


def _sum(one: int | float, other: int | float, path: str) -> int | float:
    """Integers exactly; with a decimal, by decimal arithmetic, so that 0.1 + 0.2 is 0.3."""
    if isinstance(one, int) and isinstance(other, int):
        total = one + other
        if not -(10 ** (DIGITS_MAX - 1)) < total < 10**DIGITS_MAX:  # the sign is a character too
            raise NumberInvalid(path=path, reason=f"the result would have more than {DIGITS_MAX} digits")
        return total
    result = float(_DECIMALS.add(decimal.Decimal(repr(one)), decimal.Decimal(repr(other))))
    if not math.isfinite(result):
        raise NumberInvalid(path=path, reason="the result would not be finite")
    return result
