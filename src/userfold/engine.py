"""Joins the rules and a store: gathers the commands that are waiting into a batch, applies them one by one in memory,
writes what changed in one transaction, and answers each caller.

    submit → queue → (one batch at a time) → fold: read, apply, write → commit → answers

* A command is answered after the commit that holds it is durable.
* Commands are applied in the order in which they were submitted; several on one user in one batch chain, and each
  caller gets the record as of *its* command.
* While a batch commits, arrivals gather: the batch size adapts to the store, without a timer.
* A refusal or a defect of one command is that command's alone. Only a write that the store refuses, or whose
  records somebody else keeps locked, splits its batch in halves, until the one command that is in trouble stands alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from userfold.core.applied import Applied
from userfold.core.commands import Command
from userfold.core.errors import CommandBroken, DomainError
from userfold.core.ids import make_id
from userfold.core.reading import Unread
from userfold.core.records import COLLECTIONS, EffectiveSettings, Key, Record
from userfold.core.rules import apply, reads
from userfold.logs import about
from userfold.storage.port import (
    Conflict,
    Fold,
    Locked,
    OutcomeUnknown,
    Read,
    Store,
    StoreError,
    Update,
    Write,
    WriteFailed,
)

log = logging.getLogger("userfold.engine")

_COLLECTION_OF = {kind: collection for collection, kind in COLLECTIONS.items()}

Found = Record | tuple[Record, ...] | None

# An answer to a command: what it came to, or why not.
Outcome = Applied | DomainError | StoreError


class Busy(Exception):
    """The server cannot take this request now. Nothing was stored; try again in a moment."""

    code = "busy"


class Overloaded(Busy):
    """Too many requests are waiting. Nothing was stored; try again in a moment."""

    code = "overloaded"


class Stopping(Busy):
    """The server is stopping. Nothing was stored; try again in a moment."""

    code = "stopping"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Everything has a limit."""

    batch_size_max: int = 256
    batch_bytes_max: int = 4 << 20  # of request bodies
    queue_length_max: int = 4096
    queue_bytes_max: int = 64 << 20
    read_rounds_max: int = 4


DEFAULT_LIMITS = Limits()


CLOCK_BEHIND_MS_MAX = 1_000  # clocks are set by less all the time

BATCH_SIZES = (1, 4, 16, 64, 256)


class Counters(msgspec.Struct):
    """What the engine did since it was made. Plain integers: counting must cost nothing."""

    commands: int = 0  # answered, refusals and dry runs included
    updates: int = 0  # of these, what changed something
    batches: int = 0
    batch_sizes: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BATCH_SIZES) + 1))  # not cumulative
    failed: dict[str, int] = {}  # batches that were not stored, by the code of why
    overloaded: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """A command in the queue, with the inputs that the rules may not make themselves, and its caller."""

    command: Command
    reads: tuple[Key, ...]
    settings: EffectiveSettings
    entropy: int
    size: int
    dry_run: bool
    answer: asyncio.Future[Applied]


def random_bits() -> int:
    """Entropy for one command: 80 bits for its ids and as many for what must not be guessed from them."""
    return secrets.randbits(160)


