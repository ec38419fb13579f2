"""Records into the tables: all that a batch writes, in a few statements for each table.

A user's id is nobody else's external_id. Who makes the user only looks whether the name is claimed, and who claims the
name only looks whether there is such a user; so two processes could do both at once. Therefore whoever inserts users
also claims, for the length of its transaction, the names that it found free; and whoever claims names looks once more
for the users whom it did not find. A name is waited for: the later of the two finds what the earlier one has committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from userfold.core.jsontext import encode
from userfold.core.queries import names_in_order, same_terms, terms, text, times_in_order
from userfold.core.records import COLLECTIONS, Change, Identifier, Key, Presence, Record, User
from userfold.storage.codec import to_text
from userfold.storage.port import Conflict, Update, Write, WriteFailed
from userfold.storage.postgres import tables
from userfold.storage.postgres.connections import Connection, translated
from userfold.storage.postgres.reading import by_table, fetch

ROWS_MAX = 2_000  # in one statement
COPY_ROWS_MIN = 128  # from here on COPY costs less than a statement

Rows = Sequence[tuple[Any, ...]]


async def write(connection: Connection, wish: Write, absent: Sequence[Key]) -> None:
    """`absent`: what was looked for, is not there, and is not inserted.

    Raises `Conflict`, `WriteFailed`, `Lost` or another `StoreError`; then the transaction is to end.
    """
    writer = _Writer(connection)
    kinds = {key.kind for key in wish.inserts}
    names = [key for key in absent if key.kind == "identifier"] if "user" in kinds else []
    try:
        await writer.remove(wish.removals)
        await writer.update(wish.updates)
        # In one statement with the others, because all wait for each other in the order of their keys.
        await writer.insert({**wish.inserts, **{key: _for_now(key) for key in names}})
        await writer.remove(dict.fromkeys(names))
        if "identifier" in kinds:
            await writer.look_again([key for key in absent if key.kind == "user"])
    except (TypeError, ValueError) as error:
        raise WriteFailed(f"{type(error).__name__}: {error}") from error


class _Writer:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remove(self, removals: Mapping[Key, Record | None]) -> None:
        users: dict[str, list[User]] = defaultdict(list)
        for key, gone in removals.items():
            if isinstance(gone, User):
                users[key.project_id].append(gone)
        for project_id, of_project in users.items():
            await self._remove_users(project_id, of_project)
        for kind, project_id, ids in by_table(key for key in removals if key.kind != "user"):
            sql = tables.DELETE_MEMBERS[kind] if kind in COLLECTIONS else tables.TABLES[kind].delete
            await self._execute(sql, project_id, ids)
            if kind == "presence":
                await self._place(project_id, dict.fromkeys(ids, times_in_order(None)))

    async def _remove_users(self, project_id: str, gone: Sequence[User]) -> None:
        await self._write_rows(tables.DELETE_USERS, project_id, [(user.id, user.version) for user in gone])
        await self._execute(tables.DELETE_INDEX, project_id, [user.id for user in gone])
        await self._execute(tables.DELETE_TIMES, project_id, [user.id for user in gone])
        await self._delete_terms(project_id, {user.id: set(terms(user)) for user in gone})

    async def update(self, updates: Mapping[Key, Update]) -> None:
        for kind, project_id, ids in by_table(updates):
            of_kind = [updates[Key(kind, project_id, id_)] for id_ in ids]
            if kind == "user":
                await self._update_users(project_id, [cast("tuple[User, User]", (u.before, u.after)) for u in of_kind])
            else:
                table = tables.TABLES[kind]
                rows = [(id_, *table.to_row(update.after)) for id_, update in zip(ids, of_kind, strict=True)]
                await self._write_rows(table.update, project_id, rows)
            if kind == "presence":
                moved = [(times_in_order(cast("Presence", u.before)), cast("Presence", u.after)) for u in of_kind]
                new = {after.id: times_in_order(after) for before, after in moved if before != times_in_order(after)}
                await self._place(project_id, new)

    async def _update_users(self, project_id: str, pairs: Sequence[tuple[User, User]]) -> None:
        rows = [(after.id, after.version, after.updated_at, to_text(after), before.version) for before, after in pairs]
        await self._write_rows(tables.UPDATE_USERS, project_id, rows)
        found_by_others = [
            (before, after)
            for before, after in pairs
            if not same_terms(before, after) or before.created_at != after.created_at
        ]
        if found_by_others:
            await self._index_again(project_id, found_by_others)

    async def _index_again(self, project_id: str, pairs: Sequence[tuple[User, User]]) -> None:
        lost = {before.id: set(terms(before)).difference(terms(after)) for before, after in pairs}
        gained = {after.id: set(terms(after)).difference(terms(before)) for before, after in pairs}
        await self._delete_terms(project_id, lost)
        await self._insert_terms(project_id, gained)
        await self._execute(tables.DELETE_INDEX, project_id, list(lost))
        await self._insert_index(project_id, [after for _, after in pairs])

    async def insert(self, inserts: Mapping[Key, Record]) -> None:
        """In one order of tables and keys: who inserts a key waits for whoever has inserted it and not committed."""
        for kind, project_id, ids in by_table(inserts):
            of_kind = [inserts[Key(kind, project_id, id_)] for id_ in ids]
            if kind == "user":
                await self._insert_users(project_id, cast("list[User]", of_kind))
            elif kind == "change":
                changes = cast("list[Change]", of_kind)
                rows: Rows = [(change.id, change.user_id, change.version, to_text(change)) for change in changes]
                await self._insert_rows(tables.INTO_CHANGES, project_id, rows)
            else:
                table = tables.TABLES[kind]
                rows = [(id_, *table.to_row(record)) for id_, record in zip(ids, of_kind, strict=True)]
                await self._insert_rows(table.into, project_id, rows)
            if kind == "presence":
                await self._place(
                    project_id,
                    {id_: times_in_order(cast("Presence", one)) for id_, one in zip(ids, of_kind, strict=True)},
                )

    async def look_again(self, absent: Sequence[Key]) -> None:
        """Raises `Conflict` if one of them is there by now."""
        for kind, project_id, ids in by_table(absent):
            found = await fetch(self._connection, kind, project_id, ids)
            if any(record is not None for record in found.values()):
                raise Conflict("a user has come to be that was not there when it was looked for")

    async def _insert_users(self, project_id: str, users: Sequence[User]) -> None:
        rows = [(user.id, user.version, user.updated_at, to_text(user)) for user in users]
        await self._insert_rows(tables.INTO_USERS, project_id, rows)
        await self._insert_rows(tables.INTO_TIMES, project_id, [(user.id, *times_in_order(None)) for user in users])
        await self._insert_index(project_id, users)
        await self._insert_terms(project_id, {user.id: set(terms(user)) for user in users})

    async def _insert_index(self, project_id: str, users: Sequence[User]) -> None:
        rows = [
            (user.id, user.created_at, *names_in_order(user), text(user), sorted(set(terms(user)))) for user in users
        ]
        for part in _parts(rows):
            if not await self._copied(tables.INTO_INDEX, project_id, part):
                with_json = [(*row[:-1], encode(row[-1]).decode()) for row in part]
                await self._write_rows(tables.INTO_INDEX.insert, project_id, with_json)

    async def _insert_terms(self, project_id: str, terms_of: Mapping[str, set[str]]) -> None:
        for part in _parts(_pairs(terms_of)):
            if not await self._copied(tables.INTO_TERMS, project_id, part):
                await self._execute(tables.INTO_TERMS.insert, project_id, *_columns(part))

    async def _place(self, project_id: str, times: Mapping[str, tuple[int, int]]) -> None:
        """Put users where the times of their presence belong."""
        for part in _parts([(id_, *of_user) for id_, of_user in times.items()]):
            await self._execute(tables.UPDATE_TIMES, project_id, *_columns(part))

    async def _delete_terms(self, project_id: str, terms_of: Mapping[str, set[str]]) -> None:
        for part in _parts(_pairs(terms_of)):
            await self._execute(tables.DELETE_TERMS, project_id, *_columns(part))

    async def _insert_rows(self, into: tables.Into, project_id: str, rows: Rows) -> None:
        """Raises `Conflict` if one of them was there already."""
        for part in _parts(rows):
            if not await self._copied(into, project_id, part):
                await self._write_rows(into.insert, project_id, part)

    async def _copied(self, into: tables.Into, project_id: str, rows: Rows) -> bool:
        """Whether there are so many that they were copied. Raises `Conflict` if one of them was there already."""
        if len(rows) < COPY_ROWS_MIN:
            return False
        records = ((project_id, *row) for row in rows)
        with translated():
            await self._connection.copy_records_to_table(into.name, records=records, columns=into.columns)
        return True

    async def _write_rows(self, sql: str, project_id: str, rows: Rows) -> None:
        """Raises `Conflict` if not every row was written: it was there already, or is not what was read."""
        for part in _parts(rows):
            written = await self._execute(sql, project_id, *_columns(part))
            if written != len(part):
                raise Conflict(f"{written} of {len(part)} rows could be written")

    async def _execute(self, sql: str, project_id: str, *columns: list[Any]) -> int:
        """How many rows it was."""
        with translated():
            status: str = await self._connection.execute(sql, project_id, *columns)
        return int(status.rpartition(" ")[2])


def _for_now(name: Key) -> Identifier:
    return Identifier(identifier=name.id, user_id="", set_by="backend")


def _pairs(terms_of: Mapping[str, set[str]]) -> Rows:
    return sorted((id_, term) for id_, own in terms_of.items() for term in own)


def _parts(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), ROWS_MAX):
        yield rows[start : start + ROWS_MAX]


def _columns(rows: Rows) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
