"""The command line over a PostgreSQL database: the same commands, and several servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pyotp
import pytest

from tests import postgres
from tests.cli.inside import Inside
from tests.postgres import ENCRYPTION_KEY, over
from tests.server import BOUND_S, READY, Server, environment, read_keys, serving, start, userfold, wait_until
from userfold.encryption import new_key
from userfold.storage.postgres import store
from userfold.storage.postgres.migrate import EXCLUSIVE, migrations

NEWEST = max(migrations())


@pytest.fixture
def url() -> str:
    """The address of a database in which there is nothing."""
    server = postgres.server(None)
    name = server.new_name()
    server.create(name)
    return server.address(name)


def test_a_server_fills_an_empty_database_and_finds_it_again(tmp_path: Path, url: str) -> None:
    with serving(tmp_path / "data", **over(url)) as server, server.client() as client:
        made = client.post("/v1/users", json={"name": "Ada"})
        assert made.status_code == 201
    assert list((tmp_path / "data").glob("*.db*")) == []
    with (
        serving(tmp_path / "data", "--database-url", url, USERFOLD_ENCRYPTION_KEY=ENCRYPTION_KEY) as server,
        server.client() as client,
    ):
        assert client.get(f"/v1/users/{made.json()['id']}").json()["name"] == "Ada"


def test_servers_that_start_at_once_share_one_project(tmp_path: Path, url: str) -> None:
    def begin(number: int) -> Server:
        return start(tmp_path / f"data{number}", **over(url))

    with ThreadPoolExecutor(3) as threads:
        servers = list(threads.map(begin, range(3)))
    (folder,) = (server.data for server in servers if (server.data / "keys.env").exists())
    key = read_keys(folder)["USERFOLD_SECRET_KEY"]
    for number, server in enumerate(servers):
        with server.client(key) as client:
            assert client.post("/v1/users", json={"external_id": str(number)}).status_code == 201
            found = client.get("/v1/users").json()["data"]
            assert sorted(user["external_id"] for user in found) == [str(n) for n in range(number + 1)]
    for server in servers:
        server.stop()


def test_a_key_that_one_process_makes_or_revokes_another_hears_of(tmp_path: Path, url: str) -> None:
    with contextlib.ExitStack() as opened:
        one = opened.enter_context(serving(tmp_path / "one", **over(url)))
        key = read_keys(tmp_path / "one")["USERFOLD_SECRET_KEY"]
        other = opened.enter_context(serving(tmp_path / "other", **over(url)))
        with one.client(key) as mine:
            made = mine.post("/v1/project/keys", json={"kind": "secret", "name": "second"}).json()
            with other.client(made["token"]) as new:
                wait_until(lambda: new.get("/v1/users").status_code == 200, "the new key is known to the other process")
                assert mine.delete(f"/v1/project/keys/{made['id']}").is_success
                wait_until(lambda: new.get("/v1/users").status_code == 401, "and that it was revoked")


def test_the_commands_work_on_the_database_that_the_url_names(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = Inside(tmp_path / "data", monkeypatch, capsys)
    at = ("--database-url", url)
    status, says = inside.refused("users", "list", *at)
    assert (status, says) == (2, "the database is empty; `userfold serve` fills it")
    assert inside.run("migrate", "--check", *at).status == 1
    assert "Schema 0 → " in inside.ok("migrate", *at).out
    assert "nothing to do" in inside.ok("migrate", "--check", *at).out
    inside.ok("projects", "create", "one", *at)
    (tmp_path / "users.ndjson").write_text(
        '{"user": {"id": "u1", "name": "Ada", "email_addresses": [{"email_address": "ada@x.org"}]}}\n'
    )
    assert inside.run("import", str(tmp_path / "users.ndjson"), *at, **over(url)).status == 0
    assert "Ada" in inside.ok("users", "list", *at).out
    exported = inside.run("export", str(tmp_path / "out.ndjson"), *at)
    assert exported.status == 0
    assert "ada@x.org" in (tmp_path / "out.ndjson").read_text()
    status, says = inside.refused("backup", str(tmp_path / "copy"), *at)
    assert (status, "use pg_dump --format=custom" in says, list(tmp_path.glob("copy*"))) == (1, True, [])
    findings = {finding["about"]: finding["state"] for finding in inside.run("doctor", "--json", *at).json()}
    assert findings["store"] == "ok"
    assert "lock" not in findings


def test_a_pipe_moves_users_out_of_sqlite_and_equal_digests_say_that_all_of_them_arrived(
    inside: Inside, tmp_path: Path, url: str
) -> None:
    lines = [
        {"user": {"id": id_, "name": "Ada", "created_at": 1_600_000_000_000}, "secrets": {"totp_secret": "A" * 32}}
        for id_ in ("b", "a", "B", "é", "_")  # in an order of their own everywhere but where code points are compared
    ]
    inside.run("import", stdin="".join(json.dumps(line) + "\n" for line in lines))
    at = ("--database-url", url)
    inside.ok("migrate", *at)
    inside.ok("projects", "create", "there", *at)
    out, into = '"$0" -m userfold export --with-secrets', '"$0" -m userfold import'
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'set -o pipefail; {out} | env "$1" "$2" {into}',
            sys.executable,
            *(f"{name}={value}" for name, value in over(url).items()),
        ],
        env=environment(USERFOLD_DATA=str(inside.data)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = inside.run("doctor", "--digest", "--json").json()
    there = inside.run("doctor", "--digest", "--json", **over(url)).json()
    assert [each["users"] for each in here["projects"]] == [5]
    assert [here.pop("projects")[0]["sha256"], here] == [there.pop("projects")[0]["sha256"], there]
    assert inside.run("users", "update", "a", '{"name": "Eve"}', **over(url)).status == 0
    changed = inside.run("doctor", "--digest", "--json", **over(url)).json()
    assert (changed["users"], changed["changes"]) == (5, here["changes"] + 1)
    assert changed["sha256"] != here["sha256"]


def test_the_encryption_key_gives_way_to_another_while_several_processes_serve(
    inside: Inside, tmp_path: Path, url: str
) -> None:
    old, new = new_key(), new_key()

    def keys(*given: str) -> dict[str, str]:
        return {"USERFOLD_DATABASE_URL": url, "USERFOLD_ENCRYPTION_KEY": ",".join(given)}

    def encryption_by(*given: str) -> str:
        findings = inside.run("doctor", "--full", "--json", **keys(*given)).json()
        (state,) = [str(finding["state"]) for finding in findings if finding["about"] == "encryption"]
        return state

    secret = pyotp.random_base32()
    with (
        serving(tmp_path / "one", **keys(old, new)) as one,
        serving(tmp_path / "two", **keys(new, old)) as two,
        one.client() as mine,
        two.client(one.secret_key) as other,
    ):
        made = [
            (client.post("/clerk/v1/users", json={"totp_secret": secret}).json()["id"], reader)
            for client, reader in [(mine, other), (other, mine)] * 2
        ]

        def verify(users: list[tuple[str, httpx.Client]]) -> None:
            for id_, reader in users:
                reply = reader.post(f"/clerk/v1/users/{id_}/verify_totp", json={"code": pyotp.TOTP(secret).now()})
                assert (reply.status_code, reply.json()) == (200, {"verified": True, "code_type": "totp"})

        verify(made[:2])
        assert [encryption_by(old), encryption_by(new, old), encryption_by(new)] == ["failed", "warning", "failed"]
        done = inside.run("encryption", "rotate", "--json", **keys(new, old))
        assert done.json() == {"renewed": 2, "current": 2, "unreadable": []}
        verify(made[2:])
        assert encryption_by(new) == "ok"


@pytest.mark.parametrize(
    ("database", "says"), [("", "(SQLSTATE 3D000)"), ("postgresql://ada:hunter2@127.0.0.1:1/none", "cannot be reached")]
)
def test_where_there_is_no_database_commands_say_so_without_the_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database: str,
    says: str,
) -> None:
    inside = Inside(tmp_path / "data", monkeypatch, capsys)
    monkeypatch.setattr(store, "PATIENCE_S", 0)
    at = over(database or postgres.server(None).address("no_such_database"))
    for command in (
        "users list",
        "projects list",
        "keys list",
        "migrate",
        "export",
        "doctor --digest",
        "encryption rotate",
    ):
        status, reason = inside.refused(*command.split(), **at)
        assert (status, says in reason, "hunter2" in reason) == (1, True, False)
    findings = inside.run("doctor", "--json", **at)
    (found,) = [finding for finding in findings.json() if finding["about"] == "store"]
    assert (findings.status, found["state"], says in found["says"]) == (1, "failed", True)
    assert found["advice"].startswith("check USERFOLD_DATABASE_URL, that its server runs")
    assert "hunter2" not in findings.out + findings.err


def test_a_server_without_an_encryption_key_that_all_share_does_not_start(tmp_path: Path, url: str) -> None:
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", USERFOLD_DATABASE_URL=url)
    assert done.returncode == 1
    assert "USERFOLD_ENCRYPTION_KEY must be set" in done.stderr


def workers_of(server: Server) -> list[int]:
    """The process ids of a server's workers."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(id_) for id_ in children.split()]


