"""Servers for tests: a real `userfold serve` process, and the application in this process over any store.

A process is told to stop by SIGTERM and must end with status 0; that is checked wherever one is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec

from userfold.app import App, build_app
from userfold.core.commands import CreateProject
from userfold.core.ids import make_id
from userfold.core.queries import UserQuery
from userfold.core.records import Change, EffectiveSettings, Key, Project, Record, User
from userfold.encryption import encryption_in_memory
from userfold.engine import random_bits
from userfold.first_start import OPERATOR
from userfold.images import images_in_memory
from userfold.storage.port import Counters, Fold, Read, Records, Store, T, Write
from userfold.tokens import api_key, new_publishable_key, new_secret_key

USERFOLD = (sys.executable, "-m", "userfold")
READY = "Userfold is ready at "
PEER = "127.0.0.1"  # where a request in this process comes from, unless said otherwise
BOUND_S = 60.0  # for anything that is waited for: far beyond what it takes, even on a busy machine


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process, with these settings of Userfold and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("USERFOLD_")}
    return inherited | settings


def userfold(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command that was run to its end."""
    return subprocess.run(
        [*USERFOLD, *map(str, arguments)],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Return once `true()` is. Fails after `BOUND_S`."""
    deadline = time.monotonic() + BOUND_S
    while not true():
        assert time.monotonic() < deadline, f"it did not happen in {BOUND_S:g} s: {what}"
        select.select([], [], [], 0.01)


def read_keys(data: Path) -> dict[str, str]:
    """What the first start left in `keys.env`."""
    lines = (data / "keys.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@dataclass
class Server:
    """A `userfold serve` process that has said that it is ready."""

    process: subprocess.Popen[bytes]
    data: Path
    log_path: Path
    url: str = ""
    output: str = ""  # standard output so far
    ended: bool = field(default=False, init=False)

    @property
    def secret_key(self) -> str:
        return read_keys(self.data)["USERFOLD_SECRET_KEY"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        """Standard error so far."""
        return self.log_path.read_text()

    def client(self, key: str | None = None) -> httpx.Client:
        """Asks this server with its first secret key, or with `key`."""
        headers = {"authorization": f"Bearer {key or self.secret_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=BOUND_S, trust_env=False)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once the process has ended and said all it had to say."""
        assert self.process.stdout is not None
        status = self.process.wait(BOUND_S)
        self.output += self.process.stdout.read().decode()
        self.process.stdout.close()
        self.ended = True
        return status

    def stop(self) -> None:
        """Tell it to stop; it must end well."""
        self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"the server ended with status {status}:\n{self.log()}"

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.wait()


def start(data: Path, *arguments: str, program: Sequence[str] = USERFOLD, **settings: str) -> Server:
    """A server over the folder `data`, at a free port unless the arguments name one."""
    data.parent.mkdir(parents=True, exist_ok=True)
    log_path = data.parent / f"{data.name}.log"
    port = () if "--port" in arguments else ("--port", "0")
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [*program, "serve", "--data", str(data), *port, *arguments],
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    server = Server(process, data, log_path)
    try:
        _wait_until_ready(server)
    except BaseException:
        server.kill()
        raise
    return server


def _wait_until_ready(server: Server) -> None:
    assert server.process.stdout is not None
    descriptor = server.process.stdout.fileno()
    deadline = time.monotonic() + BOUND_S
    while READY not in server.output or not server.output.endswith("\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"the server was not ready in {BOUND_S:g} s:\n{server.log()}"
        read = os.read(descriptor, 4096)
        assert read, f"the server ended before it was ready:\n{server.output}{server.log()}"
        server.output += read.decode()
    server.url = server.output.rpartition(READY)[2].strip()


@contextlib.contextmanager
def serving(data: Path, *arguments: str, program: Sequence[str] = USERFOLD, **settings: str) -> Iterator[Server]:
    """A server for the length of a block, which may have ended it already."""
    server = start(data, *arguments, program=program, **settings)
    try:
        yield server
    except BaseException:
        if not server.ended:
            server.kill()
        raise
    if not server.ended:
        server.stop()


class Gone(Exception):
    """The server closed the connection before its answer was complete."""


class Connection:
    """A keep-alive connection for many requests one after the other, as fast as Python can send them."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, headers: Mapping[str, str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        sent = {"Host": "userfold", "Authorization": f"Bearer {key}", **headers}
        self._head = "HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())

    async def ask(
        self, method: str, path: str, document: Any = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and JSON of the answer. Raises `Gone`."""
        body = b"" if document is None else msgspec.json.encode(document)
        head = f"{method} {path} {self._head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            self._writer.write(head.encode() + body)
            await self._writer.drain()
            headers = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(headers.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
            content = await self._reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise Gone from error
        return int(headers[9:12]), msgspec.json.decode(content) if content else None


@contextlib.asynccontextmanager
async def connected(
    server: Server, key: str, headers: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Connection]:
    """A connection to a real server. Raises `Gone`."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionError as error:
        raise Gone from error
    try:
        yield Connection(reader, writer, key, headers)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@dataclass(frozen=True)
class Keys:
    """A project and the keys by which it is called."""

    project_id: str
    secret: str
    publishable: str
    secret_id: str


class Watched:
    """A store that remembers what it was asked to write."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.writes: list[Write] = []

    async def run(self, make_fold: Callable[[], Fold[T]]) -> T:
        return await self.inner.run(lambda: self._watched(make_fold()))

    def _watched(self, fold: Fold[T]) -> Generator[Read | Write, Records | None, T]:
        answer = None
        try:
            while True:
                try:
                    wish = fold.send(answer)
                except StopIteration as stop:
                    outcome: T = stop.value
                    return outcome
                if isinstance(wish, Write):
                    self.writes.append(wish)
                answer = yield wish
        finally:
            fold.close()

    async def get(self, keys: Sequence[Key]) -> Records:
        return await self.inner.get(keys)

    async def list(self, kind: str) -> Sequence[Record]:
        return await self.inner.list(kind)

    async def users(self, query: UserQuery) -> Sequence[User]:
        return await self.inner.users(query)

    async def count_users(self, query: UserQuery) -> int:
        return await self.inner.count_users(query)

    async def of_user(
        self, kind: str, project_id: str, user_id: str, *, after: str | None, descending: bool, limit: int
    ) -> Sequence[Record]:
        return await self.inner.of_user(kind, project_id, user_id, after=after, descending=descending, limit=limit)

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        return await self.inner.expired(kind, before=before, limit=limit)

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        return await self.inner.history(project_id, user_id, after=after, up_to=up_to, limit=limit)

    async def lease(self, what: str, *, ms: int) -> bool:
        return await self.inner.lease(what, ms=ms)

    @property
    def counters(self) -> Counters:
        return self.inner.counters

    async def migrate(self) -> None:
        await self.inner.migrate()

    async def close(self) -> None:
        await self.inner.close()


class InProcess:
    """The application over a store in this process. `ask` sends one request, with the key of the project `keys`."""

    def __init__(self, runner: asyncio.Runner, app: App, store: Watched, keys: Keys) -> None:
        self.runner = runner
        self.app = app
        self.store = store
        self.keys = keys

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        address: str = PEER,
    ) -> httpx.Response:
        """The reply. A `document` is sent as JSON, `content` as it is, else there is no body. `key=""`: without one."""
        sent = {"content-type": content_type} if document is not None or content is not None else {}
        key = self.keys.secret if key is None else key
        sent |= {"authorization": f"Bearer {key}"} if key else {}
        body = json.dumps(document).encode() if content is None and document is not None else content
        sent |= headers or {}
        request = httpx.Request(method, f"http://userfold.test{path}", headers=sent, content=body)
        return self.send(request, address=address)

    def send(self, request: httpx.Request, *, address: str = PEER) -> httpx.Response:
        """The reply to a request that was made elsewhere; nothing is added to it. `address`: the connection's."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.send(request)

        return self.runner.run(send())

    def user(self, **document: Any) -> dict[str, Any]:
        """A user that was just made, as the native API shows it (without its changes)."""
        reply = self.ask("POST", "/v1/users", document)
        assert reply.status_code == 201, reply.text
        return self.read(reply.json()["id"])

    def read(self, user_id: str) -> dict[str, Any]:
        """The user as it is now."""
        reply = self.ask("GET", f"/v1/users/{user_id}")
        assert reply.status_code == 200, reply.text
        user: dict[str, Any] = reply.json()
        return user

    def history(self, user_id: str) -> list[dict[str, Any]]:
        """All changes of a user, at most 500."""
        reply = self.ask("GET", f"/v1/users/{user_id}/history?limit=500")
        assert reply.status_code == 200, reply.text
        changes: list[dict[str, Any]] = reply.json()["data"]
        return changes

    @property
    def writes(self) -> int:
        """How often anything was written."""
        return len(self.store.writes)

    def wait_for(self, awaitable: Awaitable[T]) -> T:
        """What an awaitable comes to, on the loop of the application."""

        async def wait() -> T:
            return await awaitable

        return self.runner.run(wait())


@contextlib.contextmanager
def in_process(runner: asyncio.Runner, store: Store) -> Iterator[InProcess]:
    """The application over `store`, with one project. The store is not closed."""
    watched = Watched(store)
    app = runner.run(_build(watched))
    yield InProcess(runner, app, watched, runner.run(make_project(app)))
    runner.run(app.service.engine.close())
    app.service.large_bodies.close()
    app.service.passwords.close()
    app.service.images.close()


async def _build(store: Store) -> App:
    """The application with what goes with the process."""
    images, encryption = images_in_memory(), encryption_in_memory()
    return await build_app(store, images=images, encryption=encryption, public_url="http://userfold.test")


async def make_project(app: App) -> Keys:
    """A new project with a secret and a publishable key."""
    now = app.service.engine.now()
    project_id = make_id("prj_", now, random_bits())
    secret, publishable = new_secret_key(), new_publishable_key()
    keys = (api_key(project_id, secret, "secret", now), api_key(project_id, publishable, "publishable", now))
    project = Project(id=project_id, name="test", product_id=make_id("prd_", now, random_bits()), created_at=now)
    command = CreateProject(project_id=project_id, author=OPERATOR, project=project, keys=keys)
    await app.service.engine.run(command, EffectiveSettings())
    app.service.directory.forget()
    return Keys(project_id, secret, publishable, keys[0].id)
