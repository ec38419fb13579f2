"""Bodies that are taken line by line, and replies that are sent piece by piece.

None of this depends on the store, so the memory store is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import InProcess
from userfold.api import bodies, wire
from userfold.api.bodies import LINE_BYTES_MAX, LINES_BYTES_MAX, BodyTooLarge, ClientGone, Incoming, ReadAhead
from userfold.api.large_bodies import LargeBodies
from userfold.api.native.errors import error_reply
from userfold.core.errors import JsonInvalid, UserNotFound
from userfold.engine import Overloaded
from userfold.storage.memory import MemoryStore

GONE: bodies.Message = {"type": "http.disconnect"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def part(body: bytes) -> bodies.Message:
    return {"type": "http.request", "body": body, "more_body": True}


def last(body: bytes = b"") -> bodies.Message:
    return {"type": "http.request", "body": body, "more_body": False}


# Lines.


async def take(messages: Sequence[bodies.Message], read_ahead: ReadAhead | None = None) -> list[Any]:
    """The lines, taken as they come; at the end True if there will be no more, or what was raised."""
    left = list(messages)
    lines: list[Any] = []
    done = asyncio.Event()

    async def receive() -> bodies.Message:
        return left.pop(0) if left else await asyncio.Future()

    def notice() -> None:
        try:
            while (line := incoming.take_line()) is not None:
                lines.append((line.number, None if line.too_long else line.text.decode()))
            if not left:
                lines.append(incoming.ended)
        except (BodyTooLarge, ClientGone, Overloaded) as error:
            lines.append(type(error))
            left.clear()
        if not left:
            done.set()

    incoming = Incoming(receive, {}, read_ahead or ReadAhead())
    incoming.listen(notice)
    await done.wait()
    incoming.close()
    return lines


def taken(*messages: bodies.Message) -> list[Any]:
    return asyncio.run(take(messages))


def test_lines_are_there_as_soon_as_their_line_feed_is() -> None:
    assert taken(part(b"a")) == [False]
    assert taken(part(b"a\n")) == [(1, "a"), False]
    assert taken(part(b"a\nb"), part(b"c\n"), last()) == [(1, "a"), (2, "bc"), True]


def test_a_last_line_needs_no_line_feed() -> None:
    assert taken(last(b"a\nb")) == [(1, "a"), (2, "b"), True]
    assert taken(last()) == [True]


def test_blank_lines_are_passed_over_and_counted() -> None:
    assert taken(part(b"\n \r\n\t\na\r\n\r\n"), last(b"\nb\n \n")) == [(4, "a\r"), (7, "b"), True]


def test_a_line_that_broke_off_is_not_taken() -> None:
    assert taken(part(b'a\n{"b'), GONE) == [(1, "a"), ClientGone]


def test_a_line_of_the_largest_size_is_taken_and_a_longer_one_is_passed_over() -> None:
    largest = b"x" * LINE_BYTES_MAX
    assert taken(last(largest + b"\nb")) == [(1, largest.decode()), (2, "b"), True]
    assert taken(last(b"a\n" + largest + b"x\nb")) == [(1, "a"), (2, None), (3, "b"), True]
    assert taken(part(largest + b"x"), part(largest), part(b"x\nb\n"), last()) == [(1, None), (2, "b"), True]
    assert taken(part(largest + b"x"), last()) == [(1, None), True]


def test_what_is_passed_over_does_not_stay_in_memory() -> None:
    read_ahead = ReadAhead(LINE_BYTES_MAX + 10)
    piece = part(b"x" * (LINE_BYTES_MAX + 10))
    lines = asyncio.run(take([piece, piece, piece, part(b"\na\n")], read_ahead))
    assert lines == [(1, None), (2, "a"), False]
    assert read_ahead.bytes_left == LINE_BYTES_MAX + 10


def test_a_body_of_lines_has_a_largest_size() -> None:
    line = b"x" * (LINE_BYTES_MAX - 1) + b"\n"
    lines = taken(*[part(line)] * (LINES_BYTES_MAX // LINE_BYTES_MAX), part(b"y"), last())
    assert [number for number, _ in lines[:-1]] == list(range(1, LINES_BYTES_MAX // LINE_BYTES_MAX + 1))
    assert lines[-1] is BodyTooLarge


def test_there_is_a_limit_to_what_all_clients_together_may_have_sent_ahead() -> None:
    read_ahead = ReadAhead(10)
    assert asyncio.run(take([part(b"a\nb\nc\nd\ne\n"), part(b"123456789"), last(b"\n")], read_ahead))[-1] is True
    assert asyncio.run(take([part(b"a\n12345678"), part(b"901")], read_ahead)) == [(1, "a"), Overloaded]
    assert read_ahead.bytes_left == 10


@given(st.text(alphabet="ab \n\r", max_size=30), st.lists(st.integers(1, 5), max_size=20))
def test_how_a_body_is_cut_into_pieces_does_not_matter(text: str, sizes: list[int]) -> None:
    body = text.encode()
    pieces = []
    for size in sizes:
        pieces.append(part(body[:size]))
        body = body[size:]
    wanted = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    got = taken(*pieces, last(body))
    assert [(number, line.strip()) for number, line in got[:-1]] == wanted
    assert got[-1] is True


# Large bodies.


def test_what_of_a_large_body_never_comes_keeps_no_room_from_others(runner: asyncio.Runner) -> None:
    async def scenario() -> bytes:
        large = LargeBodies(waiting_bytes_max=10, arrival_s_max=0)
        broken_off = [part(b"0123456789")]

        async def receive() -> bodies.Message:
            return broken_off.pop() if broken_off else await asyncio.Future()

        async def receive_all() -> bodies.Message:
            return last(b"9876543210")

        with pytest.raises(JsonInvalid, match="had not arrived"):
            await large.read(Incoming(receive, {}, ReadAhead()), bytes, gzipped=False)
        content = await large.read(Incoming(receive_all, {}, ReadAhead()), bytes, gzipped=False)
        large.close()
        return content

    assert runner.run(scenario()) == b"9876543210"


# Pieces.


class Client:
    """What a client of one request is sent. `messages` is what the server receives of it."""

    def __init__(self, *messages: bodies.Message) -> None:
        self.messages = list(messages)
        self.sent: list[bodies.Message] = []
        self.leaves = asyncio.Event()

    async def receive(self) -> bodies.Message:
        if self.messages:
            return self.messages.pop(0)
        await self.leaves.wait()
        return GONE

    async def send(self, message: bodies.Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_whole(self) -> bool:
        """Whether the reply was ended: a server cuts the connection if it was not."""
        return bool(self.sent) and not self.sent[-1].get("more_body", False) and len(self.sent) > 1


async def ask(api: InProcess, client: Client, make: Callable[[], wire.Pieces], method: str = "GET") -> None:
    """One request to a route that answers with the pieces that `make` makes."""

    async def handler(service: wire.Service, request: wire.Request) -> wire.Reply:
        return wire.Reply(200, headers=(wire.JSON,), pieces=make())

    app = wire.Api(
        "streaming",
        prefix="",
        routes=(wire.Route("GET", "/pieces", handler),),
        error_reply=error_reply,
        service=api.app.service,
        callers=None,
    )
    scope = {"method": method, "path": "/pieces", "raw_path": b"/pieces", "query_string": b"", "headers": []}
    await app(scope, client.receive, client.send)


async def counting(closed: list[bool], end: int = 3) -> AsyncGenerator[bytes, None]:
    try:
        for number in range(end):
            yield b"%d," % number
    finally:
        closed.append(True)


def test_a_reply_in_pieces_has_no_length_and_is_sent_piece_by_piece(api: InProcess) -> None:
    client = Client(last())
    api.runner.run(ask(api, client, lambda: counting([])))
    start, *pieces = client.sent
    names = [name for name, _ in start["headers"]]
    assert (start["status"], b"content-length" in names, b"x-request-id" in names) == (200, False, True)
    assert [piece["body"] for piece in pieces] == [b"0,", b"1,", b"2,", b""]
    assert client.is_whole


def test_the_pieces_are_not_made_for_head(api: InProcess) -> None:
    client, closed = Client(last()), list[bool]()
    api.runner.run(ask(api, client, lambda: counting(closed), method="HEAD"))
    assert (client.sent[0]["status"], client.body, client.is_whole, closed) == (200, b"", True, [])


def test_an_empty_piece_does_not_end_a_reply(api: InProcess) -> None:
    async def pieces() -> wire.Pieces:
        for piece in (b"", b"a", b"", b"b"):
            yield piece

    client = Client(last())
    api.runner.run(ask(api, client, pieces))
    assert (client.body, client.is_whole) == (b"ab", True)


@pytest.mark.parametrize(
    ("error", "status"), [(UserNotFound(user_id="x"), 404), (Overloaded(), 503), (ValueError("a defect"), 500)]
)
def test_what_goes_wrong_before_the_first_piece_is_answered_as_ever(
    api: InProcess, error: Exception | None, status: int
) -> None:
    async def pieces() -> wire.Pieces:
        if error is not None:
            raise error
        yield b""

    client = Client(last())
    api.runner.run(ask(api, client, pieces))
    assert client.sent[0]["status"] == status
    assert b"problem" in client.body
    assert client.is_whole


def test_what_goes_wrong_later_cuts_the_reply_and_is_in_the_log(
    api: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async def pieces() -> wire.Pieces:
        yield b"a"
        raise ValueError("a defect")

    client = Client(last())
    api.runner.run(ask(api, client, pieces))
    assert client.body == b"a"
    assert not client.is_whole
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "broke off" in record.getMessage()


def test_the_pieces_end_when_the_client_has_gone(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    client, closed = Client(last()), list[bool]()

    async def until_it_leaves() -> wire.Pieces:
        async for piece in counting(closed, end=1_000_000):
            if piece == b"2,":
                client.leaves.set()
            yield piece
            await asyncio.sleep(0)

    api.runner.run(ask(api, client, until_it_leaves))
    assert len(client.body) < 100
    assert not caplog.records


def test_a_client_that_takes_nothing_is_not_waited_for_for_ever(
    api: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire, "STALL_S", 0)

    class Stalled(Client):
        async def send(self, message: bodies.Message) -> None:
            await super().send(message)
            if message.get("body") == b"1,":
                await asyncio.Future()

    client, closed = Stalled(last()), list[bool]()
    api.runner.run(ask(api, client, lambda: counting(closed)))
    assert (client.body, client.is_whole, closed) == (b"0,1,", False, [True])
    assert "took nothing" in caplog.text


def test_a_reply_that_a_stop_cuts_is_not_taken_for_whole(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    async def endless() -> wire.Pieces:
        yield b"a"
        await asyncio.Future()

    async def stop() -> Client:
        client = Client(last())
        asking = asyncio.create_task(ask(api, client, endless))
        while not client.body:  # noqa: ASYNC110
            await asyncio.sleep(0)
        asking.cancel()
        await asking
        return client

    client = api.runner.run(stop())
    assert (client.body, client.is_whole) == (b"a", False)
    assert "the server stops" in caplog.text
