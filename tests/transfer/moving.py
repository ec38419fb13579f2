"""Two applications over two stores of one kind, and users that go from one to the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Constructor
from tests.server import InProcess, in_process
from userfold.core.records import EffectiveSettings
from userfold.storage.port import Store
from userfold.transfer import OnTaken, Report, export_lines, import_lines

PASSWORD = "correct horse battery"


def exported(api: InProcess, *, with_secrets: bool = True, project_id: str | None = None) -> bytes:
    """All users of a project, as an export writes them."""

    async def export() -> bytes:
        secrets_by = api.app.service.encryption if with_secrets else None
        pieces = export_lines(api.store, project_id or api.keys.project_id, secrets_by=secrets_by)
        return b"".join([piece async for piece in pieces])

    return api.runner.run(export())


def lines_of(text: bytes) -> list[Any]:
    """What an export says."""
    return [msgspec.json.decode(line) for line in text.splitlines()]


def import_into(api: InProcess, text: bytes, on_taken: OnTaken = "refuse", *, project_id: str | None = None) -> Report:
    """What came of an import. Raises `ImportStopped`."""
    lines = text.splitlines(keepends=True)

    async def work() -> Report:
        into = project_id or api.keys.project_id
        service = api.app.service
        return await import_lines(
            service.engine, into, EffectiveSettings(), lines, service.encryption, on_taken=on_taken
        )

    return api.runner.run(work())


def clerk_user(api: InProcess, **parameters: Any) -> dict[str, Any]:
    """A user that was just made through the Clerk-compatible API."""
    reply = api.ask("POST", "/clerk/v1/users", parameters)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def verifies(api: InProcess, user_id: str, password: str) -> bool:
    """Whether the password is that of the user."""
    reply = api.ask("POST", f"/clerk/v1/users/{user_id}/verify_password", {"password": password})
    assert reply.status_code in (200, 400, 422)
    return reply.status_code == 200


@contextlib.contextmanager
def opened(constructor: Constructor, folder: Path, runner: asyncio.Runner) -> Iterator[InProcess]:
    """The application over a new store, with one project."""
    folder.mkdir(exist_ok=True)
    store: Store = constructor(folder)
    runner.run(store.migrate())
    with in_process(runner, store) as api:
        yield api
    runner.run(store.close())


@pytest.fixture
def here(constructor: Constructor, tmp_path: Path, runner: asyncio.Runner) -> Iterator[InProcess]:
    """Where users are exported."""
    with opened(constructor, tmp_path / "here", runner) as api:
        yield api


@pytest.fixture
def there(constructor: Constructor, tmp_path: Path, runner: asyncio.Runner) -> Iterator[InProcess]:
    """Where they are imported."""
    with opened(constructor, tmp_path / "there", runner) as api:
        yield api
