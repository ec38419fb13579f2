"""What is done about segments that were deleted: their users leave them, and then they go. Over every store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import NOW, SETTINGS, create, engine_of, stored_changes, stored_user
from userfold.core.commands import AssignSegment, CreateSegment, DeleteSegment, DeleteUser
from userfold.core.queries import UserQuery
from userfold.core.records import EffectiveSettings, Key, Segment, User
from userfold.core.upkeep_rules import DELETED_SEGMENTS_KEPT_MS
from userfold.engine import Engine
from userfold.segment_sweep import USERS_AT_ONCE, sweep_deleted_segments
from userfold.storage.port import Store


class World:
    """A store with two segments and some users, and the time as a test says it is."""

    def __init__(self, store: Store) -> None:
        self.now = NOW
        self.store = store
        self.engine: Engine = engine_of(store, clock_ms=lambda: self.now)

    async def segment(self) -> str:
        applied = await self.engine.run(CreateSegment(project_id=PROJECT, author=BACKEND, name="Beta"), SETTINGS)
        assert isinstance(applied.record, Segment)
        return applied.record.id

    async def users(self, count: int, *segment_ids: str) -> list[str]:
        """New users, in all these segments."""
        made = await asyncio.gather(*(self.engine.run(create(), SETTINGS) for _ in range(count)))
        ids = [applied.user.id for applied in made if applied.user is not None]
        for segment_id in segment_ids:
            await asyncio.gather(*(self.assign(user_id, segment_id) for user_id in ids))
        return ids

    async def assign(self, user_id: str, segment_id: str, settings: EffectiveSettings = SETTINGS) -> None:
        command = AssignSegment(project_id=PROJECT, author=BACKEND, user_id=user_id, segment_id=segment_id)
        await self.engine.run(command, settings)

    async def delete(self, segment_id: str) -> None:
        await self.engine.run(DeleteSegment(project_id=PROJECT, author=BACKEND, segment_id=segment_id), SETTINGS)

    async def segments_of(self, user_id: str) -> tuple[str, ...] | None:
        user = await stored_user(self.store, user_id)
        return None if user is None else user.segments

    async def is_there(self, segment_id: str) -> bool:
        key = Key("segment", PROJECT, segment_id)
        return (await self.store.get([key]))[key] is not None

    async def sweep(self) -> int:
        return await sweep_deleted_segments(self.engine, self.store)


def test_users_leave_a_deleted_segment_and_no_other_one(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted, stays = await world.segment(), await world.segment()
        both, one = await world.users(3, stays, deleted), await world.users(2, stays)
        assert await world.sweep() == 0
        await world.delete(deleted)
        assert await world.segments_of(both[0]) == (stays, deleted)
        assert await world.sweep() == 3
        assert await world.sweep() == 0
        assert [await world.segments_of(user_id) for user_id in both + one] == [(stays,)] * 5
        (last,) = (await stored_changes(store, both[0]))[3:]
        assert (last.source, last.actor, last.trust) == ("system", BACKEND.actor, "backend")
        assert len(await stored_changes(store, one[0])) == 2

    runner.run(scenario())


def test_a_large_segment_is_left_step_by_step(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted = await world.segment()
        ids = await world.users(2 * USERS_AT_ONCE + 1, deleted)
        await world.delete(deleted)
        assert [await world.sweep() for _ in range(4)] == [USERS_AT_ONCE, USERS_AT_ONCE, 1, 0]
        assert [await world.segments_of(user_id) for user_id in ids] == [()] * len(ids)

    runner.run(scenario())


def test_a_deleted_segment_goes_once_nobody_can_be_put_into_it_any_more(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted, stays = await world.segment(), await world.segment()
        (ada,) = await world.users(1, deleted)
        await world.delete(deleted)
        assert await world.sweep() == 1
        # Another process has not heard of it yet.
        await world.assign(ada, deleted, EffectiveSettings(segments=frozenset({deleted})))
        world.now += DELETED_SEGMENTS_KEPT_MS - 1
        assert await world.sweep() == 1
        assert await world.sweep() == 0
        assert await world.is_there(deleted)
        world.now += 1
        assert await world.sweep() == 1
        assert (await world.is_there(deleted), await world.is_there(stays)) == (False, True)
        assert await world.sweep() == 0
        assert await world.segments_of(ada) == ()

    runner.run(scenario())


def test_who_is_still_in_a_segment_that_was_deleted_long_ago_leaves_it_before_it_goes(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted = await world.segment()
        (ada,) = await world.users(1, deleted)
        await world.delete(deleted)
        world.now += 10 * DELETED_SEGMENTS_KEPT_MS
        assert await world.sweep() == 1
        assert (await world.is_there(deleted), await world.segments_of(ada)) == (True, ())
        assert await world.sweep() == 1
        assert not await world.is_there(deleted)

    runner.run(scenario())


def test_a_user_who_goes_meanwhile_is_in_nobodys_way(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted = await world.segment()
        ada, bea = await world.users(2, deleted)
        await world.delete(deleted)
        sweeping = asyncio.create_task(world.sweep())
        await world.engine.run(DeleteUser(project_id=PROJECT, author=BACKEND, user_id=ada), SETTINGS)
        await sweeping
        assert await world.sweep() in (0, 1)
        assert (await world.segments_of(ada), await world.segments_of(bea)) == (None, ())

    runner.run(scenario())


def test_a_segment_stays_if_it_was_looked_into_too_early_however_late_that_is_answered(
    store: Store, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        world = World(store)
        deleted = await world.segment()
        await world.delete(deleted)
        look = store.users

        async def slowly(query: UserQuery) -> Sequence[User]:
            found = await look(query)
            world.now += DELETED_SEGMENTS_KEPT_MS
            return found

        monkeypatch.setattr(store, "users", slowly)
        assert (await world.sweep(), await world.is_there(deleted)) == (0, True)
        assert (await world.sweep(), await world.is_there(deleted)) == (1, False)

    runner.run(scenario())
