"""`userfold backup`: one file, whole and checked, or no file. It is taken beside a server at work, and restored."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import uvloop

from tests.cli.inside import Inside, add_project
from tests.cli.test_users import read_until
from tests.server import (
    BOUND_S,
    USERFOLD,
    Connection,
    Server,
    connected,
    environment,
    serving,
    userfold,
)
from userfold.backup import BackupImpossible, back_up
from userfold.core.diff import fold
from userfold.core.records import Operation
from userfold.storage.port import Progress, StoreFull, StoreUnavailable
from userfold.storage.sqlite.scrub import scrubbed
from userfold.storage.sqlite.store import SQLiteStore

WRITERS = 8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one project."""
    add_project(tmp_path / "data")
    return tmp_path / "data"


def backed_up(data: Path, file: Path, *more: str) -> dict[str, Any]:
    """What a backup said that was made."""
    done = userfold("backup", file, "--json", "--data", data, *more)
    assert (done.returncode, done.stderr) == (0, "")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def refused(data: Path, file: Path | str, *more: str) -> tuple[int, str]:
    """The status of a backup that was not made, and the one line that says why."""
    done = userfold("backup", file, "--data", data, *more)
    assert done.stdout == ""
    assert done.stderr.startswith("userfold: ")
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr.removeprefix("userfold: ").strip()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Beside a server.


class Answered:
    """What the server has answered: {user: its last version}."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.enough = asyncio.Event()

    def note(self, user: Mapping[str, Any]) -> None:
        self.versions[user["id"]] = max(user["version"], self.versions.get(user["id"], 0))
        if len(self.versions) > WRITERS * 3:
            self.enough.set()


async def write(server: Server, answered: Answered, stop: asyncio.Event, writer: int) -> None:
    """Update one user that all share, one of this writer's own, and make new ones, until told to stop."""
    n = 0
    async with connected(server, server.secret_key) as connection:
        while not stop.is_set():
            n += 1
            for external_id in ("shared", f"own-{writer}", f"new-{writer}-{n}"):
                path = f"/v1/users/by-external-id/{external_id}"
                status, user = await connection.ask("PUT", path, {"traits": {f"w{writer}": n}})
                assert status in (200, 201)
                answered.note(user)


