"""Deleting a user: what goes, what is left, who may use its names again and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    DAY_MS,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    after,
    changes_of,
    create,
    delete,
    names,
    refusal,
    run,
    stored,
    trust,
    update,
    upsert,
    user_of,
)
from userfold.core.claims import identifier_key, tombstone_id
from userfold.core.commands import Command
from userfold.core.records import EffectiveSettings, Erasure, Key, Tombstone
from userfold.core.trust import Author

FULL: dict[str, Any] = {
    "external_id": "a",
    "username": "ada",
    "email_addresses": ["a@b.c", "x@b.c"],
    "phone_numbers": ["+442079460958"],
}


def tombstone_key(external_id: str) -> Key:
    return Key("tombstone", PROJECT, tombstone_id(PROJECT, f"external_id|{external_id}"))


def test_nothing_but_tombstones_is_left_of_a_user() -> None:
    records = after(create(FULL, user_id="user_a"), update("user_a", {"name": "Ada"}))
    applied = run(delete("user_a"), records, now=NOW + 5)
    by_id, by_name = Key("tombstone", PROJECT, "user_a"), tombstone_key("a")
    assert records == {
        key: Tombstone(id=key.id, user_id="user_a", at=NOW + 5, source="native", actor="key_1")
        for key in (by_id, by_name)
    } | {Key("erasure", PROJECT, "user_a"): Erasure(id="user_a", project_id=PROJECT, at=NOW + 5)}
    assert (applied.user, applied.change, applied.created) == (None, None, False)


def test_deleting_names_each_record_that_goes() -> None:
    records = after(create(FULL, user_id="user_a"))
    number = stored(records, "user_a").usercom_id
    applied = run(delete("user_a"), records)
    gone = {key for key, record in applied.writes.items() if record is None}
    identifiers = {
        f"usercom_id|{number}",
        "external_id|a",
        "username|ada",
        "email|a@b.c",
        "email|x@b.c",
        "phone|+442079460958",
    }
    assert gone == {
        Key("user", PROJECT, "user_a"),
        *(Key(collection, PROJECT, "user_a") for collection in ("changes", "answers", "sign_ins")),
        *(identifier_key(PROJECT, name) for name in identifiers),
    }


def test_a_tombstone_does_not_show_the_name_that_it_closes() -> None:
    records = after(create({"external_id": "ada@example.com"}, user_id="user_a"), delete("user_a"))
    assert "ada@example.com" not in repr(records)


def test_another_user_and_its_history_stay() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), create({"external_id": "b"}, user_id="user_b"))
    before = dict(records)
    run(delete("user_a"), records)
    for key, record in before.items():
        if "user_b" in repr(record):
            assert records[key] == record
    assert len(changes_of(records, "user_b")) == 1


def test_aliases_are_freed_and_closed_too() -> None:
    records = after(
        create({"external_id": "a"}, BROWSER, user_id="user_a"),
        update("user_a", {"external_id": "b"}, BROWSER),
        delete("user_a"),
    )
    assert names(records) == {}
    assert {tombstone_key("a"), tombstone_key("b")} <= set(records)
    assert refusal(upsert("a", {}, BROWSER), records).code == "user_deleted"


def test_a_user_that_is_gone_cannot_be_deleted_again() -> None:
    records = after(create({}, user_id="user_a"), delete("user_a"))
    assert refusal(delete("user_a"), records).code == "user_not_found"


def test_a_name_can_be_deleted_again_and_the_newer_tombstone_counts() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), delete("user_a"))
    run(create({"external_id": "a"}, user_id="user_a"), records)
    run(delete("user_a"), records, now=NOW + 20 * DAY_MS)
    assert refusal(upsert("a", {}, BROWSER), records, now=NOW + 31 * DAY_MS).code == "user_deleted"


# Who comes back, how long after, in a project with so many days → made, or refused.
RETURNS: list[tuple[Author, int, int, bool]] = [
    (BROWSER, 0, 30, False),
    (BROWSER, 30 * DAY_MS - 1, 30, False),
    (BROWSER, 30 * DAY_MS, 30, True),
    (BROWSER, 31 * DAY_MS, 30, True),
    (VERIFIED, 0, 30, False),
    (VERIFIED, 30 * DAY_MS, 30, True),
    (BACKEND, 0, 30, True),
    (BROWSER, DAY_MS - 1, 1, False),
    (BROWSER, DAY_MS, 1, True),
    (BROWSER, 0, 0, True),
]
WAYS_BACK: dict[str, Any] = {
    "create": lambda by: create({"external_id": "a"}, by),
    "create, naming the id": lambda by: create({"external_id": "user_a"}, by),
    "upsert": lambda by: upsert("a", {}, by),
    "upsert, naming the id": lambda by: upsert("user_a", {}, by),
}


@pytest.mark.parametrize("way", WAYS_BACK)
@pytest.mark.parametrize(("by", "later_ms", "days", "made"), RETURNS, ids=trust)
def test_a_deleted_name_is_closed_to_browsers_for_a_time(
    way: str, by: Author, later_ms: int, days: int, made: bool
) -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), delete("user_a"))
    settings = EffectiveSettings(tombstone_days=days)
    command: Command = WAYS_BACK[way](by)
    if made:
        applied = run(command, records, now=NOW + later_ms, settings=settings)
        assert (applied.created, user_of(applied).version) == (True, 1)
    else:
        refused = refusal(command, records, now=NOW + later_ms, settings=settings)
        assert (refused.code, refused.data) == (
            "user_deleted",
            {"path": "/external_id", "until": NOW + days * DAY_MS},
        )


def test_thirty_days_are_what_a_project_has_unless_it_says_otherwise() -> None:
    assert EffectiveSettings().tombstone_days == 30


def test_a_browser_may_make_a_user_without_a_name_at_any_time() -> None:
    records = after(create({}, user_id="user_a"), delete("user_a"))
    assert run(create({}, BROWSER), records).created


def test_a_name_deleted_in_another_project_is_not_closed_here() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"), delete("user_a"))
    elsewhere: Database = {key._replace(project_id="prj_2"): record for key, record in records.items()}
    assert run(upsert("a", {}, BROWSER), elsewhere).created


def test_a_user_of_another_project_cannot_be_deleted() -> None:
    records = after(create({"external_id": "a"}, user_id="user_a"))
    elsewhere: Database = {key._replace(project_id="prj_2"): record for key, record in records.items()}
    assert refusal(delete("user_a"), elsewhere).data == {"user_id": "user_a"}


def test_a_disabled_user_can_be_deleted() -> None:
    records = after(create({"disabled": True}, user_id="user_a"), delete("user_a"))
    assert Key("user", PROJECT, "user_a") not in records
