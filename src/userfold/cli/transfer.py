"""`userfold export` and `userfold import`: users as lines of JSON, out of a project and into one."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from userfold.backup import BackupImpossible, refuse_target, sync
from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail, told
from userfold.cli.options import DatabaseOption, DataOption, JsonOption, ProjectOption
from userfold.cli.saying import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    counted,
    fail,
    print_json,
    say_failure,
    visible,
)
from userfold.core.commands import Command
from userfold.core.errors import DomainError, IdentifierTaken
from userfold.encryption import Encryption
from userfold.opening import open_encryption
from userfold.storage.port import Store
from userfold.transfer import IMPORT, LINE_BYTES_MAX, ImportStopped, OnTaken, Report, export_lines, import_lines

STANDARD = "-"  # standard output, or standard input


def export_users(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")] = STANDARD,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    with_secrets: Annotated[
        bool,
        typer.Option(
            "--with-secrets", help="Digests of passwords and TOTP secrets too; FILE is as secret as they are."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE if it exists, once the export is whole.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write all users of a project with their histories, one line of JSON each, while the server runs.

    \b
    Example:  userfold export users.ndjson
    Prints:   the lines, if no FILE is named; how many on standard error, or with --json on standard output.
    Exits:    0 done; 1 failed, FILE exists; 2 wrong use or setting, no database, secrets to a terminal.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)
    if file == STANDARD and as_json:
        fail("--json needs a FILE, because the users themselves go to standard output", EXIT_USAGE)
    if file == STANDARD and with_secrets and sys.stdout.isatty():
        fail("secrets are not shown on a terminal; name a FILE", EXIT_USAGE)

    async def work(beside: Beside) -> dict[str, int]:
        owner = await beside.project(project)
        with _target(file, settings.database_file, force) as target, _bar("exporting") as shown:
            secrets_by = open_encryption(settings, make=True) if with_secrets else None
            return await _write(beside.store, owner.id, target, secrets_by, shown)

    try:
        done = beside_the_server(settings, work)
    except BackupImpossible as error:
        fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        fail("stopped; no file was written" if file != STANDARD else "stopped", EXIT_INTERRUPTED)
    where = "" if file == STANDARD else f" to {file}"
    _sum_up(done, as_json, f"{counted(done['users'], 'user')} exported{where}.")


def import_users(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Lines of JSON; - or none is standard input.")
    ] = None,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    skip: Annotated[bool, typer.Option("--skip", help="Leave users alone whose id is there already.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Erase users whose id is there already, and take those of FILE.")
    ] = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="clerk", help="Lines are users as Clerk's API shows them.")
    ] = None,
    passwords: Annotated[
        Path | None, typer.Option(metavar="CSV", help="With --from clerk: the export of Clerk's dashboard.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take over the users of an export with their histories, or make new ones, while the server runs.

    \b
    Example:  userfold import users.ndjson --skip
    Prints:   how many users were made, replaced and left alone: on standard error, or with --json on standard output.
    Exits:    0 all lines are in; 1 one could not be: it is named, those before it are in, and --skip goes on once it
              is mended; 2 wrong use or setting, no database, no FILE.
    """
    _refuse_contradictions(source, passwords, skip=skip, replace=replace)
    digests = {} if passwords is None else _digests(passwords)
    settings = read_settings_or_fail(data=data, database_url=database_url)
    on_taken: OnTaken = "skip" if skip else "replace" if replace else "refuse"

    async def work(beside: Beside) -> tuple[Report, ImportStopped | None]:
        owner = await beside.project(project)
        known = await beside.settings(owner.id)
        # Nothing is to be migrated, but from here on the log is kept short: so much is written.
        await beside.store.migrate()
        encryption = open_encryption(settings, make=True)
        with _source(file) as opened, _bar("importing", of=_length(opened)) as shown:
            try:
                lines = iter(lambda: opened.readline(LINE_BYTES_MAX + 1), b"")
                report = await import_lines(
                    beside.engine,
                    owner.id,
                    known,
                    lines,
                    encryption,
                    on_taken=on_taken,
                    to_command=None if source is None else _mirroring(owner.id, digests),
                    noted=lambda report: shown(report.bytes),
                )
            except ImportStopped as stopped:
                return stopped.report, stopped
        return report, None

    try:
        report, stopped = beside_the_server(settings, work)
    except KeyboardInterrupt:
        fail("stopped; what was imported by then stays, and --skip goes on from there", EXIT_INTERRUPTED)
    _tell(report, stopped, as_json, from_clerk=source is not None)


