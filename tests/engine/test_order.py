"""Who is answered what, in which order, and when."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import (
    NOW,
    SETTINGS,
    C,
    asked_by,
    broken,
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
from tests.engine.stores import Gated, Watched, changes_in
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateUser, DeleteUser, Edit, UpdateUser, UpsertUser
from userfold.core.errors import CommandBroken, IdentifierTaken, UserNotFound, VersionMismatch
from userfold.core.records import Key
from userfold.engine import Limits
from userfold.storage.codec import to_text
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Store


def test_each_command_of_a_batch_gets_the_user_as_of_itself(store: Store, runner: asyncio.Runner) -> None:
    async def chained() -> None:
        engine = engine_of(store)
        outcomes = await submit(engine, [create("u1"), *(merge("u1", n=n, last=n) for n in range(1, 50))])
        for n, outcome in enumerate(outcomes):
            assert outcome.user.version == outcome.change.version == n + 1
            assert outcome.user.traits == ({} if n == 0 else {"n": n, "last": n})
        assert await stored_user(store, "u1") == outcomes[-1].user
        changes = await stored_changes(store, "u1")
        assert [to_text(change) for change in changes] == [to_text(outcome.change) for outcome in outcomes]

    runner.run(chained())


def test_commands_are_applied_in_the_order_in_which_they_arrive() -> None:
    @scenario
    async def over_many_batches() -> None:
        store = Watched()
        engine = engine_of(store, limits=Limits(batch_size_max=7))
        arrivals = [create("u1"), *(asked_by(f"req_{n}", merge("u1", n=n)) for n in range(100))]
        outcomes = await submit(engine, arrivals)
        assert versions(outcomes) == list(range(1, 102))
        assert [change.request_id for change in await stored_changes(store, "u1")] == [
            command.author.request_id for command in arrivals
        ]


def test_nobody_is_answered_before_the_commit() -> None:
    @scenario
    async def with_the_gate_shut() -> None:
        store = Gated()
        engine = engine_of(store)
        tasks = [asyncio.create_task(engine.run(create(f"u{n}"), SETTINGS)) for n in range(5)]
        refused = asyncio.create_task(engine.run(merge("nobody"), SETTINGS))
        await store.asked.wait()
        await until_waiting(*tasks)
        assert not any(task.done() for task in [*tasks, refused])
        store.gate.set()
        for task in tasks:
            assert (await task).created
        with pytest.raises(UserNotFound):
            await refused


def test_the_callers_of_a_batch_are_answered_before_the_next_one_is_begun() -> None:
    """Else a long queue, over a store that commits on the loop, would hold up answers, reads and everybody else."""

    @scenario
    async def in_three_batches() -> None:
        store = Watched()
        engine = engine_of(store, limits=Limits(batch_size_max=1))
        writes_seen: list[int] = []

        async def caller(number: int) -> None:
            await engine.run(create(f"u{number}"), SETTINGS)
            writes_seen.append(len(store.writes))

        await asyncio.gather(*(caller(number) for number in range(3)))
        assert writes_seen == [1, 2, 3]


def test_what_arrives_while_a_batch_commits_is_the_next_batch() -> None:
    @scenario
    async def in_two_batches() -> None:
        store = Gated()
        engine = engine_of(store)
        first = asyncio.create_task(engine.run(create("u1"), SETTINGS))
        await store.asked.wait()
        later = []
        for n in range(10):
            later.append(asyncio.create_task(engine.run(merge("u1", n=n), SETTINGS)))
            await asyncio.sleep(0)  # each in a turn of its own
        store.gate.set()
        assert versions([await task for task in (first, *later)]) == list(range(1, 12))
        assert [len(changes_in(write)) for write in store.writes] == [1, 10]


def test_what_one_turn_of_the_loop_submits_is_one_batch() -> None:
    @scenario
    async def at_once() -> None:
        store = Watched()
        await submit(engine_of(store), [create(f"u{n}") for n in range(100)])
        assert [len(changes_in(write)) for write in store.writes] == [100]


def test_a_command_that_changes_nothing_writes_nothing() -> None:
    @scenario
    async def twice() -> None:
        store = Watched()
        engine = engine_of(store)
        identify = UpsertUser(
            project_id=PROJECT, author=BACKEND, external_id="e1", edits=(Edit("merge_patch", {"name": "Ada"}),)
        )
        made = await engine.run(identify, SETTINGS)
        assert made.user is not None
        writes_before = len(store.writes)
        again = await submit(engine, [identify, merge(made.user.id), identify])
        assert len(store.writes) == writes_before
        assert [outcome.change for outcome in again] == [None, None, None]
        assert [outcome.user for outcome in again] == [made.user] * 3
        assert await stored_user(store, made.user.id) == made.user
        assert len(await stored_changes(store, made.user.id)) == 1


def test_commands_that_undo_each_other_still_leave_their_history(store: Store, runner: asyncio.Runner) -> None:
    async def there_and_back() -> None:
        engine = engine_of(store)
        await submit(engine, [create("u1", traits={"a": 1})])
        outcomes = await submit(engine, [merge("u1", a=2), merge("u1", a=1), merge("u1", a=1)])
        assert versions(outcomes) == [2, 3, 3]
        assert [change.version for change in await stored_changes(store, "u1")] == [1, 2, 3]

    runner.run(there_and_back())


def test_a_user_made_and_deleted_in_one_batch_leaves_a_tombstone_only(store: Store, runner: asyncio.Runner) -> None:
    delete = DeleteUser(project_id=PROJECT, author=BACKEND, user_id="u1")

    async def short_life() -> None:
        engine = engine_of(store)
        outcomes = await submit(engine, [create("u1", username="ada"), merge("u1", a=1), delete, merge("u1", a=2)])
        assert versions(outcomes[:2]) == [1, 2]
        assert isinstance(outcomes[3], UserNotFound)
        assert await stored_user(store, "u1") is None
        assert await stored_changes(store, "u1") == []
        # Its names are free, and the next one of that id begins anew.
        (again,) = await submit(engine, [create("u1", username="ada")])
        assert again.user.version == 1
        assert [change.version for change in await stored_changes(store, "u1")] == [1]

    runner.run(short_life())


def test_projects_that_share_a_batch_and_user_ids_do_not_touch_each_other(store: Store, runner: asyncio.Runner) -> None:
    def elsewhere(command: C) -> C:
        return msgspec.structs.replace(command, project_id="prj_2")

    async def one_batch() -> None:
        engine = engine_of(store)
        delete = DeleteUser(project_id=PROJECT, author=BACKEND, user_id="u1")
        arrivals = [create("u1", username="ada"), elsewhere(create("u1", username="ada")), merge("u1", a=1), delete]
        outcomes = await submit(engine, [*arrivals, elsewhere(merge("u1", b=1))])
        assert versions(outcomes) == [1, 1, 2, None, 2]
        assert await stored_user(store, "u1") is None
        assert await stored_changes(store, "u1") == []
        key = Key("user", "prj_2", "u1")
        assert (await store.get([key]))[key] == outcomes[4].user
        changes = await store.history("prj_2", "u1", after=0, up_to=9, limit=9)
        assert [change.version for change in changes] == [1, 2]

    runner.run(one_batch())


def test_a_refused_command_leaves_its_neighbours_alone(store: Store, runner: asyncio.Runner) -> None:
    async def amid_others() -> None:
        engine = engine_of(store)
        stale = UpdateUser(
            project_id=PROJECT, author=BACKEND, user_id="u1", edits=merge("u1", stale=True).edits, if_match=(1,)
        )
        arrivals = [create("u1", username="ada"), merge("u1", a=1), stale, merge("nobody"), merge("u1", b=2)]
        outcomes = await submit(engine, [*arrivals, create("u2", username="ADA"), merge("u1", c=3)])
        assert versions(outcomes) == [1, 2, None, None, 3, None, 4]
        assert isinstance(outcomes[2], VersionMismatch)
        assert isinstance(outcomes[5], IdentifierTaken)
        found = await stored_user(store, "u1")
        assert found is not None
        assert found.traits == {"a": 1, "b": 2, "c": 3}
        assert await stored_user(store, "u2") is None

    runner.run(amid_others())


def test_a_broken_command_leaves_its_neighbours_alone(store: Store, runner: asyncio.Runner) -> None:
    async def amid_others() -> None:
        engine = engine_of(store)
        outcomes = await submit(engine, [create("u1"), broken("u1"), merge("u1", a=1), broken("u1"), merge("u1", b=1)])
        assert versions(outcomes) == [1, None, 2, None, 3]
        assert [type(outcome) for outcome in outcomes[1::2]] == [CommandBroken, CommandBroken]

    runner.run(amid_others())


class Unheard(Command, frozen=True, kw_only=True):
    """A command that no rule knows."""


def test_a_command_that_no_rule_knows_leaves_its_neighbours_alone() -> None:
    @scenario
    async def amid_others() -> None:
        engine = engine_of(MemoryStore())
        unheard = Unheard(project_id=PROJECT, author=BACKEND)
        outcomes = await submit(engine, [create("u1"), unheard, merge("u1", a=1)])
        assert versions(outcomes) == [1, None, 2]
        assert isinstance(outcomes[1], KeyError)


@pytest.mark.parametrize("user_id", ["\ud800"])
def test_a_key_that_no_store_can_look_for_leaves_its_neighbours_alone(
    store: Store, runner: asyncio.Runner, user_id: str
) -> None:
    """No API lets one through. If one ever does, that is one caller's trouble."""

    async def amid_others() -> None:
        engine = engine_of(store)
        outcomes = await submit(engine, [create("u1"), merge(user_id), merge("u1", a=1)])
        assert versions(outcomes) == [1, None, 2]

    runner.run(amid_others())


