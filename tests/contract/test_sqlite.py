"""What SQLite's store does besides the contract: schema, locks, threads, the log, trouble with the disk, erasure."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tests.contract.samples import (
    PAIRS,
    PROJECT,
    all_changes,
    change,
    change_user,
    changes_key,
    folding,
    get,
    key_of,
    next_version,
    put,
    remove_user,
    user,
    writing,
)
from userfold.core.commands import CreateUser, DeleteUser, Edit, UpdateUser
from userfold.core.queries import DISABLED, UserQuery
from userfold.core.records import EffectiveSettings, EmailAddress, Key, Presence, SignIn, User
from userfold.core.trust import Author
from userfold.engine import Engine
from userfold.storage.port import (
    Fold,
    OutcomeUnknown,
    Read,
    Records,
    SchemaTooNew,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Update,
)
from userfold.storage.sqlite import migrate, search, tables, wal
from userfold.storage.sqlite import store as sqlite_store
from userfold.storage.sqlite.reading import AT_ONCE_MAX, LoopReader
from userfold.storage.sqlite.store import SQLiteStore

KEY = key_of(user())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "userfold.db"


@pytest.fixture
def store(path: Path, runner: asyncio.Runner) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path)
    runner.run(store.migrate())
    yield store
    runner.run(store.close())


# The schema.


def schema(db: apsw.Connection) -> set[tuple[str, str, str, str]]:
    """What `db` consists of, without the comments and blanks of the SQL that made it."""
    rows = db.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
    return {(type_, name, table, re.sub(r"--[^\n]*|\s+", " ", sql).strip()) for type_, name, table, sql in rows}


def test_the_schema_of_a_new_file_is_the_one_that_all_migrations_together_make() -> None:
    fresh, migrated = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    migrate.migrate(fresh)
    for sql in migrate.migrations().values():
        migrated.execute(sql)
    assert schema(fresh) == schema(migrated)
    assert fresh.pragma("user_version") == max(migrate.migrations())
    assert fresh.pragma("application_id") == migrate.APPLICATION_ID


def test_a_store_that_was_migrated_twice_lets_go_of_its_file(path: Path, runner: asyncio.Runner) -> None:
    store = SQLiteStore(path)
    for _ in range(2):
        runner.run(store.migrate())
    runner.run(store.close())
    assert [db for db in apsw.connections() if db.filename == str(path)] == []


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert list(migrate.migrations()) == list(range(1, len(migrate.migrations()) + 1))


def test_a_file_from_any_earlier_version_is_brought_to_the_schema_of_a_new_one() -> None:
    fresh = apsw.Connection(":memory:")
    migrate.migrate(fresh)
    known = migrate.migrations()
    for version in known:
        old = apsw.Connection(":memory:")
        for number in range(1, version + 1):
            old.execute(known[number])
        old.pragma("application_id", migrate.APPLICATION_ID)
        old.pragma("user_version", version)
        assert migrate.migrate(old) == [number for number in known if number > version]
        assert schema(old) == schema(fresh)
        assert old.pragma("user_version") == max(known)


def test_a_migration_for_which_there_is_no_space_says_so_and_leaves_no_trace() -> None:
    old = apsw.Connection(":memory:")
    old.execute(migrate.migrations()[1])
    old.pragma("application_id", migrate.APPLICATION_ID)
    old.pragma("user_version", 1)
    before = schema(old)
    old.pragma("max_page_count", old.pragma("page_count"))
    with pytest.raises(apsw.FullError):
        migrate.migrate(old)
    assert (schema(old), old.pragma("user_version")) == (before, 1)
    old.pragma("max_page_count", 2**30)
    assert migrate.migrate(old)


def test_a_file_that_cannot_be_written_to_is_refused_at_the_start(path: Path) -> None:
    migrate.migrate(apsw.Connection(str(path)))
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        migrate.migrate(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY))


def test_a_file_that_is_up_to_date_needs_no_migration(path: Path, runner: asyncio.Runner) -> None:
    async def open_and_close() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        await store.close()

    runner.run(open_and_close())
    db = apsw.Connection(str(path))
    schema_before = schema(db)
    assert migrate.migrate(db) == []
    assert schema(db) == schema_before
    db.close()


def test_a_migration_that_this_program_adds_reaches_a_file_that_holds_users(
    path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.migrations()
    newest = max(known) + 1
    added = {**known, newest: "CREATE TABLE added (project_id TEXT); CREATE TABLE more (project_id TEXT);"}

    async def scenario() -> None:
        older = SQLiteStore(path)
        await older.migrate()
        await put(older, user(), change())
        await older.close()
        monkeypatch.setattr(migrate, "migrations", lambda: added)
        newer = SQLiteStore(path)
        await newer.migrate()
        assert await get(newer, KEY) == user()
        await newer.close()

    runner.run(scenario())
    db = apsw.Connection(str(path))
    assert {"added", "more"} <= {name for _, name, _, _ in schema(db)}
    assert db.pragma("user_version") == newest
    db.close()


def test_users_of_a_file_without_orders_by_name_are_put_into_them_and_those_disabled_are_found(
    path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = EmailAddress(id="idn_1", email_address="zoe@x.org", created_at=0, updated_at=0)
    users = [
        User(id="u1", first_name="Zoë", disabled=True, email_addresses=(email,), version=1),
        User(id="u2", first_name="ada", version=1),
    ]
    with contextlib.closing(apsw.Connection(str(path))) as old:
        for number in (1, 2):
            old.execute(migrate.migrations()[number])
        insert = "INSERT INTO users (project_id, id, version, last_change_id, created_at, updated_at, document)"
        for old_user in users:
            row = (PROJECT, old_user.id, "", msgspec.json.encode(old_user).decode())
            old.execute(f"{insert} VALUES (?1, ?2, 1, ?3, 0, 0, ?4)", row)
        old.pragma("application_id", migrate.APPLICATION_ID)
        old.pragma("user_version", 2)

    async def scenario() -> None:
        newer = SQLiteStore(path)
        await newer.migrate()
        asked = UserQuery(project_id=PROJECT, order="first_name", limit=10)
        assert [found.id for found in await newer.users(asked)] == ["u2", "u1"]
        disabled = msgspec.structs.replace(asked, also=((DISABLED,),))
        assert [found.id for found in await newer.users(disabled)] == ["u1"]
        owner = msgspec.structs.replace(asked, any_terms=("idn|idn_1",))
        assert [found.id for found in await newer.users(owner)] == ["u1"]
        await newer.close()

    runner.run(scenario())


def plan_of(store: SQLiteStore, asked: dict[str, Any]) -> list[str]:
    """How SQLite goes about a page of users, step by step."""
    asked_for: list[tuple[str, Any]] = []

    def trace(_: object, sql: str, values: Any) -> bool:
        asked_for.append((sql, values))
        return True

    db = store._writer
    db.exec_trace = trace
    assert list(search.documents(db, UserQuery(project_id=PROJECT, limit=10, **asked))) == []
    db.exec_trace = None
    sql, values = asked_for[-1]
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize(
    ("few", "asked", "index"),
    [
        (search.FEW, {"any_terms": ("email|a@x.org",)}, "sqlite_autoindex_users_1"),
        (search.FEW, {"also": (("idn|idn_1",), ("segment|seg_1",)), "order": "email"}, "sqlite_autoindex_users_1"),
        (search.FEW, {"also": (("id|u1",),), "after": (5, "u0"), "descending": True}, "sqlite_autoindex_users_1"),
        (-1, {"any_terms": ("segment|seg_1",)}, "users_by_created_at"),
        (-1, {"also": ((DISABLED,),), "order": "first_name", "descending": True}, "users_by_first_name"),
        (search.FEW, {"order": "email"}, "users_by_email"),
        (search.FEW, {"created_after": 5, "created_before": 9}, "users_by_created_at"),
        (search.FEW, {"active_after": 5, "order": "last_active_at"}, "users_by_last_active_at"),
        (-1, {"active_after": 5}, "users_by_created_at"),
        (-1, {"signed_in_before": 5, "order": "email"}, "users_by_email"),
    ],
)
def test_few_users_are_looked_up_and_many_are_walked_in_their_order(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, few: int, asked: dict[str, Any], index: str
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    assert f"INDEX {index} " in plan_of(store, asked)[0]


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"active_after": 5}, "users_by_last_active_at"),
        ({"signed_in_before": 5, "order": "email"}, "users_by_last_sign_in_at"),
        ({"active_before": 5, "order": "last_sign_in_at", "descending": True}, "users_by_last_active_at"),
    ],
)
def test_few_users_of_a_time_are_looked_up_by_it_whatever_the_order(
    store: SQLiteStore, asked: dict[str, Any], index: str
) -> None:
    first, *others = plan_of(store, asked)
    assert "INTEGER PRIMARY KEY (rowid=?)" in first
    assert any(f"COVERING INDEX {index} " in step for step in others)


def test_a_list_in_the_order_of_a_time_begins_where_the_limit_to_that_time_is(store: SQLiteStore) -> None:
    (step,) = plan_of(store, {"active_after": 5, "active_before": 9, "order": "last_active_at"})
    assert "users_by_last_active_at (project_id=? AND last_active_at>? AND last_active_at<?)" in step


def test_users_of_a_file_without_presences_have_one_of_their_last_sign_in(path: Path, runner: asyncio.Runner) -> None:
    with contextlib.closing(apsw.Connection(str(path))) as old:
        for number in (1, 2, 3):
            old.execute(migrate.migrations()[number])
        insert = "INSERT INTO users (project_id, id, version, last_change_id, created_at, updated_at, document)"
        for id_ in ("u1", "u2"):
            document = msgspec.json.encode(User(id=id_, version=1)).decode()
            old.execute(f"{insert} VALUES (?1, ?2, 1, '', 0, 0, ?3)", (PROJECT, id_, document))
        for number, at in enumerate((30, 50, 40)):
            made = SignIn(id=f"ses_{number}", user_id="u2", token_digest="ab", created_at=at, expires_at=99)
            row = (PROJECT, made.id, "u2", 99, msgspec.json.encode(made).decode())
            old.execute("INSERT INTO sign_ins VALUES (?1, ?2, ?3, ?4, ?5)", row)
        old.pragma("application_id", migrate.APPLICATION_ID)
        old.pragma("user_version", 3)

    async def scenario() -> None:
        newer = SQLiteStore(path)
        await newer.migrate()
        keys = [Key("presence", PROJECT, id_) for id_ in ("u1", "u2")]
        found = list((await newer.get(keys)).values())
        assert found == [None, Presence(id="u2", last_active_at=50, last_sign_in_at=50)]
        everybody = UserQuery(project_id=PROJECT, limit=9)
        for limit in ("active_after", "signed_in_after"):
            users = await newer.users(msgspec.structs.replace(everybody, **{limit: 49}))
            assert [user.id for user in users] == ["u2"]
        await newer.close()

    runner.run(scenario())


def test_an_older_program_refuses_a_newer_file_and_does_not_touch_it(path: Path, runner: asyncio.Runner) -> None:
    async def open_and_close() -> None:
        store = SQLiteStore(path)
        try:
            await store.migrate()
        finally:
            await store.close()

    runner.run(open_and_close())
    newest = max(migrate.migrations())
    db = apsw.Connection(str(path))
    db.pragma("user_version", newest + 7)
    db.close()
    bytes_before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=rf"schema {newest + 7}\b.* {newest}\b") as caught:
        runner.run(open_and_close())
    assert "newer Userfold" in str(caught.value)
    assert path.read_bytes() == bytes_before


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("sql", ["CREATE TABLE theirs (x)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"])
def test_the_database_of_another_program_is_refused_and_not_touched(
    path: Path, runner: asyncio.Runner, mode: str, sql: str
) -> None:
    async def open_it() -> None:
        store = SQLiteStore(path)
        try:
            await store.migrate()
        finally:
            await store.close()

    db = apsw.Connection(str(path))
    db.pragma("journal_mode", mode)
    db.execute(sql)
    db.close()
    bytes_before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        runner.run(open_it())
    assert path.read_bytes() == bytes_before


def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path) -> None:
    path.write_bytes(b"These are my notes.\n" * 1000)
    bytes_before = path.read_bytes()
    with pytest.raises(StoreUnavailable):
        SQLiteStore(path)
    assert path.read_bytes() == bytes_before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        SQLiteStore(tmp_path / "missing" / "userfold.db")


def test_an_empty_file_becomes_a_database(path: Path, runner: asyncio.Runner) -> None:
    path.touch()

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        await put(store, user(), change())
        assert await get(store, KEY) == user()
        await store.close()

    runner.run(scenario())


def test_a_migration_interrupted_at_any_statement_leaves_no_trace(path: Path) -> None:
    class Interrupted(Exception):
        pass

    interrupted = 0
    finished = False
    while not finished:
        db = apsw.Connection(str(path))
        left = interrupted

        def interrupt(_cursor: apsw.Cursor, _sql: str, _values: object) -> bool:
            nonlocal left
            left -= 1
            if left == -1:
                raise Interrupted
            return True

        db.exec_trace = interrupt
        try:
            migrate.migrate(db)
            finished = True
        except Interrupted:
            db.exec_trace = None
            assert not db.in_transaction
            assert schema(db) == set()
            assert db.pragma("user_version") == 0
            assert db.pragma("application_id") == 0
            interrupted += 1
        db.close()
    assert interrupted > 10


def test_a_process_killed_before_its_migration_commits_leaves_no_trace(path: Path, runner: asyncio.Runner) -> None:
    program = """
