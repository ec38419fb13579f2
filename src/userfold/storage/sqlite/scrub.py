"""Leaves nothing of a deleted record in the database file.

`PRAGMA secure_delete` overwrites what is deleted, but not the copies that SQLite leaves behind when it moves rows from
one page to another: they stay in the free middle of the page that they left, until something needs the room. So the
connection that copies pages into the file writes zeros there. The middle of a page has no meaning to SQLite, which is
why another connection may still find old bytes in it: they are gone from the file with the next checkpoint.

The format of a page: https://www.sqlite.org/fileformat2.html, 1.6.
"""

from __future__ import annotations

import itertools

import apsw

# {type of a b-tree page: the length of its header}
_HEADER_BYTES = {2: 12, 5: 12, 10: 8, 13: 8}
_FILE_HEADER_BYTES = 100  # before the header of the first page
# A page of another kind begins with a page number of four bytes. Up to this many pages its first byte is 0 or 1, and
# cannot be taken for the type of a b-tree page.
_PAGES_MAX = 2 << 24

_names = (f"userfold-scrub-{number}" for number in itertools.count(1))


def scrubbed(page: bytes, number: int) -> bytes:
    """The page of that number (from 1) with zeros where SQLite keeps nothing."""
    start = _FILE_HEADER_BYTES if number == 1 else 0
    header = _HEADER_BYTES.get(page[start])
    if header is None or number >= _PAGES_MAX:
        return page
    cells = int.from_bytes(page[start + 3 : start + 5])
    free_from = start + header + 2 * cells
    free_to = int.from_bytes(page[start + 5 : start + 7]) or 65536
    free = free_to - free_from
    if not 0 < free <= len(page) - free_from:
        return page
    zeros = bytes(free)
    if page[free_from:free_to] == zeros:
        return page
    return b"".join((page[:free_from], zeros, page[free_to:]))


class ScrubbingVFS(apsw.VFS):
    """The file system `base` ("": SQLite's own), through which database files are written without leftovers."""

    def __init__(self, base: str) -> None:
        self.name = next(_names)
        self._base = base
        super().__init__(self.name, base)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            return _ScrubbingFile(self._base, name, flags)
        return super().xOpen(name, flags)


class _ScrubbingFile(apsw.VFSFile):
    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        # Everything but a whole page is passed on as it is, such as the file's header alone.
        is_page = len(data) >= 512 and offset % len(data) == 0
        super().xWrite(scrubbed(data, offset // len(data) + 1) if is_page else data, offset)
