"""`POST /batch`: many writes of users in one request, each a command of its own with a result of its own.

Items go into the engine's queue in the order in which they come, and none waits for the one before it: so what is said
about one user is applied in that order, and the items of a batch share commits. Results go out in the same order, each
as soon as it and those before it are there, while later items still arrive.

No item may overtake another. Where the server cannot take an item (it has too much to do, or stops), the batch ends
there: the last result says so, and nothing after it was tried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from userfold.api.bodies import LINE_BYTES_MAX, BodyTooLarge, Line
from userfold.api.native import errors, wire
from userfold.api.native.handlers import command_of, merge_patch, new_user
from userfold.api.native.shapes import (
    BATCH_ITEMS_MAX,
    BatchItem,
    BatchResult,
    CreateItem,
    DeleteItem,
    UpdateItem,
    UpsertItem,
)
from userfold.api.wire import (
    JSON,
    BodyNotObject,
    HeaderInvalid,
    ParameterInvalid,
    Pieces,
    Refusal,
    Reply,
    Request,
    Service,
)
from userfold.core import jsontext
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateUser, DeleteUser, IfMatch, Once, Operate, UpdateUser, UpsertUser
from userfold.core.errors import DomainError, FieldInvalid
from userfold.core.operations import OPERATIONS
from userfold.engine import Busy, Overloaded, Stopping
from userfold.storage.port import StoreError

RETURN = ("representation", "minimal")  # the words of `Prefer: return` (RFC 7240, 4.2)
WAITING_MAX = 64  # items that are in the queue, or whose results the client has not taken
PIECE_BYTES_MAX = 64 << 10  # of results that are sent together


class BatchTooLong(BodyTooLarge):
    """A batch may have up to {items_max} items."""

    code = "batch_too_long"
    hint = "Send what follows as another batch."


class ItemTooLarge(BodyTooLarge):
    """The item is larger than {size_max} bytes."""

    code = "item_too_large"


class ItemNotObject(BodyNotObject):
    """An item must be a JSON object."""

    code = "item_not_object"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for all items of a batch."""

    dry_run: bool
    minimal: bool
    idempotency_key: str | None


async def run_batch(service: Service, request: Request) -> Reply:
    """200 with a result for each item: a line for each line of NDJSON, a list for a list."""
    options = _options(request)
    media_type = request.require_content_type(("application/json", *wire.NDJSON))
    if media_type == "application/json":
        items = _Listed((await request.with_body()).json_list())
        return Reply(200, headers=(JSON,), pieces=_as_list(_Batch(service, request, options, items).results()))
    batch = _Batch(service, request, options, request.incoming)
    request.incoming.listen(batch.notice)
    return Reply(200, headers=((b"content-type", media_type.encode()),), pieces=_as_lines(batch.results()))


def _options(request: Request) -> Options:
    query = request.query({"dry_run", "return"})
    shown = query.get("return", RETURN[0])
    if shown not in RETURN:
        raise ParameterInvalid(name="return", reason="representation or minimal is needed")
    for name in ("If-Match", "If-None-Match"):
        if request.header(name.lower().encode()) is not None:
            raise HeaderInvalid(name=name, reason="it is not for a batch; an item may have if_match")
    key = wire.idempotency_key(request)
    dry_run = wire.flag(query, "dry_run")
    return Options(dry_run=dry_run, minimal=shown == "minimal", idempotency_key=None if dry_run else key)


class Items(Protocol):
    """Where items come from: a list that is there, or lines as they arrive."""

    @property
    def ended(self) -> bool:
        """Whether all have been taken."""

    def take_line(self) -> Line | None:
        """The next one. None: there is none now, or none any more."""


class _Listed:
    """The items of a list. They have no line numbers of their own."""

    def __init__(self, texts: list[bytes]) -> None:
        if len(texts) > BATCH_ITEMS_MAX:
            raise BatchTooLong(items_max=BATCH_ITEMS_MAX)
        self._texts = deque(texts)

    @property
    def ended(self) -> bool:
        return not self._texts

    def take_line(self) -> Line | None:
        return Line(0, self._texts.popleft()) if self._texts else None


class _Asked(msgspec.Struct, frozen=True):
    """An item that was taken: its answer, which may still be to come, or why it has none."""

    index: int
    line: int
    status: int  # if it succeeds and makes no user
    answer: asyncio.Future[Applied] | Refusal
    batch_ended: bool = False

    @property
    def is_answered(self) -> bool:
        return not isinstance(self.answer, asyncio.Future) or self.answer.done()

    def outcome(self) -> Applied | Refusal:
        """What it came to. It must be answered."""
        if not isinstance(self.answer, asyncio.Future):
            return self.answer
        error = self.answer.exception()
        if error is None:
            return self.answer.result()
        assert isinstance(error, DomainError | StoreError | Busy), f"the engine does not raise {error!r}"
        return error


