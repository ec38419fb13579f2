"""Who may write what: one table, used by every API. It judges the difference that a command made, not its words.

| level    | who                                                                          |
|----------|------------------------------------------------------------------------------|
| browser  | whoever has the publishable key, which is public                             |
| verified | a browser with a token that the app's backend signed for this user           |
| backend  | a secret key, or an operator                                                 |

A field that may not be written keeps its value; the answer names it and says why (`Ignored`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from userfold.core.diff import leaves
from userfold.core.errors import UserIdProtected
from userfold.core.records import FIELDS, Operation, User

Level = Literal["browser", "verified", "backend"]


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants a change: kept in the history with it."""

    source: str  # native, clerk, wacht, milana, usercom, client, dashboard, cli, import, system
    actor: str  # the id of a key, a session or an operator
    trust: Level
    request_id: str = ""
    # JSON Pointers of the values that the app's backend signed in the token of a verified browser.
    signed: frozenset[str] = frozenset()


class Ignored(msgspec.Struct, frozen=True):
    """A field that was given and not written, and why."""

    path: str
    code: str


# A cell says why the field is left as it was; None lets the change through. It may also refuse the whole command.
Cell = Callable[[str, User, "tuple[Operation, ...]", Author], str | None]


def _yes(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    return None


def _no(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    return "not_permitted"


def _unless_owned(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    return "owned_by_backend" if field in before.owned else None


def _if_signed(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    covered = all(_is_signed(path, author.signed) for operation in operations for path in _written(operation))
    return None if covered else "not_signed"


def _unless_backend_set_it(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    if field in before.owned:
        raise UserIdProtected(path=f"/{field}")
    return None


TABLE: dict[str, dict[Level, Cell]] = {
    #               browser                             verified                  backend
    "contact": {"browser": _yes, "verified": _yes, "backend": _yes},
    "profile": {"browser": _unless_owned, "verified": _yes, "backend": _yes},
    "unsafe": {"browser": _no, "verified": _yes, "backend": _yes},
    "backend": {"browser": _no, "verified": _if_signed, "backend": _yes},
    "external_id": {"browser": _unless_backend_set_it, "verified": _yes, "backend": _yes},
    "system": {"browser": _no, "verified": _no, "backend": _no},
}

# Fields for which `User.owned` remembers that a backend set them last.
OWNABLE = frozenset(name for name, field in FIELDS.items() if field.writer in ("profile", "external_id"))


def judge(field: str, before: User, operations: tuple[Operation, ...], author: Author) -> str | None:
    """Why `author` may not make this change of `field` (a code for `Ignored`), or None if it may.

    Raises `UserIdProtected` where the whole command is to be refused.
    """
    return TABLE[FIELDS[field].writer][author.trust](field, before, operations, author)


def owned_after(owned: tuple[str, ...], changed: set[str], level: Level) -> tuple[str, ...]:
    """`User.owned` once somebody of `level` has changed the fields `changed`."""
    touched = changed & OWNABLE
    if not touched:
        return owned
    if level == "backend":
        return tuple(sorted({*owned, *touched}))
    # A verified browser may rename its user; that does not open the id to browsers that nobody verified.
    return tuple(name for name in owned if name not in touched or name == "external_id")


def _written(operation: Operation) -> Iterator[str]:
    """Everything that an operation writes: an object that is new was signed only if all in it was."""
    return leaves(operation.new, operation.path)


def _is_signed(path: str, signed: frozenset[str]) -> bool:
    return any(path == pointer or path.startswith(pointer + "/") for pointer in signed)
