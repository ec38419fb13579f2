"""Work on the data of a server that may be running: short transactions, over the same engine and rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from userfold.cli.saying import EXIT_FAILED, EXIT_USAGE, fail
from userfold.clock import clock_ms
from userfold.core.applied import Applied
from userfold.core.commands import Command
from userfold.core.errors import DomainError, InputError
from userfold.core.project_rules import effective_settings
from userfold.core.records import EffectiveSettings, Project
from userfold.engine import Engine
from userfold.opening import open_store
from userfold.settings import SettingInvalid, Settings, read_settings
from userfold.storage.port import MaintainedStore, StoreError

T = TypeVar("T")


class Beside:
    """The store and an engine of our own over it."""

    def __init__(self, store: MaintainedStore) -> None:
        self.store = store
        self.engine = Engine(store, clock_ms=clock_ms)

    async def projects(self) -> list[Project]:
        """All projects, oldest first."""
        return [record for record in await self.store.list("project") if isinstance(record, Project)]

    async def project(self, given: str | None) -> Project:
        """The project that was named, or the only one."""
        projects = await self.projects()
        found = [project for project in projects if given in (None, project.id)]
        if not projects:
            fail("there is no project yet; `userfold projects create NAME` makes one", EXIT_USAGE)
        if not found:
            fail("there is no such project", EXIT_USAGE)
        if len(found) > 1:
            named = ", ".join(f"{project.id} ({project.name})" for project in found)
            fail(f"name one project with --project: {named}", EXIT_USAGE)
        return found[0]

    async def run(self, command: Command) -> Applied:
        """What the command came to, durably. Raises a `DomainError` or a `StoreError`."""
        return await self.engine.run(command, await self.settings(command.project_id))

    async def settings(self, project_id: str) -> EffectiveSettings:
        """The settings of a project as commands see them."""
        segments, attributes = await self.store.list("segment"), await self.store.list("attribute")
        known = effective_settings(await self.projects(), segments, attributes)
        return known.get(project_id, EffectiveSettings())


def beside_the_server(settings: Settings, work: Callable[[Beside], Awaitable[T]]) -> T:
    """Run `work`. What is refused, and what the store cannot do, ends the command with a line that says so."""
    refuse_missing_database(settings)

    async def run() -> T:
        store = open_store(settings)
        try:
            _refuse_old_schema(store)
            beside = Beside(store)
            try:
                return await work(beside)
            finally:
                await beside.engine.close()
        finally:
            await store.close()

    try:
        with _hearing_only_of_defects():
            return asyncio.run(run())
    except InputError as refusal:
        fail(told(refusal), EXIT_USAGE)
    except DomainError as refusal:
        fail(told(refusal), EXIT_FAILED)
    except StoreError as error:
        fail(str(error), EXIT_FAILED)


def read_settings_or_fail(**given: Any) -> Settings:
    """Settings of the environment and of these options. A wrong one ends the command."""
    try:
        return read_settings(os.environ, **given)
    except SettingInvalid as error:
        fail(str(error), EXIT_USAGE)


def refuse_missing_database(settings: Settings) -> None:
    """End the command if there is no database: a misspelt folder must not become an empty one."""
    file = settings.database_file
    if file is not None and not file.exists():
        fail(f"there is no database {file}; `userfold serve` makes one", EXIT_USAGE)


def told(refusal: DomainError) -> str:
    """A refusal as one line."""
    return f"{refusal} {refusal.hint}".strip()


def _refuse_old_schema(store: MaintainedStore) -> None:
    schema = store.schema()
    if schema.found == 0:
        fail("the database is empty; `userfold serve` fills it", EXIT_USAGE)
    if schema.found < schema.known:
        # Not brought up to date here: an older server may be running, and would find tables that it does not know.
        fail(
            f"the database has schema {schema.found} and this program needs {schema.known};"
            " stop the server, then run `userfold migrate`, or start this program's server"
        )


@contextlib.contextmanager
def _hearing_only_of_defects() -> Iterator[None]:
    """Of what the engine and the store log, only tracebacks: everything else is said once, by the command."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.exc_info is not None)
    logger = logging.getLogger("userfold")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
