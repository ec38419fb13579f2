"""Four processes over one PostgreSQL database, 64 clients, and what is done to processes and connections meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import uvloop

from tests import postgres
from tests.contract import samples
from tests.engine.model import check_identifiers, check_user
from tests.postgres import over
from tests.postgres_proxy import Fate, Silence, between
from tests.server import BOUND_S, Connection, Gone, Server, connected, start
from userfold.core.queries import UserQuery
from userfold.core.records import Change, Identifier, Key, User
from userfold.storage.postgres import tables
from userfold.storage.postgres.connections import connect
from userfold.storage.postgres.store import PostgresStore

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

PROCESSES, CLIENTS = 4, 64
USERS, EMAILS, NAMES = 50, 40, 30
KEY = "sk_" + "k" * 43
# Where our server also listens: one of the many addresses of this machine, so that its port is nobody else's.
TCP_HOST = f"127.{64 + (os.getpid() >> 16 & 127)}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
OPERATIONS = "application/vnd.userfold.operations+json"
# 503: nothing was stored, or, with this code, nobody can say.
REFUSED = {400, 403, 404, 409, 412, 422}


@dataclass
class World:
    """What the clients share: what was answered, and what was sent without an answer."""

    left: int
    users: list[str] = field(default_factory=list)  # the ids of those whom nobody deletes
    statuses: Counter[str] = field(default_factory=Counter)
    merged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by user: keys that must be there
    increments: Counter[str] = field(default_factory=Counter)  # by user, answered
    unanswered: Counter[str] = field(default_factory=Counter)  # the same, of which nobody knows
    versions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by user, as answered
    made: dict[str, str] = field(default_factory=dict)  # by id: the name that a create won, until it was deleted
    unsure_names: set[str] = field(default_factory=set)


async def client(world: World, server: Server, number: int) -> None:
    """Send commands until all are sent, or this server is gone for good."""
    chance = random.Random(number)
    while world.left > 0:
        try:
            async with connected(server, KEY) as connection:
                while world.left > 0:
                    world.left -= 1
                    await chance.choice(STEPS)(world, connection, chance, f"{number}.{world.left}")
        except Gone:
            world.statuses["gone"] += 1
            if server.ended:
                return
            await asyncio.sleep(0.05)


async def ask(world: World, what: str, asking: Coroutine[Any, Any, tuple[int, Any]]) -> tuple[int, Any]:
    """Status and answer; 0 if it may have been done. Raises `Gone`."""
    status, answer = await asking
    assert status < 300 or status in REFUSED or status == 503, (status, answer)
    unknown = status == 503 and answer["code"] == "outcome_unknown"
    world.statuses[f"{what} {'unknown' if unknown else status}"] += 1
    return (0 if unknown else status), answer


async def merge(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    user_id = chance.choice(world.users)
    asking = connection.ask("PATCH", f"/v1/users/{user_id}", {"traits": {mark: 1}})
    status, answer = await ask(world, "merge", asking)
    if status == 200:
        world.merged[user_id].add(mark)
        world.versions[user_id].append(answer["version"])


async def increment(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    user_id = chance.choice(world.users)
    body = [{"op": "increment", "path": "/traits/n", "by": 1}]
    world.unanswered[user_id] += 1
    status, answer = await ask(world, "increment", connection.ask("PATCH", f"/v1/users/{user_id}", body, OPERATIONS))
    if status:
        world.unanswered[user_id] -= 1
    if status == 200:
        world.increments[user_id] += 1
        world.versions[user_id].append(answer["version"])


async def change_email(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    user_id, email = chance.choice(world.users), f"e{chance.randrange(EMAILS)}@x.org"
    asking = connection.ask("PATCH", f"/v1/users/{user_id}", {"email_addresses": [{"email_address": email}]})
    await ask(world, "email", asking)


async def disable(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    path = f"/v1/users/{chance.choice(world.users)}"
    await ask(world, "disable", connection.ask("PATCH", path, {"disabled": chance.random() < 0.5}))


async def sign_in(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    path = f"/v1/users/{chance.choice(world.users)}/sessions"
    await ask(world, "sign in", connection.ask("POST", path, {}))


async def create(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    name = f"name {chance.randrange(NAMES)}"
    try:
        status, answer = await ask(world, "create", connection.ask("POST", "/v1/users", {"external_id": name}))
    except Gone:
        status, answer = 0, {}
        world.unsure_names.add(name)
        raise
    if status == 0:
        world.unsure_names.add(name)
    if status == 201:
        world.made[answer["id"]] = name


async def delete(world: World, connection: Connection, chance: random.Random, mark: str) -> None:
    if not world.made:
        return
    user_id = chance.choice(list(world.made))
    name = world.made.pop(user_id)
    try:
        status, _ = await ask(world, "delete", connection.ask("DELETE", f"/v1/users/{user_id}"))
    except Gone:
        status = 0
        world.unsure_names.add(name)
        raise
    if status == 503:
        world.made[user_id] = name
    elif status == 0:
        world.unsure_names.add(name)


def together(one: World, other: World) -> World:
    """What the clients of two worlds of the same users were answered."""
    both = World(0, users=one.users, unsure_names=one.unsure_names | other.unsure_names, made=one.made | other.made)
    for world in (one, other):
        both.increments += world.increments
        both.unanswered += world.unanswered
        for user_id in world.users:
            both.merged[user_id] |= world.merged[user_id]
            both.versions[user_id] += world.versions[user_id]
    return both


Step = Callable[[World, Connection, random.Random, str], Coroutine[Any, Any, None]]
STEPS: list[Step] = [merge, merge, merge, increment, increment, change_email, disable, sign_in, create, delete]


async def make_users(world: World, server: Server) -> None:
    async with connected(server, KEY) as connection:
        for number in range(USERS):
            status, answer = await connection.ask("POST", "/v1/users", {"username": f"user{number}"})
            assert status == 201
            world.users.append(answer["id"])


async def check(world: World, url: str) -> None:
    """Everything that must be true once nobody writes any more, whatever happened before."""
    store = PostgresStore(url)
    (project,) = await store.list("project")
    project_id: str = project.id  # type: ignore[attr-defined]
    users = {user.id: user for user in await store.users(UserQuery(project_id=project_id, limit=10**6))}
    for user in users.values():
        await check_user_of(world, store, project_id, user)
    async with postgres.connected(url) as connection:
        rows = await connection.fetch("SELECT id, user_id, set_by FROM identifiers WHERE project_id = $1", project_id)
    held = {
        Key("identifier", project_id, id_): Identifier(identifier=id_, user_id=user_id, set_by=set_by)
        for id_, user_id, set_by in rows
    }
    check_identifiers(project_id, list(users.values()), held)
    for user_id, name in world.made.items():
        if name not in world.unsure_names:
            assert users[user_id].external_id == name, "it was made, and nobody deleted it"
    named = {user.external_id: user_id for user_id, user in users.items() if user.external_id is not None}
    for name, user_id in named.items():
        assert user_id in world.made or name in world.unsure_names, "it was deleted, and is there"
    await store.close()


async def check_user_of(world: World, store: PostgresStore, project_id: str, user: User) -> None:
    changes = await store.history(project_id, user.id, after=0, up_to=user.version, limit=10**6)
    check_user(user, [change for change in changes if isinstance(change, Change)])
    assert world.merged[user.id] <= set(user.traits)
    assert len(world.versions[user.id]) == len(set(world.versions[user.id])), "no version was answered twice"
    answered = world.increments[user.id]
    assert answered <= user.traits.get("n", 0) <= answered + world.unanswered[user.id]


@contextlib.contextmanager
def processes(folder: Path, urls: Sequence[str]) -> Iterator[list[Server]]:
    """A server for each way to the database."""

    def begin(number: int) -> Server:
        return start(folder / f"data{number}", USERFOLD_SECRET_KEY=KEY, **over(urls[number]))

    with ThreadPoolExecutor(PROCESSES) as threads:
        servers = list(threads.map(begin, range(len(urls))))
    try:
        yield servers
    finally:
        for server in servers:
            if not server.ended:
                server.stop()


Trouble = Callable[[World, list[Server], postgres.Process], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def none(world: World, servers: list[Server], own: postgres.Process) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def one_killed(world: World, servers: list[Server], own: postgres.Process) -> AsyncIterator[None]:
    async def kill() -> None:
        half = world.left // 2
        while world.left > half:  # noqa: ASYNC110 - it goes down in many places
            await asyncio.sleep(0.01)
        servers[0].kill()

    killing = asyncio.create_task(kill())
    yield
    await killing


@contextlib.asynccontextmanager
async def connections_dropped(world: World, servers: list[Server], own: postgres.Process) -> AsyncIterator[None]:
    async def drop() -> None:
        async with postgres.connected(own.url.format("postgres")) as connection:
            while True:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'userfold'"
                )
                await asyncio.sleep(0.5)

    dropping = asyncio.create_task(drop())
    yield
    dropping.cancel()
    await asyncio.gather(dropping, return_exceptions=True)


def restarted(number: signal.Signals) -> Trouble:
    """The database's server is ended and begins again, a second later, time after time."""

    @contextlib.asynccontextmanager
    async def trouble(world: World, servers: list[Server], own: postgres.Process) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def restart() -> None:
            while not over.is_set():
                await asyncio.sleep(2)
                await asyncio.to_thread(own.end, number)
                await asyncio.sleep(1)
                own.begin()
                await asyncio.to_thread(own.wait)

        restarting = asyncio.create_task(restart())
        yield
        over.set()
        await restarting

    return trouble


