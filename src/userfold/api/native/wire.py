"""The native API's shapes, and the parts of HTTP that carry meaning in it: ETag, If-Match, cursors."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from userfold.api.native import shapes
from userfold.api.native.shapes import Body
from userfold.api.wire import JSON, HeaderInvalid, ParameterInvalid, Reply, Request, json_reply
from userfold.core import identifiers, queries
from userfold.core.applied import Applied
from userfold.core.commands import IfMatch, Once
from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid, FieldUnknown, InputError
from userfold.core.jsontext import encode
from userfold.core.queries import UserQuery
from userfold.core.records import AttributeDefinition, Change, Event, Segment, SignIn, User

LIST_PARAMETERS = ("external_id", "email", "username", "segment", "query", "order_by", "limit", "cursor")
ORDERS = ("created_at", "updated_at")
_NORMALISE: dict[str, Callable[[str], str]] = {
    "external_id": identifiers.external_id,
    "email": identifiers.email,
    "username": identifiers.username,
    "segment": identifiers.bounded,
}
PAGE_SIZE = 100
PAGE_SIZE_MAX = 500
IDEMPOTENCY_KEY_LENGTH_MAX = 255

B = TypeVar("B", bound=Body)

_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_STRONG_VERSION = re.compile(r'(?<!W/)"([1-9]\d{0,17})"')


# How msgspec says what is wrong with a value, and where: `Expected ... - at `$.settings.tombstone_days``.
_FAULT = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<place>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_REASON_LENGTH_MAX = 200
_TYPES = {"`str`": "a string", "`int`": "an integer", "`bool`": "true or false", "`object`": "an object"}


def body(request: Request, kind: type[B]) -> B:
    """The body as a `kind`. None at all is an empty object, if all of `kind` may be left out.

    Raises a `WireRefusal` or an `InputError` that names the member at fault.
    """
    optional = not any(field.required for field in msgspec.structs.fields(kind))
    document = {} if optional and not request.body else request.json_object()
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def _refusal(fault: str) -> InputError:
    """What msgspec found wrong, as the refusal that it is."""
    parts = _FAULT.fullmatch(fault)
    assert parts is not None
    reason = parts["reason"]
    path = (parts["place"] or "").replace(".", "/")
    if unknown := _UNKNOWN.fullmatch(reason):
        return FieldUnknown(path=f"{path}/{escape(unknown[1][:255])}")
    if missing := _MISSING.fullmatch(reason):
        return FieldInvalid(path=f"{path}/{missing[1]}", reason="it is missing")
    reason = reason[0].lower() + reason[1:_REASON_LENGTH_MAX]
    for name, words in _TYPES.items():
        reason = reason.replace(name, words)
    return FieldInvalid(path=path, reason=reason)


def user_reply(status: int, user: User, applied: Applied, *headers: tuple[bytes, bytes]) -> Reply:
    """A user as its update left it, with the operations of that update under `changes`, and what was ignored."""
    added: dict[str, Any] = {"changes": applied.change.operations if applied.change else []}
    if applied.ignored:
        added["ignored"] = applied.ignored
    # The texts of two objects made one: this is on the path of every update, and saves a copy of the user as a dict.
    body = encode(user)[:-1] + b"," + encode(added)[1:]
    return Reply(status, body, (JSON, etag(user.version), *headers))


def user_query(request: Request, *, email_kind: str = "email") -> UserQuery:
    """What a list asks for. Names are compared in their normal form."""
    given = request.query(LIST_PARAMETERS)
    order_by = given.get("order_by", "created_at")
    if order_by.removeprefix("-") not in ORDERS:
        raise ParameterInvalid(
            name="order_by", reason="created_at or updated_at is needed, with - before it to descend"
        )
    names = [name for name in _NORMALISE if name in given]
    if len(names) > 1:
        raise ParameterInvalid(name=names[1], reason=f"it cannot be combined with {names[0]}")
    kinds = {"email": email_kind}
    wanted = tuple(queries.term(kinds.get(n, n), _normal(_NORMALISE[n], given[n], n)) for n in names)
    return UserQuery(
        project_id=request.project_id,
        any_terms=wanted or None,
        text=given.get("query") or None,
        order="updated_at" if order_by.endswith("updated_at") else "created_at",
        descending=order_by.startswith("-"),
        after=_position(given["cursor"]) if "cursor" in given else None,
        limit=positive(given.get("limit", str(PAGE_SIZE)), "limit", most=PAGE_SIZE_MAX),
    )


class PageOfIds(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of records that are in the order of their ids: from after which, in which direction, how many."""

    after: str | None = None
    descending: bool = False
    limit: int = PAGE_SIZE_MAX