class _Batch:
    """One batch on its way through the engine."""

    def __init__(self, service: Service, request: Request, options: Options, items: Items) -> None:
        self._service = service
        self._request = request
        self._options = options
        self._items = items
        self._asked: deque[_Asked] = deque()  # those whose results have not been sent
        self._put_back: Line | None = None
        self._count = 0
        self._over = False
        self._news = asyncio.Event()

    def notice(self, _: object = None) -> None:
        """There is something to do: items have come, or an answer."""
        self._news.set()

    async def results(self) -> AsyncGenerator[list[bytes], None]:
        """The results in the order of the items, as many at a time as are there."""
        try:
            while not self._over or self._asked:
                self._news.clear()
                self._submit_what_came()
                results = self._take_results()
                if results:
                    yield results
                elif not self._over or self._asked:
                    await self._wait()
        finally:
            # The client has gone. What was submitted is done all the same, but nobody waits for the answers.
            for asked in self._asked:
                if isinstance(asked.answer, asyncio.Future):
                    asked.answer.cancel()

    async def _wait(self) -> None:
        try:
            await self._news.wait()
        except asyncio.CancelledError:
            if self._over:
                raise
            # The server stops, and has waited long enough for the rest. The engine still answers what it has.
            self._end(Stopping())

    def _submit_what_came(self) -> None:
        while not self._over and len(self._asked) < WAITING_MAX:
            line, self._put_back = self._put_back, None
            try:
                line = line or self._items.take_line()
                if line is None:
                    self._over = self._items.ended
                    return
                self._add(line)
            except Overloaded as refusal:
                if line is None or not self._asked:
                    return self._end(refusal)
                # There will be room when those before it are answered. Until then nothing may overtake it.
                self._put_back = line
                return
            except (Stopping, BodyTooLarge) as refusal:
                return self._end(refusal)

    def _end(self, refusal: Refusal) -> None:
        self._over = True
        self._asked.append(_Asked(self._count, 0, 0, refusal, batch_ended=True))

    def _add(self, line: Line) -> None:
        if self._count == BATCH_ITEMS_MAX:
            raise BatchTooLong(items_max=BATCH_ITEMS_MAX)
        status = 0
        answer: asyncio.Future[Applied] | Refusal
        try:
            item = _item(line)
            status, kind, fields = _KINDS[type(item)]
            command = command_of(self._request, kind, once=self._once(line.text), **fields(item))
            size, dry_run = len(line.text), self._options.dry_run
            answer = self._service.submit(self._request, command, size=size, dry_run=dry_run)
            answer.add_done_callback(self.notice)
        except DomainError as refusal:
            answer = refusal
        self._asked.append(_Asked(self._count, line.number, status, answer))
        self._count += 1

    def _once(self, text: bytes) -> Once | None:
        key = self._options.idempotency_key
        return None if key is None else wire.once_of(self._request, f"{key}#{self._count}", text)

    def _take_results(self) -> list[bytes]:
        results: list[bytes] = []
        bytes_left = PIECE_BYTES_MAX
        while self._asked and bytes_left > 0 and self._asked[0].is_answered:
            results.append(jsontext.encode(self._result(self._asked.popleft())))
            bytes_left -= len(results[-1])
        return results

    def _result(self, asked: _Asked) -> BatchResult:
        outcome = asked.outcome()
        if not isinstance(outcome, Applied):
            error = errors.problem(outcome, self._request.id)
            return BatchResult(
                index=asked.index,
                line=asked.line or UNSET,
                status=error.status,
                error=error,
                batch_ended=asked.batch_ended or UNSET,
            )
        status = 201 if outcome.created else asked.status
        user = outcome.user
        if user is None or status == 204:
            return BatchResult(index=asked.index, status=status)
        if self._options.minimal:
            return BatchResult(index=asked.index, status=status, id=user.id, version=user.version)
        return BatchResult(
            index=asked.index,
            status=status,
            user=user,
            changes=tuple(outcome.change.operations) if outcome.change else (),
            ignored=outcome.ignored or UNSET,
        )


_DATA = frozenset({"user", "operations"})  # the members of an item that are stored as they were sent


def _item(line: Line) -> BatchItem:
    if line.too_long:
        raise ItemTooLarge(size_max=LINE_BYTES_MAX)
    document = jsontext.decode(line.text)
    if not isinstance(document, dict):
        raise ItemNotObject
    item: BatchItem = wire.read_as(wire.with_integers(document, _DATA), BatchItem)
    return item


def _created(item: CreateItem) -> dict[str, Any]:
    return {"edits": (new_user(item.user),)}


def _updated(item: UpdateItem) -> dict[str, Any]:
    if (item.user is UNSET) == (item.operations is UNSET):
        raise FieldInvalid(path="/user", reason="either user or operations is needed")
    edit = Operate(item.operations, tuple(OPERATIONS)) if item.user is UNSET else merge_patch(item.user)
    return {"user_id": item.id, "edits": (edit,), "if_match": _if_match(item)}


def _upserted(item: UpsertItem) -> dict[str, Any]:
    return {"external_id": item.external_id, "edits": (merge_patch(item.user),), "if_match": _if_match(item)}


def _deleted(item: DeleteItem) -> dict[str, Any]:
    return {"user_id": item.id, "if_match": _if_match(item)}


def _if_match(item: UpdateItem | UpsertItem | DeleteItem) -> IfMatch:
    if isinstance(item.if_match, int):
        return (item.if_match,)
    return None if item.if_match is UNSET else item.if_match


# Item → what it is answered with, the command that it is, and what that says.
_KINDS: dict[type[BatchItem], tuple[int, type[Command], Callable[[Any], dict[str, Any]]]] = {
    CreateItem: (201, CreateUser, _created),
    UpdateItem: (200, UpdateUser, _updated),
    UpsertItem: (200, UpsertUser, _upserted),
    DeleteItem: (204, DeleteUser, _deleted),
}


async def _as_lines(results: AsyncGenerator[list[bytes], None]) -> Pieces:
    async with aclosing(results):
        async for some in results:
            yield b"".join(result + b"\n" for result in some)


async def _as_list(results: AsyncGenerator[list[bytes], None]) -> Pieces:
    before = b'{"data":['
    async with aclosing(results):
        async for some in results:
            yield before + b",".join(some)
            before = b","
    yield b"]}" if before == b"," else before + b"]}"
