"""What only the PostgreSQL store has: migrations, locks, lost connections, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from tests import postgres
from tests.contract.samples import (
    PROJECT,
    SIGN_IN,
    change,
    change_user,
    changes_key,
    folding,
    get,
    key_of,
    next_version,
    put,
    user,
    writing,
)
from tests.postgres_proxy import Fate, Silence, between
from userfold.core.queries import UserQuery
from userfold.core.records import Identifier, Key, Presence, Record, User, kind_of
from userfold.storage.port import (
    Conflict,
    Fold,
    Locked,
    OutcomeUnknown,
    Read,
    Records,
    Schema,
    SchemaTooNew,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Update,
    Write,
    WriteFailed,
)
from userfold.storage.postgres import connections, migrate, tables
from userfold.storage.postgres import store as store_module
from userfold.storage.postgres import writing as writing_module
from userfold.storage.postgres.connections import Lost, Readers, connect, translated
from userfold.storage.postgres.gather import AT_ONCE_MAX, KEYS_MAX, Gatherer
from userfold.storage.postgres.reading import FoundByKey
from userfold.storage.postgres.store import ATTEMPTS_MAX, PostgresStore

KEY = key_of(user())


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a database with an empty store."""
    return postgres.database_of(tmp_path)


@pytest.fixture
def store(url: str, runner: asyncio.Runner) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    runner.run(store.close())


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    """Another store over the same database, as another process has it."""
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.close()


# The schema.


@pytest.fixture
def bare() -> Iterator[str]:
    """The address of a database in which there is nothing."""
    with new_database(postgres.server(None)) as url:
        yield url


@contextlib.contextmanager
def new_database(server: postgres.Server) -> Iterator[str]:
    """The address of a new database."""
    name = server.new_name()
    server.create(name)
    yield server.address(name)
    server.drop(name)


COLUMNS = """
SELECT table_name, ordinal_position, column_name, data_type, collation_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"


async def schema(url: str) -> list[Any]:
    """What the tables and indexes of a database are."""
    async with postgres.connected(url) as connection:
        return [*await connection.fetch(COLUMNS), *await connection.fetch(INDEXES)]


async def version_of(url: str) -> int:
    async with postgres.connected(url) as connection:
        version: int = await connection.fetchval(migrate.SELECT_VERSION)
        return version


def test_the_schema_of_a_new_database_is_the_one_that_all_migrations_together_make(
    bare: str, url: str, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        async with postgres.connected(bare) as connection:
            for sql in migrate.migrations().values():
                await connection.execute(sql)
            await connection.execute(migrate.MAKE_VERSION_TABLE)
            await connection.execute(migrate.MAKE_TRIGRAMS)
            await connection.execute(migrate.MAKE_TEXT_INDEX)
        assert await schema(bare) == await schema(url)
        assert await version_of(url) == max(migrate.migrations())

    runner.run(scenario())


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert list(migrate.migrations()) == list(range(1, len(migrate.migrations()) + 1))


def test_every_key_begins_with_the_project_and_nothing_else_is_unique(url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> Sequence[Any]:
        async with postgres.connected(url) as connection:
            rows: Sequence[Any] = await connection.fetch(INDEXES)
            return rows

    unique = {row["tablename"]: row["indexdef"] for row in runner.run(scenario()) if " UNIQUE " in row["indexdef"]}
    of_no_project = {"leases", "writers", "userfold_schema"}
    assert set(unique) > of_no_project
    assert [d for name, d in unique.items() if name not in of_no_project and "(project_id, " not in d] == []
    assert [d for d in unique.values() if "_pkey" not in d] == []


SCALE_OUT = Path(__file__).parents[2] / "docs" / "howto" / "scale-out.md"
PRIMARY_KEYS = """
SELECT tablename, (SELECT array_agg(attname::text) FROM pg_index
  JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
  WHERE indisprimary AND indrelid = tablename::regclass) FROM pg_tables WHERE schemaname = 'public'
