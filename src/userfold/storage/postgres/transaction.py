"""One attempt at a batch. What it reads it locks; `writing.py` writes.

Nobody waits for anybody in a circle, because a transaction waits for locks only where it begins, and takes them in one
order: users first, then the other kinds, by key. What the rules ask for later is locked without waiting; where that is
not possible the attempt is given up, and the next one locks all of it at its beginning. So an identifier that leads to
a user still does when the user is locked, and who has a user locked has all that belongs to it.

An absence cannot be locked. Where what was absent is then inserted, its key protects it. `writing.py` says what is done
for names and users that were only looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from userfold.core.records import COLLECTIONS, Key
from userfold.storage.port import Fold, Locked, Read, Records, T, Write
from userfold.storage.postgres import tables
from userfold.storage.postgres.connections import Connection, Crowded
from userfold.storage.postgres.reading import Found, FoundByKey, apart, by_table, fetch, records
from userfold.storage.postgres.writing import write


class Transaction:
    """One attempt, from after its BEGIN to before its end. `wanted`: what an earlier attempt came to lock."""

    def __init__(self, connection: Connection, wanted: frozenset[Key]) -> None:
        self._connection = connection
        self._held: FoundByKey = {}
        self._locked: set[Key] = set()
        self.wanted = wanted
        self.batch_id: str | None = None  # of what was written, if anything was
        self.made = 0  # users

    async def drive(self, fold: Fold[T]) -> T:
        """What the fold returned. Raises what it raises, a `StoreError`, `Crowded`, `Lost`."""
        try:
            wish = next(fold)
            while True:
                if isinstance(wish, Read):
                    wish = fold.send(await self._read(wish.keys))
                else:
                    await self._write(wish)
                    wish = fold.send(None)
        except StopIteration as stop:
            return cast("T", stop.value)

    async def _read(self, keys: Sequence[Key]) -> Records:
        asked, found = apart(keys)
        new = [key for key in asked if key not in self._held]
        await self._lock(_locks_of(new))
        for kind, project_id, ids in by_table(key for key in new if key not in self._held):
            self._held.update(await fetch(self._connection, kind, project_id, ids))
        found.update({key: self._held[key] for key in asked})
        return found

    async def _write(self, wish: Write) -> None:
        # Most of it was read, and so is locked.
        await self._lock(_locks_of(apart([*wish.removals, *wish.updates])[0]))
        absent = [key for key, found in self._held.items() if found is None and key not in wish.inserts]
        self._held.clear()  # from here on it is not what was read
        self.batch_id = wish.batch_id
        self.made = sum(key.kind == "user" for key in wish.inserts)
        await write(self._connection, wish, absent)

    async def _lock(self, keys: Iterable[Key]) -> None:
        """Lock what is not locked yet, and know what it is."""
        new = {key for key in keys if key not in self._locked}
        if not new:
            return
        waiting = not self._locked
        self.wanted |= new
        for kind, project_id, ids in by_table(self.wanted if waiting else new):
            self._held.update(await self.lock(kind, project_id, ids, waiting=waiting))
        self._locked |= self.wanted if waiting else new

    async def lock(self, kind: str, project_id: str, ids: list[str], *, waiting: bool) -> Mapping[Key, Found]:
        """{key: record | None} of one kind, locked in the order of their ids until the transaction ends.

        On a distributed engine this would be a statement for each id, which comes to the same. Raises `Crowded` if it
        would have to wait and should not, `Locked` if it waited too long.
        """
        sql = tables.lock(kind)
        try:
            return await records(self._connection, sql if waiting else f"{sql} NOWAIT", kind, project_id, ids)
        except Locked as error:
            if waiting:
                raise
            raise Crowded(str(error)) from error


def _locks_of(keys: Iterable[Key]) -> Iterable[Key]:
    """What is locked when `keys` are read: the records, and for a collection its user. A change never changes."""
    for key in keys:
        if key.kind in COLLECTIONS:
            yield Key("user", key.project_id, key.id)
        elif key.kind != "change":
            yield key
