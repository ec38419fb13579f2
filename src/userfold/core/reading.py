"""Reading through what the engine holds: a rule asks for keys, and says so when one was not read yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from userfold.core.commands import IfMatch, IfUserMatch, Unchanged
from userfold.core.errors import UserNotFound, VersionMismatch
from userfold.core.records import Key, Record, User

# A record, None where there is none, and for a collection a tuple.
Records = Mapping[Key, Record | tuple[Record, ...] | None]
Writes = dict[Key, Record | None]  # None: remove the record, or all of a collection

R = TypeVar("R", bound=Record)


class Unread(Exception):
    """The rules look at keys that were not read yet. Not a refusal: the engine reads them and applies again."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        super().__init__(keys)
        self.keys = keys


def read(records: Records, key: Key, kind: type[R]) -> R | None:
    """The record at `key`, or None if there is none. Raises `Unread`."""
    (record,) = read_all(records, [key])
    assert record is None or isinstance(record, kind)
    return record


def read_members(records: Records, key: Key, kind: type[R]) -> list[R]:
    """The records of the collection at `key`. Raises `Unread`."""
    members = read_all(records, [key])[0]
    assert isinstance(members, tuple)
    return [member for member in members if isinstance(member, kind)]


def read_all(records: Records, keys: list[Key]) -> list[Record | tuple[Record, ...] | None]:
    """The records at `keys`, in that order. Raises one `Unread` that names every key that is missing."""
    missing = tuple(key for key in keys if key not in records)
    if missing:
        raise Unread(missing)
    return [records[key] for key in keys]


def existing_user(records: Records, project_id: str, user_id: str) -> User:
    """The user of that id. Raises `UserNotFound`, `Unread`."""
    user = read(records, Key("user", project_id, user_id), User)
    if user is None:
        raise UserNotFound(user_id=user_id)
    return user


def match_version(version: int, wanted: IfMatch) -> None:
    """Raise `VersionMismatch` unless `version` is one of those that the caller made its request for."""
    if wanted is not None and wanted != "*" and version not in wanted:
        raise VersionMismatch(current=version)


def match_user(user: User, wanted: IfUserMatch) -> None:
    """Raise `VersionMismatch` unless `user` is as the caller knew it when it made its request."""
    if not isinstance(wanted, Unchanged):
        match_version(user.version, wanted)
    elif user.updated_at != wanted.updated_at:
        raise VersionMismatch(current=user.version)