async def back_up_under_writers(server: Server, file: Path) -> dict[str, int]:
    """What was answered before the backup began. The writers go on until it has ended, and a while longer."""
    answered, stop = Answered(), asyncio.Event()
    writers = [asyncio.create_task(write(server, answered, stop, number)) for number in range(WRITERS)]
    await answered.enough.wait()
    before = dict(answered.versions)
    process = await asyncio.create_subprocess_exec(
        *USERFOLD, "backup", str(file), "--data", str(server.data), env=environment(), stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.decode().startswith(f"{file}: 1 project, ")
    after = sum(answered.versions.values())
    assert after > sum(before.values()), "nobody wrote while the backup was taken"
    stop.set()
    await asyncio.gather(*writers)
    return before


async def check_copy(server: Server, key: str, before: Mapping[str, int]) -> None:
    """Every update that was answered before is there; every user is what its history folds to, without a gap."""
    async with connected(server, key) as connection:
        users = await all_users(connection)
        assert set(before) <= set(users)
        for id_, user in users.items():
            assert user["version"] >= before.get(id_, 1)
            document: Any = {}
            changes = await history(connection, id_)
            assert [change["version"] for change in changes] == list(range(1, user["version"] + 1))
            for change in changes:
                document = fold(document, msgspec.convert(change["operations"], list[Operation]))
                document |= {"version": change["version"], "updated_at": change["at"]}
            assert document == user


async def all_users(connection: Connection) -> dict[str, Any]:
    users: dict[str, Any] = {}
    cursor = ""
    while True:
        status, page = await connection.ask("GET", f"/v1/users?limit=500{cursor}")
        assert status == 200
        users |= {user["id"]: user for user in page["data"]}
        if page["next_cursor"] is None:
            return users
        cursor = f"&cursor={page['next_cursor']}"


async def history(connection: Connection, user_id: str) -> list[Any]:
    changes: list[Any] = []
    while True:
        cursor = f"&cursor={changes[-1]['version']}" if changes else ""
        status, page = await connection.ask("GET", f"/v1/users/{user_id}/history?limit=500{cursor}")
        assert status == 200
        changes += page["data"]
        if page["next_cursor"] is None:
            return changes


def test_a_backup_under_writers_holds_every_update_that_was_answered_before_and_a_server_starts_on_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "copy.db"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with serving(tmp_path / "data") as server:
            key = server.secret_key
            before = runner.run(back_up_under_writers(server, file))
        # Restoring is what docs/howto/back-up-and-restore.md says: the file in an empty folder, then a start.
        restored = tmp_path / "restored"
        restored.mkdir(mode=0o700)
        shutil.copy(file, restored / "userfold.db")
        with serving(restored) as second:
            assert "The first project was made" not in second.output
            runner.run(check_copy(second, key, before))
            with second.client(key) as client:
                assert client.put("/v1/users/by-external-id/shared", json={"name": "x"}).status_code == 200
                assert client.post("/v1/users", json={"external_id": "own-0"}).status_code == 409
                found = client.get("/v1/users", params={"query": "own-3"}).json()["data"]
                assert [user["external_id"] for user in found] == ["own-3"]
    assert not [line for line in server.log().splitlines() if " info " not in line]


def test_a_backup_can_be_restored_over_what_was_there(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "copy.db"
    with serving(data) as server, server.client() as client:
        kept = client.post("/v1/users", json={"name": "kept"}).json()["id"]
        backed_up(data, file)
        lost = client.post("/v1/users", json={"name": "made later"}).json()["id"]
        server.kill()
    assert (data / "userfold.db-wal").exists()
    for name in ("userfold.db", "userfold.db-wal", "userfold.db-shm"):
        (data / name).rename(tmp_path / name)
    shutil.copy(file, data / "userfold.db")
    with serving(data) as server, server.client() as client:
        assert client.get(f"/v1/users/{kept}").status_code == 200
        assert client.get(f"/v1/users/{lost}").status_code == 404


# What it makes, and what it says.


def test_a_backup_is_one_file_for_its_owner_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    said = backed_up(data, tmp_path / "out" / "copy.db")
    assert left_in(tmp_path / "out") == ["copy.db"]
    file = tmp_path / "out" / "copy.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert said["bytes"] == file.stat().st_size
    assert said["file"] == str(file)
    assert said["holds"] == {"project": 1, "user": 0, "change": 0}
    assert said["copy_also"] == []
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM projects").fetchone() == (1,)


def test_it_says_what_else_must_be_copied(data: Path, tmp_path: Path) -> None:
    (data / "images").mkdir()
    (data / "secret.key").write_text("k")
    done = userfold("backup", tmp_path / "copy.db", "--data", data)
    assert done.stdout.splitlines()[-1] == f"Copy these too: {data}/images, {data}/secret.key"
    assert backed_up(data, tmp_path / "copy-2.db")["copy_also"] == [f"{data}/images", f"{data}/secret.key"]


def test_an_older_schema_can_be_backed_up_because_that_is_done_before_an_upgrade(data: Path, tmp_path: Path) -> None:
    set_schema(data / "userfold.db", 1)
    backed_up(data, tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def set_schema(database: Path, version: int) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.execute(f"PRAGMA user_version = {version}")


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    file.write_text("another backup")
    assert refused(data, file) == (1, f"{file} exists; --force replaces it")
    assert file.read_text() == "another backup"
    backed_up(data, file, "--force")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes().startswith(b"SQLite format 3")


def test_progress_is_shown_on_a_terminal(data: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*USERFOLD, "backup", str(tmp_path / "copy.db"), "--data", str(data)],
        env=environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = read_until(ours, "\0")
    said, _ = process.communicate(timeout=BOUND_S)
    os.close(ours)
    assert process.returncode == 0
    assert "checking" in shown
    assert said.startswith(f"{tmp_path}/copy.db: 1 project, 0 users, 0 changes; ")


# What it refuses.


@pytest.mark.parametrize("name", ["userfold.db", "userfold.db-wal", "userfold.db.lock"])
@pytest.mark.parametrize("more", [(), ("--force",)])
def test_the_database_is_never_replaced_by_its_copy(data: Path, name: str, more: tuple[str, ...]) -> None:
    before = (data / "userfold.db").read_bytes()
    status, reason = refused(data, data / name, *more)
    assert (status, reason) == (
        1,
        f"{data}/{name} is the database, or has a name that belongs to it; choose another one",
    )
    assert (data / "userfold.db").read_bytes() == before


def test_nor_is_it_under_another_name(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(data / "userfold.db")
    os.link(data / "userfold.db", tmp_path / "other.db")
    for name in ("link.db", "other.db"):
        assert refused(data, tmp_path / name, "--force")[1].endswith("is the database itself; choose another name")


def test_a_target_that_cannot_be_is_refused(data: Path, tmp_path: Path) -> None:
    assert refused(data, tmp_path / "missing" / "x.db") == (1, f"there is no folder {tmp_path}/missing")
    assert refused(data, tmp_path, "--force") == (1, f"{tmp_path} is not a file; name one")
    os.mkfifo(tmp_path / "pipe")
    assert refused(data, tmp_path / "pipe", "--force") == (1, f"{tmp_path}/pipe is not a file; name one")


def test_without_a_database_there_is_nothing_to_copy_and_none_is_made(tmp_path: Path) -> None:
    status, reason = refused(tmp_path / "data", tmp_path / "copy.db")
    assert status == 2
    assert reason.startswith("there is no database")
    assert left_in(tmp_path) == []


def test_a_newer_database_is_left_to_the_program_that_made_it(data: Path, tmp_path: Path) -> None:
    set_schema(data / "userfold.db", 99)
    status, reason = refused(data, tmp_path / "copy.db")
    assert status == 1
    assert "made by a newer Userfold" in reason
    assert left_in(tmp_path) == ["data"]


def test_a_damaged_database_gives_no_backup_that_seems_good(data: Path, tmp_path: Path) -> None:
    damage(data / "userfold.db")
    status, reason = refused(data, tmp_path / "copy.db")
    assert status == 1
    assert reason.startswith("the copy is damaged: ")
    assert left_in(tmp_path) == ["data"]


def damage(database: Path) -> None:
    """Overwrite the page with the projects, which SQLite does not look at when it opens the file."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'projects'").fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 200)


def unscrubbed(database: Path) -> list[int]:
    """The numbers of pages with something in their free middle, where SQLite leaves copies of what it moves."""
    content = database.read_bytes()
    pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    return [number for number, page in enumerate(pages, 1) if scrubbed(page, number) != page]


def make_and_delete(inside: Inside) -> None:
    """Enough users that SQLite moves some of them from page to page."""
    document = json.dumps({"name": "Ada", "traits": {"pad": "x" * 300}})
    for id_ in [inside.ok("users", "create", document).out.strip() for _ in range(30)][::3]:
        inside.ok("users", "delete", id_, "--yes")


def test_nothing_of_deleted_users_is_in_a_backup(inside: Inside, tmp_path: Path) -> None:
    with contextlib.closing(apsw.Connection(str(inside.data / "userfold.db"))) as db:
        db.pragma("schema_version")  # held open, so that the log stays, and the backup must read from it
        make_and_delete(inside)
        backed_up(inside.data, tmp_path / "copy.db")
    assert unscrubbed(tmp_path / "copy.db") == []


def test_nothing_of_deleted_users_is_in_the_database_where_no_server_runs(inside: Inside) -> None:
    make_and_delete(inside)
    assert unscrubbed(inside.data / "userfold.db") == []


# Trouble on the way. Here the copying is stopped at a place that the test chooses.


class Copying:
    """A store whose copy is the file that a function writes."""

    def __init__(self, error: BaseException | None = None, needed: int = 0) -> None:
        self.error = error
        self.needed = needed

    def size(self) -> int:
        return self.needed

    def backup(self, path: Path, progress: Progress) -> Mapping[str, int]:
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text("half a copy")
        if self.error is not None:
            raise self.error
        return {}


def nothing(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (StoreFull("x"), BackupImpossible, "out is full, or the quota of it"),
        (OSError(5, "Input/output error"), BackupImpossible, "Input/output error"),
        (StoreUnavailable("lost"), StoreUnavailable, "lost"),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
    ],
)
def test_whatever_goes_wrong_leaves_no_file(
    tmp_path: Path, error: BaseException, kind: type[BaseException], reason: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(kind, match=reason):
        back_up(Copying(error), tmp_path / "out" / "copy.db", nothing, database=tmp_path / "userfold.db")
    assert left_in(tmp_path / "out") == []


def test_what_was_to_be_replaced_stays_until_the_copy_is_whole(tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("the last one")
    (tmp_path / "x.db").touch()
    with pytest.raises(BackupImpossible):
        back_up(Copying(StoreFull("x")), tmp_path / "copy.db", nothing, database=tmp_path / "x.db", replace=True)
    assert (tmp_path / "copy.db").read_text() == "the last one"


def test_a_disk_without_room_for_the_copy_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BackupImpossible, match=r"bytes free, and the copy needs [\d,]+"):
        back_up(Copying(needed=1 << 60), tmp_path / "copy.db", nothing, database=tmp_path / "x.db")
    assert left_in(tmp_path) == []


MOMENTS = ["copying", "checking"]
# A backup as the command makes it, but it stands still once it says that it has begun with what is named.
STANDS_STILL = """
    import sys
    from pathlib import Path
    from userfold.backup import back_up
    from userfold.storage.sqlite.store import SQLiteStore

    database, file, when = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

    def progress(what, done, of):
        if what == when:
            print(what, flush=True)
            sys.stdin.read()

    back_up(SQLiteStore(database), file, progress, database=database)
"""


def end_backup(data: Path, file: Path, when: str, number: signal.Signals) -> int:
    """The status of a backup that was ended by a signal while it was at `when`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STANDS_STILL), str(data / "userfold.db"), str(file), when],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{when}\n"
    process.send_signal(number)
    process.communicate(timeout=BOUND_S)
    return process.returncode


@pytest.mark.parametrize("when", MOMENTS)
def test_a_backup_that_is_killed_leaves_no_file_of_that_name_and_harms_nobody(
    data: Path, tmp_path: Path, when: str
) -> None:
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "copy.db"
    assert end_backup(data, file, when, signal.SIGKILL) == -signal.SIGKILL
    (partial,) = left_in(tmp_path / "out")
    assert partial.startswith("copy.db.")
    assert partial.endswith(".partial")
    backed_up(data, file)
    with serving(data) as server, server.client("sk_nobodys") as client:
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("when", MOMENTS)
def test_ctrl_c_stops_a_backup_and_leaves_no_file(data: Path, tmp_path: Path, when: str) -> None:
    (tmp_path / "out").mkdir()
    assert end_backup(data, tmp_path / "out" / "copy.db", when, signal.SIGINT) != 0
    assert left_in(tmp_path / "out") == []


# What the copy is as of.


def test_a_copy_is_as_of_one_moment_and_does_not_begin_anew_when_others_write(data: Path, tmp_path: Path) -> None:
    pages: list[int] = []

    def write_meanwhile(what: str, done: int, of: int) -> None:
        if what == "copying":
            pages.append(done)
            add_project(data, f"made after page {done}")

    store = SQLiteStore(data / "userfold.db")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("userfold.storage.sqlite.backup.PAGES_AT_ONCE", 5)
            made = back_up(store, tmp_path / "copy.db", write_meanwhile, database=data / "userfold.db")
    finally:
        asyncio.run(store.close())
    assert len(pages) > 3
    assert pages == sorted(pages)
    assert made.holds == {"project": 1, "user": 0, "change": 0}
