"""When the store refuses, fails or is slow, and when callers go away or come too many."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.driving import (
    SETTINGS,
    asked_by,
    create,
    engine_of,
    merge,
    scenario,
    stored_changes,
    stored_user,
    submit,
    until_waiting,
    versions,
)
from tests.engine.stores import Failing, Fussy, Gated, Watched
from userfold.core.applied import Applied
from userfold.engine import Limits, Overloaded, Stopping
from userfold.storage.port import (
    Conflict,
    Locked,
    OutcomeUnknown,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WriteFailed,
)

# A write that is refused.

TROUBLE = [WriteFailed("a bad record"), Conflict("somebody else"), Locked("somebody else")]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: error.code)
@given(st.sets(st.integers(0, 39)), st.integers(1, 40))
def test_exactly_the_commands_that_cannot_be_written_fail(error: StoreError, bad: set[int], length: int) -> None:
    @scenario
    async def in_one_batch() -> None:
        store = Fussy(error)
        engine = engine_of(store)
        await submit(engine, [create("shared")])
        arrivals = [
            asked_by("refused" if n in bad else "fine", merge("shared", **{str(n): n}) if n % 2 else create(f"u{n}"))
            for n in range(length)
        ]
        outcomes = await submit(engine, arrivals)
        assert [n for n, outcome in enumerate(outcomes) if outcome is error] == sorted(n for n in bad if n < length)
        kept = [n for n in range(length) if n not in bad]
        assert all(isinstance(outcomes[n], Applied) for n in kept)
        shared = await stored_user(store, "shared")
        assert shared is not None
        assert list(shared.traits) == [str(n) for n in kept if n % 2]
        assert [change.version for change in await stored_changes(store, "shared")] == [*range(1, shared.version + 1)]
        for n in range(0, length, 2):
            assert (await stored_user(store, f"u{n}") is not None) == (n in kept)


def test_one_bad_command_among_many_costs_few_transactions() -> None:
    @scenario
    async def among_256() -> None:
        store = Fussy(WriteFailed("a bad record"))
        arrivals = [asked_by("refused" if n == 100 else "fine", create(f"u{n}")) for n in range(256)]
        outcomes = await submit(engine_of(store), arrivals)
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 255
        assert store.runs <= 2 * math.log2(256) + 1


# A store that fails.


@pytest.mark.parametrize(
    "error", [StoreUnavailable("gone"), StoreFull("full"), OutcomeUnknown("lost")], ids=lambda error: error.code
)
def test_trouble_of_the_store_reaches_every_caller_of_the_batch_and_no_other(error: StoreError) -> None:
    @scenario
    async def in_three_batches() -> None:
        store = Failing(error)
        engine = engine_of(store, limits=Limits(batch_size_max=5))
        outcomes = await submit(engine, [create(f"u{n}") for n in range(15)])
        assert [type(outcome) for outcome in outcomes] == [type(error)] * 5 + [Applied] * 10
        assert [await stored_user(store, f"u{n}") is not None for n in range(15)] == [False] * 5 + [True] * 10
        assert store.runs == 2, "a batch that the store could not take at all is not split"


def test_trouble_that_the_store_does_not_name_is_answered_as_unknown() -> None:
    @scenario
    async def in_two_batches() -> None:
        engine = engine_of(Failing(RuntimeError("what is this")), limits=Limits(batch_size_max=2))
        outcomes = await submit(engine, [create(f"u{n}") for n in range(4)])
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 2 + [Applied] * 2


# Callers that go away.


@pytest.mark.parametrize("gone", ["while it waits", "while its batch commits"])
def test_a_caller_that_goes_away_harms_nobody_and_its_command_is_done(gone: str) -> None:
    @scenario
    async def amid_others() -> None:
        store = Gated()
        engine = engine_of(store)
        first = asyncio.create_task(engine.run(create("u1"), SETTINGS))
        if gone == "while it waits":
            await store.asked.wait()
        tasks = [asyncio.create_task(engine.run(merge("u1", **{str(n): n}), SETTINGS)) for n in range(3)]
        await store.asked.wait()
        await until_waiting(*tasks)
        tasks[1].cancel()
        await until_waiting(*tasks)
        assert tasks[1].cancelled()
        store.gate.set()
        assert versions([await first, await tasks[0], await tasks[2]]) == [1, 2, 4]
        found = await stored_user(store, "u1")
        assert found is not None
        assert found.traits == {"0": 0, "1": 1, "2": 2}
        await engine.close()


def test_a_batch_that_fails_after_its_callers_went_away_is_no_trouble_for_the_next() -> None:
    @scenario
    async def all_gone() -> None:
        store = Failing(StoreUnavailable("gone"))
        engine = engine_of(store, limits=Limits(batch_size_max=2))
        tasks = [asyncio.create_task(engine.run(create(f"u{n}"), SETTINGS)) for n in range(4)]
        await asyncio.sleep(0)
        for task in tasks[:2]:
            task.cancel()
        assert versions(await asyncio.gather(*tasks[2:])) == [1, 1]


# Limits of the queue.


def test_a_queue_that_is_full_refuses_and_stores_nothing() -> None:
    @scenario
    async def one_too_many() -> None:
        store = Watched()
        engine = engine_of(store, limits=Limits(queue_length_max=3))
        outcomes = await submit(engine, [create(f"u{n}") for n in range(5)])
        assert [type(outcome) for outcome in outcomes] == [Applied] * 3 + [Overloaded] * 2
        assert await stored_user(store, "u3") is None
        assert versions(await submit(engine, [create("u3")])) == [1], "there is room again"


def test_a_queue_that_holds_too_many_bytes_refuses_and_stores_nothing() -> None:
    @scenario
    async def one_too_large() -> None:
        store = Watched()
        engine = engine_of(store, limits=Limits(queue_bytes_max=10))
        outcomes = await submit(engine, [create(f"u{n}") for n in range(5)], [4, 4, 3, 2, 1])
        assert [type(outcome) for outcome in outcomes] == [Applied, Applied, Overloaded, Applied, Overloaded]
        for _ in range(3):  # what was taken from the queue no longer counts
            again = await submit(engine, [merge("u0", a=1), merge("u1", a=1)], [5, 5])
            assert all(isinstance(outcome, Applied) for outcome in again)


def test_a_batch_that_commits_leaves_its_place_in_the_queue() -> None:
    @scenario
    async def while_committing() -> None:
        store = Gated()
        engine = engine_of(store, limits=Limits(queue_length_max=2))
        first = [asyncio.create_task(engine.run(create(f"a{n}"), SETTINGS)) for n in range(2)]
        await store.asked.wait()
        second = [asyncio.create_task(engine.run(create(f"b{n}"), SETTINGS)) for n in range(3)]
        await until_waiting(*second)
        assert [task.done() for task in second] == [False, False, True]
        assert isinstance(second[2].exception(), Overloaded)
        store.gate.set()
        assert versions(await asyncio.gather(*first, *second[:2])) == [1] * 4


# Stopping.


def test_closing_answers_what_waits_and_then_refuses() -> None:
    @scenario
    async def while_committing() -> None:
        store = Gated()
        engine = engine_of(store, limits=Limits(batch_size_max=2))
        waiting = [asyncio.create_task(engine.run(create(f"u{n}"), SETTINGS)) for n in range(7)]
        await store.asked.wait()
        closing = [asyncio.create_task(engine.close()) for _ in range(2)]
        await until_waiting(*closing)
        with pytest.raises(Stopping):
            await engine.run(create("late"), SETTINGS)
        assert not any(task.done() for task in [*waiting, *closing])
        store.gate.set()
        await asyncio.gather(*closing)
        assert all(task.done() for task in waiting), "closing returns when everybody has been answered"
        assert versions(await asyncio.gather(*waiting)) == [1] * 7
        assert await stored_user(store, "late") is None
        with pytest.raises(Stopping):
            await engine.run(create("later"), SETTINGS)


def test_an_engine_that_never_ran_anything_can_be_closed() -> None:
    @scenario
    async def at_once() -> None:
        engine = engine_of(Watched())
        await engine.close()
        with pytest.raises(Stopping):
            await engine.run(create("u1"), SETTINGS)
