"""Presence: what activity and sign-ins make of it, what is not worth a write, and that the user stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    NOW,
    PROJECT,
    Database,
    after,
    create,
    delete,
    look,
    refusal,
    run,
    sign_in,
    stored,
    update,
)
from userfold.core.commands import NoteActivity
from userfold.core.presence import (
    LENGTHS_MAX,
    STEP_MS,
    context,
    is_stale,
    presence_key,
    presence_of,
    signed_in,
    touched,
)
from userfold.core.records import Context, Presence

NEW = Presence(id="user_a")
HOME = Context(ip_address="192.0.2.1", user_agent="Firefox", browser_language="pl", entry_url="https://x.example/")
OFFICE = Context(ip_address="192.0.2.2")
SEEN = Presence(id="user_a", last_active_at=NOW, last_sign_in_at=NOW - 9, page_views=3, context=HOME)

# When, what is told → what is different afterwards.
TOUCHES: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (NOW, {}, {}),
    (NOW + STEP_MS - 1, {}, {}),
    (NOW + STEP_MS, {}, {"last_active_at": NOW + STEP_MS}),
    (NOW - STEP_MS, {}, {}),
    (NOW + 1, {"where": HOME}, {}),
    (NOW + 1, {"where": OFFICE}, {"last_active_at": NOW + 1, "context": OFFICE}),
    (NOW + 1, {"page_views": 2}, {"last_active_at": NOW + 1, "page_views": 5}),
    (NOW - 1, {"page_views": 1}, {"page_views": 4}),
    (NOW + STEP_MS, {"where": Context()}, {"last_active_at": NOW + STEP_MS}),
]


@pytest.mark.parametrize(("now", "told", "different"), TOUCHES)
def test_what_says_nothing_new_changes_nothing_and_what_does_is_taken_whole(
    now: int, told: dict[str, Any], different: dict[str, Any]
) -> None:
    before, changed = SEEN, touched(SEEN, now, **told)
    names = [name for name in Presence.__struct_fields__ if getattr(changed, name) != getattr(before, name)]
    assert {name: getattr(changed, name) for name in names} == different
    assert (changed is before) is (different == {})


def test_whoever_was_never_active_is_now() -> None:
    assert touched(NEW, NOW, HOME) == Presence(id="user_a", last_active_at=NOW, context=HOME)


def test_a_sign_in_is_active_at_once_and_no_time_goes_back() -> None:
    assert signed_in(NEW, NOW) == Presence(id="user_a", last_active_at=NOW, last_sign_in_at=NOW)
    again = signed_in(SEEN, NOW + 1)
    assert (again.last_active_at, again.last_sign_in_at, again.context) == (NOW + 1, NOW + 1, HOME)
    earlier = signed_in(SEEN, NOW - 20, OFFICE)
    assert (earlier.last_active_at, earlier.last_sign_in_at, earlier.context) == (NOW, NOW - 9, OFFICE)


@pytest.mark.parametrize(
    ("presence", "stale"), [(None, True), (NEW, True), (SEEN, False), (touched(SEEN, NOW - STEP_MS + 1), False)]
)
def test_it_is_news_that_somebody_is_active_who_was_not_so_a_minute_ago(presence: Presence | None, stale: bool) -> None:
    assert is_stale(presence, NOW) is stale
    assert is_stale(SEEN, NOW + STEP_MS)


def test_a_context_is_cut_to_its_limits_and_what_is_not_told_is_not_there() -> None:
    assert set(LENGTHS_MAX) == set(Context.__struct_fields__)
    long = context(**dict.fromkeys(LENGTHS_MAX, "x" * 5_000))
    assert {name: len(getattr(long, name)) for name in LENGTHS_MAX} == LENGTHS_MAX
    assert context(ip_address=None, user_agent="a") == Context(user_agent="a")


# The rules.


def active(user_id: str = "user_a") -> NoteActivity:
    return NoteActivity(project_id=PROJECT, author=BACKEND, user_id=user_id)


def presence(records: Database) -> Presence:
    return presence_of(records, PROJECT, "user_a")


def ada() -> Database:
    return after(create({"name": "Ada"}, user_id="user_a"))


def test_signing_in_and_being_active_make_no_version_and_no_change() -> None:
    records = ada()
    user, keys = stored(records, "user_a"), set(records)
    run(sign_in("user_a", ip_address="192.0.2.1"), records, now=NOW + 5)
    applied = run(active(), records, now=NOW + 5 + STEP_MS)
    assert (applied.user, applied.change, applied.created) == (user, None, False)
    assert {key.kind for key in set(records) - keys} == {"sign_in", "presence"}
    assert stored(records, "user_a") == user
    assert presence(records) == Presence(
        id="user_a",
        last_active_at=NOW + 5 + STEP_MS,
        last_sign_in_at=NOW + 5,
        context=Context(ip_address="192.0.2.1"),
    )


def test_activity_a_moment_later_writes_nothing() -> None:
    records = ada()
    assert set(run(active(), records).writes) == {presence_key(PROJECT, "user_a")}
    assert run(active(), records, now=NOW + STEP_MS - 1).writes == {}


@pytest.mark.parametrize("command", [active(), sign_in("user_a")])
def test_a_presence_is_written_by_one_round_of_reading_that_holds_the_user(command: Any) -> None:
    seen = look(command, ada())
    assert seen.rounds == 1
    assert ("user", "user_a") in {(key.kind, key.id) for key in seen.view}


def test_nobody_is_active_who_is_not_there() -> None:
    records = ada()
    assert refusal(active("user_z"), records).code == "user_not_found"
    run(active(), records)
    run(delete("user_a"), records)
    assert presence_key(PROJECT, "user_a") not in records
    assert refusal(active(), records).code == "user_not_found"


def test_a_user_that_gives_way_to_another_takes_its_presence_along_and_one_that_changes_does_not() -> None:
    records = ada()
    run(active(), records)
    run(update("user_a", {"name": "Ada L."}), records)
    assert presence(records).last_active_at == NOW
    run(create({"name": "Eve"}, user_id="user_a", replace=True), records)
    assert presence_key(PROJECT, "user_a") not in records
