"""Any commands, in any batches, over any store, come to what they come to one at a time over a dict."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable
from itertools import count

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.commands import PROJECT, Made, command_lists
from tests.engine.model import Model, check_identifiers, check_user, told
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateProject
from userfold.core.queries import PRESENCE_TIMES, UserQuery, position
from userfold.core.records import (
    COLLECTIONS,
    AttributeDefinition,
    EffectiveSettings,
    Idempotency,
    Identifier,
    Key,
    SignIn,
    User,
)
from userfold.engine import DEFAULT_LIMITS, Engine, Limits
from userfold.storage.codec import to_text
from userfold.storage.port import Store

B_IS_A_LIST = AttributeDefinition(id="attr_b", project_id=PROJECT, name="b", type="list", created_at=1, updated_at=1)
SETTINGS = EffectiveSettings(
    tombstone_days=30, segments=frozenset({"seg_known", "seg_other"}), attributes={"b": B_IS_A_LIST}
)
DAY_MS = 86_400_000

shared_store = settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
project_numbers = count(1)

# How much later than the one before a batch is committed, in ms. A clock may be set back.
passing = st.sampled_from([0, 1, 1_000, -500, 31 * DAY_MS])
batch_plans = st.lists(st.tuples(st.integers(1, 12), passing), min_size=1, max_size=30)


class Step(msgspec.Struct, frozen=True):
    """A command with all its inputs."""

    command: Command
    now: int
    entropy: int


def entropy_of(number: int, *, usercom_number: int | None) -> int:
    """Fresh bits for each command; those that a usercom_id is made of may be the same for all."""
    bits = int.from_bytes(hashlib.sha256(str(number).encode()).digest()) & (1 << 133) - 1
    return bits if usercom_number is None else usercom_number << 80 | bits & (1 << 80) - 1


def cut(drawn: list[Command], plan: list[tuple[int, int]]) -> Iterable[tuple[int, list[Command]]]:
    """(the clock, commands) per batch; what the plan leaves is the last one."""
    clock = 1_700_000_000_000
    rest = deque(drawn)
    for size, later in [*plan, (len(drawn), 0)]:
        clock += later
        batch = [rest.popleft() for _ in range(min(size, len(rest)))]
        if batch:
            yield clock, batch


def in_project(command: Command, project_id: str) -> Command:
    """`command` as a wish in that project."""
    if isinstance(command, CreateProject):
        project = msgspec.structs.replace(command.project, id=project_id)
        return msgspec.structs.replace(command, project_id=project_id, project=project)
    return msgspec.structs.replace(command, project_id=project_id)


def run_model(
    model: Model, drawn: list[Command], plan: list[tuple[int, int]], project_id: str, *, usercom_number: int | None
) -> tuple[list[list[Step]], list[object]]:
    """Each command with its inputs, by batch, and what each came to."""
    made = Made()
    batches: list[list[Step]] = []
    outcomes: list[object] = []
    now = 0
    for clock, batch in cut(drawn, plan):
        now = max(now, clock)
        batches.append([])
        for drawn_command in batch:
            command = in_project(made.resolved(drawn_command), project_id)
            step = Step(command, now, entropy_of(len(outcomes), usercom_number=usercom_number))
            outcome = model.apply(command, now=now, entropy=step.entropy, settings=SETTINGS)
            if isinstance(outcome, Applied):
                made.note(command, outcome)
            batches[-1].append(step)
            outcomes.append(told(outcome))
    return batches, outcomes


async def run_engine(store: Store, batches: list[list[Step]], limits: Limits) -> list[object]:
    """What each command came to. A batch is what one turn of the loop submits."""
    entropies: deque[int] = deque()
    clocks: list[int] = []
    now = 0

    def clock_ms() -> int:
        clocks.append(now)
        return now

    # An id is asked for with each command, and then one for the batch, which no record shows.
    engine = Engine(store, clock_ms=clock_ms, entropy=lambda: entropies.popleft() if entropies else 0, limits=limits)
    outcomes: list[object] = []
    for batch in batches:
        now = batch[0].now
        entropies.extend(step.entropy for step in batch)
        answers = (engine.run(step.command, SETTINGS) for step in batch)
        outcomes += map(told, await asyncio.gather(*answers, return_exceptions=True))
    await engine.close()
    # Each batch is one transaction, and more only where its commands wait for each other.
    assert len(clocks) >= len(batches)
    return outcomes


async def check_store(store: Store, model: Model, project_id: str) -> None:
    """That `store` holds exactly what the model holds, as far as anybody can ask for it."""
    keys = [key for key in model.records if key.kind != "change"]
    found = await store.get(keys)
    shown = {key: isinstance(record, msgspec.Struct) and to_text(record) for key, record in found.items()}
    assert shown == {key: (record := model.records[key]) is not None and to_text(record) for key in keys}
    histories = model.histories()
    for user_id in {key.id for key in keys if key.kind == "user"}:
        changes = await store.history(project_id, user_id, after=0, up_to=10**9, limit=10**6)
        assert [to_text(change) for change in changes] == [to_text(made) for made in histories.get(user_id, [])]
        collected = (await store.get([Key("changes", project_id, user_id)]))[Key("changes", project_id, user_id)]
        assert collected == tuple(changes)
        for collection in (Key(kind, project_id, user_id) for kind in COLLECTIONS if kind != "changes"):
            members = sorted(model.records[collection], key=lambda member: str(member.id))
            found_members = (await store.get([collection]))[collection]
            assert isinstance(found_members, tuple)
            # As texts: in an answer that is kept, the lists of a record are tuples until it was stored.
            assert [to_text(member) for member in found_members] == [to_text(member) for member in members]
    everybody = await store.users(UserQuery(project_id=project_id, limit=10**6))
    assert {to_text(user) for user in everybody} == {to_text(user) for user in model.of_kind("user").values()}
    users = [user for user in model.of_kind("user").values() if isinstance(user, User)]
    for order in PRESENCE_TIMES:
        places = sorted(position(user, order, model.presence(project_id, user.id)) for user in users)
        in_order = await store.users(UserQuery(project_id=project_id, order=order, limit=10**6))
        assert [user.id for user in in_order] == [id_ for _, id_ in places]


def check_invariants(model: Model, project_id: str) -> None:
    """What is true of any project at rest."""
    users = [user for user in model.of_kind("user").values() if isinstance(user, User)]
    identifiers = {key: held for key, held in model.of_kind("identifier").items() if isinstance(held, Identifier)}
    histories = model.histories()
    check_identifiers(project_id, users, identifiers)
    assert set(histories) == {user.id for user in users}
    for user in users:
        check_user(user, histories[user.id])
    for kept in [*model.of_kind("sign_in").values(), *model.of_kind("idempotency").values()]:
        assert isinstance(kept, SignIn | Idempotency)
        assert kept.user_id in {"", *histories}, "what belongs to a user goes with it"
    assert {key.id for key in model.of_kind("presence")} <= set(histories)


def check_example(
    store: Store,
    runner: asyncio.Runner,
    drawn: list[Command],
    plan: list[tuple[int, int]],
    *,
    usercom_number: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    project_id = f"prj_{next(project_numbers)}"  # every example has the store, but not the project, with the others
    model = Model()
    batches, expected = run_model(model, drawn, plan, project_id, usercom_number=usercom_number)
    assert runner.run(run_engine(store, batches, limits)) == expected
    runner.run(check_store(store, model, project_id))
    check_invariants(model, project_id)


@shared_store
@given(command_lists(max_size=40), batch_plans)
def test_any_commands_in_any_batches_come_to_what_they_come_to_one_at_a_time(
    store: Store, runner: asyncio.Runner, drawn: list[Command], plan: list[tuple[int, int]]
) -> None:
    check_example(store, runner, drawn, plan)


@settings(shared_store, max_examples=50)
@given(command_lists(max_size=12), batch_plans)
def test_the_same_holds_where_every_new_user_draws_the_same_usercom_id(
    store: Store, runner: asyncio.Runner, drawn: list[Command], plan: list[tuple[int, int]]
) -> None:
    limits = Limits(read_rounds_max=100)  # each of them finds the next free number by one more round of reading
    check_example(store, runner, drawn, plan, usercom_number=7, limits=limits)
