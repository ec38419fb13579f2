"""How users are found: the terms and the text of a user, and what a query asks of them.

A store keeps these beside the document, in whatever index serves it; `matches` says what they mean.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from operator import attrgetter, is_
from typing import Literal

import msgspec

from userfold.core.identifiers import GIVEN_LENGTH_MAX
from userfold.core.records import EmailAddress, PhoneNumber, Presence, User

_BLANKS = {ord("\n"): " ", 0: " "}

Order = Literal[
    "created_at",
    "updated_at",
    "last_active_at",
    "last_sign_in_at",
    "email",
    "phone",
    "username",
    "first_name",
    "last_name",
]
# Times that the presence of a user tells. Who has none stands before all others, and no limit to that time finds them.
PRESENCE_TIMES: tuple[Order, ...] = ("last_active_at", "last_sign_in_at")
# Orders by a name. A store keeps these values too; who has none stands before all others.
NAME_ORDERS = ("email", "phone", "username", "first_name", "last_name")

DISABLED = "state|disabled"  # the term of a user that is disabled
HAS_TOTP = "state|totp"  # and of one that has something encrypted

# A shorter text is looked for at the beginning of terms, because an index of parts has nothing shorter than this.
TEXT_LENGTH_MIN = 3

# Fields whose change changes what a user is found by.
SEARCHED_FIELDS = (
    "external_id",
    "username",
    "first_name",
    "last_name",
    "name",
    "email_addresses",
    "phone_numbers",
    "contact_email",
    "contact_phone",
    "segments",
    "disabled",
    "totp_enabled",
)
_searched = attrgetter(*SEARCHED_FIELDS)

# Terms of these kinds are looked through for a short text, at their beginning.
TERM_KINDS = (
    "id",
    "folded_id",
    "external_id",
    "folded_external_id",
    "username",
    "first_name",
    "last_name",
    "name",
    "email",
    "phone",
    "contact_email",
    "contact_phone",
)
# Compared as they are. Where folding changes one, the folded form is a term too, for the beginnings that people type.
EXACT_KINDS = frozenset({"id", "external_id", "segment", "idn", "state"})

Position = tuple[int | str, str]


class Part(msgspec.Struct, frozen=True):
    """A text that stands in a value of one of these kinds; one that is shorter than `TEXT_LENGTH_MIN` begins it."""

    text: str
    kinds: tuple[str, ...]


class UserQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which users, in which order, from where.

    `any_terms`: a user has one of these; `also`: and one of each of these; `without`: and none of these.
    `text`: it stands in one of a user's terms, or, if it is shorter than `TEXT_LENGTH_MIN`, one begins with it.
    What is called `…_after` and `…_before` is outside of what is asked for. `after`: (order value, id) of the last user
    of the page before; `offset`: how many are left out from there.
    """

    project_id: str
    any_terms: tuple[str, ...] | None = None
    also: tuple[tuple[str, ...], ...] = ()
    without: tuple[str, ...] = ()
    text: str | None = None
    parts: tuple[Part, ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    active_after: int | None = None
    active_before: int | None = None
    signed_in_after: int | None = None
    signed_in_before: int | None = None
    order: Order = "created_at"
    descending: bool = False
    after: Position | None = None
    offset: int = 0
    limit: int


def terms(user: User) -> tuple[str, ...]:
    """What the user is found by."""
    found = [term(kind, value) for kind, value in _values(user) if value]
    found += [
        term(f"folded_{kind}", value)
        for kind, value in _values(user)
        if value and kind in EXACT_KINDS and fold(value) != value
    ]
    found += [term("segment", segment_id) for segment_id in user.segments]
    found += [term("idn", address.id) for address in user.email_addresses]
    found += [term("idn", number.id) for number in user.phone_numbers]
    found += [DISABLED] if user.disabled else []
    found += [HAS_TOTP] if user.totp_enabled else []
    return tuple(found)


def term(kind: str, value: str) -> str:
    """`kind|value`. Ids are exact; everything else is folded."""
    return f"{kind}|{value if kind in EXACT_KINDS else fold(value)}"


def text(user: User) -> str:
    """All values that a search looks into, folded, each on a line of its own."""
    return "\n".join(fold(value) for _, value in _values(user) if value)


def fold(value: str) -> str:
    """`value` as searches compare it: NFC and case folded, on one line, without U+0000, at which an index may stop."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())
    return folded.translate(_BLANKS)


def wanted(asked: str) -> str | None:
    """What to look for when `asked` is searched for; None if no value can have it."""
    # No value has U+0000 once it is folded, none is so long, and folding takes time by the square of the length.
    return None if "\0" in asked or len(asked) > GIVEN_LENGTH_MAX else fold(asked)


def same_terms(before: User, after: User) -> bool:
    """Whether two versions of a user are found by the same; quick, because what did not change is shared."""
    return all(map(is_, _searched(before), _searched(after)))


def matches(user: User, query: UserQuery, presence: Presence | None = None) -> bool:
    """Whether `query` asks for `user`, whatever its order and page. `presence`: that of the user, if it has one."""
    own = terms(user)
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    if not all(set(own) & set(group) for group in groups) or set(own) & set(query.without):
        return False
    for name, after, before in time_limits(query):
        time = _time(user, name, presence)
        if (after is not None and time <= after) or (before is not None and time >= before):
            return False
    if not all(has_part(user, part) for part in query.parts):
        return False
    if query.text is None:
        return True
    part = wanted(query.text)
    if part is None:
        return False
    if len(part) < TEXT_LENGTH_MIN:
        return any(begins_with(own_term, part) for own_term in own)
    return any(part in line for line in text(user).split("\n"))


def has_part(user: User, asked: Part) -> bool:
    """Whether the text of `asked` stands in one of the user's values of its kinds."""
    part = wanted(asked.text)
    if part is None:
        return False
    kinds = {*asked.kinds, *(f"folded_{kind}" for kind in asked.kinds)}
    own = [own for own in terms(user) if own.partition("|")[0] in kinds]
    if len(part) < TEXT_LENGTH_MIN:
        return any(begins_with(own_term, part) for own_term in own)
    return any(part in own_term.partition("|")[2] for own_term in own)


def begins_with(own_term: str, beginning: str) -> bool:
    """Whether the value of a term begins with a short, folded text."""
    kind, _, value = own_term.partition("|")
    return kind in TERM_KINDS and value.startswith(beginning)


def time_limits(query: UserQuery) -> Iterator[tuple[Order, int | None, int | None]]:
    """(which time, after when, before when), of each time that `query` limits."""
    limits: tuple[tuple[Order, int | None, int | None], ...] = (
        ("created_at", query.created_after, query.created_before),
        ("last_active_at", query.active_after, query.active_before),
        ("last_sign_in_at", query.signed_in_after, query.signed_in_before),
    )
    for name, after, before in limits:
        if after is not None or before is not None:
            yield name, (max(after or 0, 0) if name in PRESENCE_TIMES else after), before


def times_in_order(presence: Presence | None) -> tuple[int, int]:
    """What each of `PRESENCE_TIMES` compares: 0 where there is no such time."""
    if presence is None:
        return 0, 0
    return presence.last_active_at or 0, presence.last_sign_in_at or 0


def position(user: User, order: Order, presence: Presence | None = None) -> Position:
    """Where the user stands in that order. Ids make it exact: times may be equal."""
    if order not in NAME_ORDERS:
        return _time(user, order, presence), user.id
    return names_in_order(user)[NAME_ORDERS.index(order)], user.id


def names_in_order(user: User) -> tuple[str, ...]:
    """What each of `NAME_ORDERS` compares: folded, "" where there is nothing; of addresses the primary one."""
    names = (
        _primary(user.email_addresses, "email_address"),
        _primary(user.phone_numbers, "phone_number"),
        user.username,
        user.first_name,
        user.last_name,
    )
    return tuple(fold(name or "") for name in names)


def _time(user: User, name: str, presence: Presence | None) -> int:
    if name in PRESENCE_TIMES:
        return times_in_order(presence)[PRESENCE_TIMES.index(name)]
    time: int = getattr(user, name)
    return time


def _primary(addresses: tuple[EmailAddress, ...] | tuple[PhoneNumber, ...], name: str) -> str | None:
    return next((getattr(address, name) for address in addresses if address.primary), None)


def _values(user: User) -> Iterator[tuple[str, str | None]]:
    yield "id", user.id
    yield "external_id", user.external_id
    yield "username", user.username
    yield "first_name", user.first_name
    yield "last_name", user.last_name
    yield "name", user.name
    for address in user.email_addresses:
        yield "email", address.email_address
    for number in user.phone_numbers:
        yield "phone", number.phone_number
    yield "contact_email", user.contact_email
    yield "contact_phone", user.contact_phone
