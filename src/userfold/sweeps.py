"""What is done now and then, beside requests: removing what nobody needs any more, noting which keys are in use.

Each step finds candidates without a lock, and hands them in small commands to the engine, whose rules judge them again.
A step that is interrupted goes on where it was, because what it works off is in the store.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence

from userfold.core.commands import ExpireSessions, Forget, NoteKeyUse
from userfold.core.errors import DomainError
from userfold.core.records import EffectiveSettings, Erasure, Key
from userfold.core.trust import Author
from userfold.core.upkeep_rules import ERASURES_KEPT_MS, SIGN_INS_KEPT_MS
from userfold.directory import Directory
from userfold.engine import Busy, Engine
from userfold.image_sweep import sweep_images, sweep_images_of
from userfold.images import Images
from userfold.segment_sweep import sweep_deleted_segments
from userfold.storage.port import Store, StoreError

log = logging.getLogger("userfold.sweeps")

EVERY_S = 60.0
IMAGES_EVERY_MS = 600_000
CHUNK = 200  # records in one command: a transaction of a few milliseconds
UPKEEP = Author(source="system", actor="sweep", trust="backend")

# {kind: how long (ms) its records are kept after `expires_at`}
_KEPT_MS = {"idempotency": 0, "sign_in": SIGN_INS_KEPT_MS}
# What a deleted user leaves in tables that may be long.
_CHILDREN = ("session", "event")


class Sweeper:
    """Sweeps every `every_s` seconds while `run` runs. `sweep` does it now."""

    def __init__(
        self, engine: Engine, store: Store, directory: Directory, images: Images, *, every_s: float = EVERY_S
    ) -> None:
        self._engine = engine
        self._store = store
        self._directory = directory
        self._images = images
        self._images_swept_at = 0
        self._every_s = every_s

    async def run(self) -> None:
        """Sweep for ever. What fails is logged, and tried again the next time."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep()
            except (StoreError, Busy) as error:
                log.warning("the sweep will go on next time: %s: %s", type(error).__name__, error)
            except Exception:
                log.exception("the sweep broke; it is tried again next time")

    async def sweep(self) -> int:
        """Do all that is to be done now; how many records were removed. Of several processes one does most of it."""
        await self._note_used_keys()
        if not await self._store.lease("sweep", ms=int(2_000 * self._every_s)):
            return 0
        removed = await self._expire_sessions()
        for kind, kept_ms in _KEPT_MS.items():
            removed += await self._remove_expired(kind, self._engine.now() - kept_ms)
        for erasure in await self._store.list("erasure"):
            assert isinstance(erasure, Erasure)
            removed += await self._erase(erasure)
        removed += await self._sweep_images()
        # Last, because its commands are about users, who may be in the way in more ways than what is over.
        while await sweep_deleted_segments(self._engine, self._store):
            pass
        if removed:
            log.info("the sweep removed %d records that nobody needs any more", removed)
        return removed

    async def _sweep_images(self) -> int:
        """Look at all images, now and then: that may be a million files, or requests to somebody else's store."""
        now = self._engine.now()
        if now < self._images_swept_at + IMAGES_EVERY_MS:
            return 0
        removed = await sweep_images(self._images, self._store, now)
        self._images_swept_at = now
        return removed

    async def _remove_expired(self, kind: str, before: int) -> int:
        removed = 0
        while keys := await self._store.expired(kind, before=before, limit=CHUNK):
            gone = await self._forget(keys)
            removed += gone
            if gone < len(keys):
                break  # the rules keep what this looks for; asking again would find the same
        return removed

    async def _expire_sessions(self) -> int:
        """End the tracking sessions of which nothing came for long, and remove those that were nobody's."""
        removed = 0
        while keys := await self._store.expired("session", before=self._engine.now(), limit=CHUNK):
            written = 0
            for project_id, of_project in itertools.groupby(sorted(keys), key=lambda key: key.project_id):
                command = ExpireSessions(project_id=project_id, author=UPKEEP, keys=tuple(of_project))
                applied = await self._engine.run(command, EffectiveSettings())
                written += len(applied.writes)
                removed += sum(record is None for record in applied.writes.values())
            if written < len(keys):
                break  # something came in between; who is left is looked at the next time
        return removed

    async def _erase(self, erasure: Erasure) -> int:
        """Remove what a deleted user left. Its erasure goes last, once nobody can be writing more."""
        project_id, removed = erasure.project_id, 0
        for kind in _CHILDREN:
            after: str | None = None
            while records := await self._store.of_user(
                kind, project_id, erasure.id, after=after, descending=False, limit=CHUNK
            ):
                keys = [Key(kind, project_id, record.id) for record in records]  # type: ignore[attr-defined]
                removed += await self._forget(keys)
                after = keys[-1].id
        removed += await sweep_images_of(self._images, self._store, erasure)
        if erasure.at + ERASURES_KEPT_MS <= self._engine.now():
            await self._forget([Key("erasure", project_id, erasure.id)])
        return removed

    async def _forget(self, keys: Sequence[Key]) -> int:
        removed = 0
        for project_id, of_project in itertools.groupby(sorted(keys), key=lambda key: key.project_id):
            command = Forget(project_id=project_id, author=UPKEEP, keys=tuple(of_project))
            applied = await self._engine.run(command, EffectiveSettings())
            removed += len(applied.writes)
        return removed

    async def _note_used_keys(self) -> None:
        for project_id, key_id in self._directory.take_used():
            command = NoteKeyUse(project_id=project_id, author=UPKEEP, key_id=key_id)
            try:
                await self._engine.run(command, EffectiveSettings())
            except DomainError as refusal:
                log.info("the use of a key was not noted: %s", refusal)
