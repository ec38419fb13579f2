"""A backup: one file, whole and checked, or no file.

The copy is made under another name in the folder of the file, so that a crash, a full disk or Ctrl-C leaves nothing
that looks like a backup.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from userfold.storage.port import BacksUp, Progress, StoreFull

KEPT_FREE = 16 << 20  # bytes that a backup leaves free on its disk


class BackupImpossible(Exception):
    """The backup was not made; the text says why. No file is left."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made. `holds`: how many records of each kind."""

    file: str
    bytes: int
    seconds: float
    holds: Mapping[str, int]


def back_up(store: BacksUp, file: Path, progress: Progress, *, database: Path, replace: bool = False) -> Backup:
    """Copy the store, whose own file is `database`, into `file`, readable by its owner alone. Blocks.

    Raises `BackupImpossible`, or a `StoreError`. With `replace` a file of that name gives way, once the copy is whole.
    """
    started = time.monotonic()
    refuse_target(file, database, replace)
    _refuse_full_disk(store, file)
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        # Made first, so that no moment passes in which others could read it.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        holds = store.backup(partial, progress)
        sync(partial)
        if file.exists() and not replace:  # somebody else was faster
            raise BackupImpossible(f"{file} exists; --force replaces it")
        partial.replace(file)
        sync(file.parent)
    except StoreFull as error:
        raise BackupImpossible(f"{file.parent} is full, or the quota of it") from error
    except OSError as error:
        raise BackupImpossible(f"cannot write {error.filename or file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return Backup(file=str(file), bytes=file.stat().st_size, seconds=round(time.monotonic() - started, 3), holds=holds)


def refuse_target(file: Path, database: Path | None, replace: bool) -> None:
    """Raise `BackupImpossible` if `file` cannot, or must not, be written. `database`: None if it is no file."""
    if not file.parent.is_dir():
        raise BackupImpossible(f"there is no folder {file.parent}")
    if database is not None:
        _refuse_database(file, database)
    if file.exists() and not file.is_file():
        raise BackupImpossible(f"{file} is not a file; name one")
    if file.exists() and not replace:
        raise BackupImpossible(f"{file} exists; --force replaces it")


def _refuse_database(file: Path, database: Path) -> None:
    # The database, its log and its lock all begin with its name; a running server would not notice, and lose all.
    if file.parent.samefile(database.parent) and file.name.startswith(database.name):
        raise BackupImpossible(f"{file} is the database, or has a name that belongs to it; choose another one")
    if file.exists() and file.samefile(database):
        raise BackupImpossible(f"{file} is the database itself; choose another name")


def _refuse_full_disk(store: BacksUp, file: Path) -> None:
    needed, free = store.size() + KEPT_FREE, shutil.disk_usage(file.parent).free
    if free < needed:
        raise BackupImpossible(f"{file.parent} has {free:,} bytes free, and the copy needs {needed:,}")


def sync(path: Path) -> None:
    """Return when the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
