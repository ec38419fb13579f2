"""Idempotency keys: what is sent twice is done once, and answered twice alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.commands import PROJECT
from tests.engine.driving import (
    NOW,
    create,
    delete,
    engine_of,
    increment,
    merge,
    once,
    stored_changes,
    submit,
)
from userfold.core.applied import Applied
from userfold.core.errors import IdempotencyKeyReused
from userfold.core.queries import UserQuery
from userfold.core.records import Key
from userfold.core.rules import ONCE_MS
from userfold.engine import Limits
from userfold.storage.port import Store

BATCHES = {"one batch": Limits(), "two batches": Limits(batch_size_max=1)}
EVERYBODY = UserQuery(project_id=PROJECT, limit=100)


def answer(outcome: Any) -> Any:
    """All of an answer that a caller sees."""
    assert isinstance(outcome, Applied)
    return outcome.user, outcome.record, outcome.change, outcome.created, outcome.ignored


@pytest.fixture(params=BATCHES)
def limits(request: pytest.FixtureRequest) -> Limits:
    return BATCHES[request.param]


def test_twins_that_arrive_at_the_same_moment_make_one_user_and_get_one_answer(
    store: Store, runner: asyncio.Runner, limits: Limits
) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        first, second = await submit(engine, [once(create(name="Ada", traits={"a": 1.0}))] * 2)
        assert answer(first) == answer(second)
        assert first.created
        assert second.writes == {}
        assert await store.users(EVERYBODY) == [first.user]
        await engine.close()

    runner.run(scenario())


def test_twins_that_change_a_user_change_it_once(store: Store, runner: asyncio.Runner, limits: Limits) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        await submit(engine, [create("u1")])
        first, between, second = await submit(engine, [once(increment("u1")), merge("u1", m=1), once(increment("u1"))])
        assert answer(first) == answer(second), "not as the user is now, but as it was answered"
        assert between.user.version == 3
        assert [change.version for change in await stored_changes(store, "u1")] == [1, 2, 3]
        (again,) = await submit(engine, [once(increment("u1"))])
        assert answer(again) == answer(first)
        await engine.close()

    runner.run(scenario())


def test_a_key_that_was_used_for_another_request_is_refused(
    store: Store, runner: asyncio.Runner, limits: Limits
) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        made, refused, other = await submit(
            engine,
            [
                once(create(name="Ada")),
                once(create(name="Zoë"), request="cd"),
                once(create(name="Zoë"), "idk_2", request="cd"),
            ],
        )
        assert isinstance(refused, IdempotencyKeyReused)
        assert {user.id for user in await store.users(EVERYBODY)} == {made.user.id, other.user.id}
        await engine.close()

    runner.run(scenario())


def test_what_was_refused_leaves_its_key_free(store: Store, runner: asyncio.Runner, limits: Limits) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        refused, _, done = await submit(engine, [once(increment("u1")), create("u1"), once(increment("u1"))])
        assert not isinstance(refused, Applied)
        assert isinstance(done, Applied)
        assert done.user is not None
        assert done.user.traits == {"n": 1}
        await engine.close()

    runner.run(scenario())


def test_after_a_day_the_key_is_free_and_its_answer_belongs_to_whom_it_names_then(
    store: Store, runner: asyncio.Runner
) -> None:
    now = NOW

    async def scenario() -> None:
        nonlocal now
        engine = engine_of(store, clock_ms=lambda: now)
        (first,) = await submit(engine, [once(create(name="Ada"))])
        now += ONCE_MS - 1
        (same,) = await submit(engine, [once(create(name="Ada"))])
        assert answer(same) == answer(first)
        now += 1
        (second,) = await submit(engine, [once(create(name="Zoë"), request="cd")])
        assert second.user.id != first.user.id
        await submit(engine, [delete(first.user.id)])
        (same,) = await submit(engine, [once(create(name="Zoë"), request="cd")])
        assert answer(same) == answer(second)
        await submit(engine, [delete(second.user.id)])
        key = Key("idempotency", PROJECT, "idk_1")
        assert (await store.get([key]))[key] is None, "an answer shows a user, so it goes with it"
        await engine.close()

    runner.run(scenario())


def test_an_answer_is_erased_with_its_user_and_the_key_is_free(
    store: Store, runner: asyncio.Runner, limits: Limits
) -> None:
    """The answer was stored by an earlier batch; in one batch, the deletion is seen by what comes after it."""

    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        await submit(engine, [once(create("u1", name="Ada"))])
        _, made = await submit(engine, [delete("u1"), once(create("u2", name="Ada"))])
        assert made.user.id == "u2"
        assert made.created
        assert [user.id for user in await store.users(EVERYBODY)] == ["u2"]
        key = Key("idempotency", PROJECT, "idk_1")
        assert getattr((await store.get([key]))[key], "user_id", None) == "u2"
        await engine.close()

    runner.run(scenario())


@pytest.mark.parametrize("deleted", ["the user before", "the user after"])
def test_a_key_that_changes_its_user_in_the_batch_that_deletes_one_of_them(
    store: Store, runner: asyncio.Runner, limits: Limits, deleted: str
) -> None:
    now = NOW

    async def scenario() -> None:
        nonlocal now
        engine = engine_of(store, limits=limits, clock_ms=lambda: now)
        await submit(engine, [once(create("u1"))])
        now += ONCE_MS
        outcomes = await submit(engine, [once(create("u2")), delete("u1" if deleted == "the user before" else "u2")])
        assert [type(outcome) for outcome in outcomes] == [Applied, Applied]
        key = Key("idempotency", PROJECT, "idk_1")
        left = (await store.get([key]))[key]
        assert getattr(left, "user_id", None) == ("u2" if deleted == "the user before" else None)
        await engine.close()

    runner.run(scenario())
