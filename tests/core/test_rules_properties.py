"""What holds whatever is done, in whatever order, by whomever."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.driver import (
    BROWSER,
    NOW,
    PROJECT,
    SETTINGS,
    Database,
    after,
    as_json,
    changes_of,
    create,
    delete,
    folded,
    look,
    names,
    session,
    update,
    write,
)
from tests.strategies import SESSION_IDS, commands
from userfold.core.applied import Applied
from userfold.core.commands import Command, DeleteUser
from userfold.core.errors import DomainError
from userfold.core.identifiers import username
from userfold.core.jsontext import same_text
from userfold.core.reading import Records
from userfold.core.records import Change, Erasure, Key, Presence, Session, Tombstone, User
from userfold.core.rules import apply

MINUTE_MS = 60_000

# Said again here, apart from trust.py: what a change by a browser may touch of a user that exists.
# That somebody is there, which is no part of a user.
BESIDE_USERS = {Session, Presence}

OPEN_TO_BROWSERS = {
    "traits",
    "contact_email",
    "contact_phone",
    "first_name",
    "last_name",
    "name",
    "locale",
    "timezone",
    "external_id",
    "external_id_aliases",
}
OPEN_TO_VERIFIED = OPEN_TO_BROWSERS | {"unsafe_metadata", "owned"}
SIGNED = "/public_metadata/plan"


def inputs(number: int) -> Any:
    """The time and the entropy of a step."""
    return {"now": NOW + number * MINUTE_MS, "entropy": (number + 1) << 80 | (number + 1) << 20, "settings": SETTINGS}


def outcome_of(command: Command, view: Records, number: int) -> Applied | DomainError:
    try:
        return apply(command, view, **inputs(number))
    except DomainError as refusal:
        return refusal


def step(command: Command, records: Database, number: int) -> Applied | DomainError:
    view = look(command, records, **inputs(number)).view
    outcome = outcome_of(command, view, number)
    if isinstance(outcome, Applied):
        check_reading(view, records, outcome)
        write(outcome, records)
    return outcome


def check_reading(view: Mapping[Key, Any], records: Database, applied: Applied) -> None:
    """What is written over was read, so that the engine can tell an update from an insert."""
    assert {key for key in applied.writes if key in records} <= view.keys()


def as_data(outcome: Applied | DomainError) -> Any:
    return outcome if isinstance(outcome, Applied) else (type(outcome), outcome.data)


def start() -> Database:
    """Two open sessions, a user whom a backend made, and one whom a browser began."""
    records = after(
        create({"external_id": "x", "name": "Ada"}, user_id="user_a"),
        create({"external_id": "y", "traits": {"plan": 1}}, BROWSER, user_id="user_b"),
    )
    for session_id in SESSION_IDS:
        session(records, id=session_id)
    return records


def users_in(records: Database) -> dict[str, User]:
    return {record.id: record for record in records.values() if isinstance(record, User)}


def holders(user: User) -> set[str]:
    """All that names the user."""
    ids = {user.external_id, *user.external_id_aliases} - {None}
    found = {f"external_id|{name}" for name in ids} | {f"usercom_id|{user.usercom_id}"}
    found |= {f"email|{address.email_address}" for address in user.email_addresses}
    return found | ({f"username|{username(user.username)}"} if user.username else set())


def check_history(records: Database, user: User) -> None:
    changes = changes_of(records, user.id)
    assert [change.version for change in changes] == list(range(1, user.version + 1))
    assert same_text(as_json(folded(records, user.id)), as_json(user))
    assert all(change.operations for change in changes)


def check_authors(records: Database, user: User) -> None:
    for change in changes_of(records, user.id)[1:]:
        touched = {operation.path.split("/")[1] for operation in change.operations}
        if change.trust == "browser":
            assert touched <= OPEN_TO_BROWSERS
        elif change.trust == "verified":
            unsigned = {operation.path for operation in change.operations if not operation.path.startswith(SIGNED)}
            assert {path.split("/")[1] for path in unsigned} <= OPEN_TO_VERIFIED


def check_names(records: Database, users: dict[str, User]) -> None:
    named = {name: user.id for user in users.values() for name in holders(user)}
    assert names(records) == named
    assert sum(len(holders(user)) for user in users.values()) == len(named)
    assert all(user.external_id not in users.keys() - {user.id} for user in users.values())


def check(records: Database) -> None:
    users = users_in(records)
    check_names(records, users)
    for user in users.values():
        check_history(records, user)
        check_authors(records, user)
        assert sum(address.primary for address in user.email_addresses) == min(len(user.email_addresses), 1)
    assert {record.user_id for record in records.values() if isinstance(record, Change)} <= users.keys()


def check_step(before: Database, command: Command, applied: Applied) -> None:
    """What one command may write: one user at most, one version further; of a session, whose it is and when."""
    written = {type(record): record for record in applied.writes.values() if record is not None}
    assert all(key.project_id == PROJECT for key in applied.writes)
    user = written.get(User)
    if isinstance(user, User):
        known = users_in(before).get(user.id)
        assert user.version == (known.version + 1 if known else 1)
        assert applied.created or known is not None
        assert applied.change is not None
        assert applied.user == user
    elif not isinstance(command, DeleteUser):
        assert applied.change is None
        assert written.keys() <= BESIDE_USERS
    for key, record in applied.writes.items():
        if isinstance(record, Session):
            known_session = before[key]
            assert isinstance(known_session, Session)
            assert known_session.user_id in (None, record.user_id)
            told = {name: getattr(record, name) for name in ("user_id", "seen_at", "expires_at", "version")}
            assert record == msgspec.structs.replace(known_session, **told)


few_commands = st.lists(commands(), min_size=1, max_size=8)


@settings(max_examples=150)
@given(st.lists(commands(), min_size=1, max_size=14))
def test_whatever_is_done_users_names_and_histories_agree(steps: list[Command]) -> None:
    records = start()
    for number, command in enumerate(steps):
        before = dict(records)
        outcome = step(command, records, number)
        if isinstance(outcome, Applied):
            check_step(before, command, outcome)
            check(records)
        else:
            assert records == before


@settings(max_examples=60)
@given(few_commands)
def test_rules_change_nothing_that_they_are_given_and_say_the_same_twice(steps: list[Command]) -> None:
    records = start()
    for number, command in enumerate(steps):
        view = look(command, records, **inputs(number)).view
        given_before = copy.deepcopy((command, dict(view)))
        first = outcome_of(command, view, number)
        said_first = copy.deepcopy(as_data(first))
        said_second = as_data(outcome_of(command, view, number))
        assert as_data(first) == said_first == said_second
        assert (command, dict(view)) == given_before
        step(command, records, number)


@settings(max_examples=60)
@given(few_commands, commands(edits_max=1))
def test_a_command_about_a_named_user_can_be_repeated_without_harm(steps: list[Command], command: Command) -> None:
    records = start()
    for number, earlier in enumerate(steps):
        step(earlier, records, number)
    first = step(command, records, len(steps))
    second = step(command, records, len(steps) + 1)
    if isinstance(first, Applied) and first.user is not None and first.user.external_id is not None:
        assert isinstance(second, DomainError) or {key.kind for key in second.writes} <= {"session", "presence"}


def test_tombstones_are_all_that_is_left_when_every_user_is_deleted() -> None:
    records = after(
        create({"external_id": "a", "email_addresses": ["a@b.c"]}, user_id="user_a"),
        create({"external_id": "b"}, user_id="user_b"),
        update("user_a", {"traits": {"x": 1}}),
        delete("user_b"),
        delete("user_a"),
    )
    assert {type(record) for record in records.values()} == {Tombstone, Erasure}
