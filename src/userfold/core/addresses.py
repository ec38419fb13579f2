"""One address of a user, added, changed or taken away: what its list comes to.

The list itself is checked by `fields.py`, as if it had been sent whole: so both ways have the same rules.
"""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.core import identifiers
from userfold.core.commands import AddAddress, AddressEdit, ChangeAddress, ChoosePrimary, RemoveAddress
from userfold.core.errors import AddressNotFound, AddressUnverified, IdentifierLast, IdentifierTaken
from userfold.core.fields import normal
from userfold.core.records import EmailAddress, PhoneNumber, User

Addresses = tuple[EmailAddress, ...] | tuple[PhoneNumber, ...]

# Field → the member of an address that is its value, and the value's normal form.
VALUES = {
    "email_addresses": ("email_address", identifiers.email),
    "phone_numbers": ("phone_number", identifiers.phone),
}


def list_after(edit: AddressEdit, user: User, stored: Addresses) -> list[dict[str, Any]]:
    """The whole new list, as `fields.py` takes it, of a user who has `stored`.

    Raises `AddressNotFound`, `AddressUnverified`, `IdentifierLast`, `IdentifierTaken`, `InputError`.
    """
    entries: list[dict[str, Any]] = [msgspec.structs.asdict(address) for address in stored]
    name, normalise = VALUES[edit.field]
    if isinstance(edit, AddAddress):
        new = {name: normal(normalise, edit.value, f"/{edit.field}"), "verified": edit.verified, "primary": False}
        if edit.alone:
            return [new]
        if any(entry[name] == new[name] for entry in entries):
            raise IdentifierTaken(path=f"/{edit.field}")
        entries.append(new)
        return _led_by(new, entries) if edit.primary else entries
    found = next((entry for entry in entries if entry["id"] == edit.address_id), None)
    if found is None:
        raise AddressNotFound(address_id=edit.address_id)
    if isinstance(edit, RemoveAddress):
        if len(user.email_addresses) + len(user.phone_numbers) == 1 and user.username is None:
            raise IdentifierLast
        return [entry for entry in entries if entry is not found]
    if isinstance(edit, ChoosePrimary):
        if not found["verified"]:
            raise AddressUnverified(path=f"/{edit.field}")
        return _led_by(found, entries)
    return _changed(edit, found, entries)


def _changed(edit: ChangeAddress, found: dict[str, Any], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if edit.verified is not None:
        found["verified"] = edit.verified
    return _led_by(found, entries) if edit.primary else entries


def _led_by(primary: dict[str, Any], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for entry in entries:
        entry["primary"] = entry is primary
    return entries
