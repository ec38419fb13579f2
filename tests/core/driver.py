"""Runs commands over a dict: the least that an engine and a store do, and the words that the tests of rules share."""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from userfold.core.applied import Applied
from userfold.core.commands import (
    Command,
    CreateUser,
    DeleteUser,
    Edit,
    ImportUser,
    Operate,
    SignInUser,
    UpdateUser,
    UpsertUser,
    UserLine,
)
from userfold.core.diff import fold
from userfold.core.errors import DomainError
from userfold.core.export_line import read_line
from userfold.core.jsontext import decode, encode
from userfold.core.operations import OPERATIONS
from userfold.core.reading import Records, Unread
from userfold.core.records import COLLECTIONS, Change, EffectiveSettings, Identifier, Key, Record, Session, User
from userfold.core.rules import apply, reads
from userfold.core.tracking import IDLE_MS
from userfold.core.trust import Author

PROJECT = "prj_1"
NOW = 1_750_000_000_000
DAY_MS = 86_400_000
SETTINGS = EffectiveSettings()

BROWSER = Author(source="milana", actor="ses_1", trust="browser", request_id="req_1")
VERIFIED = Author(source="client", actor="ses_2", trust="verified", request_id="req_2")
BACKEND = Author(source="native", actor="key_1", trust="backend", request_id="req_3")

Database = dict[Key, Record]

_numbers = itertools.count(1)


def fresh_entropy() -> int:
    """Another number each time, whose ids never meet those of an earlier one."""
    number = next(_numbers)
    return number << 80 | number << 20


class Reading(NamedTuple):
    """What a command looks at, and how often it was applied to find that out."""

    view: Records
    rounds: int


def look(
    command: Command, records: Database, *, now: int = NOW, entropy: int = 0, settings: EffectiveSettings = SETTINGS
) -> Reading:
    """Read what `command` asks for, as the engine does: the hints first, then whatever is said to be unread."""
    view: dict[Key, Any] = {key: _found(records, key) for key in reads(command)}
    for rounds in range(1, 20):
        try:
            apply(command, view, now=now, entropy=entropy, settings=settings)
        except Unread as unread:
            view |= {key: _found(records, key) for key in unread.keys}
        except DomainError:
            return Reading(MappingProxyType(view), rounds)
        else:
            return Reading(MappingProxyType(view), rounds)
    raise AssertionError(f"{type(command).__name__} asks for keys without end")


def run(
    command: Command,
    records: Database,
    *,
    now: int = NOW,
    entropy: int | None = None,
    settings: EffectiveSettings = SETTINGS,
) -> Applied:
    """What `command` comes to; its writes are then in `records`. Raises its refusal, and then none are."""
    entropy = fresh_entropy() if entropy is None else entropy
    view = look(command, records, now=now, entropy=entropy, settings=settings).view
    applied = apply(command, view, now=now, entropy=entropy, settings=settings)
    write(applied, records)
    return applied


def _found(records: Database, key: Key) -> Record | tuple[Record, ...] | None:
    if key.kind not in COLLECTIONS:
        return records.get(key)
    return tuple(record for member, record in records.items() if _is_member(member, record, key))


def write(applied: Applied, records: Database) -> None:
    """Do what a store does with the writes: None removes a record, or all members of a collection."""
    for key, record in applied.writes.items():
        if record is not None:
            records[key] = record
        elif key.kind in COLLECTIONS:
            for member in [k for k, r in records.items() if _is_member(k, r, key)]:
                del records[member]
        else:
            records.pop(key, None)


def _is_member(key: Key, record: Record, collection: Key) -> bool:
    of_kind = key.kind == COLLECTIONS[collection.kind] and key.project_id == collection.project_id
    return of_kind and getattr(record, "user_id", None) == collection.id


def refusal(
    command: Command, records: Database, *, now: int = NOW, settings: EffectiveSettings = SETTINGS
) -> DomainError:
    """Why `command` is refused. Fails if it is not, or if anything was written."""
    before = dict(records)
    with pytest.raises(DomainError) as caught:
        run(command, records, now=now, settings=settings)
    assert records == before
    return caught.value


def create(document: dict[str, Any], by: Author = BACKEND, *, mode: str = "merge_patch", **more: Any) -> CreateUser:
    return CreateUser(project_id=PROJECT, author=by, edits=(Edit(mode, document),), **more)


def update(
    user: User | str, document: dict[str, Any], by: Author = BACKEND, *, mode: str = "merge_patch", **more: Any
) -> UpdateUser:
    user_id = user if isinstance(user, str) else user.id
    return UpdateUser(project_id=PROJECT, author=by, user_id=user_id, edits=(Edit(mode, document),), **more)