"""
SPREAD = re.compile(
    r"SELECT create_(distributed|reference)_table\(name(?:, '(\w+)')?\) FROM unnest\(ARRAY\[(.*?)\]\) AS name;",
    re.DOTALL,
)


def ways_to_spread() -> list[list[tuple[str, str, str]]]:
    """Each of the ways that the documentation tells: (table, how it is made, by which column)."""
    text = SCALE_OUT.read_text().partition("## 7. A distributed engine")[2]
    return [
        [(name, how, column) for how, column, names in SPREAD.findall(block) for name in re.findall(r"'(\w+)'", names)]
        for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    ]


def test_every_table_can_be_spread_over_machines_as_the_documentation_says(url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> dict[str, list[str]]:
        async with postgres.connected(url) as connection:
            return dict(await connection.fetch(PRIMARY_KEYS))

    keys = runner.run(scenario())
    ways = ways_to_spread()
    assert len(ways) == 2
    for way in ways:
        assert sorted(name for name, _, _ in way) == sorted(keys)
        assert [name for name, how, column in way if how == "distributed" and column not in keys[name]] == []
    by = {name: column for name, how, column in ways[1] if how == "distributed"}
    assert {by[name] for name in ("users", "user_index", "user_times", "identifiers")} == {"id"}
    assert {by[name] for name in ("user_terms", "changes")} == {"user_id"}


def test_several_programs_that_start_at_once_make_one_schema(
    bare: str, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def start() -> None:
        async with opened(bare) as store:
            await store.migrate()
            await put(store, user(), change(), project_id=f"prj_{id(store)}")

    async def scenario() -> None:
        with caplog.at_level(logging.WARNING):
            await asyncio.gather(*(start() for _ in range(6)))
        assert caplog.text == ""
        assert await version_of(bare) == max(migrate.migrations())

    runner.run(scenario())


ADDITION = """
CREATE TABLE added (project_id text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, PRIMARY KEY (project_id, id));
ALTER TABLE users ADD COLUMN added bigint NOT NULL DEFAULT 0;
CREATE INDEX users_by_added ON users (project_id, added, id);
"""


KNOWN = migrate.migrations()


def with_another(sql: str) -> dict[int, str]:
    """The migrations of a program that has one more."""
    return {**KNOWN, max(KNOWN) + 1: sql}


def test_programs_of_before_go_on_over_what_a_migration_added_and_start_again(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = max(migrate.migrations()) + 1

    async def scenario() -> None:
        async with opened(bare) as older:
            await older.migrate()
            await put(older, user(), change())
            with monkeypatch.context() as patch:
                patch.setattr(migrate, "migrations", lambda: with_another(ADDITION))
                async with opened(bare) as newer:
                    await newer.migrate()
                    assert newer.schema() == Schema(found=newest, known=newest)
                    assert await get(newer, KEY) == user()
            assert await version_of(bare) == newest
            await change_user(older, user(), next_version(user()))
            before = await schema(bare)
            await older.migrate()
            assert older.schema() == Schema(found=newest, known=newest - 1)
            (found,) = [finding for finding in older.examine(full=False) if finding.about == "store"]
            assert (found.state, "a newer program's" in found.says) == ("warning", True)
            assert (await schema(bare), await version_of(bare)) == (before, newest)
            await put(older, user("u2"), change("u2"))

    runner.run(scenario())


def test_programs_of_before_are_refused_by_a_migration_that_they_could_not_bear_and_change_nothing(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = max(migrate.migrations()) + 1

    async def scenario() -> None:
        async with opened(bare) as older:
            await older.migrate()
            with monkeypatch.context() as patch:
                patch.setattr(migrate, "migrations", lambda: with_another(migrate.EXCLUSIVE + "DROP TABLE leases"))
                await older.migrate()
            before = await schema(bare)
            for refused in (older.migrate, lambda: asyncio.to_thread(older.schema)):
                with pytest.raises(SchemaTooNew, match=rf"schema {newest}; this program knows {newest - 1}"):
                    await refused()
            assert (await schema(bare), await version_of(bare)) == (before, newest)

    runner.run(scenario())


def test_a_database_remembers_the_last_migration_that_older_programs_cannot_bear() -> None:
    assert migrate.oldest_usable({1: "x", 2: migrate.EXCLUSIVE + "y", 3: "z"}) == 2
    assert migrate.oldest_usable({1: "x", 2: "y -- EXCLUSIVE"}) == 1


def test_several_programs_that_start_at_once_over_an_older_schema_migrate_it_once(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        async with opened(bare) as store:
            await store.migrate()

    async def scenario() -> None:
        await start()
        monkeypatch.setattr(migrate, "migrations", lambda: with_another(ADDITION))
        await asyncio.gather(*(start() for _ in range(6)))
        assert await version_of(bare) == max(KNOWN) + 1

    runner.run(scenario())


def test_a_program_that_waited_for_a_newer_one_leaves_its_schema_as_it_is(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with opened(bare) as store, postgres.connected(bare) as newer:
            await store.migrate()
            monkeypatch.setattr(migrate, "migrations", lambda: with_another(ADDITION))
            before = await schema(bare)
            await newer.execute("BEGIN")
            await newer.execute(migrate.SET_VERSION, max(KNOWN) + 5, 1)
            starting = asyncio.create_task(store.migrate())
            await until_waiting(bare)
            await newer.execute("COMMIT")
            await starting
            assert (await schema(bare), await version_of(bare)) == (before, max(KNOWN) + 5)

    runner.run(scenario())


# The rule for migrations. What follows ADD COLUMN must let rows be inserted by those who do not know the column.
ADDS = re.compile(
    r"CREATE TABLE \w+ \(.*\)"
    r"|CREATE INDEX \w+ ON \w+ .*"
    r"|ALTER TABLE \w+ ADD COLUMN "
    r"(?!.*\b(UNIQUE|PRIMARY KEY|REFERENCES|CHECK)\b)(?!.*\bNOT NULL\b(?!.*\bDEFAULT\b))(?!.*,).*",
    re.DOTALL,
)


def more_than_additions(sql: str) -> list[str]:
    """The statements of a migration that do anything but add, unless it keeps programs of before away."""
    if sql.startswith(migrate.EXCLUSIVE):
        return []
    statements = [one.strip() for one in re.sub(r"--.*", "", sql).split(";")]
    return [one for one in statements if one and not ADDS.fullmatch(one)]


@pytest.mark.parametrize("number", migrate.migrations())
def test_a_migration_only_adds_or_says_that_older_programs_must_not_go_on(number: int) -> None:
    assert more_than_additions(migrate.migrations()[number]) == []


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE users",
        "ALTER TABLE users DROP COLUMN version",
        "ALTER TABLE users ADD COLUMN a text NOT NULL",
        "ALTER TABLE users ADD COLUMN a text UNIQUE",
        "ALTER TABLE users ADD COLUMN a text, DROP COLUMN version",
        "ALTER TABLE users RENAME TO people",
        "CREATE UNIQUE INDEX one ON users (id)",
        "UPDATE users SET version = 0",
        f"CREATE TABLE a (id text); {migrate.EXCLUSIVE} DROP TABLE users",
    ],
)
def test_what_is_no_addition_is_noticed(sql: str) -> None:
    assert more_than_additions(sql) != []
    assert more_than_additions(ADDITION) == more_than_additions(migrate.EXCLUSIVE + sql) == []


def test_a_migration_that_fails_leaves_no_trace(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrate.migrations()
    broken = {**known, max(known) + 1: "CREATE TABLE added (project_id text); SELECT 1 / 0"}

    async def scenario() -> None:
        async with opened(bare) as store:
            await store.migrate()
            before = await schema(bare)
            with monkeypatch.context() as patch:
                patch.setattr(migrate, "migrations", lambda: broken)
                with pytest.raises(StoreError):
                    await store.migrate()
            assert (await schema(bare), await version_of(bare)) == (before, max(known))

    runner.run(scenario())


def test_a_database_of_another_program_is_refused_and_not_touched(bare: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        async with postgres.connected(bare) as connection:
            await connection.execute("CREATE TABLE users (name text)")
        before = await schema(bare)
        async with opened(bare) as store:
            with pytest.raises(StoreUnavailable, match="another program"):
                await store.migrate()
        assert await schema(bare) == before

    runner.run(scenario())


def test_text_that_is_not_kept_as_unicode_is_refused_at_the_start(runner: asyncio.Runner) -> None:
    server = postgres.server(None)
    name = server.new_name()
    server.execute("postgres", f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")

    async def scenario() -> None:
        async with opened(server.address(name)) as store:
            with pytest.raises(StoreUnavailable, match="UTF8"):
                await store.migrate()

    runner.run(scenario())
    server.drop(name)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://nobody:hunter2@127.0.0.1:1/none",
        "postgresql://nobody:hunter2@/none?host=/nowhere",
        "postgresql://nobody:hunter2@127.0.0.1:port/none",
        "postgresql://nobody:hunter2/2@127.0.0.1/none",
    ],
)
def test_who_cannot_connect_is_told_so_without_the_password(
    address: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE_S", 0)
    monkeypatch.setattr(store_module, "READ_PATIENCE_S", 0)

    async def scenario() -> None:
        async with opened(address) as store:
            for work in (store.migrate(), store.list("project"), store.run(lambda: folding(Read((KEY,))))):
                with pytest.raises(StoreUnavailable) as caught:
                    await work
                assert "hunter2" not in str(caught.value)

    runner.run(scenario())


def test_who_only_looks_is_answered_beside_a_running_loop(store: PostgresStore, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        newest = max(migrate.migrations())
        assert store.schema() == Schema(found=newest, known=newest)
        findings = {finding.about: finding.state for finding in store.examine(full=False)}
        # The server of these tests is one that may forget everything, and doctor says so.
        assert findings == {"store": "ok", "fsync": "failed", "full_page_writes": "failed", "search": "ok"}

    runner.run(scenario())


# Time and durability.


def test_an_answered_update_is_durable_whatever_the_default_of_the_database(url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        database = f'ALTER DATABASE "{urlsplit(url).path[1:]}"'
        for default, wanted in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
            async with postgres.connected(url) as connection:
                await connection.execute(f"{database} SET synchronous_commit = {default}")
            writer = await connect(url)
            assert await writer.fetchval("SHOW synchronous_commit") == wanted
            await writer.close()
        async with postgres.connected(url) as connection:
            await connection.execute(f"{database} RESET synchronous_commit")

    runner.run(scenario())


def test_a_read_that_takes_too_long_is_given_up(
    store: PostgresStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READ_MS_MAX", 50)
    monkeypatch.setitem(tables.LISTS, "project", "SELECT pg_sleep(60)::text")

    async def scenario() -> None:
        with pytest.raises(StoreUnavailable, match="took too long"):
            await store.list("project")
        assert await get(store, KEY) is None, "and the connection is of use again"

    runner.run(scenario())


@contextlib.asynccontextmanager
async def holding(url: str, *ids: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Another process that has locked these users."""
    async with postgres.connected(url) as connection:
        await connection.execute("BEGIN")
        await connection.fetch(tables.LOCK_USERS, PROJECT, list(ids))
        yield connection
        await connection.execute("ROLLBACK")


