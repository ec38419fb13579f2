"""What each kind of field accepts: the value in its normal form, or a refusal that names the path and the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from userfold.core import identifiers
from userfold.core.diff import escape
from userfold.core.errors import (
    BagTooDeep,
    BagTooLarge,
    FieldFormatInvalid,
    FieldInvalid,
    FieldReadOnly,
    FieldUnknown,
)
from userfold.core.ids import Mint
from userfold.core.jsontext import encode, levels, same_text
from userfold.core.records import (
    BAG_BYTES_MAX,
    BAG_LEVELS_MAX,
    Bag,
    EmailAddress,
    Field,
    PhoneNumber,
)

ADDRESSES_MAX = 100  # of one kind, of one user
DESCRIPTION_LENGTH_MAX = 1_024
TIME_MS_MAX = (1 << 53) - 1
COUNT_MAX = (1 << 31) - 1

Address = TypeVar("Address", EmailAddress, PhoneNumber)

# (given, stored, path, field, mint) → the value to store
Check = Callable[[Any, Any, str, Field, Mint], Any]


def check(field: Field, given: Any, stored: Any, path: str, mint: Mint) -> Any:
    """The value to store at `path`, where `stored` stands now. Raises an `InputError`."""
    return CHECKS[field.kind](given, stored, path, field, mint)


def check_bag(bag: Bag, path: str) -> None:
    """Refuse a bag that has grown past its limits. They hold for what would be stored, not for what was sent."""
    text = encode(bag)
    if len(text) > BAG_BYTES_MAX:
        raise BagTooLarge(path=path, size=len(text), size_max=BAG_BYTES_MAX)
    # Fewer brackets than levels allowed: it cannot be too deep, and nobody has to walk it.
    if text.count(b"{") + text.count(b"[") > BAG_LEVELS_MAX:
        depth = levels(bag)
        if depth > BAG_LEVELS_MAX:
            raise BagTooDeep(path=path, levels=depth, levels_max=BAG_LEVELS_MAX)


def description(given: Any, path: str) -> str | None:
    """A text for people about something, or None."""
    if given is not None and not isinstance(given, str):
        raise FieldInvalid(path=path, reason="a string or null is needed")
    if given is not None and len(given) > DESCRIPTION_LENGTH_MAX:
        raise FieldFormatInvalid(path=path, reason=f"at most {DESCRIPTION_LENGTH_MAX} characters are allowed")
    return given


def time_ms(given: Any, path: str) -> int:
    """A moment, in ms since the epoch."""
    if not (type(given) is int and 0 <= given <= TIME_MS_MAX):
        raise FieldInvalid(path=path, reason="milliseconds since the epoch are needed")
    return given


def count(given: Any, path: str) -> int:
    """How many there are, or may be."""
    if not (type(given) is int and 0 <= given <= COUNT_MAX):
        raise FieldInvalid(path=path, reason=f"an integer from 0 to {COUNT_MAX} is needed")
    return given


def normal(normalise: Callable[[str], str], given: Any, path: str) -> str:
    """`given` through one of the functions of `identifiers`, its `ValueError` turned into a refusal."""
    if not isinstance(given, str):
        raise FieldInvalid(path=path, reason="a string is needed")
    try:
        return normalise(given)
    except ValueError as error:
        raise FieldFormatInvalid(path=path, reason=str(error)) from None


def _text(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> str | None:
    return None if given is None else normal(identifiers.bounded, given, path)


def _external_id(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> str | None:
    return None if given is None else normal(identifiers.external_id, given, path)


def _username(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> str | None:
    if given is None:
        return None
    normal(identifiers.username, given, path)
    return normal(identifiers.bounded, given, path)


def _contact_email(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> str | None:
    """A contact address is a claim, not an identifier: one that is no valid address is kept as it was typed."""
    text = _text(given, stored, path, field, mint)
    try:
        return text and identifiers.email(text)
    except ValueError:
        return text


def _flag(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> bool:
    if given is None:
        return False
    if not isinstance(given, bool):
        raise FieldInvalid(path=path, reason="true or false is needed")
    return given


def _permission(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> bool:
    """A flag that is set unless somebody takes it away."""
    return True if given is None else _flag(given, stored, path, field, mint)


def _time(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> int | None:
    return None if given is None else time_ms(_integer(given), path)


def _count(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> int | None:
    return None if given is None else count(_integer(given), path)


def _integer(given: Any) -> Any:
    """A number without a fraction is an integer however it is written (JSON Schema 2020-12, 6.1.1)."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _choice(given: Any, stored: Any, path: str, field: Field, mint: Mint) -> str:
    if given is None:
        return field.choices[0]
    if given not in field.choices:
        raise FieldInvalid(path=path, reason=f"one of {', '.join(field.choices)} is needed")
    return str(given)


