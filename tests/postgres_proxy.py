"""Stands between a store and its PostgreSQL server, and does to a COMMIT what networks and crashes do.

It can also fall silent: what either side says is kept, and handed on when it goes on; every connection stays open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import parse_qs, urlsplit

COMMIT = b"Q\0\0\0\x0bCOMMIT\0"  # as a simple query

# What becomes of a COMMIT: it never arrives; it is done, and the answer is lost; the client is cut off and it arrives
# later; the client is cut off and it never arrives, while the server still believes in the connection.
Fate = Literal["pass", "undone", "done", "late", "never"]
# The proxy falls silent before it arrives, or before the answer to it does.
Silence = Literal["silent", "silent after"]
LATE_S = 0.4


class Proxy:
    """One at `url`. `fates` are those of the next commits; after them all pass."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._database = parts.path
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.fates: deque[Fate | Silence] = deque()
        self.next_commit = asyncio.Event()  # one came
        self._speaking = asyncio.Event()
        self._speaking.set()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://postgres@127.0.0.1:{port}{self._database}?sslmode=disable"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def refuse(self) -> None:
        """Let nobody through any more who is not yet."""
        assert self._server is not None
        self._server.close()

    async def close(self) -> None:
        """Refuse new connections and cut all that there are."""
        self.refuse()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fall_silent(self) -> None:
        """Hand on nothing more, in neither direction, on no connection."""
        self._speaking.clear()

    def go_on(self) -> None:
        """Hand on what was kept, and all that comes."""
        self._speaking.set()

    @property
    def is_silent(self) -> bool:
        return not self._speaking.is_set()

    def cut(self) -> None:
        """End every connection, on both sides."""
        for end in self._ends:
            end.close()
        self._ends.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up_reader, up_writer = await asyncio.open_unix_connection(self._socket)
        self._ends += [writer, up_writer]
        answers = asyncio.create_task(self._pass_on(up_reader, writer))
        try:
            await self._questions(reader, writer, up_writer, answers)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answers.cancel()
            up_writer.close()
            writer.close()

    async def _questions(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_writer: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while chunk := await reader.read(1 << 16):
            fate = self._fate() if chunk.endswith(COMMIT) else "pass"
            if fate == "done":
                answers.cancel()
                up_writer.write(chunk)
                await asyncio.sleep(LATE_S / 4)  # by then it is done, and the answer lies there unread
            if fate in ("late", "never"):
                answers.cancel()
                writer.close()
                await asyncio.sleep(LATE_S if fate == "late" else 3600)
                up_writer.write(chunk)
                await asyncio.sleep(LATE_S / 4)
            if fate in ("undone", "done", "late", "never"):
                return
            if fate == "silent after":
                up_writer.write(chunk)
                chunk = b""
            if fate.startswith("silent"):
                self.fall_silent()
            await self._speaking.wait()
            up_writer.write(chunk)
            await up_writer.drain()

    def _fate(self) -> Fate | Silence:
        self.next_commit.set()
        return self.fates.popleft() if self.fates else "pass"

    async def _pass_on(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while chunk := await up_reader.read(1 << 16):
                await self._speaking.wait()
                writer.write(chunk)
                await writer.drain()
            writer.close()


@contextlib.asynccontextmanager
async def between(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy to the server at `upstream`, for the length of a block."""
    proxy = Proxy(upstream)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