def test_a_lock_that_others_keep_is_waited_for_only_so_long(
    store: PostgresStore, url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)

    async def scenario() -> None:
        await put(store, user(), change())
        await store.close()
        async with opened(url) as other:
            async with holding(url, "u1"):
                with pytest.raises(Locked, match="others keep locked"):
                    await change_user(other, user(), next_version(user()))
            await change_user(other, user(), next_version(user()))

    runner.run(scenario())


IN_THE_WAY = {
    "a row that is not committed": f"INSERT INTO identifiers VALUES ('{PROJECT}', 'username|ada', 'u2', 'backend')",  # noqa: S608
    "an index that is made": "LOCK TABLE identifiers IN SHARE MODE",
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_who_is_in_the_way_of_a_write_is_waited_for_once(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)
    claim = Identifier(identifier="username|ada", user_id="u1", set_by="backend")

    async def scenario() -> None:
        async with opened(url) as store, postgres.connected(url) as other:
            await other.execute("BEGIN")
            await other.execute(IN_THE_WAY[what])
            with pytest.raises(Locked):
                await put(store, claim)
            assert store.counters.conflicts == 0
            await other.execute("ROLLBACK")
            await put(store, claim)

    runner.run(scenario())


def test_where_others_were_waited_for_in_vain_the_next_waits_are_short(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)
    monkeypatch.setattr(store_module, "LOCK_MS_MAX", 60_000)
    monkeypatch.setattr(store_module, "LOCK_AGAIN_MS_MAX", 50)

    async def scenario() -> None:
        async with opened(url) as store:
            await put(store, user(), change())
            async with holding(url, "u1"):
                with pytest.raises(Locked):
                    await change_user(store, user(), next_version(user()))
                monkeypatch.setattr(connections, "LOCK_MS_MAX", 0)  # the next connection would wait for ever
                async with postgres.connected(url) as other:
                    await other.execute(END_OTHERS)
                monkeypatch.setattr(connections, "STATEMENT_MS_MAX", 3_000)
                with pytest.raises(Locked):
                    await change_user(store, user(), next_version(user()))

    runner.run(scenario())


def test_later_others_are_waited_for_as_long_as_before(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)
    monkeypatch.setattr(store_module, "LOCK_MS_MAX", 0)
    monkeypatch.setattr(store_module, "LOCK_AGAIN_MS_MAX", 1)

    async def scenario() -> None:
        async with opened(url) as store:
            await put(store, user(), change())
            async with holding(url, "u1"):
                with pytest.raises(Locked):
                    await change_user(store, user(), next_version(user()))
            monkeypatch.setattr(connections, "LOCK_MS_MAX", 5_000)
            async with postgres.connected(url) as other:
                await other.execute(END_OTHERS)
            async with holding(url, "u1"):
                changing = asyncio.create_task(change_user(store, user(), next_version(user())))
                await asyncio.sleep(0.1)
                assert not changing.done()
            await changing

    runner.run(scenario())


# Locks.


OF_US = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'userfold'"
END_OTHERS = f"SELECT pg_terminate_backend(pid) FROM ({OF_US}) AS ours"  # noqa: S608
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def until_waiting(url: str) -> None:
    """Return when somebody waits for a lock in this database."""
    async with postgres.connected(url) as connection:
        while not await connection.fetchval(WAITING):  # noqa: ASYNC110 - nobody here is told of it
            await asyncio.sleep(0.01)


def test_what_a_fold_has_read_nobody_else_changes_before_it_has_written(
    store: PostgresStore, url: str, runner: asyncio.Runner
) -> None:
    other_key = key_of(user("u2"))

    async def scenario() -> None:
        await put(store, user(), change(), user("u2"), change("u2"))
        async with opened(url) as other:
            async with holding(url, "u2"):
                # Its first read has u1, and it waits for u2.
                both = writing(change(version=2), updates=[Update(user(), next_version(user(), name="first"))])
                first = asyncio.create_task(store.run(lambda: folding(Read((KEY, other_key)), both)))
                await until_waiting(url)
                second = asyncio.create_task(other.run(lambda: folding(Read((KEY,)))))
                await asyncio.sleep(0.05)
                assert not second.done()
            await first
            (seen,) = await second
        assert seen[KEY] == next_version(user(), name="first")

    runner.run(scenario())


def test_who_would_have_to_wait_for_a_second_lock_begins_anew_with_both(
    store: PostgresStore, url: str, runner: asyncio.Runner
) -> None:
    """Else two who ask for the same in another order would wait for each other."""
    attempts: list[list[Records]] = []

    def make_fold() -> Fold[None]:
        attempts.append([])
        return fold(attempts[-1])

    def fold(seen: list[Records]) -> Fold[None]:
        for id_ in ("u2", "u1"):
            answer = yield Read((key_of(user(id_)),))
            assert answer is not None
            seen.append(answer)

    async def scenario() -> None:
        await put(store, user(), change(), user("u2"), change("u2"))
        async with holding(url, "u1") as other:
            running = asyncio.create_task(store.run(make_fold))
            await until_waiting(url)
            # It has let go of u2: the other gets it, and nobody is in a circle.
            await other.execute("SET lock_timeout = 1000")
            await other.fetch(tables.LOCK_USERS, PROJECT, ["u2"])
        await running

    runner.run(scenario())
    assert len(attempts) >= 2
    assert len(attempts[-1]) == 2


def test_a_collection_is_locked_by_its_user(store: PostgresStore, url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await put(store, user(), change(), SIGN_IN)
        async with holding(url, "u1"):
            reading = asyncio.create_task(store.run(lambda: folding(Read((Key("sign_ins", PROJECT, "u1"),)))))
            await until_waiting(url)
            async with opened(url) as other:
                assert await get(other, Key("sign_ins", PROJECT, "u1")) == (SIGN_IN,), "a read outside waits for nobody"
        assert (await reading)[0][Key("sign_ins", PROJECT, "u1")] == (SIGN_IN,)

    runner.run(scenario())


def test_of_two_who_claim_a_name_at_once_one_is_told_by_a_new_fold(
    store: PostgresStore, url: str, runner: asyncio.Runner
) -> None:
    claim = Key("identifier", PROJECT, "email|a@x.org")

    def claiming(user_id: str) -> Fold[str]:
        found = yield Read((claim,))
        assert found is not None
        holder = found[claim]
        if isinstance(holder, Identifier):
            return holder.user_id
        yield writing(Identifier(identifier=claim.id, user_id=user_id, set_by="backend"))
        return user_id

    async def scenario() -> None:
        stores = [store, *(PostgresStore(url) for _ in range(3))]
        runs = [one.run(lambda n=n: claiming(f"u{n}")) for n, one in enumerate(stores)]  # type: ignore[misc]
        winners = await asyncio.gather(*runs)
        assert len(set(winners)) == 1
        assert (await get(store, claim)).user_id == winners[0]
        for one in stores[1:]:
            await one.close()

    runner.run(scenario())


def test_a_batch_of_two_processes_that_lock_in_another_order_is_no_deadlock(
    store: PostgresStore, url: str, runner: asyncio.Runner
) -> None:
    ids = [f"u{n}" for n in range(8)]

    async def work(own: PostgresStore, number: int) -> None:
        for turn in range(15):
            asked = ids[turn % 8 :] + ids[: turn % 8]
            await own.run(lambda asked=asked[:: 1 if number % 2 else -1]: counting(asked))  # type: ignore[misc]

    def counting(asked: list[str]) -> Fold[None]:
        for id_ in asked[:3]:
            key = key_of(user(id_))
            found = yield Read((key,))
            assert found is not None
            before = found[key]
            assert isinstance(before, User)
            yield writing(change(id_, version=before.version + 1), updates=[Update(before, next_version(before))])

    async def scenario() -> None:
        await put(store, *(user(id_) for id_ in ids), *(change(id_) for id_ in ids))
        stores = [store, *(PostgresStore(url) for _ in range(3))]
        await asyncio.gather(*(work(own, number) for number, own in enumerate(stores)))
        found = [await get(store, key_of(user(id_))) for id_ in ids]
        assert sum(one.version - 1 for one in found) == len(stores) * 15 * 3
        for one in found:
            assert [made.version for made in await get(store, changes_key(one.id))] == list(range(1, one.version + 1))
        async with postgres.connected(url) as connection:
            sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            assert await connection.fetchval(sql) == 0
        for own in stores[1:]:
            await own.close()

    runner.run(scenario())


# Many at once, which are copied.


MANY = [f"u{n:03}" for n in range(writing_module.COPY_ROWS_MIN + 1)]


def many(*more: Record) -> Write:
    """Users with all that they have."""
    records: list[Record] = [*more]
    for id_ in MANY:
        claim = Identifier(identifier=f"external_id|{id_}", user_id=id_, set_by="browser")
        records += [user(id_, traits={"\\t\n": id_}), change(id_), claim, Presence(id=id_, last_active_at=5)]
    return writing(*records)


async def rows_of(url: str) -> dict[str, set[str]]:
    """{table: its rows as text}."""
    async with postgres.connected(url) as connection:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('writers', 'leases')"
        )
        return {name: {str(row) for row in await connection.fetch(f"SELECT * FROM {name}")} for (name,) in names}  # noqa: S608


def test_many_are_copied_to_the_same_rows_that_statements_make(
    store: PostgresStore, url: str, bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await store.run(lambda: folding(many()))
        monkeypatch.setattr(writing_module, "COPY_ROWS_MIN", len(MANY) * 100)
        async with opened(bare) as other:
            await other.migrate()
            await other.run(lambda: folding(many()))
        copied = await rows_of(url)
        assert copied == await rows_of(bare)
        made = ("users", "user_index", "user_times", "identifiers", "changes", "presences")
        assert [len(copied[name]) for name in made] == [len(MANY)] * 6

    runner.run(scenario())


@pytest.mark.parametrize(
    "taken", [user(MANY[-1]), Identifier(identifier="external_id|u007", user_id="x", set_by="backend")], ids=kind_of
)
def test_one_of_many_that_is_there_already_is_a_conflict_and_nothing_of_them_is_stored(
    store: PostgresStore, url: str, runner: asyncio.Runner, taken: Record
) -> None:
    folds: list[Fold[Any]] = []

    def make_fold() -> Fold[Any]:
        folds.append(folding(many()))
        return folds[-1]

    async def scenario() -> None:
        await put(store, taken)
        before = await rows_of(url)
        with pytest.raises(Conflict):
            await store.run(make_fold)
        assert await rows_of(url) == before
        assert len(folds) == ATTEMPTS_MAX

    runner.run(scenario())


@pytest.mark.parametrize("bad", ["external_id|\0", "external_id|\ud800"], ids=ascii)
def test_one_of_many_that_cannot_be_stored_fails_as_a_write_and_the_connection_is_of_use(
    store: PostgresStore, url: str, runner: asyncio.Runner, bad: str
) -> None:
    async def scenario() -> None:
        before = await rows_of(url)
        with pytest.raises(WriteFailed):
            await store.run(lambda: folding(many(Identifier(identifier=bad, user_id="u", set_by="backend"))))
        assert await rows_of(url) == before
        await store.run(lambda: folding(many()))

    runner.run(scenario())


# Connections that are lost.


def counted(seen: list[int]) -> Fold[int]:
    """Adds one to the version of u1; notes that it ran."""
    found = yield Read((KEY,))
    assert found is not None
    before = found[KEY]
    assert isinstance(before, User)
    seen.append(before.version)
    made = writing(change(version=before.version + 1), updates=[Update(before, next_version(before))])
    yield msgspec.structs.replace(made, batch_id=f"bat_{before.version + 1}")
    return before.version + 1


FATES: list[tuple[Fate, int]] = [("undone", 2), ("done", 1), ("late", 1), ("never", 2)]


@pytest.mark.parametrize(("fate", "attempts"), FATES)
def test_a_batch_whose_commit_was_lost_is_there_once(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, fate: Fate, attempts: int
) -> None:
    monkeypatch.setattr(connections, "SILENCE_MS_MAX", 1_000)
    seen: list[int] = []

    async def scenario() -> None:
        async with between(url) as proxy, opened(proxy.url) as store:
            await put(store, user(), change())
            proxy.fates.append(fate)
            assert await store.run(lambda: counted(seen)) == 2
            assert len(seen) == attempts
            assert await store.run(lambda: counted(seen)) == 3
            assert (await get(store, KEY)).version == 3
            assert [made.version for made in await get(store, changes_key("u1"))] == [1, 2, 3]

    runner.run(scenario())


IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


@pytest.mark.parametrize(("fate", "attempts"), [("silent", 2), ("silent after", 1)])
def test_a_batch_whose_commit_met_a_silence_is_there_once(
    url: str,
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fate: Silence,
    attempts: int,
) -> None:
    """A longer one than a statement is waited for: both sides give the connection up, and neither hears of it."""
    monkeypatch.setattr(connections, "SILENCE_MS_MAX", 200)
    monkeypatch.setattr(connections, "STATEMENT_S_MAX", 0.3)
    monkeypatch.setattr(connections, "CONNECT_S_MAX", 0.3)
    seen: list[int] = []

    async def scenario() -> None:
        async with between(url) as proxy, opened(proxy.url) as store:
            await put(store, user(), change())
            proxy.fates.append(fate)
            running = asyncio.create_task(store.run(lambda: counted(seen)))
            while "the connection was lost during COMMIT" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.01)
            async with postgres.connected(url) as connection:
                while await connection.fetchval(IN_TRANSACTION):  # noqa: ASYNC110 - nor does a server
                    await asyncio.sleep(0.01)
            proxy.go_on()
            assert await running == 2
            assert len(seen) == attempts
            assert await store.run(lambda: counted(seen)) == 3
            assert [made.version for made in await get(store, changes_key("u1"))] == [1, 2, 3]

    runner.run(scenario())


def test_who_waits_for_the_locks_of_a_silent_process_waits_for_longer_than_the_server_lets_it_have_them() -> None:
    """Else the silence of one process would fail updates of another."""
    assert connections.SILENCE_MS_MAX < connections.LOCK_MS_MAX < connections.STATEMENT_MS_MAX
    assert connections.STATEMENT_MS_MAX < connections.STATEMENT_S_MAX * 1000
    assert connections.READ_MS_MAX < connections.READ_S_MAX * 1000


def test_a_read_in_a_silence_is_given_up_when_its_time_is_over_and_works_again_after_it(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READ_S_MAX", 0.3)
    monkeypatch.setattr(connections, "CONNECT_S_MAX", 0.3)
    monkeypatch.setattr(store_module, "READ_PATIENCE_S", 0)

    async def scenario() -> None:
        async with between(url) as proxy, opened(proxy.url) as store:
            await put(store, user(), change())
            assert await get(store, KEY) == user()
            proxy.fall_silent()
            for _ in range(2):  # on a connection that was good, and on one that must be made
                with pytest.raises(StoreUnavailable, match="cannot be reached: TimeoutError: no answer in time"):
                    await store.get([KEY])
            proxy.go_on()
            assert await get(store, KEY) == user()

    runner.run(scenario())


@pytest.mark.parametrize("done", [True, False])
def test_where_nobody_can_tell_the_outcome_is_unknown(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.3)
    seen: list[int] = []

    async def scenario() -> None:
        async with between(url) as proxy, opened(proxy.url) as store:
            await put(store, user(), change())
            proxy.next_commit.clear()
            proxy.fates.append("done" if done else "undone")
            running = asyncio.create_task(store.run(lambda: counted(seen)))
            await proxy.next_commit.wait()
            proxy.refuse()
            with pytest.raises(OutcomeUnknown):
                await running
        async with opened(url) as store:
            assert (await get(store, KEY)).version == 1 + done

    runner.run(scenario())


def test_connections_that_were_cut_are_made_anew(url: str, runner: asyncio.Runner) -> None:
    seen: list[int] = []

    async def scenario() -> None:
        async with between(url) as proxy, opened(proxy.url) as store:
            await put(store, user(), change())
            for version in range(2, 6):
                proxy.cut()
                assert (await get(store, KEY)).version == version - 1
                proxy.cut()
                assert await store.run(lambda: counted(seen)) == version

    runner.run(scenario())


def test_a_transaction_whose_process_fell_silent_lets_others_in(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SILENCE_MS_MAX", 200)
    seen: list[int] = []

    async def scenario() -> None:
        async with opened(url) as store:
            await put(store, user(), change())
            silent = await connect(url)
            await silent.execute("BEGIN")
            await silent.fetch(tables.LOCK_USERS, PROJECT, ["u1"])
            assert await store.run(lambda: counted(seen)) == 2
            silent.terminate()

    runner.run(scenario())


def test_a_process_leaves_no_row_behind_when_it_ends(url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        async with opened(url) as store:
            await put(store, user(), change())
            async with postgres.connected(url) as connection:
                assert await connection.fetchval("SELECT count(*) FROM writers") == 1
        async with postgres.connected(url) as connection:
            assert await connection.fetchval("SELECT count(*) FROM writers") == 0

    runner.run(scenario())


def test_a_server_that_has_fallen_silent_does_not_keep_a_process_from_ending(
    url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if postgres.versions() == ["given"]:
        pytest.skip("the processes of a server that is not ours are not ours to stop")
    for name in ("STATEMENT_S_MAX", "READ_S_MAX"):
        monkeypatch.setattr(connections, name, 600)
    store = PostgresStore(url)

    async def scenario() -> None:
        await put(store, user(), change())
        assert (await get(store, KEY)).version == 1
        async with postgres.connected(url) as other:
            servers = [pid for (pid,) in await other.fetch(OF_US)]
        assert len(servers) == 2, "one that writes and one that reads"
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        try:
            for module in (store_module, connections):
                monkeypatch.setattr(module, "CONNECT_S_MAX", 0.05)
            await store.close()
        finally:
            for pid in servers:
                os.kill(pid, signal.SIGCONT)

    runner.run(scenario())
    assert caplog.text.count("not closed properly") == 2


def test_a_closed_store_has_no_connection_left(url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        async with opened(url) as store:
            await put(store, user(), change())
            await get(store, KEY)
            assert store.schema().found
        async with postgres.connected(url) as connection:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
            while await connection.fetchval(sql, "userfold"):  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.01)

    runner.run(scenario())


# What only one process is to do.


def test_what_one_process_is_to_do_no_other_does_until_its_time_is_over(
    store: PostgresStore, url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000]
    monkeypatch.setattr(store_module, "_now_ms", lambda: clock[0])

    async def scenario() -> None:
        async with opened(url) as other:
            assert await store.lease("sweep", ms=100)
            assert not await other.lease("sweep", ms=100)
            assert await other.lease("something else", ms=100)
            clock[0] = 1_099
            assert not await other.lease("sweep", ms=100)
            assert await store.lease("sweep", ms=100), "who has it may prolong it"
            clock[0] = 1_198
            assert not await other.lease("sweep", ms=100)
            clock[0] = 1_199
            assert await other.lease("sweep", ms=100)
            assert not await store.lease("sweep", ms=100)

    runner.run(scenario())


def test_of_many_who_ask_at_once_one_has_it(store: PostgresStore, url: str, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        stores = [store, *(PostgresStore(url) for _ in range(5))]
        assert sum(await asyncio.gather(*(one.lease("sweep", ms=60_000) for one in stores))) == 1
        for one in stores[1:]:
            await one.close()

    runner.run(scenario())


# What goes wrong, by its SQLSTATE.

STATES: list[tuple[str, type[Exception]]] = [
    ("40001", Conflict),
    ("40P01", Conflict),
    ("23505", Conflict),
    ("55P03", Locked),
    ("53100", StoreFull),
    ("57014", StoreUnavailable),
    ("22P05", WriteFailed),
    ("54000", WriteFailed),
    ("08006", Lost),
    ("57P01", Lost),
    ("57P03", Lost),
    ("25P03", Lost),
    ("25006", Lost),
    ("53300", Lost),
    ("28P01", StoreUnavailable),
    ("42P01", StoreUnavailable),
]


@pytest.mark.parametrize(("state", "kind"), STATES)
def test_errors_of_the_server_are_named_in_the_words_of_the_port(
    url: str, runner: asyncio.Runner, state: str, kind: type[Exception]
) -> None:
    async def scenario() -> None:
        async with postgres.connected(url) as connection:
            with pytest.raises(kind) as caught, translated():
                await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'why' USING ERRCODE = '{state}'; END $$")
            assert type(caught.value) is kind

    runner.run(scenario())


def test_a_conflict_that_stays_is_raised_after_so_many_attempts(store: PostgresStore, runner: asyncio.Runner) -> None:
    made: list[int] = []

    def make_fold() -> Fold[None]:
        made.append(len(made))
        return fold()

    def fold() -> Fold[None]:
        yield writing(user())

    async def scenario() -> None:
        await put(store, user(), change())
        with pytest.raises(Conflict):
            await store.run(make_fold)
        assert store.counters.conflicts == len(made) == ATTEMPTS_MAX

    runner.run(scenario())


# Keys and texts.


@pytest.mark.parametrize("id_", ["a\0b", "\0", "\ud800"])
def test_a_key_that_cannot_be_text_is_not_there_and_its_neighbours_are(
    store: PostgresStore, runner: asyncio.Runner, id_: str
) -> None:
    asked = [KEY, Key("user", PROJECT, id_), Key("user", id_, "u1"), Key("sign_ins", PROJECT, id_)]
    expected: dict[Key, Any] = dict(zip(asked, [user(), None, None, ()], strict=True))

    async def scenario() -> None:
        await put(store, user(), change())
        assert await store.get(asked) == expected
        assert await store.run(lambda: folding(Read(tuple(asked)))) == [expected]
        assert await store.history(PROJECT, id_, after=0, up_to=9, limit=9) == []
        assert await store.of_user("event", PROJECT, id_, after=None, descending=False, limit=9) == []

    runner.run(scenario())


def test_a_search_without_the_index_of_parts_finds_the_same(
    store: PostgresStore, url: str, runner: asyncio.Runner
) -> None:
    query = UserQuery(project_id=PROJECT, text="lovel", limit=9)

    async def scenario() -> None:
        ada = User(id="u1", name="Ada Lovelace", version=1)
        await put(store, ada, change())
        assert await store.users(query) == [ada]
        async with postgres.connected(url) as connection:
            await connection.execute("DROP EXTENSION pg_trgm CASCADE")
        assert await store.users(query) == [ada]
        assert {finding.about: finding.state for finding in store.examine(full=False)}["search"] == "warning"
        async with postgres.connected(url) as connection:
            await migrate._make_text_index(connection)

    runner.run(scenario())


def test_a_database_without_the_extension_is_used_all_the_same(
    bare: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(migrate, "MAKE_TRIGRAMS", "CREATE EXTENSION there_is_none")

    async def scenario() -> None:
        async with opened(bare) as store:
            with caplog.at_level(logging.WARNING):
                await store.migrate()
            assert "pg_trgm" in caplog.text
            await put(store, User(id="u1", name="Ada", version=1), change())
            assert len(await store.users(UserQuery(project_id=PROJECT, text="ada", limit=9))) == 1

    runner.run(scenario())


# Reads that are done together.


class Asked:
    """A connection that finds nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        self.statements.append(sql)
        return []


def test_a_user_is_read_after_what_belongs_to_it(
    store: PostgresStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the user as it was before then knows that the rest is of the same moment."""
    asked = Asked()
    monkeypatch.setattr(store, "_with_reader", lambda work, readers: work(asked))
    kinds = ("sign_ins", "user", "changes", "secrets", "identifier")
    runner.run(store.get([Key(kind, PROJECT, "u1") for kind in kinds]))
    assert len(asked.statements) == len(kinds)
    assert asked.statements[-1] == tables.SELECT_USERS


def test_what_one_turn_of_the_loop_asks_for_is_read_together(runner: asyncio.Runner) -> None:
    readings: list[list[Key]] = []
    keys = [Key("user", PROJECT, f"u{n}") for n in range(10)]

    async def read(asked: Sequence[Key]) -> Records:
        readings.append(list(asked))
        await asyncio.sleep(0)
        return dict.fromkeys(asked)

    async def scenario() -> None:
        gatherer = Gatherer(read)
        answers = await asyncio.gather(*(gatherer.get([key, keys[0]]) for key in keys))
        assert [list(answer) for answer in answers] == [list(dict.fromkeys([key, keys[0]])) for key in keys]
        await gatherer.close()

    runner.run(scenario())
    assert readings == [keys]


def test_what_arrives_while_enough_is_read_waits_and_is_read_together(runner: asyncio.Runner) -> None:
    readings: list[int] = []
    gate = asyncio.Event()

    async def read(asked: Sequence[Key]) -> Records:
        readings.append(len(asked))
        await gate.wait()
        return dict.fromkeys(asked)

    async def scenario() -> None:
        gatherer = Gatherer(read)
        tasks = []
        for number in range(KEYS_MAX + 10):
            tasks.append(asyncio.create_task(gatherer.get([Key("user", PROJECT, f"u{number}")])))
            if number < 5:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert readings == [1] * AT_ONCE_MAX
        gate.set()
        await asyncio.gather(*tasks)
        await gatherer.close()

    runner.run(scenario())
    assert readings == [1, 1, KEYS_MAX, 10 - AT_ONCE_MAX]


def test_one_who_went_away_and_a_reading_that_failed_harm_nobody_else(runner: asyncio.Runner) -> None:
    failing = [StoreUnavailable("once")]

    async def read(asked: Sequence[Key]) -> Records:
        await asyncio.sleep(0.01)
        if failing:
            raise failing.pop()
        return dict.fromkeys(asked)

    async def scenario() -> None:
        gatherer = Gatherer(read)
        gone, first, second = (asyncio.create_task(gatherer.get([KEY])) for _ in range(3))
        await asyncio.sleep(0)
        gone.cancel()
        for task in (first, second):
            with pytest.raises(StoreUnavailable):
                await task
        assert await gatherer.get([KEY]) == {KEY: None}
        assert await gatherer.get([]) == {}
        await gatherer.close()

    runner.run(scenario())


# Plans.

UNANALYSED = "ALTER TABLE users SET (autovacuum_enabled = false)"  # the server's own turn would hide ours
CROWD = 2_000
IDS = str([f"q{number}" for number in range(64)])
ONES = str([1] * 64)
KEYED = {
    "read": (tables.SELECT_USERS, "text, text[]", f"'q', ARRAY{IDS}"),
    "lock": (tables.LOCK_USERS, "text, text[]", f"'q', ARRAY{IDS}"),
    "update": (
        tables.UPDATE_USERS,
        "text, text[], bigint[], bigint[], text[], bigint[]",
        f"'q', ARRAY{IDS}, ARRAY{ONES}, ARRAY{ONES}, ARRAY{IDS}, ARRAY{ONES}",
    ),
}


async def fill(connection: Any, project_id: str) -> None:
    ids, ones = [f"{project_id}{number}" for number in range(CROWD)], [1] * CROWD
    await connection.execute(tables.INTO_USERS.insert, project_id, ids, ones, ones, ["{}"] * CROWD)


@pytest.mark.parametrize("name", KEYED)
def test_keys_lead_to_their_rows_also_in_a_project_that_is_not_in_the_statistics(
    runner: asyncio.Runner, name: str
) -> None:
    sql, types, values = KEYED[name]

    async def plan(url: str) -> str:
        async with opened(url) as store:
            await store.migrate()
        connection = await connect(url, reading=name == "read")
        await connection.execute(UNANALYSED)
        await fill(connection, "p")
        await connection.execute(tables.ANALYZE)
        await fill(connection, "q")
        await connection.execute(f"PREPARE keyed ({types}) AS {sql}")
        lines = await connection.fetch(f"EXPLAIN EXECUTE keyed ({values})")
        await connection.close()
        return "\n".join(line for (line,) in lines)

    versions = postgres.versions()
    oldest = versions[-1] if versions else None  # where the planner goes astray most easily
    with new_database(postgres.server(oldest)) as url:
        found = runner.run(plan(url))
    assert "Index Cond: ((project_id = $1) AND (id = " in found, found


@pytest.mark.parametrize(("by_key", "mode"), [(True, "force_generic_plan"), (False, "auto")])
def test_searches_are_planned_for_their_values_and_reads_by_key_are_not(
    url: str, runner: asyncio.Runner, by_key: bool, mode: str
) -> None:
    readers = Readers(url, 1, by_key=by_key)
    assert runner.run(mode_of(readers)) == mode
    runner.run(readers.close())


def test_a_store_reads_by_key_where_that_is_planned_for(
    store: PostgresStore, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    async def fetch(connection: Any, *asked: object) -> FoundByKey:
        modes.append(await connection.fetchval("SHOW plan_cache_mode"))
        return {KEY: None}

    monkeypatch.setattr(store_module, "fetch", fetch)
    runner.run(get(store, KEY))
    assert modes == ["force_generic_plan"]


async def mode_of(readers: Readers) -> str:
    async with readers.one() as connection:
        mode: str = await connection.fetchval("SHOW plan_cache_mode")
        return mode


def test_the_first_users_are_analysed_at_once(bare: str, runner: asyncio.Runner) -> None:
    async def scenario() -> list[float]:
        known = []
        async with opened(bare) as store, postgres.connected(bare) as connection:
            await store.migrate()
            await connection.execute(UNANALYSED)
            for first, last in itertools.pairwise((0, 255, 256, 2_047, 2_048)):
                await put(store, *(user(f"u{number}") for number in range(first, last)))
                known.append(await connection.fetchval(tables.USERS_KNOWN))
        return known

    assert runner.run(scenario()) == [-1, 256, 256, 2_048]


@pytest.mark.parametrize(("known", "tries"), [(-1, True), (0, True), (1, False), (1_000_000, False)])
def test_users_are_analysed_if_the_server_knows_of_fewer_and_the_batch_is_answered_even_if_that_fails(
    store: PostgresStore,
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    known: int,
    tries: bool,
) -> None:
    monkeypatch.setattr(store_module, "ANALYSED_AFTER", (1,))
    monkeypatch.setattr(tables, "USERS_KNOWN", f"SELECT {known}::real")
    monkeypatch.setattr(tables, "ANALYZE", "ANALYZE nothing_that_exists")
    runner.run(put(store, user()))
    assert runner.run(get(store, KEY)) == user()
    assert ("the tables were not analysed" in caplog.text) is tries
