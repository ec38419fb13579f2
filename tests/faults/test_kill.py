"""A server that is killed while 64 clients write: what was answered is there, ten times over.

Each round starts a server on the same folder, lets the clients write until enough was answered, kills the server with
SIGKILL in the middle of that, starts it again and looks at everything through HTTP.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from tests.server import BOUND_S, USERFOLD, Connection, Gone, Server, connected, environment, serving
from userfold.core.diff import fold
from userfold.core.records import Operation
from userfold.server import GRACE_S

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ROUNDS = 10
WRITERS = 64
SHARED = 4  # users that many writers write to; every other writer has one of its own
KEY = "sk_" + "k" * 43


@dataclass
class Followed:
    """A user and what was seen of it: its document as its history folds to, and all that was answered."""

    external_id: str
    id: str = ""
    version: int = 0
    document: Any = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)  # by writer: the last value that was sent, answered or not
    answered: dict[int, tuple[str, int]] = field(default_factory=dict)  # by version: whose value it brought


@dataclass
class World:
    """What the writers share."""

    users: list[Followed]
    made: dict[str, str] = field(default_factory=dict)  # by external_id: the id that was answered
    answers: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    enough_at: int = 0

    def count(self) -> None:
        self.answers += 1
        if self.answers >= self.enough_at:
            self.enough.set()


def user_of(world: World, writer: int) -> Followed:
    return world.users[writer % SHARED if writer % 2 else SHARED + writer // 2]


async def write(world: World, server: Server, writer: int, round_: int) -> None:
    """Write until the server is gone: every fifth time a new user, else the next value of this writer's own key."""
    user, name, n = user_of(world, writer), f"w{writer}", 0
    try:
        async with connected(server, KEY) as connection:
            while True:
                n += 1
                if n % 5 == 0:
                    await make(world, connection, f"{round_}-{writer}-{n}")
                    continue
                value = user.sent[name] = user.sent.get(name, 0) + 1
                path = f"/v1/users/by-external-id/{user.external_id}"
                status, answer = await connection.ask("PUT", path, {"traits": {name: value}})
                assert status in (200, 201)
                assert answer["version"] not in user.answered
                user.answered[answer["version"]] = (name, value)
                world.count()
    except Gone:
        return


async def make(world: World, connection: Connection, external_id: str) -> None:
    document = {"external_id": external_id, "username": external_id, "traits": {"made": external_id}}
    status, answer = await connection.ask("POST", "/v1/users", document)
    assert status == 201
    world.made[external_id] = answer["id"]
    world.count()


async def write_until_killed(world: World, server: Server, round_: int) -> None:
    world.enough.clear()
    # Another moment each time, from a server that has just begun to one that has settled.
    world.enough_at = world.answers + random.Random(round_).randrange(100, 2_000)
    writers = asyncio.gather(*(write(world, server, writer, round_) for writer in range(WRITERS)))
    writers.add_done_callback(lambda _: world.enough.set())
    await world.enough.wait()
    assert not writers.done(), f"the writers ended before the server was killed:\n{server.log()}"
    server.kill()
    await writers


async def look(world: World, server: Server) -> None:
    """Check every user, and every one that a writer made in passing."""
    async with connected(server, KEY) as connection:
        for user in world.users:
            await follow(user, connection)
        for external_id, id_ in world.made.items():
            status, user = await connection.ask("GET", f"/v1/users/{id_}")
            assert status == 200
            assert (user["external_id"], user["version"], user["traits"]) == (external_id, 1, {"made": external_id})
            _, page = await connection.ask("GET", f"/v1/users/{id_}/history")
            (change,) = page["data"]
            folded = fold({}, msgspec.convert(change["operations"], list[Operation]))
            assert folded | {"version": 1, "updated_at": change["at"]} == user
    world.made.clear()


async def follow(user: Followed, connection: Connection) -> None:
    """Fold the new part of a user's history, and compare it with what was answered and with the user itself."""
    status, now = await connection.ask("PUT", f"/v1/users/by-external-id/{user.external_id}", {})
    if status == 201:
        assert not user.answered  # nothing of it was ever answered, so it need not have been there
    user.id = user.id or now["id"]
    assert user.id == now["id"]
    while user.version < now["version"]:
        cursor = f"&cursor={user.version}" if user.version else ""
        _, page = await connection.ask("GET", f"/v1/users/{user.id}/history?limit=500{cursor}")
        for change in page["data"]:
            assert change["version"] == user.version + 1
            user.version += 1
            operations = msgspec.convert(change["operations"], list[Operation])
            user.document = fold(user.document, operations) | {"version": user.version, "updated_at": change["at"]}
            if user.version in user.answered:
                name, value = user.answered[user.version]
                assert user.document["traits"][name] == value
                assert any(o.path in ("/traits", f"/traits/{name}") for o in operations)
    now.pop("changes")
    assert user.document == now
    assert max(user.answered, default=0) <= user.version
    for name, sent in user.sent.items():
        stored = now["traits"].get(name, 0)
        answered = max((value for who, value in user.answered.values() if who == name), default=0)
        # What was sent last may have been stored although its answer was lost.
        assert answered <= stored <= sent
        user.sent[name] = stored


def test_what_was_answered_survives_the_death_of_the_server(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        world = World([Followed(f"u-{number}") for number in range(SHARED + WRITERS // 2)])
        for round_ in range(ROUNDS):
            with serving(tmp_path / "data", USERFOLD_SECRET_KEY=KEY) as server:
                runner.run(look(world, server))
                runner.run(write_until_killed(world, server, round_))
                assert server.process.returncode == -signal.SIGKILL
        with serving(tmp_path / "data", USERFOLD_SECRET_KEY=KEY) as server:
            runner.run(look(world, server))
            for user in world.users:
                user.version, user.document = 0, {}  # from the beginning, once more
            runner.run(look(world, server))
    assert world.answers > ROUNDS * 100
    assert sum(len(user.answered) for user in world.users) > ROUNDS * 50


MADE_AT_THE_START = ["userfold.lock", "userfold.db", "userfold.db-wal", "keys.env"]


@pytest.mark.parametrize("name", MADE_AT_THE_START)
def test_a_first_start_that_was_cut_off_is_finished_by_the_next(tmp_path: Path, name: str) -> None:
    for number in range(3):
        data = tmp_path / f"data-{number}"
        process = subprocess.Popen(
            [*USERFOLD, "serve", "--data", str(data), "--port", "0"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + BOUND_S
        while not (data / name).exists() and time.monotonic() < deadline:
            pass  # at the very moment it is there
        process.kill()
        assert process.wait() == -signal.SIGKILL
        with serving(data) as server, server.client() as client:
            assert client.get("/v1/users/nobody").status_code == 404


def test_a_body_that_never_comes_is_waited_for_no_longer_than_the_grace(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, socket.create_connection(("127.0.0.1", server.port)) as stalled:
        head = f"POST /v1/users HTTP/1.1\r\nHost: userfold\r\nAuthorization: Bearer {server.secret_key}\r\n"
        stalled.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        with server.client() as client:
            for _ in range(2):
                assert client.get("/healthz").status_code == 200
        server.signal(signal.SIGTERM)
        assert GRACE_S < BOUND_S
        assert server.wait() == 0
        assert " userfold.server: stopped" in server.log()
