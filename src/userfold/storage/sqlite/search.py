"""Finding users: the indexes beside the documents, and how a query is answered from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from userfold.core.queries import (
    TERM_KINDS,
    TEXT_LENGTH_MIN,
    Part,
    UserQuery,
    has_part,
    names_in_order,
    terms,
    text,
    time_limits,
    times_in_order,
    wanted,
)
from userfold.core.records import Presence, User
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


def rebuild_names(db: apsw.Connection) -> None:
    """Put every user into the orders by name, and make it findable by the terms that were added with them."""
    for project_id, document in db.execute("SELECT project_id, document FROM users ORDER BY row"):
        user = from_text("user", document)
        assert isinstance(user, User)
        db.execute(tables.UPDATE_NAMES, (project_id, user.id, *names_in_order(user)))
        db.executemany(tables.INSERT_TERM, [(project_id, term, user.id) for term in terms(user)])


def rebuild_presences(db: apsw.Connection) -> None:
    """Give a presence to every user of whom it is known when somebody signed in."""
    last = (
        "SELECT project_id, user_id, max(document ->> 'created_at') FROM sign_ins"
        " GROUP BY project_id, user_id ORDER BY project_id, user_id"
    )
    table = tables.TABLES["presence"]
    for project_id, user_id, at in list(db.execute(last)):
        presence = Presence(id=user_id, last_active_at=at, last_sign_in_at=at)
        db.execute(table.insert, (project_id, user_id, *table.to_row(presence)))
        place(db, (project_id, user_id), None, presence)


def place(db: apsw.Connection, at: tuple[str, str], before: Presence | None, after: Presence | None) -> None:
    """Put the user `at` (project, id) where its presence belongs, in the orders in which that is elsewhere now."""
    (was_active, was_signed_in), (active, signed_in) = times_in_order(before), times_in_order(after)
    if active != was_active:
        db.execute(tables.UPDATE_LAST_ACTIVE_AT, (*at, active))
    if signed_in != was_signed_in:
        db.execute(tables.UPDATE_LAST_SIGN_IN_AT, (*at, signed_in))


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
    values: Values = {"limit": query.limit, "offset": query.offset}
    lookups, conditions = _lookups(query, values), _comparisons(query, values)
    limits = _time_limits(query, values)
    within = [("row", _within(limited)) for time, limited in limits.items() if time != query.order]
    few = next((lookup for lookup in [*lookups, *within] if _are_few(db, lookup[1], values)), None)
    plus = "" if few is None else "+"
    # A column behind a plus is only compared: no index serves to look it up, or to follow it.
    conditions += [f"+{column} IN ({subquery})" for column, subquery in lookups if (column, subquery) != few]
    conditions += [
        (plus if time == query.order else "+") + comparison
        for time, limited in limits.items()
        for comparison in limited
    ]
    if few is not None:
        conditions.append(f"{few[0]} IN ({few[1]})")
    conditions.append(f"{'+' if few is not None and few[0] == 'row' else ''}project_id = :project_id")
    if query.after is not None:
        values["value"], values["id"] = query.after
        conditions.append(f"({plus}{query.order}, {plus}id) {'<' if query.descending else '>'} (:value, :id)")
    way = "DESC" if query.descending else "ASC"
    rows = db.execute(
        f"SELECT document FROM users WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {plus}{query.order} {way}, {plus}id {way} LIMIT :limit OFFSET :offset",
        values,
    )
    return (text for (text,) in rows)


def count(db: apsw.Connection, query: UserQuery) -> int:
    """How many users `query` asks for, whatever the page."""
    values: Values = {}
    conditions = [f"{column} IN ({subquery})" for column, subquery in _lookups(query, values)]
    conditions += ["project_id = :project_id", *_comparisons(query, values)]
    conditions += [comparison for limited in _time_limits(query, values).values() for comparison in limited]
    counted: int = db.execute(f"SELECT count(*) FROM users WHERE {' AND '.join(conditions)}", values).get  # noqa: S608
    return counted


def _lookups(query: UserQuery, values: Values) -> list[tuple[str, str]]:
    """[(column, subquery that gives the values which it may have)], and what they compare with put into `values`."""
    values["project_id"] = query.project_id
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    found = [("id", _having(group, values)) for group in groups]
    if query.text is not None:
        found.append(_containing(query.text, TERM_KINDS, values))
    return found + [_containing(part.text, _with_folded(part.kinds), values) for part in query.parts]


def _comparisons(query: UserQuery, values: Values) -> list[str]:
    """What else holds for every user that is asked for; no index finds users by it."""
    conditions = []
    if query.without:
        conditions.append(f"id NOT IN ({_having(query.without, values)})")
    for part in query.parts:
        if len(wanted(part.text) or "") >= TEXT_LENGTH_MIN:  # that it stands in some value is all that the index says
            asked, kinds = _new(values, part.text), _new(values, " ".join(part.kinds))
            conditions.append(f"stands_in(document, {asked}, {kinds})")
    return conditions


def _time_limits(query: UserQuery, values: Values) -> dict[str, list[str]]:
    """{the column of a time: what is true of it}"""
    return {
        time: [
            f"{time} {sign} {_new(values, limit)}" for sign, limit in ((">", after), ("<", before)) if limit is not None
        ]
        for time, after, before in time_limits(query)
    }


def _within(limited: list[str]) -> str:
    return f"SELECT row FROM users WHERE project_id = :project_id AND {' AND '.join(limited)}"  # noqa: S608


def _are_few(db: apsw.Connection, subquery: str, values: Values) -> bool:
    counted = db.execute(f"SELECT count(*) FROM (SELECT 1 FROM ({subquery}) LIMIT {FEW + 1})", values).get  # noqa: S608
    return bool(counted <= FEW)


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


def _containing(asked: str, kinds: tuple[str, ...], values: Values) -> tuple[str, str]:
    part = wanted(asked)
    if part is None:
        return "id", "SELECT NULL WHERE 0"
    if len(part) >= TEXT_LENGTH_MIN:
        phrase = _new(values, '"' + part.replace('"', '""') + '"')
        return "row", f"SELECT rowid FROM user_search WHERE user_search MATCH {phrase}"  # noqa: S608
    ranges = []
    for kind in kinds:
        first, end = _new(values, f"{kind}|{part}"), _new(values, _end_of(f"{kind}|{part}"))
        ranges.append(
            "SELECT user_id FROM user_terms"  # noqa: S608
            f" WHERE project_id = :project_id AND term >= {first} AND term < {end}"
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
