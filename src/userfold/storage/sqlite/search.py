"""Finding users: the indexes beside the documents, and how a query is answered from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from userfold.core.queries import TERM_KINDS, TEXT_LENGTH_MIN, UserQuery, terms, text, wanted
from userfold.core.records import User
from userfold.storage.codec import from_text
from userfold.storage.sqlite import tables

FEW = 1_000  # users who are looked up one by one, and sorted

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


def change(db: apsw.Connection, project_id: str, before: User, after: User) -> None:
    """What `remove` of one version and `add` of the next come to; only what differs is written."""
    old, new = terms(before), terms(after)
    _remove_terms(db, project_id, before, set(old).difference(new))
    _add_terms(db, project_id, after, set(new).difference(old))
    old_text, new_text = text(before), text(after)
    if old_text != new_text:
        row = _row(db, project_id, after)
        db.execute(tables.DELETE_SEARCH, (row, old_text))
        db.execute(tables.INSERT_SEARCH, (row, new_text))


def remove(db: apsw.Connection, project_id: str, user: User) -> None:
    """Undo `add` of that same version of the user. Its row must still be there."""
    _remove_terms(db, project_id, user, terms(user))
    db.execute(tables.DELETE_SEARCH, (_row(db, project_id, user), text(user)))


def documents(db: apsw.Connection, query: UserQuery) -> Iterator[str]:
    """The documents of one page, in its order. Only names from this file are put into the SQL.

    Few users are looked up and then put into order; among many, the order is followed until the page is full. SQLite
    cannot know which it is, and would always walk through the whole order: so it is counted first.
    """
    values: Values = {"project_id": query.project_id, "limit": query.limit}
    found = _conditions(query, values)
    few = next((condition for condition in found if _are_few(db, condition[1], values)), None)
    # A column behind a plus is only compared: no index serves to look it up, or to follow it.
    conditions = [f"{'' if condition is few else '+'}{condition[0]} IN ({condition[1]})" for condition in found]
    conditions.append(f"{'+' if few is not None and few[0] == 'row' else ''}project_id = :project_id")
    order = query.order if few is None else f"+{query.order}"
    if query.after is not None:
        values["value"], values["id"] = query.after
        conditions.append(f"({order}, id) {'<' if query.descending else '>'} (:value, :id)")
    way = "DESC" if query.descending else "ASC"
    rows = db.execute(
        f"SELECT document FROM users WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {order} {way}, id {way} LIMIT :limit",
        values,
    )
    return (text for (text,) in rows)


def _conditions(query: UserQuery, values: Values) -> list[tuple[str, str]]:
    """[(column, subquery that gives the values which it may have)], and what they compare with put into `values`."""
    found = []
    if query.any_terms is not None:
        found.append(("id", _having(query.any_terms, values)))
    if query.text is not None:
        found.append(_containing(query.text, values))
    return found


def _are_few(db: apsw.Connection, subquery: str, values: Values) -> bool:
    counted = db.execute(f"SELECT count(*) FROM (SELECT 1 FROM ({subquery}) LIMIT {FEW + 1})", values).get  # noqa: S608
    return bool(counted <= FEW)


def _having(any_terms: tuple[str, ...], values: Values) -> str:
    named = {f"term{index}": term for index, term in enumerate(any_terms)}
    values.update(named)
    marks = ", ".join(f":{name}" for name in named)
    return f"SELECT user_id FROM user_terms WHERE project_id = :project_id AND term IN ({marks})"  # noqa: S608


def _containing(asked: str, values: Values) -> tuple[str, str]:
    part = wanted(asked)
    if part is None:
        return "id", "SELECT NULL WHERE 0"
    if len(part) >= TEXT_LENGTH_MIN:
        values["phrase"] = '"' + part.replace('"', '""') + '"'
        return "row", "SELECT rowid FROM user_search WHERE user_search MATCH :phrase"
    ranges = []
    for kind in TERM_KINDS:
        values[f"{kind}_from"], values[f"{kind}_to"] = f"{kind}|{part}", _end_of(f"{kind}|{part}")
        ranges.append(
            "SELECT user_id FROM user_terms"  # noqa: S608
            f" WHERE project_id = :project_id AND term >= :{kind}_from AND term < :{kind}_to"
        )
    return "id", " UNION ALL ".join(ranges)


def _end_of(beginning: str) -> str:
    """The first text after all that begin so, as SQLite compares: by code points."""
    last = ord(beginning[-1])
    if last == 0x10FFFF:
        return _end_of(beginning[:-1])
    return beginning[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # between them are no characters


def _add(db: apsw.Connection, row: int, project_id: str, user: User) -> None:
    _add_terms(db, project_id, user, terms(user))
    db.execute(tables.INSERT_SEARCH, (row, text(user)))


def _add_terms(db: apsw.Connection, project_id: str, user: User, new: Iterable[str]) -> None:
    db.executemany(tables.INSERT_TERM, [(project_id, term, user.id) for term in new])


def _remove_terms(db: apsw.Connection, project_id: str, user: User, old: Iterable[str]) -> None:
    db.executemany(tables.DELETE_TERM, [(project_id, term, user.id) for term in old])


def _row(db: apsw.Connection, project_id: str, user: User) -> int:
    row: int = db.execute(tables.SELECT_USER_ROW, (project_id, user.id)).get
    return row
