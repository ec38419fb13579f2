"""`userfold doctor`: what it finds, that it changes nothing, and that only a failure is one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import Inside
from tests.cli.test_backup import damage
from tests.cli.test_migrate import make_old
from tests.server import serving
from userfold.clock import clock_ms
from userfold.doctor import examine
from userfold.settings import read_settings, variables
from userfold.storage.port import Finding
from userfold.storage.sqlite import examine as sqlite_examine


def looked(
    data: Path, environment: Mapping[str, str] | None = None, *, now: int | None = None, full: bool = False
) -> list[Finding]:
    """What the doctor says about a data folder."""
    settings = read_settings(environment or {}, data=data)
    return asyncio.run(examine(settings, environment or {}, clock_ms() if now is None else now, full=full))


def about(findings: list[Finding], name: str) -> Finding:
    """The worst that was found about something."""
    return max((f for f in findings if f.about == name), key=lambda f: ("ok", "warning", "failed").index(f.state))


def troubles(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.about, finding.state) for finding in findings if finding.state != "ok"]


# The command.


def test_what_is_well_is_said_too_and_ends_with_0(inside: Inside) -> None:
    done = inside.ok("doctor")
    assert "FAILED" not in done.out
    assert "warning" not in done.out
    findings = inside.ok("doctor", "--json").json()
    names = ["settings", "public URL", "data folder", "mode", "free space", "lock", "store", "journal", "log", "damage"]
    assert [finding["about"] for finding in findings] == [*names, "clock", "encryption"]
    assert {finding["state"] for finding in findings} == {"ok"}
    assert done.table()[0].startswith("settings ")
    assert len(done.table()) == len(findings)


def test_a_warning_is_no_failure(inside: Inside) -> None:
    done = inside.run("doctor", USERFOLD_LGO="json")
    assert done.status == 0
    assert "USERFOLD_LGO is set, and is no setting of Userfold" in done.out
    assert "was USERFOLD_LOG meant?" in done.out


def test_a_failure_ends_with_1_and_says_what_to_do(inside: Inside) -> None:
    damage(inside.data / "userfold.db")
    done = inside.run("doctor", "--full")
    assert (done.status, done.err) == (1, "")
    assert "FAILED" in done.out
    assert "restore the last backup" in done.out


def test_a_wrong_setting_is_refused_as_everywhere(inside: Inside) -> None:
    status, reason = inside.refused("doctor", USERFOLD_LOG="xml")
    assert (status, reason) == (2, "USERFOLD_LOG must be one of: text, json")


def test_nothing_is_changed_and_nothing_is_made(inside: Inside, tmp_path: Path) -> None:
    make_old(inside.data / "userfold.db")
    before = {path.name: path.read_bytes() for path in inside.data.iterdir()}
    inside.run("doctor", "--full")
    assert {path.name: path.read_bytes() for path in inside.data.iterdir()} == before
    assert inside.run("doctor", "--data", str(tmp_path / "missing")).status == 0
    assert not (tmp_path / "missing").exists()


def test_what_a_crash_left_is_still_there_afterwards(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        client.post("/v1/users", json={"name": "Ada"})
        server.kill()
    before = {name: (tmp_path / "data" / name).read_bytes() for name in ("userfold.db", "userfold.db-wal")}
    assert len(before["userfold.db-wal"]) > 0
    assert "failed" not in {finding.state for finding in looked(tmp_path / "data", full=True)}
    assert {name: (tmp_path / "data" / name).read_bytes() for name in before} == before


# Settings.


def test_the_variables_it_knows_are_those_that_are_documented() -> None:
    documented = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    listed = {line.split("`")[1] for line in documented.read_text().splitlines() if line.startswith("| `USERFOLD_")}
    assert variables() == listed


def test_a_variable_that_nobody_reads_is_named_with_the_one_that_was_meant(inside: Inside) -> None:
    found = looked(inside.data, {"USERFOLD_DATABASE": "x", "USERFOLD_QQQQ": "hunter2", "OTHER": "y"})
    says = [(finding.says.split()[0], finding.advice) for finding in found if finding.state == "warning"]
    assert says == [
        ("USERFOLD_DATABASE", "was USERFOLD_DATABASE_URL meant?"),
        ("USERFOLD_QQQQ", "docs/reference/settings.md has those that exist"),
    ]


def test_no_value_of_a_variable_is_repeated_but_the_public_url(inside: Inside) -> None:
    secrets = {"USERFOLD_SECRET_KEY": "sk_" + "s" * 43, "USERFOLD_OTHER": "hunter2"}
    found = looked(inside.data, secrets)
    text = " ".join(finding.says + finding.advice for finding in found)
    assert "USERFOLD_SECRET_KEY" in text
    assert "ssss" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("", "ok"),
        ("https://users.example", "ok"),
        ("https://users.example/base", "ok"),
        ("http://127.0.0.1:8787", "ok"),
        ("http://localhost", "ok"),
        ("http://users.example", "warning"),
        ("https://users.example/?x=1", "failed"),
        ("https:///path", "failed"),
    ],
)
def test_a_public_url_is_judged(inside: Inside, url: str, state: str) -> None:
    assert about(looked(inside.data, {"USERFOLD_PUBLIC_URL": url}), "public URL").state == state


# Files.


def test_a_folder_that_is_missing_may_be_a_mistake(tmp_path: Path) -> None:
    assert troubles(looked(tmp_path / "data")) == [("data folder", "warning"), ("store", "warning")]


def test_a_folder_that_is_none_has_failed(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert troubles(looked(tmp_path / "data")) == [("data folder", "failed"), ("store", "warning")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_has_failed(inside: Inside) -> None:
    inside.data.chmod(0o500)
    assert about(looked(inside.data), "data folder").state == "failed"
    inside.data.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_database_that_cannot_be_written_to_has_failed(inside: Inside) -> None:
    (inside.data / "userfold.db").chmod(0o400)
    assert about(looked(inside.data), "store").state == "failed"


def test_images_that_have_nowhere_to_go_are_found_before_a_user_is_given_one(inside: Inside) -> None:
    (inside.data / "images").mkdir()
    assert about(looked(inside.data), "images").state == "ok"
    (inside.data / "images").rmdir()
    (inside.data / "images").touch()
    assert about(looked(inside.data), "images").state == "failed"


def test_what_others_can_get_at_is_named_with_the_command_that_mends_it(inside: Inside) -> None:
    inside.data.chmod(0o755)
    (inside.data / "secret.key").touch(mode=0o644)
    says = {finding.says: finding.advice for finding in looked(inside.data) if finding.state == "warning"}
    assert says == {
        f"others can get at {inside.data} (mode 755)": f"chmod 700 {inside.data}",
        f"others can get at {inside.data}/secret.key (mode 644)": f"chmod 600 {inside.data}/secret.key",
    }


def test_a_database_outside_of_the_folder_must_be_private_itself(inside: Inside, tmp_path: Path) -> None:
    shutil.move(inside.data / "userfold.db", tmp_path / "elsewhere.db")
    (tmp_path / "elsewhere.db").chmod(0o644)
    found = looked(inside.data, {"USERFOLD_DATABASE_URL": f"sqlite:///{tmp_path}/elsewhere.db"})
    assert troubles(found) == [("mode", "warning")]
    assert about(found, "store").says.startswith(f"{tmp_path}/elsewhere.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_named(inside: Inside) -> None:
    os.chown(inside.data, 12345, -1)
    assert about(looked(inside.data), "owner").says == f"{inside.data} belongs to user 12345, and this is user 0"
    os.chown(inside.data, 0, -1)


def test_first_keys_that_still_lie_around_are_named(inside: Inside) -> None:
    (inside.data / "keys.env").touch(mode=0o600)
    found = looked(inside.data)
    assert troubles(found) == [("keys", "warning")]
    assert about(found, "keys").says == f"{inside.data}/keys.env still holds the first keys"


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "state"), [(2 << 30, "ok"), (512 << 20, "warning"), (1 << 20, "failed")])
def test_little_free_space_is_named(inside: Inside, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(1 << 40, 0, free))
    assert about(looked(inside.data), "free space").state == state


# The lock.


def test_a_server_that_runs_is_named_and_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        says = about(looked(server.data), "lock").says
        assert says.startswith(f"held by process {server.process.pid} on ")
        assert client.get("/readyz").status_code == 200
    assert about(looked(server.data), "lock").says == "nobody holds it: no server is running"


def test_a_lock_that_cannot_be_opened_has_failed(inside: Inside) -> None:
    os.symlink("userfold.lock", inside.data / "userfold.lock")  # a loop
    assert about(looked(inside.data), "lock").state == "failed"


# The store.


def test_a_schema_that_is_not_current_is_named(inside: Inside) -> None:
    make_old(inside.data / "userfold.db")
    found = looked(inside.data)
    assert about(found, "store").state == "warning"
    assert "schema 1, and this program needs " in about(found, "store").says
    assert about(found, "journal").state == "warning"


def test_a_newer_database_and_one_of_another_program_have_failed(inside: Inside) -> None:
    with contextlib.closing(sqlite3.connect(inside.data / "userfold.db")) as db, db:
        db.execute("PRAGMA user_version = 99")
    newer = about(looked(inside.data), "store")
    assert "made by a newer Userfold" in newer.says
    assert "damaged" not in newer.advice
    with contextlib.closing(sqlite3.connect(inside.data / "userfold.db")) as db, db:
        db.execute("PRAGMA application_id = 1")
    assert "is an SQLite database of another program" in about(looked(inside.data), "store").says
    (inside.data / "userfold.db").write_bytes(b"no database at all, and long enough to tell" * 100)
    assert about(looked(inside.data), "store").state == "failed"


@pytest.mark.parametrize("full", [False, True])
def test_damage_has_failed(inside: Inside, full: bool) -> None:
    assert about(looked(inside.data, full=full), "damage").state == "ok"
    damage(inside.data / "userfold.db")
    found = looked(inside.data, full=full)
    assert about(found, "damage").state == "failed"
    assert "keep the files as they are" in about(found, "damage").advice


def test_a_look_in_passing_is_a_short_one_and_says_that_there_is_more(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_examine, "QUICK_S_MAX", -1.0)
    monkeypatch.setattr(sqlite_examine, "STEPS_BETWEEN", 1)
    assert "--full" in about(looked(inside.data), "damage").advice
    assert about(looked(inside.data, full=True), "damage").says == "none; every page was looked at"


def test_a_log_that_has_grown_is_named(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_examine, "WAL_BYTES_LARGE", 1_000)
    with contextlib.closing(sqlite3.connect(inside.data / "userfold.db")) as db:
        db.execute("CREATE TABLE other (x)")
        assert about(looked(inside.data), "log").state == "warning"
    assert about(looked(inside.data), "log").state == "ok"


# The clock.


def test_a_clock_that_goes_back_has_failed(inside: Inside) -> None:
    inside.ok("users", "create", '{"name": "Ada"}')
    user: Any = inside.ok("users", "list", "--json").json()[0]
    assert about(looked(inside.data, now=user["updated_at"]), "clock").state == "ok"
    assert about(looked(inside.data, now=user["updated_at"] - 500), "clock").state == "ok"
    found = looked(inside.data, now=user["updated_at"] - 3_600_000)
    assert about(found, "clock").state == "failed"
    assert "3,600 s behind the newest change" in about(found, "clock").says
