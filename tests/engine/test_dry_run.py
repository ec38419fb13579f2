"""A dry run is answered as the write that follows it would be, and nothing is written."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.engine.commands import Made, command_lists
from tests.engine.driving import (
    NOW,
    SETTINGS,
    create,
    delete,
    increment,
    merge,
    once,
    sign_in,
    stored_changes,
    stored_user,
    submit,
)
from tests.engine.model import told
from tests.engine.stores import Watched
from tests.engine.test_model import entropy_of, in_project
from userfold.core.applied import Applied
from userfold.core.commands import Command
from userfold.core.errors import UserNotFound
from userfold.engine import Engine
from userfold.storage.port import Store

project_numbers = count(1)


async def outcome_of(engine: Engine, command: Command, *, dry_run: bool) -> Any:
    (outcome,) = await asyncio.gather(engine.run(command, SETTINGS, dry_run=dry_run), return_exceptions=True)
    return outcome


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(drawn=command_lists(max_size=16))
def test_a_dry_run_is_answered_as_the_write_that_follows(
    store: Store, runner: asyncio.Runner, drawn: list[Command]
) -> None:
    """With the same clock and the same random bits even ids are the same."""
    project_id = f"prj_dry_{next(project_numbers)}"
    bits = 0

    async def scenario() -> None:
        nonlocal bits
        made = Made()
        engine = Engine(store, clock_ms=lambda: NOW, entropy=lambda: bits)
        for number, drawn_command in enumerate(drawn):
            bits = entropy_of(number, usercom_number=None)
            command = in_project(made.resolved(drawn_command), project_id)
            tried = await outcome_of(engine, command, dry_run=True)
            again = await outcome_of(engine, command, dry_run=True)
            done = await outcome_of(engine, command, dry_run=False)
            assert told(tried) == told(again) == told(done)
            if isinstance(done, Applied):
                made.note(command, done)
        await engine.close()

    runner.run(scenario())


def test_a_dry_run_writes_nothing(runner: asyncio.Runner) -> None:
    store = Watched()

    async def scenario() -> None:
        engine = Engine(store, clock_ms=lambda: NOW)
        await submit(engine, [create("u1", name="Ada")])
        before, changes = await stored_user(store, "u1"), await stored_changes(store, "u1")
        tried: list[Command] = [create(name="Zoë"), increment("u1"), sign_in("u1", "sis_1"), once(merge("u1", a=1))]
        for command in (*tried, delete("u1")):
            assert isinstance(await outcome_of(engine, command, dry_run=True), Applied)
        assert len(store.writes) == 1
        assert await stored_user(store, "u1") == before
        assert await stored_changes(store, "u1") == changes
        await engine.close()

    runner.run(scenario())


def test_neighbours_in_the_batch_do_not_see_a_dry_run_which_sees_those_before_it(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        engine = Engine(store, clock_ms=lambda: NOW)
        plan: list[tuple[Command, bool]] = [
            (create("u1", name="Ada"), True),
            (merge("u1", a=1), False),  # nobody yet
            (create("u1", name="Zoë"), False),
            (increment("u1"), True),
            (once(increment("u1")), True),
            (once(increment("u1")), False),  # the key is not used yet
            (delete("u1"), True),
            (increment("u1"), False),
        ]
        runs = (engine.run(command, SETTINGS, dry_run=dry_run) for command, dry_run in plan)
        outcomes: list[Any] = await asyncio.gather(*runs, return_exceptions=True)
        assert isinstance(outcomes[1], UserNotFound)
        seen = [outcome.user and outcome.user.version for outcome in outcomes if isinstance(outcome, Applied)]
        assert seen == [1, 1, 2, 2, 2, None, 3]
        found = await stored_user(store, "u1")
        assert found is not None
        assert (found.name, found.traits, found.version) == ("Zoë", {"n": 2}, 3)
        assert [change.version for change in await stored_changes(store, "u1")] == [1, 2, 3]
        await engine.close()

    runner.run(scenario())
