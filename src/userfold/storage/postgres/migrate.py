"""Numbered migrations, in one transaction that holds the row which says which were applied.

Two programs that start at once wait for each other there; the lock goes with its connection.

That row also says the oldest schema that a program must know to use the database. Migrations only add, so programs of
before go on, and may start again, while they are replaced one by one. A migration that they cannot bear begins with the
line `EXCLUSIVE`: then they are refused.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from importlib.resources import files

import asyncpg

from userfold.storage.port import Schema, SchemaTooNew, StoreUnavailable
from userfold.storage.postgres.connections import Connection

log = logging.getLogger("userfold.storage.postgres")

_FOLDER = files("userfold.storage.postgres")

VERSION_TABLE = "userfold_schema"
MAKE_VERSION_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE}"
    " (one boolean PRIMARY KEY, version integer NOT NULL, oldest integer NOT NULL)"
)
MAKE_VERSION_ROW = f"INSERT INTO {VERSION_TABLE} (one, version, oldest) VALUES (true, 0, 0) ON CONFLICT DO NOTHING"  # noqa: S608
SELECT_VERSION = f"SELECT version, oldest FROM {VERSION_TABLE}"  # noqa: S608
SET_VERSION = f"UPDATE {VERSION_TABLE} SET version = $1, oldest = $2"  # noqa: S608
EXCLUSIVE = "-- EXCLUSIVE: programs that do not know this schema must not use it.\n"
# An index of trigrams makes a search by any part quick. Without the extension it is slow, and finds the same.
HAS_TEXT_INDEX = "SELECT to_regclass('user_index_by_text') IS NOT NULL"
MAKE_TRIGRAMS = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
MAKE_TEXT_INDEX = "CREATE INDEX IF NOT EXISTS user_index_by_text ON user_index USING gin (text gin_trgm_ops)"


def migrations() -> dict[int, str]:
    """{number: SQL}, in order: `0001_initial.sql` is number 1."""
    found = sorted(_FOLDER.joinpath("migrations").iterdir(), key=lambda file: file.name)
    return {int(file.name[:4]): file.read_text() for file in found if file.name.endswith(".sql")}


def oldest_usable(known: Mapping[int, str]) -> int:
    """The schema that a program must know at least to use a database to which all these migrations were applied."""
    return max((number for number, sql in known.items() if sql.startswith(EXCLUSIVE)), default=1)


def fresh_schema() -> str:
    """The SQL that makes today's schema in an empty database."""
    return _FOLDER.joinpath("schema.sql").read_text()


async def schema_of(connection: Connection) -> Schema:
    """Which schema the database has: also a newer one, if this program may use it.

    Raises `SchemaTooNew`, or `StoreUnavailable` for a database that is not Userfold's.
    """
    newest = max(migrations())
    return Schema(found=await _usable_version(connection, newest), known=newest)


async def migrate(connection: Connection) -> list[int]:
    """Bring the database to today's schema; the numbers that were applied. An interrupted migration leaves no trace.

    The connection is of use for nothing else afterwards, because it waits for ever.

    Raises `SchemaTooNew`, or `StoreUnavailable` for a database that is not Userfold's.
    """
    known = migrations()
    newest = max(known)
    if await _usable_version(connection, newest) >= newest:
        return []  # and nothing is written: a server must start although the disk is full
    await connection.execute(
        "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0"
    )
    await _make_version_table(connection)
    async with connection.transaction():
        found = _usable(await connection.fetchrow(f"{SELECT_VERSION} FOR UPDATE"), newest)
        pending = [number for number in known if number > found]
        if not pending:
            return []  # somebody else was faster
        for sql in [fresh_schema()] if found == 0 else [known[number] for number in pending]:
            await connection.execute(sql)
        await _make_text_index(connection)
        await connection.execute(SET_VERSION, newest, oldest_usable(known))
    return pending


async def _make_version_table(connection: Connection) -> None:
    # Another program may make it in this moment, and IF NOT EXISTS does not look twice.
    with contextlib.suppress(asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.DuplicateTableError):
        await connection.execute(MAKE_VERSION_TABLE)
    await connection.execute(MAKE_VERSION_ROW)


async def _make_text_index(connection: Connection) -> None:
    try:
        async with connection.transaction():  # or a savepoint, where there is one
            await connection.execute(MAKE_TRIGRAMS)
            await connection.execute(MAKE_TEXT_INDEX)
    except asyncpg.PostgresError as error:
        log.warning("searches by a part of a name will be slow, because there is no extension pg_trgm: %s", error)


async def _usable_version(connection: Connection, newest: int) -> int:
    """The schema's version, 0 for an empty database. Raises for one that this program must not touch."""
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreUnavailable("the database must have the encoding UTF8")
    if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
        if await connection.fetchval("SELECT to_regclass('users')") is not None:
            raise StoreUnavailable("the database has tables of another program; give Userfold one of its own")
        return 0
    return _usable(await connection.fetchrow(SELECT_VERSION), newest)


def _usable(row: asyncpg.Record | None, newest: int) -> int:
    version, oldest = (0, 0) if row is None else row
    if oldest > newest:
        raise SchemaTooNew(found=version, known=newest)
    return version
