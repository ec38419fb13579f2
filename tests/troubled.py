"""`userfold` on a disk and by a clock that a test spoils while it runs: `python -m tests.troubled FOLDER serve …`.

While FOLDER/read-only is there, no file of a database can be written, as on a file system that the system has made
read-only after an error: files that were open stay so, and who writes is told EROFS. FOLDER/clock says by how many
milliseconds the clock is off.
"""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path

import apsw


class Disk(apsw.VFS):
    """The default file system, but for `is_read_only`."""

    def __init__(self, switch: Path) -> None:
        self.base = apsw.vfs_names()[0]  # the default one, before this
        super().__init__("troubled", self.base, makedefault=True)
        self._switch = switch

    def is_read_only(self) -> bool:
        return self._switch.exists()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return File(self, name, flags)

    def xGetLastError(self) -> tuple[int, str]:  # noqa: N802
        number, text = super().xGetLastError()
        return (errno.EROFS, "") if self.is_read_only() else (number, text or "")


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._check(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._check(apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(size)

    def _check(self, code: int) -> None:
        if self._disk.is_read_only():
            error = apsw.IOError("disk I/O error")
            error.extendedresult = code  # type: ignore[attr-defined]  # the type is not declared
            raise error


def spoil_clock(file: Path) -> None:
    """From here on the clock is off by what the file says."""
    clock = time.time_ns

    def off() -> int:
        return clock() + int(file.read_text()) * 1_000_000 if file.exists() else clock()

    time.time_ns = off


def program(folder: Path) -> tuple[str, ...]:
    """How to start it."""
    return (sys.executable, "-m", "tests.troubled", str(folder))


if __name__ == "__main__":
    folder = Path(sys.argv.pop(1))
    disk = Disk(folder / "read-only")
    spoil_clock(folder / "clock")
    from userfold.cli import main

    main()