def operate(
    user: User | str,
    operations: Any,
    by: Author = BACKEND,
    *,
    allowed: tuple[str, ...] = tuple(OPERATIONS),
    **more: Any,
) -> UpdateUser:
    user_id = user if isinstance(user, str) else user.id
    edits = (Operate(operations, allowed),)
    return UpdateUser(project_id=PROJECT, author=by, user_id=user_id, edits=edits, **more)


def sign_in(user_id: str, session_id: str = "ses_1", *, lifetime_ms: int = DAY_MS, **more: Any) -> SignInUser:
    return SignInUser(
        project_id=PROJECT,
        author=BACKEND,
        user_id=user_id,
        session_id=session_id,
        token_digest=f"digest of {session_id}",
        lifetime_ms=lifetime_ms,
        **more,
    )


def upsert(
    external_id: str, document: dict[str, Any], by: Author = BACKEND, *, mode: str = "merge_patch", **more: Any
) -> UpsertUser:
    return UpsertUser(project_id=PROJECT, author=by, external_id=external_id, edits=(Edit(mode, document),), **more)


def delete(user: User | str, by: Author = BACKEND, **more: Any) -> DeleteUser:
    user_id = user if isinstance(user, str) else user.id
    return DeleteUser(project_id=PROJECT, author=by, user_id=user_id, **more)


def line(user_id: str, *, change_id: str = "chg_1", version: int = 1, **fields: Any) -> dict[str, Any]:
    """A line of an export: a user of one version, with its history."""
    document = as_json(User(id=user_id, created_at=NOW, updated_at=NOW, version=version)) | fields
    told = {name: value for name, value in document.items() if name not in ("version", "updated_at")}
    change = {
        "id": change_id,
        "user_id": user_id,
        "version": version,
        "at": document["updated_at"],
        "source": "native",
        "actor": "key_1",
        "trust": "backend",
        "request_id": "req_1",
        "operations": [{"op": "add", "path": f"/{name}", "new": value} for name, value in told.items()],
    }
    return {"user": document, "system": {"identifiers": {}}, "changes": [change]}


def imported(given: dict[str, Any], **more: Any) -> ImportUser:
    """The command that takes over what a line holds."""
    read = read_line(given)
    assert isinstance(read, UserLine)
    return ImportUser(project_id=PROJECT, author=BACKEND, line=read, **more)


def trust(value: Any) -> str | None:
    """How a test says whose turn it is."""
    return getattr(value, "trust", None)


def user_of(applied: Applied) -> User:
    assert applied.user is not None
    return applied.user


def after(*commands: Command) -> Database:
    """What is there once these commands were carried out, one after the other."""
    records: Database = {}
    for command in commands:
        run(command, records)
    return records


def made(records: Database, document: dict[str, Any], by: Author = BACKEND, **more: Any) -> User:
    """A user that was just created."""
    return user_of(run(create(document, by, **more), records))


def stored(records: Database, user: User | str) -> User:
    """The user as it is now."""
    record = records[Key("user", PROJECT, user if isinstance(user, str) else user.id)]
    assert isinstance(record, User)
    return record


def session(records: Database, *, user_id: str | None = None, status: Any = "active", id: str = "ses_1") -> str:
    """The id of a session that is now there, and was just seen."""
    records[Key("session", PROJECT, id)] = Session(
        id=id, user_id=user_id, status=status, created_at=NOW, seen_at=NOW, expires_at=NOW + IDLE_MS
    )
    return id


def changes_of(records: Database, user_id: str) -> list[Change]:
    changes = [r for r in records.values() if isinstance(r, Change) and r.user_id == user_id]
    return sorted(changes, key=lambda change: change.version)


def names(records: Database) -> dict[str, str]:
    """{identifier: user id}, of all users."""
    return {r.identifier: r.user_id for r in records.values() if isinstance(r, Identifier)}


def names_of(records: Database, user_id: str) -> set[str]:
    """The identifiers of one user, without the number that every user has."""
    return {name for name, holder in names(records).items() if holder == user_id and not name.startswith("usercom_id|")}


def folded(records: Database, user_id: str) -> Any:
    """The user as its history tells it."""
    document: Any = {}
    for change in changes_of(records, user_id):
        document = fold(document, change.operations) | {"version": change.version, "updated_at": change.at}
    return document


def as_json(value: Any) -> Any:
    """Records as the JSON values that are stored and shown."""
    return decode(encode(value))
