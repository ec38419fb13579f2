"""Rounds of reading: a command learns what it looks at from what it has read."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.engine.commands import BACKEND, BROWSER, PROJECT, VERIFIED
from tests.engine.driving import create, engine_of, merge, scenario, stored_user, submit, versions
from userfold.core.commands import Command, CreateUser, DeleteUser, Edit, UpdateUser, UpsertUser
from userfold.core.errors import CommandBroken
from userfold.core.trust import Author
from userfold.engine import Limits
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Store

EVERY_NAME = {
    "external_id": "e1",
    "username": "ada",
    "email_addresses": ["a@x.org", "b@x.org"],
    "phone_numbers": ["+442079460958"],
}


def patch(**document: object) -> tuple[Edit, ...]:
    return (Edit("merge_patch", document),)


@pytest.mark.parametrize("author", [BACKEND, BROWSER, VERIFIED], ids=lambda author: author.trust)
@pytest.mark.parametrize("user_id", [None, "u1"])
def test_a_new_user_may_have_every_kind_of_name(
    store: Store, runner: asyncio.Runner, author: Author, user_id: str | None
) -> None:
    async def all_at_once() -> None:
        engine = engine_of(store)
        command = CreateUser(project_id=PROJECT, author=author, user_id=user_id, edits=patch(**EVERY_NAME))
        assert versions(await submit(engine, [command])) == [1]

    runner.run(all_at_once())


@pytest.mark.parametrize("author", [BACKEND, BROWSER, VERIFIED], ids=lambda author: author.trust)
def test_a_user_may_be_given_every_kind_of_name_at_once(store: Store, runner: asyncio.Runner, author: Author) -> None:
    async def all_at_once() -> None:
        engine = engine_of(store)
        await submit(engine, [create("u1")])
        changed = {**EVERY_NAME, "traits": {"a": 1}}  # a browser may write at least these
        update = UpdateUser(project_id=PROJECT, author=author, user_id="u1", edits=patch(**changed))
        assert versions(await submit(engine, [update])) == [2]

    runner.run(all_at_once())


def test_commands_that_wait_for_each_other_are_read_for_in_one_batch(store: Store, runner: asyncio.Runner) -> None:
    """What the second has to read is only known when the first is done, and so on down the batch."""
    identify = UpsertUser(project_id=PROJECT, author=BROWSER, external_id="e1", edits=patch(name="Ada"))
    adopt = CreateUser(project_id=PROJECT, author=BACKEND, edits=patch(external_id="e1", email_addresses=["a@x.org"]))
    rename = UpsertUser(project_id=PROJECT, author=BACKEND, external_id="e1", edits=patch(username="ada"))
    batch: list[Command] = [identify, adopt, rename]
    for number in range(20):
        user_id = f"u{number}"
        names = patch(external_id=f"x{number}", email_addresses=[f"{number}@x.org"])
        batch += [
            create(user_id),
            UpdateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=names),
            UpsertUser(project_id=PROJECT, author=BACKEND, external_id=f"x{number}", edits=patch(username=user_id)),
            DeleteUser(project_id=PROJECT, author=BACKEND, user_id=user_id),
            CreateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=names),
        ]

    async def one_batch() -> None:
        outcomes = await submit(engine_of(store), batch)
        assert versions(outcomes) == [1, 2, 3, *[1, 2, 3, None, 1] * 20]
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]

    runner.run(one_batch())


def test_a_command_that_never_stops_asking_is_refused_alone_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    @scenario
    async def with_one_round() -> None:
        store = MemoryStore()
        await submit(engine_of(store), [create("u1")])
        engine = engine_of(store, limits=Limits(read_rounds_max=1))
        with caplog.at_level(logging.ERROR, "userfold.engine"):
            outcomes = await submit(engine, [merge("u1", a=1), create("u2"), merge("u1", b=2), merge("u2", a=1)])
        assert versions(outcomes) == [2, None, 3, None]
        assert isinstance(outcomes[1], CommandBroken)
        assert await stored_user(store, "u2") is None
        assert "CreateUser" in caplog.text
