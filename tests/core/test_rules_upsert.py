"""Updating or making the user whom an external_id names, from a session or without one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    after,
    create,
    delete,
    names,
    names_of,
    refusal,
    run,
    session,
    stored,
    trust,
    update,
    upsert,
    user_of,
)
from userfold.core.claims import identifier_key
from userfold.core.commands import Edit, UpsertUser
from userfold.core.records import Event, Identifier, Key, Session
from userfold.core.tracking import IDLE_MS
from userfold.core.trust import Author, Ignored

AUTHORS = [BROWSER, VERIFIED, BACKEND]


def link(records: Database) -> str | None:
    """To whom the session is linked."""
    record = records[Key("session", PROJECT, "ses_1")]
    assert isinstance(record, Session)
    return record.user_id


@pytest.mark.parametrize("by", AUTHORS, ids=trust)
def test_an_external_id_that_names_nobody_makes_a_user(by: Author) -> None:
    records: Database = {}
    applied = run(upsert("a", {"name": "Ada"}, by), records)
    user = user_of(applied)
    assert (applied.created, user.external_id, user.name, user.version) == (True, "a", "Ada", 1)
    assert names(records)["external_id|a"] == user.id
    assert user.id != "a"


@pytest.mark.parametrize("by", AUTHORS, ids=trust)
def test_where_no_user_may_be_made_it_updates_those_who_exist_and_refuses_others(by: Author) -> None:
    records: Database = {}
    refused = refusal(upsert("a", {"name": "Ada"}, by, may_create=False), records)
    assert (refused.code, refused.data) == ("user_not_found", {"user_id": "a"})
    user = user_of(run(upsert("a", {}, by), records))
    applied = run(upsert("a", {"traits": {"x": 1}}, by, may_create=False), records)
    assert (user_of(applied).id, user_of(applied).traits, applied.created) == (user.id, {"x": 1}, False)


@pytest.mark.parametrize("by", AUTHORS, ids=trust)
def test_the_second_time_it_updates_that_user(by: Author) -> None:
    records: Database = {}
    first = user_of(run(upsert("a", {"traits": {"x": 1}}, by), records))
    applied = run(upsert("a", {"traits": {"y": 2}}, by), records)
    assert (applied.created, user_of(applied).id, user_of(applied).version) == (False, first.id, 2)
    assert user_of(applied).traits == {"x": 1, "y": 2}


def test_an_external_id_is_taken_exactly_as_it_is() -> None:
    records = after(upsert("A", {}), upsert("a", {}), upsert(" a", {}), upsert("é", {}), upsert("e\u0301", {}))
    assert len(set(names(records).values())) == 5


def test_a_users_own_id_names_it_too() -> None:
    records = after(create({}, user_id="user_a"))
    applied = run(upsert("user_a", {"name": "Ada"}), records)
    assert (applied.created, user_of(applied).id, user_of(applied).external_id) == (False, "user_a", None)
    assert names_of(records, "user_a") == set()


@pytest.mark.parametrize("by", [BROWSER, VERIFIED], ids=trust)
def test_an_alias_names_its_user_and_stays_an_alias(by: Author) -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), update("user_a", {"external_id": "b"}, BROWSER)
    )
    user = user_of(run(upsert("a", {"traits": {"x": 1}}, by), records))
    assert (user.id, user.external_id, user.external_id_aliases, user.version) == ("user_a", "b", ("a",), 3)


# Who claimed the external_id, who upserts → answered as a creation, owned by a backend.
ADOPTIONS: list[tuple[Author, Author, bool, tuple[str, ...]]] = [
    (BROWSER, BACKEND, True, ("external_id",)),
    (BROWSER, VERIFIED, False, ()),
    (BROWSER, BROWSER, False, ()),
    (VERIFIED, BACKEND, True, ("external_id",)),
    (VERIFIED, BROWSER, False, ()),
    (BACKEND, BACKEND, False, ("external_id",)),
    (BACKEND, VERIFIED, False, ("external_id",)),
    (BACKEND, BROWSER, False, ("external_id",)),
]


@pytest.mark.parametrize(("first", "second", "created", "owned"), ADOPTIONS, ids=trust)
def test_a_backend_adopts_what_only_a_browser_claimed(
    first: Author, second: Author, created: bool, owned: tuple[str, ...]
) -> None:
    records = after(create({"external_id": "a", "traits": {"x": 1}}, first, user_id="user_a"))
    applied = run(upsert("a", {"traits": {"y": 2}}, second), records)
    user = stored(records, "user_a")
    assert applied.user == user
    assert (applied.created, user.owned) == (created, owned)
    assert (user.traits, user.version) == ({"x": 1, "y": 2}, 2)
    set_by = "backend" if created else first.trust
    assert records[identifier_key(PROJECT, "external_id|a")] == Identifier(
        identifier="external_id|a", user_id="user_a", set_by=set_by
    )


def test_adopting_happens_once() -> None:
    records = after(upsert("a", {}, BROWSER))
    assert run(upsert("a", {}), records).created
    again = run(upsert("a", {}), records)
    assert (again.created, again.writes) == (False, {})


def test_a_backend_that_names_an_alias_makes_it_the_external_id_again() -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), update("user_a", {"external_id": "b"}, BROWSER)
    )
    applied = run(upsert("a", {}), records)
    user = user_of(applied)
    assert (applied.created, user.id, user.external_id, user.external_id_aliases) == (True, "user_a", "a", ())
    assert names_of(records, "user_a") == {"external_id|a"}


def test_a_user_named_by_its_own_id_is_not_adopted() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    applied = run(upsert("user_a", {"name": "Ada"}), records)
    assert (applied.created, user_of(applied).owned) == (False, ("name",))


def test_the_external_id_in_the_document_may_repeat_the_one_in_the_request() -> None:
    records: Database = {}
    assert user_of(run(upsert("a", {"external_id": "a"}), records)).external_id == "a"
    assert run(upsert("a", {"external_id": "a"}), records).writes == {}


@pytest.mark.parametrize("external_id", ["b", "A", None, 1], ids=repr)
@pytest.mark.parametrize("records", [{}, after(upsert("a", {}))], ids=["a new user", "a known user"])
def test_the_document_cannot_name_another_external_id(external_id: Any, records: Database) -> None:
    refused = refusal(upsert("a", {"external_id": external_id}), dict(records))
    assert (refused.code, refused.path) == ("field_invalid", "/external_id")


@pytest.mark.parametrize("external_id", ["", "a\0", "x" * 256], ids=["empty", "U+0000", "256 characters"])
def test_an_external_id_that_no_user_can_have_is_refused(external_id: str) -> None:
    refused = refusal(upsert(external_id, {}), {})
    assert (refused.code, refused.path) == ("field_format_invalid", "/external_id")


def test_a_condition_on_a_user_that_does_not_exist_is_refused() -> None:
    refused = refusal(upsert("a", {}, if_match=(1,)), {})
    assert (refused.code, refused.data) == ("user_not_found", {"user_id": "a"})


def test_an_upsert_of_another_project_makes_another_user() -> None:
    records = after(upsert("a", {}))
    elsewhere = UpsertUser(project_id="prj_2", author=BACKEND, external_id="a", edits=(Edit("merge_patch", {}),))
    assert run(elsewhere, records).created


# Every row: to whom the session is linked, whom the call names →
# to whom it is linked then, what is stored, what is ignored.
EVERYTHING = {"traits": {"x": 1}, "name": "Ada", "contact_email": "ada@b.c"}
TRAITS = {"traits": {"x": 1}, "name": None, "contact_email": None}
ELSEWHERE = ["/name", "/contact_email"]
SESSIONS: list[tuple[str | None, str, str, dict[str, Any], list[str]]] = [
    (None, "a", "user_a", EVERYTHING, []),
    ("user_a", "a", "user_a", EVERYTHING, []),
    ("user_b", "a", "user_b", TRAITS, ELSEWHERE),
    (None, "user_a", "user_a", EVERYTHING, []),
    ("user_b", "user_a", "user_b", TRAITS, ELSEWHERE),
]


@pytest.mark.parametrize(("linked_to", "named", "linked_then", "kept", "ignored"), SESSIONS, ids=str)
def test_a_session_is_linked_once_and_writes_only_traits_of_others(
    linked_to: str | None, named: str, linked_then: str, kept: dict[str, Any], ignored: list[str]
) -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"), create({"external_id": "b"}, BROWSER, user_id="user_b")
    )
    session(records, user_id=linked_to)
    applied = run(upsert(named, EVERYTHING, BROWSER, session_id="ses_1"), records)
    assert link(records) == linked_then
    assert {name: getattr(stored(records, "user_a"), name) for name in kept} == kept
    assert applied.ignored == tuple(Ignored(path, "session_of_another_user") for path in ignored)
    assert stored(records, "user_b").version == 1


def test_a_session_of_nobody_becomes_the_new_users() -> None:
    records: Database = {}
    session(records)
    user = user_of(run(upsert("a", EVERYTHING, BROWSER, session_id="ses_1"), records))
    assert (link(records), user.name) == (user.id, "Ada")
    linked = records[Key("session", PROJECT, "ses_1")]
    assert linked == Session(
        id="ses_1", user_id=user.id, created_at=NOW, seen_at=NOW, expires_at=NOW + IDLE_MS, version=2
    )


def test_what_was_done_in_a_session_of_nobody_becomes_the_users_who_is_linked() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    session(records)
    early = Event(id="evt_1", user_id="", name="paid", occurred_at=1, created_at=1, source="client", actor="ses_1")
    at = Key("session", PROJECT, "ses_1")
    records[at] = msgspec.structs.replace(records[at], early_events=(early,))
    run(upsert("a", {}, BROWSER, session_id="ses_1"), records)
    assert records[Key("event", PROJECT, "evt_1")] == msgspec.structs.replace(early, user_id="user_a")
    linked = records[at]
    assert isinstance(linked, Session)
    assert (linked.user_id, linked.early_events) == ("user_a", ())


def test_a_session_of_somebody_else_makes_a_user_with_traits_only() -> None:
    records = after(create({"external_id": "b"}, BROWSER, user_id="user_b"))
    session(records, user_id="user_b")
    applied = run(upsert("a", EVERYTHING, BROWSER, session_id="ses_1"), records)
    user = user_of(applied)
    assert (applied.created, user.external_id, user.traits, user.name) == (True, "a", {"x": 1}, None)
    assert [entry.path for entry in applied.ignored] == ELSEWHERE
    assert link(records) == "user_b"


def test_a_call_that_changes_nothing_still_links_the_session() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    session(records)
    applied = run(upsert("a", {}, BROWSER, session_id="ses_1"), records)
    assert set(applied.writes) == {Key("session", PROJECT, "ses_1"), Key("presence", PROJECT, "user_a")}
    assert (link(records), stored(records, "user_a").version) == ("user_a", 1)


def test_a_linked_session_is_not_written_again() -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    session(records, user_id="user_a")
    assert set(run(upsert("a", {}, BROWSER, session_id="ses_1"), records).writes) == {
        Key("presence", PROJECT, "user_a")
    }
    assert run(upsert("a", {}, BROWSER, session_id="ses_1"), records).writes == {}


def test_a_refused_call_links_nothing() -> None:
    records = after(create({"external_id": "a", "disabled": True}, user_id="user_a"))
    session(records)
    assert refusal(upsert("a", {}, BROWSER, session_id="ses_1"), records).code == "user_disabled"
    assert link(records) is None


@pytest.mark.parametrize("external_id", ["a", "new"])
@pytest.mark.parametrize("linked_to", [None, "user_a", "user_b"])
def test_a_session_that_has_ended_writes_nothing(external_id: str, linked_to: str | None) -> None:
    records = after(create({"external_id": "a"}, BROWSER, user_id="user_a"))
    session(records, user_id=linked_to, status="ended")
    assert (
        refusal(upsert(external_id, {"traits": {"x": 1}}, BROWSER, session_id="ses_1"), records).code
        == "session_closed"
    )


def test_a_session_that_is_unknown_or_of_another_project_writes_nothing() -> None:
    records: Database = {Key("session", "prj_2", "ses_2"): Session(id="ses_2", created_at=NOW)}
    for session_id in ("ses_1", "ses_2"):
        assert refusal(upsert("a", {}, BROWSER, session_id=session_id), records).code == "session_closed"


@pytest.mark.parametrize("external_id", ["a", "b"])
def test_a_session_whose_user_was_deleted_writes_nothing(external_id: str) -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), create({"external_id": "b"}, BROWSER))
    session(records, user_id="user_a")
    run(delete("user_a"), records)
    command = upsert(external_id, {"traits": {"x": 1}}, BROWSER, session_id="ses_1")
    assert refusal(command, records, now=NOW + 10**12).code == "session_closed"
