"""What may be many of one user and is read page by page: its tracking sessions, its events, its sign-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.contract.samples import PAIRS, PROJECT, change, folding, key_of, put, remove_user, user, writing
from userfold.core.records import Event, Session, SignIn
from userfold.storage.port import Read, Store, Update

Kept = Session | Event | SignIn
pytestmark = pytest.mark.parametrize("kind", ["session", "event", "sign_in"])


def kept(kind: str, number: int, user_id: str | None = "u1") -> Kept:
    """One of that kind. Ids sort as numbers do, whoever's they are."""
    sample = PAIRS[kind][0]
    assert isinstance(sample, Session | Event | SignIn)
    return msgspec.structs.replace(sample, id=f"x_{number:04d}", user_id=user_id)


def several(kind: str, numbers: Sequence[int], user_id: str | None = "u1") -> list[Kept]:
    return [kept(kind, number, user_id) for number in numbers]


async def page(
    store: Store,
    kind: str,
    *,
    after: str | None = None,
    descending: bool = False,
    limit: int = 100,
    user_id: str = "u1",
) -> list[int]:
    """The numbers of one page."""
    found = await store.of_user(kind, PROJECT, user_id, after=after, descending=descending, limit=limit)
    return [int(one.id[2:]) for one in found if isinstance(one, Session | Event | SignIn)]


def test_a_users_records_come_in_the_order_of_their_ids_and_nobody_elses(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    async def scenario() -> None:
        assert await page(store, kind) == []
        await put(store, *several(kind, [5, 2, 9]), *several(kind, [1, 4], "u2"))
        await put(store, kept(kind, 3))
        await put(store, kept(kind, 2), project_id="prj_2")
        assert await page(store, kind) == [2, 3, 5, 9]
        assert await page(store, kind, descending=True) == [9, 5, 3, 2]
        assert await page(store, kind, user_id="u2") == [1, 4]
        found = await store.of_user(kind, PROJECT, "u1", after=None, descending=False, limit=1)
        assert list(found) == [kept(kind, 2)]
        assert list(await store.of_user(kind, "prj_3", "u1", after=None, descending=False, limit=9)) == []

    runner.run(scenario())


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_hold_every_record_once(store: Store, runner: asyncio.Runner, kind: str, limit: int) -> None:
    async def walk(*, descending: bool) -> list[int]:
        numbers: list[int] = []
        after = None
        while found := await page(store, kind, after=after, descending=descending, limit=limit):
            assert len(found) <= limit
            numbers += found
            after = f"x_{found[-1]:04d}"
        return numbers

    async def scenario() -> None:
        await put(store, *several(kind, range(7)))
        assert await walk(descending=False) == list(range(7))
        assert await walk(descending=True) == list(range(6, -1, -1))

    runner.run(scenario())


def test_a_page_begins_after_an_id_whether_it_is_there_or_not(store: Store, runner: asyncio.Runner, kind: str) -> None:
    async def scenario() -> None:
        await put(store, *several(kind, [2, 4]))
        assert await page(store, kind, after="x_0003") == [4]
        assert await page(store, kind, after="x_0004") == []
        assert await page(store, kind, after="x_0003", descending=True) == [2]
        assert await page(store, kind, after="", descending=False) == [2, 4]
        assert await page(store, kind, after="", descending=True) == []

    runner.run(scenario())


def test_what_changed_or_went_does_so_on_its_page(store: Store, runner: asyncio.Runner, kind: str) -> None:
    before, gone = several(kind, [1, 2])
    after = msgspec.structs.replace(before, user_id="u2")

    async def scenario() -> None:
        await put(store, before, gone)
        write = writing(updates=[Update(before, after)], removals={key_of(gone): gone})
        await store.run(lambda: folding(Read((key_of(before), key_of(gone))), write))
        assert (await page(store, kind), await page(store, kind, user_id="u2")) == ([], [1])

    runner.run(scenario())


def test_deleting_a_user_leaves_what_a_sweep_is_to_remove(store: Store, runner: asyncio.Runner, kind: str) -> None:
    left = [] if kind == "sign_in" else [1, 2]

    async def scenario() -> None:
        await put(store, user(), change(), *several(kind, [1, 2]))
        await remove_user(store, user())
        assert await page(store, kind) == left

    runner.run(scenario())
