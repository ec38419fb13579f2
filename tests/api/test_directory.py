"""The directory of keys: it is as old as a second at most, and nobody is refused while it is being read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import pytest

from userfold.core.records import (
    ApiKey,
    AttributeDefinition,
    EffectiveSettings,
    Key,
    Project,
    ProjectSettings,
    Record,
    Segment,
    kind_of,
)
from userfold.directory import AGE_S_MAX, Directory
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Fold, StoreUnavailable, Write
from userfold.tokens import api_key, new_secret_key, webhook_key

SECRET = "whsec_" + "a" * 32
PROJECT = Project(id="prj_1", name="test", product_id="prd_1", created_at=1)


class SlowStore(MemoryStore):
    """A store that, when it is told to `hold`, has read its list of keys but gives it out only once `let_go`."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.broken = False
        self.on_list: Callable[[], None] = lambda: None
        self.has_read = asyncio.Event()
        self._gate: asyncio.Event | None = None

    def hold(self) -> None:
        self.has_read.clear()
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        assert self._gate is not None
        self._gate.set()

    async def list(self, kind: str) -> Sequence[Record]:
        self.lists += kind == "api_key"
        self.on_list()
        found = await super().list(kind)  # as of now, as a real store's
        if kind == "api_key":
            self.has_read.set()
            if self._gate is not None:
                await self._gate.wait()
        if self.broken:
            raise StoreUnavailable("gone")
        return found

    async def put(self, record: ApiKey | AttributeDefinition | Project | Segment) -> None:
        """Insert a record, past all rules."""
        key = Key(kind_of(record), PROJECT.id, record.id)
        write = Write(batch_id="bat_1", removals={}, updates={}, inserts={key: record})

        def fold() -> Fold[None]:
            yield write

        await self.run(fold)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """A directory over a slow store, by a clock that stands still."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = SlowStore()
        self.directory = Directory(self.store, monotonic=self.clock)

    async def add_key(self, *, revoked_at: int | None = None, project_id: str = PROJECT.id) -> str:
        """The token of a new key of the project, which is there from the first key on."""
        if PROJECT not in await MemoryStore.list(self.store, "project"):
            await self.store.put(PROJECT)
        token = new_secret_key()
        key = msgspec.structs.replace(api_key(project_id, token, "a key", 1), revoked_at=revoked_at)
        await self.store.put(key)
        return token

    async def knows(self, token: str) -> bool:
        return await self.directory.caller(token) is not None


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_a_caller_is_the_project_and_the_key() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        caller = await world.directory.caller(token)
        assert caller is not None
        assert caller.project == PROJECT
        assert (caller.key.kind, caller.key.project_id) == ("secret", PROJECT.id)

    run(test())


def test_a_caller_has_the_settings_of_its_project_with_what_it_has_defined() -> None:
    def segment(id_: str, **fields: Any) -> Segment:
        return Segment(**{"id": id_, "project_id": "prj_2", "name": "a", "created_at": 1, "updated_at": 1, **fields})

    async def test() -> None:
        world = World()
        await world.store.put(msgspec.structs.replace(PROJECT, id="prj_2", settings=ProjectSettings(tombstone_days=7)))
        one, two = await world.add_key(), await world.add_key(project_id="prj_2")
        for record in (segment("seg_1"), segment("seg_2", deleted_at=2), segment("seg_3", project_id="prj_gone")):
            await world.store.put(record)
        plan = AttributeDefinition(
            id="attr_1", project_id="prj_2", name="plan", type="integer", created_at=1, updated_at=1
        )
        await world.store.put(plan)
        callers = [await world.directory.caller(token) for token in (one, two)]
        assert [caller and caller.settings for caller in callers] == [
            EffectiveSettings(),
            EffectiveSettings(tombstone_days=7, segments=frozenset({"seg_1"}), attributes={"plan": plan}),
        ]

    run(test())


@pytest.mark.parametrize(
    ("of_settings", "revoked_at", "mirrors"), [(None, None, True), (None, 2, False), (SECRET, 2, True)]
)
def test_a_project_mirrors_another_system_while_it_has_a_webhook_secret(
    of_settings: str | None, revoked_at: int | None, mirrors: bool
) -> None:
    async def test() -> None:
        world = World()
        world.directory = Directory(world.store, decrypt=str, webhook_secret=of_settings, monotonic=world.clock)
        own, other = await world.add_key(), await world.add_key(project_id="prj_2")
        await world.store.put(msgspec.structs.replace(PROJECT, id="prj_2"))
        webhooks = webhook_key(PROJECT.id, SECRET, "Clerk", 1, encrypt=str)
        await world.store.put(msgspec.structs.replace(webhooks, revoked_at=revoked_at))
        callers = [await world.directory.caller(token) for token in (own, other)]
        assert [caller and caller.settings.mirrors for caller in callers] == [mirrors, False]

    run(test())


def test_nobody_has_a_revoked_key_or_one_of_a_project_that_is_gone() -> None:
    async def test() -> None:
        world = World()
        assert not await world.knows(await world.add_key(revoked_at=2))
        world.directory.forget()
        assert not await world.knows(await world.add_key(project_id="prj_gone"))
        assert not await world.knows("")

    run(test())


def test_all_who_ask_during_the_first_read_wait_for_it() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        world.store.hold()
        asking = [asyncio.create_task(world.knows(token)) for _ in range(5)]
        await asyncio.sleep(0)
        asking += [asyncio.create_task(world.knows(token)) for _ in range(5)]
        await asyncio.sleep(0)
        world.store.let_go()
        assert await asyncio.gather(*asking) == [True] * 10
        assert world.store.lists == 1

    run(test())


def test_it_is_read_again_once_it_is_a_second_old_and_not_before() -> None:
    async def test() -> None:
        world = World()
        await world.knows("")
        token = await world.add_key()
        world.clock.now = AGE_S_MAX - 0.001
        assert not await world.knows(token)
        assert world.store.lists == 1
        world.clock.now = AGE_S_MAX
        assert await world.knows(token)
        assert world.store.lists == 2
        assert AGE_S_MAX <= 1

    run(test())


def test_its_age_counts_from_before_it_was_read() -> None:
    async def test() -> None:
        world = World()
        world.store.hold()
        asking = asyncio.create_task(world.knows(""))
        await world.store.has_read.wait()
        token = await world.add_key()  # too late for the read that goes on
        world.clock.now = AGE_S_MAX
        world.store.let_go()
        await asking
        assert await world.knows(token)

    run(test())


def test_a_store_that_takes_longer_than_a_second_to_read_is_still_read() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()

        def pass_a_second() -> None:
            world.clock.now += AGE_S_MAX
            assert world.store.lists < 10, "it is read again and again, and nobody is answered"

        world.store.on_list = pass_a_second
        assert await world.knows(token)

    run(test())


def test_a_key_is_known_at_once_after_forgetting() -> None:
    async def test() -> None:
        world = World()
        await world.knows("")
        token = await world.add_key()
        assert not await world.knows(token)
        world.directory.forget()
        assert await world.knows(token)

    run(test())


def test_what_is_being_read_when_it_is_told_to_forget_does_not_count() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        world.store.hold()
        early = asyncio.create_task(world.knows(token))
        await world.store.has_read.wait()
        later_token = await world.add_key()
        world.directory.forget()
        late = asyncio.create_task(world.knows(later_token))
        await asyncio.sleep(0)
        world.store.let_go()
        assert await early
        assert await late
        assert await world.knows(later_token)

    run(test())


def test_one_who_stops_asking_does_not_take_the_answer_from_the_others() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        world.store.hold()
        one, other = (asyncio.create_task(world.knows(token)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        world.store.let_go()
        assert await other

    run(test())


def test_a_read_that_fails_is_said_and_tried_again_by_the_next() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        world.store.broken = True
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await world.knows(token)
        world.store.broken = False
        assert await world.knows(token)

    run(test())


def test_after_a_read_that_failed_nobody_is_answered_from_an_older_one() -> None:
    async def test() -> None:
        world = World()
        token = await world.add_key()
        assert await world.knows(token)
        world.clock.now = AGE_S_MAX
        world.store.broken = True
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await world.knows(token)

    run(test())
