"""`userfold export` and `userfold import`: files, pipes, what is said, and a server that goes on answering."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import Inside, add_project
from tests.server import BOUND_S, USERFOLD, environment, serving, userfold, wait_until


def text_of(*users: Any) -> str:
    return "".join(json.dumps({"user": user}) + "\n" for user in users)


ADA, EVE = {"id": "user_a", "name": "Ada"}, {"id": "user_e", "name": "Eve"}


def test_what_is_exported_here_can_be_imported_there(inside: Inside, tmp_path: Path) -> None:
    assert inside.run("import", "-", stdin=text_of(ADA, EVE)).status == 0
    file = tmp_path / "users.ndjson"
    done = inside.run("export", str(file))
    assert (done.status, done.out, done.err) == (0, "", f"2 users exported to {file}.\n")
    add_project(tmp_path / "there")
    there = tmp_path / "there"
    done = inside.run("import", str(file), "--data", str(there))
    assert (done.status, done.out, done.err) == (0, "", "2 users imported, 0 replaced, 0 left alone.\n")
    again = inside.run("export", "--data", str(there))
    assert again.out == file.read_text()
    assert again.err == "2 users exported.\n"
    assert inside.run("export", "-").out == again.out


def test_an_export_is_readable_by_its_owner_alone_and_appears_only_when_it_is_whole(
    inside: Inside, tmp_path: Path
) -> None:
    inside.run("import", "-", stdin=text_of(ADA))
    file = tmp_path / "out" / "users.ndjson"
    file.parent.mkdir()
    before = os.umask(0)
    try:
        inside.run("export", str(file), "--with-secrets")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["users.ndjson"]


def test_a_file_is_replaced_only_by_force(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "users.ndjson"
    file.write_text("mine")
    status, message = inside.refused("export", str(file))
    assert (status, message) == (1, f"{file} exists; --force replaces it")
    assert file.read_text() == "mine"
    assert inside.run("export", str(file), "--force").status == 0
    assert file.read_text() == ""


def test_the_database_is_never_written_over(inside: Inside) -> None:
    database = inside.data / "userfold.db"
    before = database.read_bytes()
    status, _ = inside.refused("export", str(database), "--force")
    assert status == 1
    assert database.read_bytes() == before


def test_where_no_file_can_be_written_nothing_is_left(inside: Inside, tmp_path: Path) -> None:
    status, message = inside.refused("export", str(tmp_path / "nowhere" / "users.ndjson"))
    assert (status, message) == (1, f"there is no folder {tmp_path / 'nowhere'}")


def test_programs_are_told_in_json(inside: Inside, tmp_path: Path) -> None:
    imported = inside.run("import", "-", "--json", stdin=text_of(ADA))
    assert imported.json() == {"lines": 1, "created": 1, "replaced": 0, "skipped": 0}
    file = tmp_path / "users.ndjson"
    exported = inside.run("export", str(file), "--json")
    assert exported.json() == {"users": 1, "bytes": file.stat().st_size}
    assert (imported.err, exported.err) == ("", "")
    stopped = inside.run("import", str(file), "--json")
    assert stopped.status == 1
    assert stopped.json()["stopped"] == {
        "line": 1,
        "code": "identifier_taken",
        "path": "/id",
        "detail": stopped.json()["stopped"]["detail"],
    }
    assert inside.refused("export", "--json")[0] == 2


def test_a_bad_line_is_named_by_its_number_and_an_import_goes_on_past_what_is_there(inside: Inside) -> None:
    done = inside.run("import", "-", stdin=text_of(ADA) + '{"user": {"id": "x", "nick": 1}}\n')
    assert done.status == 1
    said = done.err.splitlines()
    assert said[0] == "1 user imported, 0 replaced, 0 left alone."
    assert said[1].startswith("userfold: line 2: There is no field at /nick.")
    done = inside.run("import", "-", stdin=text_of(ADA))
    assert (
        "line 1: The user is there already; --skip leaves such users alone, --replace erases them first. The"
        in done.err
    )
    done = inside.run("import", "-", "--skip", stdin=text_of(ADA, EVE))
    assert (done.status, done.err) == (0, "1 user imported, 0 replaced, 1 left alone.\n")
    done = inside.run("import", "-", "--replace", stdin=text_of(ADA, EVE))
    assert (done.status, done.err) == (0, "0 users imported, 2 replaced, 0 left alone.\n")


WRONG_USE: list[tuple[list[str], str]] = [
    (["import", "-", "--skip", "--replace"], "give only one of --skip and --replace"),
    (["import", "/nowhere/users.ndjson"], "cannot read /nowhere/users.ndjson: No such file or directory"),
    (["import", "-", "--project", "prj_x"], "there is no such project"),
    (["export", "--project", "prj_x"], "there is no such project"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_USE)
def test_wrong_use_is_said_and_ends_with_2(inside: Inside, arguments: list[str], message: str) -> None:
    assert inside.refused(*arguments) == (2, message)


def test_whoever_forgets_the_file_on_a_terminal_is_told_so(inside: Inside) -> None:
    primary, secondary = os.openpty()
    done = subprocess.run(
        [*USERFOLD, "import", "--data", str(inside.data)],
        env=environment(),
        stdin=secondary,
        capture_output=True,
        timeout=BOUND_S,
        check=False,
    )
    os.close(primary)
    os.close(secondary)
    assert (done.returncode, done.stderr) == (2, b"userfold: name a FILE; - is standard input\n")


def test_secrets_are_not_shown_on_a_terminal(inside: Inside) -> None:
    primary, secondary = os.openpty()
    done = subprocess.run(
        [*USERFOLD, "export", "--with-secrets", "--data", str(inside.data)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=subprocess.PIPE,
        timeout=BOUND_S,
        check=False,
    )
    os.close(primary)
    os.close(secondary)
    assert (done.returncode, done.stderr) == (
        2,
        b"userfold: secrets are not shown on a terminal; name a FILE\n",
    )


def test_a_reader_that_has_seen_enough_ends_an_export_quietly(inside: Inside) -> None:
    inside.run("import", "-", stdin=text_of(*({"id": f"user_{n:04}", "name": "x" * 200} for n in range(500))))
    export = [*USERFOLD, "export", "--data", str(inside.data)]
    with subprocess.Popen(export, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(BOUND_S) == 1


def test_an_import_beside_a_server_lets_it_go_on_answering(tmp_path: Path) -> None:
    lines = text_of(*({"id": f"user_{n:05}", "email_addresses": [f"u{n}@example.com"]} for n in range(3_000)))
    file = tmp_path / "users.ndjson"
    file.write_text(lines)
    with serving(tmp_path / "data") as server, server.client() as client:
        mine = client.post("/v1/users", json={"name": "mine"}).json()["id"]
        ended = threading.Event()
        answers: list[int] = []

        def go_on() -> None:
            while not ended.is_set():
                reply = client.patch(f"/v1/users/{mine}", json={"traits": {"n": len(answers)}})
                answers.append(reply.status_code)

        writer = threading.Thread(target=go_on)
        writer.start()
        wait_until(lambda: len(answers) > 5, "the server answers")
        before = len(answers)
        done = userfold("import", file, "--data", server.data, "--json")
        during = len(answers) - before
        ended.set()
        writer.join(BOUND_S)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["created"] == 3_000
        assert set(answers) == {200}
        assert during > 5
        found = client.get("/v1/users?email=u2999@example.com").json()["data"]
        assert [user["id"] for user in found] == ["user_02999"]
        exported = userfold("export", "--data", server.data)
        assert exported.stdout.count("\n") == 3_001


def test_help_is_shown_by_the_program_itself() -> None:
    assert sys.executable in USERFOLD
    for command in ("export", "import"):
        assert "Example:" in userfold(command, "--help").stdout


def test_an_import_that_is_interrupted_says_that_what_is_in_stays(inside: Inside) -> None:
    lines = text_of(*({"id": f"user_{n:04}"} for n in range(300))).encode()
    command = [*USERFOLD, "import", "-", "--data", str(inside.data)]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(lines)
        process.stdin.flush()
        wait_until(lambda: "user_0100" in inside.run("export").out, "the first window is in")
        process.send_signal(signal.SIGINT)
        process.stdin.write(lines)  # it waits for a line, and looks up when there is one
        process.stdin.close()
        assert b"what was imported by then stays" in process.stderr.read()
        assert process.wait(BOUND_S) == 130
    assert inside.run("import", "-", "--skip", stdin=lines.decode()).status == 0
    assert inside.run("export").out.count("\n") == 300
