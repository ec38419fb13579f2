"""The rules about segments: named groups of users. Which segments a user is in is part of the user, and of its history.

Whether a segment is there is looked up in the settings, which no command locks; only one that the settings do not know
is read, because another process may just have made it.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.commands import (
    AssignSegment,
    Command,
    CreateSegment,
    DeleteSegment,
    LeaveDeletedSegment,
    UnassignSegment,
    UpdateSegment,
)
from userfold.core.diff import diff
from userfold.core.errors import LimitReached, SegmentNotFound
from userfold.core.fields import description, normal
from userfold.core.ids import Mint
from userfold.core.reading import Records, existing_user, match_version, read
from userfold.core.records import EffectiveSettings, Key, Segment, User
from userfold.core.user_rules import changed_user

SEGMENTS_MAX = 1_000  # of a project
SEGMENTS_OF_USER_MAX = 100


def create_segment(command: CreateSegment, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    segment = Segment(
        id=mint.id("seg_"),
        project_id=command.project_id,
        name=normal(identifiers.label, command.name, "/name"),
        description=description(command.description, "/description"),
        created_at=mint.now,
        updated_at=mint.now,
    )
    if len(settings.segments) >= SEGMENTS_MAX:
        raise LimitReached(what="segments in this project", count_max=SEGMENTS_MAX)
    return Applied(writes={_key(command, segment.id): segment}, record=segment, created=True)


def update_segment(command: UpdateSegment, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    before = _existing(records, command, command.segment_id)
    match_version(before.version, command.if_match)
    after = before
    if command.name is not UNSET:
        after = msgspec.structs.replace(after, name=normal(identifiers.label, command.name, "/name"))
    if command.description is not UNSET:
        after = msgspec.structs.replace(after, description=description(command.description, "/description"))
    if after == before:
        return Applied(writes={}, record=before)
    after = msgspec.structs.replace(after, updated_at=mint.after(before.updated_at), version=before.version + 1)
    return Applied(writes={_key(command, after.id): after}, record=after)


def delete_segment(command: DeleteSegment, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    before = _existing(records, command, command.segment_id)
    match_version(before.version, command.if_match)
    version = before.version + 1
    after = msgspec.structs.replace(
        before, deleted_at=mint.now, deleted_by=command.author.actor, updated_at=mint.now, version=version
    )
    return Applied(writes={_key(command, after.id): after}, record=after)


def assign_segment(command: AssignSegment, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    match_version(user.version, command.if_match)
    _refuse_unknown(records, command, command.segment_id, settings)
    if command.segment_id in user.segments:
        return Applied(writes={}, user=user)
    if len(user.segments) >= SEGMENTS_OF_USER_MAX:
        raise LimitReached(what="segments that the user is in", count_max=SEGMENTS_OF_USER_MAX)
    return _with_segments(command, user, (*user.segments, command.segment_id), mint)


def unassign_segment(command: UnassignSegment, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    match_version(user.version, command.if_match)
    _refuse_unknown(records, command, command.segment_id, settings)
    return _without(command, user, command.segment_id, mint)


def leave_deleted_segment(
    command: LeaveDeletedSegment, records: Records, mint: Mint, settings: EffectiveSettings
) -> Applied:
    user = read(records, Key("user", command.project_id, command.user_id), User)
    segment = read(records, _key(command, command.segment_id), Segment)
    if user is None or (segment is not None and segment.deleted_at is None):
        return Applied(writes={})
    return _without(command, user, command.segment_id, mint)


def reads_segment(command: UpdateSegment | DeleteSegment) -> tuple[Key, ...]:
    return (_key(command, command.segment_id),)


def _existing(records: Records, command: Command, segment_id: str) -> Segment:
    """The segment of that id, if it is not deleted."""
    segment = read(records, _key(command, segment_id), Segment)
    if segment is None or segment.deleted_at is not None:
        raise SegmentNotFound(segment_id=segment_id)
    return segment


def _refuse_unknown(records: Records, command: Command, segment_id: str, settings: EffectiveSettings) -> None:
    if segment_id not in settings.segments:
        _existing(records, command, segment_id)


def _without(command: Command, user: User, segment_id: str, mint: Mint) -> Applied:
    if segment_id not in user.segments:
        return Applied(writes={}, user=user)
    return _with_segments(command, user, tuple(id_ for id_ in user.segments if id_ != segment_id), mint)


def _with_segments(command: Command, before: User, segments: tuple[str, ...], mint: Mint) -> Applied:
    version = before.version + 1
    after = msgspec.structs.replace(
        before, segments=segments, updated_at=mint.after(before.updated_at), version=version
    )
    operations = tuple(diff(list(before.segments), list(segments), "/segments"))
    return changed_user(command, after, {}, operations, mint)


def _key(command: Command, segment_id: str) -> Key:
    return Key("segment", command.project_id, segment_id)
