"""What runs in one round: each program and database is started, fresh, when a row first needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from bench.load import Job, Report
from bench.measure import WARM_UP_S, make_users, put_load
from bench.pgbench import Pgbench
from bench.postgres import Postgres
from bench.processes import Server
from bench.rows import PGBENCH, PROGRAMS, PROGRAMS_OVER_POSTGRES, Row


class World:
    """`stack` ends what is started here, the last first. `wrong`: what should not have been."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._postgres: Postgres | None = None
        self._pgbench: Pgbench | None = None
        self._servers: dict[str, tuple[Server, tuple[str, ...]]] = {}
        self.wrong: list[str] = []

    def measurement(self, row: Row, seconds: float, seed: int) -> Callable[[], Report]:
        """What measures the row. All that it needs is running."""
        if row.program == PGBENCH:
            pgbench = self.pgbench()
            return lambda: pgbench.measure(row.connections, seconds)
        server, user_ids = self.server(row.program)
        job = Job(
            port=server.port,
            token=server.token,
            pid=server.pid,
            database_pid=self.postgres().pid if row.program in PROGRAMS_OVER_POSTGRES else None,
            traffic=row.traffic,
            connections=row.connections,
            warm_up_s=WARM_UP_S,
            seconds=seconds,
            user_ids=user_ids,
            seed=seed,
        )
        return lambda: put_load(job)

    def server(self, program: str) -> tuple[Server, tuple[str, ...]]:
        """A program that runs, and the users that were made in it."""
        if program not in self._servers:
            self._servers[program] = self._start(program)
        return self._servers[program]

    def postgres(self) -> Postgres:
        """The server of all databases of this round that are not files."""
        if self._postgres is None:
            self._postgres = Postgres(self._folder)
            self._stack.callback(self._postgres.end)
        return self._postgres

    def pgbench(self) -> Pgbench:
        """With a database of its own."""
        if self._pgbench is None:
            self._pgbench = Pgbench(self.postgres().make_database(PGBENCH), self.postgres().pid)
        return self._pgbench

    def stop(self) -> None:
        """End the programs in order, and hear what they had to complain of."""
        for server, _ in self._servers.values():
            server.stop()
            self.wrong += server.complaints()

    def _start(self, program: str) -> tuple[Server, tuple[str, ...]]:
        data = self._folder / program
        data.mkdir()
        server = self._stack.enter_context(Server(program, self._command(program, data), self._folder))
        if program == "nothing":
            return server, ()
        report = make_users(server)
        self.wrong += [f"{program}, making users: {error}" for error in report.errors]
        return server, report.user_ids

    def _command(self, program: str, data: Path) -> list[str]:
        if program not in PROGRAMS_OVER_POSTGRES:
            return PROGRAMS[program](data)
        return PROGRAMS_OVER_POSTGRES[program](data, self.postgres().make_database(program))
