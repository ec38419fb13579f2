"""The SQLite store: one writer, readers beside it, WAL with `synchronous=FULL`.

A batch commits inline, on the event loop, while commits are fast (the hop to a thread costs a quarter of the
throughput at one connection), else in the writer's thread. Nothing on the loop ever waits for a lock: who finds one
held goes to a thread and waits there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import apsw

from userfold.core.queries import UserQuery, names_in_order, same_terms
from userfold.core.records import COLLECTIONS, Change, Key, Presence, Record, User
from userfold.storage.codec import from_text, to_text
from userfold.storage.port import (
    Conflict,
    Counters,
    Finding,
    Fold,
    OutcomeUnknown,
    Progress,
    Read,
    Records,
    Schema,
    StoreError,
    StoreFull,
    StoreUnavailable,
    T,
    Write,
    WriteFailed,
)
from userfold.storage.sqlite import backup, search, tables
from userfold.storage.sqlite.examine import examine
from userfold.storage.sqlite.migrate import migrate, schema_of
from userfold.storage.sqlite.reading import LoopReader
from userfold.storage.sqlite.scrub import ScrubbingVFS
from userfold.storage.sqlite.wal import Checkpointer

log = logging.getLogger("userfold.storage.sqlite")

COMMIT_INLINE_MS_MAX = 0.5  # the median of the last commits; longer ones would hold up every other request
COMMITS_WATCHED = 32
CHANGES_REMOVED_INLINE_MAX = 256  # with the users who are deleted; each takes about 10 µs
LOCK_WAIT_MS = 10_000  # another process may write beside the server, in short transactions
# SQLite's own timeout looks again after up to 100 ms. Between the transactions of an import there is less than that, so
# whoever looks so seldom would be overtaken again and again.
LOCK_LOOK_S = 0.002
READ_TIME_S_MAX = 1.0  # a read transaction keeps the write-ahead log from being cut off
READER_THREADS = 3
ATTEMPTS_MAX = 3
# Why a system refuses to write. Nothing of what it refused is on the disk, and the next write may succeed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_WRITES = (errno.EROFS, errno.EPERM, errno.EACCES)
# What a failed sync has left on the disk nobody can say, whatever it failed for.
SYNCING = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)
MARK_EVERY = 128  # versions between two rows of change_marks


class SQLiteStore:
    """Records in the file `path`, which is made if it is missing. Use it from one event loop.

    `synchronous` and `vfs` are SQLite's own; anything but FULL loses answered updates when the power fails.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL", vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        self._scrubbing = ScrubbingVFS(vfs or "")
        self._synchronous = synchronous
        try:
            self._writer = self._connect(writing=True)
        except apsw.Error as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="userfold-writer")
        self._commit_ms: deque[float] = deque(maxlen=COMMITS_WATCHED)
        self.counters = Counters()
        self._heads: dict[tuple[str, str], str | None] = {}
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="userfold-reader")
        self._reader_of_thread = threading.local()
        self._open_readers: list[apsw.Connection] = []
        self._loop_reader = LoopReader(lambda: self._open_reader(wait_ms=0), self._get)
        self._checkpointer: Checkpointer | None = None

    async def lease(self, what: str, *, ms: int) -> bool:
        return True

    async def migrate(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer_thread, self._migrate)

    async def close(self) -> None:
        self._writer_thread.shutdown()
        self._readers.shutdown()
        for reader in self._open_readers:
            reader.close()
        last = self._last_connection()
        self._writer.close()
        try:
            if self._checkpointer is not None:
                self._checkpointer.stop()
            elif last is not None:
                last.close()
        except apsw.Error as error:
            # Everything that was answered is durable in the log; whoever opens the file next copies it back.
            log.warning("%s was not closed properly: %s: %s", self.path, type(error).__name__, error)

    def _last_connection(self) -> apsw.Connection | None:
        """SQLite copies the log back when its last connection closes: that one must scrub, if anything was written."""
        if self._checkpointer is not None or not self._commit_ms:
            return None
        try:
            last = self._connect(writing=True, vfs=self._scrubbing.name)
            last.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018  # a connection begins with its first read
        except apsw.Error:
            return None
        return last

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        if self._commits_are_fast() and not self._needs_catching_up():
            try:
                return self._attempts(make_fold, on_loop=True)
            except _NotOnLoop:
                pass  # whatever it waits for, in the thread it holds up no read
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer_thread, self._run_in_thread, make_fold)

    async def get(self, keys: Sequence[Key]) -> Records:
        try:
            return await self._loop_reader.get(keys)
        except (StoreUnavailable, apsw.Error):
            return await self._in_reader_thread(partial(self._get, keys=keys))

    async def list(self, kind: str) -> Sequence[Record]:
        return await self._in_reader_thread(partial(_documents, kind=kind, sql=tables.LISTS[kind], values=()))

    async def users(self, query: UserQuery) -> Sequence[User]:
        return await self._in_reader_thread(partial(_users, query=query))

    async def count_users(self, query: UserQuery) -> int:
        return await self._in_reader_thread(partial(search.count, query=query))

    async def of_user(
        self, kind: str, project_id: str, user_id: str, *, after: str | None, descending: bool, limit: int
    ) -> Sequence[Record]:
        sql = tables.OF_USER[kind][descending]
        start = after if after is not None else tables.AFTER_ALL if descending else ""
        page = partial(_documents, kind=kind, sql=sql, values=(project_id, user_id, start, limit))
        return await self._in_reader_thread(page)

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        return await self._in_reader_thread(partial(_expired, kind=kind, values=(before, limit)))

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        last = min(up_to, after + limit)
        page = partial(_history, project_id=project_id, user_id=user_id, first=after + 1, last=last)
        return await self._in_reader_thread(page)

    # For those who look after the data. These block.

    def schema(self) -> Schema:
        with self._looking() as db:
            return schema_of(db)

    def examine(self, *, full: bool) -> Sequence[Finding]:
        with self._looking() as db:
            return list(examine(db, self.path, full=full))

    def size(self) -> int:
        with self._looking() as db:
            return int(db.pragma("page_count")) * int(db.pragma("page_size"))

    def backup(self, path: Path, progress: Progress) -> Mapping[str, int]:
        with self._looking() as db:
            schema_of(db)
            backup.copy(db, path, progress, vfs=self._scrubbing.name)
            return backup.check(path, progress)

    @contextlib.contextmanager
    def _looking(self) -> Iterator[apsw.Connection]:
        """A connection for the length of a block. What goes wrong in it is a `StoreError`."""
        try:
            with contextlib.closing(self._connect(writing=False)) as db:
                db.set_busy_timeout(LOCK_WAIT_MS)
                yield db
        except apsw.Error as error:
            raise _translated(error) from error

    # Connections.

    def _connect(self, *, writing: bool, vfs: str | None = None) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(str(self.path), flags=flags, vfs=vfs or self._vfs)
        db.pragma("synchronous", self._synchronous)
        db.pragma("secure_delete", True)  # what a deleted user leaves in the pages is overwritten
        db.pragma("wal_autocheckpoint", 0)
        if not writing:
            db.pragma("query_only", True)
        # Whoever is closed last copies the log into the file, and only the scrubbing connection may do that.
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(vfs is None))
        return db

    def _open_reader(self, *, wait_ms: int) -> apsw.Connection:
        try:
            db = self._connect(writing=False)
        except apsw.Error as error:
            raise _translated(error) from error
        db.set_busy_timeout(wait_ms)
        search.teach(db)
        self._open_readers.append(db)
        return db

    def _migrate(self) -> None:
        self._writer.set_busy_timeout(LOCK_WAIT_MS)
        try:
            applied = migrate(self._writer)
            if self._checkpointer is None:
                self._checkpointer = Checkpointer(self._connect(writing=True, vfs=self._scrubbing.name))
        except apsw.Error as error:
            raise _translated(error) from error
        finally:
            self._writer.set_busy_timeout(0)  # from here on it is used on the loop, which must not wait
        if applied:
            log.info("%s: schema brought to version %d", self.path, max(applied))
        self._writer.set_wal_hook(self._note_log_length)

    # Writing.

    def _commits_are_fast(self) -> bool:
        watched = sorted(self._commit_ms)
        return not watched or watched[len(watched) // 2] < COMMIT_INLINE_MS_MAX

    def _note_log_length(self, db: apsw.Connection, name: str, pages: int) -> int:
        self.counters.log_pages = pages
        if self._checkpointer is not None:
            self._checkpointer.noted(pages)
        return apsw.SQLITE_OK

    def _needs_catching_up(self) -> bool:
        return self._checkpointer is not None and self._checkpointer.over_cap

    def _run_in_thread(self, make_fold: Callable[[], Fold[T]]) -> T:
        if self._checkpointer is not None and self._checkpointer.over_cap:
            self._checkpointer.catch_up()
        self._writer.set_busy_handler(_patience())
        try:
            return self._attempts(make_fold, on_loop=False)
        except _NotOnLoop:
            raise StoreUnavailable(f"another process held the database for {LOCK_WAIT_MS} ms") from None
        finally:
            self._writer.set_busy_timeout(0)

    def _attempts(self, make_fold: Callable[[], Fold[T]], *, on_loop: bool) -> T:
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return self._attempt(make_fold(), on_loop)
            except Conflict:
                continue
        return self._attempt(make_fold(), on_loop)

    def _attempt(self, fold: Fold[T], on_loop: bool) -> T:
        db = self._writer
        try:
            db.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            raise _NotOnLoop from None
        except apsw.Error as error:
            raise _translated(error, db) from error
        try:
            outcome = self._drive(fold, on_loop)
            self._commit()
            return outcome
        except Conflict:
            self.counters.conflicts += 1
            raise
        except apsw.Error as error:
            raise _translated(error, db) from error
        finally:
            fold.close()
            self._heads.clear()
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _drive(self, fold: Fold[T], on_loop: bool) -> T:
        try:
            wish = next(fold)
            while True:
                if isinstance(wish, Read):
                    wish = fold.send(self._read(wish.keys))
                else:
                    if on_loop and _changes_removed(wish) > CHANGES_REMOVED_INLINE_MAX:
                        raise _NotOnLoop
                    self._write(wish)
                    wish = fold.send(None)
        except StopIteration as stop:
            return cast("T", stop.value)

    def _commit(self) -> None:
        started = time.perf_counter()
        try:
            self._writer.execute("COMMIT")
        except apsw.IOError as error:
            if _was_refused(error, self._writer):
                raise
            # The log may hold the whole transaction although the sync failed: after a crash it would be there.
            raise OutcomeUnknown(f"the disk failed while committing: {error}") from error
        ms = (time.perf_counter() - started) * 1000
        self._commit_ms.append(ms)
        self.counters.committed(ms)

    def _read(self, keys: Sequence[Key]) -> Records:
        return {key: self._read_in_transaction(key) for key in keys}

    def _read_in_transaction(self, key: Key) -> Record | tuple[Record, ...] | None:
        if key.kind != "user":
            return _read_one(self._writer, key)
        row = _row(self._writer, tables.SELECT_USER, (key.project_id, key.id))
        if row is None:
            return None
        self._heads[key.project_id, key.id] = row[1]
        return from_text("user", row[0])

    def _write(self, write: Write) -> None:
        try:
            for key, removed in write.removals.items():
                self._remove(key, removed)
            for key, record in write.inserts.items():
                if isinstance(record, Change):
                    self._append_change(key, record)
            for key, update in write.updates.items():
                self._update(key, update.before, update.after)
            for key, record in write.inserts.items():
                if not isinstance(record, Change):
                    self._insert(key, record)
        except apsw.ConstraintError as error:
            raise Conflict(str(error)) from error
        except (apsw.TooBigError, apsw.MismatchError, apsw.BindingsError, TypeError, ValueError) as error:
            raise WriteFailed(f"{type(error).__name__}: {error}") from error

    def _remove(self, key: Key, removed: Record | None) -> None:
        db, at = self._writer, (key.project_id, key.id)
        if key.kind in tables.DELETE_MEMBERS:
            db.execute(tables.DELETE_MEMBERS[key.kind], at)
        elif key.kind in COLLECTIONS:
            db.execute(tables.DELETE_CHAIN, (key.project_id, self._heads.get(at)))
            db.execute(tables.DELETE_MARKS, at)
            self._heads[at] = None
        elif isinstance(removed, User):
            search.remove(db, key.project_id, removed)
            db.execute(tables.DELETE_USER, (*at, removed.version))
            self._expect_one_row(key)
        elif key.kind != "user":
            db.execute(tables.TABLES[key.kind].delete, at)
            if isinstance(removed, Presence):
                search.place(db, at, removed, None)

    def _append_change(self, key: Key, change: Change) -> None:
        at = (key.project_id, change.user_id)
        row = (key.project_id, key.id, self._heads.get(at), change.version, to_text(change))
        self._writer.execute(tables.INSERT_CHANGE, row)
        if change.version % MARK_EVERY == 0:
            self._writer.execute(tables.INSERT_MARK, (*at, change.version, key.id))
        self._heads[at] = key.id

    def _update(self, key: Key, before: Record, after: Record) -> None:
        at = (key.project_id, key.id)
        if isinstance(after, User) and isinstance(before, User):
            columns = (after.version, self._heads.get(at), after.updated_at, to_text(after))
            self._writer.execute(tables.UPDATE_USER, (*at, *columns, before.version))
            self._expect_one_row(key)
            if after.created_at != before.created_at:
                self._writer.execute(tables.UPDATE_CREATED_AT, (*at, after.created_at))
            if not same_terms(before, after):
                search.change(self._writer, key.project_id, before, after)
                # A statement of its own: the indexes of these columns are left alone by all other changes.
                self._writer.execute(tables.UPDATE_NAMES, (*at, *names_in_order(after)))
        else:
            table = tables.TABLES[key.kind]
            self._writer.execute(table.update, (*at, *table.to_row(after)))
            self._expect_one_row(key)
            if isinstance(after, Presence) and isinstance(before, Presence):
                search.place(self._writer, at, before, after)

    def _insert(self, key: Key, record: Record) -> None:
        at = (key.project_id, key.id)
        if isinstance(record, User):
            columns = (record.version, self._heads.get(at), record.created_at, record.updated_at, to_text(record))
            self._writer.execute(tables.INSERT_USER, (*at, *columns, *names_in_order(record)))
            search.add(self._writer, key.project_id, record)
        else:
            table = tables.TABLES[key.kind]
            self._writer.execute(table.insert, (*at, *table.to_row(record)))
            if isinstance(record, Presence):
                search.place(self._writer, at, None, record)

    def _expect_one_row(self, key: Key) -> None:
        if self._writer.changes() != 1:
            raise Conflict(key)

    # Reading.

    async def _in_reader_thread(self, work: Callable[[apsw.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._with_reader, work)

    def _with_reader(self, work: Callable[[apsw.Connection], T]) -> T:
        local = self._reader_of_thread
        if not hasattr(local, "db"):
            local.db = self._open_reader(wait_ms=LOCK_WAIT_MS)
        deadline = time.monotonic() + READ_TIME_S_MAX
        local.db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            return work(local.db)
        except apsw.Error as error:
            raise _translated(error) from error

    def _get(self, db: apsw.Connection, keys: Sequence[Key]) -> Records:
        try:
            return {key: _read_one(db, key) for key in keys}
        except apsw.Error as error:
            raise _translated(error) from error


def _patience() -> Callable[[int], bool]:
    """A busy handler: wait a little, then look again, as long as there is time."""
    deadline = time.monotonic() + LOCK_WAIT_MS / 1000

    def look_again(looks: int) -> bool:
        time.sleep(LOCK_LOOK_S)
        return time.monotonic() < deadline

    return look_again


class _NotOnLoop(Exception):
    """Another connection holds the write lock, or what is to be written takes long. Nothing was written."""


def _changes_removed(write: Write) -> int:
    """How many changes go with the users whose history a write removes."""
    users = [Key("user", key.project_id, key.id) for key in write.removals if key.kind == "changes"]
    before = [write.updates[key].before if key in write.updates else write.removals.get(key) for key in users]
    return sum(user.version for user in before if isinstance(user, User))


def _was_refused(error: apsw.Error, db: apsw.Connection) -> bool:
    """Whether the system would not write, rather than fail at it."""
    return (
        isinstance(error, apsw.IOError)
        and getattr(error, "extendedresult", 0) not in SYNCING  # its type is not declared
        and db.system_errno in (*NO_ROOM, *NO_WRITES)
    )


def _translated(error: apsw.Error, db: apsw.Connection | None = None) -> StoreError:
    """In the words of the port. `db`: where it happened, to ask for the system's reason."""
    reason = db.system_errno if db is not None and _was_refused(error, db) else None
    if isinstance(error, apsw.FullError) or reason in NO_ROOM:
        return StoreFull("the disk, or the quota of it, is full")
    if reason is not None:
        return StoreUnavailable(f"nothing can be written where the database is: {os.strerror(reason)}")
    if isinstance(error, apsw.InterruptError):
        return StoreUnavailable(f"the read took more than {READ_TIME_S_MAX:g} s")
    return StoreUnavailable(f"{type(error).__name__}: {error}")


def _row(db: apsw.Connection, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
    try:
        # To the end, so that the statement is reset and its read transaction ends with it.
        rows = list(db.execute(sql, values))
    except UnicodeEncodeError:
        return None  # a key that cannot be text is not there, and its neighbours in the batch are
    return rows[0] if rows else None


def _read_one(db: apsw.Connection, key: Key) -> Record | tuple[Record, ...] | None:
    at = (key.project_id, key.id)
    if key.kind in ("user", "change"):
        row = _row(db, tables.SELECT_USER if key.kind == "user" else tables.SELECT_CHANGE, at)
        return None if row is None else from_text(key.kind, row[0])
    if key.kind in tables.SELECT_MEMBERS:
        rows = db.execute(tables.SELECT_MEMBERS[key.kind], at)
        return tuple(from_text(COLLECTIONS[key.kind], text) for (text,) in rows)
    if key.kind in COLLECTIONS:
        return tuple(_chain(db, key.project_id, key.id, 1, None))
    table = tables.TABLES[key.kind]
    row = _row(db, table.select, at)
    return None if row is None else table.from_row(row)


def _documents(db: apsw.Connection, *, kind: str, sql: str, values: tuple[Any, ...]) -> Sequence[Record]:
    return [from_text(kind, text) for (text,) in db.execute(sql, values)]


def _expired(db: apsw.Connection, *, kind: str, values: tuple[int, int]) -> Sequence[Key]:
    return [Key(kind, project_id, id_) for project_id, id_ in db.execute(tables.EXPIRED[kind], values)]


def _users(db: apsw.Connection, query: UserQuery) -> Sequence[User]:
    return [user for text in search.documents(db, query) if isinstance(user := from_text("user", text), User)]


def _history(db: apsw.Connection, *, project_id: str, user_id: str, first: int, last: int) -> Sequence[Change]:
    with db:  # one snapshot: the head and the chain belong together
        changes = _chain(db, project_id, user_id, first, last)
    return changes


def _chain(db: apsw.Connection, project_id: str, user_id: str, first: int, last: int | None) -> list[Change]:
    head = _row(db, tables.SELECT_HEAD, (project_id, user_id))
    if head is None:
        return []
    last = head[0] if last is None else min(last, head[0])
    mark = _row(db, tables.SELECT_MARK, (project_id, user_id, last))
    start = head[1] if mark is None else mark[0]
    rows = db.execute(tables.SELECT_CHAIN, (project_id, start, first, last))
    return [change for (text,) in rows if isinstance(change := from_text("change", text), Change)]
