"""Reads by key on the event loop: what is asked for in one turn of the loop is read together, in one transaction.

Read one by one as the requests come, they cost half as much again: each takes and releases SQLite's locks, and between
two of them the processor forgets what it needs for reading, and learns what it needs for HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import apsw

from userfold.core.records import Key
from userfold.storage.port import Records

AT_ONCE_MAX = 256  # callers; then others have a turn

_Asked = tuple[Sequence[Key], asyncio.Future[Records]]


class LoopReader:
    """`get` for many callers, on one connection. Use it from one event loop.

    `read` answers one caller. What it raises is that caller's, and what opening the connection raises is everybody's.
    """

    def __init__(
        self, connect: Callable[[], apsw.Connection], read: Callable[[apsw.Connection, Sequence[Key]], Records]
    ) -> None:
        self._connect = connect
        self._read = read
        self._db: apsw.Connection | None = None
        self._asked: deque[_Asked] = deque()

    async def get(self, keys: Sequence[Key]) -> Records:
        """What `read` answers for these keys, as of a moment after this was called."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Records] = loop.create_future()
        self._asked.append((keys, answer))
        if len(self._asked) == 1:
            loop.call_soon(self._work_off)
        return await answer

    def _work_off(self) -> None:
        taken = [self._asked.popleft() for _ in range(min(len(self._asked), AT_ONCE_MAX))]
        if self._asked:
            asyncio.get_running_loop().call_soon(self._work_off)
        waiting = [asked for asked in taken if not asked[1].done()]  # the others have gone
        try:
            if self._db is None:
                self._db = self._connect()
            with self._db if len(waiting) > 1 else contextlib.nullcontext():
                for keys, answer in waiting:
                    self._answer(self._db, keys, answer)
        except Exception as error:
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)

    def _answer(self, db: apsw.Connection, keys: Sequence[Key], answer: asyncio.Future[Records]) -> None:
        try:
            answer.set_result(self._read(db, keys))
        except Exception as error:
            answer.set_exception(error)
