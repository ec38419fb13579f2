"""A copy of the database as of one moment, made while others write.

It is read page by page inside one read transaction, so whatever is committed meanwhile is not in it and does not make
the copy begin anew; nobody waits for it. The price: the write-ahead log cannot be cut off until the last page is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import apsw

from userfold.storage.port import Progress, StoreUnavailable

PAGES_AT_ONCE = 2_000  # 8 MiB: often enough for a progress bar and Ctrl-C

# What a copy is said to hold.
COUNTED = {"project": "projects", "user": "users", "change": "changes"}


def copy(source: apsw.Connection, path: Path, progress: Progress, *, vfs: str) -> None:
    """Copy `source` into the new file `path`, through `vfs`: in pages of the log there may be what was deleted."""
    target = apsw.Connection(str(path), vfs=vfs)
    try:
        # A copy that a crash interrupts is thrown away, so it needs no journal.
        target.pragma("journal_mode", "OFF")
        target.pragma("synchronous", "OFF")
        source.execute("BEGIN")
        try:
            source.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018  # BEGIN alone reads nothing yet
            with target.backup("main", source, "main") as pages, path.open("rb") as written:
                while not pages.done:
                    pages.step(PAGES_AT_ONCE)
                    # Bit by bit: one sync of it all at the end would keep the server's own waiting for that long.
                    os.fdatasync(written)
                    progress("copying", pages.page_count - pages.remaining, pages.page_count)
        finally:
            source.execute("COMMIT")
    finally:
        target.close()


def check(path: Path, progress: Progress) -> Mapping[str, int]:
    """Open a copy, look at every page, and count what it holds. Raises `StoreUnavailable` if it is damaged."""
    # Immutable: no log and no locks are made beside a file that is to be moved.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    db = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
    try:
        progress("checking", 0, 1)
        found = [text for (text,) in db.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise StoreUnavailable(f"the copy is damaged: {found[0]}")
        counts = {
            kind: int(db.execute(f"SELECT count(*) FROM {table}").get)  # noqa: S608
            for kind, table in COUNTED.items()
        }
        progress("checking", 1, 1)
        return counts
    finally:
        db.close()
