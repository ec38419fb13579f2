"""Reads by key: what the callers of one turn of the event loop ask for is read together.

A query for each caller would cost several times as much. While as many readings as may be are under way, what
arrives gathers for the next one, without a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from userfold.core.records import Key
from userfold.storage.port import Records

AT_ONCE_MAX = 2
KEYS_MAX = 2_000  # in one reading; a caller's own keys are never divided

_Asked = tuple[Sequence[Key], asyncio.Future[Records]]


class Gatherer:
    """`get` for many callers. `read` does one reading of many keys. Use it from one event loop."""

    def __init__(self, read: Callable[[Sequence[Key]], Awaitable[Records]]) -> None:
        self._read = read
        self._asked: deque[_Asked] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[Key]) -> Records:
        """What `read` answers for these keys, as of a moment after this was called."""
        if not keys:
            return {}
        answer: asyncio.Future[Records] = asyncio.get_running_loop().create_future()
        self._asked.append((keys, answer))
        self._begin()
        return await answer

    async def close(self) -> None:
        """Return when all who asked have been answered."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begin(self) -> None:
        # The task starts in the next turn of the loop, so all that this turn asks for is in one reading.
        if len(self._under_way) < AT_ONCE_MAX:
            task = asyncio.create_task(self._work_off())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _work_off(self) -> None:
        while self._asked:
            asked = self._take()
            try:
                found = await self._read(list(dict.fromkeys(key for keys, _ in asked for key in keys)))
            except Exception as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for keys, answer in asked:
                if not answer.done():
                    answer.set_result({key: found[key] for key in keys})

    def _take(self) -> list[_Asked]:
        taken = [self._asked.popleft()]
        count = len(taken[0][0])
        while self._asked and count + len(self._asked[0][0]) <= KEYS_MAX:
            count += len(self._asked[0][0])
            taken.append(self._asked.popleft())
        return taken
