"""Segments: how they are made, changed and deleted, who is in one, and how its users leave one that was deleted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tests.core.driver import (
    BACKEND,
    NOW,
    PROJECT,
    Database,
    changes_of,
    create,
    folded,
    made,
    refusal,
    run,
    stored,
    update,
    user_of,
)
from userfold.core.commands import (
    AssignSegment,
    CreateSegment,
    DeleteSegment,
    Forget,
    LeaveDeletedSegment,
    Once,
    UnassignSegment,
    UpdateSegment,
)
from userfold.core.errors import (
    FieldFormatInvalid,
    FieldInvalid,
    FieldReadOnly,
    LimitReached,
    SegmentNotFound,
    UserNotFound,
    VersionMismatch,
)
from userfold.core.fields import DESCRIPTION_LENGTH_MAX
from userfold.core.records import EffectiveSettings, Idempotency, Key, Operation, Segment, User
from userfold.core.rules import ONCE_MS
from userfold.core.segment_rules import SEGMENTS_MAX, SEGMENTS_OF_USER_MAX
from userfold.core.trust import Author
from userfold.core.upkeep_rules import DELETED_SEGMENTS_KEPT_MS

KNOWN = EffectiveSettings(segments=frozenset({"seg_known", "seg_other"}))
SWEEP = Author(source="system", actor="key_1", trust="backend")


def segment(records: Database, name: str = "Beta") -> Segment:
    """A segment that was just made."""
    applied = run(CreateSegment(project_id=PROJECT, author=BACKEND, name=name), records)
    assert isinstance(applied.record, Segment)
    return applied.record


def stored_segment(records: Database, id_: str) -> Segment:
    found = records[Key("segment", PROJECT, id_)]
    assert isinstance(found, Segment)
    return found


def assign(user: User | str, segment_id: str, **more: Any) -> AssignSegment:
    user_id = user if isinstance(user, str) else user.id
    return AssignSegment(project_id=PROJECT, author=BACKEND, user_id=user_id, segment_id=segment_id, **more)


def unassign(user: User | str, segment_id: str, **more: Any) -> UnassignSegment:
    user_id = user if isinstance(user, str) else user.id
    return UnassignSegment(project_id=PROJECT, author=BACKEND, user_id=user_id, segment_id=segment_id, **more)


def change(segment_id: str, **more: Any) -> UpdateSegment:
    return UpdateSegment(project_id=PROJECT, author=BACKEND, segment_id=segment_id, **more)


def remove(segment_id: str, **more: Any) -> DeleteSegment:
    return DeleteSegment(project_id=PROJECT, author=BACKEND, segment_id=segment_id, **more)


def leave(user: User | str, segment_id: str) -> LeaveDeletedSegment:
    user_id = user if isinstance(user, str) else user.id
    return LeaveDeletedSegment(project_id=PROJECT, author=SWEEP, user_id=user_id, segment_id=segment_id)


# The segment itself.


def test_a_segment_is_made_with_its_times_and_version() -> None:
    records: Database = {}
    command = CreateSegment(project_id=PROJECT, author=BACKEND, name=" Beta ", description="\n")
    applied = run(command, records, now=NOW)
    assert isinstance(applied.record, Segment)
    id_ = applied.record.id
    assert id_.startswith("seg_")
    assert len(id_) == 30
    expected = Segment(
        id=id_, project_id=PROJECT, name=" Beta ", description="\n", created_at=NOW, updated_at=NOW, version=1
    )
    assert records == {Key("segment", PROJECT, id_): expected}
    assert (applied.record, applied.user, applied.change) == (expected, None, None)


def test_two_segments_may_have_one_name() -> None:
    records: Database = {}
    assert segment(records, "Beta").id != segment(records, "Beta").id


@pytest.mark.parametrize("name", ["", " \n", "x" * 256, "a\0"])
def test_a_segment_needs_a_name_that_is_one(name: str) -> None:
    records: Database = {}
    made_ = segment(records)
    for command in (CreateSegment(project_id=PROJECT, author=BACKEND, name=name), change(made_.id, name=name)):
        error = refusal(command, records)
        assert (type(error), error.path) == (FieldFormatInvalid, "/name")


@pytest.mark.parametrize(
    ("description", "kind"), [("x" * (DESCRIPTION_LENGTH_MAX + 1), FieldFormatInvalid), (1, FieldInvalid)]
)
def test_a_description_is_a_text_of_bounded_length(description: Any, kind: type) -> None:
    records: Database = {}
    made_ = segment(records)
    for command in (
        CreateSegment(project_id=PROJECT, author=BACKEND, name="a", description=description),
        change(made_.id, description=description),
    ):
        error = refusal(command, records)
        assert (type(error), error.path) == (kind, "/description")
    run(change(made_.id, description="x" * DESCRIPTION_LENGTH_MAX), records)


def test_a_project_has_a_limited_number_of_segments() -> None:
    full = EffectiveSettings(segments=frozenset(f"seg_{number}" for number in range(SEGMENTS_MAX)))
    command = CreateSegment(project_id=PROJECT, author=BACKEND, name="one more")
    error = refusal(command, {}, settings=full)
    assert (type(error), error.data["count_max"]) == (LimitReached, SEGMENTS_MAX)
    one_less = msgspec.structs.replace(full, segments=frozenset(list(full.segments)[1:]))
    run(command, {}, settings=one_less)


CHANGES: list[tuple[dict[str, Any], tuple[str, str | None, int]]] = [
    ({}, ("Beta", "d", 1)),
    ({"name": "Beta", "description": "d"}, ("Beta", "d", 1)),
    ({"name": "B"}, ("B", "d", 2)),
    ({"description": None}, ("Beta", None, 2)),
    ({"name": "B", "description": UNSET}, ("B", "d", 2)),
    ({"name": "B", "if_match": (1,)}, ("B", "d", 2)),
]


@pytest.mark.parametrize(("given", "expected"), CHANGES)
def test_what_is_given_changes_a_segment_and_the_rest_stays(
    given: dict[str, Any], expected: tuple[str, str | None, int]
) -> None:
    records: Database = {}
    command = CreateSegment(project_id=PROJECT, author=BACKEND, name="Beta", description="d")
    id_ = run(command, records).record.id  # type: ignore[union-attr]
    run(change(id_, **given), records, now=NOW + 5)
    after = stored_segment(records, id_)
    assert (after.name, after.description, after.version) == expected
    assert (after.created_at, after.updated_at) == (NOW, NOW + 5 if after.version == 2 else NOW)


def test_a_segment_at_another_version_is_neither_changed_nor_deleted() -> None:
    records: Database = {}
    made_ = segment(records)
    assert type(refusal(change(made_.id, name="B", if_match=(2,)), records)) is VersionMismatch
    assert type(refusal(remove(made_.id, if_match=()), records)) is VersionMismatch


def test_a_deleted_segment_says_when_and_by_whom_and_is_not_found_again() -> None:
    records: Database = {}
    made_ = segment(records)
    run(remove(made_.id), records, now=NOW + 5)
    gone = stored_segment(records, made_.id)
    assert (gone.deleted_at, gone.deleted_by, gone.version) == (NOW + 5, "key_1", 2)
    ada = made(records, {})
    for command in (change(made_.id), remove(made_.id), assign(ada, made_.id), unassign(ada, made_.id)):
        error = refusal(command, records)
        assert (type(error), error.data) == (SegmentNotFound, {"segment_id": made_.id})


# Who is in it.


def test_assigning_is_a_change_of_the_user_and_of_nothing_else() -> None:
    records: Database = {}
    ada = made(records, {})
    one, two = segment(records), segment(records)
    run(assign(ada, one.id), records)
    applied = run(assign(ada, two.id), records, now=NOW + 5)
    after = stored(records, ada)
    assert applied.user == after
    assert (after.segments, after.version, after.updated_at) == ((one.id, two.id), 3, NOW + 5)
    assert msgspec.structs.replace(after, segments=(), version=1, updated_at=NOW) == ada
    last = changes_of(records, ada.id)[-1]
    operation = Operation(op="replace", path="/segments", at=1, removed=[], added=[two.id])
    assert (last.operations, last.source, last.actor, last.trust) == ((operation,), "native", "key_1", "backend")
    assert folded(records, ada.id)["segments"] == [one.id, two.id]
    assert stored_segment(records, two.id) == two


def test_leaving_a_segment_leaves_the_others() -> None:
    records: Database = {}
    ada = made(records, {})
    ids = [segment(records).id for _ in range(3)]
    for id_ in ids:
        run(assign(ada, id_), records)
    run(unassign(ada, ids[1]), records)
    assert stored(records, ada).segments == (ids[0], ids[2])
    assert folded(records, ada.id)["segments"] == [ids[0], ids[2]]


def test_assigning_and_leaving_again_change_nothing() -> None:
    records: Database = {}
    ada = made(records, {})
    id_ = segment(records).id
    assert run(unassign(ada, id_), records).writes == {}
    run(assign(ada, id_), records)
    again = run(assign(ada, id_), records)
    assert (again.writes, again.user, again.change) == ({}, stored(records, ada), None)


def test_a_segment_that_the_settings_know_is_not_read() -> None:
    """No command locks what all commands look at."""
    records: Database = {}
    ada = made(records, {})
    run(assign(ada, "seg_known"), records, settings=KNOWN)
    assert stored(records, ada).segments == ("seg_known",)
    run(unassign(ada, "seg_known"), records, settings=KNOWN)
    assert stored(records, ada).segments == ()


# The order of checks: the user, its version, the segment, the limit.
def test_what_is_wrong_first_is_said_first() -> None:
    records: Database = {}
    ada = made(records, {})
    for command in (assign, unassign):
        assert type(refusal(command("user_z", "seg_z", if_match=(9,)), records)) is UserNotFound
        assert type(refusal(command(ada, "seg_z", if_match=(9,)), records)) is VersionMismatch
        assert type(refusal(command(ada, "seg_z", if_match=(1,)), records)) is SegmentNotFound


def test_a_user_is_in_a_limited_number_of_segments() -> None:
    records: Database = {}
    ada = made(records, {})
    ids = [f"seg_{number}" for number in range(SEGMENTS_OF_USER_MAX + 1)]
    many = EffectiveSettings(segments=frozenset(ids))
    for id_ in ids[:-1]:
        run(assign(ada, id_), records, settings=many)
    error = refusal(assign(ada, ids[-1]), records, settings=many)
    assert (type(error), error.data["count_max"]) == (LimitReached, SEGMENTS_OF_USER_MAX)
    assert run(assign(ada, ids[0]), records, settings=many).writes == {}


def test_a_document_cannot_change_the_segments_of_a_user() -> None:
    records: Database = {}
    ada = made(records, {})
    assert type(refusal(update(ada, {"segments": ["seg_known"]}), records, settings=KNOWN)) is FieldReadOnly
    assert type(refusal(create({"segments": ["seg_known"]}), records, settings=KNOWN)) is FieldReadOnly


# Leaving one that was deleted.


def test_users_of_a_deleted_segment_keep_it_until_each_has_left_in_a_change_of_its_own() -> None:
    records: Database = {}
    ada = made(records, {})
    id_ = segment(records).id
    run(assign(ada, id_), records)
    run(remove(id_), records)
    assert stored(records, ada).segments == (id_,)
    run(leave(ada, id_), records)
    assert stored(records, ada).segments == ()
    last = changes_of(records, ada.id)[-1]
    assert (last.source, last.actor, last.version) == ("system", "key_1", 3)
    assert run(leave(ada, id_), records).writes == {}


def test_nobody_leaves_a_segment_that_is_not_deleted_this_way() -> None:
    records: Database = {}
    ada = made(records, {})
    id_ = segment(records).id
    run(assign(ada, id_), records)
    assert run(leave(ada, id_), records).writes == {}
    assert run(leave("user_gone", id_), records).writes == {}


def test_a_segment_whose_record_is_gone_can_still_be_left() -> None:
    records: Database = {}
    ada = made(records, {})
    run(assign(ada, "seg_known"), records, settings=KNOWN)
    run(leave(ada, "seg_known"), records)
    assert stored(records, ada).segments == ()


def test_a_segment_is_removed_only_when_it_was_deleted_long_enough_ago() -> None:
    records: Database = {}
    alive, deleted = segment(records), segment(records)
    run(remove(deleted.id), records)
    keys = tuple(Key("segment", PROJECT, one.id) for one in (alive, deleted))
    forget = Forget(project_id=PROJECT, author=SWEEP, keys=keys)
    assert run(forget, records, now=NOW + DELETED_SEGMENTS_KEPT_MS - 1).writes == {}
    assert run(forget, records, now=NOW + DELETED_SEGMENTS_KEPT_MS).writes == {keys[1]: None}
    assert set(records) == {keys[0]}


# Idempotent.


def test_a_segment_that_is_made_again_with_one_key_is_one_segment() -> None:
    records: Database = {}
    command = CreateSegment(project_id=PROJECT, author=BACKEND, name="Beta", once=Once("k", "1"))
    first = run(command, records)
    again = run(command, records)
    assert (again.record, again.writes) == (first.record, {})
    answer = records[Key("idempotency", PROJECT, "k")]
    assert isinstance(answer, Idempotency)
    assert (answer.user_id, answer.expires_at) == ("", NOW + ONCE_MS)


def test_an_assignment_that_is_sent_again_is_answered_as_before() -> None:
    records: Database = {}
    ada = made(records, {})
    id_ = segment(records).id
    first = run(assign(ada, id_, once=Once("k", "1")), records)
    run(unassign(ada, id_), records)
    again = run(assign(ada, id_, once=Once("k", "1")), records)
    assert (user_of(again), again.change) == (user_of(first), first.change)
    assert stored(records, ada).segments == ()
