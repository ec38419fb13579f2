from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import in_order
from userfold.core.errors import UserIdProtected
from userfold.core.records import FIELDS, Operation, User
from userfold.core.trust import OWNABLE, TABLE, Author, Level, judge, owned_after

LEVELS: tuple[Level, ...] = ("browser", "verified", "backend")

# Every field of a user, and the row of the table that it is judged by.
WRITERS = {
    "id": "system",
    "external_id": "external_id",
    "usercom_id": "system",
    "first_name": "profile",
    "last_name": "profile",
    "name": "profile",
    "username": "backend",
    "email_addresses": "backend",
    "phone_numbers": "backend",
    "contact_email": "contact",
    "contact_phone": "contact",
    "locale": "profile",
    "timezone": "profile",
    "public_metadata": "backend",
    "private_metadata": "backend",
    "unsafe_metadata": "unsafe",
    "traits": "contact",
    "disabled": "backend",
    "locked": "backend",
    "second_factor_policy": "backend",
    "legal_accepted_at": "backend",
    "delete_self_enabled": "backend",
    "create_organization_enabled": "backend",
    "create_organizations_limit": "backend",
    "bypass_client_trust": "backend",
    "segments": "system",
    "image": "system",
    "owned": "system",
    "external_id_aliases": "system",
    "password_enabled": "system",
    "password_compromised": "system",
    "totp_enabled": "system",
    "backup_codes_enabled": "system",
    "second_factor_enabled_at": "system",
    "second_factor_disabled_at": "system",
    "created_at": "system",
    "updated_at": "system",
    "version": "system",
}


def test_every_field_of_a_user_has_its_row() -> None:
    assert {name: field.writer for name, field in FIELDS.items()} == WRITERS
    assert set(User.__struct_fields__) == set(WRITERS)


def test_every_row_says_something_about_every_level() -> None:
    assert set(TABLE) == set(WRITERS.values())
    assert all(tuple(row) == LEVELS for row in TABLE.values())


REFUSED = "the whole command is refused"

# Row, level, whether a backend owns the field → why it is left alone; None: it is written.
CELLS: list[tuple[str, Level, bool, str | None]] = [
    ("contact", "browser", False, None),
    ("contact", "browser", True, None),
    ("contact", "verified", False, None),
    ("contact", "verified", True, None),
    ("contact", "backend", False, None),
    ("contact", "backend", True, None),
    ("profile", "browser", False, None),
    ("profile", "browser", True, "owned_by_backend"),
    ("profile", "verified", False, None),
    ("profile", "verified", True, None),
    ("profile", "backend", False, None),
    ("profile", "backend", True, None),
    ("unsafe", "browser", False, "not_permitted"),
    ("unsafe", "browser", True, "not_permitted"),
    ("unsafe", "verified", False, None),
    ("unsafe", "verified", True, None),
    ("unsafe", "backend", False, None),
    ("unsafe", "backend", True, None),
    ("backend", "browser", False, "not_permitted"),
    ("backend", "browser", True, "not_permitted"),
    ("backend", "verified", False, "not_signed"),
    ("backend", "verified", True, "not_signed"),
    ("backend", "backend", False, None),
    ("backend", "backend", True, None),
    ("external_id", "browser", False, None),
    ("external_id", "browser", True, REFUSED),
    ("external_id", "verified", False, None),
    ("external_id", "verified", True, None),
    ("external_id", "backend", False, None),
    ("external_id", "backend", True, None),
    ("system", "browser", False, "not_permitted"),
    ("system", "browser", True, "not_permitted"),
    ("system", "verified", False, "not_permitted"),
    ("system", "verified", True, "not_permitted"),
    ("system", "backend", False, "not_permitted"),
    ("system", "backend", True, "not_permitted"),
]


def author(level: Level, *signed: str) -> Author:
    return Author(source="native", actor="key_1", trust=level, signed=frozenset(signed))


def verdict(field: str, level: Level, *, owned: bool = False, paths: tuple[str, ...] = (), signed: Any = ()) -> Any:
    user = User(id="user_1", owned=(field,) if owned else ())
    operations = tuple(Operation(op="add", path=path, new=1) for path in paths or (f"/{field}",))
    try:
        return judge(field, user, operations, author(level, *signed))
    except UserIdProtected as refused:
        return (REFUSED, refused.path)


