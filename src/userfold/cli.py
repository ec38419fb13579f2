"""The command line. Thin: it reads settings, calls what does the work, and says what happened.

Exit codes: 0 done, 1 failed, 2 wrong use or a wrong setting, 3 the data folder or the database is in use.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from userfold import __version__
from userfold.app import clock_ms
from userfold.core.commands import CreateKey, RevokeKey
from userfold.core.records import ApiKey, EffectiveSettings, Project
from userfold.engine import Engine
from userfold.first_start import OPERATOR
from userfold.logs import set_up_logging
from userfold.server import CannotStart, FolderInUse, open_store
from userfold.server import serve as serve_forever
from userfold.settings import DEFAULT_DATA, DEFAULT_HOST, DEFAULT_PORT, SettingInvalid, Settings, read_settings
from userfold.storage.port import Store, StoreError
from userfold.tokens import api_key, new_publishable_key, new_secret_key

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3

T = TypeVar("T")

# Never so narrow that an id is cut: people copy them into the next command.
out = Console(highlight=False, soft_wrap=True, width=max(Console().width, 160))

cli = typer.Typer(
    name="userfold",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One record per user, updated by browsers, backends and operators at the same time.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or a wrong setting, 3 the data folder or the database is in use.",
)
keys_cli = typer.Typer(no_args_is_help=True, help="List, make and revoke the keys of a project.")
cli.add_typer(keys_cli, name="keys")

DataOption = Annotated[Path | None, typer.Option("--data", help=f"Data folder. [USERFOLD_DATA, or {DEFAULT_DATA}]")]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database-url", help="sqlite:///PATH [USERFOLD_DATABASE_URL, or userfold.db in the data folder]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def main() -> None:
    """Run the command line."""
    cli()


@cli.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


@cli.command()
def serve(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(help="Processes; SQLite has one writer, so 1.", min=1)] = 1,
) -> None:
    """Start the server. What is missing is made: the folder, the database, the first project and its keys."""
    settings = _settings(data=data, database_url=database_url, host=host, port=port)
    if workers > 1:
        _fail("SQLite has one writing process, so --workers must be 1", EXIT_USAGE)
    set_up_logging(settings.log_format)
    try:
        serve_forever(settings)
    except FolderInUse as error:
        _fail(str(error), EXIT_LOCKED)
    except (CannotStart, StoreError) as error:
        _fail(str(error), EXIT_FAILED)


@keys_cli.command("list")
def list_keys(data: DataOption = None, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List all keys. A secret key itself was shown once, when it was made."""

    async def work(engine: Engine, store: Store) -> list[ApiKey]:
        return await _keys(store)

    keys = _beside_the_server(_settings(data=data, database_url=database_url), work)
    if as_json:
        hidden = {"token_digest"}
        shown = [{k: v for k, v in msgspec.to_builtins(key).items() if k not in hidden} for key in keys]
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    table = Table("id", "project", "kind", "name", "made", "revoked")
    for key in keys:
        table.add_row(key.id, key.project_id, key.kind, key.name, _date(key.created_at), _date(key.revoked_at))
    out.print(table)


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
    publishable: Annotated[bool, typer.Option(help="A key for browsers instead of a secret one.")] = False,
    project: Annotated[str | None, typer.Option(help="The project's id, where there are several.")] = None,
) -> None:
    """Make a key and print it. A secret key is not shown again."""
    token = new_publishable_key() if publishable else new_secret_key()

    async def work(engine: Engine, store: Store) -> None:
        projects = [record.id for record in await store.list("project") if isinstance(record, Project)]
        known = [id_ for id_ in projects if project in (None, id_)]
        if len(known) != 1:
            _fail("name one project with --project" if known else "there is no such project", EXIT_USAGE)
        key = api_key(known[0], token, name, engine.now())
        await engine.run(CreateKey(project_id=known[0], author=OPERATOR, key=key), EffectiveSettings())

    _beside_the_server(_settings(data=data, database_url=database_url), work)
    sys.stdout.write(token + "\n")


@keys_cli.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `userfold keys list` shows it.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Make a key useless. A running server refuses it within a second."""

    async def work(engine: Engine, store: Store) -> None:
        key = next((key for key in await _keys(store) if key.id == key_id), None)
        if key is None:
            _fail(f"there is no key {key_id}", EXIT_FAILED)
        await engine.run(RevokeKey(project_id=key.project_id, author=OPERATOR, key_id=key_id), EffectiveSettings())

    _beside_the_server(_settings(data=data, database_url=database_url), work)
    out.print(f"{key_id} is revoked.")


def _beside_the_server(settings: Settings, work: Callable[[Engine, Store], Awaitable[T]]) -> T:
    """Run `work` on the data of a server that may be running: its transactions are short."""
    if not settings.database.exists():
        _fail(f"there is no database {settings.database}; `userfold serve` makes one", EXIT_USAGE)

    async def run() -> T:
        store = open_store(settings)
        try:
            await store.migrate()
            engine = Engine(store, clock_ms=clock_ms)
            return await work(engine, store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except StoreError as error:
        _fail(str(error), EXIT_FAILED)


async def _keys(store: Store) -> list[ApiKey]:
    return [record for record in await store.list("api_key") if isinstance(record, ApiKey)]


def _settings(**given: Any) -> Settings:
    try:
        return read_settings(os.environ, **given)
    except SettingInvalid as error:
        _fail(str(error), EXIT_USAGE)


def _date(time_ms: int | None) -> str:
    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"userfold: {message}\n")
    raise typer.Exit(code)
