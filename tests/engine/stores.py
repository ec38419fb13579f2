"""Stores that show what they are asked to write, wait, refuse, fail, or lose their connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, cast

from userfold.core.records import Change
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Fold, OutcomeUnknown, StoreUnavailable, T, Write
from userfold.storage.sqlite.store import SQLiteStore


class Watched(MemoryStore):
    """Keeps every write that was done, and how many transactions were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0
        self.writes: list[Write] = []

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        self.runs += 1
        return await super().run(lambda: self._watched(make_fold()))

    def look(self, write: Write) -> None:
        """Called with each write before it is done. What it raises, the store raises."""

    def _watched(self, fold: Fold[T]) -> Fold[T]:
        try:
            wish = next(fold)
            while True:
                if isinstance(wish, Write):
                    self.look(wish)
                    self.writes.append(wish)
                wish = fold.send((yield wish))
        except StopIteration as stop:
            return cast("T", stop.value)
        finally:
            fold.close()


def changes_in(write: Write) -> list[Change]:
    """The changes that a write adds, in order."""
    return [record for record in write.inserts.values() if isinstance(record, Change)]


class Fussy(Watched):
    """Raises `error` for every write that has a change of a request whose id is `refused`."""

    def __init__(self, error: Exception, refused: frozenset[str] = frozenset({"refused"})) -> None:
        super().__init__()
        self._error = error
        self._refused = refused

    def look(self, write: Write) -> None:
        if any(change.request_id in self._refused for change in changes_in(write)):
            raise self._error


class Gated(Watched):
    """Begins no transaction while its gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()  # a transaction was asked for

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        self.asked.set()
        await self.gate.wait()
        return await super().run(make_fold)


class Failing(Watched):
    """Raises the errors that it was given, one per transaction, and then works."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = deque(errors)

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        if self._errors:
            raise self._errors.popleft()
        return await super().run(make_fold)


class InItsThread(SQLiteStore):
    """SQLite on a slow disk: every batch is committed in the writer's thread, while others arrive."""

    def _commits_are_fast(self) -> bool:
        return False


# What becomes of a commit: whether it was done, and whether the connection lived to say so, or at least whether a new
# one can be had to look.
Fate = Literal["done", "done, lost", "undone, lost", "done, unreachable", "undone, unreachable"]


class Lossy(Watched):
    """The example of a store whose connection can be lost while it commits. `fates` says what becomes of each commit.

    It keeps the batch's id with what the batch writes, in one transaction. After a loss it looks for the id: present,
    the batch was committed; absent, it runs again; and where it cannot look, nobody can say.
    """

    attempts_max = 5

    def __init__(self, *fates: Fate) -> None:
        super().__init__()
        self._fates = deque(fates)
        self._batch_ids: set[str] = set()

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        for _ in range(self.attempts_max):
            already_written = len(self.writes)
            before = self._committed
            outcome = await super().run(make_fold)
            if len(self.writes) == already_written:
                return outcome
            batch_id = self.writes[-1].batch_id
            fate = self._fates.popleft() if self._fates else "done"
            if fate.startswith("undone"):
                self._committed = before
            else:
                self._batch_ids.add(batch_id)
            if fate.endswith("unreachable"):
                raise OutcomeUnknown("the connection was lost while committing, and there is no new one")
            if batch_id in self._batch_ids:
                return outcome
        raise StoreUnavailable("the connection was lost too often")
