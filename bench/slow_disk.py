"""A disk whose syncs take longer: an SQLite VFS that sleeps in xSync and leaves everything else to the default one.

Every sync of every file is delayed, a checkpoint's too. Reads and writes pass through apsw once more, which costs a
few microseconds a batch; both sides of a comparison use it.
"""

from __future__ import annotations

import time

import apsw

NAME = "bench-slow-disk"


class _SlowFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], delay_s: float) -> None:
        super().__init__("", name, flags)
        self._delay_s = delay_s

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        time.sleep(self._delay_s)  # lets other threads run, as a sync does
        super().xSync(flags)


class SlowDisk(apsw.VFS):
    """Registered under `NAME` as long as it lives."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(NAME, "", iVersion=3)
        self._delay_s = delay_s

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _SlowFile(name, flags, self._delay_s)
