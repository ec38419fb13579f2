"""Finding users: how a query is answered from `user_index` and `user_terms`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from userfold.core.queries import PRESENCE_TIMES, TERM_KINDS, TEXT_LENGTH_MIN, Part, UserQuery, time_limits, wanted
from userfold.storage.postgres.reading import is_text

FEW = 1_000  # users who are looked up one by one, and sorted

# By which table an order goes, and the rows of a user in the others.
_TABLE_OF: dict[str, str] = {"updated_at": "users", **dict.fromkeys(PRESENCE_TIMES, "times")}
_JOIN_USERS = " JOIN users ON users.project_id = listed.project_id AND users.id = listed.id"
_JOIN_TIMES = " JOIN user_times AS times ON times.project_id = listed.project_id AND times.id = listed.id"


class _Values:
    """The values of a statement; each has its mark, `$1` and so on."""

    def __init__(self, *values: Any) -> None:
        self.all = list(values)

    def mark(self, value: Any) -> str:
        self.all.append(value)
        return f"${len(self.all)}"


async def documents(connection: Any, query: UserQuery) -> Sequence[str]:
    """The documents of one page, in its order. Only names from this file are put into the SQL.

    Few users are looked up and then put into order; among many, the order is followed until the page is full. The
    planner guesses which it is from numbers about the table as a whole: so it is counted first.
    """
    values = _Values(query.project_id)
    conditions = _conditions(query, values)
    few = await _few(connection, query)
    if few is not None:
        conditions.append(f"listed.id = ANY({values.mark(few)}::text[])")
    # The columns of the index that has this order, so that following it is one walk.
    table = _TABLE_OF.get(query.order, "listed")
    place = f"{table}.{query.order}, {table}.id"
    way = "DESC" if query.descending else "ASC"
    if query.after is not None:
        first = ", ".join(values.mark(value) for value in query.after)
        conditions.append(f"({place}) {'<' if query.descending else '>'} ({first})")
    rows = await connection.fetch(
        f"SELECT users.document FROM user_index AS listed{_JOIN_USERS}{_joined_times(query)}"  # noqa: S608
        f" WHERE {' AND '.join(conditions)}"
        f" ORDER BY {place.replace(',', f' {way},')} {way}"
        f" LIMIT {values.mark(query.limit)} OFFSET {values.mark(query.offset)}",
        *values.all,
    )
    return [text for (text,) in rows]


async def count(connection: Any, query: UserQuery) -> int:
    """How many users `query` asks for, whatever the page."""
    values = _Values(query.project_id)
    conditions = _conditions(query, values)
    few = await _few(connection, query)
    if few is not None:
        conditions.append(f"listed.id = ANY({values.mark(few)}::text[])")
    sql = f"SELECT count(*) FROM user_index AS listed{_joined_times(query)} WHERE {' AND '.join(conditions)}"  # noqa: S608
    counted: int = await connection.fetchval(sql, *values.all)
    return counted


async def _few(connection: Any, query: UserQuery) -> list[str] | None:
    """The users whom one of the query's lookups leaves, if that is few; None if each of them leaves many."""
    for values, sql in _lookups(query):
        rows = await connection.fetch(f"{sql} LIMIT {values.mark(FEW + 1)}", *values.all)
        if len(rows) <= FEW:
            return sorted({id_ for (id_,) in rows})
    return None


def _lookups(query: UserQuery) -> list[tuple[_Values, str]]:
    """Statements that each give at least the ids of all users that are asked for."""
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    found = [_having(query, group) for group in groups]
    if query.text is not None:
        found.append(_containing(query, query.text, TERM_KINDS))
    found += [_containing(query, part.text, _with_folded(part.kinds)) for part in query.parts]
    return found + [_within(query, *limits) for limits in time_limits(query) if limits[0] != query.order]


