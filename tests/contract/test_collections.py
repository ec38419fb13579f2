"""What belongs to a user and is kept in a collection: its sign-ins, and its answers to idempotency keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.contract.samples import ANSWER, PROJECT, SIGN_IN, folding, get, key_of, put, writing
from userfold.core.records import Idempotency, Key, SignIn
from userfold.storage.port import Read, Store, Update

Member = SignIn | Idempotency
SAMPLES: dict[str, Member] = {"sign_ins": SIGN_IN, "answers": ANSWER}
pytestmark = pytest.mark.parametrize("kind", SAMPLES)


def member(kind: str, number: int, user_id: str = "u1") -> Member:
    """One of the collection. Ids sort as numbers do."""
    sample = SAMPLES[kind]
    return msgspec.structs.replace(sample, id=f"{user_id}_{number:04d}", user_id=user_id)


def members(kind: str, numbers: Sequence[int], user_id: str = "u1") -> tuple[Member, ...]:
    return tuple(member(kind, number, user_id) for number in numbers)


def test_a_collection_is_answered_in_the_order_of_ids_in_whatever_order_it_came(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    key = Key(kind, PROJECT, "u1")

    async def scenario() -> None:
        assert await get(store, key) == ()
        await put(store, *members(kind, [5, 2, 9]))
        await put(store, member(kind, 3))
        await put(store, *members(kind, [1, 4], "u2"))
        assert await get(store, key) == members(kind, [2, 3, 5, 9])
        (inside,) = await store.run(lambda: folding(Read((key,))))
        assert inside[key] == members(kind, [2, 3, 5, 9])

    runner.run(scenario())


def test_a_member_that_changed_or_went_did_so_in_its_collection(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    before, gone, stays = members(kind, [1, 2, 3])
    after = msgspec.structs.replace(before, **({"version": 2} if isinstance(before, SignIn) else {"request": "cd"}))

    async def scenario() -> None:
        await put(store, before, gone, stays)
        wishes = (
            Read((key_of(before), key_of(gone))),
            writing(updates=[Update(before, after)], removals={key_of(gone): gone}),
        )
        await store.run(lambda: folding(*wishes))
        assert await get(store, Key(kind, PROJECT, "u1")) == (after, stays)
        assert await get(store, key_of(before)) == after
        assert await get(store, key_of(gone)) is None

    runner.run(scenario())


def test_a_member_that_comes_to_belong_to_another_user_changes_its_collection(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    """An idempotency key that is used again after a day may answer with another user."""
    before, stays = members(kind, [1, 2])
    after = msgspec.structs.replace(before, user_id="u2")

    async def scenario() -> None:
        await put(store, before, stays)
        await store.run(lambda: folding(Read((key_of(before),)), writing(updates=[Update(before, after)])))
        assert await get(store, Key(kind, PROJECT, "u1")) == (stays,)
        assert await get(store, Key(kind, PROJECT, "u2")) == (after,)
        await store.run(lambda: folding(writing(removals={Key(kind, PROJECT, "u1"): None})))
        assert await get(store, key_of(after)) == after
        await store.run(lambda: folding(writing(removals={Key(kind, PROJECT, "u2"): None})))
        assert await get(store, key_of(after)) is None

    runner.run(scenario())


def test_a_collection_is_removed_whole_and_nobody_elses_is(store: Store, runner: asyncio.Runner, kind: str) -> None:
    others = [Key(other, PROJECT, "u1") for other in SAMPLES if other != kind]

    async def scenario() -> None:
        await put(store, *members(kind, range(300)), *members(kind, range(3), "u2"))
        await put(store, *(one for other in others for one in members(other.kind, [1, 2])))
        await put(store, *members(kind, [7, 8]), project_id="prj_2")
        await store.run(lambda: folding(writing(removals={Key(kind, PROJECT, "u1"): None})))
        assert await get(store, Key(kind, PROJECT, "u1")) == ()
        assert [await get(store, key_of(one)) for one in members(kind, [0, 150, 299])] == [None] * 3
        assert await get(store, Key(kind, PROJECT, "u2")) == members(kind, range(3), "u2")
        assert await get(store, Key(kind, "prj_2", "u1")) == members(kind, [7, 8])
        assert [await get(store, other) for other in others] == [members(other.kind, [1, 2]) for other in others]

    runner.run(scenario())


def test_what_is_added_to_a_collection_in_the_transaction_that_removes_it_stays(
    store: Store, runner: asyncio.Runner, kind: str
) -> None:
    async def scenario() -> None:
        await put(store, *members(kind, [1, 2]))
        again = writing(*members(kind, [2, 3]), removals={Key(kind, PROJECT, "u1"): None})
        await store.run(lambda: folding(again))
        assert await get(store, Key(kind, PROJECT, "u1")) == members(kind, [2, 3])
        assert await get(store, key_of(member(kind, 1))) is None

    runner.run(scenario())


def test_collections_of_one_user_id_in_two_projects_are_apart(store: Store, runner: asyncio.Runner, kind: str) -> None:
    async def scenario() -> None:
        await put(store, *members(kind, [1, 2]))
        await put(store, member(kind, 1), project_id="prj_2")
        assert await get(store, Key(kind, PROJECT, "u1")) == members(kind, [1, 2])
        assert await get(store, Key(kind, "prj_2", "u1")) == (member(kind, 1),)
        assert await get(store, Key(kind, "prj_3", "u1")) == ()

    runner.run(scenario())
