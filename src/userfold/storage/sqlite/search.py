"""Finding users: the indexes beside the documents, and the SQL of a query."""

from __future__ import annotations

from typing import Any

import apsw

from userfold.core.queries import (
    TERM_KINDS,
    TEXT_LENGTH_MIN,
    Part,
    UserQuery,
    fold,
    has_part,
    names_in_order,
    terms,
    text,
)
from userfold.core.records import User
from userfold.storage.codec import from_text
from userfold.storage.sqlite import tables

Values = dict[str, Any]

_OF_MANY = ("segment|", "state|")


def rebuild(db: apsw.Connection) -> None:
    """Make every user findable, where no user is yet."""
    for row, project_id, document in db.execute("SELECT row, project_id, document FROM users"):
        user = from_text("user", document)
        assert isinstance(user, User)
        _add(db, row, project_id, user)


def rebuild_names(db: apsw.Connection) -> None:
    """Put every user into the orders by name, and make it findable by the terms that were added with them."""
    for project_id, document in db.execute("SELECT project_id, document FROM users ORDER BY row"):
        user = from_text("user", document)
        assert isinstance(user, User)
        db.execute(tables.UPDATE_NAMES, (project_id, user.id, *names_in_order(user)))
        db.executemany(tables.INSERT_TERM, [(project_id, term, user.id) for term in terms(user)])


def teach(db: apsw.Connection) -> None:
    """Let the queries of a connection ask what SQL cannot tell of a document."""

    def stands_in(*given: Any) -> bool:
        document, asked, kinds = given
        user = from_text("user", document)
        return isinstance(user, User) and has_part(user, Part(asked, tuple(kinds.split())))

    db.create_scalar_function("stands_in", stands_in, 3, deterministic=True)


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
    values: Values = {"limit": query.limit, "offset": query.offset}
    conditions = _conditions(query, values)
    # A + keeps SQLite from walking the index of the order, through all users of the project, to find the few.
    plus = "+" if _finds_few(query) else ""
    if query.after is not None:
        values["value"], values["id"] = query.after
        conditions.append(f"({plus}{query.order}, {plus}id) {'<' if query.descending else '>'} (:value, :id)")
    way = "DESC" if query.descending else "ASC"
    sql = (
        f"SELECT document FROM users WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {plus}{query.order} {way}, {plus}id {way} LIMIT :limit OFFSET :offset"
    )
    return sql, values


def count(query: UserQuery) -> tuple[str, Values]:
    """The SQL that counts all that `query` asks for, and its values."""
    values: Values = {}
    return f"SELECT count(*) FROM users WHERE {' AND '.join(_conditions(query, values))}", values  # noqa: S608


def _conditions(query: UserQuery, values: Values) -> list[str]:
    """What holds for every user that is asked for, whatever the page."""
    values["project_id"] = query.project_id
    conditions = ["project_id = :project_id"]
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    conditions += [f"id IN ({_having(group, values)})" for group in groups]
    if query.without:
        conditions.append(f"id NOT IN ({_having(query.without, values)})")
    if query.created_after is not None:
        values["created_after"] = query.created_after
        conditions.append("created_at > :created_after")
    if query.created_before is not None:
        values["created_before"] = query.created_before
        conditions.append("created_at < :created_before")
    if query.text is not None:
        conditions.append(_containing(query.text, TERM_KINDS, values))
    for part in query.parts:
        conditions.append(_containing(part.text, _with_folded(part.kinds), values))
        if len(fold(part.text)) >= TEXT_LENGTH_MIN:  # the index says that it stands in some value
            asked, kinds = _new(values, part.text), _new(values, " ".join(part.kinds))
            conditions.append(f"stands_in(document, {asked}, {kinds})")
    return conditions


def _finds_few(query: UserQuery) -> bool:
    """Whether users are asked for by terms that few have, unlike a segment."""
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    return any(not any(term.startswith(_OF_MANY) for term in group) for group in groups)


def _new(values: Values, value: object) -> str:
    """The mark of a value that is bound under a name of its own."""
    name = f"value{len(values)}"
    values[name] = value
    return f":{name}"


def _with_folded(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(kind for kind in TERM_KINDS if kind.removeprefix("folded_") in kinds)


def _having(any_terms: tuple[str, ...], values: Values) -> str:
    marks = ", ".join(_new(values, term) for term in any_terms)
    return f"SELECT user_id FROM user_terms WHERE project_id = :project_id AND term IN ({marks})"  # noqa: S608


def _containing(asked: str, kinds: tuple[str, ...], values: Values) -> str:
    if "\0" in asked:
        return "0"  # no value has it once folded
    wanted = fold(asked)
    if len(wanted) >= TEXT_LENGTH_MIN:
        phrase = _new(values, '"' + wanted.replace('"', '""') + '"')
        return f"row IN (SELECT rowid FROM user_search WHERE user_search MATCH {phrase})"  # noqa: S608
    ranges = []
    for kind in kinds:
        first, end = _new(values, f"{kind}|{wanted}"), _new(values, _end_of(f"{kind}|{wanted}"))
        ranges.append(
            "SELECT user_id FROM user_terms"  # noqa: S608
            f" WHERE project_id = :project_id AND term >= {first} AND term < {end}"
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
