"""The PostgreSQL store: several processes over one database, each with one writer that commits in groups.

A batch is one transaction at READ COMMITTED that locks what it reads (`transaction.py`). It ends well, or it is given
up and made again: after a conflict a few times, after a lost connection for some seconds. If the connection is lost
during COMMIT, a new one asks for the last batch of this process, which waits until the server has decided about it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import asyncpg

from userfold.core.ids import ENTROPY_BITS, make_id
from userfold.core.queries import UserQuery
from userfold.core.records import Change, Key, Record, User
from userfold.storage.codec import from_text
from userfold.storage.port import (
    Conflict,
    Counters,
    Finding,
    Fold,
    Locked,
    OutcomeUnknown,
    Records,
    Schema,
    StoreError,
    StoreUnavailable,
    T,
)
from userfold.storage.postgres import migrate, search, tables
from userfold.storage.postgres.connections import (
    CONNECT_S_MAX,
    LOCK_AGAIN_MS_MAX,
    LOCK_MS_MAX,
    Connection,
    Crowded,
    Lost,
    Readers,
    connect,
    translated,
)
from userfold.storage.postgres.examine import examine
from userfold.storage.postgres.gather import AT_ONCE_MAX, Gatherer
from userfold.storage.postgres.reading import FoundByKey, apart, by_table, fetch, is_text
from userfold.storage.postgres.transaction import Transaction

log = logging.getLogger("userfold.storage.postgres")

READERS_MAX = 4  # connections, beside the writer's and those that read by key
ATTEMPTS_MAX = 8
# A server that is started again, or a replica that takes over, answers within seconds; callers wait that long.
PATIENCE_S = 10.0
READ_PATIENCE_S = 3.0  # who asks whether this process is ready is to hear that it is not
PAUSE_S = 0.1
ANALYSED_AFTER = (256, 2_048, 16_384)  # users that this process has made; then the plans are those of a large table
IN_VAIN_MAX = 9  # a batch of 256 that is halved until one command stands alone
WRITERS_KEPT_MS = 7 * 86_400_000  # rows of processes that ended without a word

R = TypeVar("R")


class PostgresStore:
    """Records in the database at `url`. Connects when it is first used. Use it from one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._id = make_id("wri_", _now_ms(), secrets.randbits(ENTROPY_BITS))
        self._writer: Connection | None = None
        self._wrote = False
        self._waited_in_vain = 0  # times in a row
        self._hasty_until = 0.0
        self._made = 0  # users
        self._readers_by_key = Readers(url, AT_ONCE_MAX, by_key=True)
        self._readers = Readers(url, READERS_MAX, by_key=False)
        self._gatherer = Gatherer(self._get)
        self.counters = Counters()

    async def migrate(self) -> None:
        applied = await self._patiently(lambda: self._on_a_connection(migrate.migrate), PATIENCE_S)
        if applied:
            log.info("schema brought to version %d", max(applied))

    async def close(self) -> None:
        await self._gatherer.close()
        await asyncio.gather(self._readers_by_key.close(), self._readers.close())
        if self._writer is not None and not self._writer.is_closed():
            try:
                if self._wrote:
                    forgetting = (tables.FORGET_WRITER, self._id, _now_ms() - WRITERS_KEPT_MS)
                    await self._writer.execute(*forgetting, timeout=CONNECT_S_MAX)
                await self._writer.close(timeout=CONNECT_S_MAX)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("the connection was not closed properly: %s: %s", type(error).__name__, error)
                self._writer.terminate()

    # Writing.

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        give_up_at = time.monotonic() + PATIENCE_S
        wanted: frozenset[Key] = frozenset()
        conflicts = 0
        while True:
            transaction: Transaction | None = None
            try:
                connection = await self._writing()
                transaction = Transaction(connection, wanted)
                outcome = await self._attempt(connection, transaction, make_fold())
            except Lost as error:
                if time.monotonic() >= give_up_at:
                    raise StoreUnavailable(f"the database cannot be reached: {error}") from error
                await asyncio.sleep(PAUSE_S)
            except Locked as error:
                # The batch will come again in halves, and others with the same records: not all can wait so long.
                self._hasty_until = time.monotonic() + LOCK_MS_MAX / 1000
                self._waited_in_vain += 1
                if self._waited_in_vain > IN_VAIN_MAX:  # not a record here and there: halves would not get through
                    raise StoreUnavailable(str(error)) from error
                raise
            except (Conflict, Crowded) as error:
                self.counters.conflicts += 1
                conflicts += 1
                if conflicts == ATTEMPTS_MAX:
                    raise Conflict(str(error)) from error
                await asyncio.sleep(_pause(conflicts))
            else:
                self._waited_in_vain = 0
                await self._count_users(transaction.made)
                return outcome
            if transaction is not None:
                wanted = frozenset(transaction.wanted)

    async def _attempt(self, connection: Connection, transaction: Transaction, fold: Fold[T]) -> T:
        """Raises `Lost` only if nothing of it is, or will be, stored."""
        try:
            with translated():
                await connection.execute(self._begin())
            outcome = await transaction.drive(fold)
            if transaction.batch_id is None:
                await self._roll_back(connection)
            else:
                await self._commit(connection, transaction.batch_id)
            return outcome
        except Lost:
            self._drop(connection)
            raise
        except BaseException:
            await self._roll_back(connection)
            raise
        finally:
            fold.close()

    def _begin(self) -> str:
        if time.monotonic() >= self._hasty_until:
            return "BEGIN"
        return f"BEGIN; SET LOCAL lock_timeout = {LOCK_AGAIN_MS_MAX}"

    async def _commit(self, connection: Connection, batch_id: str) -> None:
        self._wrote = True
        with translated():
            await connection.execute(tables.NOTE_BATCH, self._id, batch_id, _now_ms())
        started = time.perf_counter()
        try:
            with translated():
                ended = await connection.execute("COMMIT")
            assert ended == "COMMIT", "no statement of a batch that is committed has failed"
        except Lost as error:
            log.warning("the connection was lost during COMMIT: %s", error)
            self._drop(connection)
            if not await self._was_committed(batch_id):
                raise
        self.counters.committed((time.perf_counter() - started) * 1000)

    async def _count_users(self, made: int) -> None:
        """Have the first users analysed, before the server comes to it: it looks around once a minute.

        Until then it plans as if there were a few: an import would walk through all users for each batch.
        """
        made_before, self._made = self._made, self._made + made
        if not any(made_before < count <= self._made for count in ANALYSED_AFTER):
            return
        try:
            await self._on_a_connection(self._analyse)
        except (Lost, StoreError) as error:
            log.warning("the tables were not analysed: %s", error)

    async def _analyse(self, connection: Connection) -> None:
        """Unless the server knows of as many users."""
        if await connection.fetchval(tables.USERS_KNOWN) < self._made / 2:
            await connection.execute(tables.ANALYZE)

    async def _was_committed(self, batch_id: str) -> bool:
        """Whether the batch is there, once the server has decided about it. Raises `OutcomeUnknown`."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                connection = await self._writing()
                with translated():
                    return bool(await connection.fetchval(tables.LAST_BATCH, self._id, _now_ms()) == batch_id)
            except (Lost, StoreUnavailable) as error:  # the second, if it is `Locked`: it is not decided yet
                if time.monotonic() >= give_up_at:
                    raise OutcomeUnknown(f"the database was lost while committing: {error}") from error
                await asyncio.sleep(PAUSE_S)

    async def _roll_back(self, connection: Connection) -> None:
        try:
            if not connection.is_closed() and connection.is_in_transaction():
                with translated():
                    await connection.execute("ROLLBACK")
        except (Lost, StoreError):
            self._drop(connection)  # without its connection it is rolled back all the same

    async def _writing(self) -> Connection:
        """The writer's connection, a new one if the last was lost. Raises `Lost`, `StoreUnavailable`."""
        if self._writer is None or self._writer.is_closed():
            self._writer = await connect(self._url)
        return self._writer

    def _drop(self, connection: Connection) -> None:
        if not connection.is_closed():
            connection.terminate()
        if self._writer is connection:
            self._writer = None

    async def _on_a_connection(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        """What `work` comes to on a connection of its own. Raises `Lost`, a `StoreError`."""
        connection = await connect(self._url)
        try:
            with translated():
                return await work(connection)
        finally:
            connection.terminate()

    async def _patiently(self, work: Callable[[], Awaitable[R]], patience_s: float) -> R:
        """What `work` comes to, tried again while connections are lost. Raises `StoreUnavailable`."""
        give_up_at = time.monotonic() + patience_s
        while True:
            try:
                return await work()
            except Lost as error:
                if time.monotonic() >= give_up_at:
                    raise StoreUnavailable(f"the database cannot be reached: {error}") from error
                await asyncio.sleep(PAUSE_S)

    async def lease(self, what: str, *, ms: int) -> bool:
        now = _now_ms()
        rows = await self._with_reader(lambda connection: connection.fetch(tables.LEASE, what, self._id, now + ms, now))
        return bool(rows)

    # Reading.

    async def get(self, keys: Sequence[Key]) -> Records:
        return await self._gatherer.get(keys)

    async def _get(self, keys: Sequence[Key]) -> Records:
        """A user after all else: if it is as it was before, so is what belongs to it."""
        asked, found = apart(keys)

        async def read(connection: Any) -> FoundByKey:
            for kind, project_id, ids in reversed([*by_table(asked)]):
                found.update(await fetch(connection, kind, project_id, ids))
            return found

        return await self._with_reader(read, self._readers_by_key)

    async def list(self, kind: str) -> Sequence[Record]:
        return await self._documents(kind, tables.LISTS[kind])

    async def users(self, query: UserQuery) -> Sequence[User]:
        texts = await self._with_reader(lambda connection: search.documents(connection, query))
        return [user for text in texts if isinstance(user := from_text("user", text), User)]

    async def count_users(self, query: UserQuery) -> int:
        return await self._with_reader(lambda connection: search.count(connection, query))

    async def of_user(
        self, kind: str, project_id: str, user_id: str, *, after: str | None, descending: bool, limit: int
    ) -> Sequence[Record]:
        if not all(map(is_text, (project_id, user_id, after or ""))):
            return []
        start = after if after is not None else tables.AFTER_ALL if descending else ""
        return await self._documents(kind, tables.OF_USER[kind][descending], project_id, user_id, start, limit)

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        rows = await self._with_reader(lambda connection: connection.fetch(tables.EXPIRED[kind], before, limit))
        return [Key(kind, project_id, id_) for project_id, id_ in rows]

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        if not (is_text(project_id) and is_text(user_id)):
            return []
        found = await self._documents("change", tables.SELECT_HISTORY, project_id, user_id, after, up_to, limit)
        return [change for change in found if isinstance(change, Change)]

    async def _documents(self, kind: str, sql: str, *values: Any) -> Sequence[Record]:
        rows = await self._with_reader(lambda connection: connection.fetch(sql, *values))
        return [from_text(kind, text) for (text,) in rows]

    async def _with_reader(self, work: Callable[[Any], Awaitable[R]], readers: Readers | None = None) -> R:
        """What `work` reads. A connection may have been gone for hours before anybody notices."""
        return await self._patiently(lambda: self._read_once(work, readers or self._readers), READ_PATIENCE_S)

    async def _read_once(self, work: Callable[[Any], Awaitable[R]], readers: Readers) -> R:
        async with readers.one() as connection:
            return await work(connection)

    # For those who look after the data. These block.

    def schema(self) -> Schema:
        return self._blocking(migrate.schema_of)

    def examine(self, *, full: bool) -> Sequence[Finding]:
        return self._blocking(lambda connection: examine(connection, full=full))

    def _blocking(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        """What `work` comes to, on a connection and in an event loop of its own: the caller may be in one."""

        async def run() -> R:
            try:
                return await self._on_a_connection(work)
            except Lost as error:
                raise StoreUnavailable(f"the database cannot be reached: {error}") from error

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(run())).result()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _pause(conflicts: int) -> float:
    """Seconds, each time about twice as long, and never the same for two processes."""
    return random.uniform(0, 0.001 * 2**conflicts)  # noqa: S311 - nobody need not guess it
