"""PostgreSQL servers for tests, started when first needed, and empty databases in them.

Searched in this order: `USERFOLD_TEST_DATABASE_URL`, a server that may be filled and emptied at will; the programs that
`postgres_server.py` finds, the newest version first.
"""

from __future__ import annotations

import base64
import os
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.postgres_server import NO_SERVER, URL_VARIABLE, programs, run, start
from tests.postgres_server import Process as Process
from tests.postgres_server import connected as connected
from userfold.storage.postgres.store import PostgresStore

ENCRYPTION_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
# Nothing of this outlives the run, so nothing need be durable.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "autovacuum_naptime": "5s",
}
# TRUNCATE would take thirty times as long: of each table it makes new files.
_EMPTYING = """
SELECT string_agg(format('DELETE FROM %I', tablename), '; ') FROM pg_tables
WHERE schemaname = 'public' AND tablename <> 'userfold_schema'
"""


class Server:
    """One server process, and databases in it that hold an empty store each."""

    def __init__(self, url: str) -> None:
        self.url = url  # with `{}` where the name of the database is
        self._free: list[str] = []
        self._made = 0
        self._template = ""

    def address(self, name: str) -> str:
        return self.url.format(name)

    def take(self) -> str:
        """The name of a database with an empty, migrated store."""
        if self._free:
            name = self._free.pop()
            run(lambda: self._empty(name))
            return name
        if not self._template:
            self._template = self.new_name()
            self._create_in_english(self._template)
            run(lambda: self._fill(self._template))
        name = self.new_name()
        self.create(name, self._template)
        return name

    def give_back(self, name: str) -> None:
        """Others may have the database now. Whoever is still connected to it is sent away."""
        self._free.append(name)

    def new_name(self) -> str:
        """The name of a database that does not exist."""
        self._made += 1
        return f"userfold_test_{os.getpid()}_{self._made}"

    def create(self, name: str, template: str = "template1") -> None:
        """Make a database."""
        self.execute("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def _create_in_english(self, name: str) -> None:
        """Make a database that would sort and compare otherwise than we do, if the server can."""
        locale = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'"
        try:
            self.execute("postgres", f'CREATE DATABASE "{name}" {locale}')
        except asyncpg.PostgresError:  # one that was built without ICU
            self.create(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.execute("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, database: str, sql: str, *values: object) -> Any:
        """The rows of a statement, on a connection of its own."""

        async def execute() -> Any:
            async with connected(self.address(database)) as connection:
                return await connection.fetch(sql, *values)

        return run(execute)

    def drop_all(self) -> None:
        """Remove what was made here: the server may not be ours."""
        names = [f"userfold_test_{os.getpid()}_{number}" for number in range(1, self._made + 1)]
        for name in names:
            self.drop(name)

    async def _fill(self, name: str) -> None:
        store = PostgresStore(self.address(name))
        await store.migrate()
        await store.close()

    async def _empty(self, name: str) -> None:
        async with connected(self.address(name)) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.execute(await connection.fetchval(_EMPTYING))


def versions() -> list[str]:
    """The versions that there are, the newest first; `given` for the one that the environment names."""
    return ["given"] if os.environ.get(URL_VARIABLE) else list(_programs())


@cache
def _programs() -> dict[str, Path]:
    return programs()


def server(version: str | None) -> Server:
    """A running server of that version, or of the newest. Without any, the test is skipped; in CI it fails."""
    return _server(version or next(iter(versions()), ""))  # one for both names: it counts its databases


_given: list[Server] = []


def leave() -> None:
    """The run is over: a server that is not ours is left as it was. Too late at exit, when no thread can begin."""
    for one in _given:
        one.drop_all()


@cache
def _server(version: str) -> Server:
    if os.environ.get(URL_VARIABLE):
        _given.append(Server(os.environ[URL_VARIABLE]))
        return _given[-1]
    if not _programs():
        if os.environ.get("CI") == "true":
            pytest.fail(NO_SERVER)
        pytest.skip(NO_SERVER)
    return Server(start(_programs()[version], OPTIONS).url)


def start_durable(**options: str) -> Process:
    """A server that keeps what it has answered, also when it crashes."""
    if not _programs():
        server(None)
    return start(_programs()[versions()[0]], {**OPTIONS, "fsync": "on", "full_page_writes": "on", **options})


def over(url: str) -> dict[str, str]:
    """The settings of a process over a database: there is no encryption key in its folder."""
    return {"USERFOLD_DATABASE_URL": url, "USERFOLD_ENCRYPTION_KEY": ENCRYPTION_KEY}


# Databases by the folder that a test keeps its data in.

_NAME_FILE = "postgresql.database"
_taken: list[tuple[Server, str]] = []


def store_in(folder: Path, version: str | None = None) -> PostgresStore:
    """The store of a folder: made again, it holds what was committed."""
    return PostgresStore(database_of(folder, version))


def database_of(folder: Path, version: str | None = None) -> str:
    """The address of the database of a folder."""
    running, file = server(version), folder / _NAME_FILE
    if not file.exists():
        name = running.take()
        _taken.append((running, name))
        file.write_text(name)
    return running.address(file.read_text())


def give_back() -> None:
    """The test is over: its databases are for others."""
    while _taken:
        running, name = _taken.pop()
        running.give_back(name)
