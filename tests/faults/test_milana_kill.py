"""Pages that say things while their server is killed, and pages that send more than it should hold.

200 sessions send 20 updates each onto 10 users. The server is killed with SIGKILL in the middle of it and started
again; a session goes on with what was not answered, as an app would that tries again.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from tests.api.milana.page import tracked
from tests.server import Gone, Server, connected, serving

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SESSIONS = 200
UPDATES = 20
USERS = 10
KILLED_AFTER = SESSIONS * UPDATES // 2  # answers
MEMORY_MAX = 300 << 20

KEY = "sk_" + "k" * 40
PAGES = {"X-Milana-Client-Key": "key_" + "p" * 26, "X-Milana-Product-Id": "prd_" + "0" * 26}
SETTINGS = {
    "USERFOLD_SECRET_KEY": KEY,
    "USERFOLD_PUBLISHABLE_KEY": PAGES["X-Milana-Client-Key"],
    "USERFOLD_PRODUCT_ID": PAGES["X-Milana-Product-Id"],
}


@dataclass
class Visit:
    """A session, and the number of the last update of it that was answered."""

    number: int
    session_id: str = ""
    answered: int = 0

    @property
    def external_id(self) -> str:
        return f"u-{self.number % USERS}"

    @property
    def trait(self) -> str:
        return f"s{self.number}"

    @property
    def headers(self) -> Mapping[str, str]:
        return PAGES | ({"X-Milana-Session-Id": self.session_id} if self.session_id else {})


@dataclass
class World:
    """All visits, and how often anything was answered."""

    visits: list[Visit]
    answers: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)


async def begin(visit: Visit, server: Server) -> None:
    async with connected(server, "", visit.headers) as connection:
        status, answer = await connection.ask("POST", "/milana/session", {"environment": "test", "version": "1"})
        assert status == 200
        visit.session_id = answer["sessionId"]


async def say(world: World, visit: Visit, server: Server) -> None:
    """Send what is still to be sent, one after the other, until the server is gone."""
    try:
        async with connected(server, "", visit.headers) as connection:
            while visit.answered < UPDATES:
                user = {"userId": visit.external_id, "metadata": {visit.trait: visit.answered + 1}}
                status, answer = await connection.ask("POST", "/milana/update", {"user": user})
                assert (status, answer["sessionId"]) == (200, visit.session_id), answer
                visit.answered += 1
                world.answers += 1
                if world.answers >= KILLED_AFTER:
                    world.enough.set()
    except Gone:
        return


async def say_until_killed(world: World, server: Server) -> None:
    await asyncio.gather(*(begin(visit, server) for visit in world.visits))
    saying = asyncio.gather(*(say(world, visit, server) for visit in world.visits))
    saying.add_done_callback(lambda _: world.enough.set())
    await world.enough.wait()
    assert not saying.done(), f"all was said before the server was killed:\n{server.log()}"
    server.kill()
    await saying


async def say_the_rest(world: World, server: Server) -> None:
    await asyncio.gather(*(say(world, visit, server) for visit in world.visits))


def told(client: httpx.Client, external_id: str) -> dict[str, list[int]]:
    """{trait: its values in the order of the user's history}"""
    (user,) = client.get("/v1/users", params={"external_id": external_id}).json()["data"]
    values: dict[str, list[int]] = {}
    asked: dict[str, str] | None = {"limit": "500"}
    while asked is not None:
        page = client.get(f"/v1/users/{user['id']}/history", params=asked).json()
        for change in page["data"]:
            for name, value in written(change["operations"]):
                values.setdefault(name, []).append(value)
        asked = None if page["next_cursor"] is None else {"limit": "500", "cursor": page["next_cursor"]}
    assert {name: of_it[-1] for name, of_it in values.items()} == user["traits"]
    return values


def written(operations: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The traits that a change wrote."""
    found = []
    for operation in operations:
        if operation["path"] == "/traits":
            found += list(operation["new"].items())
        elif operation["path"].startswith("/traits/"):
            found.append((operation["path"].removeprefix("/traits/"), operation["new"]))
    return found


def check(world: World, client: httpx.Client) -> int:
    """That all that was answered is there, in the order of its session; how many updates are there."""
    told_of = {f"u-{number}": told(client, f"u-{number}") for number in range(USERS)}
    stored = 0
    for visit in world.visits:
        values = told_of[visit.external_id].get(visit.trait, [])
        assert values == list(range(1, len(values) + 1)), visit
        # What was sent last may have been stored although its answer was lost.
        assert visit.answered <= len(values) <= visit.answered + 1, visit
        stored += len(values)
    return stored


def test_what_was_answered_to_pages_survives_the_death_of_the_server_in_its_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World([Visit(number) for number in range(SESSIONS)])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with serving(tmp_path / "data", **SETTINGS) as server:
            runner.run(say_until_killed(world, server))
        answered = world.answers
        with serving(tmp_path / "data", **SETTINGS) as server, server.client(KEY) as client:
            stored = check(world, client)
            runner.run(say_the_rest(world, server))
            assert [visit.answered for visit in world.visits] == [UPDATES] * SESSIONS
            assert check(world, client) == SESSIONS * UPDATES
            for visit in world.visits:
                session = client.get(f"/v1/sessions/{visit.session_id}").json()
                assert client.get(f"/v1/users/{session['user_id']}").json()["external_id"] == visit.external_id
    with capsys.disabled():
        print(f"\n{answered} updates answered when the server was killed, {stored} stored; then all {world.answers}")  # noqa: T201


def memory_of(server: Server, name: str) -> int:
    """`VmHWM` (the most so far) or `VmRSS` (now) of the server, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) << 10


def events(count: int) -> bytes:
    """A batch of many small events of which none can be kept."""
    return b'{"events":[' + b",".join([b'{"type":5,"timestamp":0,"data":0}'] * count) + b"]}"


# What is sent, packed or not, and whether it is taken at all.
LARGE: dict[str, tuple[bytes, bool]] = {
    "a bomb of 60 MB": (gzip.compress(b" " * 60_000_000), True),
    "a batch of 20 MB": (events(600_000), False),
    "a batch of 60 MB that is packed and no smaller": (gzip.compress(os.urandom(60_000_000), 1), True),
    "as many events as there may be": (events(240_000), False),
    "the same, packed": (gzip.compress(events(240_000)), True),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="how much memory a process uses is read from Linux")
def test_large_batches_fill_no_memory_and_hold_nobody_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "data", **SETTINGS) as server, httpx.Client(base_url=server.url, timeout=60) as page:
        before = memory_of(server, "VmRSS")
        page.headers.update(PAGES | {"Content-Type": "application/json"})
        page.headers["X-Milana-Session-Id"] = page.post("/milana/session", json={}).json()["sessionId"]
        assert page.post("/milana/update", json={"user": {"userId": "u-1"}}).json()["success"]
        for _ in range(3):
            for content, packed in LARGE.values():
                headers = {"Content-Encoding": "gzip"} if packed else {}
                reply = page.post("/milana/batch", content=content, headers=headers)
                assert (reply.status_code, reply.json()["success"]) == (200, True)
                assert page.get("/healthz").status_code == 200
        asyncio.run(all_at_once(server, page.headers["X-Milana-Session-Id"]))
        assert page.post("/milana/batch", json={"events": [tracked("still there", 1)]}).json()["success"]
        most = memory_of(server, "VmHWM")
        with server.client(KEY) as client:
            text = client.get("/metrics").text
    dropped = 'userfold_refusals_total{api="milana",code="body_too_large"} '
    assert next(float(line.removeprefix(dropped)) for line in text.splitlines() if line.startswith(dropped)) >= 9
    with capsys.disabled():
        print(f"\nmemory of the server: {before >> 20} MiB before, {most >> 20} MiB at the most")  # noqa: T201
    assert most < MEMORY_MAX


async def all_at_once(server: Server, session_id: str) -> None:
    """Send what is large from many pages together; some of it is to be sent again, because too much waits."""
    headers = PAGES | {"Content-Type": "application/json", "X-Milana-Session-Id": session_id}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, headers=headers) as pages:
        sent = [LARGE["as many events as there may be"][0]] * 12
        replies = await asyncio.gather(*(pages.post("/milana/batch", content=content) for content in sent))
    assert {reply.status_code for reply in replies} == {200}
