"""Which table holds which kind of record, and the SQL that reads and writes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from userfold.core.records import Identifier, Record
from userfold.storage.codec import from_text, to_text

Row = tuple[Any, ...]


class Table(msgspec.Struct, frozen=True):
    """The table of a kind. Statements take `(project_id, id)` and then the row's values."""

    select: str
    insert: str
    update: str
    delete: str
    to_row: Callable[[Record], Row]
    from_row: Callable[[Row], Record]


def _table(
    name: str, columns: tuple[str, ...], to_row: Callable[[Record], Row], from_row: Callable[[Row], Record]
) -> Table:
    """`columns` are what `to_row` gives; `from_row` takes them with the id before them."""
    # Only names written in this file are put into SQL; values are always bound.
    listed = ", ".join(columns)
    marks = ", ".join(f"?{3 + i}" for i in range(len(columns)))
    settings = ", ".join(f"{column} = ?{3 + i}" for i, column in enumerate(columns))
    here = "WHERE project_id = ?1 AND id = ?2"
    return Table(
        select=f"SELECT id, {listed} FROM {name} {here}",  # noqa: S608
        insert=f"INSERT INTO {name} (project_id, id, {listed}) VALUES (?1, ?2, {marks})",  # noqa: S608
        update=f"UPDATE {name} SET {settings} {here}",  # noqa: S608
        delete=f"DELETE FROM {name} {here}",  # noqa: S608
        to_row=to_row,
        from_row=from_row,
    )


def _document_table(name: str, kind: str) -> Table:
    return _table(name, ("document",), lambda record: (to_text(record),), lambda row: from_text(kind, row[1]))


def _child_table(name: str, kind: str, *indexed: str) -> Table:
    """A table of records that belong to a user. `indexed`: fields that are columns too."""

    def to_row(record: Record) -> Row:
        return getattr(record, "user_id", None) or "", *(getattr(record, field) for field in indexed), to_text(record)

    return _table(name, ("user_id", *indexed, "document"), to_row, lambda row: from_text(kind, row[-1]))


def _identifier_row(record: Record) -> Row:
    assert isinstance(record, Identifier)
    return record.user_id, record.set_by


TABLES: dict[str, Table] = {
    "identifier": _table(
        "identifiers",
        ("user_id", "set_by"),
        _identifier_row,
        lambda row: Identifier(identifier=row[0], user_id=row[1], set_by=row[2]),
    ),
    "idempotency": _child_table("answers", "idempotency", "expires_at"),
    "sign_in": _child_table("sign_ins", "sign_in", "expires_at"),
    "session": _child_table("sessions", "session", "expires_at"),
    "event": _child_table("events", "event"),
    "secrets": _document_table("secrets", "secrets"),
    "presence": _document_table("presences", "presence"),
    "tombstone": _document_table("tombstones", "tombstone"),
    "mirror": _document_table("mirrors", "mirror"),
    "erasure": _document_table("erasures", "erasure"),
    "project": _document_table("projects", "project"),
    "api_key": _document_table("api_keys", "api_key"),
    "segment": _document_table("segments", "segment"),
    "attribute": _document_table("attributes", "attribute"),
}
# Collections other than a user's chain of changes.
SELECT_MEMBERS: dict[str, str] = {
    "answers": "SELECT document FROM answers WHERE project_id = ?1 AND user_id = ?2 ORDER BY id",
    "sign_ins": "SELECT document FROM sign_ins WHERE project_id = ?1 AND user_id = ?2 ORDER BY id",
}
DELETE_MEMBERS: dict[str, str] = {
    "answers": "DELETE FROM answers WHERE project_id = ?1 AND user_id = ?2",
    "sign_ins": "DELETE FROM sign_ins WHERE project_id = ?1 AND user_id = ?2",
}
LISTS: dict[str, str] = {
    "project": "SELECT document FROM projects ORDER BY id",
    "api_key": "SELECT document FROM api_keys ORDER BY id",
    "erasure": "SELECT document FROM erasures ORDER BY id",
    "segment": "SELECT document FROM segments ORDER BY id",
    "attribute": "SELECT document FROM attributes ORDER BY id",
}
EXPIRED: dict[str, str] = {
    "session": "SELECT project_id, id FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
    "idempotency": "SELECT project_id, id FROM answers WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
    "sign_in": "SELECT project_id, id FROM sign_ins WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
}
AFTER_ALL = "~"  # sorts after every id that Userfold makes
# The records of a user, page by page, in the order of their ids (?3: after which) or in the other.
OF_USER: dict[str, tuple[str, str]] = {
    kind: (
        f"SELECT document FROM {name} WHERE project_id = ?1 AND user_id = ?2 AND id > ?3 ORDER BY id LIMIT ?4",  # noqa: S608
        f"SELECT document FROM {name} WHERE project_id = ?1 AND user_id = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",  # noqa: S608
    )
    for kind, name in (("session", "sessions"), ("event", "events"), ("sign_in", "sign_ins"))
}

