"""What all APIs share: `Request` and `Reply`, the dispatcher made of a route table, the checks before a handler.

The order of checks is the same everywhere, and part of the contract: the path (404), the method (405), the key (401),
what the key may do (403), whether it is built (501), how often it was done (429), the size of the body (413); then the
handler checks the content type (415) and the JSON (400), and leaves everything else to the core. Nothing awaits between
the last byte of a body and the engine's queue, because vendors' SDKs send updates in parallel and expect them to be
applied in the order in which they arrive.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from userfold.api.bodies import (
    BODY_BYTES_MAX,
    LINES_BYTES_MAX,
    ClientGone,
    ClientStalled,
    Incoming,
    Message,
    ReadAhead,
    Receive,
)
from userfold.api.large_bodies import LargeBodies
from userfold.core import jsontext
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateUser, Evidence, Resendable, SetImage, UpdateFromSession, UpsertUser
from userfold.core.errors import CommandBroken, DomainError, JsonInvalid, JsonTooDeep, UserNotFound
from userfold.core.records import EffectiveSettings, Image
from userfold.core.trust import Author
from userfold.deliveries import Deliveries
from userfold.directory import Caller, Directory
from userfold.encryption import Encryption, encryption_in_memory
from userfold.engine import Busy, Engine, Stopping, random_bits
from userfold.forwarded import Network, client_address
from userfold.identity_tokens import evidence_of
from userfold.images import Images, images_in_memory, named_image
from userfold.logs import about
from userfold.rate_limits import Kind, RateLimits
from userfold.secrets import Passwords
from userfold.storage.port import OutcomeUnknown, Store, StoreError

log = logging.getLogger("userfold.api")
access_log = logging.getLogger("userfold.access")

UNKNOWN_PATHS_LOGGED_MAX = 1_000
RETRY_AFTER_S = b"1"
STALL_S = 60  # for how long a client may take nothing of a reply that is made piece by piece

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")
# Any page may ask and read the answer: no cookies are sent, so the key is all that counts. Which origins a project
# allows is judged with the request itself, because a preflight has no key and so is of no project.
CROSS_ORIGIN: Headers = ((b"access-control-allow-origin", b"*"),)
PREFLIGHT_S = b"7200"  # as long as Chromium remembers an answer at most
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class WireRefusal(DomainError):
    """The request cannot be taken."""


class PathUnknown(WireRefusal):
    """There is nothing at this path."""

    code = "path_unknown"


class MethodNotAllowed(WireRefusal):
    """This path takes {allowed}."""

    code = "method_not_allowed"


class Unauthorized(WireRefusal):
    """A valid {kind} key is needed: {where}"""

    code = "unauthorized"


class KeyReadOnly(WireRefusal):
    """This key may only read."""

    code = "key_read_only"


class OriginNotAllowed(WireRefusal):
    """Pages of this origin may not call this project."""

    code = "origin_not_allowed"


class NotBuilt(WireRefusal):
    """{what} is not built in this version of Userfold."""

    code = "not_built"


class RateLimited(WireRefusal):
    """Too many {kind} from this address; there is room again in {wait_s} s."""

    code = "rate_limited"


class ContentTypeUnsupported(WireRefusal):
    """The body must be {wanted}; the request says {given!r}."""

    code = "content_type_unsupported"


class BodyNotObject(WireRefusal):
    """The body must be a JSON object."""

    code = "body_not_object"


class BodyNotList(BodyNotObject):
    """The body must be a JSON list."""

    code = "body_not_list"


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
MayCreate = CreateUser | UpsertUser | UpdateFromSession


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its whole body; if the route `streams`, `body` is empty and what comes is at `incoming`.

    `params` are the named parts of the path, decoded.
    """

    method: str
    path: str  # as it was sent
    params: Mapping[str, str]
    query_string: bytes
    headers: Mapping[bytes, bytes]  # names in lower case; of a repeated one the last
    body: bytes
    incoming: Incoming
    caller: Caller | None
    id: str
    address: str  # the client's; "" if it has none
    peer: str | None  # the address that the connection comes from: the client's, or the last proxy's

    @property
    def project_id(self) -> str:
        assert self.caller is not None, "the route is open to everybody"
        return self.caller.project.id

    @property
    def is_limited(self) -> bool:
        """Whether it counts how often the caller asks: anybody can have a publishable key."""
        return self.caller is not None and self.caller.key.kind == "publishable"

    def author(self, source: str) -> Author:
        """Who asks, as the history will say it. A secret key is a backend, a publishable one a browser."""
        assert self.caller is not None, "the route is open to everybody"
        trust: Literal["browser", "backend"] = "browser" if self.is_limited else "backend"
        return Author(source=source, actor=self.caller.key.id, trust=trust, request_id=self.id)

    def header(self, name: bytes) -> str | None:
        """The value of a header, or None. `name` in lower case."""
        return header(self.headers, name)

    def query(self, allowed: Iterable[str]) -> dict[str, str]:
        """The query parameters. Raises `ParameterUnknown` for any other; `ParameterInvalid` for one that is repeated,
        because another reader may take the other value, or is not UTF-8, because it would name something else.
        """
        if not self.query_string:
            return {}
        text = self.query_string.decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
        given = dict(pairs)
        for name in given.keys() - set(allowed):
            raise ParameterUnknown(name=name[:64])
        for name, value in given.items():
            if _UNDECODED.search(value):
                raise ParameterInvalid(name=name, reason="it is not UTF-8")
        if len(given) < len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in given if names.count(name) > 1)
            raise ParameterInvalid(name=repeated, reason="it is given more than once")
        return given

    def json_object(self, content_types: Iterable[str] = ("application/json",)) -> dict[str, Any]:
        """The body as a JSON object. Raises a `WireRefusal` or an `InputError`."""
        self.require_content_type(content_types)
        value = jsontext.decode(self.body)
        if not isinstance(value, dict):
            raise BodyNotObject
        return value

    def json_list(self) -> list[bytes]:
        """The texts of the items of the body, a JSON list. Each is still to be decoded, and may be refused alone."""
        try:
            return [bytes(text) for text in _LIST.decode(self.body)]
        except msgspec.ValidationError:
            raise BodyNotList from None
        except msgspec.DecodeError as error:
            raise JsonInvalid(reason=str(error)) from None
        except RecursionError:
            raise JsonTooDeep(levels_max=jsontext.TEXT_LEVELS_MAX) from None

    async def with_body(self) -> Request:
        """The request with its whole body, for a route that streams but need not this time."""
        return msgspec.structs.replace(self, body=await read_whole(self.incoming))

    def require_content_type(self, content_types: Iterable[str]) -> str:
        """The media type of the body, which must be one of these."""
        given = self.header(b"content-type") or ""
        media_type = given.partition(";")[0].strip().lower()
        if media_type not in content_types:
            raise ContentTypeUnsupported(wanted=" or ".join(content_types), given=given[:64])
        return media_type

    def require_image(self) -> bytes:
        """The body, which must be said to be an image; of which kind is judged by its bytes."""
        given = self.header(b"content-type") or ""
        if not given.strip().lower().startswith("image/"):
            raise ContentTypeUnsupported(wanted="image/*", given=given[:64])
        return self.body


