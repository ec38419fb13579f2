"""A disk that remembers everything that was done to it, and what would be on it had the power failed at any moment.

`Disk` is a VFS of SQLite that does what the default one does and logs each write, truncation, deletion and sync of
every file, in the order in which they happened, along with the answers that callers were given. `after_cut` makes the
files as a power cut at one point of the log may leave them: what a completed sync covers is there, and of what came
later any part is, in units of a sector.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

SECTOR = 512


class Wrote(msgspec.Struct, frozen=True):
    file: str
    offset: int
    data: bytes


class Truncated(msgspec.Struct, frozen=True):
    file: str
    size: int


class Deleted(msgspec.Struct, frozen=True):
    """`synced`: the folder was synced with it, so that the file does not come back."""

    file: str
    synced: bool


class Synced(msgspec.Struct, frozen=True):
    """A sync that ended here. It covers what was done to the file before `began`, an index of the log.

    `folder`: and the deletions in its folder. SQLite syncs that with a journal or log that it has just made, and else
    leaves deletions to the file system unless `synchronous` is EXTRA.
    """

    file: str
    began: int
    folder: bool = False


class Answered(msgspec.Struct, frozen=True):
    """A caller was told that this version of the user is durable."""

    user_id: str
    version: int


Event = Wrote | Truncated | Deleted | Synced | Answered


class Disk(apsw.VFS):
    """The default file system, and a log of what was done to it. It may be used from several threads."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.log: list[Event] = []
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        with self._lock:
            self.log.append(event)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.note(Deleted(Path(filename).name, synced=syncdir))


class _File(apsw.VFSFile):
    """Logs an event after it was done, so that the log never has what a reader could not have seen."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        made = path is not None and not Path(path).exists()
        super().__init__("", name, flags)
        self._disk = disk
        self._name = Path(path).name if path else ""
        self._folder_unsynced = made and bool(flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._disk.note(Wrote(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._disk.note(Truncated(self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        began = len(self._disk.log)
        super().xSync(flags)
        self._disk.note(Synced(self._name, began, self._folder_unsynced))
        self._folder_unsynced = False


def after_cut(log: Sequence[Event], cut: int, rng: random.Random) -> dict[str, bytes]:
    """{file: content} as a power cut may leave them when the first `cut` events of `log` have happened."""
    durable = _durable_up_to(log[:cut])
    survival = rng.choice((0.0, 0.5, 0.9, 1.0))  # of what no sync covers: often all or nothing is the hardest
    files: dict[str, bytearray] = {}
    for index, event in enumerate(log[:cut]):
        if isinstance(event, Synced | Answered):
            continue
        covered = index < durable.get(event.file, 0)
        content = files.setdefault(event.file, bytearray())
        if covered or rng.random() < survival:
            _redo(files, content, event, rng if not covered else None)
    return {file: bytes(content) for file, content in files.items()}


def _durable_up_to(log: Sequence[Event]) -> dict[str, int]:
    """{file: the index in the log before which everything that was done to it is durable}"""
    durable: dict[str, int] = {}
    for index, event in enumerate(log):
        if isinstance(event, Synced):
            durable[event.file] = max(event.began, durable.get(event.file, 0))
            if event.folder:
                for earlier, deletion in enumerate(log[: event.began]):
                    if isinstance(deletion, Deleted):
                        durable[deletion.file] = max(earlier + 1, durable.get(deletion.file, 0))
        elif isinstance(event, Deleted) and event.synced:
            durable[event.file] = index + 1
    return durable


def _redo(
    files: dict[str, bytearray], content: bytearray, event: Wrote | Truncated | Deleted, torn_by: random.Random | None
) -> None:
    if isinstance(event, Deleted):
        del files[event.file]
    elif isinstance(event, Truncated):
        del content[event.size :]
        content.extend(bytes(event.size - len(content)))
    elif torn_by is None:
        _write(content, event.offset, event.data)
    else:
        for offset, sector in _surviving_sectors(event, torn_by):
            _write(content, offset, sector)


def _surviving_sectors(event: Wrote, rng: random.Random) -> Iterator[tuple[int, bytes]]:
    """All sectors of a write, or the first few, or any."""
    first = event.offset // SECTOR
    last = (event.offset + len(event.data) - 1) // SECTOR
    sectors = range(first, last + 1)
    how = rng.choice(("all", "all", "first", "any"))
    kept = {
        "all": list(sectors),
        "first": list(sectors)[: rng.randint(0, len(sectors))],
        "any": [sector for sector in sectors if rng.random() < 0.5],
    }[how]
    for sector in kept:
        start = max(sector * SECTOR, event.offset)
        end = min((sector + 1) * SECTOR, event.offset + len(event.data))
        yield start, event.data[start - event.offset : end - event.offset]


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
