"""`userfold migrate`, and what the other commands do with a database that this program's schema is ahead of."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import apsw
import pytest

from tests.cli.inside import Inside
from tests.cli.test_projects import NEED_A_PROJECT
from tests.server import serving, userfold
from userfold.storage.sqlite.migrate import APPLICATION_ID, migrations

NEWEST = max(migrations())


def version(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as db:
        (found,) = db.execute("PRAGMA user_version").fetchone()
        return int(found)


def make_old(database: Path) -> None:
    """A database as the first Userfold made it."""
    for path in database.parent.glob("userfold.db*"):
        path.unlink()
    with contextlib.closing(apsw.Connection(str(database))) as db:
        db.execute(migrations()[1])
        db.pragma("user_version", 1)
        db.pragma("application_id", APPLICATION_ID)


def test_a_database_that_is_current_is_left_as_it_is(inside: Inside) -> None:
    assert inside.ok("migrate").out == f"Schema {NEWEST}: nothing to do.\n"
    assert inside.ok("migrate", "--check").out == f"Schema {NEWEST}: nothing to do.\n"
    assert inside.ok("migrate", "--json").json() == {"from": NEWEST, "to": NEWEST, "done": True}


def test_an_old_database_is_brought_up_to_date_and_both_versions_are_said(inside: Inside) -> None:
    make_old(inside.data / "userfold.db")
    assert inside.ok("migrate").out == f"Schema 1 → {NEWEST}: done.\n"
    assert version(inside.data / "userfold.db") == NEWEST
    assert inside.ok("migrate", "--check").out == f"Schema {NEWEST}: nothing to do.\n"
    assert inside.ok("projects", "create", "first").out.startswith("# project prj_")


def test_a_check_only_looks_and_its_status_says_that_something_is_to_be_done(inside: Inside) -> None:
    make_old(inside.data / "userfold.db")
    done = inside.run("migrate", "--check")
    assert (done.status, done.out, done.err) == (1, f"Schema 1 → {NEWEST}: to be done.\n", "")
    done = inside.run("migrate", "--check", "--json")
    assert (done.status, done.json()) == (1, {"from": 1, "to": NEWEST, "done": False})
    assert version(inside.data / "userfold.db") == 1


@pytest.mark.parametrize("command", [*NEED_A_PROJECT, ["keys", "list"], ["projects", "list"]], ids=" ".join)
def test_no_other_command_migrates_because_an_older_server_may_be_running(inside: Inside, command: list[str]) -> None:
    make_old(inside.data / "userfold.db")
    status, reason = inside.refused(*command)
    assert status == 1
    assert reason.startswith(f"the database has schema 1 and this program needs {NEWEST}; stop the server, then run")
    assert version(inside.data / "userfold.db") == 1


def test_while_a_server_runs_nothing_is_migrated_but_looking_is_allowed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        done = userfold("migrate", "--data", server.data)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"is in use by process {server.process.pid} on " in done.stderr
        done = userfold("migrate", "--check", "--data", server.data)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_newer_database_is_left_to_the_program_that_made_it(inside: Inside) -> None:
    with contextlib.closing(sqlite3.connect(inside.data / "userfold.db")) as db, db:
        db.execute("PRAGMA user_version = 99")
    for arguments in (["migrate"], ["migrate", "--check"]):
        status, reason = inside.refused(*arguments)
        assert status == 1
        assert reason.startswith(f"The database was made by a newer Userfold (schema 99; this program knows {NEWEST})")
    assert version(inside.data / "userfold.db") == 99


def test_without_a_database_there_is_nothing_to_migrate_and_none_is_made(inside: Inside) -> None:
    (inside.data / "userfold.db").unlink()
    for arguments in (["migrate"], ["migrate", "--check"]):
        status, reason = inside.refused(*arguments)
        assert (status, reason.partition(" /")[0]) == (2, "there is no database")
    assert not (inside.data / "userfold.db").exists()


def test_a_lock_that_cannot_be_opened_is_named(inside: Inside) -> None:
    (inside.data / "userfold.lock").mkdir()
    status, reason = inside.refused("migrate")
    assert (status, reason) == (1, f"cannot open {inside.data}/userfold.lock: Is a directory")
