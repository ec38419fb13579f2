"""Sign-ins and their ends, chained in one batch or each in its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import NOW, create, delete, engine_of, revoke, sign_in, submit
from userfold.core import sign_ins
from userfold.core.applied import Applied
from userfold.core.commands import Edit, RevokeSignIns, UpdateUser
from userfold.core.errors import SessionNotFound, UserDisabled
from userfold.core.records import Key
from userfold.core.sign_ins import LIVE_MAX
from userfold.engine import Limits
from userfold.storage.port import Store

BATCHES = {"one batch": Limits(), "a batch each": Limits(batch_size_max=1)}
REVOKE_ALL = RevokeSignIns(project_id=PROJECT, author=BACKEND, user_id="u1")
DISABLE = UpdateUser(project_id=PROJECT, author=BACKEND, user_id="u1", edits=(Edit("merge_patch", {"disabled": True}),))


@pytest.fixture(params=BATCHES)
def limits(request: pytest.FixtureRequest) -> Limits:
    return BATCHES[request.param]


async def statuses(store: Store, user_id: str = "u1") -> dict[str, str]:
    """{id: status} of a user's sign-ins, in the order in which they are answered."""
    key = Key("sign_ins", PROJECT, user_id)
    found: Any = (await store.get([key]))[key]
    return {one.id: one.status for one in found}


def test_a_sign_in_can_be_ended_in_the_batch_that_begins_it(
    store: Store, runner: asyncio.Runner, limits: Limits
) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        outcomes = await submit(
            engine,
            [
                create("u1"),
                sign_in("u1", "sis_1"),
                sign_in("u1", "sis_2"),
                revoke("sis_1"),
                revoke("sis_1"),
                revoke("sis_3"),
                sign_in("u1", "sis_3"),
            ],
        )
        assert [type(outcome) for outcome in outcomes] == [Applied] * 5 + [SessionNotFound, Applied]
        assert outcomes[3].record == outcomes[4].record
        assert (outcomes[3].record.version, outcomes[3].record.ended_at) == (2, NOW)
        assert await statuses(store) == {"sis_1": "revoked", "sis_2": "active", "sis_3": "active"}
        await engine.close()

    runner.run(scenario())


@pytest.mark.parametrize("end", [REVOKE_ALL, DISABLE], ids=["revoked", "disabled"])
def test_all_sign_ins_end_together_the_stored_ones_and_those_of_the_batch(
    store: Store, runner: asyncio.Runner, limits: Limits, end: UpdateUser | RevokeSignIns
) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        await submit(engine, [create("u1"), create("u2"), sign_in("u1", "sis_1"), sign_in("u2", "sis_2")])
        outcomes = await submit(
            engine, [sign_in("u1", "sis_3"), revoke("sis_1"), end, sign_in("u1", "sis_4"), revoke("sis_3")]
        )
        later = isinstance(outcomes[3], Applied)
        assert later or isinstance(outcomes[3], UserDisabled)
        assert later is (end is REVOKE_ALL)
        ended = {"sis_1": "revoked", "sis_3": "revoked"}
        assert await statuses(store) == (ended | {"sis_4": "active"} if later else ended)
        assert await statuses(store, "u2") == {"sis_2": "active"}
        assert outcomes[4].record.version == 2, "ended once"
        await engine.close()

    runner.run(scenario())


def test_with_one_too_many_the_oldest_ends(store: Store, runner: asyncio.Runner, limits: Limits) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        ids = [f"sis_{number:03d}" for number in range(LIVE_MAX + 3)]
        await submit(engine, [create("u1"), *(sign_in("u1", id_) for id_ in ids[:2])])
        await submit(engine, [sign_in("u1", id_) for id_ in ids[2:]])
        found = await statuses(store)
        assert [id_ for id_, status in found.items() if status == "active"] == ids[3:]
        assert list(found) == ids
        await engine.close()

    runner.run(scenario())


def test_who_signs_in_again_and_again_has_only_the_last_of_those_that_ended(
    store: Store, runner: asyncio.Runner, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "ENDED_KEPT_MAX", 3)

    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        ids = [f"sis_{number}" for number in range(8)]
        await submit(engine, [create("u1"), *(sign_in("u1", id_) for id_ in ids[:5]), *map(revoke, ids[:5])])
        await submit(engine, [sign_in("u1", "sis_5")])
        assert list(await statuses(store)) == ids[2:6]
        await submit(engine, [revoke("sis_5"), sign_in("u1", "sis_6"), revoke("sis_6"), sign_in("u1", "sis_7")])
        assert await statuses(store) == {**dict.fromkeys(ids[4:7], "revoked"), "sis_7": "active"}
        await engine.close()

    runner.run(scenario())


def test_a_deleted_users_sign_ins_are_gone_for_what_comes_after_it(
    store: Store, runner: asyncio.Runner, limits: Limits
) -> None:
    async def scenario() -> None:
        engine = engine_of(store, limits=limits)
        await submit(engine, [create("u1"), sign_in("u1", "sis_1")])
        outcomes = await submit(
            engine,
            [
                sign_in("u1", "sis_2"),
                delete("u1"),
                revoke("sis_1"),
                revoke("sis_2"),
                create("u1"),
                revoke("sis_1"),
                sign_in("u1", "sis_3"),
            ],
        )
        assert [type(outcome) for outcome in outcomes] == [
            Applied,
            Applied,
            SessionNotFound,
            SessionNotFound,
            Applied,
            SessionNotFound,
            Applied,
        ]
        assert await statuses(store) == {"sis_3": "active"}
        await engine.close()

    runner.run(scenario())
