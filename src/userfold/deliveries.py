"""What this process knows of the answers to creations: when they were given, and whether anybody still waited for them.

`core.resending` judges by it. It is kept in memory alone: after a restart, and in another process, nothing is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from userfold.core.commands import EarlierAnswer

ANSWERS_MAX = 50_000  # remembered; beyond that the oldest are forgotten, and count as lost


class _Asked(msgspec.Struct):
    at: int
    has_gone: Callable[[], bool]


class Deliveries:
    """Remembers. Use it from one event loop."""

    def __init__(self, *, answers_max: int = ANSWERS_MAX) -> None:
        self._answers_max = answers_max
        self._asked: dict[str, _Asked] = {}
        self._answered: OrderedDict[str, EarlierAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answered)

    def earlier(self, id_: str) -> EarlierAnswer | None:
        """What is known of the answer to the same request, or None."""
        asked = self._asked.get(id_)
        if asked is not None:
            return EarlierAnswer(at=asked.at, was_lost=asked.has_gone())
        return self._answered.get(id_)

    def begin(self, id_: str, now: int, has_gone: Callable[[], bool]) -> bool:
        """It is asked for now (ms); `has_gone` will say whether the client still waits. Whether it is the first."""
        if id_ in self._asked:
            return False
        self._asked[id_] = _Asked(now, has_gone)
        return True

    def give_up(self, id_: str) -> None:
        """What the first asked for was refused."""
        self._asked.pop(id_, None)

    def answer(self, id_: str, now: int, *, was_lost: bool) -> None:
        """It is answered now (ms)."""
        self._asked.pop(id_, None)
        self._answered[id_] = EarlierAnswer(at=now, was_lost=was_lost)
        self._answered.move_to_end(id_)
        if len(self._answered) > self._answers_max:
            self._answered.popitem(last=False)
