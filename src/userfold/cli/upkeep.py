"""`userfold backup`, `migrate` and `doctor`: looking after the data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from userfold.backup import Backup, BackupImpossible, back_up
from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail, refuse_missing_database
from userfold.cli.options import DatabaseOption, DataOption, JsonOption
from userfold.cli.saying import EXIT_FAILED, EXIT_LOCKED, counted, fail, print_json, print_line, print_table, size
from userfold.clock import clock_ms
from userfold.core.records import Project
from userfold.doctor import examine
from userfold.locks import CannotLock, InUse, hold_data
from userfold.opening import open_encryption, open_store
from userfold.settings import Settings
from userfold.storage.port import BacksUp, Schema, StoreError
from userfold.storage.port import Progress as OnProgress
from userfold.transfer import Digest, digest_of, digest_of_all

NICE = 10  # whoever is served goes first
NOT_OURS_TO_COPY = (
    "Userfold does not copy a PostgreSQL database: use pg_dump --format=custom, or its server's continuous archiving,"
    " and copy the images afterwards"
)
MARKS = {"ok": "ok", "warning": "warning", "failed": "FAILED"}


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists, once the copy is whole.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the database into FILE while the server runs, open the copy and check it.

    \b
    Example:  userfold backup /backups/userfold-$(date +%F).db
    Prints:   where the copy is, what it holds, and what else must be copied.
    Exits:    0 the copy is whole, checked and on the disk; 1 failed, FILE exists, the disk is full: FILE is not
              made; 2 wrong use or setting, no database.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)
    refuse_missing_database(settings)
    try:
        done = _backed_up(settings, file, force)
    except (BackupImpossible, StoreError) as error:
        fail(str(error), EXIT_FAILED)
    also = [str(path) for path in _kept_beside(settings) if path.exists()]
    if as_json:
        print_json({**msgspec.to_builtins(done), "copy_also": also})
        return
    holds = ", ".join(counted(count, kind) for kind, count in done.holds.items())
    print_line(f"{done.file}: {holds}; {size(done.bytes)} in {done.seconds:.1f} s, checked.")
    if also:
        print_line(f"Copy these too: {', '.join(also)}")


def migrate(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether there is something to do.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the database to the schema of this program. No server may be running; starting one does the same.

    \b
    Example:  userfold backup before.db && userfold migrate
    Prints:   from which schema to which.
    Exits:    0 it is as it should be; 1 failed, a newer program made it, or with --check: something is to be done;
              2 wrong use or setting, no database; 3 a server has the data.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)
    refuse_missing_database(settings)
    try:
        schema = asyncio.run(_schema(settings) if check else _migrated(settings))
    except InUse as error:
        fail(str(error), EXIT_LOCKED)
    except (CannotLock, StoreError) as error:
        fail(str(error), EXIT_FAILED)
    pending = schema.found < schema.known
    if as_json:
        print_json({"from": schema.found, "to": max(schema.found, schema.known), "done": not (check and pending)})
    elif not pending:
        print_line(f"Schema {schema.found}: nothing to do.")
    else:
        print_line(f"Schema {schema.found} → {schema.known}: {'to be done.' if check else 'done.'}")
    if check and pending:
        raise typer.Exit(EXIT_FAILED)


def doctor(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    full: Annotated[bool, typer.Option("--full", help="Look at every page of the database, however long.")] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print digests of all that an export carries, and look at nothing else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for trouble: settings, data folder, free space, lock, store, clock. Changes nothing.

    \b
    Example:  userfold doctor --data /var/lib/userfold
    Prints:   a table of what was looked at: ok, warning or FAILED, what was found, and what to do about it; with
              --digest a table of projects, their users and changes, and a SHA-256 that is the same where these are.
    Exits:    0 nothing failed (there may be warnings); 1 something did; 2 wrong use or setting.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)
    if digest:
        _print_digests(beside_the_server(settings, partial(_digests, settings)), as_json)
        return
    findings = asyncio.run(examine(settings, os.environ, clock_ms(), full=full))
    if as_json:
        print_json(findings)
    else:
        print_table(
            ("about", "state", "found", "what to do"),
            [(finding.about, MARKS[finding.state], finding.says, finding.advice) for finding in findings],
        )
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


async def _digests(settings: Settings, beside: Beside) -> list[tuple[Project, Digest]]:
    encryption = open_encryption(settings, make=False)
    return [(project, await digest_of(beside.store, project.id, encryption)) for project in await beside.projects()]


def _print_digests(digests: list[tuple[Project, Digest]], as_json: bool) -> None:
    everything = digest_of_all(digest for _, digest in digests)
    if as_json:
        of_projects = [
            {"id": project.id, "name": project.name, **msgspec.to_builtins(digest)} for project, digest in digests
        ]
        print_json({**msgspec.to_builtins(everything), "projects": of_projects})
        return
    named = [(project.id, project.name, digest) for project, digest in digests]
    print_table(
        ("project", "name", "users", "changes", "sha256"),
        [
            (id_, name, f"{digest.users:,}", f"{digest.changes:,}", digest.sha256)
            for id_, name, digest in [*named, ("all", "", everything)]
        ],
    )


def _backed_up(settings: Settings, file: Path, force: bool) -> Backup:
    store = open_store(settings)
    try:
        if not isinstance(store, BacksUp) or settings.database_file is None:
            fail(NOT_OURS_TO_COPY)
        os.nice(NICE)
        with _progress_bar() as progress:
            return back_up(store, file, progress, database=settings.database_file, replace=force)
    finally:
        asyncio.run(store.close())


def _kept_beside(settings: Settings) -> tuple[Path, ...]:
    """What belongs to the data and is not in the database."""
    return settings.images, settings.encryption_key_file


async def _schema(settings: Settings) -> Schema:
    store = open_store(settings)
    try:
        return store.schema()
    finally:
        await store.close()


async def _migrated(settings: Settings) -> Schema:
    """The schema that was found, which is not the one that is there now."""
    with hold_data(settings.data, settings.database_file):
        store = open_store(settings)
        try:
            schema = store.schema()
            await store.migrate()
            return schema
        finally:
            await store.close()


@contextlib.contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    """Shows on a terminal how far the work is; elsewhere nothing."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None)