@pytest.mark.parametrize(("row", "level", "owned", "reason"), CELLS)
def test_the_trust_table(row: str, level: Level, owned: bool, reason: str | None) -> None:
    expected = (REFUSED, "/external_id") if reason is REFUSED else reason
    for field in (name for name, writer in WRITERS.items() if writer == row):
        assert verdict(field, level, owned=owned) == expected


def test_the_cells_are_the_whole_table() -> None:
    cells = {(row, level, owned) for row, level, owned, _ in CELLS}
    assert cells == {(row, level, owned) for row in TABLE for level in LEVELS for owned in (False, True)}


def test_a_browser_is_held_up_only_by_the_field_that_a_backend_owns() -> None:
    user = User(id="user_1", owned=("first_name",))
    operation = (Operation(op="replace", path="/name", old=None, new="Ada"),)
    assert judge("name", user, operation, author("browser")) is None


# Pointers that are signed, paths that change, whether the change of /public_metadata is written.
SIGNED: list[tuple[tuple[str, ...], tuple[str, ...], bool]] = [
    ((), ("/public_metadata/plan",), False),
    (("/public_metadata",), ("/public_metadata",), True),
    (("/public_metadata",), ("/public_metadata/plan", "/public_metadata/a/b"), True),
    (("/public_metadata/plan",), ("/public_metadata/plan",), True),
    (("/public_metadata/plan",), ("/public_metadata/plan/name",), True),
    (("/public_metadata/plan",), ("/public_metadata/plans",), False),
    (("/public_metadata/plan",), ("/public_metadata/pla",), False),
    (("/public_metadata/plan",), ("/public_metadata",), False),
    (("/public_metadata/plan",), ("/public_metadata/plan", "/public_metadata/role"), False),
    (("/public_metadata/plan", "/public_metadata/role"), ("/public_metadata/plan", "/public_metadata/role"), True),
    (("/private_metadata",), ("/public_metadata/plan",), False),
    (("/public",), ("/public_metadata/plan",), False),
    (("/public_metadata/a~1b",), ("/public_metadata/a~1b",), True),
    (("/public_metadata/a",), ("/public_metadata/a~1b",), False),
    (("",), ("/public_metadata/plan",), True),
]


@pytest.mark.parametrize(("signed", "paths", "written"), SIGNED, ids=in_order)
def test_a_verified_browser_writes_what_its_token_signs(
    signed: tuple[str, ...], paths: tuple[str, ...], written: bool
) -> None:
    reason = verdict("public_metadata", "verified", paths=paths, signed=signed)
    assert reason == (None if written else "not_signed")


def test_what_a_plain_browser_says_is_signed_counts_for_nothing() -> None:
    assert verdict("public_metadata", "browser", signed=("/public_metadata",)) == "not_permitted"
    assert verdict("version", "verified", signed=("/version",)) == "not_permitted"


def test_ownable_are_the_profile_fields_and_the_external_id() -> None:
    assert {"first_name", "last_name", "name", "locale", "timezone", "external_id"} == OWNABLE


# owned before, fields that change, level → owned after
OWNED: list[tuple[tuple[str, ...], set[str], Level, tuple[str, ...]]] = [
    ((), set(), "backend", ()),
    ((), {"name"}, "backend", ("name",)),
    ((), {"name", "first_name"}, "backend", ("first_name", "name")),
    (("name",), {"external_id"}, "backend", ("external_id", "name")),
    (("name",), {"name"}, "backend", ("name",)),
    ((), {"traits", "username", "disabled", "version"}, "backend", ()),
    (("name",), {"traits"}, "backend", ("name",)),
    ((), {"name"}, "verified", ()),
    (("first_name", "name"), {"name"}, "verified", ("first_name",)),
    (("name",), {"traits"}, "verified", ("name",)),
    (("name",), set(), "verified", ("name",)),
    ((), {"name"}, "browser", ()),
    (("first_name",), {"name"}, "browser", ("first_name",)),
]


@pytest.mark.parametrize(("owned", "changed", "level", "after"), OWNED, ids=in_order)
def test_a_field_is_owned_while_a_backend_set_it_last(
    owned: tuple[str, ...], changed: set[str], level: Level, after: tuple[str, ...]
) -> None:
    assert owned_after(owned, changed, level) == after
