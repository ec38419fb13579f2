"""What was answered is there after a power cut, at whatever moment; and the harness can tell when it is not.

`pytest -m faults -s tests/faults/test_power_cut.py` prints what was tried.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import apsw
import pytest

from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import SETTINGS, create, engine_of, merge, stored_changes, stored_user
from tests.engine.model import check_identifiers, check_user
from tests.engine.stores import InItsThread
from tests.faults.power_cut import Answered, Disk, Event, Synced, Truncated, Wrote, after_cut
from userfold.core.claims import identifier_key
from userfold.core.commands import Edit, UpdateUser
from userfold.core.records import Identifier, User
from userfold.engine import Engine
from userfold.storage.sqlite import wal
from userfold.storage.sqlite.store import SQLiteStore

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

WRITERS, USERS, UPDATES_EACH = 16, 20, 40
CUTS = 200
NAME = "userfold.db"

disk_numbers = count(1)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk(f"remembering-{next(disk_numbers)}")
    yield disk
    disk.unregister()


async def write_and_note_answers(store: SQLiteStore, disk: Disk) -> None:
    """Writers that each wait for an answer before they send the next update, of 20 users that they share."""
    engine = engine_of(store)
    rng = random.Random(1)
    for number in range(USERS):
        await asked(engine, disk, create(f"u{number}", username=f"name{number}"))

    async def write(writer: int) -> None:
        for turn in range(UPDATES_EACH):
            user_id = f"u{rng.randrange(USERS)}"
            names = Edit("merge_patch", {"email_addresses": [f"{writer}.{turn}@x.org"]})
            rename = UpdateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=(names,))
            update = merge(user_id, **{f"{writer}.{turn}": "x" * rng.choice((1, 10, 2_000))})
            await asked(engine, disk, rename if rng.random() < 0.2 else update)

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    await engine.close()


async def asked(engine: Engine, disk: Disk, command: UpdateUser | object) -> None:
    """Run a command, and note in the disk's log what its caller was told."""
    applied = await engine.run(command, SETTINGS)  # type: ignore[arg-type]
    assert applied.user is not None
    disk.note(Answered(applied.user.id, applied.user.version))


async def logged(store: SQLiteStore, disk: Disk) -> list[Event]:
    """All that happened on the disk until everybody was answered and everything was closed."""
    await store.migrate()
    await write_and_note_answers(store, disk)
    await store.close()
    return list(disk.log)


class Lost(Exception):
    """What was answered is not there."""


async def check_after_cut(folder: Path, answered: dict[str, int]) -> None:
    """Open what the cut left as the program would. Raises `Lost`; asserts that what is there is whole."""
    store = SQLiteStore(folder / NAME)
    await store.migrate()
    try:
        db = apsw.Connection(str(folder / NAME))
        assert db.pragma("integrity_check") == "ok"
        names = [name for (name,) in db.execute("SELECT id FROM identifiers")]
        user_ids = [id_ for (id_,) in db.execute("SELECT id FROM users")]
        changes = db.execute("SELECT count(*) FROM changes").get
        db.close()
        users: list[User] = []
        for user_id in user_ids:
            user = await stored_user(store, user_id)
            assert user is not None
            check_user(user, await stored_changes(store, user_id))
            users.append(user)
        assert changes == sum(user.version for user in users), "there are changes that no history leads to"
        held = await store.get([identifier_key(PROJECT, name) for name in names])
        check_identifiers(PROJECT, users, {k: v for k, v in held.items() if isinstance(v, Identifier)})
        versions = {user.id: user.version for user in users}
        missing = {id_: version for id_, version in answered.items() if versions.get(id_, 0) < version}
        if missing:
            raise Lost(missing)
        # And it goes on from there.
        engine = engine_of(store)
        for user in users[:1]:
            applied = await engine.run(merge(user.id, after="the cut"), SETTINGS)
            assert applied.user is not None
            assert applied.user.version == user.version + 1
    finally:
        await store.close()


