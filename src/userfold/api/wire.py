"""What all APIs share: `Request` and `Reply`, the dispatcher made of a route table, the checks before a handler.

The order of checks is the same everywhere, and part of the contract: the path (404), the method (405), the key (401),
what the key may do (403), whether it is built (501), the size of the body (413); then the handler checks the content
type (415) and the JSON (400), and leaves everything else to the core. Nothing awaits between the last byte of a body
and the engine's queue, because vendors' SDKs send updates in parallel and expect them to be applied in the order in
which they arrive.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from userfold.core import jsontext
from userfold.core.applied import Applied
from userfold.core.commands import Command
from userfold.core.errors import CommandBroken, DomainError
from userfold.core.trust import Author
from userfold.directory import Caller, Directory
from userfold.engine import Busy, Engine, Stopping
from userfold.secrets import Passwords
from userfold.storage.port import Store, StoreError

log = logging.getLogger("userfold.api")

BODY_BYTES_MAX = 1 << 20
UNKNOWN_PATHS_LOGGED_MAX = 1_000
RETRY_AFTER_S = b"1"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")


class WireRefusal(DomainError):
    """The request cannot be taken."""


class PathUnknown(WireRefusal):
    """There is nothing at this path."""

    code = "path_unknown"


class MethodNotAllowed(WireRefusal):
    """This path takes {allowed}."""

    code = "method_not_allowed"


class Unauthorized(WireRefusal):
    """A valid secret key is needed: Authorization: Bearer sk_…"""

    code = "unauthorized"


class KeyReadOnly(WireRefusal):
    """This key may only read."""

    code = "key_read_only"


class NotBuilt(WireRefusal):
    """{what} is not built in this version of Userfold."""

    code = "not_built"


class BodyTooLarge(WireRefusal):
    """The body is larger than {size_max} bytes."""

    code = "body_too_large"


class ContentTypeUnsupported(WireRefusal):
    """The body must be {wanted}; the request says {given!r}."""

    code = "content_type_unsupported"


class BodyNotObject(WireRefusal):
    """The body must be a JSON object."""

    code = "body_not_object"


class ParameterUnknown(WireRefusal):
    """There is no query parameter {name!r} here."""

    code = "parameter_unknown"


class ParameterInvalid(WireRefusal):
    """The query parameter {name} is not valid: {reason}."""

    code = "parameter_invalid"


class HeaderInvalid(WireRefusal):
    """The header {name} is not valid: {reason}."""

    code = "header_invalid"


Refusal = DomainError | StoreError | Busy


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its whole body. `params` are the named parts of the path, decoded."""

    method: str
    path: str  # as it was sent
    params: Mapping[str, str]
    query_string: bytes
    headers: Mapping[bytes, bytes]  # names in lower case; of a repeated one the last
    body: bytes
    caller: Caller | None
    id: str

    @property
    def project_id(self) -> str:
        assert self.caller is not None, "the route is open to everybody"
        return self.caller.project.id

    def author(self, source: str) -> Author:
        """Who asks, as the history will say it. A secret key is a backend."""
        assert self.caller is not None, "the route is open to everybody"
        return Author(source=source, actor=self.caller.key.id, trust="backend", request_id=self.id)

    def header(self, name: bytes) -> str | None:
        """The value of a header, or None. `name` in lower case."""
        return header(self.headers, name)

    def query(self, allowed: Iterable[str]) -> dict[str, str]:
        """The query parameters; the last of a repeated one. Raises `ParameterUnknown` for any other."""
        if not self.query_string:
            return {}
        given = dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))
        for name in given.keys() - set(allowed):
            raise ParameterUnknown(name=name[:64])
        return given

    def json_object(self, content_types: Iterable[str] = ("application/json",)) -> dict[str, Any]:
        """The body as a JSON object. Raises a `WireRefusal` or an `InputError`."""
        self.require_content_type(content_types)
        value = jsontext.decode(self.body)
        if not isinstance(value, dict):
            raise BodyNotObject
        return value

    def require_content_type(self, content_types: Iterable[str]) -> str:
        """The media type of the body, which must be one of these."""
        given = self.header(b"content-type") or ""
        media_type = given.partition(";")[0].strip().lower()
        if media_type not in content_types:
            raise ContentTypeUnsupported(wanted=" or ".join(content_types), given=given[:64])
        return media_type


