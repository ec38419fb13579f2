"""The native API's shapes, and the parts of HTTP that carry meaning in it: ETag, If-Match, cursors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from userfold.api.conditions import (
    ENTITY_TAGS_PATTERN as ENTITY_TAGS_PATTERN,
)
from userfold.api.conditions import (
    IDEMPOTENCY_KEY_LENGTH_MAX as IDEMPOTENCY_KEY_LENGTH_MAX,
)
from userfold.api.conditions import etag as etag
from userfold.api.conditions import has_it as has_it
from userfold.api.conditions import idempotency_key as idempotency_key
from userfold.api.conditions import if_match as if_match
from userfold.api.conditions import not_repeatable as not_repeatable
from userfold.api.conditions import once as once
from userfold.api.conditions import once_of as once_of
from userfold.api.conditions import unconditional as unconditional
from userfold.api.native import shapes
from userfold.api.native.shapes import Body, ChangePage, Session, UserPage
from userfold.api.wire import JSON, ParameterInvalid, Reply, Request, json_reply
from userfold.core import identifiers, queries
from userfold.core.applied import Applied
from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid, FieldUnknown, InputError
from userfold.core.jsontext import encode
from userfold.core.queries import UserQuery
from userfold.core.records import AttributeDefinition, Change, Event, Segment, SignIn, User

LIST_PARAMETERS = ("external_id", "email", "username", "segment", "query", "order_by", "limit", "cursor")
ORDERS = ("created_at", "updated_at")
_NORMALISE: dict[str, Callable[[str], str]] = {
    "external_id": identifiers.external_id,
    "username": identifiers.username,
    "email": identifiers.email,  # last but one: many may claim one
    "segment": identifiers.bounded,
}
PAGE_SIZE = 100
PAGE_SIZE_MAX = 500
NDJSON = ("application/x-ndjson", "application/jsonl")
INTEGER_MAX = 10**18 - 1

# `/openapi.json` shows these two, so they are written as every regular expression understands them.
INTEGER_PATTERN = "^[1-9][0-9]{0,17}$"
CURSOR_PATTERN = "^(?:0|[1-9][0-9]{0,17})\\.[^\\u0000]{1,255}$"

B = TypeVar("B", bound=Body)

_CURSOR = re.compile(CURSOR_PATTERN)
_INTEGER = re.compile(INTEGER_PATTERN)

# How msgspec says what is wrong with a value, and where: `Expected ... - at `$.settings.tombstone_days``.
_FAULT = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<place>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_REASON_LENGTH_MAX = 200
_STEP = re.compile(r"\.|\[(\d+)\]")  # from a value to one of its members, or to one of its items
_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_TYPE_NAMES = re.compile(rf"`((?:{'|'.join(_TYPES)})(?: \| (?:{'|'.join(_TYPES)}))*)`")


def body(request: Request, kind: type[B], *, optional: bool = False) -> B:
    """The body as a `kind`; if it is `optional`, none at all is an empty object.

    Raises a `WireRefusal` or an `InputError` that names the member at fault.
    """
    document = {} if optional and not request.body else request.json_object()
    shape: B = read_as(with_integers(document, kind.data), kind)
    return shape


def read_as(document: dict[str, Any], kind: Any) -> Any:
    """A document as a `kind`, which is a struct or several. Raises an `InputError` that names the member at fault."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def with_integers(value: Any, data: frozenset[str] = frozenset()) -> Any:
    """`value` with `60.0` read as 60: JSON has one kind of number, and JSON Schema calls both an integer.

    The members `data` are left as they are.
    """
    if isinstance(value, dict):
        return {name: member if name in data else with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refusal(fault: str) -> InputError:
    """What msgspec found wrong, as the refusal that it is."""
    parts = _FAULT.fullmatch(fault)
    assert parts is not None
    reason = parts["reason"]
    path = _STEP.sub(r"/\1", parts["place"] or "")
    if unknown := _UNKNOWN.fullmatch(reason):
        return FieldUnknown(path=f"{path}/{escape(unknown[1][:255])}")
    if missing := _MISSING.fullmatch(reason):
        return FieldInvalid(path=f"{path}/{missing[1]}", reason="it is missing")
    reason = reason[0].lower() + reason[1:_REASON_LENGTH_MAX]
    return FieldInvalid(path=path, reason=_TYPE_NAMES.sub(_in_words, reason))


def _in_words(names: re.Match[str]) -> str:
    return " or ".join(_TYPES[name] for name in names[1].split(" | "))


def user_reply(status: int, user: User, applied: Applied, *headers: tuple[bytes, bytes]) -> Reply:
    """A user as its update left it, with the operations of that update under `changes`, and what was ignored."""
    added: dict[str, Any] = {"changes": applied.change.operations if applied.change else []}
    if applied.ignored:
        added["ignored"] = applied.ignored
    # The texts of two objects made one: this is on the path of every update, and saves a copy of the user as a dict.
    body = encode(user)[:-1] + b"," + encode(added)[1:]
    return Reply(status, body, (JSON, etag(user.version), *headers))


def user_read(request: Request, user: User) -> Reply:
    """A user, or 304 without it."""
    if has_it(request, user.version):
        return Reply(304, headers=(etag(user.version),))
    return json_reply(200, user, etag(user.version))


def user_query(request: Request) -> UserQuery:
    """What a list asks for, beside the terms by which its users are to be found."""
    given = request.query(LIST_PARAMETERS)
    order_by = given.get("order_by", "created_at")
    if order_by.removeprefix("-") not in ORDERS:
        raise ParameterInvalid(
            name="order_by", reason="created_at or updated_at is needed, with - before it to descend"
        )
    return UserQuery(
        project_id=request.project_id,
        text=given.get("query") or None,
        order="updated_at" if order_by.endswith("updated_at") else "created_at",
        descending=order_by.startswith("-"),
        after=_position(given["cursor"]) if "cursor" in given else None,
        limit=positive(given.get("limit", str(PAGE_SIZE)), "limit", most=PAGE_SIZE_MAX),
    )


def given_terms(request: Request, *, email_kind: str = "email") -> tuple[str, ...]:
    """The terms that a list's users must all be found by, in their normal form; what names one user comes first."""
    given, kinds = request.query(LIST_PARAMETERS), {"email": email_kind}
    return tuple(
        queries.term(kinds.get(name, name), _normal(normalise, given[name], name))
        for name, normalise in _NORMALISE.items()
        if name in given
    )


def user_page(users: Sequence[User], query: UserQuery) -> Reply:
    """One page of users. `next_cursor` is null on the last one."""
    cursor = None
    if len(users) == query.limit:
        value, id_ = queries.position(users[-1], query.order)
        cursor = f"{value}.{id_}"
    return json_reply(200, UserPage(data=tuple(users), next_cursor=cursor))


def _position(cursor: str) -> tuple[int, str]:
    if not _CURSOR.fullmatch(cursor):
        raise ParameterInvalid(name="cursor", reason="it is not one that a page gave")
    value, _, id_ = cursor.partition(".")
    return int(value), id_


def _normal(normalise: Callable[[str], str], value: str, name: str) -> str:
    try:
        return normalise(value)
    except ValueError as error:
        raise ParameterInvalid(name=name, reason=str(error)) from None


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


def history_page(changes: Sequence[Change], next_cursor: str | None) -> Reply:
    """One page of changes. `next_cursor` is null on the last one."""
    return json_reply(200, ChangePage(data=tuple(changes), next_cursor=next_cursor))


def session(sign_in: SignIn, now: int) -> Session:
    """A sign-in as it is shown: no trace of its token, and `expired` once its time is over."""
    over = sign_in.status == "active" and not sign_in.is_live(now)
    return Session(
        id=sign_in.id,
        user_id=sign_in.user_id,
        status="expired" if over else sign_in.status,
        created_at=sign_in.created_at,
        expires_at=sign_in.expires_at,
        ended_at=sign_in.ended_at,
        ip_address=sign_in.ip_address,
        user_agent=sign_in.user_agent,
    )


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


def positive(text: str, name: str, most: int = INTEGER_MAX) -> int:
    """A positive integer from a query parameter."""
    if not _INTEGER.fullmatch(text):
        raise ParameterInvalid(name=name, reason="a positive integer is needed")
    if int(text) > most:
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