Pieces = AsyncGenerator[bytes, None]


class Reply(msgspec.Struct, frozen=True):
    """What is sent back: `body`, or the pieces of a body that is long or not known yet, each when it is there.

    Before its first piece a generator may raise what a handler may raise. After it the status has been sent: what goes
    wrong has to be said in the body, and anything raised cuts the connection, so that no client takes a part for the
    whole. A generator is closed when its client has gone.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    pieces: Pieces | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What handlers work with."""

    engine: Engine
    store: Store
    directory: Directory
    public_url: str
    images: Images = msgspec.field(default_factory=images_in_memory)
    large_bodies: LargeBodies = msgspec.field(default_factory=LargeBodies)
    passwords: Passwords = msgspec.field(default_factory=Passwords)
    deliveries: Deliveries = msgspec.field(default_factory=Deliveries)
    encryption: Encryption = msgspec.field(default_factory=encryption_in_memory)
    rate_limits: RateLimits = msgspec.field(default_factory=RateLimits)
    trusted_proxies: tuple[Network, ...] = ()
    access_log: bool = False
    warned: set[str] = msgspec.field(default_factory=set)  # of what the log tells once, what it has told

    def evidence(self, request: Request, token: Any) -> Evidence | None:
        """What comes of the token by which a browser proves whose it is; None without one."""
        assert request.caller is not None, "the route is open to everybody"
        return evidence_of(token, request.caller.identity_keys)

    async def run(self, request: Request, command: Command, *, dry_run: bool = False) -> Applied:
        """What `command` came to, once it is durable. Raises a `Refusal`."""
        assert request.caller is not None, "the route is open to everybody"
        if isinstance(command, MayCreate) and request.is_limited and not dry_run:
            return await self._run_limited(request, request.caller, command)
        return await self.engine.run(command, request.caller.settings, size=len(request.body), dry_run=dry_run)

    async def create(self, request: Request, command: CreateUser, id_: str, *, resends: bool) -> Applied:
        """What a creation came to; sent again because its answer was lost, it is answered with the user that it made.

        `id_`: stands for who asks and for all that was sent. Raises a `Refusal`. Answer at once: a client
        that goes after this counts as answered.
        """
        incoming, deliveries = request.incoming, self.deliveries
        incoming.listen()  # says that the client has gone
        resendable = Resendable(id_, deliveries.earlier(id_), resends)
        is_first = deliveries.begin(id_, self.engine.now(), lambda: incoming.gone)
        try:
            applied = await self.run(request, msgspec.structs.replace(command, resendable=resendable))
        except (DomainError, StoreError, Busy):
            if is_first:
                deliveries.give_up(id_)
            raise
        deliveries.answer(id_, self.engine.now(), was_lost=incoming.gone)
        return applied

    async def set_image(
        self,
        request: Request,
        user_id: str,
        content: bytes,
        make: Callable[[Image], SetImage],
        *,
        dry_run: bool = False,
    ) -> Applied:
        """What giving a user the picture `content` came to; `make`: the command that names it. Raises a `Refusal`.

        Making the picture awaits, so updates that bring one are applied in the order in which these are ready.
        """
        picture = await self.images.picture_of(content)
        image = named_image(picture, user_id, self.engine.now(), random_bits())
        request = msgspec.structs.replace(request, body=b"")  # what waits to be applied is small
        if dry_run:
            return await self.run(request, make(image), dry_run=True)
        await self.images.put(image.name, picture.content)
        try:
            applied = await self.run(request, make(image))
        except OutcomeUnknown:
            raise  # a record may name it, and a sweep will see
        except (DomainError, StoreError, Busy):
            await self._discard(image)
            raise
        if applied.user is None or applied.user.image != image:
            await self._discard(image)  # the same picture, or the same request, once more
        return applied

    async def _discard(self, image: Image) -> None:
        """Remove what no record names, and none will. A sweep does it otherwise, so it may fail."""
        with suppress(StoreError):
            await self.images.delete(image.name)

    def submit(
        self, request: Request, command: Command, *, size: int, dry_run: bool = False
    ) -> asyncio.Future[Applied]:
        """The answer that `command` will get; `size`: the bytes of its part of the request. Raises `Busy`."""
        assert request.caller is not None, "the route is open to everybody"
        return self.engine.submit(command, request.caller.settings, size=size, dry_run=dry_run)

    def draw(self, kind: Kind, caller: Caller, address: str) -> int:
        """0 if the caller may do this now; else after how many seconds. One with a secret key always may."""
        if caller.key.kind == "secret":
            return 0
        wait_s = self.rate_limits.draw(kind, caller.key.id, address, caller.project.settings)
        if wait_s:
            self.rate_limits.refused[kind] += 1
        return wait_s

    async def _run_limited(self, request: Request, caller: Caller, command: MayCreate) -> Applied:
        """Run what may make a user. Whether it does is known only afterwards, so a token is taken and may go back.

        So there are never more new users than tokens, however many are asked for at once; while very many requests
        are under way, a new user may be refused whose token would have been given back a moment later.
        """
        settings = caller.settings
        wait_s = self.rate_limits.draw("new_users", caller.key.id, request.address, settings)
        if wait_s:
            return await self._run_uncreating(request, settings, command, wait_s)
        created = False
        try:
            applied = await self.engine.run(command, settings, size=len(request.body))
            created = applied.created
        finally:
            if not created:
                self.rate_limits.give_back("new_users", caller.key.id, request.address)
        return applied

    async def _run_uncreating(
        self, request: Request, settings: EffectiveSettings, command: MayCreate, wait_s: int
    ) -> Applied:
        """Run `command` unless it would make a user: who is known pays nothing for a crowd behind the same address."""
        if not isinstance(command, CreateUser):
            known_only = msgspec.structs.replace(command, may_create=False)
            try:
                return await self.engine.run(known_only, settings, size=len(request.body))
            except UserNotFound:
                if isinstance(command, UpsertUser) and command.if_match is not None:
                    raise
        self.rate_limits.refused["new_users"] += 1
        raise RateLimited(kind="new users", wait_s=wait_s)


