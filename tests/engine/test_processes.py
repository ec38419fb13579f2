"""Several engines over one PostgreSQL database, each with a store of its own, as several processes have them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from tests import postgres
from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import SETTINGS, create, engine_of, increment, merge, once, stored_changes, stored_user
from tests.engine.model import check_user
from tests.postgres_proxy import Fate, between
from userfold.core.commands import Edit, UpdateUser
from userfold.core.errors import IdentifierTaken
from userfold.core.queries import UserQuery
from userfold.engine import Engine
from userfold.storage.port import Locked, StoreUnavailable
from userfold.storage.postgres import connections, store
from userfold.storage.postgres.store import PostgresStore

PROCESSES = 4


@contextlib.asynccontextmanager
async def engines(*urls: str) -> AsyncIterator[tuple[PostgresStore, list[Engine]]]:
    """An engine for each address, and the first one's store."""
    stores = [PostgresStore(url) for url in urls]
    made = [engine_of(store) for store in stores]
    try:
        yield stores[0], made
    finally:
        for engine in made:
            await engine.close()
        for store in stores:
            await store.close()


def test_twins_of_one_idempotency_key_on_two_processes_have_one_effect_and_equal_answers(
    tmp_path: Path, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        async with engines(*[postgres.database_of(tmp_path)] * 2) as (store, (one, other)):
            for number in range(30):
                command = once(create(name=f"user {number}"), f"key {number}")
                first, second = await asyncio.gather(one.run(command, SETTINGS), other.run(command, SETTINGS))
                assert first.user == second.user
                assert first.change == second.change
            assert await store.count_users(UserQuery(project_id=PROJECT, limit=1)) == 30

    runner.run(scenario())


def test_of_many_processes_that_claim_an_identifier_one_has_it(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        async with engines(*[postgres.database_of(tmp_path)] * PROCESSES) as (store, made):
            for number in range(20):
                commands = [engine.run(create(username=f"name{number}"), SETTINGS) for engine in made]
                outcomes = await asyncio.gather(*commands, return_exceptions=True)
                assert sum(isinstance(outcome, IdentifierTaken) for outcome in outcomes) == PROCESSES - 1, outcomes
            assert await store.count_users(UserQuery(project_id=PROJECT, limit=1)) == 20

    runner.run(scenario())


def renaming(user_id: str, external_id: str) -> UpdateUser:
    edits = (Edit("merge_patch", {"external_id": external_id}),)
    return UpdateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=edits)


def test_of_two_processes_one_makes_a_user_of_an_id_or_the_other_calls_a_user_so(
    tmp_path: Path, runner: asyncio.Runner
) -> None:
    """Each of them only looks whether the other's record is there."""

    async def scenario() -> None:
        async with engines(*[postgres.database_of(tmp_path)] * 2) as (_, (one, other)):
            await one.run(create("u"), SETTINGS)
            for number in range(24):
                name = f"n{number}"
                calling = renaming("u", name) if number % 2 else create(external_id=name)
                outcomes = await asyncio.gather(
                    one.run(create(name), SETTINGS), other.run(calling, SETTINGS), return_exceptions=True
                )
                assert sorted(isinstance(outcome, IdentifierTaken) for outcome in outcomes) == [False, True], outcomes

    runner.run(scenario())


def test_who_keeps_a_user_locked_is_in_the_way_of_that_user_alone(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)
    monkeypatch.setattr(store, "LOCK_AGAIN_MS_MAX", 50)

    async def scenario() -> None:
        url = postgres.database_of(tmp_path)
        async with engines(url) as (_, (engine,)), postgres.connected(url) as other:
            users = [f"u{number}" for number in range(6)]
            await asyncio.gather(*(engine.run(create(id_), SETTINGS) for id_ in users))
            await other.execute("BEGIN; SELECT * FROM users WHERE id = 'u3' FOR UPDATE")
            batch = [engine.submit(merge(id_, a=1), SETTINGS) for id_ in users]
            outcomes = await asyncio.gather(*batch, return_exceptions=True)
            assert [isinstance(outcome, Locked) for outcome in outcomes] == [id_ == "u3" for id_ in users], outcomes
            await other.execute("ROLLBACK")
            applied = await engine.run(merge("u3", a=1), SETTINGS)
            assert applied.user is not None
            assert applied.user.version == 2

    runner.run(scenario())


def test_who_keeps_all_users_locked_is_not_waited_for_by_each_command(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_MS_MAX", 50)
    monkeypatch.setattr(store, "LOCK_AGAIN_MS_MAX", 50)
    monkeypatch.setattr(store, "IN_VAIN_MAX", 3)

    async def scenario() -> None:
        url = postgres.database_of(tmp_path)
        async with engines(url) as (_, (engine,)), postgres.connected(url) as other:
            users = [f"u{number}" for number in range(12)]
            await asyncio.gather(*(engine.run(create(id_), SETTINGS) for id_ in users))
            for _ in range(2):
                await other.execute("BEGIN; LOCK TABLE users IN SHARE MODE")
                batch = [engine.submit(merge(id_, a=random.random()), SETTINGS) for id_ in users]
                outcomes = await asyncio.gather(*batch, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}, "no half waits a fourth time"
                await other.execute("ROLLBACK")
                await engine.run(merge("u3", a=random.random()), SETTINGS)
                await other.execute("BEGIN; SELECT * FROM users WHERE id = 'u3' FOR UPDATE")
                with pytest.raises(Locked):
                    await engine.run(merge("u3", a=random.random()), SETTINGS)
                await other.execute("ROLLBACK")
                await engine.run(merge("u3", a=random.random()), SETTINGS)

    runner.run(scenario())


@pytest.mark.parametrize("losing", [False, True])
def test_no_update_of_many_processes_to_a_few_users_is_lost_or_done_twice(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, losing: bool
) -> None:
    """With `losing`, connections are lost during COMMIT at random, done and undone."""
    monkeypatch.setattr(connections, "SILENCE_MS_MAX", 500)
    clients, turns, users = 8, 12, 3
    chance = random.Random(1)

    async def work(engine: Engine, number: int) -> None:
        for turn in range(turns):
            await engine.run(increment(f"u{(number + turn) % users}"), SETTINGS)
            await engine.run(merge(f"u{turn % users}", **{f"{number}.{turn}": 1}), SETTINGS)

    async def scenario() -> None:
        url = postgres.database_of(tmp_path)
        async with between(url) as proxy, engines(*[proxy.url] * PROCESSES) as (store, made):
            for number in range(users):
                await made[0].run(create(f"u{number}"), SETTINGS)
            if losing:
                proxy.fates.extend(chance.choices(get_args(Fate), weights=(20, 2, 2, 1, 1), k=100))
            callers = [(made[number % PROCESSES], number) for number in range(clients * PROCESSES)]
            await asyncio.gather(*(work(engine, number) for engine, number in callers))
            proxy.fates.clear()
            found = [await stored_user(store, f"u{number}") for number in range(users)]
            total = 0
            keys = 0
            for user in found:
                assert user is not None
                check_user(user, await stored_changes(store, user.id))
                total += user.traits["n"]
                keys += len(user.traits) - 1
            assert total == keys == clients * PROCESSES * turns

    runner.run(scenario())
