"""Finding users: the indexes beside the documents, and the SQL of a query."""

from __future__ import annotations

from typing import Any

import apsw

from userfold.core.queries import TERM_KINDS, TEXT_LENGTH_MIN, UserQuery, fold, terms, text
from userfold.core.records import User
from userfold.storage.sqlite import tables

Values = dict[str, Any]

_BEYOND = "\U0010ffff" * 256  # sorts after every other character


def add(db: apsw.Connection, project_id: str, user: User) -> None:
    """Make the user findable. Its row must be there."""
    rowid = _rowid(db, project_id, user)
    db.executemany(tables.INSERT_TERM, [(project_id, term, user.id) for term in terms(user)])
    db.execute(tables.INSERT_SEARCH, (rowid, text(user)))


def remove(db: apsw.Connection, project_id: str, user: User) -> None:
    """Undo `add` of that same version of the user. Its row must still be there."""
    rowid = _rowid(db, project_id, user)
    db.executemany(tables.DELETE_TERM, [(project_id, term, user.id) for term in terms(user)])
    db.execute(tables.DELETE_SEARCH, (rowid, text(user)))


def select(query: UserQuery) -> tuple[str, Values]:
    """The SQL of one page and its values. Only names from this file are put into the SQL."""
    values: Values = {"project_id": query.project_id, "limit": query.limit}
    conditions = ["project_id = :project_id"]
    if query.any_terms is not None:
        conditions.append(f"id IN ({_having(query.any_terms, values)})")
    if query.text is not None:
        conditions.append(_containing(fold(query.text), values))
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


def _containing(wanted: str, values: Values) -> str:
    if "\0" in wanted:
        return "0"  # no value has U+0000, and FTS5 reads a text only up to it
    if len(wanted) >= TEXT_LENGTH_MIN:
        values["phrase"] = '"' + wanted.replace('"', '""') + '"'
        return "rowid IN (SELECT rowid FROM user_search WHERE user_search MATCH :phrase)"
    ranges = []
    for kind in TERM_KINDS:
        values[f"{kind}_from"], values[f"{kind}_to"] = f"{kind}|{wanted}", f"{kind}|{wanted}{_BEYOND}"
        ranges.append(
            "SELECT user_id FROM user_terms"  # noqa: S608
            f" WHERE project_id = :project_id AND term BETWEEN :{kind}_from AND :{kind}_to"
        )
    return f"id IN ({' UNION ALL '.join(ranges)})"


def _rowid(db: apsw.Connection, project_id: str, user: User) -> int:
    rowid: int = db.execute(tables.SELECT_USER_ROW, (project_id, user.id)).get
    return rowid
