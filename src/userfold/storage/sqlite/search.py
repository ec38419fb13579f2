"""Finding users: the indexes beside the documents, and the SQL of a query."""

from __future__ import annotations

from typing import Any

import apsw

from userfold.core.queries import TERM_KINDS, TEXT_LENGTH_MIN, UserQuery, terms, text, wanted
from userfold.core.records import User
from userfold.storage.codec import from_text
from userfold.storage.sqlite import tables

Values = dict[str, Any]


def rebuild(db: apsw.Connection) -> None:
    """Make every user findable, where no user is yet."""
    for row, project_id, document in db.execute("SELECT row, project_id, document FROM users"):
        user = from_text("user", document)
        assert isinstance(user, User)
        _add(db, row, project_id, user)


def add(db: apsw.Connection, project_id: str, user: User) -> None:
    """Make the user findable. Its row must be there."""
    _add(db, _row(db, project_id, user), project_id, user)


def remove(db: apsw.Connection, project_id: str, user: User) -> None:
    """Undo `add` of that same version of the user. Its row must still be there."""
    row = _row(db, project_id, user)
    db.executemany(tables.DELETE_TERM, [(project_id, term, user.id) for term in terms(user)])
    db.execute(tables.DELETE_SEARCH, (row, text(user)))


def select(query: UserQuery) -> tuple[str, Values]:
    """The SQL of one page and its values. Only names from this file are put into the SQL."""
    values: Values = {"project_id": query.project_id, "limit": query.limit}
    conditions = ["project_id = :project_id"]
    if query.any_terms is not None:
        conditions.append(f"id IN ({_having(query.any_terms, values)})")
    if query.text is not None:
        conditions.append(_containing(query.text, values))
    if query.after is not None:
        values["value"], values["id"] = query.after
        conditions.append(f"({query.order}, id) {'<' if query.descending else '>'} (:value, :id)")
    way = "DESC" if query.descending else "ASC"
    sql = (
        f"SELECT document FROM users WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {query.order} {way}, id {way} LIMIT :limit"
    )
    return sql, values


def _having(any_terms: tuple[str, ...], values: Values) -> str:
    named = {f"term{index}": term for index, term in enumerate(any_terms)}
    values.update(named)
    marks = ", ".join(f":{name}" for name in named)
    return f"SELECT user_id FROM user_terms WHERE project_id = :project_id AND term IN ({marks})"  # noqa: S608


def _containing(asked: str, values: Values) -> str:
    part = wanted(asked)
    if part is None:
        return "0"
    if len(part) >= TEXT_LENGTH_MIN:
        values["phrase"] = '"' + part.replace('"', '""') + '"'
        return "row IN (SELECT rowid FROM user_search WHERE user_search MATCH :phrase)"
    ranges = []
    for kind in TERM_KINDS:
        values[f"{kind}_from"], values[f"{kind}_to"] = f"{kind}|{part}", _end_of(f"{kind}|{part}")
        ranges.append(
            "SELECT user_id FROM user_terms"  # noqa: S608
            f" WHERE project_id = :project_id AND term >= :{kind}_from AND term < :{kind}_to"
        )
    return f"id IN ({' UNION ALL '.join(ranges)})"


def _end_of(beginning: str) -> str:
    """The first text after all that begin so, as SQLite compares: by code points."""
    last = ord(beginning[-1])
    if last == 0x10FFFF:
        return _end_of(beginning[:-1])
    return beginning[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # between them are no characters


def _add(db: apsw.Connection, row: int, project_id: str, user: User) -> None:
    db.executemany(tables.INSERT_TERM, [(project_id, term, user.id) for term in terms(user)])
    db.execute(tables.INSERT_SEARCH, (row, text(user)))


def _row(db: apsw.Connection, project_id: str, user: User) -> int:
    row: int = db.execute(tables.SELECT_USER_ROW, (project_id, user.id)).get
    return row