def _email_addresses(
    given: Any, stored: tuple[EmailAddress, ...], path: str, field: Field, mint: Mint
) -> tuple[EmailAddress, ...]:
    return _addresses(EmailAddress, "email_address", identifiers.email, given, stored, path, mint)


def _phone_numbers(
    given: Any, stored: tuple[PhoneNumber, ...], path: str, field: Field, mint: Mint
) -> tuple[PhoneNumber, ...]:
    return _addresses(PhoneNumber, "phone_number", identifiers.phone, given, stored, path, mint)


CHECKS: dict[str, Check] = {
    "text": _text,
    "external_id": _external_id,
    "username": _username,
    "contact_email": _contact_email,
    "flag": _flag,
    "permission": _permission,
    "time": _time,
    "count": _count,
    "choice": _choice,
    "email_addresses": _email_addresses,
    "phone_numbers": _phone_numbers,
}


def _addresses(
    kind: type[Address],
    value_name: str,
    normalise: Callable[[str], str],
    given: Any,
    stored: tuple[Address, ...],
    path: str,
    mint: Mint,
) -> tuple[Address, ...]:
    """The whole new list: texts, or objects as the API shows them. An address that stays keeps its id and its flags.

    One is primary: the one that says so, else the one that was, else the first.
    """
    if given is None:
        return ()
    if not isinstance(given, list):
        raise FieldInvalid(path=path, reason="a list is needed")
    if len(given) > ADDRESSES_MAX:
        raise FieldInvalid(path=path, reason=f"at most {ADDRESSES_MAX} are allowed")
    known = {getattr(address, value_name): address for address in stored}
    entries: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(given):
        entry = _entry(kind, value_name, item, f"{path}/{index}")
        value = normal(normalise, entry.get(value_name), f"{path}/{index}/{value_name}")
        if value in entries:
            raise FieldInvalid(path=f"{path}/{index}", reason="it stands in the list twice")
        entries[value] = entry
    primary = _primary(entries, known, path)
    for index, (value, entry) in enumerate(entries.items()):
        _refuse_what_is_kept(entry, known.get(value), f"{path}/{index}")
    return tuple(
        _address(kind, value_name, value, entry, known.get(value), value == primary, mint)
        for value, entry in entries.items()
    )


def _entry(kind: type[Address], value_name: str, item: Any, path: str) -> dict[str, Any]:
    entry = {value_name: item} if isinstance(item, str) else item
    if not isinstance(entry, dict):
        raise FieldInvalid(path=path, reason=f"a string or an object with {value_name} is needed")
    for name in entry:
        if name not in kind.__struct_fields__:
            raise FieldUnknown(path=f"{path}/{escape(name[:255])}")
    for name in ("verified", "primary"):
        if not isinstance(entry.get(name, False), bool):
            raise FieldInvalid(path=f"{path}/{name}", reason="true or false is needed")
    return entry


def _refuse_what_is_kept(entry: dict[str, Any], known: Address | None, path: str) -> None:
    """An address that was read and is sent back carries its id and times; they must be as they were."""
    for name in ("id", "created_at", "updated_at"):
        if name in entry and not same_text(entry[name], getattr(known, name, None)):
            raise FieldReadOnly(path=f"{path}/{name}")


def _primary(entries: dict[str, dict[str, Any]], known: dict[str, Address], path: str) -> str | None:
    claimed: list[str] = [value for value, entry in entries.items() if entry.get("primary")]
    if len(claimed) > 1:
        raise FieldInvalid(path=path, reason="only one can be primary")
    was: list[str] = [value for value in entries if value in known and known[value].primary]
    ranked = [*claimed, *was, *entries]
    return ranked[0] if ranked else None


def _address(
    kind: type[Address],
    value_name: str,
    value: str,
    entry: dict[str, Any],
    known: Address | None,
    primary: bool,
    mint: Mint,
) -> Address:
    if known is None:
        fields: dict[str, Any] = {"id": mint.id("idn_"), value_name: value, "primary": primary}
        fields |= {"verified": entry.get("verified", False), "created_at": mint.now, "updated_at": mint.now}
        return kind(**fields)
    changed = {"verified": entry.get("verified", known.verified), "primary": primary}
    if changed == {"verified": known.verified, "primary": known.primary}:
        return known
    return msgspec.structs.replace(known, **changed, updated_at=mint.after(known.updated_at))
