"""The clock is set back, by an hour, between two runs: over every store, and for any commands."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.commands import BACKEND, CODES, DIGEST, LINES, PROJECT, Made, command_lists
from tests.engine.driving import (
    NOW,
    create,
    engine_of,
    increment,
    merge,
    once,
    sign_in,
    stored_changes,
    stored_user,
    submit,
)
from tests.engine.model import Model, check_user
from tests.engine.test_model import check_invariants, entropy_of, in_project
from userfold.core.applied import Applied
from userfold.core.commands import (
    AssignSegment,
    Command,
    CreateAttribute,
    CreateSegment,
    Edit,
    ImportUser,
    MarkPassword,
    RemoveImage,
    SetImage,
    UpdateAttribute,
    UpdateSegment,
    UpdateUser,
    UseBackupCode,
)
from userfold.core.queries import UserQuery
from userfold.core.records import EffectiveSettings, Image, Key, SignIn
from userfold.core.rules import ONCE_MS
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Store

HOUR = 3_600_000
SETTINGS = EffectiveSettings(segments=frozenset({"seg_known"}))
IMAGE = Image(
    name="u1/img_01m7zvgwjn3gg1x0fanetqa3a0.png",
    content_type="image/png",
    size=1,
    sha256="ab",
    width=1,
    height=1,
    created_at=NOW,
)


def is_in_order(times: Sequence[int]) -> bool:
    return all(earlier <= later for earlier, later in itertools.pairwise(times))


def test_a_history_goes_on_where_it_was_and_its_times_never_go_back(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        for at in (NOW, NOW - HOUR, NOW - HOUR + 5):  # each a run of the server
            engine = engine_of(store, clock_ms=lambda at=at: at)  # type: ignore[misc]
            await submit(engine, [create("u1"), merge("u1", at=at), increment("u1")])
            await engine.close()
        user, changes = await stored_user(store, "u1"), await stored_changes(store, "u1")
        assert user is not None
        check_user(user, changes)
        assert [change.at - NOW for change in changes] == [0, 0, 0, 1, 2, 3, 4]

    runner.run(scenario())


def test_each_version_has_a_time_of_its_own_while_the_clock_is_behind(store: Store, runner: asyncio.Runner) -> None:
    """Else who says which version is meant by its time (Clerk's `expected_updated_at`) would write over another."""

    async def scenario() -> None:
        await submit(engine_of(store), [create("u1")])
        behind = engine_of(store, clock_ms=lambda: NOW - HOUR)
        outcomes = await submit(behind, [merge("u1", n=1), merge("u1", n=2)])
        assert [outcome.user.updated_at - NOW for outcome in outcomes] == [1, 2]

    runner.run(scenario())


def test_a_sign_in_and_the_answer_to_an_idempotency_key_last_until_their_time_by_the_clock_as_it_is(
    store: Store, runner: asyncio.Runner
) -> None:
    now = NOW

    async def scenario() -> None:
        nonlocal now
        before = engine_of(store)
        (first,) = await submit(before, [once(create("u1"))])
        await submit(before, [sign_in("u1", "sis_1", lifetime_ms=HOUR)])
        now -= HOUR
        engine = engine_of(store, clock_ms=lambda: now)
        (again,) = await submit(engine, [once(create("u1"))])
        assert again.user == first.user
        key = Key("sign_in", PROJECT, "sis_1")
        kept = (await store.get([key]))[key]
        assert isinstance(kept, SignIn)
        assert [kept.is_live(time) for time in (now, NOW + HOUR - 1, NOW + HOUR)] == [True, True, False]
        now = NOW + ONCE_MS - 1
        (again,) = await submit(engine, [once(create("u1"))])
        assert again.user == first.user
        now += 1
        (refused,) = await submit(engine, [once(create("u1"))])
        assert not isinstance(refused, Applied), "the key is free, and there is such a user"

    runner.run(scenario())


def test_who_changed_last_is_the_last_in_a_list_by_updated_at(store: Store, runner: asyncio.Runner) -> None:
    async def scenario() -> None:
        await submit(engine_of(store), [create("u1"), create("u2")])
        await submit(engine_of(store, clock_ms=lambda: NOW - HOUR), [merge("u1", n=1)])
        query = UserQuery(project_id=PROJECT, order="updated_at", descending=True, limit=1)
        assert [user.id for user in await store.users(query)] == ["u1"]

    runner.run(scenario())


IN_PROJECT: dict[str, Any] = {"project_id": PROJECT, "author": BACKEND}
OF_USER: dict[str, Any] = {**IN_PROJECT, "user_id": "u1"}


def verify_email(model: Model) -> Command:
    address = {"email_address": "a@x.org", "verified": True}
    return UpdateUser(**OF_USER, edits=(Edit("merge_patch", {"email_addresses": [address]}),))


# What is there at NOW, and what is done to it an hour earlier.
FOLLOWING: dict[str, tuple[Sequence[Command], Callable[[Model], Command]]] = {
    "a merge": ([], lambda model: merge("u1", n=1)),
    "an address is verified": ([], verify_email),
    "a picture is taken away": ([SetImage(**OF_USER, image=IMAGE)], lambda model: RemoveImage(**OF_USER)),
    "a password is marked": (
        [UpdateUser(**OF_USER, edits=(), password_digest=DIGEST)],
        lambda model: MarkPassword(**OF_USER, compromised=True),
    ),
    "a backup code is used": (
        [UpdateUser(**OF_USER, edits=(), backup_code_digests=tuple(CODES))],
        lambda model: UseBackupCode(**OF_USER, digest=CODES[0]),
    ),
    "a segment gets a user": ([], lambda model: AssignSegment(**OF_USER, segment_id="seg_known")),
    "a segment is named anew": (
        [CreateSegment(**IN_PROJECT, name="a")],
        lambda model: UpdateSegment(**IN_PROJECT, segment_id=only(model, "segment"), name="b"),
    ),
    "an attribute is named anew": (
        [CreateAttribute(**IN_PROJECT, name="n", type="number")],
        lambda model: UpdateAttribute(**IN_PROJECT, attribute_id=only(model, "attribute"), title="b"),
    ),
}


def only(model: Model, kind: str) -> str:
    """The id of the only record of that kind."""
    (key,) = model.of_kind(kind)
    return key.id


@pytest.mark.parametrize("name", FOLLOWING)
def test_whatever_is_changed_is_later_than_it_was(name: str) -> None:
    given_before, then = FOLLOWING[name]
    model, numbers = Model(), itertools.count()

    def do(command: Command, now: int) -> Applied:
        entropy = entropy_of(next(numbers), usercom_number=None)
        outcome = model.apply(command, now=now, entropy=entropy, settings=SETTINGS)
        assert isinstance(outcome, Applied), outcome
        return outcome

    for command in (create("u1", email_addresses=[{"email_address": "a@x.org"}]), *given_before):
        do(command, NOW)
    changed = do(then(model), NOW - HOUR)
    record: Any = changed.record if changed.user is None else changed.user
    assert record.updated_at == NOW + 1
    if changed.user is not None:
        assert changed.change is not None
        assert changed.change.at == NOW + 1
        assert changed.user.email_addresses[0].updated_at in (NOW, NOW + 1)
    if name == "an address is verified":
        assert changed.user is not None
        assert changed.user.email_addresses[0].updated_at == NOW + 1


def test_an_import_that_lacks_the_secrets_says_so_after_the_last_change_of_its_line() -> None:
    (line,) = [line for line in LINES if line.user.password_enabled and line.secrets is None]
    outcome = Model().apply(
        ImportUser(**IN_PROJECT, line=line), now=0, entropy=entropy_of(1, usercom_number=None), settings=SETTINGS
    )
    assert isinstance(outcome, Applied)
    assert outcome.user is not None
    assert outcome.user.updated_at == line.user.updated_at + 1


@given(command_lists(max_size=30), st.lists(st.sampled_from([0, 1, -1, HOUR, -HOUR, -24 * HOUR]), min_size=1))
def test_whatever_the_clocks_say_no_history_goes_back_and_each_folds_to_its_user(
    drawn: list[object], steps: list[int]
) -> None:
    """Of processes whose clocks differ, too: each command has another time."""
    model, made, now = Model(), Made(), NOW
    for number, (wish, step) in enumerate(zip(drawn, itertools.cycle(steps), strict=False)):
        now += step
        command = in_project(made.resolved(wish), PROJECT)  # type: ignore[arg-type]
        outcome = model.apply(command, now=now, entropy=entropy_of(number, usercom_number=None), settings=SETTINGS)
        if isinstance(outcome, Applied):
            made.note(command, outcome)
    check_invariants(model, PROJECT)
    for changes in model.histories().values():
        assert is_in_order([change.at for change in changes])


def test_a_clock_that_is_set_back_while_the_server_runs_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    now = NOW
    engine = engine_of(MemoryStore(), clock_ms=lambda: now)
    with caplog.at_level(logging.WARNING):
        for now, told in ((NOW, 0), (NOW - 1_000, 0), (NOW - HOUR, 1), (NOW - 1, 1), (NOW - HOUR, 1), (NOW + 1, 1)):
            assert engine.now() == max(now, NOW)
            assert len(caplog.records) == told
        now = NOW - HOUR
        assert engine.now() == NOW + 1
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the clock was set back by 3600.0 s",
        "the clock was set back by 3600.0 s",
    ]
