"""Counting: an increment is done where the number is, so none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.driving import SETTINGS, create, engine_of, increment, stored_user
from tests.engine.stores import InItsThread
from userfold.storage.port import Store
from userfold.storage.sqlite.store import SQLiteStore

TASKS, TURNS, SECONDS_MAX = 64, 500, 60


@pytest.fixture(params=[SQLiteStore, InItsThread])
def counting_store(request: pytest.FixtureRequest, tmp_path: Path, runner: asyncio.Runner) -> Iterator[Store]:
    store: Store = request.param(tmp_path / "userfold.db")
    runner.run(store.migrate())
    yield store
    runner.run(store.close())


def test_many_callers_that_count_at_once_come_to_the_exact_sum(counting_store: Store, runner: asyncio.Runner) -> None:
    answered: list[int] = []

    async def caller() -> None:
        for _ in range(TURNS):
            applied = await engine.run(increment("u1"), SETTINGS)
            assert applied.user is not None
            answered.append(applied.user.traits["n"])

    async def all_at_once() -> None:
        await engine.run(create("u1"), SETTINGS)
        async with asyncio.timeout(SECONDS_MAX):
            await asyncio.gather(*(caller() for _ in range(TASKS)))
        await engine.close()
        found = await stored_user(counting_store, "u1")
        assert found is not None
        assert (found.traits, found.version) == ({"n": TASKS * TURNS}, TASKS * TURNS + 1)

    engine = engine_of(counting_store)
    runner.run(all_at_once())
    assert sorted(answered) == list(range(1, TASKS * TURNS + 1)), "each caller was answered its own number"
