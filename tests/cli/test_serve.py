"""`userfold serve`: what it says when it starts, where the first keys go, and why it would not start."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.server import BOUND_S, READY, USERFOLD, Server, environment, read_keys, serving, userfold

SECRET = "sk_" + "s" * 43
PUBLISHABLE = "key_" + "p" * 32
PRODUCT = "prd_" + "0" * 26
ALL_KEYS = {
    "USERFOLD_SECRET_KEY": SECRET,
    "USERFOLD_PUBLISHABLE_KEY": PUBLISHABLE,
    "USERFOLD_PRODUCT_ID": PRODUCT,
}


def answers(server: Server, key: str | None = None) -> int:
    """The status of a request that needs a secret key: 404 with one."""
    with server.client(key) as client:
        return client.get("/v1/users/nobody").status_code


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why a command failed; nothing else was said, and no traceback."""
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("userfold: "), done.stderr
    assert "Traceback" not in done.stderr
    return line


# The start.


def test_the_first_start_says_where_the_keys_are_and_then_that_it_answers(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        # It answers from the first request on: nothing is tried twice here.
        assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
        assert answers(server) == 404
    assert server.output == (
        f"The first project was made; its keys are in {tmp_path}/data/keys.env\n{READY}{server.url}\n"
    )


def test_the_first_keys_are_in_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        keys = read_keys(server.data)
        assert set(keys) == set(ALL_KEYS)
        assert re.fullmatch(r"sk_[A-Za-z0-9_-]{43}", keys["USERFOLD_SECRET_KEY"])
        assert re.fullmatch(r"key_[0-9a-f]{32}", keys["USERFOLD_PUBLISHABLE_KEY"])
        assert re.fullmatch(r"prd_[0-9a-z]{26}", keys["USERFOLD_PRODUCT_ID"])
        assert (server.data / "keys.env").stat().st_mode & 0o777 == 0o600
        assert server.data.stat().st_mode & 0o777 == 0o700
        assert answers(server, keys["USERFOLD_PUBLISHABLE_KEY"]) == 401
    for key in keys.values():
        assert key not in server.output
        assert key not in server.log()


def test_a_file_of_keys_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "keys.env").touch(mode=0o644)
    with serving(tmp_path / "data") as server:
        assert (server.data / "keys.env").stat().st_mode & 0o777 == 0o600


def test_on_a_terminal_the_first_keys_are_printed_and_not_written(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*USERFOLD, "serve", "--data", str(tmp_path / "data"), "--port", "0"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=log,
        )
    os.close(theirs)
    try:
        output = read_terminal(ours)
        keys = dict(line.split("=", 1) for line in output.splitlines() if line.startswith("USERFOLD_"))
        assert set(keys) == set(ALL_KEYS)
        url = output.rpartition(READY)[2].strip()
        reply = httpx.get(
            f"{url}/v1/users/nobody",
            headers={"authorization": f"Bearer {keys['USERFOLD_SECRET_KEY']}"},
            trust_env=False,
        )
        assert reply.status_code == 404
        assert not (tmp_path / "data" / "keys.env").exists()
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(BOUND_S)
        os.close(ours)
    assert status == 0
    assert keys["USERFOLD_SECRET_KEY"] not in (tmp_path / "log").read_text()


def read_terminal(terminal: int) -> str:
    """What is written to a terminal, up to the line that says that the server is ready."""
    output = ""
    deadline = time.monotonic() + BOUND_S
    while READY not in output or not output.endswith("\n"):
        readable, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, output
        output += os.read(terminal, 4096).decode().replace("\r\n", "\n")
    return output


def test_keys_of_the_environment_are_used_and_never_repeated(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **ALL_KEYS) as server:
        assert answers(server, SECRET) == 404
        assert answers(server, PUBLISHABLE) == 401
    assert server.output == f"{READY}{server.url}\n"
    assert not (server.data / "keys.env").exists()
    for path in [server.log_path, *(p for p in server.data.iterdir() if p.is_file())]:
        assert SECRET.encode() not in path.read_bytes(), path
    assert PUBLISHABLE not in server.log()


def test_of_keys_that_were_given_in_part_only_the_others_are_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_SECRET_KEY=SECRET) as server:
        assert answers(server, SECRET) == 404
        assert set(read_keys(server.data)) == {"USERFOLD_PUBLISHABLE_KEY", "USERFOLD_PRODUCT_ID"}
    assert SECRET not in (server.data / "keys.env").read_text()


