"""Tracking sessions: how they begin, go on, are linked and end, and what is kept of what is said and done in them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.conftest import in_order
from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    SETTINGS,
    Database,
    after,
    changes_of,
    create,
    delete,
    refusal,
    run,
    session,
    stored,
    update,
)
from userfold.core.commands import (
    AboutSession,
    BrowserEvent,
    Edit,
    ExpireSessions,
    RecordFromSession,
    StartSession,
    UpdateFromSession,
)
from userfold.core.event_rules import OCCURRED_AT_MAX
from userfold.core.ids import time_of
from userfold.core.records import Context, EffectiveSettings, Event, Key, Presence, Session
from userfold.core.tracking import IDLE_MS, NOBODYS_KEPT_MS, SEEN_EVERY_MS
from userfold.core.tracking_rules import EARLY_EVENTS_MAX, EVENTS_MAX

APPLY = EffectiveSettings(sampling_rate=0.0, unsampled_updates="apply")
REFUSE = EffectiveSettings(sampling_rate=0.0)
AT = Key("session", PROJECT, "ses_1")
A = create({"external_id": "a"}, user_id="user_a")


def start(resumes: str | None = None, *, forced: bool = False, **about: Any) -> StartSession:
    return StartSession(project_id=PROJECT, author=BROWSER, resumes=resumes, about=AboutSession(**about), forced=forced)


def say(external_id: str | None = None, *, forced: bool = False, traits: Any = None, **about: Any) -> UpdateFromSession:
    """What a browser says in `ses_1`."""
    edits = () if traits is None else (Edit("shallow", {"traits": traits}),)
    return UpdateFromSession(
        project_id=PROJECT,
        author=BROWSER,
        session_id="ses_1",
        external_id=external_id,
        edits=edits,
        about=AboutSession(**about),
        forced=forced,
    )


def did(name: str = "paid", occurred_at: int = NOW, **properties: Any) -> BrowserEvent:
    return BrowserEvent(name=name, properties=properties, occurred_at=occurred_at)


def record(*events: BrowserEvent, ends: bool = False) -> RecordFromSession:
    return RecordFromSession(project_id=PROJECT, author=BROWSER, session_id="ses_1", events=events, ends=ends)


def expire(*ids: str) -> ExpireSessions:
    return ExpireSessions(project_id=PROJECT, author=BACKEND, keys=tuple(Key("session", PROJECT, id_) for id_ in ids))


def kept(records: Database, key: Key = AT) -> Session:
    found = records[key]
    assert isinstance(found, Session)
    return found


def keep(records: Database, **fields: Any) -> None:
    """Change what is kept of `ses_1`."""
    records[AT] = msgspec.structs.replace(kept(records), **fields)


def started(command: StartSession, records: Database, **inputs: Any) -> Session:
    found = run(command, records, **inputs).record
    assert isinstance(found, Session)
    return found


def events_in(records: Database) -> list[Event]:
    return [found for found in records.values() if isinstance(found, Event)]


# How a session begins and goes on.


def test_a_session_is_begun_with_what_is_said_of_it() -> None:
    records: Database = {}
    about: dict[str, Any] = {
        "environment": "test",
        "release": "9",
        "app_session_id": "app-1",
        "metadata": {"build": 7, "null": None},
    }
    begun = started(start(**about, context=Context(timezone="UTC", entry_url="https://a/?key=S#x")), records)
    assert {name: getattr(begun, name) for name in about} == about
    assert begun.context == Context(timezone="UTC", entry_url="https://a/?key=--redacted--")
    assert records == {Key("session", PROJECT, begun.id): begun}


@pytest.mark.parametrize("user_id", [None, "user_a"])
def test_a_session_that_is_active_goes_on_with_what_is_said_anew(user_id: str | None) -> None:
    records = after(A)
    session(records, user_id=user_id)
    keep(records, metadata={"a": {"x": 1}, "b": 1}, environment="test", app_session_id="app-1")
    went_on = started(start("ses_1", metadata={"a": {"y": None}, "c": 2}, release="2"), records, now=NOW + IDLE_MS - 1)
    assert (went_on.id, went_on.user_id, went_on.version) == ("ses_1", user_id, 2)
    assert (went_on.environment, went_on.release, went_on.app_session_id) == ("test", "2", "app-1")
    assert went_on.metadata == {"a": {"y": None}, "b": 1, "c": 2}
    assert (went_on.seen_at, went_on.expires_at) == (NOW + IDLE_MS - 1, NOW + 2 * IDLE_MS - 1)
    assert kept(records) == went_on


def test_to_go_on_at_once_with_nothing_new_writes_nothing() -> None:
    records: Database = {}
    session(records)
    assert run(start("ses_1"), records, now=NOW + SEEN_EVERY_MS - 1).writes == {}
    assert set(run(start("ses_1"), records, now=NOW + SEEN_EVERY_MS).writes) == {AT}


# What cannot be gone on with: the fields of `ses_1`, and when.
NOT_RESUMED: dict[str, tuple[dict[str, Any], int]] = {
    "ended by its browser": ({"status": "ended", "ended_because": "client_abort"}, NOW),
    "ended because it was idle": ({"status": "ended", "ended_because": "idle"}, NOW),
    "idle, and no sweep has come": ({}, NOW + IDLE_MS),
    "of a user who is disabled": ({"user_id": "user_d"}, NOW),
    "of a user who was deleted": ({"user_id": "user_z"}, NOW),
}


@pytest.mark.parametrize("case", NOT_RESUMED)
def test_what_cannot_be_gone_on_with_gives_way_to_a_new_session_and_stays_as_it_is(case: str) -> None:
    fields, now = NOT_RESUMED[case]
    records = after(create({"disabled": True}, user_id="user_d"))
    session(records)
    keep(records, **fields)
    before = kept(records)
    begun = started(start("ses_1", metadata={"a": 1}), records, now=now)
    assert (begun.id != "ses_1", begun.user_id, begun.metadata) == (True, None, {"a": 1})
    assert kept(records) == before


@pytest.mark.parametrize("resumes", ["undefined", "", "ses_2", "user_a", "x" * 300])
def test_an_unknown_session_or_one_of_another_project_gives_way_to_a_new_one(resumes: str) -> None:
    records = after(A)
    records[Key("session", "prj_2", "ses_2")] = Session(id="ses_2", created_at=NOW)
    begun = started(start(resumes), records)
    assert begun.id not in (resumes, "ses_2")


# Sampling: the rate, the first of the bits that decide → whether it is sampled.
DRAWS: list[tuple[float, int, bool]] = [
    (1.0, (1 << 53) - 1, True),
    (1.0, 0, True),
    (0.0, 0, False),
    (0.25, (1 << 51) - 1, True),
    (0.25, 1 << 51, False),
]


@pytest.mark.parametrize(("rate", "bits", "sampled"), DRAWS, ids=in_order)
def test_a_share_of_sessions_is_sampled(rate: float, bits: int, sampled: bool) -> None:
    settings = EffectiveSettings(sampling_rate=rate)
    assert started(start(), {}, entropy=bits << 80 | 7, settings=settings).sampled == sampled


def test_of_a_session_that_is_not_sampled_nothing_is_kept_unless_the_project_wants_it() -> None:
    about: dict[str, Any] = {"metadata": {"a": 1}, "environment": "test", "context": Context(timezone="UTC")}
    told = started(start(**about), {}, settings=REFUSE)
    assert (told.sampled, told.metadata, told.environment, told.context) == (False, {}, None, Context())
    told = started(start(**about), {}, settings=APPLY)
    assert (told.sampled, told.metadata, told.environment) == (False, {"a": 1}, "test")


@pytest.mark.parametrize(
    "command", [say("a", traits={"x": 1}), say(metadata={"x": 1}), record(did()), record(ends=True)]
)
def test_what_a_session_that_is_not_sampled_says_is_refused_or_applied(command: Any) -> None:
    records = after(A)
    session(records)
    keep(records, sampled=False)
    assert refusal(command, records, settings=REFUSE).code == "session_not_sampled"
    assert run(command, records, settings=APPLY).writes
    assert not kept(records).sampled


def test_who_debugs_is_sampled_whatever_the_rate_is() -> None:
    records: Database = {}
    assert started(start(forced=True), records, settings=REFUSE).sampled
    session(records)
    keep(records, sampled=False)
    assert run(say("a", traits={"x": 1}, forced=True), records, settings=REFUSE).created
    assert kept(records).sampled
    keep(records, sampled=False)
    assert started(start("ses_1", forced=True), records, settings=REFUSE).sampled


# What is said in a session.


def test_a_user_is_named_and_the_session_told_of_in_one() -> None:
    records: Database = {}
    session(records)
    applied = run(say("a", traits={"n": None}, metadata={"f": 1}, app_session_id="app-2"), records)
    assert applied.user is not None
    assert (applied.created, applied.user.external_id, applied.user.traits) == (True, "a", {"n": None})
    assert applied.record == kept(records)
    assert (kept(records).user_id, kept(records).metadata) == (applied.user.id, {"f": 1})
    assert (kept(records).app_session_id, kept(records).version) == ("app-2", 2)


def test_traits_join_by_their_top_level_keys_and_null_is_a_value() -> None:
    records: Database = {}
    session(records)
    run(say("a", traits={"o": {"a": 1, "b": 2}, "l": [1, 2], "k": "", "x": 1}), records)
    user = run(say("a", traits={"o": {"c": None}, "l": [], "x": None}), records).user
    assert user is not None
    assert user.traits == {"o": {"c": None}, "l": [], "k": "", "x": None}


def test_integrations_join_by_vendor() -> None:
    records: Database = {}
    session(records)
    run(say(integrations={"posthog": {"sessionId": "1", "userId": "2"}}), records)
    run(say(integrations={"posthog": {"sessionId": "3"}, "sentry": {"replayId": "4"}}), records)
    assert kept(records).integrations == {"posthog": {"sessionId": "3"}, "sentry": {"replayId": "4"}}


def test_the_same_said_again_writes_nothing() -> None:
    records: Database = {}
    session(records)
    command = say("a", traits={"x": {"y": [1, None]}}, metadata={"f": 1}, integrations={"sentry": {"replayId": "4"}})
    first = run(command, records).user
    again = run(command, records, now=NOW + SEEN_EVERY_MS - 1)
    assert (again.writes, again.user) == ({}, first)
    assert first is not None
    assert len(changes_of(records, first.id)) == 1
    # A minute later the session is in use and the user active, which is no part of the user.
    later = run(command, records, now=NOW + SEEN_EVERY_MS)
    assert {key.kind for key in later.writes} == {"session", "presence"}


# What is too much: nothing is done then, neither of the user nor of the session.
TOO_MUCH: list[tuple[dict[str, Any], str, str]] = [
    ({"traits": {"a": "x" * 65_536}}, "bag_too_large", "/traits"),
    ({"metadata": {"a": "x" * 65_536}}, "bag_too_large", "/metadata"),
    ({"integrations": {"a": "x" * 65_536}}, "bag_too_large", "/integrations"),
    ({"app_session_id": "x" * 256}, "field_format_invalid", "/app_session_id"),
    ({"app_session_id": "a\0"}, "field_format_invalid", "/app_session_id"),
]


@pytest.mark.parametrize(("said", "code", "path"), TOO_MUCH, ids=in_order)
def test_what_cannot_be_kept_is_refused_whole(said: dict[str, Any], code: str, path: str) -> None:
    records = after(A)
    session(records)
    error = refusal(say("a", **{"traits": {"x": 1}, "metadata": {"x": 1}} | said), records)
    assert (error.code, error.path) == (code, path)


def test_a_session_grows_no_further_than_its_limit_bit_by_bit() -> None:
    records: Database = {}
    session(records)
    run(say(metadata={"a": "x" * 40_000}), records)
    assert refusal(say(metadata={"b": "x" * 40_000}), records).code == "bag_too_large"


def test_nobody_is_made_where_nobody_may_be() -> None:
    records: Database = {}
    session(records)
    command = msgspec.structs.replace(say("a", metadata={"f": 1}), may_create=False)
    assert refusal(command, records).code == "user_not_found"


# The session: its fields and the time → the code of the refusal, or None.
CLOSED: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "active": ({}, NOW, None),
    "idle, and no sweep has come": ({}, NOW + 10 * IDLE_MS, None),
    "ended because it was idle": (
        {"status": "ended", "ended_because": "idle", "ended_at": NOW, "expires_at": None},
        NOW,
        None,
    ),
    "ended by its browser": ({"status": "ended", "ended_because": "client_abort"}, NOW, "session_closed"),
    "ended, and nobody knows why": ({"status": "ended"}, NOW, "session_closed"),
    "of a user who was deleted": ({"user_id": "user_z"}, NOW, "session_closed"),
    "of a user who is disabled": ({"user_id": "user_d"}, NOW, "user_disabled"),
}


@pytest.mark.parametrize("command", [say("a"), say(metadata={"x": 1}), record(did())])
@pytest.mark.parametrize("case", CLOSED)
def test_from_which_sessions_something_may_be_said(case: str, command: Any) -> None:
    fields, now, code = CLOSED[case]
    records = after(A, create({"disabled": True}, user_id="user_d"))
    session(records)
    keep(records, **fields)
    if code is not None:
        assert refusal(command, records, now=now).code == code
        return
    run(command, records, now=now)
    found = kept(records)
    assert (found.status, found.ended_because, found.ended_at) == ("active", None, None)
    assert found.expires_at is not None
    assert found.expires_at > now


def test_who_says_something_in_a_linked_session_is_active_and_a_user_whom_it_names_is_not() -> None:
    records = after(A, create({"external_id": "b"}, user_id="user_b"))
    session(records)
    keep(records, context=Context(timezone="UTC"))
    run(say("a"), records)
    run(say("b", traits={"x": 1}), records, now=NOW + SEEN_EVERY_MS)
    presence = records[Key("presence", PROJECT, "user_a")]
    assert presence == Presence(id="user_a", last_active_at=NOW + SEEN_EVERY_MS, context=Context(timezone="UTC"))
    assert Key("presence", PROJECT, "user_b") not in records
    assert (stored(records, "user_b").traits, kept(records).user_id) == ({"x": 1}, "user_a")


def test_who_goes_on_with_a_linked_session_is_active_where_it_says() -> None:
    records = after(A)
    session(records, user_id="user_a")
    at = Key("presence", PROJECT, "user_a")
    run(say(metadata={"x": 1}), records)
    assert records[at] == Presence(id="user_a", last_active_at=NOW)
    run(start("ses_1", context=Context(timezone="UTC")), records, now=NOW + 1)
    assert records[at] == Presence(id="user_a", last_active_at=NOW + 1, context=Context(timezone="UTC"))
    session(records, id="ses_2")
    nobodys = msgspec.structs.replace(say(metadata={"x": 1}), session_id="ses_2")
    assert set(run(nobodys, records).writes) == {Key("session", PROJECT, "ses_2")}


# What is done in a session.


def test_what_is_done_becomes_events_of_the_linked_user() -> None:
    records = after(A)
    session(records, user_id="user_a")
    events = (did(total=9.5, url="https://a/?key=S#x"), did("page_view", NOW + 1, url="/?key=1"))
    run(record(*events), records, now=NOW + 5)
    paid, viewed = sorted(events_in(records), key=lambda event: event.id)
    assert (paid.user_id, paid.session_id, paid.name) == ("user_a", "ses_1", "paid")
    assert (paid.occurred_at, paid.created_at, paid.source) == (NOW, NOW + 5, "milana")
    assert paid.properties == {"total": 9.5, "url": "https://a/?key=--redacted--"}
    assert (viewed.name, time_of(viewed.id)) == ("page_view", NOW + 1)
    assert viewed.properties == {"url": "/?key=--redacted--"}
    presence = records[Key("presence", PROJECT, "user_a")]
    assert isinstance(presence, Presence)
    assert presence.page_views == 1
    assert stored(records, "user_a").version == 1


def test_no_address_in_an_event_is_kept_with_its_secrets() -> None:
    records = after(A)
    session(records, user_id="user_a")
    links = [{"url": "/?key=S", "to": ["https://a/?key=S#S", 1, None]}]
    run(record(did("went to https://a/?key=S", title="at https://a/?key=S", links=links)), records)
    (event,) = events_in(records)
    assert event.name == "went to https://a/?key=--redacted--"
    assert event.properties == {
        "title": "at https://a/?key=--redacted--",
        "links": [{"url": "/?key=--redacted--", "to": ["https://a/?key=--redacted--", 1, None]}],
    }


def test_an_event_is_kept_once_by_session_time_and_content() -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(record(did(x=1), did(x=1)), records)
    run(record(did(x=1)), records, now=NOW + 60_000)
    assert len(events_in(records)) == 1
    run(record(did(x=2), did("other", x=1), did(occurred_at=NOW + 1, x=1), did(x=1.0), did(x=True)), records)
    assert len(events_in(records)) == 6
    session(records, user_id="user_a", id="ses_2")
    run(msgspec.structs.replace(record(did(x=1)), session_id="ses_2"), records)
    assert len(events_in(records)) == 7


def test_what_was_done_before_anybody_was_named_becomes_the_users_who_is_linked() -> None:
    records = after(A)
    session(records)
    run(record(did("page_view", x=1), did(x=1)), records)
    assert (events_in(records), len(kept(records).early_events)) == ([], 2)
    assert run(record(did(x=1)), records).writes == {}
    run(say("a"), records)
    assert {event.user_id for event in events_in(records)} == {"user_a"}
    assert (len(events_in(records)), kept(records).early_events) == (2, ())
    presence = records[Key("presence", PROJECT, "user_a")]
    assert isinstance(presence, Presence)
    assert presence.page_views == 1
    run(record(did(x=1)), records)
    assert len(events_in(records)) == 2


@pytest.mark.parametrize(("size", "count"), [(1, EARLY_EVENTS_MAX), (30_000, 2)])
def test_a_session_of_nobody_keeps_the_first_events_that_it_has_room_for(size: int, count: int) -> None:
    records: Database = {}
    session(records)
    for number in range(EARLY_EVENTS_MAX + 1):
        run(record(did(occurred_at=NOW + number, x="x" * size)), records)
    assert [event.occurred_at - NOW for event in kept(records).early_events] == list(range(count))


def test_an_event_that_cannot_be_kept_is_left_out_and_its_neighbours_are_kept() -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(record(did(" "), did("a\0"), did("x" * 256), did(x="x" * 65_536), did("fine")), records)
    assert [event.name for event in events_in(records)] == ["fine"]


def test_so_many_events_of_one_batch_are_kept_and_no_more() -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(record(*(did(occurred_at=NOW + number) for number in range(EVENTS_MAX + 1))), records)
    assert len(events_in(records)) == EVENTS_MAX


# The browser's clock → when it is said to have occurred, and what the id sorts by.
CLOCKS: list[tuple[int, int, int]] = [
    (NOW - 86_400_000, NOW - 86_400_000, NOW - 86_400_000),
    (NOW - 86_400_001, NOW - 86_400_001, NOW),
    (NOW + 86_400_000, NOW + 86_400_000, NOW + 86_400_000),
    (NOW + 86_400_001, NOW + 86_400_001, NOW),
    (-5, 0, NOW),
    (10**30, OCCURRED_AT_MAX, NOW),
]


@pytest.mark.parametrize(("clock", "occurred_at", "sorts_by"), CLOCKS, ids=in_order)
def test_a_clock_that_is_wrong_breaks_nothing(clock: int, occurred_at: int, sorts_by: int) -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(record(did(occurred_at=clock)), records)
    run(record(did(occurred_at=clock)), records)
    (event,) = events_in(records)
    assert (event.occurred_at, time_of(event.id)) == (occurred_at, sorts_by)


def test_events_of_a_clock_that_is_wrong_are_in_its_order() -> None:
    records = after(A)
    session(records, user_id="user_a")
    clock = [5, 70_000, 10**12, OCCURRED_AT_MAX]
    run(record(*(did(occurred_at=at, x=x) for at in clock for x in (1, 2))), records)
    in_order_of_ids = sorted(events_in(records), key=lambda event: event.id)
    assert [event.occurred_at for event in in_order_of_ids] == sorted(clock * 2)


def test_the_browser_ends_its_session_after_its_last_events() -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(record(did(), ends=True), records, now=NOW + 5)
    found = kept(records)
    assert (found.status, found.ended_because, found.ended_at, found.expires_at) == (
        "ended",
        "client_abort",
        NOW + 5,
        None,
    )
    assert len(events_in(records)) == 1
    assert refusal(record(did("late")), records).code == "session_closed"


# How a session ends by itself.


def test_a_session_ends_half_an_hour_after_it_was_last_seen() -> None:
    records = after(A)
    session(records, user_id="user_a")
    run(say("a"), records, now=NOW + SEEN_EVERY_MS)
    end = NOW + SEEN_EVERY_MS + IDLE_MS
    assert run(expire("ses_1"), records, now=end - 1).writes == {}
    run(expire("ses_1"), records, now=end + 7)
    found = kept(records)
    assert (found.status, found.ended_because, found.ended_at, found.expires_at) == ("ended", "idle", end, None)
    assert run(expire("ses_1"), records, now=end + 10**12).writes == {}


def test_a_session_that_is_nobodys_is_removed_a_month_after_its_end() -> None:
    records: Database = {}
    session(records)
    run(expire("ses_1", "ses_unknown"), records, now=NOW + IDLE_MS)
    assert kept(records).status == "ended"
    gone = NOW + IDLE_MS + NOBODYS_KEPT_MS
    assert run(expire("ses_1"), records, now=gone - 1).writes == {}
    assert run(expire("ses_1"), records, now=gone).writes == {AT: None}


def test_a_session_that_was_idle_and_is_linked_then_stays() -> None:
    records = after(A)
    session(records)
    run(expire("ses_1"), records, now=NOW + IDLE_MS)
    run(say("a"), records, now=NOW + IDLE_MS)
    run(expire("ses_1"), records, now=NOW + 2 * IDLE_MS)
    assert (kept(records).user_id, kept(records).status, kept(records).expires_at) == ("user_a", "ended", None)


def test_the_sessions_of_another_project_are_not_seen() -> None:
    records = after(A)
    records[Key("session", "prj_2", "ses_1")] = Session(id="ses_1", created_at=NOW)
    for command in (say("a"), record(did())):
        assert refusal(command, records).code == "session_closed"


def test_a_deleted_user_is_not_made_again_from_a_browser() -> None:
    records = after(A, update("user_a", {"name": "Ada"}), delete("user_a"))
    session(records)
    assert refusal(say("a", traits={"x": 1}), records).code == "user_deleted"
    assert refusal(say("user_a", traits={"x": 1}), records).code == "user_deleted"
    assert SETTINGS.tombstone_days == 30
