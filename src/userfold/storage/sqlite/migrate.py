"""Numbered migrations. `PRAGMA user_version` says which were applied; `application_id` says whose file it is."""

from __future__ import annotations

from importlib.resources import files

import apsw

from userfold.storage.port import Schema, SchemaTooNew, StoreUnavailable
from userfold.storage.sqlite import search

APPLICATION_ID = 0x55464C44  # "UFLD"

_SEARCH_SINCE = 2  # the migration that made the tables of search.py
_NAMES_SINCE = 3  # the one that made the orders by name
_PRESENCE_SINCE = 4  # the one that made the table of presences, and the orders by their times

_FOLDER = files("userfold.storage.sqlite")


def migrations() -> dict[int, str]:
    """{number: SQL}, in order: `0001_initial.sql` is number 1."""
    found = sorted(_FOLDER.joinpath("migrations").iterdir(), key=lambda file: file.name)
    return {int(file.name[:4]): file.read_text() for file in found if file.name.endswith(".sql")}


def fresh_schema() -> str:
    """The SQL that makes today's schema in an empty file."""
    return _FOLDER.joinpath("schema.sql").read_text()


def schema_of(db: apsw.Connection) -> Schema:
    """Which schema `db` has. Raises `SchemaTooNew`, or `StoreUnavailable` for a database that is not Userfold's."""
    newest = max(migrations())
    return Schema(found=_usable_version(db, newest), known=newest)


def migrate(db: apsw.Connection) -> list[int]:
    """Bring `db` to today's schema; the numbers that were applied. An interrupted migration leaves no trace.

    Raises `SchemaTooNew`, or `StoreUnavailable` for a database that is not Userfold's.
    """
    known = migrations()
    newest = max(known)
    _usable_version(db, newest)  # before anything is written: the file may be somebody else's
    if db.readonly("main"):  # how SQLite opens what may not be written; it would say so at the first update only
        raise StoreUnavailable(
            f"{db.filename} cannot be written to: check its owner, its mode, and whether its disk is read-only"
        )
    db.pragma("journal_mode", "WAL")
    db.execute("BEGIN EXCLUSIVE")
    try:
        found = _usable_version(db, newest)
        pending = [number for number in known if number > found]
        if not pending:
            return []  # and nothing is written: a server must start although the disk is full
        for sql in [fresh_schema()] if found == 0 else [known[number] for number in pending]:
            db.execute(sql)
        if 0 < found < _SEARCH_SINCE:
            search.rebuild(db)
        if 0 < found < _NAMES_SINCE:
            search.rebuild_names(db)
        if 0 < found < _PRESENCE_SINCE:
            search.rebuild_presences(db)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", newest)
        db.execute("COMMIT")
        return pending
    finally:
        if db.in_transaction:  # on a full disk SQLite itself has ended it, and another error would hide why
            db.execute("ROLLBACK")


def _usable_version(db: apsw.Connection, newest: int) -> int:
    """The schema's version, 0 for an empty file. Raises for a database that this program must not touch."""
    version = int(db.pragma("user_version"))
    owner = db.pragma("application_id")
    tables = db.execute("SELECT count(*) FROM sqlite_schema").get
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreUnavailable(f"{db.filename} is an SQLite database of another program")
    if version > newest:
        raise SchemaTooNew(found=version, known=newest)
    return version
