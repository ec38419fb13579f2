"""What Clerk's clients ask lists for: the query parameters of `GET /users`, `/users/count` and `/sessions`.

A filter that Userfold cannot answer is refused, because one that is left out finds everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import parse_qs

import msgspec

from userfold.api.clerk.wire import FieldMissing, FieldMissingBeside, FieldNotBeside
from userfold.api.wire import ParameterUnknown, Request
from userfold.core import identifiers, queries
from userfold.core.errors import FieldInvalid, InputError
from userfold.core.queries import DISABLED, Order, Part, UserQuery
from userfold.core.records import User

PAGE_SIZE = 10
PAGE_SIZE_MAX = 500
VALUES_MAX = 100

Given = Mapping[str, list[str]]

ORDERS: dict[str, Order] = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "last_active_at": "last_active_at",
    "last_sign_in_at": "last_sign_in_at",
    "email_address": "email",
    "phone_number": "phone",
    "username": "username",
    "first_name": "first_name",
    "last_name": "last_name",
    "web3wallet": "created_at",  # nobody has one, so that nobody comes before another
}
# Lists of exact values: the kind of the terms, and the normal form. A value that has none finds nobody.
_EXACT: dict[str, tuple[str, Callable[[str], str]]] = {
    "email_address": ("email", identifiers.email),
    "phone_number": ("phone", identifiers.phone),
    "username": ("username", identifiers.username),
    "web3_wallet": ("web3_wallet", identifiers.bounded),
}
# Lists whose values begin with + or with -.
_SIGNED = {"user_id": "id", "external_id": "external_id", "organization_id": "organization"}
_PARTS: dict[str, tuple[str, ...]] = {
    "email_address_query": ("email",),
    "phone_number_query": ("phone",),
    "username_query": ("username",),
    "name_query": ("first_name", "last_name"),
}
# The parameter, and what `UserQuery` calls it.
_TIMES = {
    "created_at_after": "created_after",
    "created_at_before": "created_before",
    "last_active_at_since": "active_after",  # what last_active_at_after was called before; that one counts
    "last_active_at_after": "active_after",
    "last_active_at_before": "active_before",
    "last_sign_in_at_after": "signed_in_after",
    "last_sign_in_at_before": "signed_in_before",
}
_PAGE = ("limit", "offset", "order_by", "starting_after")
_OTHERS = ("query", "banned", "provider", "provider_user_id", "__clerk_api_version")
KNOWN = frozenset({*_EXACT, *_SIGNED, *_PARTS, *_TIMES, *_PAGE, *_OTHERS})

# All that Clerk knows. Ours are the first three.
SESSION_STATUSES = ("active", "revoked", "expired", "ended", "removed", "abandoned", "replaced", "pending")
_SESSION_PARAMETERS = frozenset(
    {"user_id", "client_id", "status", "limit", "offset", "paginated", "__clerk_api_version"}
)

_INTEGER = re.compile(r"[0-9]{1,18}")


class ListTooLong(InputError):
    """The parameter at {path} has too many values: at most {size_max} are allowed."""

    code = "list_too_long"


class DateInvalid(FieldInvalid):
    """The value at {path} is no time: milliseconds since 1970 are needed."""


class SessionsOfNobody(FieldMissing):
    """The parameter at {path} is needed, or client_id."""


def parameters(request: Request) -> Given:
    """The query parameters; each may be given several times."""
    return parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)


def refuse_unknown(given: Given) -> None:
    """Raise `ParameterUnknown` for a parameter that Clerk does not have."""
    for name in given:
        if name not in KNOWN:
            raise ParameterUnknown(name=name[:64])


def filters(given: Given, project_id: str) -> UserQuery:
    """Whom the parameters ask for, whatever the page. Raises `InputError`."""
    also = [tuple(_exact(given, name)) for name in _EXACT if name in given]
    without: list[str] = []
    for name, kind in _SIGNED.items():
        included, excluded = _signed(given, name, kind)
        also += [included] if included else []
        without += excluded
    for name, other in (("provider", "provider_user_id"), ("provider_user_id", "provider")):
        if name in given and other not in given:
            raise FieldMissingBeside(path=f"/{other}", given=name)
    if "provider" in given:
        also.append(())  # nobody has an account elsewhere
    banned = _flag(given, "banned")
    if banned is not None:
        also += [(DISABLED,)] if banned else []
        without += [] if banned else [DISABLED]
    query = UserQuery(
        project_id=project_id,
        also=tuple(also),
        without=tuple(without),
        text=_last(given, "query") or None,
        parts=tuple(Part(given[name][-1], kinds) for name, kinds in _PARTS.items() if _last(given, name)),
        limit=PAGE_SIZE,
    )
    times = {name: _time(given, parameter) for parameter, name in _TIMES.items() if parameter in given}
    return msgspec.structs.replace(query, **times)


def paged(query: UserQuery, given: Given, start: User | None) -> UserQuery:
    """`query` with the order and the page that are asked for; `start` is the user of `starting_after`."""
    order_by = given.get("order_by", ["-created_at"])[0]  # only the first counts
    order, descending = ORDERS.get(order_by.lstrip("+- ")), order_by.startswith("-")
    if order is None or len(order_by) - len(order_by.lstrip("+- ")) > 1:
        raise FieldInvalid(path="/order_by", reason=f"one of {', '.join(ORDERS)} is needed, with + or - before it")
    limit, offset = limit_and_offset(given)
    if "starting_after" in given:
        if start is None:
            raise FieldInvalid(path="/starting_after", reason="there is no such user")
        if order_by.lstrip("+- ") != "created_at":
            raise FieldNotBeside(path="/starting_after", given="an order but created_at")
        if offset:
            raise FieldNotBeside(path="/starting_after", given="offset")
    after = None if start is None else queries.position(start, order)
    return msgspec.structs.replace(query, order=order, descending=descending, after=after, limit=limit, offset=offset)


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are asked for: of a user, of a client or of both."""

    user_id: str | None
    client_id: str | None
    status: str | None
    paginated: bool
    limit: int
    offset: int

    def wants(self, status: str) -> bool:
        """Whether sessions of that status are asked for."""
        return self.status in (None, status)


