"""The rules about what is removed in time: records whose time is over, and what a deleted user left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from userfold.core.applied import Applied
from userfold.core.claims import DAY_MS
from userfold.core.commands import Forget
from userfold.core.ids import Mint
from userfold.core.reading import Records, read, read_all
from userfold.core.records import EffectiveSettings, Erasure, Key, Record

SIGN_INS_KEPT_MS = 30 * DAY_MS  # after their end: people ask who was signed in when something went wrong

ERASURES_KEPT_MS = 3_600_000

# Until then a process that has not heard of it yet may put users into a segment that is deleted.
DELETED_SEGMENTS_KEPT_MS = 60_000


def forget(command: Forget, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    """Judges each record again: since somebody looked for what is over, it may have been renewed."""
    found = read_all(records, list(command.keys))
    over = [
        key
        for key, record in zip(command.keys, found, strict=True)
        if isinstance(record, Record) and _OVER[key.kind](key, record, records, mint.now)
    ]
    return Applied(writes=dict.fromkeys(over))


def reads_forgotten(command: Forget) -> tuple[Key, ...]:
    return command.keys


def is_left(created_at: int, deleted_at: int) -> bool:
    """Whether what was made at `created_at` (ms) was a user's who was deleted at `deleted_at`.

    One of that id may have been made since; what is younger is that one's.
    """
    return created_at <= deleted_at


def _expired(key: Key, record: Any, records: Records, now: int) -> bool:
    return bool(record.expires_at <= now)


def _long_expired(key: Key, record: Any, records: Records, now: int) -> bool:
    return bool(record.expires_at + SIGN_INS_KEPT_MS <= now)


def _of_deleted_user(key: Key, record: Any, records: Records, now: int) -> bool:
    erasure = read(records, Key("erasure", key.project_id, record.user_id or ""), Erasure)
    return erasure is not None and is_left(record.created_at, erasure.at)


def _swept(key: Key, record: Any, records: Records, now: int) -> bool:
    """Long enough ago that whoever says that nothing is left has looked since."""
    return bool(record.at + ERASURES_KEPT_MS <= now)


def _long_deleted(key: Key, record: Any, records: Records, now: int) -> bool:
    """Whoever says that it has no users left has looked since nobody could put one into it any more."""
    return record.deleted_at is not None and bool(record.deleted_at + DELETED_SEGMENTS_KEPT_MS <= now)


_OVER: dict[str, Callable[[Key, Any, Records, int], bool]] = {
    "idempotency": _expired,
    "sign_in": _long_expired,
    "session": _of_deleted_user,
    "event": _of_deleted_user,
    "erasure": _swept,
    "segment": _long_deleted,
}
