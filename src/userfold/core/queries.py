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
from userfold.core.records import User

_BLANKS = {ord("\n"): " ", 0: " "}

Order = Literal["created_at", "updated_at"]

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
EXACT_KINDS = frozenset({"id", "external_id", "segment"})


class UserQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which users, in which order, from where.

    `any_terms`: a user has one of these. `text`: it stands in one of a user's terms, or, if it is shorter than
    `TEXT_LENGTH_MIN`, one begins with it. `after`: (order value, id) of the last user of the page before.
    """

    project_id: str
    any_terms: tuple[str, ...] | None = None
    text: str | None = None
    order: Order = "created_at"
    descending: bool = False
    after: tuple[int, str] | None = None
    limit: int


def terms(user: User) -> tuple[str, ...]:
    """What the user is found by."""
    found = [term(kind, value) for kind, value in _values(user) if value]
    found += [
        term(f"folded_{kind}", value)
        for kind, value in _values(user)
        if value and kind in EXACT_KINDS and fold(value) != value
    ]
    return (*found, *(term("segment", segment_id) for segment_id in user.segments))


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


def matches(user: User, query: UserQuery) -> bool:
    """Whether `query` asks for `user`, whatever its order and page."""
    own = terms(user)
    if query.any_terms is not None and not set(own) & set(query.any_terms):
        return False
    if query.text is None:
        return True
    part = wanted(query.text)
    if part is None:
        return False
    if len(part) < TEXT_LENGTH_MIN:
        return any(begins_with(own_term, part) for own_term in own)
    return any(part in line for line in text(user).split("\n"))


def begins_with(own_term: str, beginning: str) -> bool:
    """Whether the value of a term begins with a short, folded text."""
    kind, _, value = own_term.partition("|")
    return kind in TERM_KINDS and value.startswith(beginning)


def position(user: User, order: Order) -> tuple[int, str]:
    """Where the user stands in that order. Ids make it exact: times may be equal."""
    return getattr(user, order), user.id


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
