"""Looks at a database for whoever wonders whether it is well. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from userfold.storage.port import Finding
from userfold.storage.sqlite.migrate import schema_of
from userfold.storage.sqlite.wal import PAGES_CAP

QUICK_S_MAX = 5.0  # a read keeps the write-ahead log from being cut off, so a look in passing is a short one
STEPS_BETWEEN = 1_000  # of SQLite's machine, between two looks at the clock
WAL_BYTES_LARGE = 4 * PAGES_CAP * 4096


def examine(db: apsw.Connection, path: Path, *, full: bool) -> Iterator[Finding]:
    """What there is to say about the database of `db`, which reads only."""
    schema = schema_of(db)
    version = f"{path}, SQLite {apsw.sqlite_lib_version()}"
    if schema.found == schema.known:
        yield Finding(about="store", state="ok", says=f"{version}: schema {schema.found} is current")
    else:
        says = f"{version}: schema {schema.found}, and this program needs {schema.known}"
        advice = "back up, stop the server, then run `userfold migrate` (starting this program's server does it too)"
        yield Finding(about="store", state="warning", says=says, advice=advice)
    yield _journal(db)
    yield _log_length(path)
    yield _damage(db, full=full)


def _journal(db: apsw.Connection) -> Finding:
    mode = str(db.pragma("journal_mode"))
    if mode == "wal":
        return Finding(about="journal", state="ok", says="readers and the writer do not wait for each other (WAL)")
    advice = (
        "the next start of the server sets it; if it does not stay, the file system cannot do it (a network drive?)"
    )
    return Finding(about="journal", state="warning", says=f"the journal mode is {mode}, not wal", advice=advice)


def _log_length(path: Path) -> Finding:
    log = path.with_name(path.name + "-wal")
    length = log.stat().st_size if log.exists() else 0
    says = f"the write-ahead log has {length / 2**20:.1f} MiB"
    if length <= WAL_BYTES_LARGE:
        return Finding(about="log", state="ok", says=says)
    advice = "it is cut off when the server has been idle for some seconds; if not, look for a program that reads long"
    return Finding(about="log", state="warning", says=says, advice=advice)


def _damage(db: apsw.Connection, *, full: bool) -> Finding:
    deadline = time.monotonic() + QUICK_S_MAX
    if not full:
        db.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN)
    check = "integrity_check" if full else "quick_check"
    try:
        found = [text for (text,) in db.execute(f"PRAGMA {check}(5)")]
    except apsw.InterruptError:
        says = f"no damage found in {QUICK_S_MAX:g} s, and more is there to look at"
        return Finding(about="damage", state="ok", says=says, advice="--full looks at everything")
    except apsw.Error as error:  # what is badly damaged cannot even be looked through
        found = [f"{type(error).__name__}: {error}"]
    finally:
        db.set_progress_handler(None)
    if found == ["ok"]:
        return Finding(about="damage", state="ok", says="none; every page was looked at" if full else "none found")
    advice = "stop the server, keep the files as they are, and restore the last backup beside them"
    return Finding(about="damage", state="failed", says="; ".join(found), advice=advice)