class Reply(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What handlers work with."""

    engine: Engine
    store: Store
    directory: Directory
    public_url: str
    passwords: Passwords = msgspec.field(default_factory=Passwords)

    async def run(self, request: Request, command: Command, *, dry_run: bool = False) -> Applied:
        """What `command` came to, once it is durable. Raises a `Refusal`."""
        assert request.caller is not None, "the route is open to everybody"
        settings = request.caller.project.settings
        return await self.engine.run(command, settings, size=len(request.body), dry_run=dry_run)


Handler = Callable[[Service, Request], Awaitable[Reply]]


class Route(msgspec.Struct, frozen=True):
    """One line of a route table. `{name}` in `path` takes one part of a request's path. No handler: not built.

    `reads`: a key that may only read may call it.
    """

    method: str
    path: str
    handler: Handler | None
    reads: bool = False


class Api:
    """An ASGI app made of a route table, an error table, and a rule for who may call."""

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        routes: Sequence[Route],
        error_reply: Callable[[Refusal, str], Reply],
        service: Service,
        check_request: Callable[[Request], None] | None = None,
        open_to_all: bool = False,
    ) -> None:
        self._name = name
        self._prefix = prefix.encode()
        self._routes = _Node()
        for route in routes:
            self._routes.add(route)
        self._error_reply = error_reply
        self._service = service
        self._check_request = check_request
        self._open_to_all = open_to_all
        self._unknown_paths: set[str] = set()
        # Ids of requests: unlike any other process's, and counted within this one.
        self._start = secrets.token_hex(6)
        self._requests = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        try:
            reply = await self._handle(scope, receive, headers, request_id)
        except (DomainError, StoreError, Busy) as refusal:
            reply = self._error_reply(refusal, request_id)
        except ClientGone:
            return
        except Exception:
            log.exception("%s %r broke (request %s)", scope["method"], scope["path"], request_id)
            reply = self._error_reply(CommandBroken(), request_id)
        await send_reply(send, reply, request_id, head=scope["method"] == "HEAD")

    async def _handle(self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], request_id: str) -> Reply:
        method = scope["method"]
        methods, params = self._find(scope)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise MethodNotAllowed(allowed=", ".join(sorted(methods)))
        caller = None if self._open_to_all else await self._authenticate(headers)
        if caller is not None and caller.key.read_only and not (route.method == "GET" or route.reads):
            raise KeyReadOnly
        if route.handler is None:
            raise NotBuilt(what=f"{route.method} {route.path}")
        request = Request(
            method=method,
            path=scope["raw_path"].decode("latin-1"),
            params=params,
            query_string=scope["query_string"],
            headers=headers,
            caller=caller,
            id=request_id,
            body=await self._body(receive, headers),
        )
        if self._check_request is not None:
            self._check_request(request)
        return await route.handler(self._service, request)

    async def _body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        try:
            return await read_body(receive, headers)
        except asyncio.CancelledError:
            # The server stops and has waited long enough for the rest. Nothing was asked of the engine yet.
            raise Stopping from None

    def _find(self, scope: Scope) -> tuple[dict[str, Route], dict[str, str]]:
        mount, path = scope["raw_path"][: len(self._prefix)], scope["raw_path"][len(self._prefix) :]
        found = self._routes.find(path.split(b"/")[1:]) if mount == self._prefix and path[:1] == b"/" else None
        if found is None:
            self._log_unknown(scope)
            raise PathUnknown
        return found

    def _log_unknown(self, scope: Scope) -> None:
        """Say once what a client asks for that is not there: it shows what a vendor's SDK wants next."""
        path = f"{scope['method']} {scope['path']}"[:200]
        if path not in self._unknown_paths and len(self._unknown_paths) < UNKNOWN_PATHS_LOGGED_MAX:
            self._unknown_paths.add(path)
            log.info("the %s API has nothing at %r", self._name, path)

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        """The id that a proxy or a client gave, if it can stand in a log line as it is, else a new one."""
        given = header(headers, b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"req_{self._start}{next(self._requests):012x}"

    async def _authenticate(self, headers: Mapping[bytes, bytes]) -> Caller:
        scheme, _, token = (header(headers, b"authorization") or "").partition(" ")
        caller = await self._service.directory.caller(token.strip()) if scheme.lower() == "bearer" else None
        # Missing, wrong, revoked and publishable keys are one answer: which it is helps only who has none.
        if caller is None or caller.key.kind != "secret":
            raise Unauthorized
        return caller


class _Node:
    """A part of the paths of a route table."""

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.param: _Node | None = None
        self.methods: dict[str, Route] = {}
        self.names: tuple[str, ...] = ()

    def add(self, route: Route) -> None:
        node, names = self, []
        for part in route.path.split("/")[1:]:
            if part.startswith("{"):
                names.append(part[1:-1])
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.literals.setdefault(part.encode(), _Node())
        assert route.method not in node.methods, f"{route.method} {route.path} stands in the table twice"
        assert node.names in ((), tuple(names)), f"{route.path} gives its parts other names than its neighbours"
        node.methods[route.method] = route
        node.names = tuple(names)

    def find(self, parts: Sequence[bytes]) -> tuple[dict[str, Route], dict[str, str]] | None:
        """The routes of a path by method, and its params. A literal part is preferred to a named one."""
        node, values = self, []
        for part in parts:
            literal = node.literals.get(part)
            if literal is not None:
                node = literal
            elif node.param is not None and part:
                values.append(part)
                node = node.param
            else:
                return None
        if not node.methods:
            return None
        try:
            texts = [unquote_to_bytes(value).decode() if b"%" in value else value.decode() for value in values]
        except UnicodeDecodeError:
            return None
        return node.methods, dict(zip(node.names, texts, strict=True))


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """The whole body, up to `BODY_BYTES_MAX`. Raises `BodyTooLarge`, before reading it if its length is declared."""
    declared = header(headers, b"content-length") or ""
    if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
        raise BodyTooLarge(size_max=BODY_BYTES_MAX)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        chunks.append(_body_of(message))
        size += len(chunks[-1])
        if size > BODY_BYTES_MAX:
            raise BodyTooLarge(size_max=BODY_BYTES_MAX)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _body_of(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    return body


async def send_reply(send: Send, reply: Reply, request_id: str, *, head: bool = False) -> None:
    """Send `reply`, with the id by which the log knows the request."""
    headers = [
        *reply.headers,
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode("latin-1")),
    ]
    if reply.status == 204:
        del headers[-2]  # RFC 9110, 8.6: no Content-Length in a 204
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


def json_reply(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Reply:
    """A reply whose body is `value` in the normal form."""
    return Reply(status, jsontext.encode(value), (JSON, *headers))


def header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The value of the header of that name (lower case), or None."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def refusal_headers(refusal: Refusal, status: int) -> Headers:
    """What HTTP asks for beside a refusal, whatever the API says in its body (RFC 9110, 15.5.2, 15.5.6, 10.2.3)."""
    if isinstance(refusal, MethodNotAllowed):
        return ((b"allow", refusal.data["allowed"].encode()),)
    if isinstance(refusal, Unauthorized):
        return ((b"www-authenticate", b"Bearer"),)
    return ((b"retry-after", RETRY_AFTER_S),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()


def message_of(refusal: Refusal) -> str:
    """What to tell the caller. The text of a `StoreError` is for the log: it may name files or hosts."""
    if isinstance(refusal, DomainError):
        return str(refusal)
    return re.sub(r"\s+", " ", type(refusal).__doc__ or "").strip()


def row_of(table: Mapping[type[Exception], Any], refusal: Refusal) -> Any:
    """The row of an error table for a refusal, or for the nearest class above it."""
    return next(table[kind] for kind in type(refusal).__mro__ if kind in table)


_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
