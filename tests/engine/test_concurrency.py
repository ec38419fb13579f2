"""Many callers at once, as they really come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import STORES
from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import SETTINGS, create, engine_of, stored_changes, stored_user
from tests.engine.model import check_user
from tests.engine.stores import InItsThread
from userfold.core.commands import Edit, UpdateUser
from userfold.storage.port import Store

TASKS, MERGES = 64, 100
BAGS = ("traits", "public_metadata", "private_metadata", "unsafe_metadata")


@pytest.fixture(params=[*STORES, "sqlite in its thread"])
def busy_store(request: pytest.FixtureRequest, tmp_path: Path, runner: asyncio.Runner) -> Iterator[Store]:
    store = STORES[request.param](tmp_path) if request.param in STORES else InItsThread(tmp_path / "userfold.db")
    runner.run(store.migrate())
    yield store
    runner.run(store.close())


def test_no_update_of_many_callers_to_one_user_is_lost(busy_store: Store, runner: asyncio.Runner) -> None:
    """Each caller waits for its answer before it sends the next."""
    answered: list[int] = []

    async def caller(number: int) -> None:
        for turn in range(MERGES):
            edit = Edit("merge_patch", {BAGS[number % len(BAGS)]: {f"{number:02d}.{turn:02d}": 1}})
            command = UpdateUser(project_id=PROJECT, author=BACKEND, user_id="u1", edits=(edit,))
            applied = await engine.run(command, SETTINGS)
            assert applied.user is not None
            answered.append(applied.user.version)
            found = await stored_user(busy_store, "u1")
            assert found is not None
            assert found.version >= applied.user.version, "what was answered can be read"

    async def all_at_once() -> None:
        await engine.run(create("u1"), SETTINGS)
        await asyncio.gather(*(caller(number) for number in range(TASKS)))
        await engine.close()
        found = await stored_user(busy_store, "u1")
        assert found is not None
        keys = [key for bag in BAGS for key in getattr(found, bag)]
        assert sorted(keys) == [f"{number:02d}.{turn:02d}" for number in range(TASKS) for turn in range(MERGES)]
        check_user(found, await stored_changes(busy_store, "u1"))

    engine = engine_of(busy_store)
    runner.run(all_at_once())
    assert sorted(answered) == list(range(2, TASKS * MERGES + 2))