def session_query(given: Given) -> SessionQuery:
    """What `GET /sessions` asks for. Raises `InputError`, `ParameterUnknown`."""
    for name in given:
        if name not in _SESSION_PARAMETERS:
            raise ParameterUnknown(name=name[:64])
    user_id, client_id, status = (_last(given, name) or None for name in ("user_id", "client_id", "status"))
    if user_id is None and client_id is None:
        raise SessionsOfNobody(path="/user_id")
    if status not in (None, *SESSION_STATUSES):
        raise FieldInvalid(path="/status", reason=f"one of {', '.join(SESSION_STATUSES)} is needed")
    limit, offset = limit_and_offset(given)
    return SessionQuery(
        user_id=user_id,
        client_id=client_id,
        status=status,
        paginated=_flag(given, "paginated") or False,
        limit=limit,
        offset=offset,
    )


def limit_and_offset(given: Given) -> tuple[int, int]:
    """Which part of a list is asked for. More than the most there can be is refused: Clerk's 10 would surprise."""
    limit, offset = _integer(given, "limit"), _integer(given, "offset")
    if limit is not None and not 1 <= limit <= PAGE_SIZE_MAX:
        raise FieldInvalid(path="/limit", reason=f"1 to {PAGE_SIZE_MAX} is needed")
    return PAGE_SIZE if limit is None else limit, offset or 0


def _exact(given: Given, name: str) -> Iterator[str]:
    kind, normalise = _EXACT[name]
    for value in _listed(given, name):
        try:
            # A raw + is a blank once it is decoded.
            yield queries.term(
                kind, normalise("+" + value[1:] if name == "phone_number" and value[:1] == " " else value)
            )
        except ValueError:
            continue


def _signed(given: Given, name: str, kind: str) -> tuple[tuple[str, ...], list[str]]:
    """The terms that users must have one of, and those that they must not have."""
    values = _listed(given, name)
    included = (queries.term(kind, value.removeprefix("+").lstrip(" ")) for value in values if value[:1] != "-")
    return tuple(included), [queries.term(kind, value[1:]) for value in values if value[:1] == "-"]


def _listed(given: Given, name: str) -> list[str]:
    values = given.get(name, [])
    if len(values) > VALUES_MAX:
        raise ListTooLong(path=f"/{name}", size_max=VALUES_MAX)
    return values


def _last(given: Given, name: str) -> str | None:
    return given[name][-1] if name in given else None


def _integer(given: Given, name: str) -> int | None:
    value = _last(given, name)
    if value is None:
        return None
    if not _INTEGER.fullmatch(value):
        raise FieldInvalid(path=f"/{name}", reason="an integer is needed")
    return int(value)


def _time(given: Given, name: str) -> int | None:
    try:
        return _integer(given, name)
    except FieldInvalid:
        raise DateInvalid(path=f"/{name}") from None


def _flag(given: Given, name: str) -> bool | None:
    value = _last(given, name)
    if value not in (None, "true", "false"):
        raise FieldInvalid(path=f"/{name}", reason="true or false is needed")
    return None if value is None else value == "true"
