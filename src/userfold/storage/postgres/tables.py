"""Which table holds which kind of record, and the SQL that reads and writes many of one project at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from userfold.core.records import Identifier, Record
from userfold.storage.codec import from_text, to_text

Row = Sequence[Any]


class Into(msgspec.Struct, frozen=True):
    """Where rows go that are new: by COPY into `columns` of the table `name`, or by the statement `insert`.

    `$1` of the statement is the project, then come the other columns, all as arrays.
    """

    name: str
    columns: tuple[str, ...]
    insert: str


def _into(name: str, columns: dict[str, str]) -> Into:
    """`columns`: {name: type}, without the project."""
    # Only names written in this file are put into SQL; values are always bound.
    listed = ", ".join(columns)
    arrays = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(columns.values(), 2))
    insert = (
        f"INSERT INTO {name} (project_id, {listed})"  # noqa: S608
        f" SELECT $1::text, * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
    )
    return Into(name=name, columns=("project_id", *columns), insert=insert)


class Table(msgspec.Struct, frozen=True):
    """The table of a kind. `$1` of each statement is the project, `$2` the ids, then come the columns, all as arrays.

    `select` and `lock` give `(id, *columns)`, in the order of the ids; a row that is locked is so in that order too.
    """

    select: str
    lock: str
    into: Into
    update: str
    delete: str
    to_row: Callable[[Record], Row]
    from_row: Callable[[Row], Record]


def _table(
    name: str, columns: dict[str, str], to_row: Callable[[Record], Row], from_row: Callable[[Row], Record]
) -> Table:
    """`columns`, {name: type}, are what `to_row` gives; `from_row` takes them with the id before them."""
    listed = ", ".join(columns)
    arrays = ", ".join(f"${2 + i}::{type_}[]" for i, type_ in enumerate(("text", *columns.values())))
    settings = ", ".join(f"{column} = new.{column}" for column in columns)
    select = f"SELECT id, {listed} FROM {name} WHERE project_id = $1 AND id = ANY($2::text[]) ORDER BY id"  # noqa: S608
    return Table(
        select=select,
        lock=f"{select} FOR UPDATE",
        into=_into(name, {"id": "text", **columns}),
        update=(
            f"UPDATE {name} AS old SET {settings} FROM unnest({arrays}) AS new (id, {listed})"  # noqa: S608
            " WHERE old.project_id = $1 AND old.id = new.id"
        ),
        delete=f"DELETE FROM {name} WHERE project_id = $1 AND id = ANY($2::text[])",  # noqa: S608
        to_row=to_row,
        from_row=from_row,
    )


def _document_table(name: str, kind: str) -> Table:
    return _table(name, {"document": "text"}, lambda record: (to_text(record),), lambda row: from_text(kind, row[1]))


def _child_table(name: str, kind: str, *indexed: str) -> Table:
    """A table of records that belong to a user. `indexed`: fields, all of them integers, that are columns too."""

    def to_row(record: Record) -> Row:
        return getattr(record, "user_id", None) or "", *(getattr(record, field) for field in indexed), to_text(record)

    columns = {"user_id": "text", **dict.fromkeys(indexed, "bigint"), "document": "text"}
    return _table(name, columns, to_row, lambda row: from_text(kind, row[len(columns)]))


def _identifier_row(record: Record) -> Row:
    assert isinstance(record, Identifier)
    return record.user_id, record.set_by


TABLES: dict[str, Table] = {
    "identifier": _table(
        "identifiers",
        {"user_id": "text", "set_by": "text"},
        _identifier_row,
        lambda row: Identifier(identifier=row[0], user_id=row[1], set_by=row[2]),
    ),
    "idempotency": _child_table("answers", "idempotency", "expires_at"),
    "sign_in": _child_table("sign_ins", "sign_in", "expires_at"),
    "session": _child_table("sessions", "session", "expires_at"),
    "event": _child_table("events", "event"),
    "secrets": _document_table("secrets", "secrets"),
    "presence": _document_table("presences", "presence"),
    "mirror": _document_table("mirrors", "mirror"),
    "tombstone": _document_table("tombstones", "tombstone"),
    "erasure": _document_table("erasures", "erasure"),
    "project": _document_table("projects", "project"),
    "api_key": _document_table("api_keys", "api_key"),
    "segment": _document_table("segments", "segment"),
    "attribute": _document_table("attributes", "attribute"),
}

# Users. An update or a removal is of the version that was read.
SELECT_USERS = "SELECT id, document FROM users WHERE project_id = $1 AND id = ANY($2::text[]) ORDER BY id"
LOCK_USERS = f"{SELECT_USERS} FOR UPDATE"
INTO_USERS = _into("users", {"id": "text", "version": "bigint", "updated_at": "bigint", "document": "text"})
UPDATE_USERS = """
UPDATE users AS old SET version = new.version, updated_at = new.updated_at, document = new.document
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[])
    AS new (id, version, updated_at, document, version_before)
WHERE old.project_id = $1 AND old.id = new.id AND old.version = new.version_before
"""
DELETE_USERS = """
DELETE FROM users AS old USING unnest($2::text[], $3::bigint[]) AS gone (id, version)
WHERE old.project_id = $1 AND old.id = gone.id AND old.version = gone.version
"""
_ORDERED_BY = ("email", "phone", "username", "first_name", "last_name")
# An array of arrays would have to be rectangular, so to a statement terms come as JSON lists. COPY takes lists.
INTO_INDEX = Into(
    name="user_index",
    columns=("project_id", "id", "created_at", *_ORDERED_BY, "text", "terms"),
    insert="""