import os, sys, apsw
from userfold.storage.sqlite.migrate import migrate
db = apsw.Connection(sys.argv[1])
db.pragma("journal_mode", "WAL")
def die_at_commit(cursor, sql, values):
    if sql.startswith("COMMIT"):
        os._exit(9)
    return True
db.exec_trace = die_at_commit
migrate(db)
"""
    died = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert died.returncode == 9
    db = apsw.Connection(str(path))
    assert schema(db) == set()
    db.close()

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        await put(store, user(), change())
        await store.close()

    runner.run(scenario())


# Histories. Each change names the one before it; what the chain says, no other test can see.


def predecessors(store: SQLiteStore) -> list[tuple[int, str | None]]:
    """(version, the change before it) of all changes."""
    rows = store._writer.execute("SELECT version, previous_id FROM changes ORDER BY id")
    return [(version, previous_id) for version, previous_id in rows]


def test_a_first_change_has_none_before_it_even_if_an_attempt_to_write_it_failed(
    store: SQLiteStore, runner: asyncio.Runner
) -> None:
    def given_up() -> Fold[None]:
        yield writing(user(), change(), change(version=2))
        raise ZeroDivisionError

    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            await store.run(given_up)
        await put(store, user(), change())
        assert predecessors(store) == [(1, None)]
        await change_user(store, user(), next_version(user()))
        assert predecessors(store) == [(1, None), (2, change().id)]

    runner.run(scenario())


def test_the_first_change_of_a_user_made_again_has_none_before_it(store: SQLiteStore, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await put(store, user(version=2), change(), change(version=2))
        again = writing(change(), updates=[Update(user(version=2), user())], removals={changes_key("u1"): None})
        await store.run(lambda: folding(Read((KEY,)), again))
        assert predecessors(store) == [(1, None)]
        await remove_user(store, user())
        assert predecessors(store) == []

    runner.run(scenario())


# Locks.


@contextlib.contextmanager
def lock_held_by_another_process(path: Path) -> Iterator[Callable[[], None]]:
    """Another process is in the middle of a write to the file until the function is called."""
    program = """