class Engine:
    """Runs commands. One per process; use it from one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock_ms: Callable[[], int],
        entropy: Callable[[], int] = random_bits,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._entropy = entropy
        self._limits = limits
        self._queue: deque[Waiting] = deque()
        self._queue_bytes = 0
        self._last_now = 0
        self._stands_still = False
        self._work: asyncio.Task[None] | None = None
        self._stopping = False
        self.counters = Counters()

    async def run(
        self, command: Command, settings: EffectiveSettings, *, size: int = 0, dry_run: bool = False
    ) -> Applied:
        """What `command` came to, once it is durable. `size`: the bytes of its request, for the limits.

        With `dry_run`: what it would come to now, and nothing is written.

        Raises a `DomainError` if it is refused, a `StoreError` if the store failed, `Overloaded`, `Stopping`. There is
        no await before the command is in the queue, so commands run in the order in which their bodies were complete.
        """
        return await self.submit(command, settings, size=size, dry_run=dry_run)

    def submit(
        self, command: Command, settings: EffectiveSettings, *, size: int = 0, dry_run: bool = False
    ) -> asyncio.Future[Applied]:
        """Put `command` into the queue. Its answer is what `run` returns or raises; `Overloaded` and `Stopping` are
        raised here. Whoever cancels the answer does not stop the command.
        """
        if self._stopping:
            raise Stopping
        if len(self._queue) >= self._limits.queue_length_max or self._queue_bytes + size > self._limits.queue_bytes_max:
            self.counters.overloaded += 1
            raise Overloaded
        answer: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(command, reads(command), settings, self._entropy(), size, dry_run, answer))
        self._queue_bytes += size
        if self._work is None:
            # The task starts in the next turn of the loop, so all that this turn submits is in its first batch.
            self._work = asyncio.create_task(self._work_off())
        return answer

    @property
    def waiting(self) -> int:
        """How many commands are in the queue."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """How large the requests are whose commands are in the queue."""
        return self._queue_bytes

    @property
    def stopping(self) -> bool:
        """Whether new commands are refused."""
        return self._stopping

    async def close(self) -> None:
        """Refuse new commands, and return when those that are waiting have been answered."""
        self._stopping = True
        if self._work is not None:
            await asyncio.wait([self._work])

    def now(self) -> int:
        """The time in ms: the clock's, but never earlier than what was given before."""
        clock = self._clock_ms()
        if clock >= self._last_now:
            self._last_now, self._stands_still = clock, False
        elif self._last_now - clock > CLOCK_BEHIND_MS_MAX and not self._stands_still:
            self._stands_still = True
            log.warning(
                "the clock was set back by %.1f s: time stands still until it has caught up or the server starts again",
                (self._last_now - clock) / 1000,
            )
        return self._last_now

    async def _work_off(self) -> None:
        try:
            while self._queue:
                await self._commit(self._take_batch())
                # A store that commits on the loop has not let go of it: now answers, reads and arrivals have a turn.
                await asyncio.sleep(0)
        finally:
            self._work = None

    def _take_batch(self) -> list[Waiting]:
        batch = [self._queue.popleft()]
        bytes_left = self._limits.batch_bytes_max - batch[0].size
        while self._queue and len(batch) < self._limits.batch_size_max and self._queue[0].size <= bytes_left:
            bytes_left -= self._queue[0].size
            batch.append(self._queue.popleft())
        self._queue_bytes -= sum(waiting.size for waiting in batch)
        return batch

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        now = self.now()
        batch_id = make_id("bat_", now, self._entropy())
        try:
            outcomes = await self._store.run(lambda: fold_batch(batch, now, batch_id, self._limits.read_rounds_max))
        except (WriteFailed, Conflict, Locked) as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                await self._commit(batch[middle:])
                return
            log.error("the store refused a write: %s", error, extra=_about(batch))
            outcomes = self._failed(batch, error)
        except StoreError as error:
            log.error(
                "a batch of %d was not stored: %s: %s", len(batch), type(error).__name__, error, extra=_about(batch)
            )
            outcomes = self._failed(batch, error)
        except Exception:
            log.exception("a batch of %d failed in a way that the store does not name", len(batch), extra=_about(batch))
            outcomes = self._failed(batch, OutcomeUnknown("the store failed in an unknown way"))
        else:
            self._count(batch, outcomes)
        for waiting, outcome in zip(batch, outcomes, strict=False):
            _answer(waiting.answer, outcome)
        if len(outcomes) < len(batch):
            await self._commit(batch[len(outcomes) :])

    def _count(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        counters, size = self.counters, len(outcomes)
        counters.batches += 1
        counters.commands += size
        counters.batch_sizes[bisect_left(BATCH_SIZES, size)] += 1
        for waiting, outcome in zip(batch, outcomes, strict=False):
            if isinstance(outcome, Applied) and outcome.writes and not waiting.dry_run:
                counters.updates += 1

    def _failed(self, batch: Sequence[Waiting], error: StoreError) -> list[Outcome]:
        error.is_logged = True
        self.counters.failed[error.code] = self.counters.failed.get(error.code, 0) + 1
        return [error] * len(batch)


def _about(batch: Sequence[Waiting]) -> dict[str, Any]:
    return about(*(waiting.command.author.request_id for waiting in batch))


def fold_batch(batch: Sequence[Waiting], now: int, batch_id: str, rounds_max: int) -> Fold[list[Outcome]]:
    """One outcome per command, in order. Pure: may be run again from the start with what a store reads next time.

    If reading did not come to an end in `rounds_max` rounds, the outcomes are those of the commands before the one that
    still asks: what it looks at depends on them, so they are committed first. One that stands alone is refused.
    """
    held: dict[Key, Found] = {}
    wanted = {key for waiting in batch for key in waiting.reads}
    rounds_left = rounds_max
    while True:
        missing = tuple(sorted(key for key in wanted if key not in held))
        if missing:
            held.update((yield Read(missing)) or {})
        rounds_left -= 1
        view = _View(held)
        outcomes, wanted = _apply_all(batch, view, now, last_round=rounds_left == 0)
        if not wanted:
            break
    write = view.difference(batch_id)
    if write.removals or write.updates or write.inserts:
        yield write
    return outcomes


def _apply_all(batch: Sequence[Waiting], view: _View, now: int, *, last_round: bool) -> tuple[list[Outcome], set[Key]]:
    """Apply in order. The second part is what was not read yet: if there is any, the first is not to be used.

    All commands are tried even so, because a batch that found out one key at a time would never end. In the last
    round nothing more can be read, and the outcomes end where something would have to be.
    """
    outcomes: list[Outcome] = []
    unread: set[Key] = set()
    for waiting in batch:
        try:
            applied = apply(waiting.command, view, now=now, entropy=waiting.entropy, settings=waiting.settings)
        except DomainError as refusal:
            outcomes.append(refusal)
        except Unread as error:
            if last_round and outcomes:
                break
            if last_round:
                name = type(waiting.command).__name__
                log.error("%s alone still asks for keys in the last round", name, extra=_about([waiting]))
            else:
                unread.update(error.keys)
            outcomes.append(CommandBroken())
        except Exception:
            log.exception("%s broke", type(waiting.command).__name__, extra=_about([waiting]))
            outcomes.append(CommandBroken())
        else:
            if not waiting.dry_run:
                view.add(applied.writes)
            outcomes.append(applied)
    return outcomes, unread


class _View(Mapping[Key, Found]):
    """The records as the commands of a batch see them: what was read, under what earlier commands wrote."""

    def __init__(self, held: Mapping[Key, Found]) -> None:
        self._held = held
        self._written: dict[Key, Record | None] = {}

    def __getitem__(self, key: Key) -> Found:
        if key.kind in COLLECTIONS:
            return self._members(key)
        if key in self._written:
            return self._written[key]
        record = self._held[key]
        return None if self._is_removed(key, record) else record

    def _is_removed(self, key: Key, record: Found) -> bool:
        """Whether a record that was read belongs to a collection that this batch removes."""
        collection = _COLLECTION_OF.get(key.kind)
        return (
            collection is not None and Key(collection, key.project_id, getattr(record, "user_id", "")) in self._written
        )

    def __contains__(self, key: object) -> bool:
        return key in self._written or key in self._held

    def __iter__(self) -> Iterator[Key]:
        return iter({**self._held, **self._written})

    def __len__(self) -> int:
        return len({**self._held, **self._written})

    def _members(self, collection: Key) -> tuple[Record, ...]:
        """A collection: what was read of it unless it was removed, with what was changed in it and added to it."""
        stored = () if collection in self._written else self._held[collection]
        assert isinstance(stored, tuple)
        kind, project_id = COLLECTIONS[collection.kind], collection.project_id
        members: dict[Key, Record | None] = {Key(kind, project_id, _id(record)): record for record in stored}
        members |= {key: self._written[key] for key in members if key in self._written}
        members |= {key: record for key, record in self._written.items() if _is_member(key, record, collection)}
        return tuple(record for record in members.values() if record is not None)

    def add(self, writes: Mapping[Key, Record | None]) -> None:
        """Take over what a command wrote, for the commands after it."""
        for key, record in writes.items():
            if record is None and key.kind in COLLECTIONS:
                self._forget_members(key)
            self._written[key] = record

    def _forget_members(self, collection: Key) -> None:
        """What this batch meant to write into a collection goes with it."""
        for key, record in list(self._written.items()):
            if _is_member(key, record, collection):
                held = self._held.get(key)
                if isinstance(held, Record) and not _is_member(key, held, collection):
                    self._written[key] = None  # it was another user's before
                else:
                    del self._written[key]

    def difference(self, batch_id: str) -> Write:
        """What must be written so that the store holds what the commands left: each record once, in its last state."""
        removals: dict[Key, Record | None] = {}
        updates: dict[Key, Update] = {}
        inserts: dict[Key, Record] = {}
        stored = self._held if self._knows_no_collection() else self._stored()
        for key, after in self._written.items():
            before = stored.get(key)
            if isinstance(before, tuple):
                assert after is None, "a collection is removed, never written"
                before = None
            if after is None:
                removals[key] = before
            elif before is None:
                inserts[key] = after
            else:
                updates[key] = Update(before, after)
        return Write(batch_id=batch_id, removals=removals, updates=updates, inserts=inserts)

    def _knows_no_collection(self) -> bool:
        """Whether no command has looked at a collection or removed one: so it is in most batches, which are updates."""
        return not any(key.kind in COLLECTIONS for keys in (self._held, self._written) for key in keys)

    def _stored(self) -> dict[Key, Found]:
        """What the store holds of all that was read, alone or as a member, and that this batch does not remove."""
        held = {key: record for key, record in self._held.items() if not self._is_removed(key, record)}
        return {**held, **self._stored_members()}

    def _stored_members(self) -> dict[Key, Record]:
        """The records that were read as members of a collection; one of a removed collection is no longer there."""
        return {
            Key(COLLECTIONS[key.kind], key.project_id, _id(record)): record
            for key, records in self._held.items()
            if isinstance(records, tuple) and key not in self._written
            for record in records
        }


def _id(record: Record) -> str:
    id_: str = record.id  # type: ignore[attr-defined]
    return id_


def _is_member(key: Key, record: Record | None, collection: Key) -> bool:
    return (
        key.kind == COLLECTIONS[collection.kind]
        and key.project_id == collection.project_id
        and getattr(record, "user_id", None) == collection.id
    )


def _answer(answer: asyncio.Future[Applied], outcome: Outcome) -> None:
    if answer.done():  # the caller went away while it waited; what it asked for was done all the same
        return
    if isinstance(outcome, Applied):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)
