"""What the tests of several folders share: every store, and a loop to use one in.

A new store is one line of `STORES`; the contract, the engine's tests and the captures then run over it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests import postgres
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Store
from userfold.storage.sqlite.store import SQLiteStore

# A shared machine is slow for seconds at a time; a test that fails for that says nothing about the program.
settings.register_profile("userfold", deadline=None)
settings.load_profile("userfold")


def in_order(value: object) -> str:
    """How a test's parameter is written in its name: the same in every process, because workers must agree on it."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return repr(value)


@dataclass(frozen=True)
class Constructor:
    """Makes a store that keeps its data, if anywhere, in a folder. It is ready after `migrate`."""

    make: Callable[[Path], Store]
    durable: bool = True  # made again on the same folder, it holds what was committed

    def __call__(self, folder: Path) -> Store:
        return self.make(folder)


STORES: dict[str, Constructor] = {
    "memory": Constructor(lambda folder: MemoryStore(), durable=False),
    "sqlite": Constructor(lambda folder: SQLiteStore(folder / "userfold.db")),
    "postgresql": Constructor(postgres.store_in),
}


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Databases that a test had are for others, once all its fixtures are gone."""
    postgres.give_back()


def pytest_unconfigure() -> None:
    postgres.leave()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the whole test: a store may belong to the loop that it was first used from."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=STORES)
def constructor(request: pytest.FixtureRequest) -> Constructor:
    """Each store's constructor in turn."""
    return STORES[request.param]


@pytest.fixture
def store(constructor: Constructor, tmp_path: Path, runner: asyncio.Runner) -> Iterator[Store]:
    """Each store in turn: empty and ready."""
    store = constructor(tmp_path)
    runner.run(store.migrate())
    yield store
    runner.run(store.close())
