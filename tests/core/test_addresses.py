"""One address of a user, added, changed or taken away."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.core.driver import BACKEND, PROJECT, after, create, names_of, refusal, run, stored, write
from userfold.core.commands import AddAddress, AddressEdit, ChangeAddress, ChoosePrimary, RemoveAddress, UpdateUser
from userfold.core.errors import (
    AddressNotFound,
    AddressUnverified,
    DomainError,
    FieldFormatInvalid,
    FieldInvalid,
    IdentifierLast,
    IdentifierTaken,
)
from userfold.core.records import User

EMAILS: Literal["email_addresses"] = "email_addresses"
PHONES: Literal["phone_numbers"] = "phone_numbers"


class World:
    """A user of two emails, `a` (verified, primary) and `b`, and another user of `c`."""

    def __init__(self, **fields: Any) -> None:
        mine = [{"email_address": "a@x.org", "verified": True}, "b@x.org"]
        self.records = after(create({EMAILS: mine, **fields}), create({EMAILS: ["c@x.org"], PHONES: ["+442079460958"]}))
        users = [record for record in self.records.values() if isinstance(record, User)]
        (self.user_id,) = (user.id for user in users if len(user.email_addresses) == 2)
        self.ids = {a.email_address[0]: a.id for user in users for a in user.email_addresses}

    def command(self, *edits: AddressEdit) -> UpdateUser:
        return UpdateUser(project_id=PROJECT, author=BACKEND, user_id=self.user_id, edits=edits)

    def edit(self, *edits: AddressEdit) -> User:
        write(run(self.command(*edits), self.records), self.records)
        return stored(self.records, self.user_id)

    def refusal(self, *edits: AddressEdit) -> DomainError:
        return refusal(self.command(*edits), self.records)


def told(user: User) -> list[str]:
    """Each email address: its first letter, `+` if it is verified, `!` if it is primary."""
    return [a.email_address[0] + "+" * a.verified + "!" * a.primary for a in user.email_addresses]


def of(ids: dict[str, str], edits: tuple[Any, ...]) -> tuple[AddressEdit, ...]:
    """Edits of emails with the letters of addresses replaced by their ids."""
    return tuple(kind(EMAILS, ids.get(named, named), **more) for kind, named, more in edits)


DONE: list[tuple[tuple[Any, ...], list[str]]] = [
    (((AddAddress, "D@x.org", {}),), ["a+!", "b", "d"]),
    (((AddAddress, "d@x.org", {"verified": True}),), ["a+!", "b", "d+"]),
    (((AddAddress, "d@x.org", {"primary": True}),), ["a+", "b", "d!"]),
    (((AddAddress, "d@x.org", {"alone": True, "verified": True}),), ["d+!"]),
    (((AddAddress, "b@x.org", {"alone": True}),), ["b!"]),
    (((ChangeAddress, "b", {"verified": True}),), ["a+!", "b+"]),
    (((ChangeAddress, "b", {"primary": True}),), ["a+", "b!"]),
    (((ChangeAddress, "b", {}),), ["a+!", "b"]),
    (((ChangeAddress, "a", {"verified": False, "primary": False}),), ["a!", "b"]),
    (((ChangeAddress, "b", {"verified": True}), (ChoosePrimary, "b", {})), ["a+", "b+!"]),
    (((ChoosePrimary, "a", {}),), ["a+!", "b"]),
    (((RemoveAddress, "b", {}),), ["a+!"]),
    (((RemoveAddress, "a", {}),), ["b!"]),
]


@pytest.mark.parametrize(("edits", "left"), DONE, ids=repr)
def test_one_address_is_edited_and_the_others_stay_as_they_are(edits: tuple[Any, ...], left: list[str]) -> None:
    world = World()
    user = world.edit(*of(world.ids, edits))
    assert told(user) == left
    kept = {a.email_address[0]: a.id for a in user.email_addresses if a.email_address[0] in world.ids}
    assert kept == {letter: world.ids[letter] for letter in kept}
    assert {name for name in names_of(world.records, user.id) if name.startswith("email|")} == {
        f"email|{address.email_address}" for address in user.email_addresses
    }


REFUSED: list[tuple[tuple[Any, ...], type[DomainError], str | None]] = [
    (((AddAddress, "B@x.org", {}),), IdentifierTaken, "/email_addresses"),
    (((AddAddress, "c@x.org", {}),), IdentifierTaken, "/email_addresses/2"),
    (((AddAddress, "c@x.org", {"alone": True}),), IdentifierTaken, "/email_addresses/0"),
    (((AddAddress, "nothing", {}),), FieldFormatInvalid, "/email_addresses"),
    (((ChangeAddress, "c", {"verified": True}),), AddressNotFound, None),
    (((RemoveAddress, "idn_x", {}),), AddressNotFound, None),
    (((ChoosePrimary, "c", {}),), AddressNotFound, None),
    (((ChoosePrimary, "b", {}),), AddressUnverified, "/email_addresses"),
    (((RemoveAddress, "a", {}), (RemoveAddress, "b", {})), IdentifierLast, None),
]


@pytest.mark.parametrize(("edits", "kind", "path"), REFUSED, ids=repr)
def test_an_edit_of_one_address_is_refused_and_says_why(
    edits: tuple[Any, ...], kind: type[DomainError], path: str | None
) -> None:
    world = World()
    refused = world.refusal(*of(world.ids, edits))
    assert (type(refused), refused.path) == (kind, path)


@pytest.mark.parametrize("other", [{"username": "ada"}, {PHONES: ["+442079460001"]}])
def test_the_last_address_can_go_if_another_name_is_left(other: dict[str, Any]) -> None:
    world = World(**other)
    assert told(world.edit(*of(world.ids, ((RemoveAddress, "a", {}), (RemoveAddress, "b", {}))))) == []


def test_an_external_id_is_no_name_to_sign_in_by() -> None:
    world = World(external_id="ext-1")
    edits = of(world.ids, ((RemoveAddress, "a", {}), (RemoveAddress, "b", {})))
    assert type(world.refusal(*edits)) is IdentifierLast


def test_the_first_phone_number_becomes_primary_and_is_e164() -> None:
    user = World().edit(AddAddress(PHONES, "+44 20 7946 0001"))
    assert [(n.phone_number, n.primary, n.verified) for n in user.phone_numbers] == [("+442079460001", True, False)]


def test_an_address_of_the_other_kind_is_not_found() -> None:
    world = World()
    assert type(world.refusal(ChangeAddress(PHONES, world.ids["a"], verified=True))) is AddressNotFound


def test_there_are_at_most_a_hundred() -> None:
    world = World()
    edits = [AddAddress(EMAILS, f"d{number}@x.org") for number in range(99)]
    assert len(world.edit(*edits[:98]).email_addresses) == 100
    assert isinstance(world.refusal(edits[98]), FieldInvalid)
