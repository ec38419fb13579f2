"""`userfold keys`: the keys by which programs and browsers call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail
from userfold.cli.options import DatabaseOption, DataOption, JsonOption, ProjectOption
from userfold.cli.saying import EXIT_USAGE, date, fail, print_json, print_line, print_table
from userfold.core.commands import CreateKey, RevokeKey
from userfold.core.records import ApiKey
from userfold.core.signatures import signing_key
from userfold.first_start import OPERATOR
from userfold.identity_tokens import PEM_LENGTH_MAX, identity_key
from userfold.opening import open_encryption
from userfold.settings import Settings
from userfold.tokens import api_key, new_publishable_key, new_secret_key, webhook_key

keys_cli = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, make and revoke the keys of a project.")


@keys_cli.command("list")
def list_keys(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all keys, also revoked ones. A secret key itself was shown once, when it was made.

    \b
    Example:  userfold keys list --json
    Prints:   a table: id, project, kind, rights, name, when it was made, when it was revoked.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database.
    """

    async def work(beside: Beside) -> list[ApiKey]:
        wanted = None if project is None else (await beside.project(project)).id
        return [key for key in await _keys(beside) if wanted in (None, key.project_id)]

    keys = beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work)
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    rows = [
        (
            key.id,
            key.project_id,
            key.kind,
            _rights(key),
            key.name,
            date(key.created_at),
            date(key.last_used_at),
            date(key.revoked_at),
        )
        for key in keys
    ]
    print_table(("id", "project", "kind", "rights", "name", "made", "last used", "revoked"), rows)


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
    publishable: Annotated[bool, typer.Option("--publishable", help="A key for browsers, not a secret one.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="A secret key that can change nothing.")] = False,
    identity: Annotated[
        bool, typer.Option("--identity", help="A secret by which the app's backend signs identity tokens (HS256).")
    ] = False,
    public_key: Annotated[
        str | None,
        typer.Option(
            "--public-key", metavar="FILE", help="With --identity: verify by this public key (ES256); - reads PEM."
        ),
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it. A secret key is not shown again.

    \b
    Example:  userfold keys create "nightly report" --read-only
    Prints:   the key, and nothing else; of one with --public-key its id. With --json also its id and what it may do.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database, FILE holds no such key.
    """
    if publishable and read_only:
        fail("a publishable key is for browsers; --read-only is for secret keys", EXIT_USAGE)
    if identity and (publishable or read_only):
        fail("an identity key opens nothing; it is neither --publishable nor --read-only", EXIT_USAGE)
    if public_key is not None and not identity:
        fail("--public-key is for --identity", EXIT_USAGE)
    pem = None if public_key is None else _read_pem(public_key)
    settings = read_settings_or_fail(data=data, database_url=database_url)
    encrypt = _encrypting(settings)

    async def work(beside: Beside) -> tuple[ApiKey, str | None]:
        owner, now = await beside.project(project), beside.engine.now()
        if identity:
            key, token = identity_key(owner.id, pem, name, now, encrypt=encrypt)
        else:
            token = new_publishable_key() if publishable else new_secret_key()
            key = api_key(owner.id, token, name, now, read_only=read_only)
        await beside.run(CreateKey(project_id=owner.id, author=OPERATOR, key=key))
        return key, token

    key, token = beside_the_server(settings, work)
    if as_json:
        print_json({**_shown(key), "token": token})
    else:
        print_line(key.id if token is None else token)


@keys_cli.command("add-webhook")
def add_webhook_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who signs with it.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take webhooks that are signed with a secret, which is read from standard input: whsec_… as Clerk shows it.

    \b
    Example:  userfold keys add-webhook "Clerk, production" < secret.txt
    Prints:   the id of the key, by which it can be revoked. The secret is not shown again.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no secret, no database.
    """
    secret = typer.prompt("Signing secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    try:
        signing_key(secret.strip())
    except ValueError as error:
        fail(f"the signing secret is not usable: {error}", EXIT_USAGE)

    settings = read_settings_or_fail(data=data, database_url=database_url)

    async def work(beside: Beside) -> ApiKey:
        owner = await beside.project(project)
        key = webhook_key(owner.id, secret.strip(), name, beside.engine.now(), encrypt=_encrypting(settings))
        await beside.run(CreateKey(project_id=owner.id, author=OPERATOR, key=key))
        return key

    key = beside_the_server(settings, work)
    if as_json:
        print_json(_shown(key))
    else:
        print_line(key.id)


@keys_cli.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `userfold keys list` shows it.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Make a key useless. A running server refuses it within a second.

    \b
    Example:  userfold keys revoke ak_01jd0c9x2m5k8q7v3t6w4y1z0a
    Prints:   that it is revoked, also if it was before.
    Exits:    0 done; 1 failed, no such key; 2 wrong use or setting, no database.
    """

    async def work(beside: Beside) -> None:
        key = next((key for key in await _keys(beside) if key.id == key_id), None)
        if key is None:
            fail(f"there is no key {key_id}")
        await beside.run(RevokeKey(project_id=key.project_id, author=OPERATOR, key_id=key_id))

    beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work)
    print_line(f"{key_id} is revoked.")


async def _keys(beside: Beside) -> list[ApiKey]:
    return [record for record in await beside.store.list("api_key") if isinstance(record, ApiKey)]


def _read_pem(file: str) -> str:
    try:
        return sys.stdin.read(PEM_LENGTH_MAX + 1) if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is no text'}", EXIT_USAGE)


def _encrypting(settings: Settings) -> Callable[[str], str]:
    """What encrypts a secret. The key is looked for only once there is one to encrypt."""
    return lambda secret: open_encryption(settings, make=True).encrypt(secret)


def _shown(key: ApiKey) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(key)
    del shown["token_digest"], shown["verifier"]
    return shown


def _rights(key: ApiKey) -> str:
    if key.algorithm is not None:
        return f"verifies {key.algorithm}"
    if key.kind != "secret":
        return "browser" if key.kind == "publishable" else "users"
    return "read" if key.read_only else "read, write"
