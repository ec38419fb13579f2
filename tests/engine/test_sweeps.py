"""What is removed in time, and what is not: over every store, with the clock as an input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.contract.samples import put
from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import NOW, create, delete, engine_of, sign_in, submit
from userfold.core.commands import (
    AssignSegment,
    CreateKey,
    CreateProject,
    CreateSegment,
    DeleteSegment,
    Forget,
    Once,
    RecordEvent,
    RevokeKey,
    StartSession,
)
from userfold.core.queries import UserQuery
from userfold.core.records import ApiKey, Erasure, Key, Project, ProjectSettings, Record, Session
from userfold.core.rules import ONCE_MS
from userfold.core.tracking import IDLE_MS, NOBODYS_KEPT_MS
from userfold.core.upkeep_rules import DELETED_SEGMENTS_KEPT_MS, ERASURES_KEPT_MS, SIGN_INS_KEPT_MS
from userfold.directory import Directory
from userfold.engine import Engine
from userfold.images import images_in_memory
from userfold.segment_sweep import USERS_AT_ONCE
from userfold.storage.port import Store, StoreUnavailable
from userfold.sweeps import CHUNK, Sweeper
from userfold.tokens import api_key

SETTINGS = ProjectSettings()


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Swept:
    """A store with an engine and what sweeps it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.engine = engine_of(store, clock_ms=self.clock)
        self.directory = Directory(store)
        self.images = images_in_memory()
        self.sweeper = Sweeper(self.engine, store, self.directory, self.images)

    async def sweep_at(self, now: int) -> int:
        self.clock.now = now
        return await self.sweeper.sweep()

    async def get(self, kind: str, id_: str) -> Record | tuple[Record, ...] | None:
        key = Key(kind, PROJECT, id_)
        return (await self.store.get([key]))[key]


