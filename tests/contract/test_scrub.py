"""What is written into the free middle of a page: nothing, and into the rest of it everything."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userfold.storage.sqlite.scrub import scrubbed

PAGE_SIZES = (512, 1024, 4096, 65536)


def filled(path: Path, page_size: int, seed: int) -> apsw.Connection:
    """A database whose tables have been written, changed and deleted from in all ways that move rows about."""
    some = random.Random(seed)
    db = apsw.Connection(str(path))
    db.pragma("page_size", page_size)
    db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text); CREATE INDEX by_text ON rows (text)")
    db.execute("CREATE TABLE keyed (name TEXT PRIMARY KEY, text) WITHOUT ROWID")
    db.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'trigram')")
    for round_ in range(3):
        with db:
            for number in range(some.randrange(60, 250)):
                text = f"{number}-" + "x" * some.choice((3, 40, 300, 5000))
                db.execute("INSERT INTO rows (text) VALUES (?)", (text,))
                db.execute("REPLACE INTO keyed VALUES (?, ?)", (f"k{some.randrange(400)}", text))
                db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (round_ * 1000 + number, text[:60]))
        db.execute("DELETE FROM rows WHERE id % 3 = ?", (round_,))
        db.execute("DELETE FROM keyed WHERE name LIKE ?", (f"%{round_}",))
    return db


def rows(db: apsw.Connection) -> list[object]:
    queries = ("SELECT * FROM rows", "SELECT * FROM keyed", "SELECT text FROM rows ORDER BY text")
    return [list(db.execute(query)) for query in queries] + [list(db.execute("SELECT rowid FROM words('xxx')"))]


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_a_database_of_scrubbed_pages_is_whole_and_says_the_same(tmp_path: Path, page_size: int, seed: int) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "b.db"
    db = filled(path, page_size, seed)
    before = rows(db)
    db.close()
    content = path.read_bytes()
    pages = [content[start : start + page_size] for start in range(0, len(content), page_size)]
    cleaned = [scrubbed(page, number) for number, page in enumerate(pages, 1)]
    assert sum(page != clean for page, clean in zip(pages, cleaned, strict=True)) > 0
    copy.write_bytes(b"".join(cleaned))
    again = apsw.Connection(str(copy))
    assert again.pragma("integrity_check") == "ok"
    assert rows(again) == before
    # It goes on being one: what is written next does not miss what was overwritten.
    again.execute("DELETE FROM rows WHERE id % 2 = 0; INSERT INTO keyed SELECT 'n' || id, text FROM rows")
    assert again.pragma("integrity_check") == "ok"


@given(st.binary(min_size=512, max_size=512), st.integers(1, 1 << 32))
def test_scrubbing_keeps_the_length_and_writes_nothing_but_zeros(page: bytes, number: int) -> None:
    clean = scrubbed(page, number)
    assert len(clean) == len(page)
    assert all(new in (old, 0) for old, new in zip(page, clean, strict=True))
    assert scrubbed(clean, number) == clean


LEAF = bytes([13, 0, 0, 0, 1, 1, 0xF0, 0, 1, 0xF0]) + b"left" * 100 + bytes(86) + b"row " * 4


def test_the_free_middle_of_a_page_becomes_zeros() -> None:
    assert scrubbed(LEAF, 7) == LEAF[:10] + bytes(0x1F0 - 10) + LEAF[0x1F0:]


def test_a_page_of_rows_that_do_not_fit_elsewhere_is_left_alone() -> None:
    """It begins with the number of the next: below 2^25 that cannot look like a page with a middle."""
    overflow = (0x00FFFFFF).to_bytes(4) + b"text" * 127
    assert scrubbed(overflow, 7) == overflow


def test_where_a_number_of_a_page_could_look_like_a_kind_of_page_nothing_is_touched() -> None:
    assert scrubbed(LEAF, (2 << 24) - 1) != LEAF
    assert scrubbed(LEAF, 2 << 24) == LEAF
