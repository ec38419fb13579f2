"""Bodies of requests as they arrive: whole, or line by line while the reply to them is already being sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from userfold.core.errors import DomainError
from userfold.engine import Overloaded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 1 << 20
LINES_BYTES_MAX = 16 << 20  # of a body that is taken line by line
READ_AHEAD_BYTES_MAX = 64 << 20  # of all those together

_BLANK = re.compile(rb"\s*")


class BodyTooLarge(DomainError):
    """The body is larger than {size_max} bytes."""

    code = "body_too_large"


class ClientGone(Exception):
    """The client closed the connection before its request was complete, or before its reply was."""


class ClientStalled(ClientGone):
    """The client took nothing of its reply for too long."""


class Line(msgspec.Struct, frozen=True):
    """One line of a body that is not blank. `number` counts from 1, and counts blank lines too."""

    number: int
    text: bytes
    too_long: bool = False  # then its text was passed over


class ReadAhead:
    """How many bytes more may lie in memory that clients have sent and no handler has taken."""

    def __init__(self, bytes_max: int = READ_AHEAD_BYTES_MAX) -> None:
        self.bytes_left = bytes_max


class Incoming:
    """The body of one request, and whether its client is still there. Nobody else may call `receive`.

    From `listen` on, what comes is taken in whatever the handler waits for. A client may send everything before it
    reads anything; if the server then waited to be read before it reads on, both would wait for ever.
    """

    # Defaults of the class, because every request has an `Incoming` and only few listen.
    gone = False
    _complete = False
    _refusal: DomainError | Overloaded | None = None
    _size = 0
    _number = 0
    _searched = 0
    _passing_over = False
    _listener: asyncio.Task[None] | None = None

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], read_ahead: ReadAhead) -> None:
        self._receive = receive
        self._headers = headers
        self._read_ahead = read_ahead
        self._arrived = bytearray()

    def require_size(self, size_max: int) -> None:
        """Raises `BodyTooLarge` if the length that the client declares is."""
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > size_max:
            raise BodyTooLarge(size_max=size_max)

    async def whole(self, size_max: int = BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises `ClientGone`, and `BodyTooLarge`: unread, if its length is declared."""
        self.require_size(size_max)
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > size_max:
                raise BodyTooLarge(size_max=size_max)
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, to its end. Raises `ClientGone`."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            yield message.get("body", b"")
            more = message.get("more_body", False)

    def listen(self, on_news: Callable[[], None] | None = None) -> None:
        """Take in what comes from now on, and call `on_news` for it. A second call changes nothing."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(on_news))

    async def _listen(self, on_news: Callable[[], None] | None) -> None:
        while not self.gone:
            self._take_in(await self._receive())
            if on_news is not None:
                on_news()

    def _take_in(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.gone = True
            return
        chunk = message.get("body", b"")
        self._size += len(chunk)
        if self._refusal is None and self._size > LINES_BYTES_MAX:
            self._refusal = BodyTooLarge(size_max=LINES_BYTES_MAX)
        if self._refusal is None and len(chunk) > self._read_ahead.bytes_left:
            self._refusal = Overloaded()
        if self._refusal is None:
            self._arrived += chunk
            self._read_ahead.bytes_left -= len(chunk)
            self._complete = not message.get("more_body", False)

    @property
    def ended(self) -> bool:
        """Whether all lines have been taken."""
        return self._complete and not self._arrived and not self._passing_over

    def take_line(self) -> Line | None:
        """The next line that has arrived. None: there is none now, or, if it has `ended`, ever.

        A last line needs no line feed, but only the end of the body ends it: of a body that broke off it is not taken.

        Raises, after the lines before it, `BodyTooLarge` or `Overloaded` for what follows; `ClientGone` at once.
        """
        if self.gone:
            raise ClientGone
        if not self._passing_over:
            self._skip_blank_lines()
        end = self._arrived.find(b"\n", self._searched)
        if end >= 0:
            return self._line(end, end + 1)
        self._searched = len(self._arrived)
        if self._complete and not self.ended:
            return self._line(self._searched, self._searched)
        if self._refusal is not None:
            raise self._refusal
        if self._searched > LINE_BYTES_MAX:
            self._passing_over = True
        if self._passing_over:
            self._drop(self._searched)
        return None

    def _skip_blank_lines(self) -> None:
        match = _BLANK.match(self._arrived)
        end = 0 if match is None else match.end()
        del match  # it holds on to the bytes, which could not be dropped
        if end:
            self._number += self._arrived.count(b"\n", 0, end)
            self._drop(end)

    def _line(self, end: int, dropped: int) -> Line:
        self._number += 1
        too_long = self._passing_over or end > LINE_BYTES_MAX
        line = Line(self._number, b"" if too_long else bytes(self._arrived[:end]), too_long)
        self._passing_over = False
        self._drop(dropped)
        return line

    def _drop(self, size: int) -> None:
        del self._arrived[:size]
        self._read_ahead.bytes_left += size
        self._searched = 0

    def close(self) -> None:
        """Stop listening, and give up what was not taken."""
        if self._listener is not None:
            self._listener.cancel()
            self._drop(len(self._arrived))
