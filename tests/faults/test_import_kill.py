"""An import that is killed in the middle: what it left is whole users, and running it again brings the rest."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.server import BOUND_S, USERFOLD, environment, serving, userfold, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

USERS = 20_000
ROUNDS = 3


def count(data: Path) -> int:
    """How many users there are."""
    done = userfold("export", "--data", data)
    assert done.returncode == 0, done.stderr
    return done.stdout.count("\n")


def size_of(data: Path) -> int:
    """Bytes of the database and its log."""
    return sum(path.stat().st_size for path in data.glob("userfold.db*"))


def is_larger(data: Path, size: int) -> bool:
    return size_of(data) > size


def test_a_killed_import_leaves_whole_users_and_is_completed_by_another(tmp_path: Path) -> None:
    data, there = tmp_path / "data", tmp_path / "there"
    file, source = tmp_path / "users.ndjson", tmp_path / "source.ndjson"
    with source.open("w") as lines:
        for number in range(USERS):
            user = {
                "id": f"user_{number:06}",
                "external_id": f"e{number}",
                "email_addresses": [f"u{number}@example.com"],
            }
            lines.write(json.dumps({"user": user}) + "\n")
    for folder in (data, there):
        with serving(folder):
            pass
    assert userfold("import", source, "--data", data).returncode == 0
    assert userfold("export", file, "--data", data).returncode == 0

    sizes = []
    for _ in range(ROUNDS):
        command = [*USERFOLD, "import", str(file), "--skip", "--data", str(there)]
        enough = size_of(there) + (4 << 20)
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
            wait_until(partial(is_larger, there, enough), "some of it is in")
            process.kill()
            process.wait(BOUND_S)
        sizes.append(count(there))
    assert 0 < sizes[0] < USERS
    assert sizes == sorted(sizes)
    done = userfold("import", file, "--skip", "--json", "--data", there)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["created"] + told["skipped"] == USERS
    assert told["skipped"] == sizes[-1]
    again = tmp_path / "again.ndjson"
    assert userfold("export", again, "--data", there).returncode == 0
    assert again.read_bytes() == file.read_bytes()
