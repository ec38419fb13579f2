"""Who holds the data: one process serves a data folder and a database at a time.

The operating system lets go of a lock when its process ends, however it ends, so there is no stale one to remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

FOLDER_LOCK = "userfold.lock"


class CannotLock(Exception):
    """A lock file cannot be opened; the text says which and why."""


class InUse(Exception):
    """Another process holds the data; the text says which."""


@contextlib.contextmanager
def hold_data(data: Path, database: Path | None) -> Iterator[None]:
    """Hold the data folder and the database for the length of a block. Raises `InUse`, `CannotLock`.

    None: the database is no file. Its server keeps processes apart, and several may have the folder.
    """
    if database is None:
        yield
        return
    with hold(data / FOLDER_LOCK, f"the data folder {data}"), hold(lock_of(database), f"the database {database}"):
        yield


def lock_of(database: Path) -> Path:
    """The lock file of a database, which may be outside of the data folder."""
    return database.with_name(database.name + ".lock")


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold `what`, whose lock file is `path`. Raises `InUse`, `CannotLock`."""
    try:
        lock = path.open("a+")
    except OSError as error:
        raise CannotLock(f"cannot open {path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"{what} is in use by {_named_in(lock)}; stop it, or use another --data") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        yield


def holder(path: Path) -> str | None:
    """Which process holds the lock file `path`, or None if none does. Raises `CannotLock`."""
    try:
        lock = path.open()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotLock(f"cannot open {path}: {error.strerror}") from error
    with lock:
        try:
            # Shared, so that two who ask do not see each other, and let go of at once.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _named_in(lock)
    return None


def _named_in(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read().strip() or "another process"