def test_the_answer_to_an_idempotency_key_is_kept_for_a_day_and_not_longer(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        command = msgspec.structs.replace(create("u1"), once=Once("k", "1"))
        await submit(swept.engine, [command])
        assert await swept.sweep_at(NOW + ONCE_MS - 1) == 0
        assert await swept.get("idempotency", "k") is not None
        assert await swept.sweep_at(NOW + ONCE_MS) == 1
        assert await swept.get("idempotency", "k") is None
        assert await swept.get("user", "u1") is not None
        await swept.engine.close()

    runner.run(scenario())


def test_a_sign_in_is_kept_for_a_month_after_its_end(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        await submit(swept.engine, [create("u1"), sign_in("u1", "sis_1", 1_000), sign_in("u1", "sis_2", 2_000)])
        end = NOW + 1_000 + SIGN_INS_KEPT_MS
        assert await swept.sweep_at(end - 1) == 0
        assert await swept.sweep_at(end) == 1
        assert await swept.get("sign_in", "sis_1") is None
        assert await swept.get("sign_in", "sis_2") is not None
        await swept.engine.close()

    runner.run(scenario())


def test_more_than_a_chunk_is_removed_in_one_sweep(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        count = 2 * CHUNK + 1
        keys = [Once(f"k{number}", "1") for number in range(count)]
        await submit(swept.engine, [msgspec.structs.replace(create(), once=once) for once in keys])
        assert await swept.sweep_at(NOW + ONCE_MS) == count
        assert await store.expired("idempotency", before=NOW + 2 * ONCE_MS, limit=1) == []
        await swept.engine.close()

    runner.run(scenario())


def sessions(user_id: str, created_at: int, numbers: Sequence[int]) -> list[Session]:
    return [Session(id=f"ses_{created_at}_{n:04d}", user_id=user_id, created_at=created_at) for n in numbers]


def test_what_a_deleted_user_left_goes_and_what_the_next_one_of_that_id_has_stays(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        await submit(swept.engine, [create("u1"), create("u2")])
        old, others = sessions("u1", NOW, range(CHUNK + 3)), sessions("u2", NOW, [7000])
        await put(store, *old, *others)
        swept.clock.now = NOW + 10
        await submit(swept.engine, [delete("u1")])
        swept.clock.now = NOW + 20
        await submit(swept.engine, [create("u1")])
        (young,) = sessions("u1", NOW + 20, [1])
        await put(store, young)
        assert await swept.sweep_at(NOW + 30) == len(old)
        assert await swept.get("erasure", "u1") == Erasure(id="u1", project_id=PROJECT, at=NOW + 10)
        rest = await store.of_user("session", PROJECT, "u1", after=None, descending=False, limit=9)
        assert list(rest) == [young]
        assert await swept.get("session", others[0].id) == others[0]
        await swept.engine.close()

    runner.run(scenario())


def test_the_events_of_a_deleted_user_go_and_those_of_the_next_one_of_that_id_stay(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        record = RecordEvent(project_id=PROJECT, author=BACKEND, user_id="u1", name="order paid")
        await submit(swept.engine, [create("u1"), *[record] * (CHUNK + 1)])
        swept.clock.now = NOW + 10
        await submit(swept.engine, [delete("u1")])
        swept.clock.now = NOW + 20
        young = (await submit(swept.engine, [create("u1"), record]))[1].record
        assert await swept.sweep_at(NOW + 30) == CHUNK + 1
        rest = await store.of_user("event", PROJECT, "u1", after=None, descending=False, limit=9)
        assert list(rest) == [young]
        await swept.engine.close()

    runner.run(scenario())


def test_a_deleted_segment_is_left_by_all_its_users_in_one_sweep_and_goes_in_a_later_one(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        making = CreateSegment(project_id=PROJECT, author=BACKEND, name="Beta")
        segment_id = (await submit(swept.engine, [making]))[0].record.id
        ids = [f"u{number}" for number in range(USERS_AT_ONCE + 1)]
        await submit(swept.engine, [create(user_id) for user_id in ids])
        in_it = {"project_id": PROJECT, "author": BACKEND, "segment_id": segment_id}
        await submit(swept.engine, [AssignSegment(**in_it, user_id=user_id) for user_id in ids])
        await submit(swept.engine, [DeleteSegment(**in_it)])
        assert await swept.sweep_at(NOW + 1) == 0, "no record was removed"
        users = await store.users(UserQuery(project_id=PROJECT, limit=1_000))
        assert [user.segments for user in users] == [()] * len(ids)
        assert await swept.get("segment", segment_id) is not None
        await swept.sweep_at(NOW + DELETED_SEGMENTS_KEPT_MS)
        assert await swept.get("segment", segment_id) is None
        await swept.engine.close()

    runner.run(scenario())


def test_an_erasure_is_over_when_nobody_can_be_adding_to_what_was_left(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        await submit(swept.engine, [create("u1"), delete("u1")])
        await swept.sweep_at(NOW + ERASURES_KEPT_MS - 1)
        assert await swept.get("erasure", "u1") is not None
        await swept.sweep_at(NOW + ERASURES_KEPT_MS)
        assert await swept.get("erasure", "u1") is None
        assert await swept.get("tombstone", "u1") is not None
        await swept.engine.close()

    runner.run(scenario())


def test_sessions_end_when_they_were_idle_and_what_was_nobodys_goes_also_after_a_restart(
    store: Store, runner: asyncio.Runner
) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        await submit(swept.engine, [create("u1")])
        count = CHUNK + 3
        linked = [
            Session(id=f"ses_{n:04d}", user_id="u1", created_at=NOW, seen_at=NOW, expires_at=NOW + IDLE_MS)
            for n in range(count)
        ]
        nobodys = Session(id="ses_nobodys", created_at=NOW, seen_at=NOW, expires_at=NOW + IDLE_MS)
        later = Session(id="ses_later", created_at=NOW, seen_at=NOW + 1, expires_at=NOW + IDLE_MS + 1)
        await put(store, *linked, nobodys, later)
        await swept.sweep_at(NOW + IDLE_MS - 1)
        assert await swept.get("session", "ses_0000") == linked[0]
        await swept.engine.close()
        swept = Swept(store)  # as after a restart: what it works off is in the store
        assert await swept.sweep_at(NOW + IDLE_MS) == 0
        for session in linked:
            found = await swept.get("session", session.id)
            assert isinstance(found, Session)
            assert (found.status, found.ended_because, found.ended_at) == ("ended", "idle", NOW + IDLE_MS)
        assert await swept.get("session", "ses_later") == later
        assert await swept.sweep_at(NOW + IDLE_MS + NOBODYS_KEPT_MS) == 1
        assert await swept.get("session", "ses_nobodys") is None
        assert await swept.get("session", "ses_0000") is not None
        assert await store.expired("session", before=NOW + 10 * NOBODYS_KEPT_MS, limit=5) == [
            Key("session", PROJECT, "ses_later")
        ]
        await swept.engine.close()

    runner.run(scenario())


def test_nothing_is_forgotten_because_somebody_says_so(store: Store, runner: asyncio.Runner) -> None:
    """A sweep looks without a lock: what it names may have changed since."""

    async def scenario() -> None:
        engine = engine_of(store)
        first = msgspec.structs.replace(create("u1"), once=Once("k", "1"))
        started = StartSession(project_id=PROJECT, author=BACKEND)
        outcomes = await submit(engine, [first, sign_in("u1", "sis_1"), started, create("u2"), delete("u2")])
        session: Session = outcomes[2].record
        keys = (
            Key("idempotency", PROJECT, "k"),
            Key("sign_in", PROJECT, "sis_1"),
            Key("session", PROJECT, session.id),
            Key("erasure", PROJECT, "u2"),
            Key("session", PROJECT, "ses_nobody"),
        )
        (applied,) = await submit(engine, [Forget(project_id=PROJECT, author=BACKEND, keys=keys)])
        assert applied.writes == {}
        await engine.close()

    runner.run(scenario())


async def keys_of(store: Store) -> dict[str, ApiKey]:
    return {key.name: key for key in await store.list("api_key") if isinstance(key, ApiKey)}


def test_a_key_says_when_it_was_last_used_to_the_minute(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        project = Project(id=PROJECT, name="test", product_id="prd_1", created_at=NOW)
        used, unused = api_key(PROJECT, "sk_1", "used", NOW), api_key(PROJECT, "sk_2", "unused", NOW)
        await submit(
            swept.engine,
            [
                CreateProject(project_id=PROJECT, author=BACKEND, project=project, keys=(used,)),
                CreateKey(project_id=PROJECT, author=BACKEND, key=unused),
            ],
        )
        for at, noted in [(NOW + 5, NOW + 5), (NOW + 60_004, NOW + 5), (NOW + 60_005, NOW + 60_005)]:
            assert await swept.directory.caller("sk_1") is not None
            await swept.sweep_at(at)
            found = await keys_of(store)
            assert (found["used"].last_used_at, found["unused"].last_used_at) == (noted, None)
        await swept.sweep_at(NOW + 999_999)  # nobody has used it since
        assert (await keys_of(store))["used"].last_used_at == NOW + 60_005
        await swept.engine.close()

    runner.run(scenario())


def test_a_key_that_was_used_and_then_revoked_stays_revoked(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        swept = Swept(store)
        project = Project(id=PROJECT, name="test", product_id="prd_1", created_at=NOW)
        key = api_key(PROJECT, "sk_1", "used", NOW)
        await submit(swept.engine, [CreateProject(project_id=PROJECT, author=BACKEND, project=project, keys=(key,))])
        await swept.directory.caller("sk_1")
        await submit(swept.engine, [RevokeKey(project_id=PROJECT, author=BACKEND, key_id=key.id)])
        await swept.sweep_at(NOW + 7)
        found = (await keys_of(store))["used"]
        assert (found.revoked_at, found.last_used_at) == (NOW, NOW + 7)
        await swept.engine.close()

    runner.run(scenario())


class FailsOnce:
    """A store whose first search for what is over fails."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failures = 0
        self.searched = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def expired(self, kind: str, *, before: int, limit: int) -> Sequence[Key]:
        if not self.failures:
            self.failures += 1
            raise StoreUnavailable("the disk is away")
        self.searched.set()
        return await self._store.expired(kind, before=before, limit=limit)


def test_a_sweep_that_failed_is_made_again(
    store: Store, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        failing = FailsOnce(store)
        engine = Engine(store, clock_ms=lambda: NOW)
        sweeping = asyncio.create_task(Sweeper(engine, failing, Directory(store), images_in_memory(), every_s=0).run())  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            await failing.searched.wait()
        sweeping.cancel()
        await asyncio.wait([sweeping])
        assert failing.failures == 1
        await engine.close()

    runner.run(scenario())
    assert "StoreUnavailable: the disk is away" in caplog.text
