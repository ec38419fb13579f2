"""The rules: a command and the records it looks at give the records to write, or a refusal.

`apply` is pure: it reads through `records`, and raises `Unread` when it needs a key that was not read yet; the engine
reads it and applies again. The table at the end says which rule is whose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from userfold.core import (
    attribute_rules,
    event_rules,
    image_rules,
    import_rules,
    mirror_rules,
    project_rules,
    secret_rules,
    segment_rules,
    session_rules,
    tracking_rules,
    upkeep_rules,
    user_rules,
)
from userfold.core.applied import Applied
from userfold.core.claims import DAY_MS
from userfold.core.commands import (
    AcceptTotp,
    AssignSegment,
    Command,
    CreateAttribute,
    CreateKey,
    CreateProject,
    CreateSegment,
    CreateUser,
    DeleteAttribute,
    DeleteSegment,
    DeleteUser,
    ExpireSessions,
    Forget,
    ImportUser,
    LeaveDeletedSegment,
    MarkPassword,
    MirrorDeletion,
    MirrorUser,
    NoteActivity,
    NoteKeyUse,
    Once,
    RecordEvent,
    RecordFromSession,
    RemoveImage,
    RenewSharedSecret,
    RenewTotpSecret,
    RevokeKey,
    RevokeSignIn,
    RevokeSignIns,
    SetImage,
    SignInUser,
    StartSession,
    UnassignSegment,
    UpdateAttribute,
    UpdateFromSession,
    UpdateProject,
    UpdateSegment,
    UpdateUser,
    UpsertUser,
    UseBackupCode,
)
from userfold.core.errors import IdempotencyKeyReused
from userfold.core.ids import Mint
from userfold.core.reading import Records, read
from userfold.core.records import KINDS, EffectiveSettings, Idempotency, Key, kind_of
from userfold.core.trust import Ignored

ONCE_MS = DAY_MS  # how long the answer to an idempotency key is kept


def reads(command: Command) -> tuple[Key, ...]:
    """The keys that `command` will surely look at: a hint, so that most commands need one round of reading."""
    keys = _RULES[type(command)][0](command)
    return keys if command.once is None else (*keys, Key("idempotency", command.project_id, command.once.id))


def apply(command: Command, records: Records, *, now: int, entropy: int, settings: EffectiveSettings) -> Applied:
    """What `command` comes to at `now` (ms). `entropy`: fresh random bits, at least 133.

    Raises a `DomainError` if it is refused, `Unread` if `records` lacks a key.
    """
    rule = _RULES[type(command)][1]
    if command.once is None:
        return rule(command, records, Mint(now, entropy), settings)
    at = Key("idempotency", command.project_id, command.once.id)
    answered = read(records, at, Idempotency)
    if answered is not None and now < answered.expires_at:
        return _same_answer(answered, command.once)
    applied = rule(command, records, Mint(now, entropy), settings)
    return msgspec.structs.replace(applied, writes={**applied.writes, at: _answer(command.once, applied, now)})


def _same_answer(answered: Idempotency, once: Once) -> Applied:
    if answered.request != once.request:
        raise IdempotencyKeyReused
    record = answered.record
    return Applied(
        writes={},
        user=answered.user,
        record=None if record is None else msgspec.convert(record, KINDS[answered.record_kind]),
        change=answered.change,
        created=answered.created,
        ignored=tuple(Ignored(path, code) for path, code in answered.ignored),
    )


def _answer(once: Once, applied: Applied, now: int) -> Idempotency:
    record = applied.record
    return Idempotency(
        id=once.id,
        request=once.request,
        at=now,
        expires_at=now + ONCE_MS,
        user_id=_whose(applied),
        user=applied.user,
        record_kind="" if record is None else kind_of(record),
        record=None if record is None else msgspec.to_builtins(record),
        change=applied.change,
        created=applied.created,
        ignored=tuple((ignored.path, ignored.code) for ignored in applied.ignored),
    )


def _whose(applied: Applied) -> str:
    """The id of the user whom an answer tells of, and with whom it must go; "" if it is about none."""
    if applied.user is not None:
        return applied.user.id
    return getattr(applied.record, "user_id", None) or ""


def _reads_nothing(command: Command) -> tuple[Key, ...]:
    return ()


def _reads_user(command: Any) -> tuple[Key, ...]:
    return (Key("user", command.project_id, command.user_id),)


Reads = Callable[[Any], tuple[Key, ...]]


Rule = Callable[[Any, Records, Mint, EffectiveSettings], Applied]


_RULES: dict[type[Command], tuple[Reads, Rule]] = {
    CreateUser: (user_rules.reads_new, user_rules.create),
    UpdateUser: (_reads_user, user_rules.update),
    UpsertUser: (user_rules.reads_named, user_rules.upsert),
    DeleteUser: (user_rules.reads_deleted, user_rules.delete),
    MirrorUser: (mirror_rules.reads_mirrored, mirror_rules.mirror_user),
    MirrorDeletion: (mirror_rules.reads_mirrored_deletion, mirror_rules.mirror_deletion),
    ImportUser: (import_rules.reads_imported, import_rules.import_user),
    SetImage: (image_rules.reads_image, image_rules.set_image),
    RemoveImage: (_reads_user, image_rules.remove_image),
    MarkPassword: (_reads_user, secret_rules.mark_password),
    AcceptTotp: (secret_rules.reads_secrets, secret_rules.accept_totp),
    UseBackupCode: (secret_rules.reads_secrets, secret_rules.use_backup_code),
    RenewTotpSecret: (secret_rules.reads_secrets, secret_rules.renew_totp_secret),
    StartSession: (tracking_rules.reads_started, tracking_rules.start_session),
    UpdateFromSession: (tracking_rules.reads_from_session, tracking_rules.update_from_session),
    RecordFromSession: (tracking_rules.reads_from_session, tracking_rules.record_from_session),
    ExpireSessions: (tracking_rules.reads_expired, tracking_rules.expire_sessions),
    SignInUser: (session_rules.reads_sign_ins_and_presence, session_rules.sign_in),
    RevokeSignIn: (session_rules.reads_sign_in, session_rules.revoke_sign_in),
    RevokeSignIns: (session_rules.reads_user_and_sign_ins, session_rules.revoke_sign_ins),
    NoteActivity: (session_rules.reads_user_and_presence, session_rules.note_activity),
    CreateProject: (_reads_nothing, project_rules.create_project),
    UpdateProject: (project_rules.reads_project, project_rules.update_project),
    CreateKey: (_reads_nothing, project_rules.create_key),
    NoteKeyUse: (project_rules.reads_key, project_rules.note_key_use),
    RenewSharedSecret: (project_rules.reads_key, project_rules.renew_shared_secret),
    RevokeKey: (project_rules.reads_key, project_rules.revoke_key),
    RecordEvent: (event_rules.reads_event, event_rules.record_event),
    CreateSegment: (_reads_nothing, segment_rules.create_segment),
    UpdateSegment: (segment_rules.reads_segment, segment_rules.update_segment),
    DeleteSegment: (segment_rules.reads_segment, segment_rules.delete_segment),
    AssignSegment: (_reads_user, segment_rules.assign_segment),
    UnassignSegment: (_reads_user, segment_rules.unassign_segment),
    LeaveDeletedSegment: (_reads_user, segment_rules.leave_deleted_segment),
    CreateAttribute: (attribute_rules.reads_new_attribute, attribute_rules.create_attribute),
    UpdateAttribute: (attribute_rules.reads_attribute, attribute_rules.update_attribute),
    DeleteAttribute: (attribute_rules.reads_attribute, attribute_rules.delete_attribute),
    Forget: (upkeep_rules.reads_forgotten, upkeep_rules.forget),
}