Handler = Callable[[Service, Request], Awaitable[Reply]]
ErrorReply = Callable[[Refusal, str], Reply]  # of a refusal and the id of its request
RefusedReply = Callable[[Refusal, Mapping[bytes, bytes]], Reply]  # of a refusal and the headers of its request


class Callers(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call an API: by what kind of key, and where its clients send it."""

    kind: Literal["secret", "publishable"]
    where: str  # for the refusal
    token: Callable[[Mapping[bytes, bytes]], str]  # of the headers; "" if there is none


class Route(msgspec.Struct, frozen=True):
    """One line of a route table. `{name}` in `path` takes one part of a request's path. No handler: not built.

    `reads`: a key that may only read may call it. `streams`: it is called before the body is there. `draws`: which
    limit a caller with a publishable key draws from. One that is not to be told of a limit leaves it out, and its
    handler asks `Service.draw`. `body_bytes_max`: of a body that is not JSON and may be larger. `refuse`: what its
    refusals are answered with, if its clients need something else than those of the other routes.
    """

    method: str
    path: str
    handler: Handler | None
    reads: bool = False
    streams: bool = False
    draws: Kind | None = None
    body_bytes_max: int = BODY_BYTES_MAX
    refuse: RefusedReply | None = None


class Answered:
    """A route, and how often it was answered with 1xx, 2xx, … 5xx (at the index of the first digit)."""

    __slots__ = ("by_class", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.by_class = [0] * 6


class _Seen:
    """What is known of a request so far, for the log and the metrics, however it ends."""

    __slots__ = ("answered", "caller")

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        self.caller: Caller | None = None


class Api:
    """An ASGI app made of a route table, an error table, and a rule for who may call (None: everybody).

    `cross_origin`: pages of other origins may call it (CORS, of the Fetch standard).
    """

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        routes: Sequence[Route],
        error_reply: ErrorReply,
        service: Service,
        callers: Callers | None,
        check_request: Callable[[Request], None] | None = None,
        cross_origin: bool = False,
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.refusals: dict[str, int] = {}  # how many, by code
        self._mount = prefix.encode()
        self._routes = _Node()
        for route in routes:
            self._routes.add(route)
        # What was asked for in vain: paths that are not there, methods that a path does not take.
        self._no_route = Answered(Route("", "", None))
        self._error_reply = error_reply
        self._service = service
        self._check_request = check_request
        self._callers = callers
        self._cross_origin = cross_origin
        self._unknown_paths: set[str] = set()
        self._read_ahead = ReadAhead()
        # Ids of requests: unlike any other process's, and counted within this one.
        self._start = secrets.token_hex(6)
        self._requests = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter() if self._service.access_log else 0.0
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        incoming = Incoming(receive, headers, self._read_ahead)
        seen = _Seen(self._no_route)
        try:
            reply, first = await self._reply(scope, incoming, headers, request_id, seen)
            if self._cross_origin:
                reply = msgspec.structs.replace(reply, headers=(*reply.headers, *CROSS_ORIGIN))
            seen.answered.by_class[reply.status // 100] += 1
            head = scope["method"] == "HEAD"
            if reply.pieces is None:
                await send_reply(send, reply, request_id, head=head)
                size = len(reply.body)
            else:
                size = await send_pieces(send, reply, first, request_id, head=head, gone=lambda: incoming.gone)
            if self._service.access_log:
                self._log_access(scope, seen, reply.status, size, request_id, time.perf_counter() - started)
        except ClientGone:
            return
        finally:
            incoming.close()

    async def _reply(
        self, scope: Scope, incoming: Incoming, headers: Mapping[bytes, bytes], request_id: str, seen: _Seen
    ) -> tuple[Reply, bytes | None]:
        """What the handler answers, or what its refusal is; of a reply in pieces also the first of them."""
        try:
            reply = await self._handle(scope, incoming, headers, request_id, seen)
            if reply.pieces is None or scope["method"] == "HEAD":
                return reply, None
            incoming.listen()
            return reply, await anext(reply.pieces, None)
        except StoreError as error:
            if not error.is_logged:
                error.is_logged = True
                says = (scope["method"], scope["path"], type(error).__name__, error)
                log.error("%s %r could not be answered: %s: %s", *says, extra=about(request_id))
            return self._refuse(error, request_id, headers, seen.answered.route), None
        except (DomainError, Busy) as refusal:
            return self._refuse(refusal, request_id, headers, seen.answered.route), None
        except ClientGone:
            raise
        except Exception:
            log.exception("%s %r broke", scope["method"], scope["path"], extra=about(request_id))
            return self._refuse(CommandBroken(), request_id, headers, seen.answered.route), None

    def answered(self) -> Iterator[Answered]:
        """What was answered since the start, by route; the one without a method is for all that is no route."""
        yield from self._routes.answered()
        yield self._no_route

    def path_of(self, route: Route) -> str:
        """The whole path of a route, or "" for what is no route."""
        return self.prefix + route.path if route.method else ""

    async def _handle(
        self, scope: Scope, incoming: Incoming, headers: Mapping[bytes, bytes], request_id: str, seen: _Seen
    ) -> Reply:
        method = scope["method"]
        methods, params = self._find(scope, request_id)
        if self._cross_origin and method == "OPTIONS":
            return preflight(methods)
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = {*methods, "HEAD"} if "GET" in methods else set(methods)
            raise MethodNotAllowed(allowed=", ".join(sorted(allowed)))
        seen.answered, route = found, found.route
        if self._callers is not None:
            seen.caller = await authenticate(self._service.directory, self._callers, headers)
        caller = seen.caller
        if caller is not None and caller.key.read_only and not (route.method == "GET" or route.reads):
            raise KeyReadOnly
        if route.handler is None:
            raise NotBuilt(what=f"{route.method} {route.path}")
        address, peer = self._addresses(scope)
        if route.draws is not None and caller is not None:
            self._draw(route.draws, caller, address)
        if route.streams:
            incoming.require_size(LINES_BYTES_MAX)
        request = Request(
            method=method,
            path=scope["raw_path"].decode("latin-1"),
            params=params,
            query_string=scope["query_string"],
            headers=headers,
            caller=caller,
            id=request_id,
            address=address,
            peer=peer,
            incoming=incoming,
            body=b"" if route.streams else await read_whole(incoming, route.body_bytes_max),
        )
        if self._check_request is not None:
            self._check_request(request)
        return await route.handler(self._service, request)

    def _refuse(self, refusal: Refusal, request_id: str, headers: Mapping[bytes, bytes], route: Route) -> Reply:
        self.refusals[refusal.code] = self.refusals.get(refusal.code, 0) + 1
        return self._error_reply(refusal, request_id) if route.refuse is None else route.refuse(refusal, headers)

    def _draw(self, kind: Kind, caller: Caller, address: str) -> None:
        """Raises `RateLimited`. Before the body is read: what is refused anyway need not be taken in."""
        wait_s = self._service.draw(kind, caller, address)
        if wait_s:
            raise RateLimited(kind=kind.replace("_", " "), wait_s=wait_s)

    def _addresses(self, scope: Scope) -> tuple[str, str | None]:
        """The client's address, and that of the connection's other end."""
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        trusted = self._service.trusted_proxies
        if not trusted:
            return peer or "", peer
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return client_address(peer, lines, trusted), peer

    def _log_access(self, scope: Scope, seen: _Seen, status: int, size: int, request_id: str, seconds: float) -> None:
        """One line for one request. The path is the route's: a path as it was sent names people."""
        fields = {
            "method": scope["method"],
            "route": self.path_of(seen.answered.route) or None,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "bytes": size,
            "address": self._addresses(scope)[0] or None,
            "key": None if seen.caller is None else seen.caller.key.id,
        }
        access_log.info("answered", extra=about(request_id, **fields))

    def _find(self, scope: Scope, request_id: str) -> tuple[dict[str, Answered], dict[str, str]]:
        mount, path = scope["raw_path"][: len(self._mount)], scope["raw_path"][len(self._mount) :]
        found = self._routes.find(path.split(b"/")[1:]) if mount == self._mount and path[:1] == b"/" else None
        if found is None:
            self._log_unknown(scope, request_id)
            raise PathUnknown
        return found

    def _log_unknown(self, scope: Scope, request_id: str) -> None:
        """Say once what a client asks for that is not there: it shows what a vendor's SDK wants next."""
        path = f"{scope['method']} {scope['path']}"[:200]
        if path not in self._unknown_paths and len(self._unknown_paths) < UNKNOWN_PATHS_LOGGED_MAX:
            self._unknown_paths.add(path)
            log.info("the %s API has nothing at %r", self.name, path, extra=about(request_id))

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        """The id that a proxy or a client gave, if it can stand in a log line as it is, else a new one."""
        given = header(headers, b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"req_{self._start}{next(self._requests):012x}"


async def authenticate(directory: Directory, callers: Callers, headers: Mapping[bytes, bytes]) -> Caller:
    """Whose key is in these headers. Raises `Unauthorized`."""
    token = callers.token(headers)
    caller = await directory.caller(token) if token else None
    # Missing, wrong and revoked keys and those of the other kind are one answer: which it is helps only who has none.
    if caller is None or caller.key.kind != callers.kind:
        raise Unauthorized(kind=callers.kind, where=callers.where)
    return caller


def bearer_token(headers: Mapping[bytes, bytes]) -> str:
    """The token of `Authorization: Bearer` (RFC 6750), or "" if there is none."""
    scheme, _, token = (header(headers, b"authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


SECRET_KEYS = Callers(kind="secret", where="Authorization: Bearer sk_…", token=bearer_token)
PUBLISHABLE_KEYS = Callers(kind="publishable", where="Authorization: Bearer key_…", token=bearer_token)


class _Node:
    """A part of the paths of a route table."""

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.param: _Node | None = None
        self.methods: dict[str, Answered] = {}
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
        node.methods[route.method] = Answered(route)
        node.names = tuple(names)

    def answered(self) -> Iterator[Answered]:
        yield from self.methods.values()
        for below in (*self.literals.values(), *([self.param] if self.param else [])):
            yield from below.answered()

    def find(self, parts: Sequence[bytes]) -> tuple[dict[str, Answered], dict[str, str]] | None:
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


async def read_whole(incoming: Incoming, size_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body. Raises `BodyTooLarge`, `ClientGone`, `Stopping`."""
    try:
        return await incoming.whole(size_max)
    except asyncio.CancelledError:
        # The server stops and has waited long enough for the rest. Nothing was asked of the engine yet.
        raise Stopping from None


async def send_reply(send: Send, reply: Reply, request_id: str, *, head: bool = False) -> None:
    """Send `reply`, with the id by which the log knows the request."""
    headers = [
        *reply.headers,
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode("latin-1")),
    ]
    if reply.status in (204, 304):
        del headers[-2]  # RFC 9110, 8.6: none in a 204, and in a 304 that of the reply that is not sent
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


async def send_pieces(
    send: Send, reply: Reply, first: bytes | None, request_id: str, *, head: bool, gone: Callable[[], bool]
) -> int:
    """Send `reply` piece by piece; how many bytes were sent. If its generator breaks, the connection is cut.

    A server cuts it when an application returns without having ended its reply.
    """
    assert reply.pieces is not None
    headers = [*reply.headers, (b"x-request-id", request_id.encode("latin-1"))]
    size = 0
    try:
        async with aclosing(reply.pieces) as pieces:
            await _send_in_time(send, {"type": "http.response.start", "status": reply.status, "headers": headers})
            piece = None if head else first
            while piece is not None and not gone():
                await _send_in_time(send, {"type": "http.response.body", "body": piece, "more_body": True})
                size += len(piece)
                piece = await anext(pieces, None)
        if not gone():
            await send({"type": "http.response.body", "body": b""})
    except ClientStalled:
        log.warning("a reply was cut: its client took nothing for %d s", STALL_S, extra=about(request_id))
    except asyncio.CancelledError:
        log.warning("a reply was cut: the server stops", extra=about(request_id))
    except ClientGone:
        pass
    except Exception:
        log.exception("a reply broke off", extra=about(request_id))
    return size


async def _send_in_time(send: Send, message: Message) -> None:
    try:
        async with asyncio.timeout(STALL_S):
            await send(message)
    except TimeoutError:
        raise ClientStalled from None


def preflight(methods: Iterable[str]) -> Reply:
    """What a browser asks before a page's request: all headers may be sent. It needs no key, for it brings none."""
    allowed = ", ".join((*sorted(methods), "OPTIONS")).encode()
    return Reply(
        204,
        headers=(
            (b"access-control-allow-methods", allowed),
            (b"access-control-allow-headers", b"*"),
            (b"access-control-max-age", PREFLIGHT_S),
        ),
    )


def json_reply(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Reply:
    """A reply whose body is `value` in the normal form."""
    return Reply(status, jsontext.encode(value), (JSON, *headers))


def header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The value of the header of that name (lower case), or None."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def refusal_headers(refusal: Refusal, status: int) -> Headers:
    """What HTTP asks for beside a refusal, whatever the API says in its body (RFC 9110, 15.5.2, 15.5.6, 10.2.3;
    RFC 6585, 4)."""
    if isinstance(refusal, MethodNotAllowed):
        return ((b"allow", refusal.data["allowed"].encode()),)
    if isinstance(refusal, Unauthorized):
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(refusal, RateLimited):
        return ((b"retry-after", b"%d" % refusal.data["wait_s"]),)
    return ((b"retry-after", RETRY_AFTER_S),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()


def message_of(refusal: Refusal) -> str:
    """What to tell the caller. The text of a `StoreError` is for the log: it may name files or hosts."""
    if isinstance(refusal, DomainError):
        return str(refusal)
    return re.sub(r"\s+", " ", type(refusal).__doc__ or "").strip()


def row_of(table: Mapping[type[Exception], Any], refusal: Refusal) -> Any:
    """The row of an error table for a refusal, or for the nearest class above it."""
    return next(table[kind] for kind in type(refusal).__mro__ if kind in table)


_UNDECODED = re.compile("[\ud800-\udfff]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