def test_workers_serve_one_port_and_one_that_dies_is_replaced(tmp_path: Path, url: str) -> None:
    with serving(tmp_path / "data", "--workers", "3", **over(url)) as server:
        assert server.output.count(READY) == 1
        assert server.output.count("The first project was made") == 1
        first = workers_of(server)
        assert len(first) == 3
        answered = 0
        with server.client() as client:
            made = client.post("/v1/users", json={"name": "Ada"}).json()
            os.kill(first[0], signal.SIGKILL)
            wait_until(lambda: len(workers_of(server)) == 3 and workers_of(server) != first, "another takes its place")
        for _ in range(30):
            with server.client() as client:
                answered += client.get(f"/v1/users/{made['id']}").status_code == 200
        assert answered == 30
        processes = workers_of(server)
    assert [id_ for id_ in processes if Path(f"/proc/{id_}").exists()] == []


def test_workers_do_not_outlive_whoever_started_them(tmp_path: Path, url: str) -> None:
    with serving(tmp_path / "data", "--workers", "2", **over(url)) as server:
        processes = workers_of(server)
        server.kill()
        wait_until(lambda: not any(Path(f"/proc/{id_}").exists() for id_ in processes), "they end too")


def test_workers_that_are_told_to_stop_take_no_more_connections_and_answer_what_is_in_flight(
    tmp_path: Path, url: str
) -> None:
    with serving(tmp_path / "data", "--workers", "2", **over(url)) as server, ThreadPoolExecutor(1) as thread:
        with server.client() as client:
            path = f"/v1/users/{client.post('/v1/users', json={}).json()['id']}"

            async def scenario() -> None:
                async with postgres.connected(url) as other:
                    await other.execute("BEGIN; SELECT * FROM users FOR UPDATE")
                    changing = thread.submit(client.patch, path, json={"name": "Ada"})
                    while not await other.fetchval(WAITING):  # noqa: ASYNC110 - nobody here is told of it
                        await asyncio.sleep(0.01)
                    server.signal(signal.SIGTERM)
                    await asyncio.to_thread(wait_until, lambda: refuses(server), "connections are refused")
                    assert server.process.poll() is None
                    await other.execute("ROLLBACK")
                    assert (await asyncio.wrap_future(changing)).status_code == 200

            asyncio.run(scenario())
        assert server.wait() == 0


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def refuses(server: Server) -> bool:
    """Whether a new connection is refused, and not taken by the system and then left alone."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S).close()
    except ConnectionRefusedError:
        return True
    return False


# The first process is told to stop when it has just made another, which has not come to its first line.
TOLD_AT_ONCE = """
import os, signal
from userfold import workers
fork, kill, (killed, kills) = os.fork, os.kill, os.pipe()
def fork_and_be_told():
    made = fork()
    if made:
        kill(os.getpid(), signal.SIGTERM)
    else:
        os.read(killed, 1)
    return made