def event_query(request: Request) -> PageOfIds:
    """What a list of events asks for. Their ids sort as the times do at which they came."""
    given = request.query(("order_by", "limit", "cursor"))
    order_by = given.get("order_by", "-created_at")
    if order_by not in ("created_at", "-created_at"):
        raise ParameterInvalid(name="order_by", reason="created_at or -created_at is needed")
    if not 0 < len(given.get("cursor", "x")) <= identifiers.LENGTH_MAX:
        raise ParameterInvalid(name="cursor", reason="it is not one that a page gave")
    limit = positive(given.get("limit", str(PAGE_SIZE)), "limit", most=PAGE_SIZE_MAX)
    return PageOfIds(after=given.get("cursor"), descending=order_by == "-created_at", limit=limit)


def next_id(page: Sequence[Event], limit: int) -> str | None:
    """The `next_cursor` of a page of records in the order of their ids."""
    return page[-1].id if len(page) == limit else None


def user_page(users: Sequence[User], query: UserQuery) -> Reply:
    """One page of users. `next_cursor` is null on the last one."""
    cursor = None
    if len(users) == query.limit:
        value, id_ = queries.position(users[-1], query.order)
        cursor = base64.urlsafe_b64encode(f"{value}|{id_}".encode()).decode().rstrip("=")
    return json_reply(200, {"data": users, "next_cursor": cursor})


def _position(cursor: str) -> tuple[int, str]:
    try:
        value, _, id_ = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        if not (value.isascii() and value.isdecimal() and len(value) <= 18):
            raise ValueError
        return int(value), id_
    except ValueError:
        raise ParameterInvalid(name="cursor", reason="it is not one that a page gave") from None


def _normal(normalise: Callable[[str], str], value: str, name: str) -> str:
    try:
        return normalise(value)
    except ValueError as error:
        raise ParameterInvalid(name=name, reason=str(error)) from None


def history_page(changes: Sequence[Change], next_cursor: str | None) -> Reply:
    """One page of changes. `next_cursor` is null on the last one."""
    return json_reply(200, {"data": changes, "next_cursor": next_cursor})


def session(sign_in: SignIn, now: int) -> dict[str, Any]:
    """A sign-in as it is shown: no trace of its token, and `expired` once its time is over."""
    shown: dict[str, Any] = msgspec.to_builtins(sign_in)
    del shown["token_digest"], shown["version"]
    if sign_in.status == "active" and not sign_in.is_live(now):
        shown["status"] = "expired"
    return shown


def segment(record: Segment) -> shapes.Segment:
    """A segment as it is shown."""
    return shapes.Segment(
        id=record.id,
        name=record.name,
        description=record.description,
        created_at=record.created_at,
        updated_at=record.updated_at,
        version=record.version,
    )


def attribute(record: AttributeDefinition) -> shapes.Attribute:
    """An attribute as it is shown."""
    return shapes.Attribute(
        id=record.id,
        name=record.name,
        type=record.type,
        choices=record.choices,
        title=record.title,
        description=record.description,
        created_at=record.created_at,
        updated_at=record.updated_at,
        version=record.version,
    )


def etag(version: int) -> tuple[bytes, bytes]:
    """The entity tag of a user, a segment or an attribute is its version."""
    return b"etag", b'"%d"' % version


def if_match(request: Request) -> IfMatch:
    """The condition that `If-Match` makes (RFC 9110, 13.1.1). Weak tags never match, as the RFC asks for."""
    value = request.header(b"if-match")
    if value is None:
        return None
    if value.strip() == "*":
        return "*"
    if not _ENTITY_TAGS.fullmatch(value):
        raise HeaderInvalid(name="If-Match", reason='a version in quotes is needed, such as "3"')
    return tuple(map(int, _STRONG_VERSION.findall(value)))


def once(request: Request) -> Once | None:
    """What makes the request idempotent, if it has an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

    A key counts for one credential, method and path; the request is the same if everything else that matters is.
    """
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not (0 < len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
        raise HeaderInvalid(name="Idempotency-Key", reason="1 to 255 printable ASCII characters are needed")
    assert request.caller is not None
    scope = "\n".join((request.caller.key.id, request.method, request.path, key))
    asked = b"\n".join(
        (
            request.query_string,
            (request.header(b"content-type") or "").encode(),
            (request.header(b"if-match") or "").encode(),
            request.body,
        )
    )
    return Once(hashlib.sha256(scope.encode()).hexdigest(), hashlib.sha256(asked).hexdigest())


def positive(text: str, name: str, most: int | None = None) -> int:
    """A positive integer from a query parameter."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) > 0):
        raise ParameterInvalid(name=name, reason="a positive integer is needed")
    if most is not None and int(text) > most:
        raise ParameterInvalid(name=name, reason=f"at most {most} is allowed")
    return int(text)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A query parameter that is `true` or `false`; absent, it is false."""
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise ParameterInvalid(name=name, reason="true or false is needed")
    return value == "true"


def fields_of(document: dict[str, Any]) -> dict[str, Any]:
    """A document as it was sent, less what replies add to a user: a reply may be edited and sent back."""
    return {name: value for name, value in document.items() if name not in ("changes", "ignored")}
