"""Short ways to say what the engine is to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from tests.engine.commands import BACKEND, PROJECT
from userfold.core.applied import Applied
from userfold.core.commands import (
    Command,
    CreateUser,
    DeleteUser,
    Edit,
    Once,
    Operate,
    RevokeSignIn,
    SignInUser,
    UpdateUser,
)
from userfold.core.operations import OPERATIONS
from userfold.core.records import Change, EffectiveSettings, Key, User
from userfold.engine import DEFAULT_LIMITS, Engine, Limits
from userfold.storage.port import Store

SETTINGS = EffectiveSettings()
NOW = 1_700_000_000_000

C = TypeVar("C", bound=Command)
T = TypeVar("T")


def engine_of(store: Store, *, limits: Limits = DEFAULT_LIMITS, clock_ms: Callable[[], int] = lambda: NOW) -> Engine:
    return Engine(store, clock_ms=clock_ms, limits=limits)


def scenario(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs an async test at once."""
    return asyncio.run(make())


def create(user_id: str | None = None, **document: Any) -> CreateUser:
    return CreateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=(Edit("merge_patch", document),))


def merge(user_id: str, **traits: Any) -> UpdateUser:
    """Merge these into a user's traits."""
    return UpdateUser(
        project_id=PROJECT, author=BACKEND, user_id=user_id, edits=(Edit("merge_patch", {"traits": traits}),)
    )


def delete(user_id: str) -> DeleteUser:
    return DeleteUser(project_id=PROJECT, author=BACKEND, user_id=user_id)


def increment(user_id: str, path: str = "/traits/n") -> UpdateUser:
    """Count one more."""
    operate = Operate([{"op": "increment", "path": path, "by": 1}], tuple(OPERATIONS))
    return UpdateUser(project_id=PROJECT, author=BACKEND, user_id=user_id, edits=(operate,))


def sign_in(user_id: str, session_id: str, lifetime_ms: int = 1_000) -> SignInUser:
    return SignInUser(
        project_id=PROJECT,
        author=BACKEND,
        user_id=user_id,
        session_id=session_id,
        token_digest="ab",
        lifetime_ms=lifetime_ms,
    )


def revoke(session_id: str) -> RevokeSignIn:
    return RevokeSignIn(project_id=PROJECT, author=BACKEND, session_id=session_id)


def once(command: C, id_: str = "idk_1", request: str = "ab") -> C:
    """`command` with an idempotency key."""
    return msgspec.structs.replace(command, once=Once(id_, request))


def broken(user_id: str) -> UpdateUser:
    """A command that our own mistake makes impossible: there is no such mode."""
    return UpdateUser(
        project_id=PROJECT, author=BACKEND, user_id=user_id, edits=(Edit("no such mode", {"traits": {}}),)
    )


def asked_by(request_id: str, command: C) -> C:
    """`command` from the request of that id."""
    return msgspec.structs.replace(command, author=msgspec.structs.replace(command.author, request_id=request_id))


async def submit(engine: Engine, commands: Sequence[Command], sizes: Sequence[int] | None = None) -> list[Any]:
    """What commands that arrive in one turn of the loop come to: an `Applied`, or what was raised."""
    runs = (
        engine.run(command, SETTINGS, size=size)
        for command, size in zip(commands, sizes or [0] * len(commands), strict=True)
    )
    return await asyncio.gather(*runs, return_exceptions=True)


async def until_waiting(*tasks: asyncio.Task[Any]) -> None:
    """Let tasks that were just made run until each is done or waits for something."""
    for _ in range(3):
        await asyncio.sleep(0)


def versions(outcomes: Sequence[Any]) -> list[int | None]:
    """The version of the user in each answer; None where it is a refusal."""
    return [outcome.user.version if isinstance(outcome, Applied) and outcome.user else None for outcome in outcomes]


async def stored_user(store: Store, user_id: str) -> User | None:
    key = Key("user", PROJECT, user_id)
    found = (await store.get([key]))[key]
    assert found is None or isinstance(found, User)
    return found


async def stored_changes(store: Store, user_id: str) -> list[Change]:
    return list(await store.history(PROJECT, user_id, after=0, up_to=10**9, limit=10**6))
