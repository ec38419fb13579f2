"""The PostgreSQL server of a round, as durable as one is by default, and a database in it for each program.

It is found as tests find one: `USERFOLD_TEST_DATABASE_URL` names a server; else one is started, of the newest version.
That one listens at a socket in a folder of its own, so nobody else can be what answers there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from bench.processes import CannotMeasure
from tests.postgres_server import NO_SERVER, URL_VARIABLE, connected, programs, run, start


class Postgres:
    """A server that runs. `pid` is None for one that somebody else has started: what it costs cannot be told."""

    def __init__(self, folder: Path) -> None:
        """Started by an account that must be able to pass through `folder`."""
        self._names: list[str] = []
        self._process = None
        self._url = os.environ.get(URL_VARIABLE, "")
        if not self._url:
            newest, *_ = programs().values()
            self._process = start(newest, {}, beside=folder)
            self._url = self._process.url
        started = None if self._process is None else self._process.process
        self.pid = None if started is None else started.pid
        self.version = str(self.execute("postgres", "SHOW server_version")[0][0]).split()[0]
        self._refuse_lax_server()

    def make_database(self, name: str) -> str:
        """The address of a new database."""
        self._names.append(f"userfold_bench_{os.getpid()}_{name}")
        self.execute("postgres", f'CREATE DATABASE "{self._names[-1]}"')
        return self._url.format(self._names[-1])

    def execute(self, database: str, sql: str, *values: object) -> Any:
        """The rows of a statement."""
        return fetch(self._url.format(database), sql, *values)

    def end(self) -> None:
        """End what was started, and remove what was made."""
        if self._process is not None:
            self._process.end()
        else:
            for name in self._names:
                self.execute("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')

    def _refuse_lax_server(self) -> None:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            if (is_ := self.execute("postgres", f"SHOW {setting}")[0][0]) != "on":
                raise CannotMeasure(f"the PostgreSQL server has {setting} = {is_}: it would not keep what it answered")


def fetch(url: str, sql: str, *values: object) -> Any:
    """The rows of a statement, on a connection of its own."""

    async def work() -> Any:
        async with connected(url) as connection:
            return await connection.fetch(sql, *values)

    return run(work)


def execute(url: str, script: str) -> None:
    """Several statements, on a connection of their own."""

    async def work() -> None:
        async with connected(url) as connection:
            await connection.execute(script)

    run(work)


def pgbench_program() -> Path | None:
    """Of the newest version that there is."""
    beside = [folder / "pgbench" for folder in programs().values() if (folder / "pgbench").exists()]
    found = beside[0] if beside else shutil.which("pgbench")
    return None if found is None else Path(found)


def missing() -> str | None:
    """What is needed to measure over PostgreSQL and is not here."""
    if not os.environ.get(URL_VARIABLE) and not programs():
        return NO_SERVER
    if pgbench_program() is None:
        return "there is no pgbench: neither beside the programs of a PostgreSQL server nor in PATH"
    return None
