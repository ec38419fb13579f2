"""pgbench writes the rows that an update writes, and nothing else: what a server gives to whoever writes user by user.

A transaction updates the row of a user and inserts one of the history, with a statement each, prepared. The tables and
their indexes are Userfold's (`schema.sql`, as text), the documents are as long as its own. Nothing is read or merged
before. Imports nothing of userfold.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from bench import bare
from bench.load import Report
from bench.people import COUNT_START, external_id, new_user, patch
from bench.postgres import execute, fetch, pgbench_program
from bench.processes import ROOT, CannotMeasure, busy_seconds, tree_cpu_seconds
from bench.traffic import USERS

SCHEMA = ROOT / "src/userfold/storage/postgres/schema.sql"
WARM_UP_S = 1
LOGGED = 0.1  # of the transactions, for their latencies
TIMEOUT_S = 600

PROJECT_ID = bare.new_id("prj_")
SCRIPT = """
\\set number random(1, :users)
\\set entropy random(0, 1152921504606846975)
BEGIN;
UPDATE users SET version = version + 1, updated_at = NOW, document = :user
WHERE project_id = :project AND id = 'user_' || lpad(:number, 26, '0') RETURNING id AS user_id, version \\gset
INSERT INTO changes (project_id, id, user_id, version, document)
VALUES (:project, 'chg_' || lpad(to_hex(NOW), 11, '0') || lpad(to_hex(:entropy::bigint), 15, '0'),
    :user_id, :version, :change);
COMMIT;
""".replace("NOW", "(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
FILL = """
INSERT INTO users (project_id, id, version, updated_at, document)
SELECT $1, 'user_' || lpad(number::text, 26, '0'), 1, 0, $2 FROM generate_series(1, $3::integer) AS number
"""
COUNT = "SELECT (SELECT sum(version - 1) FROM users)::bigint, (SELECT count(*) FROM changes)"

_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_PER_SECOND = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def documents() -> tuple[str, str]:
    """Of a user, and of one change of one nested key."""
    user = bare.new_user(external_id(0), new_user(0))
    operations: list[bare.Document] = []
    after = bare.merge(user, patch(0, COUNT_START + 1), "", operations)
    change = bare.change(bare.new_id("chg_"), after, bare.new_id("ak_"), operations)
    return bare.encode(after).decode(), change


class Pgbench:
    """An empty database at `url`, for pgbench to write to. `database_pid`: its server, if that is ours."""

    def __init__(self, url: str, database_pid: int | None) -> None:
        program = pgbench_program()
        assert program is not None, "`missing` was asked"
        self._program = program
        self._url = url
        self._database_pid = database_pid
        self._documents = documents()
        execute(self._url, SCHEMA.read_text())
        fetch(self._url, FILL, PROJECT_ID, self._documents[0], USERS)
        execute(self._url, "ANALYZE")  # as Userfold does with what it has made

    def measure(self, connections: int, seconds: float) -> Report:
        """What came of so many clients in so many seconds, rounded up."""
        self.run(connections, f"--time={WARM_UP_S}")
        return self.run(connections, f"--time={math.ceil(seconds)}")

    def run(self, connections: int, extent: str) -> Report:
        """What came of one run, which is as long as the option `extent` says."""
        before = fetch(self._url, COUNT)[0]
        with tempfile.TemporaryDirectory(prefix="userfold-pgbench-") as folder:
            script = Path(folder) / "script.sql"
            script.write_text(SCRIPT)
            began = self._readings()
            says = self._say(script, connections, extent)
            spent = [now - then for now, then in zip(self._readings(), began, strict=True)]
            latencies = _latencies(Path(folder))
        answers = int(_found(_DONE, says))
        clock, own, database, everybody = spent
        written = [now - then for now, then in zip(fetch(self._url, COUNT)[0], before, strict=True)]
        return Report(
            answers=answers,
            per_second=float(_found(_PER_SECOND, says)),
            p50_ms=latencies[len(latencies) // 2],
            p99_ms=latencies[len(latencies) * 99 // 100],
            max_ms=latencies[-1],
            database_cpu_us=database / answers * 1e6,
            load_cpu_share=own / clock,
            others_share=(everybody - own - database) / clock,
            checked=len(written),
            errors=() if written == [answers, answers] else (f"{answers} transactions wrote {written} rows",),
        )

    def _say(self, script: Path, connections: int, extent: str) -> str:
        user, change = self._documents
        values = {"project": PROJECT_ID, "users": USERS, "user": user, "change": change}
        log = ["--log", "--log-prefix", str(script.parent / "log"), "--sampling-rate", str(LOGGED)]
        load = ["--no-vacuum", "--protocol", "prepared", "--client", str(connections), extent]
        given = [f"--define={name}={value}" for name, value in values.items()]
        done = subprocess.run(
            [self._program, *load, *log, *given, "--file", script, self._url],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,  # then it is killed; it starts nothing itself
        )
        if done.returncode != 0:
            raise CannotMeasure(f"pgbench failed:\n{done.stderr[:2000]}")
        return done.stdout

    def _readings(self) -> tuple[float, float, float, float]:
        """Clocks in seconds: of the wall, of the CPU of children that have ended, of the database, of everybody."""
        children = os.times()
        database = 0.0 if self._database_pid is None else tree_cpu_seconds(self._database_pid)
        own = children.children_user + children.children_system
        return time.perf_counter(), own, database, busy_seconds()


def _found(pattern: re.Pattern[str], says: str) -> str:
    found = pattern.search(says)
    if found is None:
        raise CannotMeasure(f"pgbench says what is not understood:\n{says[:2000]}")
    return found[1]


def _latencies(folder: Path) -> list[float]:
    """In ms, in order of size. A line of the log: client, number, µs, script, s, µs."""
    lines = [line for file in folder.glob("log.*") for line in file.read_text().splitlines()]
    return sorted(int(line.split()[2]) / 1000 for line in lines) or [0.0]
