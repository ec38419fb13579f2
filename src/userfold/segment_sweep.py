"""Takes users out of segments that were deleted, and then removes what is left of the segment.

A segment may hold every user of a project, which is far too much for the transaction that deletes it.
"""

from __future__ import annotations

import asyncio

from userfold.core.commands import Forget, LeaveDeletedSegment
from userfold.core.queries import UserQuery, term
from userfold.core.records import EffectiveSettings, Key, Segment
from userfold.core.trust import Author
from userfold.core.upkeep_rules import DELETED_SEGMENTS_KEPT_MS
from userfold.engine import Engine
from userfold.storage.port import Store

USERS_AT_ONCE = 100
SETTINGS = EffectiveSettings()  # what leaving a segment comes to depends on none


async def sweep_deleted_segments(engine: Engine, store: Store) -> int:
    """One step: of each deleted segment some users leave it, or, if it has had none for long enough, it goes.

    How many users and segments that were: 0 if there is nothing more to do now. Raises a `Refusal` of the engine or a
    `StoreError`; called again, it goes on where it was.
    """
    deleted = [s for s in await store.list("segment") if isinstance(s, Segment) and s.deleted_at is not None]
    return sum([await _sweep(engine, store, segment) for segment in deleted])


async def _sweep(engine: Engine, store: Store, segment: Segment) -> int:
    # To the history, who deleted the segment is who took its users out of it.
    author = Author(source="system", actor=segment.deleted_by or "", trust="backend")
    asked_at = engine.now()
    terms = (term("segment", segment.id),)
    members = await store.users(UserQuery(project_id=segment.project_id, any_terms=terms, limit=USERS_AT_ONCE))
    leave = (
        LeaveDeletedSegment(project_id=segment.project_id, author=author, user_id=user.id, segment_id=segment.id)
        for user in members
    )
    await asyncio.gather(*(engine.run(command, SETTINGS) for command in leave))
    if members:
        return len(members)
    assert segment.deleted_at is not None
    if asked_at < segment.deleted_at + DELETED_SEGMENTS_KEPT_MS:
        return 0
    keys = (Key("segment", segment.project_id, segment.id),)
    applied = await engine.run(Forget(project_id=segment.project_id, author=author, keys=keys), SETTINGS)
    return len(applied.writes)