def test_time_never_goes_back_when_the_clock_does() -> None:
    @scenario
    async def over_a_set_back() -> None:
        clock = iter([NOW, NOW - 5_000, NOW - 1, NOW + 7])
        store = MemoryStore()
        engine = engine_of(store, clock_ms=lambda: next(clock))
        times = []
        for command in (create("u1"), merge("u1", a=1), merge("u1", a=2), merge("u1", a=3)):
            outcome = await engine.run(command, SETTINGS)
            assert outcome.user is not None
            assert outcome.change is not None
            times.append((outcome.user.updated_at, outcome.change.at))
        assert times == [(NOW, NOW), (NOW, NOW), (NOW, NOW), (NOW + 7, NOW + 7)]


def test_no_two_commands_share_an_id() -> None:
    """Not even within a millisecond, where only randomness tells them apart."""

    @scenario
    async def many_at_once() -> None:
        engine = engine_of(MemoryStore())
        make = CreateUser(project_id=PROJECT, author=BACKEND, edits=(Edit("merge_patch", {"username": None}),))
        outcomes = await submit(engine, [make] * 500)
        assert len({outcome.user.id for outcome in outcomes}) == 500
        assert len({outcome.change.id for outcome in outcomes}) == 500
        assert len({outcome.user.usercom_id for outcome in outcomes}) == 500


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 100))
@example([4, 6, 1, 9], 8, 10)
@example([11, 1], 8, 10)
def test_no_batch_is_longer_or_larger_than_its_limits(sizes: list[int], size_max: int, bytes_max: int) -> None:
    """But for a command that is too large alone, which is a batch alone."""

    @scenario
    async def in_batches() -> None:
        store = Watched()
        engine = engine_of(store, limits=Limits(batch_size_max=size_max, batch_bytes_max=bytes_max))
        arrivals = [asked_by(str(n), create(f"u{n}")) for n in range(len(sizes))]
        outcomes = await submit(engine, arrivals, sizes)
        assert all(isinstance(outcome, Applied) for outcome in outcomes)
        batches = [[int(change.request_id) for change in changes_in(write)] for write in store.writes]
        assert [number for batch in batches for number in batch] == list(range(len(sizes)))
        for batch in batches:
            assert len(batch) <= size_max
            assert len(batch) == 1 or sum(sizes[number] for number in batch) <= bytes_max
        for batch, following in pairwise(batches):
            room = len(batch) < size_max and sum(sizes[n] for n in batch) + sizes[following[0]] <= bytes_max
            assert not room, "a batch that had room for the next command did not take it"
