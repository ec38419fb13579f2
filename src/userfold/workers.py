"""Several processes that serve one listening socket: they start and end together, and one that dies is replaced."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("userfold.workers")

LOOK_S = 0.2
STOPPING = (signal.SIGTERM, signal.SIGINT)
REPLACED_AFTER_S = 1.0  # so that one that cannot live does not keep the machine busy


class WorkersFailed(Exception):
    """The processes could not start; what they said in the log says why."""


def run_workers(
    count: int, work: Callable[[Callable[[], None]], None], ready: Callable[[], None], ending: Callable[[], None]
) -> None:
    """Do `work` in `count` processes until SIGTERM or SIGINT, and return when all have ended.

    `work` is given what it calls once it serves; `ready` is called here when all do, `ending` before they are told to
    end. Raises `WorkersFailed` if one ends before that.
    """
    workers = _Workers(work)
    with _told_to_stop() as stop:
        try:
            for _ in range(count):
                workers.begin()
            while workers.serving() < count and not stop.is_set():
                if workers.reap():
                    raise WorkersFailed("a process ended before it served")
            if not stop.is_set():
                ready()
            while not stop.is_set():
                for status in workers.reap():
                    log.error("a process ended with status %d; another takes its place", status)
                    stop.wait(REPLACED_AFTER_S)
                    workers.begin()
                time.sleep(LOOK_S)
        finally:
            ending()
            workers.end()


class _Workers:
    """The processes of this one. Each holds one end of a pipe that is closed when this one ends, however it ends."""

    def __init__(self, work: Callable[[Callable[[], None]], None]) -> None:
        self._work = work
        self._alive, self._keeps_alive = os.pipe()
        self._hears, self._tells = os.pipe()
        self._serving = 0
        self._ids: set[int] = set()

    def begin(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came between the fork and the first line of the child would be taken as one to this process is.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            id_ = os.fork()
            if id_ == 0:
                self._be_one()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        self._ids.add(id_)

    def _be_one(self) -> None:
        status = 1
        try:
            os.close(self._keeps_alive)
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            threading.Thread(target=self._stop_with_parent, daemon=True).start()
            self._work(lambda: _tell(self._tells))
            status = 0
        except BaseException as error:
            log.error("%s: %s", type(error).__name__, error)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _stop_with_parent(self) -> None:
        os.read(self._alive, 1)  # nobody writes: this ends with the other end
        os.kill(os.getpid(), signal.SIGTERM)

    def serving(self) -> int:
        """How many have begun to serve; looks for a moment whether one more does."""
        if select.select([self._hears], [], [], LOOK_S)[0]:
            self._serving += len(os.read(self._hears, 64))
        return self._serving

    def reap(self) -> list[int]:
        """The statuses of those that have ended."""
        ended = []
        for id_ in list(self._ids):
            found, status = os.waitpid(id_, os.WNOHANG)
            if found:
                self._ids.remove(id_)
                ended.append(os.waitstatus_to_exitcode(status))
        return ended

    def end(self) -> None:
        """Tell all to stop, and return when they have."""
        for id_ in self._ids:
            os.kill(id_, signal.SIGTERM)
        for id_ in self._ids:
            os.waitpid(id_, 0)
        for end in (self._alive, self._keeps_alive, self._hears, self._tells):
            os.close(end)


def _tell(pipe: int) -> None:
    os.write(pipe, b".")


@contextlib.contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM or SIGINT, for the length of a block."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
