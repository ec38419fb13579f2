"""Users of another system: what it says of them arrives late, twice and in any order."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    Database,
    after,
    changes_of,
    create,
    delete,
    look,
    refusal,
    run,
    sign_in,
    stored,
    update,
    upsert,
)
from userfold.core.commands import Command, Edit, MirrorDeletion, MirrorUser
from userfold.core.errors import FieldFormatInvalid, IdentifierTaken, UserDeleted
from userfold.core.records import EffectiveSettings, Key, Mirror, Secrets, Tombstone
from userfold.core.rules import reads

DIGEST = "$2b$10$" + "a" * 53
OTHER_DIGEST = "$2b$10$" + "b" * 53
MIRRORS = EffectiveSettings(mirrors=True)


def told(changed_at: int, told_at: int = 0, user_id: str = "user_a", **fields: Any) -> MirrorUser:
    return MirrorUser(
        project_id=PROJECT,
        author=BACKEND,
        user_id=user_id,
        edits=(Edit("replace", fields),),
        changed_at=changed_at,
        told_at=told_at,
        created_at=1,
    )


def gone(user_id: str = "user_a") -> MirrorDeletion:
    return MirrorDeletion(project_id=PROJECT, author=BACKEND, user_id=user_id)


FIRST = told(10, 100, first_name="Ada", public_metadata={"plan": "free", "old": 1})
SECOND = told(20, 200, first_name="Augusta", public_metadata={"plan": "pro"})
SAME_MS = told(20, 201, first_name="Augusta Ada", public_metadata={})


def test_a_user_who_is_not_known_is_made_with_its_id() -> None:
    records: Database = {}
    applied = run(FIRST, records)
    user = stored(records, "user_a")
    assert (applied.created, user.first_name, user.created_at, user.version) == (True, "Ada", 1, 1)
    assert records[Key("mirror", PROJECT, "user_a")] == Mirror(id="user_a", changed_at=10, told_at=100)


@pytest.mark.parametrize("order", list(itertools.permutations([FIRST, SECOND, SAME_MS])))
def test_in_whatever_order_it_arrives_the_newest_stays(order: tuple[Command, ...]) -> None:
    records = after(*order)
    user = stored(records, "user_a")
    assert (user.first_name, user.public_metadata) == ("Augusta Ada", {})


@pytest.mark.parametrize("again", [FIRST, SECOND])
def test_what_arrives_again_changes_nothing_also_if_the_user_was_changed_here_since(again: Command) -> None:
    records = after(FIRST, SECOND, update("user_a", {"public_metadata": {"here": True}}))
    before = dict(records)
    applied = run(again, records)
    assert (applied.writes, applied.user, applied.created) == ({}, stored(records, "user_a"), False)
    assert records == before


def test_what_changes_nothing_is_no_version_but_is_newer() -> None:
    records = after(SECOND)
    applied = run(told(30, 300, first_name="Augusta", public_metadata={"plan": "pro"}), records)
    assert applied.change is None
    assert stored(records, "user_a").version == 1
    run(told(25, 250, first_name="Late"), records)
    assert stored(records, "user_a").first_name == "Augusta"


def test_what_it_does_not_know_stays() -> None:
    records = after(FIRST, update("user_a", {"traits": {"a": 1}, "contact_email": "a@x.org"}), SECOND)
    user = stored(records, "user_a")
    assert (user.traits, user.contact_email, user.first_name) == ({"a": 1}, "a@x.org", "Augusta")
    assert [change.source for change in changes_of(records, "user_a")] == [BACKEND.source] * 3


def test_a_user_who_was_here_before_is_taken_over() -> None:
    records = after(create({"first_name": "Here", "last_name": "L"}, user_id="user_a"), FIRST)
    user = stored(records, "user_a")
    assert (user.first_name, user.last_name, user.created_at, user.version) == ("Ada", "L", 1, 2)


def test_what_is_not_newer_does_not_say_either_when_the_user_was_created() -> None:
    late = msgspec.structs.replace(FIRST, created_at=7)
    assert stored(after(SECOND, late), "user_a").created_at == 1


@pytest.mark.parametrize(
    "order",
    [
        [FIRST, SECOND, gone()],
        [FIRST, gone(), SECOND],
        [gone(), FIRST, SECOND],
        [gone(), SECOND, FIRST],
        [gone(), gone(), FIRST],
    ],
)
def test_whoever_was_deleted_does_not_come_back(order: list[Command]) -> None:
    records = after(*order)
    assert {key.kind for key in records} <= {"tombstone", "erasure"}
    grave = records[Key("tombstone", PROJECT, "user_a")]
    assert isinstance(grave, Tombstone)
    assert (grave.user_id, grave.source, grave.actor) == ("user_a", BACKEND.source, BACKEND.actor)
    late = run(told(99, 999, first_name="Late"), records)
    assert (late.writes, late.user) == ({}, None)


def test_whoever_was_deleted_here_does_not_come_back_either() -> None:
    records = after(FIRST, delete("user_a"))
    assert run(SECOND, records).writes == {}
    assert Key("mirror", PROJECT, "user_a") not in records


def test_a_deletion_that_arrives_again_writes_nothing() -> None:
    records = after(FIRST, gone())
    assert run(gone(), records, now=NOW + 5).writes == {}


def test_a_deleted_user_who_was_made_again_here_is_followed_again() -> None:
    records = after(FIRST, delete("user_a"), create({"first_name": "New"}, user_id="user_a"), SECOND)
    assert stored(records, "user_a").first_name == "Augusta"


TAKEN = {
    "email_addresses": ["ada@example.com"],
    "phone_numbers": ["+442079460958"],
    "username": "ada",
    "external_id": "7",
}


@pytest.mark.parametrize("field", TAKEN)
def test_a_name_that_belongs_to_another_user_refuses_all_and_is_taken_over_once_it_is_free(field: str) -> None:
    records = after(create({field: TAKEN[field]}, user_id="user_b"))
    fields: dict[str, Any] = {"first_name": "Ada", field: TAKEN[field]}
    wanted = told(50, 500, **fields)
    assert isinstance(refusal(wanted, records), IdentifierTaken)
    run(FIRST, records)
    assert isinstance(refusal(wanted, records), IdentifierTaken)
    run(update("user_b", {field: None}), records)
    run(wanted, records)
    assert stored(records, "user_a").version == 2


def test_whom_a_page_named_first_is_the_user_that_is_told_of() -> None:
    records: Database = {}
    run(upsert("user_a", {"first_name": "Page", "traits": {"a": 1}}, BROWSER), records, settings=MIRRORS)
    applied = run(FIRST, records, settings=MIRRORS)
    user = stored(records, "user_a")
    assert (applied.created, user.first_name, user.traits, user.created_at, user.version) == (
        False,
        "Ada",
        {"a": 1},
        1,
        2,
    )
    run(upsert("user_a", {"first_name": "Page", "traits": {"b": 2}}, BROWSER), records, settings=MIRRORS)
    assert (stored(records, "user_a").first_name, stored(records, "user_a").traits) == ("Ada", {"a": 1, "b": 2})


def test_whom_a_page_named_first_is_named_so_also_if_the_other_system_has_another_name_for_it() -> None:
    records: Database = {}
    run(upsert("user_a", {"traits": {"a": 1}}, BROWSER), records, settings=MIRRORS)
    assert stored(records, "user_a").external_id == "user_a"
    run(told(10, external_id="ext-1"), records, settings=MIRRORS)
    for name in ("user_a", "ext-1"):
        assert run(upsert(name, {"traits": {"a": 1}}, BROWSER), records, settings=MIRRORS).user is not None
    assert len([key for key in records if key.kind == "user"]) == 1


def test_only_what_looks_like_the_id_of_a_user_becomes_one() -> None:
    made = run(upsert("42", {"traits": {"a": 1}}, BROWSER), {}, settings=MIRRORS).user
    assert made is not None
    assert (made.id == "42", made.external_id) == (False, "42")


def test_a_page_does_not_bring_back_whom_the_other_system_has_deleted() -> None:
    records = after(FIRST, gone())
    assert isinstance(refusal(upsert("user_a", {"traits": {"a": 1}}, BROWSER), records, settings=MIRRORS), UserDeleted)


def test_an_id_that_an_app_calls_another_user_by_is_refused() -> None:
    records = after(upsert("user_a", {"traits": {"a": 1}}, BROWSER))
    error = refusal(FIRST, records)
    assert isinstance(error, IdentifierTaken)
    assert error.path == "/id"


@pytest.mark.parametrize("user_id", ["", "x" * 256, "a\0"])
def test_an_id_must_be_one(user_id: str) -> None:
    assert isinstance(refusal(told(1, user_id=user_id, first_name="A"), {}), FieldFormatInvalid)
    assert isinstance(refusal(gone(user_id), {}), FieldFormatInvalid)


def test_a_ban_there_ends_all_sign_ins_here() -> None:
    records = after(FIRST, sign_in("user_a", "ses_1"))
    run(told(30, 300, disabled=True), records)
    sign_ins = [record for key, record in records.items() if key.kind == "sign_in"]
    assert [getattr(one, "status", None) for one in sign_ins] == ["revoked"]


def password_of(records: Database) -> str | None:
    secrets = records.get(Key("secrets", PROJECT, "user_a"))
    return secrets.password_digest if isinstance(secrets, Secrets) else None


def with_password(command: MirrorUser, digest: str) -> MirrorUser:
    return msgspec.structs.replace(command, password_digest=digest)


def test_a_password_comes_along_also_with_what_is_not_newer_but_only_to_a_user_without_one() -> None:
    records = after(SECOND)
    run(with_password(FIRST, DIGEST), records)
    user = stored(records, "user_a")
    assert (password_of(records), user.password_enabled, user.first_name) == (DIGEST, True, "Augusta")
    run(with_password(told(90, 900, first_name="Newest"), OTHER_DIGEST), records)
    assert (password_of(records), stored(records, "user_a").first_name) == (DIGEST, "Newest")
    new = after(with_password(FIRST, DIGEST))
    assert password_of(new) == DIGEST


def test_what_is_looked_at_is_known_from_the_start() -> None:
    records = after(FIRST)
    assert look(told(15, 150, first_name="Ada"), records).rounds == 1
    assert Key("tombstone", PROJECT, "user_a") in reads(gone())