def _refuse_contradictions(source: str | None, passwords: Path | None, *, skip: bool, replace: bool) -> None:
    if skip and replace:
        fail("give only one of --skip and --replace", EXIT_USAGE)
    if source not in (None, "clerk"):
        fail("--from takes clerk; without it, lines are Userfold's own", EXIT_USAGE)
    if source is None and passwords is not None:
        fail("--passwords is the export of Clerk's dashboard, for --from clerk", EXIT_USAGE)
    if source is not None and (skip or replace):
        fail("--from clerk takes over what is newer, so it takes neither --skip nor --replace", EXIT_USAGE)


def _mirroring(project_id: str, digests: Mapping[str, str]) -> Callable[[bytes], Command]:
    # Imported here and below, because it brings an API along, and no other command needs one.
    from userfold.api.clerk.mirroring import mirroring_line

    return partial(mirroring_line, project_id, IMPORT, digests)


def _digests(file: Path) -> dict[str, str]:
    """{user id: digest of its password} of an export of Clerk's dashboard. What cannot be verified here is counted."""
    from userfold.api.clerk.mirroring import digests_in

    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            digests, left_out = digests_in(opened)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        fail(f"{file} cannot be read: {error}", EXIT_USAGE)
    if left_out:
        say_failure(
            f"{counted(left_out, 'password')} cannot be verified here and will be left out: not bcrypt or Argon2."
        )
    return digests


async def _write(
    store: Store, project_id: str, target: BinaryIO, secrets_by: Encryption | None, shown: Callable[[int], None]
) -> dict[str, int]:
    users = size = 0
    started = time.monotonic()
    async for piece in export_lines(store, project_id, secrets_by=secrets_by):
        target.write(piece)
        size += len(piece)
        users += piece.endswith(b"\n")
        if time.monotonic() - started > 0.1:
            started = time.monotonic()
            shown(users)
    return {"users": users, "bytes": size}


def _tell(report: Report, stopped: ImportStopped | None, as_json: bool, *, from_clerk: bool) -> None:
    counts = {name: value for name, value in msgspec.to_builtins(report).items() if name != "bytes"}
    changed = f"{report.replaced:,} {'updated' if from_clerk else 'replaced'}"
    summary = f"{counted(report.created, 'user')} imported, {changed}, {report.skipped:,} left alone."
    if stopped is None:
        _sum_up(counts, as_json, summary)
        return
    reason = stopped.reason
    says = _why(reason, from_clerk=from_clerk)
    path = reason.path if isinstance(reason, DomainError) else None
    _sum_up(
        {**counts, "stopped": {"line": stopped.line, "code": reason.code, "path": path, "detail": says}},
        as_json,
        summary,
    )
    goes_on = "the same command" if from_clerk else "--skip"
    fail(f"line {stopped.line}: {says} The lines before it are in; {goes_on} goes on once it is mended.")


def _why(reason: Exception, *, from_clerk: bool) -> str:
    if isinstance(reason, IdentifierTaken) and reason.path == "/id" and not from_clerk:
        return "The user is there already; --skip leaves such users alone, --replace erases them first."
    says = told(reason) if isinstance(reason, DomainError) else str(reason) or type(reason).__doc__ or ""
    return says.rstrip(".") + "."


def _sum_up(summary: dict[str, Any], as_json: bool, line: str) -> None:
    if as_json:
        print_json(summary)
    else:
        sys.stderr.write(visible(line) + "\n")


@contextlib.contextmanager
def _target(name: str, database: Path | None, replace: bool) -> Iterator[BinaryIO]:
    """Standard output, or a file that only its owner can read, and that is there only once it is whole."""
    if name == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    file = Path(name)
    refuse_target(file, database, replace)
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=1 << 20) as target:
            yield target
        sync(partial)
        partial.replace(file)
        sync(file.parent)
    except OSError as error:
        raise BackupImpossible(f"cannot write {error.filename or file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _source(name: str | None) -> Iterator[BinaryIO]:
    if name is None and sys.stdin.isatty():
        fail("name a FILE; - is standard input", EXIT_USAGE)
    if name in (None, STANDARD):
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as opened:
        try:
            source = opened.enter_context(Path(name).open("rb"))
        except OSError as error:
            fail(f"cannot read {name}: {error.strerror}", EXIT_USAGE)
        yield source


def _length(source: BinaryIO) -> int | None:
    """How many bytes there are to read, if that can be told."""
    try:
        size = os.fstat(source.fileno()).st_size
    except (OSError, io.UnsupportedOperation):
        return None
    return size or None


@contextlib.contextmanager
def _bar(what: str, of: int | None = None) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how far the work is; elsewhere nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=of)
        yield lambda done: progress.update(task, completed=done)
