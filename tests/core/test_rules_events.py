"""Events: what is kept of what a user did, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    Database,
    delete,
    made,
    refusal,
    run,
    session,
    stored,
    update,
)
from userfold.core.commands import Forget, Once, RecordEvent
from userfold.core.errors import (
    BagTooDeep,
    BagTooLarge,
    FieldFormatInvalid,
    FieldInvalid,
    SessionClosed,
    UserDisabled,
    UserNotFound,
)
from userfold.core.event_rules import OCCURRED_AT_MAX, first_id
from userfold.core.ids import make_id
from userfold.core.records import Event, Idempotency, Key, Tombstone, User


def record(user: User | str, name: str = "order paid", by: Any = BACKEND, **more: Any) -> RecordEvent:
    user_id = user if isinstance(user, str) else user.id
    return RecordEvent(project_id=PROJECT, author=by, user_id=user_id, name=name, **more)


def recorded(records: Database, *args: Any, now: int = NOW, **more: Any) -> Event:
    """An event that was just recorded."""
    event = run(record(*args, **more), records, now=now).record
    assert isinstance(event, Event)
    return event


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_an_event_is_kept_beside_the_user_which_does_not_change() -> None:
    records: Database = {}
    ada = made(records, {})
    before = dict(records)
    applied = run(record(ada, properties={"total": 9.5, "null": None}, occurred_at=7), records, now=NOW + 5, entropy=41)
    event = Event(
        id=make_id("evt_", NOW + 5, 42),
        user_id=ada.id,
        session_id=None,
        name="order paid",
        properties={"total": 9.5, "null": None},
        occurred_at=7,
        created_at=NOW + 5,
        source="native",
        actor="key_1",
    )
    assert applied.record == event
    assert records == {**before, Key("event", PROJECT, event.id): event}
    assert (applied.user, applied.change) == (None, None)


def test_an_event_occurred_when_it_came_unless_it_says_otherwise() -> None:
    records: Database = {}
    ada = made(records, {})
    assert recorded(records, ada, now=NOW + 5).occurred_at == NOW + 5
    assert recorded(records, ada, occurred_at=0).occurred_at == 0
    assert recorded(records, ada, occurred_at=OCCURRED_AT_MAX).occurred_at == OCCURRED_AT_MAX


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": ""}, FieldFormatInvalid, "/name"),
    ({"name": " "}, FieldFormatInvalid, "/name"),
    ({"name": "x" * 256}, FieldFormatInvalid, "/name"),
    ({"name": "a\0"}, FieldFormatInvalid, "/name"),
    ({"occurred_at": -1}, FieldInvalid, "/occurred_at"),
    ({"occurred_at": OCCURRED_AT_MAX + 1}, FieldInvalid, "/occurred_at"),
    ({"properties": {"a": "x" * 65_530}}, BagTooLarge, "/properties"),
    ({"properties": deep(33)}, BagTooDeep, "/properties"),
]


@pytest.mark.parametrize(("given", "kind", "path"), BAD)
def test_a_bad_event_is_refused(given: dict[str, Any], kind: type[Exception], path: str) -> None:
    records: Database = {}
    ada = made(records, {})
    error = refusal(record(ada, **given), records)
    assert (type(error), error.path) == (kind, path)


def test_the_largest_event_is_taken() -> None:
    records: Database = {}
    ada = made(records, {})
    recorded(records, ada, name="x" * 255, properties={"a": "x" * 65_528})
    recorded(records, ada, properties=deep(32))


def test_an_event_needs_a_user_who_is_there() -> None:
    records: Database = {}
    ada = made(records, {})
    run(delete(ada), records)
    for user_id in (ada.id, "user_z"):
        assert type(refusal(record(user_id, name=""), records)) is UserNotFound


def test_a_browser_records_nothing_about_a_disabled_user_and_a_backend_does() -> None:
    records: Database = {}
    ada = made(records, {})
    run(update(ada, {"disabled": True}), records)
    assert type(refusal(record(ada, by=BROWSER), records)) is UserDisabled
    recorded(records, ada)


def test_an_event_of_a_session_is_of_an_active_session_of_that_user() -> None:
    records: Database = {}
    ada, bea = made(records, {}), made(records, {})
    own = session(records, user_id=ada.id, id="ses_own")
    assert recorded(records, ada, by=BROWSER, session_id=own).session_id == own
    for other in (
        "ses_unknown",
        session(records, user_id=bea.id, id="ses_bea"),
        session(records, id="ses_nobody"),
        session(records, user_id=ada.id, status="ended", id="ses_ended"),
    ):
        assert type(refusal(record(ada, by=BROWSER, session_id=other), records)) is SessionClosed


# Who is deleted.


def test_a_users_events_outlive_it_until_they_are_swept_and_its_answers_do_not() -> None:
    records: Database = {}
    ada = made(records, {})
    event = recorded(records, ada, once=Once("k", "1"))
    answer = records[Key("idempotency", PROJECT, "k")]
    assert isinstance(answer, Idempotency)
    assert answer.user_id == ada.id
    run(delete(ada), records)
    assert Key("idempotency", PROJECT, "k") not in records
    key = Key("event", PROJECT, event.id)
    assert records[key] == event
    run(Forget(project_id=PROJECT, author=BACKEND, keys=(key,)), records)
    assert key not in records


def test_events_of_a_user_who_is_there_are_not_swept_though_one_of_that_id_was_deleted() -> None:
    records: Database = {}
    made(records, {}, user_id="u1")
    old = recorded(records, "u1")
    run(delete("u1"), records, now=NOW + 5)
    made(records, {}, user_id="u1")
    new = recorded(records, "u1", now=NOW + 6)
    keys = tuple(Key("event", PROJECT, event.id) for event in (old, new))
    run(Forget(project_id=PROJECT, author=BACKEND, keys=keys), records)
    assert [key in records for key in keys] == [False, True]


def test_the_events_of_a_user_begin_after_the_deletion_of_an_earlier_one() -> None:
    records: Database = {}
    made(records, {}, user_id="u1")
    old = [recorded(records, "u1", now=NOW + after) for after in (0, 5)]
    run(delete("u1"), records, now=NOW + 5)
    made(records, {}, user_id="u1")
    new = recorded(records, "u1", now=NOW + 6)
    tombstone = records[Key("tombstone", PROJECT, "u1")]
    assert isinstance(tombstone, Tombstone)
    first = first_id("evt_", tombstone)
    assert [event.id > first for event in (*old, new)] == [False, False, True]
    assert all(event.id > first_id("evt_", None) for event in (*old, new))


def test_an_event_that_is_sent_again_with_its_key_is_one_event() -> None:
    records: Database = {}
    ada = made(records, {})
    first = recorded(records, ada, once=Once("k", "1"))
    assert recorded(records, ada, once=Once("k", "1")) == first
    assert len([one for one in records.values() if isinstance(one, Event)]) == 1
    assert stored(records, ada) == ada