TROUBLES: dict[str, tuple[Trouble, int]] = {
    "none": (none, 20_000),
    "one process is killed": (one_killed, 5_000),
    "connections are dropped": (connections_dropped, 5_000),
    "the server is restarted": (restarted(signal.SIGINT), 5_000),
    "the server crashes": (restarted(signal.SIGQUIT), 5_000),
}


@pytest.fixture(scope="module")
def own() -> Iterator[postgres.Process]:
    """A server of these tests' own, which keeps what it has answered."""
    started = postgres.start_durable(listen_addresses=TCP_HOST)
    yield started
    started.end()


@pytest.mark.parametrize("name", TROUBLES)
def test_no_answered_command_of_many_clients_of_many_processes_is_lost(
    tmp_path: Path, own: postgres.Process, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble, commands = TROUBLES[name]
    database = f"test_{list(TROUBLES).index(name)}"
    postgres.Server(own.url).create(database)
    url = own.url.format(database)
    world = World(commands)

    async def scenario(servers: list[Server]) -> None:
        await make_users(world, servers[0])
        async with trouble(world, servers, own):
            await asyncio.gather(*(client(world, servers[n % PROCESSES], n) for n in range(CLIENTS)))

    with (
        processes(tmp_path, [url] * PROCESSES) as servers,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(scenario(servers))
        runner.run(check(world, url))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {dict(sorted(world.statuses.items()))}\n")
    assert sum(world.increments.values()) > commands // 20
    if name == "none":
        assert not any(" 503" in status or "gone" in status or "unknown" in status for status in world.statuses)


@contextlib.asynccontextmanager
async def behind_proxies(
    folder: Path, url: str, more: Sequence[str] = (), count: int = PROCESSES
) -> AsyncIterator[Any]:
    """(servers, proxies): each of `count` servers behind a proxy of its own, then one for each way in `more`."""
    async with contextlib.AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(between(url)) for _ in range(count)]
        starting = processes(folder, [*(proxy.url for proxy in proxies), *more])
        servers = await asyncio.to_thread(starting.__enter__)
        stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        yield servers, proxies


def test_what_becomes_of_commits_that_are_lost_at_random_is_what_was_answered(
    tmp_path: Path, own: postgres.Process, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before they arrive, or when they are done; at once, or after the process has asked what became of them."""
    postgres.Server(own.url).create("test_commits")
    url = own.url.format("test_commits")
    world, chance = World(5_000), random.Random(1)
    lost = 0

    async def scenario() -> None:
        nonlocal lost
        async with behind_proxies(tmp_path, url) as (servers, proxies):
            await make_users(world, servers[0])
            fates = [chance.choices(get_args(Fate), weights=(60, 3, 3, 2, 1), k=10_000) for _ in proxies]
            for proxy, coming in zip(proxies, fates, strict=True):
                proxy.fates.extend(coming)
            await asyncio.gather(*(client(world, servers[n % PROCESSES], n) for n in range(CLIENTS)))
            for proxy, coming in zip(proxies, fates, strict=True):
                met = coming[: len(coming) - len(proxy.fates)]
                lost += len(met) - met.count("pass")
                proxy.fates.clear()
        await check(world, url)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    with capsys.disabled():
        sys.stdout.write(f"\n{lost} commits lost: {dict(sorted(world.statuses.items()))}\n")
    assert lost > 10
    assert not any("gone" in status for status in world.statuses)


# Silence: nothing arrives and nothing breaks off, so nobody is told. Three processes, each at another moment: with
# locks held and a COMMIT on its way; with a COMMIT that was done, whose answer is on its way; anywhere.
SILENCES: tuple[Fate | Silence, ...] = ("silent", "silent after", "pass")
SILENCE_S = 10.0


async def increment_every_user(world: World, server: Server) -> None:
    """One after the other: whoever's lock is held, it is waited for."""
    async with connected(server, KEY) as connection:
        for user_id in world.users:
            body = [{"op": "increment", "path": "/traits/n", "by": 1}]
            status, answer = await connection.ask("PATCH", f"/v1/users/{user_id}", body, OPERATIONS)
            assert status == 200, answer
            world.increments[user_id] += 1
            world.versions[user_id].append(answer["version"])


async def hear_that_nothing_can_be_read(world: World, server: Server) -> None:
    """Before the silence is over: who balances load by /readyz is to know."""
    async with connected(server, KEY) as connection:
        for path in ("/readyz", f"/v1/users/{world.users[0]}"):
            status, answer = await connection.ask("GET", path)
            assert (status, answer["code"]) == (503, "store_unavailable")
        assert (await connection.ask("GET", "/healthz"))[0] == 200


async def until_it_writes(world: World, server: Server) -> None:
    """Return when it has stored something and reads, as everybody's requests find it."""
    async with asyncio.timeout(BOUND_S), connected(server, KEY) as connection:
        path = f"/v1/users/{world.users[0]}"
        while (await connection.ask("PATCH", path, {"traits": {"back": server.port}}))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        while (await connection.ask("GET", "/readyz"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def test_the_silence_of_a_network_loses_nothing_and_is_in_the_way_of_no_other_process(
    tmp_path: Path, own: postgres.Process, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.Server(own.url).create("test_silence")
    url = own.url.format("test_silence")
    world, others = World(1_000_000), World(1_000_000)

    async def scenario() -> None:
        async with behind_proxies(tmp_path, url, [url], len(SILENCES)) as ((*silent, other), proxies):
            await make_users(world, other)
            others.users = world.users
            clients = [asyncio.create_task(client(world, silent[n % len(silent)], n)) for n in range(24)]
            clients += [asyncio.create_task(client(others, other, 100 + n)) for n in range(8)]
            while sum(world.increments.values()) < 100:  # noqa: ASYNC110 - it goes up in many places
                await asyncio.sleep(0.01)
            for proxy, fate in zip(proxies, SILENCES, strict=True):
                proxy.next_commit.clear()
                proxy.fates.append(fate)
                await proxy.next_commit.wait()
                proxy.fall_silent()
            # However long all this takes, it is done while they are silent: that is the assertion.
            reading = (hear_that_nothing_can_be_read(world, server) for server in silent)
            await asyncio.gather(asyncio.sleep(SILENCE_S), increment_every_user(others, other), *reading)
            for proxy in proxies:
                proxy.go_on()
            await asyncio.gather(*(until_it_writes(world, server) for server in silent))
            world.left = others.left = 0
            await asyncio.gather(*clients)
        await check(together(world, others), url)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    with capsys.disabled():
        for one in (world, others):
            sys.stdout.write(f"\nsilence: {dict(sorted(one.statuses.items()))}\n")
    assert not any(" 503" in status or "gone" in status or "unknown" in status for status in others.statuses)
    assert not any("gone" in status or "unknown" in status for status in world.statuses)


STATE = "SELECT wait_event FROM pg_stat_activity WHERE pid = $1"


def test_who_falls_silent_in_the_middle_of_a_long_answer_lets_go_of_its_locks_too(own: postgres.Process) -> None:
    """The server is not idle then: it waits to hand over what nobody takes."""
    postgres.Server(own.url).create("test_long_answer")
    url = own.url.format("test_long_answer").partition("?")[0].replace("@", f"@{TCP_HOST}") + "?sslmode=disable"

    async def scenario() -> None:
        store = PostgresStore(url)
        await store.migrate()
        await samples.put(store, samples.user(), samples.change())
        silent = await connect(url)
        await silent.execute("BEGIN")
        await silent.fetch(tables.LOCK_USERS, samples.PROJECT, ["u1"])
        long = await silent.prepare("SELECT repeat('x', 1000000) FROM generate_series(1, 64)")
        silent._transport.pause_reading()  # type: ignore[attr-defined]
        answer = asyncio.create_task(long.fetch())
        async with asyncio.timeout(BOUND_S), postgres.connected(url) as connection:
            while await connection.fetchval(STATE, silent.get_server_pid()) != "ClientWrite":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        try:
            await samples.change_user(store, samples.user(), samples.next_version(samples.user()))
        finally:
            silent.terminate()
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            await store.close()

    asyncio.run(scenario())