def test_a_later_start_keeps_the_keys_and_says_only_that_it_answers(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as first:
        key = first.secret_key
        with first.client() as client:
            user = client.post("/v1/users", json={"name": "Ada"}).json()
    with serving(tmp_path / "data", **ALL_KEYS) as second:
        assert second.output == f"{READY}{second.url}\n"
        with second.client(key) as client:
            again = client.get(f"/v1/users/{user['id']}").json()
            assert again == {name: value for name, value in user.items() if name != "changes"}
        assert answers(second, SECRET) == 401
        # Whoever sets the variable later should learn why it has no effect.
        assert "USERFOLD_SECRET_KEY is not a key of this database" in second.log()
    assert SECRET not in second.log()


def test_a_key_that_the_database_knows_is_not_complained_of(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **ALL_KEYS):
        pass
    with serving(tmp_path / "data", **ALL_KEYS) as second:
        pass
    assert "USERFOLD_SECRET_KEY" not in second.log()


def test_a_start_that_cannot_write_the_keys_makes_no_project_whose_keys_nobody_has(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "keys.env").mkdir(parents=True)
    done = userfold("serve", "--data", data, "--port", "0")
    assert done.returncode == 1
    assert "keys.env" in said(done)
    (data / "keys.env").rmdir()
    with serving(data) as server:
        assert answers(server) == 404


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_an_ipv6_address_is_written_in_brackets(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--host", "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert answers(server) == 404


def test_the_public_url_begins_every_address_that_is_handed_out(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_PUBLIC_URL="https://users.example/") as server, server.client() as client:
        user = client.post("/clerk/v1/users", json={}).json()
        assert user["image_url"] == "https://users.example/images/default.svg"


def test_without_a_public_url_addresses_lead_to_the_server_itself(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        user = client.post("/clerk/v1/users", json={}).json()
        assert client.get(user["image_url"]).headers["content-type"] == "image/svg+xml"


def test_a_server_that_listens_everywhere_hands_out_no_address_that_leads_nowhere(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--host", "0.0.0.0") as server, server.client() as client:  # noqa: S104 - the test
        user = client.post("/clerk/v1/users", json={}).json()
        assert user["image_url"] == f"http://localhost:{server.port}/images/default.svg"
        assert "USERFOLD_PUBLIC_URL is not set" in server.log()
        assert server.url == f"http://0.0.0.0:{server.port}"


def test_a_proxy_is_not_asked_for_the_public_url_but_the_operator_is(tmp_path: Path) -> None:
    trusting = {"USERFOLD_TRUSTED_PROXIES": "127.0.0.1"}
    headers = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "host": "evil.example"}
    with serving(tmp_path / "data", **trusting) as server, server.client() as client:
        user = client.post("/clerk/v1/users", json={}, headers=headers).json()
        assert user["image_url"] == f"{server.url}/images/default.svg"
        assert "USERFOLD_PUBLIC_URL is not set" in server.log()


def test_a_public_url_that_was_set_is_not_asked_for(tmp_path: Path) -> None:
    settings = {"USERFOLD_TRUSTED_PROXIES": "127.0.0.1", "USERFOLD_PUBLIC_URL": "https://users.example"}
    for given in ({}, settings):
        with serving(tmp_path / "data", **given) as server:
            pass
        assert "USERFOLD_PUBLIC_URL" not in server.log()


def test_the_database_is_where_its_url_says(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    url = f"sqlite:///{tmp_path}/elsewhere/users.db"
    with serving(tmp_path / "data", USERFOLD_DATABASE_URL=url) as server:
        assert answers(server) == 404
        assert (tmp_path / "elsewhere" / "users.db").exists()
        assert not (server.data / "userfold.db").exists()


# The log.


def test_lines_of_a_json_log_are_objects(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_LOG="json") as server, server.client() as client:
        client.get("/v1/nope%0Aé")
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert len(lines) > 2
    for line in lines:
        assert set(line) - {"request_id"} == {"time", "level", "logger", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert "the native API has nothing at 'GET /v1/nope\\né'" in [line["message"] for line in lines]


def test_lines_of_a_text_log_begin_with_time_level_and_logger(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        client.get("/v1/nope")
    lines = server.log().splitlines()
    assert len(lines) > 2
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (info|warning|error) +userfold[.a-z]*: ", line)


# Why it would not start.


def test_a_second_server_on_a_database_is_refused_whatever_its_folder(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        url = f"sqlite:///{tmp_path}/data/userfold.db"
        done = userfold("serve", "--data", tmp_path / "other", "--database-url", url, "--port", "0")
        assert done.returncode == 3
        assert f"userfold.db is in use by process {server.process.pid} on " in said(done)


def test_a_second_server_on_a_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        done = userfold("serve", "--data", tmp_path / "data", "--port", "0")
        assert done.returncode == 3
        assert f"in use by process {server.process.pid} on " in said(done)
        assert answers(server) == 404


def test_a_folder_is_free_again_however_its_server_ended(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as first:
        first.kill()
    with serving(tmp_path / "data") as second:
        assert answers(second) == 404
        holder = (tmp_path / "data" / "userfold.lock").read_text()
        assert holder == f"process {second.process.pid} on {socket.gethostname()}\n"


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = userfold("serve", "--data", tmp_path / "data", "--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen at 127.0.0.1 port {port}" in said(done)


def test_an_address_that_is_not_here_is_refused(tmp_path: Path) -> None:
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "cannot listen at 192.0.2.1" in said(done)


@pytest.mark.parametrize("below", ["", "data"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    done = userfold("serve", "--data", tmp_path / "file" / below, "--port", "0")
    assert done.returncode == 1
    assert "cannot make the data folder" in said(done)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0")
    assert done.returncode == 1
    assert "cannot write to the data folder" in said(done)


def test_a_lock_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "userfold.lock").mkdir(parents=True)
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0")
    assert done.returncode == 1
    assert "userfold.lock" in said(done)


def test_a_newer_database_is_refused_by_every_command(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data):
        pass
    with sqlite3.connect(data / "userfold.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for arguments in (["serve", "--port", "0"], ["keys", "list"], ["keys", "create", "x"]):
        done = userfold(*arguments, "--data", data)
        assert done.returncode == 1
        assert "made by a newer Userfold (schema 99; this program knows " in said(done)


@pytest.mark.parametrize("content", [b"", b"this is no database, and long enough to tell" * 100])
def test_a_file_that_is_no_database_of_ours_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.db"
    file.write_bytes(content)
    if not content:
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE other (thing)")
        db.close()
    before = file.read_bytes()
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", "--database-url", f"sqlite:///{file}")
    assert done.returncode == 1
    assert str(file) in said(done)
    if content:
        assert file.read_bytes() == before


def test_a_database_in_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/missing/users.db"
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", "--database-url", url)
    assert done.returncode == 1
    assert "missing/users.db" in said(done)


WRONG_SETTINGS: list[tuple[dict[str, str], list[str], str]] = [
    ({"USERFOLD_PRODUCT_ID": "prd_short"}, [], "USERFOLD_PRODUCT_ID must have exactly 30 characters"),
    ({"USERFOLD_SECRET_KEY": "pk_" + "s" * 40}, [], "USERFOLD_SECRET_KEY must begin with sk_"),
    ({"USERFOLD_DATABASE_URL": "postgresql://"}, [], "must be sqlite:///PATH or postgresql://"),
    ({}, ["--database-url", "mysql://ada:pa55word@db/users"], "must be sqlite:///PATH"),
    ({"USERFOLD_PUBLIC_URL": "users.example"}, [], "USERFOLD_PUBLIC_URL must begin with http"),
    ({"USERFOLD_TRUSTED_PROXIES": "proxy.example"}, [], "USERFOLD_TRUSTED_PROXIES must hold addresses and networks"),
    ({"USERFOLD_LOG": "xml"}, [], "USERFOLD_LOG must be one of: text, json"),
    ({}, ["--workers", "2"], "--workers must be 1"),
]


@pytest.mark.parametrize(("settings", "arguments", "reason"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_and_nothing_is_made(
    tmp_path: Path, settings: dict[str, str], arguments: list[str], reason: str
) -> None:
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", *arguments, **settings)
    assert done.returncode == 2
    assert reason in said(done)
    assert "pa55word" not in done.stderr
    assert "s" * 40 not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--port", "x"], ["--workers", "0"], ["--nope"], ["more"]], ids=" ".join
)
def test_wrong_use_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    done = userfold("serve", "--data", tmp_path / "data", *arguments)
    assert done.returncode == 2
    assert not (tmp_path / "data").exists()