SELECT_USER = "SELECT document, last_change_id FROM users WHERE project_id = ?1 AND id = ?2"
INSERT_USER = (
    "INSERT INTO users (project_id, id, version, last_change_id, created_at, updated_at, document,"
    " email, phone, username, first_name, last_name)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
)
# An index is written for every column that is set, whether or not its value differs: so what stays is not set.
UPDATE_USER = (
    "UPDATE users SET version = ?3, last_change_id = ?4, updated_at = ?5, document = ?6"
    " WHERE project_id = ?1 AND id = ?2 AND version = ?7"
)
# For a user who gave way to another of its id.
UPDATE_CREATED_AT = "UPDATE users SET created_at = ?3 WHERE project_id = ?1 AND id = ?2"
DELETE_USER = "DELETE FROM users WHERE project_id = ?1 AND id = ?2 AND version = ?3"

SELECT_USER_ROW = "SELECT row FROM users WHERE project_id = ?1 AND id = ?2"
UPDATE_NAMES = (
    "UPDATE users SET email = ?3, phone = ?4, username = ?5, first_name = ?6, last_name = ?7"
    " WHERE project_id = ?1 AND id = ?2"
)
# Of its presence, what a user is found by; each apart, because most who are active did not sign in just now.
UPDATE_LAST_ACTIVE_AT = "UPDATE users SET last_active_at = ?3 WHERE project_id = ?1 AND id = ?2"
UPDATE_LAST_SIGN_IN_AT = "UPDATE users SET last_sign_in_at = ?3 WHERE project_id = ?1 AND id = ?2"
INSERT_TERM = "INSERT OR IGNORE INTO user_terms (project_id, term, user_id) VALUES (?1, ?2, ?3)"
DELETE_TERM = "DELETE FROM user_terms WHERE project_id = ?1 AND term = ?2 AND user_id = ?3"
INSERT_SEARCH = "INSERT INTO user_search (rowid, text) VALUES (?1, ?2)"
DELETE_SEARCH = "INSERT INTO user_search (user_search, rowid, text) VALUES ('delete', ?1, ?2)"

INSERT_CHANGE = "INSERT INTO changes (project_id, id, previous_id, version, document) VALUES (?1, ?2, ?3, ?4, ?5)"
INSERT_MARK = "INSERT INTO change_marks (project_id, user_id, version, change_id) VALUES (?1, ?2, ?3, ?4)"
DELETE_MARKS = "DELETE FROM change_marks WHERE project_id = ?1 AND user_id = ?2"
# ?2 is the head of a chain; walking it needs no index by user, so that writing a change only appends.
DELETE_CHAIN = """
WITH RECURSIVE chain (id, previous_id) AS (
    SELECT id, previous_id FROM changes WHERE project_id = ?1 AND id = ?2
    UNION ALL
    SELECT earlier.id, earlier.previous_id FROM chain
    JOIN changes AS earlier ON earlier.project_id = ?1 AND earlier.id = chain.previous_id
)
DELETE FROM changes WHERE project_id = ?1 AND id IN (SELECT id FROM chain)
"""

SELECT_CHANGE = "SELECT document FROM changes WHERE project_id = ?1 AND id = ?2"
SELECT_HEAD = "SELECT version, last_change_id FROM users WHERE project_id = ?1 AND id = ?2"
SELECT_MARK = (
    "SELECT change_id FROM change_marks WHERE project_id = ?1 AND user_id = ?2 AND version >= ?3"
    " ORDER BY version LIMIT 1"
)
# From ?2 back to version ?3, of which those up to version ?4 are wanted.
SELECT_CHAIN = """
WITH RECURSIVE chain (id, previous_id, version, document) AS (
    SELECT id, previous_id, version, document FROM changes WHERE project_id = ?1 AND id = ?2
    UNION ALL
    SELECT earlier.id, earlier.previous_id, earlier.version, earlier.document FROM chain
    JOIN changes AS earlier ON earlier.project_id = ?1 AND earlier.id = chain.previous_id
    WHERE chain.version > ?3
)
SELECT document FROM chain WHERE version BETWEEN ?3 AND ?4 ORDER BY version
"""