INSERT INTO user_index (project_id, id, created_at, email, phone, username, first_name, last_name, text, terms)
SELECT $1::text, id, created_at, email, phone, username, first_name, last_name, text,
    ARRAY (SELECT json_array_elements_text(terms))
FROM unnest(
    $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::json[]
) AS new (id, created_at, email, phone, username, first_name, last_name, text, terms)
""",
)
DELETE_INDEX = "DELETE FROM user_index WHERE project_id = $1 AND id = ANY($2::text[])"
INTO_TIMES = _into("user_times", {"id": "text", "last_active_at": "bigint", "last_sign_in_at": "bigint"})
UPDATE_TIMES = """
UPDATE user_times AS old SET last_active_at = new.last_active_at, last_sign_in_at = new.last_sign_in_at
FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS new (id, last_active_at, last_sign_in_at)
WHERE old.project_id = $1 AND old.id = new.id
"""
DELETE_TIMES = "DELETE FROM user_times WHERE project_id = $1 AND id = ANY($2::text[])"
INTO_TERMS = _into("user_terms", {"user_id": "text", "term": "text"})
DELETE_TERMS = """
DELETE FROM user_terms AS old USING unnest($2::text[], $3::text[]) AS gone (user_id, term)
WHERE old.project_id = $1 AND old.term = gone.term AND old.user_id = gone.user_id
"""

# Changes.
SELECT_CHANGES = "SELECT id, document FROM changes WHERE project_id = $1 AND id = ANY($2::text[])"
INTO_CHANGES = _into("changes", {"id": "text", "user_id": "text", "version": "bigint", "document": "text"})
SELECT_HISTORY = """
SELECT document FROM changes WHERE project_id = $1 AND user_id = $2 AND version > $3 AND version <= $4
ORDER BY version LIMIT $5
"""


def select(kind: str) -> str:
    """The statement that reads records of a kind by their ids."""
    return {"user": SELECT_USERS, "change": SELECT_CHANGES}.get(kind) or TABLES[kind].select


def lock(kind: str) -> str:
    """The same, and they are locked."""
    return LOCK_USERS if kind == "user" else TABLES[kind].lock


# Collections: `$2` are the ids of users.
SELECT_MEMBERS: dict[str, str] = {
    "changes": (
        "SELECT user_id, document FROM changes WHERE project_id = $1 AND user_id = ANY($2::text[])"
        " ORDER BY user_id, version"
    ),
    "answers": (
        "SELECT user_id, document FROM answers WHERE project_id = $1 AND user_id = ANY($2::text[]) ORDER BY user_id, id"
    ),
    "sign_ins": (
        "SELECT user_id, document FROM sign_ins WHERE project_id = $1 AND user_id = ANY($2::text[])"
        " ORDER BY user_id, id"
    ),
}
DELETE_MEMBERS: dict[str, str] = {
    "changes": "DELETE FROM changes WHERE project_id = $1 AND user_id = ANY($2::text[])",
    "answers": "DELETE FROM answers WHERE project_id = $1 AND user_id = ANY($2::text[])",
    "sign_ins": "DELETE FROM sign_ins WHERE project_id = $1 AND user_id = ANY($2::text[])",
}

LISTS: dict[str, str] = {
    "project": "SELECT document FROM projects ORDER BY id",
    "api_key": "SELECT document FROM api_keys ORDER BY id",
    "erasure": "SELECT document FROM erasures ORDER BY id",
    "segment": "SELECT document FROM segments ORDER BY id",
    "attribute": "SELECT document FROM attributes ORDER BY id",
}
EXPIRED: dict[str, str] = {
    "idempotency": "SELECT project_id, id FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
    "session": "SELECT project_id, id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
    "sign_in": "SELECT project_id, id FROM sign_ins WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
}
AFTER_ALL = "~"  # sorts after every id that Userfold makes
# The records of a user, page by page, in the order of their ids ($3: after which) or in the other.
OF_USER: dict[str, tuple[str, str]] = {
    kind: (
        f"SELECT document FROM {name} WHERE project_id = $1 AND user_id = $2 AND id > $3 ORDER BY id LIMIT $4",  # noqa: S608
        f"SELECT document FROM {name} WHERE project_id = $1 AND user_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",  # noqa: S608
    )
    for kind, name in (("session", "sessions"), ("event", "events"), ("sign_in", "sign_ins"))
}

# Gives a row to whoever has the lease now: nobody had it any more, or it is the same holder.
LEASE = """
INSERT INTO leases (id, holder, held_until) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
WHERE leases.held_until <= $4 OR leases.holder = excluded.holder RETURNING id
"""

USERS_KNOWN = "SELECT reltuples FROM pg_class WHERE oid = to_regclass('users')"  # -1: never analysed
ANALYZE = "ANALYZE users, user_index, user_times, user_terms, identifiers, changes"

# The row of this process. Who writes or asks waits for a transaction of this process that is not over yet.
NOTE_BATCH = """
INSERT INTO writers (id, batch_id, at) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET batch_id = excluded.batch_id, at = excluded.at
"""
LAST_BATCH = """
INSERT INTO writers (id, batch_id, at) VALUES ($1, '', $2)
ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING batch_id
"""
FORGET_WRITER = "DELETE FROM writers WHERE id = $1 OR at < $2"