def _within(query: UserQuery, time: str, after: int | None, before: int | None) -> tuple[_Values, str]:
    values = _Values(query.project_id)
    limits = [f"{time} {s} {values.mark(at)}" for s, at in ((">", after), ("<", before)) if at is not None]
    table = "user_times" if time in PRESENCE_TIMES else "user_index"
    return values, f"SELECT id FROM {table} WHERE project_id = $1 AND {' AND '.join(limits)}"  # noqa: S608


def _having(query: UserQuery, any_terms: tuple[str, ...]) -> tuple[_Values, str]:
    values = _Values(query.project_id, _possible(any_terms))
    return values, "SELECT user_id FROM user_terms WHERE project_id = $1 AND term = ANY($2::text[])"


def _containing(query: UserQuery, asked: str, kinds: tuple[str, ...]) -> tuple[_Values, str]:
    part = wanted(asked)
    if part is None:
        return _Values(), "SELECT NULL WHERE false"
    values = _Values(query.project_id)
    if len(part) >= TEXT_LENGTH_MIN:
        pattern = values.mark(f"%{_escaped(part)}%")
        return values, f"SELECT id FROM user_index WHERE project_id = $1 AND text LIKE {pattern}"  # noqa: S608
    ranges = []
    for kind in kinds:
        first, end = values.mark(f"{kind}|{part}"), values.mark(_end_of(f"{kind}|{part}"))
        ranges.append(f"term >= {first} AND term < {end}")
    return values, f"SELECT user_id FROM user_terms WHERE project_id = $1 AND ({' OR '.join(ranges)})"  # noqa: S608


def _conditions(query: UserQuery, values: _Values) -> list[str]:
    """What holds for every user that is asked for, told by its row alone. `$1` is the project."""
    conditions = ["listed.project_id = $1"]
    groups = query.also if query.any_terms is None else (query.any_terms, *query.also)
    conditions += [f"listed.terms && {values.mark(_possible(group))}::text[]" for group in groups]
    if query.without:
        conditions.append(f"NOT listed.terms && {values.mark(_possible(query.without))}::text[]")
    if query.text is not None:
        conditions.append(_text_condition(query.text, values))
    conditions += [_part_condition(part, values) for part in query.parts]
    for time, after, before in time_limits(query):
        column = f"{_TABLE_OF.get(time, 'listed')}.{time}"
        limits = ((">", after), ("<", before))
        conditions += [f"{column} {sign} {values.mark(limit)}" for sign, limit in limits if limit is not None]
    return conditions


def _joined_times(query: UserQuery) -> str:
    asked = {query.order, *(time for time, _, _ in time_limits(query))}
    return _JOIN_TIMES if asked & {*PRESENCE_TIMES} else ""


def _text_condition(asked: str, values: _Values) -> str:
    part = wanted(asked)
    if part is not None and len(part) >= TEXT_LENGTH_MIN:
        return f"listed.text LIKE {values.mark(f'%{_escaped(part)}%')}"
    return _part_condition(Part(asked, TERM_KINDS), values)


def _part_condition(asked: Part, values: _Values) -> str:
    part = wanted(asked.text)
    if part is None:
        return "false"
    anywhere = "%" if len(part) >= TEXT_LENGTH_MIN else ""
    patterns = [f"{_escaped(kind)}|{anywhere}{_escaped(part)}%" for kind in _with_folded(asked.kinds)]
    mark = values.mark(patterns)
    return f"EXISTS (SELECT FROM unnest(listed.terms) AS own (term) WHERE own.term LIKE ANY ({mark}::text[]))"


def _with_folded(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(kind for kind in TERM_KINDS if kind.removeprefix("folded_") in kinds or kind in kinds)


def _possible(any_terms: tuple[str, ...]) -> list[str]:
    """Those that a user can have at all."""
    return [term for term in any_terms if is_text(term)]


def _escaped(part: str) -> str:
    """`part` as LIKE takes it for nothing but itself."""
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _end_of(beginning: str) -> str:
    """The first text after all that begin so, compared by code points."""
    last = ord(beginning[-1])
    if last == 0x10FFFF:
        return _end_of(beginning[:-1])
    return beginning[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # between them are no characters
