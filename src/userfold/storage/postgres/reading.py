"""Records out of the tables: many keys at once, a statement for each table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from userfold.core.records import COLLECTIONS, Key, Record
from userfold.storage.codec import from_text
from userfold.storage.postgres import tables
from userfold.storage.postgres.connections import translated

Found = Record | tuple[Record, ...] | None
FoundByKey = dict[Key, Found]


def by_table(keys: Iterable[Key]) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, project, sorted ids): users first, then the other kinds, and in each of them by project."""
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in keys:
        ids[key.kind, key.project_id].append(key.id)
    for kind, project_id in sorted(ids, key=lambda at: (at[0] != "user", at)):
        yield kind, project_id, sorted(ids[kind, project_id])


def apart(keys: Sequence[Key]) -> tuple[list[Key], FoundByKey]:
    """Those of `keys` that can be looked for, and what is at the others: PostgreSQL has no text with U+0000."""
    absent: FoundByKey = {key: () if key.kind in COLLECTIONS else None for key in keys if not _is_text(key)}
    return [key for key in keys if key not in absent], absent


def is_text(value: str) -> bool:
    """Whether PostgreSQL can have heard of `value`."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _is_text(key: Key) -> bool:
    return is_text(key.project_id) and is_text(key.id)


async def fetch(connection: Any, kind: str, project_id: str, ids: list[str]) -> Mapping[Key, Found]:
    """{key: record, or members of a collection, or None}, of one kind and one project, without a lock."""
    if kind in COLLECTIONS:
        return await _members(connection, kind, project_id, ids)
    return await records(connection, tables.select(kind), kind, project_id, ids)


async def records(connection: Any, sql: str, kind: str, project_id: str, ids: list[str]) -> Mapping[Key, Found]:
    """{key: record | None} by a statement that selects or locks."""
    with translated():
        rows = await connection.fetch(sql, project_id, ids)
    found: FoundByKey = {Key(kind, project_id, id_): None for id_ in ids}
    table = tables.TABLES.get(kind)
    for row in rows:
        found[Key(kind, project_id, row[0])] = from_text(kind, row[1]) if table is None else table.from_row(row)
    return found


async def _members(connection: Any, kind: str, project_id: str, user_ids: list[str]) -> Mapping[Key, Found]:
    with translated():
        rows = await connection.fetch(tables.SELECT_MEMBERS[kind], project_id, user_ids)
    members: dict[str, list[Record]] = {user_id: [] for user_id in user_ids}
    for user_id, document in rows:
        members[user_id].append(from_text(COLLECTIONS[kind], document))
    return {Key(kind, project_id, user_id): tuple(of_user) for user_id, of_user in members.items()}