def kill_and_say_so(process, number):
    kill(process, number)
    os.write(kills, b".")
os.fork, os.kill = fork_and_be_told, kill_and_say_so
workers.run_workers(1, lambda ready: signal.pause(), print, lambda: None)
"""


def test_a_worker_that_is_told_to_stop_when_it_has_just_begun_does() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD_AT_ONCE], capture_output=True, timeout=BOUND_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_workers_that_cannot_start_end_the_command(tmp_path: Path, url: str) -> None:
    done = userfold("serve", "--data", tmp_path / "data", "--port", "0", "--workers", "2", USERFOLD_DATABASE_URL=url)
    assert done.returncode == 1
    assert "USERFOLD_ENCRYPTION_KEY must be set" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("userfold: ")


def test_several_processes_of_sqlite_are_refused(tmp_path: Path) -> None:
    done = userfold("serve", "--data", tmp_path / "data", "--workers", "2")
    assert done.returncode == 2
    assert "--workers" in done.stderr


# What a program of the next release is: it knows a migration more.
NEXT = """
from userfold import cli
from userfold.storage.postgres import migrate
known = migrate.migrations()
migrate.migrations = lambda: {{**known, max(known) + 1: {sql!r}}}
cli.main()
"""


@contextlib.contextmanager
def next_release(monkeypatch: pytest.MonkeyPatch, sql: str) -> Iterator[None]:
    """What is started in this block is a newer program."""
    with monkeypatch.context() as patch:
        patch.setattr("tests.server.USERFOLD", (sys.executable, "-c", NEXT.format(sql=sql)))
        yield


def count_up(server: Server, key: str, path: str, stop: threading.Event) -> int:
    """How often a counter of the user at `path` was counted up, each time with an answer that says so."""
    done = 0
    with server.client(key) as client:
        while not stop.is_set():
            changed = client.patch(path, content=COUNT, headers={"content-type": OPERATIONS})
            assert changed.status_code == 200, changed.text
            done += 1
    return done


OPERATIONS = "application/vnd.userfold.operations+json"
COUNT = b'[{"op": "increment", "path": "/traits/n", "by": 1}]'


def test_old_and_new_processes_serve_at_once_and_old_ones_start_again(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = "CREATE TABLE added (id text PRIMARY KEY); ALTER TABLE users ADD COLUMN added bigint NOT NULL DEFAULT 0"
    stop = threading.Event()
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(2) as threads:
        opened.callback(stop.set)
        old = opened.enter_context(serving(tmp_path / "old", **over(url)))
        key = old.secret_key
        with old.client() as client:
            path = f"/v1/users/{client.post('/v1/users', json={'traits': {'n': 0}}).json()['id']}"
        counting = [threads.submit(count_up, old, key, path, stop)]
        with next_release(monkeypatch, added):
            new = opened.enter_context(serving(tmp_path / "new", **over(url)))
        counting.append(threads.submit(count_up, new, key, path, stop))
        # One of before that died is started again over the new schema.
        with serving(tmp_path / "again", **over(url)) as again, again.client(key) as client:
            assert client.post("/v1/users", json={"name": "Ada"}).status_code == 201
            stop.set()
            counts = [each.result() for each in counting]
            user = client.get(path).json()
        assert min(counts) > 0
        assert (user["traits"]["n"], user["version"]) == (sum(counts), sum(counts) + 1)


def test_an_old_program_does_not_start_over_a_schema_that_it_could_not_bear(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = Inside(tmp_path / "old", monkeypatch, capsys)
    inside.run("migrate", **over(url))
    with monkeypatch.context() as patch:
        newer = {**migrations(), NEWEST + 1: EXCLUSIVE + "DROP TABLE leases"}
        patch.setattr("userfold.storage.postgres.migrate.migrations", lambda: newer)
        assert inside.run("migrate", **over(url)).out == f"Schema {NEWEST} → {NEWEST + 1}: done.\n"
    says = f"made by a newer Userfold (schema {NEWEST + 1}; this program knows {NEWEST})"
    for command in (["users", "list"], ["migrate"]):
        status, reason = inside.refused(*command, **over(url))
        assert (status, says in reason) == (1, True)
    refused = userfold("serve", "--data", tmp_path / "old", "--port", "0", "--workers", "2", **over(url))
    assert (refused.returncode, refused.stdout, says in refused.stderr) == (1, "", True)