import sys, apsw
db = apsw.Connection(sys.argv[1])
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
db.close()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        stdin = process.stdin

        def release() -> None:
            if not stdin.closed:
                stdin.close()

        yield release
        release()


@pytest.mark.parametrize("slow", [False, True])
def test_a_writer_waits_for_another_process_without_holding_up_the_loop(
    path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(sqlite_store, "LOCK_WAIT_MS", 100_000)
    turned = threading.Event()
    turned_before_release: list[bool] = []

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        store._commit_ms.extend([5.0] * sqlite_store.COMMITS_WATCHED)
        await put(store, user("before"), change("before"))  # in the thread, which may wait; what it leaves may not
        store._commit_ms.extend([5.0 if slow else 0.1] * sqlite_store.COMMITS_WATCHED)
        with lock_held_by_another_process(path) as release:

            def release_when_the_loop_turns() -> None:
                turned_before_release.append(turned.wait(20))
                release()

            waiter = threading.Thread(target=release_when_the_loop_turns)
            waiter.start()
            writing_task = asyncio.create_task(put(store, user(), change()))
            await asyncio.sleep(0)  # the task runs until it waits
            reads = await get(store, KEY), await get(store, key_of(user("before")))
            done = writing_task.done()
            turned.set()
            await writing_task
            waiter.join()
        assert turned_before_release == [True]
        assert reads == (None, user("before"))
        assert not done
        assert await get(store, KEY) == user()
        await store.close()

    runner.run(scenario())


def test_a_lock_that_is_not_let_go_is_answered_as_unavailable(
    store: SQLiteStore, runner: asyncio.Runner, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "LOCK_WAIT_MS", 1)
    folds = 0

    def fold() -> Fold[None]:
        nonlocal folds
        folds += 1
        yield writing(user(), change())

    async def scenario() -> None:
        store._commit_ms.extend([5.0] * sqlite_store.COMMITS_WATCHED)
        with lock_held_by_another_process(path):
            with pytest.raises(StoreUnavailable, match="another process"):
                await store.run(fold)
            assert folds == 0
        assert await get(store, KEY) is None
        await store.run(fold)
        assert await get(store, KEY) == user()

    runner.run(scenario())


def test_two_programs_that_write_to_one_file_at_the_same_time_lose_nothing(
    store: SQLiteStore, runner: asyncio.Runner, path: Path
) -> None:
    async def fill(into: SQLiteStore, name: str) -> None:
        current = user(name)
        await put(into, current, change(name))
        for _ in range(40):
            after = next_version(current)
            await change_user(into, current, after)
            current = after
            await asyncio.sleep(0)

    async def scenario() -> None:
        beside = SQLiteStore(path)
        await beside.migrate()
        for each in (store, beside):
            each._commit_ms.extend([5.0] * sqlite_store.COMMITS_WATCHED)  # both in their threads, so truly at once
        await asyncio.gather(fill(store, "one"), fill(beside, "two"))
        for name in ("one", "two"):
            assert [made.version for made in await all_changes(store, name)] == list(range(1, 42))
        await beside.close()

    runner.run(scenario())


# Inline, or in the writer's thread.


def thread_name_fold(*, wait_for: threading.Event | None = None) -> Callable[[], Fold[str]]:
    """Writes a user and says which thread it ran in, once `wait_for` is set."""

    def fold() -> Fold[str]:
        (yield Read((KEY,)))
        if wait_for is not None:
            assert wait_for.wait(30), "the loop stood still while the writer's thread worked"
        yield writing(user(), change())
        return threading.current_thread().name

    return fold


def test_while_commits_are_fast_they_are_done_on_the_loop(store: SQLiteStore, runner: asyncio.Runner) -> None:
    store._commit_ms.extend([5.0] * 15 + [0.1] * 17)
    assert runner.run(store.run(thread_name_fold())) == threading.current_thread().name


def test_while_commits_are_slow_they_are_done_in_a_thread_and_the_loop_goes_on(
    store: SQLiteStore, runner: asyncio.Runner
) -> None:
    turned = threading.Event()

    async def scenario() -> None:
        store._commit_ms.extend([0.1] * 15 + [5.0] * 17)
        running = asyncio.create_task(store.run(thread_name_fold(wait_for=turned)))
        for _ in range(3):
            await asyncio.sleep(0)
        assert await get(store, KEY) is None  # reads do not wait for the writer
        turned.set()
        assert (await running).startswith("userfold-writer")
        assert await get(store, KEY) == user()

    runner.run(scenario())


def test_what_the_writers_thread_has_not_committed_cannot_be_read(store: SQLiteStore, runner: asyncio.Runner) -> None:
    written, read = threading.Event(), threading.Event()

    def fold() -> Fold[None]:
        yield writing(user(), change())
        written.set()
        assert read.wait(30)

    async def scenario() -> None:
        store._commit_ms.extend([5.0] * 32)
        running = asyncio.create_task(store.run(fold))
        assert await asyncio.to_thread(written.wait, 30)
        assert await get(store, KEY) is None
        read.set()
        await running
        assert await get(store, KEY) == user()

    runner.run(scenario())


# Reads on the loop.


def loop_reader(answers: dict[str, object]) -> tuple[LoopReader, list[str], list[bool]]:
    """A reader of made-up records, the ids that it was asked for, and whether that was in a transaction."""
    db = apsw.Connection("")
    asked: list[str] = []
    together: list[bool] = []

    def read(connection: apsw.Connection, keys: Sequence[Key]) -> Records:
        asked.extend(key.id for key in keys)
        together.append(connection.in_transaction)
        answer = answers.get(keys[0].id)
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(keys)

    return LoopReader(lambda: db, read), asked, together


def keys_named(*names: str) -> list[list[Key]]:
    return [[Key("user", PROJECT, name)] for name in names]


def test_what_one_turn_of_the_loop_asks_for_is_read_in_one_transaction(runner: asyncio.Runner) -> None:
    reader, asked, together = loop_reader({})

    async def scenario() -> None:
        answers = await asyncio.gather(*(reader.get(keys) for keys in keys_named("a", "b", "c")))
        assert [[key.id for key in answer] for answer in answers] == [["a"], ["b"], ["c"]]
        await reader.get(keys_named("d")[0])

    runner.run(scenario())
    assert (asked, together) == (["a", "b", "c", "d"], [True, True, True, False])


def test_more_than_that_is_read_in_several(runner: asyncio.Runner) -> None:
    reader, asked, together = loop_reader({})
    names = [f"u{number}" for number in range(AT_ONCE_MAX + 1)]

    async def scenario() -> None:
        await asyncio.gather(*(reader.get(keys) for keys in keys_named(*names)))

    runner.run(scenario())
    assert (asked, together) == (names, [True] * AT_ONCE_MAX + [False])


def test_what_fails_for_one_caller_is_that_callers_alone(runner: asyncio.Runner) -> None:
    reader, _, _ = loop_reader({"b": ValueError("broken"), "c": StoreUnavailable("locked")})

    async def scenario() -> None:
        asking = (reader.get(keys) for keys in keys_named("a", "b", "c", "d"))
        a, b, c, d = await asyncio.gather(*asking, return_exceptions=True)
        assert [a, d] == [dict.fromkeys(keys) for keys in keys_named("a", "d")]
        assert (type(b), type(c)) == (ValueError, StoreUnavailable)

    runner.run(scenario())


def test_what_keeps_all_from_being_read_is_told_to_all(runner: asyncio.Runner) -> None:
    def connect() -> apsw.Connection:
        raise StoreUnavailable("cannot open")

    reader = LoopReader(connect, lambda db, keys: {})

    async def scenario() -> None:
        asking = (reader.get(keys) for keys in keys_named("a", "b"))
        assert [type(answer) for answer in await asyncio.gather(*asking, return_exceptions=True)] == [
            StoreUnavailable,
            StoreUnavailable,
        ]

    runner.run(scenario())


def test_who_has_gone_is_not_read_for(runner: asyncio.Runner) -> None:
    reader, asked, _ = loop_reader({})

    async def scenario() -> None:
        gone, stays = (asyncio.create_task(reader.get(keys)) for keys in keys_named("gone", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert gone.cancelled()

    runner.run(scenario())
    assert asked == ["stays"]


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_user_with_a_long_history_is_erased_in_a_thread_however_fast_commits_are(
    store: SQLiteStore, runner: asyncio.Runner, how: str
) -> None:
    versions = sqlite_store.CHANGES_REMOVED_INLINE_MAX + 1

    def erase(old: User) -> Fold[str]:
        (yield Read((KEY,)))
        if how == "deleted":
            yield writing(removals={KEY: old, changes_key("u1"): None})
        else:
            yield writing(change(id_="chg_new"), updates=[Update(old, user())], removals={changes_key("u1"): None})
        return threading.current_thread().name

    async def scenario() -> None:
        old = user(version=versions)
        await put(store, old, *(change(version=version) for version in range(1, versions + 1)))
        store._commit_ms.extend([0.1] * sqlite_store.COMMITS_WATCHED)
        assert (await store.run(lambda: erase(old))).startswith("userfold-writer")
        assert await get(store, KEY) == (None if how == "deleted" else user())
        assert store._writer.execute("SELECT count(*) FROM changes").get == (how == "replaced")

    runner.run(scenario())


def test_a_user_with_a_short_history_is_deleted_on_the_loop(store: SQLiteStore, runner: asyncio.Runner) -> None:
    def delete() -> Fold[str]:
        (yield Read((KEY,)))
        yield writing(removals={KEY: user(), changes_key("u1"): None})
        return threading.current_thread().name

    async def scenario() -> None:
        await put(store, user(), change())
        store._commit_ms.extend([0.1] * sqlite_store.COMMITS_WATCHED)
        assert await store.run(delete) == threading.current_thread().name

    runner.run(scenario())


def test_commits_return_to_the_loop_when_they_are_fast_again(store: SQLiteStore, runner: asyncio.Runner) -> None:
    """The store learns from the commits that its thread makes, too."""
    store._commit_ms.extend([5.0] * sqlite_store.COMMITS_WATCHED)
    for version in range(1, sqlite_store.COMMITS_WATCHED + 1):
        runner.run(put(store, user(f"u{version}"), change(f"u{version}")))
    assert 5.0 not in store._commit_ms


def test_the_thread_and_the_loop_answer_alike(store: SQLiteStore, runner: asyncio.Runner) -> None:
    async def outcome(name: str) -> tuple[object, object, object]:
        fold = folding(Read((key_of(user(name)),)), writing(user(name), change(name)))
        answer = await store.run(lambda: fold)
        with pytest.raises(StoreError) as refused:
            await store.run(lambda: folding(writing(user(name), change(name, id_=f"chg_{name}"))))
        found: User = await get(store, key_of(user(name)))
        return list(answer[0].values()), type(refused.value), found.version

    async def scenario() -> None:
        store._commit_ms.extend([0.1] * sqlite_store.COMMITS_WATCHED)
        inline = await outcome("one")
        store._commit_ms.extend([5.0] * sqlite_store.COMMITS_WATCHED)
        assert await outcome("two") == inline

    runner.run(scenario())


# Trouble with the disk.


def limit_pages(store: SQLiteStore, pages: int) -> None:
    store._writer.pragma("max_page_count", pages)


@pytest.mark.parametrize("slow", [False, True])
def test_a_full_disk_is_answered_as_full_and_writing_works_again_when_there_is_space(
    store: SQLiteStore, runner: asyncio.Runner, slow: bool
) -> None:
    big = next_version(user(), traits={"text": "x" * 60_000})

    async def scenario() -> None:
        await put(store, user(), change())
        store._commit_ms.extend([5.0 if slow else 0.1] * sqlite_store.COMMITS_WATCHED)
        limit_pages(store, store._writer.pragma("page_count"))
        for _ in range(2):
            with pytest.raises(StoreFull):
                await change_user(store, user(), big)
            assert await get(store, KEY) == user()
            assert await all_changes(store, "u1") == [change()]
        limit_pages(store, 2**30)
        await change_user(store, user(), big)
        assert await get(store, KEY) == big

    runner.run(scenario())


class Disk(apsw.VFS):
    """The default file system, but for the faults that a test switches on."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.opening_fails = False
        self.syncing_fails = False
        self.deleting_fails = False
        self.reading_fails_in: threading.Thread | None = None
        self.writes_until_full: int | None = None  # of the log
        self.refuses_with = 0  # the number of the system's reason

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if self.opening_fails:
            raise apsw.CantOpenError
        return File(self, name, flags)

    def xGetLastError(self) -> tuple[int, str | None]:  # noqa: N802
        return (self.refuses_with, "") if self.refuses_with else super().xGetLastError()

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        if self.deleting_fails:
            raise apsw.IOError
        super().xDelete(name, sync)


def failing(code: int) -> apsw.IOError:
    """What SQLite says of a disk."""
    error = apsw.IOError("disk I/O error")
    error.extendedresult = code  # type: ignore[attr-defined]  # its type is not declared
    return error


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._is_log and self._disk.writes_until_full is not None:
            if self._disk.writes_until_full == 0:
                raise apsw.FullError
            self._disk.writes_until_full -= 1
        if self._disk.refuses_with and not self._disk.syncing_fails:
            raise failing(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.syncing_fails:
            raise failing(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if self._disk.reading_fails_in is threading.current_thread():
            raise apsw.IOError
        return super().xRead(amount, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk(f"faulty-{os.getpid()}")
    yield disk
    disk.unregister()


@pytest.fixture
def store_on_disk(path: Path, disk: Disk, runner: asyncio.Runner) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, vfs=disk.name)
    runner.run(store.migrate())
    yield store
    runner.run(store.close())


def test_a_store_whose_log_cannot_be_removed_is_closed_all_the_same_and_keeps_what_it_stored(
    path: Path, disk: Disk, runner: asyncio.Runner
) -> None:
    async def scenario(*, removable: bool) -> User:
        disk.deleting_fails = False
        store = SQLiteStore(path, vfs=disk.name)
        await store.migrate()
        if not removable:
            await put(store, user(), change())
        found: User = await get(store, KEY)
        disk.deleting_fails = not removable
        await store.close()
        return found

    assert runner.run(scenario(removable=False)) == runner.run(scenario(removable=True)) == user()


def test_a_store_with_a_current_schema_opens_although_the_disk_is_full(
    store_on_disk: SQLiteStore, path: Path, disk: Disk, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        disk.writes_until_full = 0
        other = SQLiteStore(path, vfs=disk.name)
        await other.migrate()
        assert await get(other, KEY) is None
        await other.close()

    runner.run(scenario())


@pytest.mark.parametrize("slow", [False, True])
def test_when_the_disk_fails_while_committing_nobody_is_told_that_it_was_stored(
    store_on_disk: SQLiteStore, disk: Disk, runner: asyncio.Runner, slow: bool
) -> None:
    store = store_on_disk

    async def scenario() -> None:
        await put(store, user(), change())
        store._commit_ms.extend([5.0 if slow else 0.1] * sqlite_store.COMMITS_WATCHED)
        disk.syncing_fails = True
        with pytest.raises(OutcomeUnknown):
            await change_user(store, user(), next_version(user(), name="lost"))
        disk.syncing_fails = False
        assert await get(store, KEY) == user()
        await change_user(store, user(), next_version(user(), name="kept"))
        assert await get(store, KEY) == next_version(user(), name="kept")
        assert await all_changes(store, "u1") == [change(), change(version=2)]

    runner.run(scenario())


REFUSING = [
    (errno.EDQUOT, StoreFull, "is full"),
    (errno.EFBIG, StoreFull, "is full"),
    (errno.ENOSPC, StoreFull, "is full"),
    (errno.EROFS, StoreUnavailable, "Read-only file system"),
    (errno.EPERM, StoreUnavailable, "Operation not permitted"),
    (errno.EIO, OutcomeUnknown, "failed while committing"),
]


@pytest.mark.parametrize(("number", "kind", "says"), REFUSING)
def test_a_write_that_the_system_refuses_is_answered_by_its_reason_and_the_next_one_may_succeed(
    store_on_disk: SQLiteStore,
    disk: Disk,
    runner: asyncio.Runner,
    number: int,
    kind: type[StoreError],
    says: str,
) -> None:
    async def scenario() -> None:
        await put(store_on_disk, user(), change())
        disk.refuses_with = number
        for _ in range(2):
            with pytest.raises(kind, match=says):
                await change_user(store_on_disk, user(), next_version(user(), name="refused"))
            assert await get(store_on_disk, KEY) == user()
        disk.refuses_with = 0
        await change_user(store_on_disk, user(), next_version(user(), name="kept"))
        assert await all_changes(store_on_disk, "u1") == [change(), change(version=2)]

    runner.run(scenario())


def test_a_sync_that_fails_leaves_the_outcome_unknown_whatever_it_failed_for(
    store_on_disk: SQLiteStore, disk: Disk, runner: asyncio.Runner
) -> None:
    """Some file systems find out only then that there is no room."""

    async def scenario() -> None:
        await put(store_on_disk, user(), change())
        disk.syncing_fails, disk.refuses_with = True, errno.ENOSPC
        with pytest.raises(OutcomeUnknown):
            await change_user(store_on_disk, user(), next_version(user(), name="lost"))
        disk.syncing_fails, disk.refuses_with = False, 0

    runner.run(scenario())


def test_a_disk_that_is_full_at_any_write_of_a_commit_stores_nothing(
    store_on_disk: SQLiteStore, disk: Disk, path: Path, runner: asyncio.Runner, tmp_path: Path
) -> None:
    """Not even if the process dies at that moment and the file is opened again."""
    big = next_version(user(), traits={"text": "x" * 10_000})

    async def what_a_crash_leaves(number: int) -> User:
        left = tmp_path / f"crash-{number}" / path.name
        left.parent.mkdir()
        for suffix in ("", "-wal"):
            Path(f"{left}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
        store = SQLiteStore(left)
        await store.migrate()
        found: User = await get(store, KEY)
        await store.close()
        return found

    async def scenario() -> int:
        await put(store_on_disk, user(), change())
        for writes in range(1000):
            disk.writes_until_full = writes
            try:
                await change_user(store_on_disk, user(), big)
            except StoreFull:
                assert await what_a_crash_leaves(writes) == user()
                assert await get(store_on_disk, KEY) == user()
            else:
                disk.writes_until_full = None
                assert await what_a_crash_leaves(writes) == big
                assert await get(store_on_disk, KEY) == big
                return writes
        raise AssertionError("the disk was always full")

    assert runner.run(scenario()) >= 10


def test_a_read_that_fails_on_the_loop_is_tried_in_a_thread(
    store_on_disk: SQLiteStore, disk: Disk, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        await put(store_on_disk, user(), change())
        assert await get(store_on_disk, key_of(user("nobody"))) is None  # the loop's connection is open now
        await put(store_on_disk, user("u2"), change("u2"))
        disk.reading_fails_in = threading.current_thread()
        assert await get(store_on_disk, key_of(user("u2"))) == user("u2")
        disk.reading_fails_in = None

    runner.run(scenario())


def test_when_no_connection_can_be_opened_reads_are_answered_as_unavailable(
    store_on_disk: SQLiteStore, disk: Disk, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        await put(store_on_disk, user(), change())
        disk.opening_fails = True
        with pytest.raises(StoreUnavailable):
            await store_on_disk.get([KEY])
        with pytest.raises(StoreUnavailable):
            await store_on_disk.list("project")
        with pytest.raises(StoreUnavailable):
            await all_changes(store_on_disk, "u1")
        disk.opening_fails = False
        assert await get(store_on_disk, KEY) == user()
        assert await all_changes(store_on_disk, "u1") == [change()]
        assert list(await store_on_disk.list("project")) == []

    runner.run(scenario())


def test_a_read_that_takes_too_long_is_given_up(
    store: SQLiteStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep the log from being cut off."""
    count = 3_000

    async def scenario() -> None:
        await put(store, user(version=count), *(change(version=version) for version in range(1, count + 1)))
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_store, "READ_TIME_S_MAX", -1)
            with pytest.raises(StoreUnavailable):
                await all_changes(store, "u1")
        assert len(await all_changes(store, "u1")) == count

    runner.run(scenario())


def test_a_migration_that_cannot_lock_the_file_is_answered_as_unavailable(
    store: SQLiteStore, path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "LOCK_WAIT_MS", 1)

    async def scenario() -> None:
        beside = SQLiteStore(path)
        store._writer.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StoreUnavailable):
                await beside.migrate()
        finally:
            store._writer.execute("ROLLBACK")
            await beside.close()

    runner.run(scenario())


# The write-ahead log.

PAGE_BYTES = 4096 + 24


def log_pages(path: Path) -> int:
    """The length of the write-ahead log's file, in pages."""
    return Path(f"{path}-wal").stat().st_size // PAGE_BYTES


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("pages_start", [500, 10**9])
def test_the_log_stays_under_its_cap_and_one_batch(
    path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, pages_start: int, fast: bool
) -> None:
    """With the checkpointer's thread, and where that never gets its turn; with commits on the loop, and in a thread."""
    pages_cap, users, batch, updates = 2_000, 1_000, 250, 15_000
    monkeypatch.setattr(SQLiteStore, "_commits_are_fast", lambda self: fast)
    monkeypatch.setattr(wal, "PAGES_START", pages_start)
    monkeypatch.setattr(wal, "PAGES_CAP", pages_cap)

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        current = [user(f"u{i}") for i in range(users)]
        await put(store, *current, *(change(each.id) for each in current))
        lengths = [0]  # of the log after each commit; it begins anew when all of it was copied back

        def note_length(pages: int) -> None:
            lengths.append(pages)
            noted(pages)

        assert store._checkpointer is not None
        noted = store._checkpointer.noted
        monkeypatch.setattr(store._checkpointer, "noted", note_length)
        for first in range(0, updates, batch):
            before = [current[i % users] for i in range(first, first + batch)]
            after = [next_version(each) for each in before]
            write = writing(
                *(change(each.id, version=each.version) for each in after),
                updates=[Update(old, new) for old, new in zip(before, after, strict=True)],
            )
            await store.run(partial(folding, Read(tuple(key_of(each) for each in before)), write))
            for i, each in enumerate(after, first):
                current[i % users] = each
        growths = [now - then for then, now in pairwise(lengths) if now > then]
        assert sum(growths) > 2 * pages_cap, "too little was written to show anything"
        assert max(lengths) <= pages_cap + max(growths)
        assert log_pages(path) <= pages_cap + max(growths)
        assert dict(await store.get([key_of(each) for each in current])) == {key_of(each): each for each in current}
        assert {each.version for each in current} == {1 + updates // users}
        await store.close()

    runner.run(scenario())


def test_closing_cuts_the_log_off(store: SQLiteStore, path: Path, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        beside = SQLiteStore(path)  # a connection that stays open: SQLite itself removes the log with the last one
        await beside.migrate()
        await put(beside, user(), change())
        assert log_pages(path) > 0
        await beside.close()
        assert log_pages(path) == 0
        assert await get(store, KEY) == user()

    runner.run(scenario())


class WatchedCheckpointer(wal.Checkpointer):
    """Says when it has copied the log back in its thread, and when it has cut it off."""

    def __init__(self, db: apsw.Connection) -> None:
        self.copied = threading.Event()
        self.cut = threading.Event()
        super().__init__(db)

    def _checkpoint(self, mode: int) -> None:
        super()._checkpoint(mode)
        if mode == wal.TRUNCATE:
            self.cut.set()
        elif threading.current_thread() is not threading.main_thread():
            self.copied.set()


def test_an_idle_log_is_cut_off(store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "IDLE_S", 0.001)
    checkpointer = WatchedCheckpointer(store._connect(writing=True))
    checkpointer.cut.clear()  # it also cuts off what an earlier process left
    try:
        store._writer.execute("CREATE TABLE filler (x)")
        assert log_pages(path) > 0
        checkpointer.noted(log_pages(path))
        assert checkpointer.cut.wait(30)
        assert log_pages(path) == 0
    finally:
        checkpointer.stop()


def test_a_log_of_some_length_is_copied_back_in_the_background(
    store: SQLiteStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "PAGES_START", 1)
    checkpointer = WatchedCheckpointer(store._connect(writing=True))
    try:
        monkeypatch.setattr(store, "_checkpointer", checkpointer)
        runner.run(put(store, user(), change()))
        assert checkpointer.copied.wait(30)
    finally:
        monkeypatch.undo()
        checkpointer.stop()


def test_what_a_crash_left_in_the_log_is_copied_back_and_cut_off_at_the_start(
    store: SQLiteStore, path: Path, runner: asyncio.Runner, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed" / path.name
    crashed.parent.mkdir()

    async def scenario() -> None:
        await put(store, user(), change())
        for suffix in ("", "-wal"):
            Path(f"{crashed}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
        assert log_pages(crashed) > 0
        again = SQLiteStore(crashed)
        await again.migrate()
        assert log_pages(crashed) == 0
        assert await get(again, KEY) == user()
        await again.close()

    runner.run(scenario())


def test_closing_while_another_process_reads_loses_nothing(path: Path, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        reader = apsw.Connection(str(path))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchall()
        await put(store, user(), change())
        await store.close()
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM users").get == 1
        reader.close()

    runner.run(scenario())


def test_a_page_of_history_is_of_one_moment(
    store: SQLiteStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user that is deleted after its last change was looked up, and before the others were, is still all there."""
    last = user(version=200)
    deleted = 0

    def delete_in_between(_cursor: apsw.Cursor, sql: str, _values: object) -> bool:
        nonlocal deleted
        if "RECURSIVE" in sql and not deleted:
            deleted += 1
            runs = remove_user(store, last)
            with pytest.raises(StopIteration):
                runs.send(None)
        return True

    def open_and_watch(*, wait_ms: int) -> apsw.Connection:
        reader = open_reader(wait_ms=wait_ms)
        reader.exec_trace = delete_in_between
        return reader

    open_reader = store._open_reader
    monkeypatch.setattr(store, "_open_reader", open_and_watch)

    async def scenario() -> None:
        await put(store, last, *(change(version=version) for version in range(1, 201)))
        store._commit_ms.extend([0.1] * sqlite_store.COMMITS_WATCHED)  # the deletion does not wait for a thread
        assert [made.version for made in await all_changes(store, "u1")] == list(range(1, 201))
        assert deleted == 1
        assert await all_changes(store, "u1") == []

    runner.run(scenario())


def test_a_log_that_cannot_be_copied_back_holds_up_no_commit(
    path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of another process that never ends keeps the log from being cut; commits go on all the same."""
    monkeypatch.setattr(wal, "PAGES_START", 10)
    monkeypatch.setattr(wal, "PAGES_CAP", 20)

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        await put(store, user(), change())
        reader = apsw.Connection(str(path))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchall()
        current = user()
        for _ in range(50):
            after = next_version(current)
            await change_user(store, current, after)
            current = after
        assert log_pages(path) > 20
        assert reader.execute("SELECT version FROM users").fetchall() == [(1,)]
        reader.execute("COMMIT")
        reader.close()
        assert [made.version for made in await all_changes(store, "u1")] == list(range(1, 52))
        await store.close()

    runner.run(scenario())


# Finding users.


@pytest.mark.parametrize("asked", [{"any_terms": ("email|ada@x.org",)}, {"text": "ada@x.org"}, {"text": "ad"}])
def test_looking_up_one_user_among_many_costs_no_more_than_among_few(
    store: SQLiteStore, runner: asyncio.Runner, asked: dict[str, Any]
) -> None:
    query = UserQuery(project_id=PROJECT, limit=10, after=(-1, ""), **asked)
    db = store._connect(writing=False)
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return False

    def cost() -> int:
        nonlocal steps
        steps = 0
        assert len(list(search.documents(db, query))) == 1
        return steps

    async def add(*ids: str) -> None:
        made = [User(id=id_, name=f"name {id_}", contact_email=f"{id_}@y.org", version=1) for id_ in ids]
        await put(store, *made, *(change(id_) for id_ in ids))

    async def scenario() -> None:
        mail = EmailAddress(id="idn_1", email_address="ada@x.org", created_at=1, updated_at=1)
        await put(store, User(id="u", name="name", version=1, email_addresses=(mail,)), change("u"))
        await add(*(f"few{number}" for number in range(10)))
        among_few = cost()
        await add(*(f"many{number}" for number in range(2_000)))
        assert cost() < 2 * among_few + 100

    db.set_progress_handler(step, 10)
    runner.run(scenario())
    db.close()


def test_an_update_writes_no_index_of_what_it_leaves(store: SQLiteStore) -> None:
    """SQLite writes an index for each column that a statement sets, even to the same value."""
    steps = store._writer.execute(f"EXPLAIN {tables.UPDATE_USER}", (None,) * 7)
    written = {step[3] for step in steps if step[1] == "OpenWrite"}
    roots = dict(store._writer.execute("SELECT name, rootpage FROM sqlite_schema WHERE tbl_name = 'users'"))
    assert roots["users"] in written
    assert roots["users_by_updated_at"] in written
    assert roots["users_by_created_at"] not in written
    assert not written & {roots["users_by_last_active_at"], roots["users_by_last_sign_in_at"]}


def test_being_active_writes_no_index_of_when_somebody_signed_in(store: SQLiteStore) -> None:
    steps = store._writer.execute(f"EXPLAIN {tables.UPDATE_LAST_ACTIVE_AT}", (None,) * 3)
    written = {step[3] for step in steps if step[1] == "OpenWrite"}
    roots = dict(store._writer.execute("SELECT name, rootpage FROM sqlite_schema WHERE tbl_name = 'users'"))
    assert roots["users_by_last_active_at"] in written
    assert not written & {roots["users_by_last_sign_in_at"], roots["users_by_updated_at"]}


def test_a_user_who_gives_way_to_an_older_one_is_listed_where_that_one_belongs(
    store: SQLiteStore, runner: asyncio.Runner
) -> None:
    first, middle, last = (User(id=f"u{at}", version=1, created_at=at, updated_at=at) for at in (1, 2, 3))
    moved = next_version(last, created_at=0)

    async def scenario() -> None:
        await put(store, first, middle, last, *(change(one.id) for one in (first, middle, last)))
        await change_user(store, last, moved)
        assert await store.users(UserQuery(project_id=PROJECT, limit=9)) == [moved, first, middle]
        after_first = UserQuery(project_id=PROJECT, limit=9, after=(0, moved.id))
        assert await store.users(after_first) == [first, middle]

    runner.run(scenario())


def test_a_user_who_joins_a_segment_is_not_indexed_again(store: SQLiteStore, runner: asyncio.Runner) -> None:
    """Its text did not change, and taking it out of that index and in again is most of what the update would cost."""
    before = user()
    after = next_version(before, segments=("seg_1",))

    def index() -> list[tuple[Any, ...]]:
        return list(store._writer.execute("SELECT id, block FROM user_search_data ORDER BY id"))

    async def scenario() -> None:
        await put(store, before, change())
        indexed = index()
        await change_user(store, before, after)
        assert index() == indexed
        in_segment = UserQuery(project_id=PROJECT, any_terms=("segment|seg_1",), limit=9)
        assert await store.users(in_segment) == [after]

    runner.run(scenario())


# Erasure.


def test_nothing_of_a_deleted_user_is_left_in_the_file(path: Path, runner: asyncio.Runner) -> None:
    author = Author(source="native", actor="key_1", trust="backend")

    def secret(number: int) -> str:
        return f"person.{number:04d}@secret.example"

    def edits(number: int) -> tuple[Edit, ...]:
        document = {"email_addresses": [secret(number)], "traits": {"mail": secret(number), "filler": "f" * number}}
        return (Edit("merge_patch", document),)

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        # Where SQLite leaves copies depends on the ids: with these it does.
        entropy = random.Random(11)
        engine = Engine(store, clock_ms=lambda: 1_700_000_000_000, entropy=lambda: entropy.getrandbits(160))
        settings = EffectiveSettings()
        made = await asyncio.gather(
            *(
                engine.run(CreateUser(project_id=PROJECT, author=author, edits=edits(number)), settings)
                for number in range(400)
            )
        )
        ids = [applied.user.id for applied in made if applied.user is not None]
        for grown in (900, 10):  # documents that outgrow their page and shrink again leave copies behind
            for number, id_ in enumerate(ids):
                filler = Edit("merge_patch", {"traits": {"filler": "f" * (grown + number)}})
                update = UpdateUser(project_id=PROJECT, author=author, user_id=id_, edits=(filler,))
                await engine.run(update, settings)
        gone = [DeleteUser(project_id=PROJECT, author=author, user_id=id_) for id_ in ids[::2]]
        await asyncio.gather(*(engine.run(command, settings) for command in gone[:100]))
        for command in gone[100:]:
            await engine.run(command, settings)
        await engine.close()
        await store.close()

    runner.run(scenario())
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    left = [number for number in range(400) if secret(number).encode() in content]
    assert left == list(range(1, 400, 2))


def test_every_kind_of_record_has_a_table_of_its_own(store: SQLiteStore, runner: asyncio.Runner) -> None:
    runner.run(put(store, user(), change(), *(one for one, _ in PAIRS.values())))
    beside = ("change_marks", "user_terms", "user_search")  # indexes of what other tables hold
    counts = {
        name: store._writer.execute(f"SELECT count(*) FROM {name}").get  # noqa: S608
        for type_, name, _, _ in schema(store._writer)
        if type_ == "table" and not name.startswith(beside)
    }
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_what_a_user_was_found_by_is_nowhere_in_the_file_when_it_no_longer_is(
    path: Path, runner: asyncio.Runner, how: str
) -> None:
    """Not even in parts: an index of trigrams and where they stand is as good as the text."""
    secret = "қңҗ@ҳҷӄ.ңҗқ"
    before = User(id="u1", name=secret, contact_email=secret, version=1)

    async def scenario() -> None:
        store = SQLiteStore(path)
        await store.migrate()
        others = [user(f"o{number}") for number in range(50)]
        await put(store, before, *others, *(change(one.id) for one in (before, *others)))
        query = UserQuery(project_id=PROJECT, text=secret, limit=9)
        assert await store.users(query) == [before]
        if how == "renamed":
            after = next_version(before, name="Ada", contact_email=None)
            await change_user(store, before, after)
            assert await store.users(msgspec.structs.replace(query, text="ada")) == [after]
        else:
            await remove_user(store, before)
        assert await store.users(query) == []
        assert await store.users(msgspec.structs.replace(query, text=secret[:2])) == []
        await store.close()

    runner.run(scenario())
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert secret.encode() not in content
    # A trigram that begins like the one before it is stored without its first characters, so pairs are looked for.
    pairs = [first + second for first, second in pairwise(secret)]
    assert [pair for pair in pairs if pair.encode() in content] == []
