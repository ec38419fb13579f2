"""The order of checks is part of the contract: a command with several faults is refused for the first of them.

The record exists → its version matches → (it is not disabled) → every field is known and well formed → the author may
write it → limits → identifiers are free.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    PROJECT,
    Database,
    after,
    create,
    delete,
    look,
    refusal,
    session,
    trust,
    update,
    upsert,
)
from userfold.core.commands import Command, RevokeKey, StartSession
from userfold.core.trust import Author

HUGE = {"a": "x" * 70_000}
DEEP: Any = {}
for _ in range(40):
    DEEP = {"a": DEEP}

# Users, each with one thing that can go wrong, and the sessions `ses_open`, `ses_ended` and `ses_b`.
WORLD = (
    create({"external_id": "a"}, user_id="user_a"),
    create({"external_id": "off", "disabled": True}, user_id="user_off"),
    create({"external_id": "b", "username": "bob", "email_addresses": ["b@b.c"]}, user_id="user_b"),
    create({"external_id": "w"}, BROWSER, user_id="user_w"),
    create({"external_id": "gone"}, user_id="user_gone"),
    delete("user_gone"),
)


@pytest.fixture
def records() -> Database:
    records = after(*WORLD)
    session(records, id="ses_open")
    session(records, id="ses_ended", status="ended")
    session(records, id="ses_b", user_id="user_b")
    return records


UNKNOWN, BAD_FLAG, BAD_EMAIL, READ_ONLY = {"nick": 1}, {"disabled": 1}, {"email_addresses": ["x"]}, {"version": 9}

ORDER: list[tuple[str, Command, str]] = [
    # Update
    ("missing before version and fields", update("user_z", UNKNOWN, if_match=(9,)), "user_not_found"),
    ("version before disabled", update("user_off", UNKNOWN, BROWSER, if_match=(9,)), "version_mismatch"),
    ("version before fields", update("user_a", UNKNOWN, if_match=(9,)), "version_mismatch"),
    ("disabled before fields", update("user_off", UNKNOWN, BROWSER), "user_disabled"),
    ("fields in the order given: unknown", update("user_a", {**UNKNOWN, **BAD_FLAG, **READ_ONLY}), "field_unknown"),
    ("fields in the order given: invalid", update("user_a", {**BAD_FLAG, **READ_ONLY, **UNKNOWN}), "field_invalid"),
    ("fields in the order given: read only", update("user_a", {**READ_ONLY, **UNKNOWN}), "field_read_only"),
    ("fields in the order given: form", update("user_a", {**BAD_EMAIL, **UNKNOWN}), "field_format_invalid"),
    ("known before permitted", update("user_a", {"external_id": "n", **UNKNOWN}, BROWSER), "field_unknown"),
    ("well formed before permitted", update("user_a", {"external_id": "n", **BAD_FLAG}, BROWSER), "field_invalid"),
    ("well formed though not permitted", update("user_a", {**BAD_EMAIL}, BROWSER), "field_format_invalid"),
    ("well formed before limits", update("user_a", {"traits": HUGE, **BAD_FLAG}), "field_invalid"),
    ("permitted before limits", update("user_a", {"external_id": "n", "traits": HUGE}, BROWSER), "user_id_protected"),
    ("permitted before taken", update("user_a", {"external_id": "b"}, BROWSER), "user_id_protected"),
    ("size before depth", update("user_a", {"traits": {**HUGE, "b": DEEP}}), "bag_too_large"),
    ("limits in the order given", update("user_a", {"traits": DEEP, "public_metadata": HUGE}), "bag_too_deep"),
    ("limits before taken", update("user_a", {"username": "bob", "traits": HUGE}), "bag_too_large"),
    ("taken last", update("user_a", {"username": "bob", "external_id": "b"}), "identifier_taken"),
    # Create
    ("form of external_id first", create({**UNKNOWN, "external_id": ""}, user_id="user_a"), "field_format_invalid"),
    ("id before fields", create(UNKNOWN, user_id="user_a"), "identifier_taken"),
    ("fields before limits", create({"traits": HUGE, **UNKNOWN}), "field_unknown"),
    ("fields before taken", create({"external_id": "a", **UNKNOWN}), "field_unknown"),
    ("fields before deleted", create({"external_id": "gone", **UNKNOWN}, BROWSER), "field_unknown"),
    ("limits before deleted", create({"external_id": "gone", "traits": HUGE}, BROWSER), "bag_too_large"),
    ("limits before taken", create({"external_id": "a", "traits": HUGE}), "bag_too_large"),
    ("fields before adoption", create({"external_id": "w", **UNKNOWN}), "field_unknown"),
    ("adoption before taken", create({"external_id": "w", "username": "bob"}), "identifier_taken"),
    # Upsert
    ("form of external_id before session", upsert("", UNKNOWN, BROWSER, session_id="ses_z"), "field_format_invalid"),
    ("session before fields", upsert("a", UNKNOWN, BROWSER, session_id="ses_z"), "session_closed"),
    ("session before version", upsert("a", {}, BROWSER, session_id="ses_z", if_match=(9,)), "session_closed"),
    ("another external_id before version", upsert("a", {"external_id": "n"}, if_match=(9,)), "field_invalid"),
    ("condition before fields", upsert("n", UNKNOWN, if_match=(1,)), "user_not_found"),
    ("version before fields of the known", upsert("a", UNKNOWN, if_match=(9,)), "version_mismatch"),
    ("ended before fields", upsert("a", UNKNOWN, BROWSER, session_id="ses_ended"), "session_closed"),
    ("ended before disabled", upsert("off", {}, BROWSER, session_id="ses_ended"), "session_closed"),
    ("ended before deleted", upsert("gone", {}, BROWSER, session_id="ses_ended"), "session_closed"),
    ("disabled before fields of the known", upsert("off", UNKNOWN, BROWSER, session_id="ses_open"), "user_disabled"),
    ("fields before deleted", upsert("gone", UNKNOWN, BROWSER), "field_unknown"),
    ("fields of somebody else", upsert("a", UNKNOWN, BROWSER, session_id="ses_b"), "field_unknown"),
    ("limits before deleted", upsert("gone", {"traits": HUGE}, BROWSER), "bag_too_large"),
    # Delete
    ("missing before version", delete("user_z", if_match=(9,)), "user_not_found"),
]


@pytest.mark.parametrize(("command", "code"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_the_first_fault_is_the_one_that_is_refused(records: Database, command: Command, code: str) -> None:
    assert refusal(command, records).code == code


def test_what_may_not_be_written_is_refused_before_limits_in_any_order_of_fields(records: Database) -> None:
    command = update("user_a", {"traits": HUGE, "external_id": "n"}, BROWSER)
    assert refusal(command, records).code == "user_id_protected"


# The engine reads the hints, applies, and may read what was missing three times more.
ROUNDS_MAX = 4

EVERYTHING: dict[str, Any] = {
    "external_id": "n",
    "username": "new",
    "email_addresses": ["n@b.c"],
    "phone_numbers": ["+442079460958"],
}
WITHOUT_ID = {name: value for name, value in EVERYTHING.items() if name != "external_id"}

SIGNED = msgspec.structs.replace(BROWSER, trust="verified", signed=frozenset({"/username"}))

IN_TIME: list[tuple[str, Command]] = [
    ("create nothing", create({})),
    ("create with identifiers", create(WITHOUT_ID)),
    ("create with an external_id", create({"external_id": "n"})),
    ("create with everything", create(EVERYTHING)),
    ("create with everything and an id", create(EVERYTHING, user_id="user_n")),
    ("create with an external_id by a browser", create({"external_id": "n"}, BROWSER)),
    ("create by adoption", create({"external_id": "w", **WITHOUT_ID})),
    ("update everything", update("user_a", EVERYTHING)),
    ("upsert a new user", upsert("n", WITHOUT_ID)),
    ("upsert a new user from a browser", upsert("n", {}, BROWSER, session_id="ses_open")),
    ("upsert a new user whom a token describes", upsert("n", {"username": "new"}, SIGNED, session_id="ses_open")),
    ("upsert a new user from a session of another", upsert("n", {}, BROWSER, session_id="ses_b")),
    ("upsert a known user from a session of another", upsert("a", {}, BROWSER, session_id="ses_b")),
    ("upsert a known user", upsert("a", WITHOUT_ID)),
    ("upsert by adoption", upsert("w", WITHOUT_ID)),
    ("delete", delete("user_b")),
    ("start a session", StartSession(project_id=PROJECT, author=BROWSER)),
    ("revoke a key", RevokeKey(project_id=PROJECT, author=BROWSER, key_id="key_z")),
]


@pytest.mark.parametrize("command", [row[1] for row in IN_TIME], ids=[row[0] for row in IN_TIME])
def test_a_command_learns_what_to_read_before_the_engine_gives_up(records: Database, command: Command) -> None:
    assert look(command, records, entropy=1 << 90).rounds <= ROUNDS_MAX


def test_most_commands_need_one_round(records: Database) -> None:
    known = [update("user_a", {"name": "A"}), delete("user_z"), StartSession(project_id=PROJECT, author=BROWSER)]
    assert [look(command, records).rounds for command in known] == [1, 1, 1]
    # When the user whose session it is was last active can be looked at once it is known whose it is.
    assert look(upsert("user_a", {"traits": {"x": 1}}, BROWSER, session_id="ses_open"), records).rounds == 2


@pytest.mark.parametrize("by", [BROWSER, BACKEND], ids=trust)
def test_a_create_needs_a_second_round_for_its_number_only(records: Database, by: Author) -> None:
    assert look(create({"external_id": "n"}, by), records, entropy=1 << 90).rounds == 2
