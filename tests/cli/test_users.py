"""`userfold users`: finding, showing, making, changing, disabling and deleting users from a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import Inside, with_store
from tests.server import BOUND_S, USERFOLD, environment, serving, userfold
from userfold.clock import clock_ms
from userfold.core.commands import CreateAttribute
from userfold.core.records import EffectiveSettings, Project
from userfold.engine import Engine
from userfold.first_start import OPERATOR
from userfold.storage.sqlite.store import SQLiteStore

ADA = {
    "first_name": "Ada",
    "last_name": "Byron",
    "external_id": "42",
    "username": "ada.b",
    "email_addresses": ["ada@example.com"],
}


def made(inside: Inside, **document: Any) -> str:
    """The id of a new user."""
    return inside.ok("users", "create", json.dumps(document)).out.strip()


def shown(inside: Inside, user_id: str, *more: str) -> dict[str, Any]:
    user = inside.ok("users", "show", user_id, "--json", *more).json()
    assert isinstance(user, dict)
    return user


def found(inside: Inside, *arguments: str) -> list[str]:
    """The ids of the users that a list shows."""
    return [user["id"] for user in inside.ok("users", "list", "--json", *arguments).json()]


# Finding.


def test_a_list_is_newest_first_with_a_row_for_each_user(inside: Inside) -> None:
    ids = [made(inside, **ADA), made(inside, name="Grace", contact_email="g@example.com"), made(inside)]
    assert found(inside) == ids[::-1]
    empty, grace, ada = inside.ok("users", "list").table()
    assert ada.split()[:5] == [ids[0], "42", "Ada", "Byron", "ada@example.com"]
    assert grace.split()[:3] == [ids[1], "Grace", "g@example.com"]
    assert empty.split()[0] == ids[2]


LOOKUPS = [
    (["--query", "yro"], True),
    (["--query", "nobody"], False),
    (["--email", "ADA@Example.com"], True),
    (["--email", "claimed@example.com"], True),
    (["--email", "da@example.com"], False),
    (["--external-id", "42"], True),
    (["--external-id", "4"], False),
    (["--username", "ADA.B"], True),
    (["--username", "ada"], False),
    (["--username", "ada.b", "--query", "byron"], True),
    (["--username", "ada.b", "--query", "grace"], False),
]


@pytest.mark.parametrize(("arguments", "is_found"), LOOKUPS, ids=lambda value: str(value))
def test_a_user_is_found_by_what_names_it(inside: Inside, arguments: list[str], is_found: bool) -> None:
    made(inside, name="Grace", external_id="43")
    id_ = made(inside, **ADA, contact_email="claimed@example.com")
    assert found(inside, *arguments) == ([id_] if is_found else [])


def test_an_address_that_is_somebodys_own_is_not_looked_for_among_those_that_others_claim(inside: Inside) -> None:
    made(inside, contact_email="ada@example.com")
    id_ = made(inside, **ADA)
    assert found(inside, "--email", "ada@example.com") == [id_]


def test_a_list_that_is_cut_off_says_so_beside_what_it_prints(inside: Inside) -> None:
    ids = [made(inside) for _ in range(3)]
    done = inside.run("users", "list", "--limit", "2", "--json")
    assert [user["id"] for user in done.json()] == ids[:0:-1]
    assert done.err == "There are more; --limit 2 ends the list here.\n"
    assert found(inside, "--limit", "3") == ids[::-1]


def test_a_long_list_is_read_in_pages_and_has_every_user_once(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userfold.cli.users.PAGE_SIZE", 2)
    ids = [made(inside) for _ in range(5)]
    assert found(inside) == ids[::-1]
    assert found(inside, "--limit", "5") == ids[::-1]


def test_rows_are_not_cut_where_no_terminal_shows_them(inside: Inside) -> None:
    long = "n" * 255
    id_ = made(inside, name=long, external_id="e" * 255)
    (line,) = inside.ok("users", "list").table()
    assert id_ in line
    assert long in line
    assert "e" * 255 in line


def test_a_name_cannot_move_the_cursor_of_whoever_lists_it(inside: Inside) -> None:
    made(inside, name="\x1b[2Jgone [bold]\u202e\x9b", traits={"note": "\x1b]0;x\x07\x9b"})
    id_ = found(inside)[0]
    for arguments in (["list"], ["show", id_, "--history"], ["list", "--json"], ["show", id_, "--history", "--json"]):
        out = inside.ok("users", *arguments).out
        assert "gone [bold]" in out
        assert not [c for c in out if c in "\x1b\x07\x9b\u202e"]
    assert shown(inside, id_)["name"] == "\x1b[2Jgone [bold]\u202e\x9b"


# Showing.


def test_a_user_is_shown_by_its_id_or_by_what_the_app_calls_it(inside: Inside) -> None:
    id_ = made(inside, **ADA)
    assert shown(inside, id_) == shown(inside, "42")
    lines = inside.ok("users", "show", "42").table()
    assert ["first_name", "Ada"] in [line.split() for line in lines]
    assert ["id", id_] in [line.split() for line in lines]
    assert not [line for line in lines if line.startswith("phone_numbers")]


def test_the_history_has_every_change_with_its_author(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userfold.cli.users.PAGE_SIZE", 2)
    id_ = made(inside, **ADA)
    for count in range(1, 4):
        inside.ok("users", "update", id_, json.dumps({"traits": {"count": count}}))
    inside.ok("users", "update", id_, '{"traits": null, "email_addresses": []}')
    changes = shown(inside, id_, "--history")["history"]
    assert [change["version"] for change in changes] == [1, 2, 3, 4, 5]
    assert {(change["source"], change["actor"], change["trust"]) for change in changes} == {
        ("cli", "operator", "backend")
    }
    out = inside.ok("users", "show", id_, "--history").out
    for line in ("/traits/count: 1", "/traits/count: 1 → 2", "/traits/count: 3 removed", '/first_name: "Ada"'):
        assert line in out
    assert "history" not in shown(inside, id_)


def test_a_user_of_another_project_is_as_unknown_as_any(inside: Inside) -> None:
    id_ = made(inside)
    other = inside.ok("projects", "create", "other", "--json").json()["id"]
    assert inside.refused("users", "show", id_, "--project", other) == (
        1,
        f"There is no user {id_} in this project.",
    )


# Making and changing.


def test_a_user_is_made_of_a_document_beside_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        done = userfold("users", "create", json.dumps(ADA), "--data", server.data)
        assert (done.returncode, done.stderr) == (0, "")
        id_ = done.stdout.strip()
        user = client.get(f"/v1/users/{id_}").json()
        assert (user["external_id"], user["first_name"]) == ("42", "Ada")
        done = userfold("users", "update", "42", '{"traits": {"a": 1}}', "--data", server.data)
        assert (done.returncode, done.stdout, done.stderr) == (0, "/traits/a: 1\n", "")
        client.patch(f"/v1/users/{id_}", json={"traits": {"b": 2}})
        done = userfold("users", "show", id_, "--history", "--json", "--data", server.data)
        user = json.loads(done.stdout)
        assert user["traits"] == {"a": 1, "b": 2}
        assert [change["source"] for change in user["history"]] == ["cli", "cli", "native"]


def test_a_document_merges_and_what_changed_is_said(inside: Inside) -> None:
    id_ = made(inside, **ADA, public_metadata={"plan": "free", "prefs": {"a": 1, "b": 2}})
    done = inside.ok("users", "update", id_, '{"public_metadata": {"plan": "pro", "prefs": {"a": null}}}')
    assert done.out == '/public_metadata/plan: "free" → "pro"\n/public_metadata/prefs/a: 1 removed\n'
    assert shown(inside, id_)["public_metadata"] == {"plan": "pro", "prefs": {"b": 2}}
    again = inside.ok("users", "update", id_, '{"public_metadata": {"plan": "pro"}}')
    assert again.out == "Nothing changed: the user was so already.\n"
    assert shown(inside, id_)["version"] == 2


def test_a_document_may_come_from_standard_input(inside: Inside) -> None:
    id_ = inside.ok("users", "create", "-", stdin='{"name": "Zoë"}').out.strip()
    assert shown(inside, id_)["name"] == "Zoë"
    updated = inside.ok(
        "users", "update", id_, "-", "--json", stdin='{"traits": {"n": 123456789012345678901234567890}}'
    )
    assert updated.json()["traits"] == {"n": 123456789012345678901234567890}
    assert updated.json()["changes"][0]["path"] == "/traits/n"


def test_what_show_printed_may_be_edited_and_sent_back(inside: Inside) -> None:
    id_ = made(inside, **ADA)
    user = shown(inside, id_, "--history")
    inside.ok("users", "update", id_, "-", stdin=json.dumps({**user, "first_name": "Augusta"}))
    assert shown(inside, id_)["first_name"] == "Augusta"


def test_what_show_printed_is_refused_for_its_version_if_somebody_else_was_faster(inside: Inside) -> None:
    id_ = made(inside, **ADA)
    user = shown(inside, id_)
    inside.ok("users", "update", id_, '{"traits": {"plan": "pro"}, "locale": "en"}')
    status, reason = inside.refused("users", "update", id_, "-", stdin=json.dumps({**user, "first_name": "A."}))
    assert (status, reason.partition(",")[0]) == (1, "It is at version 2")
    assert shown(inside, id_)["version"] == 2


def test_a_user_may_be_made_of_nothing(inside: Inside) -> None:
    assert shown(inside, inside.ok("users", "create").out.strip())["version"] == 1


REFUSED = [
    (["show", "nobody"], 1, "There is no user nobody in this project."),
    (["update", "nobody", "{}"], 1, "There is no user nobody in this project."),
    (["disable", "nobody"], 1, "There is no user nobody in this project."),
    (["enable", "nobody"], 1, "There is no user nobody in this project."),
    (["delete", "nobody", "--yes"], 1, "There is no user nobody in this project."),
    (["create", '{"external_id": "42"}'], 1, "The value at /external_id already belongs to another user."),
    (["update", "43", '{"username": "ADA.b"}'], 1, "The value at /username already belongs to another user."),
    (["create", '{"nope\\u001b[2J": 1}'], 2, "There is no field at /nope\\x1b[2J."),
    (["update", "42", '{"version": 9}'], 1, "It is at version 1, not at the one that the request was made for. Show"),
    (["update", "42", '{"version": "9"}'], 2, "The field at /version is kept by Userfold"),
    (["update", "42", '{"created_at": 9}'], 2, "The field at /created_at is kept by Userfold"),
    (["update", "42", '{"name": 9}'], 2, "The value at /name is not valid: a string is needed."),
    (["update", "42", '{"name": "a", "name": "b"}'], 2, "An object in the body has the key 'name' more than once."),
    (["update", "42", "{"], 2, "The body is not valid JSON"),
    (["update", "42", "[]"], 2, "a JSON object is needed"),
    (["update", "42", "\udcff"], 2, "The body is not valid JSON"),
    (["update", "42"], 2, "Missing argument 'DOCUMENT'. `userfold users update --help` shows how it is used."),
    (["list", "--email", "ada"], 2, "--email: an email address is needed"),
    (["list", "--external-id", ""], 2, "--external-id: an external_id has at least one character"),
    (["list", "--email", "a@example.com", "--username", "a"], 2, "give only one of --email"),
    (["list", "--limit", "0"], 2, "Invalid value for '--limit'"),
    (["list", "--nope"], 2, "No such option: --nope"),
    (["delete", "42"], 2, "nobody can be asked here; --yes deletes without asking"),
]


@pytest.mark.parametrize(("arguments", "status", "reason"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_cannot_be_is_refused_and_changes_nothing(
    inside: Inside, arguments: list[str], status: int, reason: str
) -> None:
    made(inside, **ADA)
    made(inside, external_id="43")
    before = inside.ok("users", "list", "--json").out
    refused = inside.refused("users", *arguments)
    assert refused[0] == status
    assert refused[1].startswith(reason)
    assert inside.ok("users", "list", "--json").out == before


def test_a_document_that_is_too_large_is_not_read_to_its_end(inside: Inside) -> None:
    text = '{"traits": {"a": "' + "x" * (1 << 20) + '"}}'
    refused = (2, "the document is larger than 1,048,576 bytes")
    assert inside.refused("users", "create", "-", stdin=text) == refused


def test_a_document_is_held_to_the_attributes_of_the_project(inside: Inside) -> None:
    async def define(store: SQLiteStore) -> None:
        (project,) = await store.list("project")
        assert isinstance(project, Project)
        engine = Engine(store, clock_ms=clock_ms)
        command = CreateAttribute(project_id=project.id, author=OPERATOR, name="plan", type="integer")
        await engine.run(command, EffectiveSettings())

    with_store(inside.data, define)
    status, reason = inside.refused("users", "create", '{"traits": {"plan": "gold"}}')
    assert status == 2
    assert "/traits/plan is not valid: an integer is needed" in reason
    made(inside, traits={"plan": 3})


# Disabling and deleting.


def test_a_user_that_is_disabled_is_signed_in_nowhere(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        id_ = client.post("/v1/users", json={"external_id": "42"}).json()["id"]
        token = client.post(f"/v1/users/{id_}/sessions", json={}).json()["token"]
        done = userfold("users", "disable", "42", "--data", server.data)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{id_} is disabled.\n", "")
        assert client.get(f"/v1/users/{id_}").json()["disabled"] is True
        assert client.post("/v1/sessions/verify", json={"token": token}).json() != {}
        sessions = client.get(f"/v1/users/{id_}/sessions").json()["data"]
        assert [session["status"] for session in sessions] == ["revoked"]


def test_disabling_and_enabling_twice_is_as_good_as_once(inside: Inside) -> None:
    id_ = made(inside)
    for word, disabled in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
        assert inside.ok("users", word, id_).out == f"{id_} is {word}d.\n"
        assert shown(inside, id_)["disabled"] is disabled
    assert shown(inside, id_)["version"] == 3


def test_a_deleted_user_is_gone_with_its_history_and_its_names_are_free(inside: Inside) -> None:
    id_ = made(inside, **ADA)
    assert inside.ok("users", "delete", "42", "--yes").out == f"{id_} is deleted.\n"
    assert found(inside) == []
    assert inside.refused("users", "show", id_)[0] == 1
    assert made(inside, **ADA) != id_


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("\x03", 1), ("\x04", 1)])
def test_on_a_terminal_deleting_is_asked_about_and_only_yes_deletes(inside: Inside, answer: str, status: int) -> None:
    id_ = made(inside, **ADA)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*USERFOLD, "users", "delete", "42", "--data", str(inside.data)],
        env=environment(COLUMNS="200"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: make_controlling(theirs),  # so that Ctrl-C is a signal
    )
    os.close(theirs)
    asked = read_until(ours, "[y/N]: ")
    assert f"{id_} (Ada Byron, ada@example.com, 42), version 1" in asked
    ended = answered(process, ours, answer)
    said = read_until(ours, "\n" if status else "deleted.")
    os.close(ours)
    assert ended == status, said
    assert found(inside) == ([id_] if status else [])


def answered(process: subprocess.Popen[bytes], terminal: int, answer: str) -> int:
    """The exit code of a program that was answered so.

    A signal that comes after readline has shown the question and before it waits for keys only ends the wait for the
    next one: whoever pressed Ctrl-C presses it again.
    """
    deadline = time.monotonic() + BOUND_S
    while True:
        os.write(terminal, answer.encode())
        try:
            return process.wait(1 if answer == "\x03" and time.monotonic() < deadline else BOUND_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                raise


def make_controlling(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def read_until(terminal: int, end: str) -> str:
    """What was written to a terminal up to `end`, or to the end of its program."""
    output = ""
    while end not in output:
        readable, _, _ = select.select([terminal], [], [], BOUND_S)
        assert readable, output
        try:
            output += os.read(terminal, 4096).decode()
        except OSError:
            break
    return output


# The terminal.


def test_a_narrow_terminal_shows_ids_whole_and_nothing_is_lost(inside: Inside) -> None:
    id_ = made(inside, name="n" * 60)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*USERFOLD, "users", "list", "--data", str(inside.data)],
        env=environment(COLUMNS="80", TERM="dumb"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = read_until(ours, "\0")
    assert process.wait(BOUND_S) == 0
    os.close(ours)
    assert id_ in printed
    assert printed.count("n") - printed.split("\n")[0].count("n") - id_.count("n") == 60
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
@pytest.mark.parametrize("words", [["users", "list"], ["users", "list", "--json"], ["export"], ["--help"]])
def test_what_cannot_be_printed_is_one_line_that_says_why(inside: Inside, words: list[str]) -> None:
    made(inside, **ADA)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*USERFOLD, *words],
            env=environment(USERFOLD_DATA=str(inside.data)),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "userfold: cannot print what was asked for: No space left on device\n",
    )


def test_a_standard_output_that_is_closed_is_one_that_nobody_reads(inside: Inside) -> None:
    command = f"{shlex.join(USERFOLD)} users create >&-"
    settings = environment(USERFOLD_DATA=str(inside.data))
    done = subprocess.run(command, shell=True, env=settings, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S602
    assert (done.returncode, done.stderr) == (0, "")
    assert len(found(inside)) == 1


def test_a_reader_that_has_seen_enough_is_no_failure_with_a_traceback(inside: Inside) -> None:
    for _ in range(3):
        made(inside, traits={"pad": "x" * 60_000})  # more than a pipe holds
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*USERFOLD, "users", "list", "--json", "--data", str(inside.data)],
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.close(reading)
    _, said = process.communicate(timeout=BOUND_S)
    assert said == ""
    assert process.returncode == 1
