"""`python -m bench.transfer`: how fast users go out and in, beside what reading their lines alone costs.

Users have one email address and two changes. Each step is a process of its own, so that its memory can be told; CPU
seconds are the steadier figure on a shared machine, and are this process's own, not those of a database server. Not a
row of `make bench`: it takes minutes. `--database-url`: into an empty PostgreSQL database too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from userfold.clock import clock_ms
from userfold.core.commands import Command, CreateUser, Edit, UpdateUser
from userfold.core.export_line import read_line
from userfold.core.jsontext import decode
from userfold.core.records import EffectiveSettings, Project
from userfold.encryption import new_key
from userfold.engine import Engine
from userfold.first_start import OPERATOR, first_keys, make_project
from userfold.settings import read_settings
from userfold.storage.port import Store
from userfold.storage.postgres.store import PostgresStore
from userfold.storage.sqlite.store import SQLiteStore

BATCH = 256
LINES_READ_MAX = 20_000
BAR = 0.08


def main() -> None:
    """Make users, export them, read the lines, import them elsewhere, and see that a second export is the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the databases are made")
    parser.add_argument("--database-url", default=None, help="an empty PostgreSQL database, which is filled")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="userfold-bench-", dir=arguments.folder) as name:
        folder, users = Path(name), arguments.users
        asyncio.run(_make(_sqlite(folder / "here"), users))
        lines = folder / "lines.ndjson"
        print(f"{users} users")
        _step("export, SQLite", users, "export", lines, "--data", folder / "here")
        asyncio.run(_make(_sqlite(folder / "there"), 0))
        imported = {"SQLite": _way_in("SQLite", users, lines, folder / "there")}
        if arguments.database_url is not None:
            asyncio.run(_make(PostgresStore(arguments.database_url), 0))
            url = {"USERFOLD_DATABASE_URL": arguments.database_url, "USERFOLD_ENCRYPTION_KEY": new_key()}
            imported["PostgreSQL"] = _way_in("PostgreSQL", users, lines, folder / "beside", **url)
        decoded = _read_lines(lines)  # last, because a child is told the memory of its parent as its own
        for store, speed in imported.items():
            print(f"import into {store} / decode the lines: {speed / decoded:.3f} (bar {BAR})")


def _way_in(store: str, users: int, lines: Path, data: Path, **settings: str) -> float:
    """Users that were imported in a CPU second."""
    again = data.with_suffix(".ndjson")
    speed = _step(f"import, {store}", users, "import", lines, "--data", data, **settings)
    _step(f"export again, {store}", users, "export", again, "--data", data, **settings)
    print("the second export is", "the same" if lines.read_bytes() == again.read_bytes() else "NOT THE SAME")
    return speed


def _step(name: str, users: int, *arguments: str | Path, **settings: str) -> float:
    """Users in a CPU second."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "userfold", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **settings})
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The largest of all children so far, which for memory that must stay flat is the right way to be wrong.
    print(f"{name:28}{users / took:10,.0f} users/s{users / cpu:10,.0f} users/CPU s{after.ru_maxrss // 1024:6} MiB")
    return users / cpu


def _read_lines(path: Path) -> float:
    """Lines that were decoded in a CPU second."""
    with path.open("rb") as file:
        lines = [line for line, _ in zip(file, range(LINES_READ_MAX), strict=False)]
    started = time.process_time()
    for line in lines:
        decode(line)
    decoded = time.process_time()
    for line in lines:
        read_line(decode(line))
    checked = time.process_time()
    print(f"{'decode the lines':28}{'':18}{len(lines) / (decoded - started):10,.0f} users/CPU s")
    print(f"{'decode and check the lines':28}{'':18}{len(lines) / (checked - decoded):10,.0f} users/CPU s")
    return len(lines) / (decoded - started)


def _sqlite(data: Path) -> Store:
    data.mkdir()
    return SQLiteStore(data / "userfold.db")


async def _make(store: Store, users: int) -> None:
    await store.migrate()
    engine = Engine(store, clock_ms=clock_ms)
    project = await make_project(engine, "bench", first_keys(read_settings({}), engine.now()))
    for start in range(0, users, BATCH):
        numbers = range(start, min(start + BATCH, users))
        for make in (_creation, _update):
            runs = [engine.run(make(project, number), EffectiveSettings()) for number in numbers]
            await asyncio.gather(*runs)
    await engine.close()
    await store.close()


def _creation(project: Project, number: int) -> Command:
    fields = {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email_addresses": [f"user.{number}@example.com"],
        "public_metadata": {"plan": {"name": "team", "seats": 25}},
        "traits": {"company": "Analytical Engines", "n": number},
    }
    edits = (Edit("replace", fields),)
    return CreateUser(project_id=project.id, author=OPERATOR, user_id=_id(number), edits=edits)


def _update(project: Project, number: int) -> Command:
    edits = (Edit("merge_patch", {"public_metadata": {"plan": {"seats": 26}}}),)
    return UpdateUser(project_id=project.id, author=OPERATOR, user_id=_id(number), edits=edits)


def _id(number: int) -> str:
    return f"user_{number:08}"


if __name__ == "__main__":
    main()
