"""A connection that is lost during COMMIT: what the batch's id is for (design 2.2)."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.driving import create, engine_of, merge, scenario, stored_changes, stored_user, submit, versions
from tests.engine.stores import Fate, Lossy
from userfold.core.applied import Applied
from userfold.engine import Limits
from userfold.storage.port import OutcomeUnknown, StoreUnavailable

fates = st.sampled_from(get_args(Fate))


def test_a_batch_that_was_committed_is_answered_as_committed() -> None:
    @scenario
    async def lost_after_the_commit() -> None:
        store = Lossy("done, lost")
        outcomes = await submit(engine_of(store), [create("u1"), merge("u1", a=1)])
        assert versions(outcomes) == [1, 2]
        assert [change.version for change in await stored_changes(store, "u1")] == [1, 2]
        assert len(store.writes) == 1


def test_a_batch_that_was_not_committed_runs_again_as_the_same_batch() -> None:
    @scenario
    async def lost_before_the_commit() -> None:
        store = Lossy("undone, lost", "undone, lost")
        outcomes = await submit(engine_of(store), [create(), create("u1"), merge("u1", a=1)])
        assert versions(outcomes) == [1, 1, 2]
        assert [change.version for change in await stored_changes(store, "u1")] == [1, 2]
        # Not a new one: had the first attempt been committed after all, it would be found by its id.
        assert len(store.writes) == 3
        assert store.writes[1:] == store.writes[:-1]
        assert await stored_user(store, outcomes[0].user.id) == outcomes[0].user


@pytest.mark.parametrize("fate", ["done, unreachable", "undone, unreachable"])
def test_where_nobody_can_tell_everybody_is_told_so(fate: Fate) -> None:
    @scenario
    async def lost_for_good() -> None:
        store = Lossy("done", fate)
        engine = engine_of(store)
        await submit(engine, [create("u1")])
        outcomes = await submit(engine, [merge("u1", a=1), merge("u1", b=1)])
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
        found = await stored_user(store, "u1")
        assert found is not None
        assert found.version == (3 if fate.startswith("done") else 1), "all of it or nothing"
        assert versions(await submit(engine, [merge("u1", c=1)])) == [found.version + 1]


def test_each_batch_has_an_id_of_its_own() -> None:
    @scenario
    async def many() -> None:
        store = Lossy()
        engine = engine_of(store, limits=Limits(batch_size_max=1))
        await submit(engine, [create(f"u{n}") for n in range(100)])
        assert len({write.batch_id for write in store.writes}) == len(store.writes) == 100


@given(st.lists(fates, max_size=30), st.integers(1, 4))
def test_whatever_is_lost_nothing_answered_is_missing_and_nothing_is_done_twice(
    drawn: list[Fate], batch_size_max: int
) -> None:
    @scenario
    async def through_it_all() -> None:
        store = Lossy("done", *drawn)
        engine = engine_of(store, limits=Limits(batch_size_max=batch_size_max))
        await submit(engine, [create("u1")])
        outcomes = await submit(engine, [merge("u1", **{str(n): n}) for n in range(20)])
        found = await stored_user(store, "u1")
        assert found is not None
        for n, outcome in enumerate(outcomes):
            if isinstance(outcome, Applied):
                assert found.traits[str(n)] == n
            elif isinstance(outcome, StoreUnavailable):
                assert str(n) not in found.traits
            else:
                assert isinstance(outcome, OutcomeUnknown)
        assert len(found.traits) == found.version - 1
        assert [change.version for change in await stored_changes(store, "u1")] == list(range(1, found.version + 1))
