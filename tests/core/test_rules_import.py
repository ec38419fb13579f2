"""A user with a history joins a project: as it is, or not at all where something of it is somebody else's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BROWSER,
    NOW,
    PROJECT,
    Database,
    after,
    as_json,
    changes_of,
    create,
    delete,
    folded,
    imported,
    line,
    look,
    made,
    names,
    refusal,
    run,
    sign_in,
    stored,
    update,
    upsert,
)
from userfold.core.commands import Once
from userfold.core.errors import ChangeIdTaken, FieldInvalid, IdentifierTaken, LimitReached
from userfold.core.records import EffectiveSettings, Identifier, Key, Presence, Secrets, Segment

BCRYPT = "$2b$10$" + "a" * 53
EMAIL = {
    "id": "idn_1",
    "email_address": "ada@example.com",
    "verified": True,
    "primary": True,
    "created_at": NOW,
    "updated_at": NOW,
}


def full(user_id: str = "user_a", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "external_id": "x",
        "usercom_id": 7,
        "username": "Ada",
        "email_addresses": [EMAIL],
        "external_id_aliases": ["y"],
    }
    return line(user_id, **(fields | more))


def test_an_import_writes_the_user_its_history_and_its_names_as_they_are() -> None:
    records: Database = {}
    given = full()
    given["system"]["identifiers"] = {"external_id|y": "browser", "external_id|x": "verified"}
    applied = run(imported(given), records, now=NOW + 5)
    assert applied.created
    assert as_json(stored(records, "user_a")) == given["user"]
    assert as_json(changes_of(records, "user_a")) == given["changes"]
    assert folded(records, "user_a") == given["user"]
    assert {r.identifier: r.set_by for r in records.values() if isinstance(r, Identifier)} == {
        "external_id|x": "verified",
        "external_id|y": "browser",
        "email|ada@example.com": "backend",
        "username|ada": "backend",
        "usercom_id|7": "backend",
    }
    assert Key("secrets", PROJECT, "user_a") not in records


def test_an_imported_user_can_be_updated_and_its_versions_go_on() -> None:
    records: Database = {}
    run(imported(full()), records)
    run(update("user_a", {"external_id": "z"}), records)
    assert stored(records, "user_a").version == 2
    assert "external_id|x" not in names(records)
    assert folded(records, "user_a") == as_json(stored(records, "user_a"))


def test_secrets_come_along_and_are_told_nowhere_else() -> None:
    records: Database = {}
    given = full(password_enabled=True) | {"secrets": {"password_digest": BCRYPT, "version": 4}}
    run(imported(given), records)
    assert records[Key("secrets", PROJECT, "user_a")] == Secrets(id="user_a", password_digest=BCRYPT, version=4)
    assert stored(records, "user_a").password_enabled
    assert len(changes_of(records, "user_a")) == 1


def test_a_presence_comes_along_and_takes_the_place_of_the_one_that_was_there() -> None:
    given = full()
    given["system"]["presence"] = {"last_active_at": NOW - 9, "page_views": 2}
    records = after(create({}, user_id="user_a"), sign_in("user_a"))
    at = Key("presence", PROJECT, "user_a")
    assert at in look(imported(given), {}).view, "what is written over must be known"
    run(imported(given, replace=True), records)
    assert records[at] == Presence(id="user_a", last_active_at=NOW - 9, page_views=2)
    del given["system"]["presence"]
    run(imported(given, replace=True), records)
    assert at not in records


def test_a_password_that_did_not_come_along_is_one_change_more() -> None:
    records: Database = {}
    run(imported(full(password_enabled=True)), records, now=NOW + 5)
    user = stored(records, "user_a")
    assert (user.password_enabled, user.version, user.updated_at) == (False, 2, NOW + 5)
    change = changes_of(records, "user_a")[1]
    assert as_json(change.operations) == [
        {"op": "replace", "path": "/password_enabled", "old": True, "new": False},
    ]
    assert folded(records, "user_a") == as_json(user)


# What is there already, the line, and the path at which it is refused.
TAKEN: list[tuple[Any, dict[str, Any], str]] = [
    (create({}, user_id="user_a"), full(), "/id"),
    (create({"external_id": "user_a"}, user_id="user_b"), full(), "/id"),
    (create({"external_id": "x"}, user_id="user_b"), full(), "/external_id"),
    (create({"external_id": "y"}, user_id="user_b"), full(), "/external_id_aliases/0"),
    (create({}, user_id="x"), full(), "/external_id"),
    (create({}, user_id="y"), full(), "/external_id_aliases/0"),
    (create({"username": "ADA"}, user_id="user_b"), full(), "/username"),
    (create({"email_addresses": ["Ada@Example.com"]}, user_id="user_b"), full(), "/email_addresses/0"),
    (imported(line("user_b", usercom_id=7, change_id="chg_b")), full(), "/usercom_id"),
]


@pytest.mark.parametrize(("there", "given", "path"), TAKEN)
def test_what_belongs_to_another_user_is_refused_by_name(there: Any, given: dict[str, Any], path: str) -> None:
    records: Database = {}
    run(there, records)
    error = refusal(imported(given), records)
    assert isinstance(error, IdentifierTaken)
    assert error.path == path
    if path != "/id" or there.user_id != "user_a":
        assert refusal(imported(given, replace=True), records).path == path


@pytest.mark.parametrize("replace", [True, False])
def test_a_history_belongs_to_one_user_of_a_project(replace: bool) -> None:
    records: Database = {}
    run(imported(line("user_a")), records)
    error = refusal(imported(line("user_b"), replace=replace), records)
    assert isinstance(error, ChangeIdTaken)
    assert error.path == "/changes/0/id"


def test_a_replaced_user_leaves_nothing() -> None:
    records: Database = {}
    old = made(records, {"external_id": "old", "email_addresses": ["old@example.com"]}, user_id="user_a")
    run(update("user_a", {"name": "A"}, password_digest=BCRYPT, once=Once("k", "1")), records)
    run(upsert("old", {"external_id": "old"}), records)
    run(sign_in("user_a"), records)
    given = full()
    applied = run(imported(given, replace=True), records)
    assert not applied.created
    assert as_json(stored(records, "user_a")) == given["user"]
    assert as_json(changes_of(records, "user_a")) == given["changes"]
    assert set(names(records)) == {
        "external_id|x",
        "external_id|y",
        "email|ada@example.com",
        "username|ada",
        "usercom_id|7",
    }
    assert old.usercom_id != 7
    kinds = sorted(key.kind for key in records)
    assert kinds == ["change", *["identifier"] * 5, "user"]  # no tombstone, no answer, no sign-in, no secret


def test_a_user_can_be_replaced_by_itself() -> None:
    records: Database = {}
    given = full(password_enabled=True) | {"secrets": {"password_digest": BCRYPT, "version": 1}}
    run(imported(given), records)
    before = dict(records)
    run(imported(given, replace=True), records)
    assert records == before


def test_replacing_nobody_is_an_import() -> None:
    records: Database = {}
    assert run(imported(full(), replace=True), records).created


def test_a_new_user_in_the_place_of_another_keeps_only_the_number() -> None:
    records: Database = {}
    old = made(records, {"external_id": "old", "traits": {"a": 1}}, user_id="user_a", password_digest=BCRYPT)
    run(update("user_a", {"name": "A"}), records)
    applied = run(create({"name": "New"}, user_id="user_a", replace=True), records)
    user = stored(records, "user_a")
    assert not applied.created
    assert (user.name, user.traits, user.version, user.usercom_id) == ("New", {}, 1, old.usercom_id)
    assert not user.password_enabled
    assert [change.version for change in changes_of(records, "user_a")] == [1]
    assert set(names(records)) == {f"usercom_id|{old.usercom_id}"}
    assert Key("secrets", PROJECT, "user_a") not in records


def test_a_new_user_in_the_place_of_another_may_have_the_same_password_and_none_of_the_other_secrets() -> None:
    records: Database = {}
    run(create({}, user_id="user_a"), records)
    records[Key("secrets", PROJECT, "user_a")] = Secrets(id="user_a", password_digest=BCRYPT, totp_secret="t")
    run(create({}, user_id="user_a", replace=True, password_digest=BCRYPT), records)
    assert stored(records, "user_a").password_enabled
    assert records[Key("secrets", PROJECT, "user_a")] == Secrets(id="user_a", password_digest=BCRYPT)


def test_a_user_whose_external_id_is_its_own_id_can_be_replaced() -> None:
    records: Database = {}
    run(create({"external_id": "user_a"}, user_id="user_a"), records)
    given = line("user_a", external_id="user_a")
    assert not run(imported(given, replace=True), records).created
    assert names(records)["external_id|user_a"] == "user_a"


def test_who_claimed_an_external_id_decides_whether_a_backend_adopts_it() -> None:
    for level, adopted in (("browser", True), ("backend", False)):
        records: Database = {}
        given = line("user_a", external_id="x")
        given["system"]["identifiers"] = {"external_id|x": level}
        run(imported(given), records)
        if adopted:
            assert run(create({"external_id": "x"}), records).created
            assert stored(records, "user_a").owned == ("external_id",)
        else:
            assert isinstance(refusal(create({"external_id": "x"}), records), IdentifierTaken)


def test_a_browser_goes_on_writing_to_the_user_it_named() -> None:
    records: Database = {}
    run(imported(line("user_a", external_id="x")), records)
    run(upsert("x", {"traits": {"a": 1}}, BROWSER), records)
    assert stored(records, "user_a").traits == {"a": 1}


def test_a_tombstone_does_not_keep_an_import_out() -> None:
    records: Database = {}
    run(create({}, user_id="user_a"), records)
    run(delete("user_a"), records)
    assert run(imported(full()), records).created


def test_a_line_whose_fields_break_a_rule_never_becomes_a_command() -> None:
    with pytest.raises(FieldInvalid):
        imported(full(usercom_id=0))


def test_segments_that_are_missing_are_made_and_others_keep_their_name() -> None:
    records: Database = {}
    given = full(segments=["seg_1", "seg_2"])
    given["system"]["segments"] = {"seg_1": "Beta", "seg_2": "Gamma"}
    there = Segment(id="seg_2", project_id=PROJECT, name="Other", created_at=1, updated_at=1)
    records[Key("segment", PROJECT, "seg_2")] = there
    run(imported(given), records, now=NOW + 5)
    assert records[Key("segment", PROJECT, "seg_2")] == there
    assert records[Key("segment", PROJECT, "seg_1")] == Segment(
        id="seg_1", project_id=PROJECT, name="Beta", created_at=NOW + 5, updated_at=NOW + 5
    )
    full_project = EffectiveSettings(segments=frozenset(map(str, range(1_000))))
    given["system"]["segments"] = {"seg_1": "Beta"}
    assert isinstance(refusal(imported(given), {}, settings=full_project), LimitReached)
