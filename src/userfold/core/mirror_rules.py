"""The rules about users who live in another system, which says what changes there: late, twice and in any order.

What it says of a user is taken over whole, fields that it does not know stay. When it was true is remembered beside the
user and not in it: most of what such a system says is that somebody signed in, which changes nothing here and is no
version of the user. A deletion is for good, as the other system gives no id twice.
"""

from __future__ import annotations

import msgspec

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.claims import keys_of_external_id, refuse_taken_id
from userfold.core.commands import DeleteUser, MirrorDeletion, MirrorUser
from userfold.core.fields import normal
from userfold.core.ids import Mint
from userfold.core.reading import Records, read, read_all
from userfold.core.records import EffectiveSettings, Key, Mirror, Tombstone, User
from userfold.core.user_rules import change, delete, make


def mirror_user(command: MirrorUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, user_id = command.project_id, command.user_id
    at, mark, grave = (Key(kind, project_id, user_id) for kind in ("user", "mirror", "tombstone"))
    user, mirror, tombstone = read_all(records, [at, mark, grave])
    if user is None and tombstone is not None:
        return Applied(writes={})
    is_news = mirror is None or _is_newer(command, mirror)
    if isinstance(user, User):
        applied = _taken_over(command, user, records, mint, settings, is_news=is_news)
    else:
        normal(identifiers.external_id, user_id, "/id")
        refuse_taken_id(project_id, user_id, records)
        applied = make(command, command.edits, records, mint, settings, user_id=user_id, created_at=command.created_at)
    if not is_news:
        return applied
    now = Mirror(id=user_id, changed_at=command.changed_at, told_at=command.told_at)
    return msgspec.structs.replace(applied, writes={**applied.writes, mark: now})


def mirror_deletion(command: MirrorDeletion, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, user_id, author = command.project_id, command.user_id, command.author
    if read(records, Key("user", project_id, user_id), User) is not None:
        known = DeleteUser(project_id=project_id, author=author, user_id=user_id)
        return delete(known, records, mint, settings)
    normal(identifiers.external_id, user_id, "/id")
    grave = Key("tombstone", project_id, user_id)
    if read(records, grave, Tombstone) is not None:
        return Applied(writes={})
    # What was said of the user before is still on its way.
    told = Tombstone(id=user_id, user_id=user_id, at=mint.now, source=author.source, actor=author.actor)
    return Applied(writes={grave: told})


def reads_mirrored(command: MirrorUser) -> tuple[Key, ...]:
    keys = tuple(Key(kind, command.project_id, command.user_id) for kind in ("mirror", "tombstone"))
    return (*keys_of_external_id(command.project_id, command.user_id), *keys)


def reads_mirrored_deletion(command: MirrorDeletion) -> tuple[Key, ...]:
    kinds = ("user", "tombstone", "secrets", "mirror", "erasure")
    return tuple(Key(kind, command.project_id, command.user_id) for kind in kinds)


def _taken_over(
    command: MirrorUser, user: User, records: Records, mint: Mint, settings: EffectiveSettings, *, is_news: bool
) -> Applied:
    if user.password_enabled:
        command = msgspec.structs.replace(command, password_digest=msgspec.UNSET)
    if not is_news:
        command = msgspec.structs.replace(command, created_at=None)
    return change(command, user, command.edits if is_news else (), records, mint, settings)


def _is_newer(command: MirrorUser, mirror: object) -> bool:
    assert isinstance(mirror, Mirror)
    return (command.changed_at, command.told_at) > (mirror.changed_at, mirror.told_at)
