"""Keeps the write-ahead log short without making a commit wait for it.

Checkpoints in the commit path put tens of milliseconds into the slowest answers. So a thread with a connection of its
own copies pages back whenever enough have gathered (PASSIVE: it takes no lock that a writer needs). Under steady load
it never catches up with the end of the log, which would then grow without limit: past a cap the writer itself waits and
copies what is left, and the next commit starts the log from its beginning. The file is cut off (TRUNCATE) only at the
start, at the stop, and when nothing has been written for a while.
"""

from __future__ import annotations

import logging
import threading

import apsw

log = logging.getLogger("userfold.storage.sqlite")

PAGES_START = 1_000  # 4 MiB: enough that a checkpoint's two syncs are shared by many pages
PAGES_CAP = 16_000  # 64 MiB
IDLE_S = 5.0

PASSIVE = apsw.SQLITE_CHECKPOINT_PASSIVE
TRUNCATE = apsw.SQLITE_CHECKPOINT_TRUNCATE


class Checkpointer:
    """Owns `db` and a thread. `noted` is called after each commit; `catch_up` by the writer, past the cap."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._pages = 0
        self._copying = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._checkpoint(TRUNCATE)  # what a crash left behind
        self._thread = threading.Thread(target=self._work, name="userfold-checkpoint", daemon=True)
        self._thread.start()

    @property
    def over_cap(self) -> bool:
        """Whether the writer should `catch_up` before it writes more."""
        return self._pages > PAGES_CAP

    def noted(self, pages: int) -> None:
        """The log is `pages` long after a commit."""
        self._pages = pages
        if pages >= PAGES_START:
            self._wake.set()

    def catch_up(self) -> None:
        """Copy all that is left. For the writer's thread, with no transaction open."""
        with self._copying:
            self._checkpoint(PASSIVE)
        self._pages = 0  # the next commit says how long the log is then

    def stop(self) -> None:
        """Copy everything, cut the log off, and end the thread."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._checkpoint(TRUNCATE)
        self._db.close()

    def _work(self) -> None:
        idle_after = 0
        while True:
            woken = self._wake.wait(IDLE_S)
            self._wake.clear()
            if self._stopping.is_set():
                return
            if woken:
                with self._copying:
                    self._checkpoint(PASSIVE)
            elif self._pages and self._pages == idle_after:
                with self._copying:
                    self._checkpoint(TRUNCATE)
                self._pages = 0
            idle_after = self._pages

    def _checkpoint(self, mode: int) -> None:
        try:
            self._db.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            pass  # a reader or another process is in the way; the next one will do it
        except apsw.Error as error:
            # Commits stay durable in the log; only its length suffers until this succeeds.
            log.warning("could not copy the write-ahead log back: %s: %s", type(error).__name__, error)
