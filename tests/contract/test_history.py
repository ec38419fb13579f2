"""Pages of a user's history."""

from __future__ import annotations

import asyncio

from hypothesis import example, given
from hypothesis import strategies as st

from tests.contract.samples import (
    PROJECT,
    all_changes,
    change,
    change_user,
    folding,
    key_of,
    next_version,
    put,
    remove_user,
    user,
    writing,
)
from userfold.core.records import User
from userfold.storage.port import Read, Store, Update

LAST = 1000


async def write_history(store: Store) -> User:
    """A user with 1,000 changes, written in transactions that begin and end around SQLite's marks (every 128th)."""
    current = user()
    await put(
        store, current, change(), user("other", version=700), *(change("other", version=v) for v in range(1, 701))
    )
    for up_to in (2, 127, 128, 129, 256, 511, 513, 640, 999, LAST):
        await write_up_to(store, current, up_to)
        current = user(version=up_to)
    return current


async def write_up_to(store: Store, current: User, version: int) -> None:
    """All versions up to `version` in one transaction, as a batch does that changes one user many times."""
    made = [change(version=v) for v in range(current.version + 1, version + 1)]
    write = writing(*made, updates=[Update(current, user(version=version))])
    await store.run(lambda: folding(Read((key_of(current),)), write))


def test_any_page_of_a_long_history_is_what_a_list_would_give(store: Store, runner: asyncio.Runner) -> None:
    runner.run(write_history(store))
    changes = [change(version=version) for version in range(1, LAST + 1)]

    @given(st.integers(0, LAST + 200), st.integers(0, LAST + 200), st.integers(0, LAST + 200))
    @example(0, LAST, LAST)
    @example(0, 128, 128)
    @example(127, 129, 2)
    @example(128, 10**9, 10**6)
    @example(LAST - 1, LAST, 1)
    @example(LAST, LAST + 1, 1)
    def a_page_is_a_slice(after: int, up_to: int, limit: int) -> None:
        wanted = [made for made in changes if after < made.version <= up_to][:limit]
        found = runner.run(store.history(PROJECT, "u1", after=after, up_to=up_to, limit=limit))
        assert list(found) == wanted

    a_page_is_a_slice()


def test_pages_of_any_size_put_together_are_the_whole_history(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await write_history(store)
        for limit in (13, 100, 128, 500):
            versions: list[int] = []
            while page := await store.history(
                PROJECT, "u1", after=versions[-1] if versions else 0, up_to=LAST, limit=limit
            ):
                versions += [made.version for made in page]
            assert versions == list(range(1, LAST + 1))

    runner.run(scenario())


def test_a_user_who_is_unknown_or_deleted_has_no_history(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        assert list(await store.history(PROJECT, "u1", after=0, up_to=10, limit=10)) == []
        last = await write_history(store)
        await remove_user(store, last)
        assert await all_changes(store, "u1") == []
        assert list(await store.history(PROJECT, "u1", after=500, up_to=600, limit=10)) == []
        assert len(await all_changes(store, "other")) == 700

    runner.run(scenario())


def test_a_user_made_again_with_more_versions_than_before_pages_through_its_own(
    store: Store, runner: asyncio.Runner
) -> None:
    """Nothing of the first history, such as a shortcut into it, may lead a page of the second astray."""

    async def scenario() -> None:
        first = user(version=300)
        await put(store, first, *(change(version=v, id_=f"chg_first_{v:04d}") for v in range(1, 301)))
        await remove_user(store, first)
        await put(store, user(), change(id_="chg_second_0001"))
        current = user()
        for _ in range(2, 260):
            after = next_version(current)
            await change_user(store, current, after)
            current = after
        found = await store.history(PROJECT, "u1", after=100, up_to=200, limit=100)
        assert [made.version for made in found] == list(range(101, 201))
        assert not any(made.id.startswith("chg_first") for made in await all_changes(store, "u1"))

    runner.run(scenario())