def cut_at_many_points(log: Sequence[Event], folder: Path, seed: int) -> tuple[int, int]:
    """(how many of the cuts lost an answer, how many answers were given before them in all)"""
    rng = random.Random(seed)
    first = next(index for index, event in enumerate(log) if isinstance(event, Answered))
    lost = answers = 0
    # The moment after an answer is when most can be lost, so half of the cuts are there.
    after_answers = [index + 1 for index, event in enumerate(log) if isinstance(event, Answered)]
    cuts = [*rng.sample(range(first, len(log) + 1), CUTS // 2), *rng.sample(after_answers, CUTS // 2)]
    for number, cut in enumerate(cuts):
        answered: dict[str, int] = {}
        for event in log[:cut]:
            if isinstance(event, Answered):
                answered[event.user_id] = max(event.version, answered.get(event.user_id, 0))
                answers += 1
        here = folder / f"cut-{number}"
        here.mkdir()
        for file, content in after_cut(log, cut, rng).items():
            assert not file.endswith("-shm")
            (here / file).write_bytes(content)
        try:
            asyncio.run(check_after_cut(here, answered))
        except Lost:
            lost += 1
    return lost, answers


def told(log: Sequence[Event], lost: int, answers: int) -> str:
    kinds = Counter(type(event).__name__ for event in log)
    syncs = Counter(event.file.removeprefix(NAME) or NAME for event in log if isinstance(event, Synced))
    return f"{dict(kinds)}; syncs {dict(syncs)}; {CUTS} cuts after {answers} answers in all; {lost} lost an answer"


def checkpoints(log: Sequence[Event]) -> int:
    """How often the database's file was synced while callers were still being answered."""
    last = max(index for index, event in enumerate(log) if isinstance(event, Answered))
    first = min(index for index, event in enumerate(log) if isinstance(event, Answered))
    return sum(isinstance(event, Synced) and event.file == NAME for event in log[first:last])


@pytest.mark.parametrize("kind", [SQLiteStore, InItsThread])
def test_no_answered_update_is_lost_whenever_the_power_fails(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[SQLiteStore]
) -> None:
    monkeypatch.setattr(wal, "PAGES_START", 20)
    monkeypatch.setattr(wal, "PAGES_CAP", 60)
    (tmp_path / "live").mkdir()
    log = asyncio.run(logged(kind(tmp_path / "live" / NAME, vfs=disk.name), disk))
    assert checkpoints(log) >= 5
    assert sum(isinstance(event, Answered) for event in log) == USERS + WRITERS * UPDATES_EACH
    lost, answers = cut_at_many_points(log, tmp_path, seed=2)
    print(f"\nFULL, {kind.__name__}: {told(log, lost, answers)}; {checkpoints(log)} checkpoints")  # noqa: T201
    assert lost == 0


def test_without_a_sync_per_commit_the_same_search_finds_lost_updates(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this file asserts would be worth nothing if it could not fail. The database is whole even so."""
    monkeypatch.setattr(wal, "PAGES_START", 20)
    monkeypatch.setattr(wal, "PAGES_CAP", 60)
    (tmp_path / "live").mkdir()
    log = asyncio.run(logged(SQLiteStore(tmp_path / "live" / NAME, vfs=disk.name, synchronous="NORMAL"), disk))
    lost, answers = cut_at_many_points(log, tmp_path, seed=3)
    print(f"\nNORMAL: {told(log, lost, answers)}; {checkpoints(log)} checkpoints")  # noqa: T201
    assert lost >= CUTS // 20


def test_a_cut_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    """The harness itself, on a log made by hand."""
    log: list[Event] = [
        Wrote("a", 0, b"1" * 1024),
        Wrote("b", 0, b"b" * 512),
        Synced("a", 1),  # began before the next write, and ends after it
        Wrote("a", 0, b"2" * 1024),
        Synced("a", 3),
        Truncated("a", 512),
    ]
    rng = random.Random(4)
    at_the_end = {after_cut(log, 6, rng)["a"] for _ in range(200)}
    assert b"1" * 1024 in at_the_end
    assert b"2" * 512 in at_the_end
    assert b"2" * 512 + b"1" * 512 in at_the_end, "torn"
    assert b"1" * 512 + b"2" * 512 in at_the_end, "torn the other way"
    assert all(len(content) in (512, 1024) for content in at_the_end)
    assert {len(after_cut(log, 3, rng)["a"]) for _ in range(50)} == {1024}
    assert {len(after_cut(log, 6, rng)["b"]) for _ in range(50)} == {0, 512}
