"""`userfold encryption`: the keys by which secrets are encrypted, and how they give way to others."""

from __future__ import annotations

import typer

from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail
from userfold.cli.options import DatabaseOption, DataOption, JsonOption
from userfold.cli.saying import EXIT_USAGE, counted, fail, print_json, print_line
from userfold.encryption import make_key_file, new_key, put_key_first
from userfold.key_rotation import Rotation, rotate
from userfold.opening import open_encryption
from userfold.storage.port import StoreError

encryption_cli = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make encryption keys, and encrypt with a new one."
)


@encryption_cli.command("new-key")
def print_new_key() -> None:
    """Make a key and print it, for USERFOLD_ENCRYPTION_KEY. Nothing else is done with it.

    \b
    Example:  USERFOLD_ENCRYPTION_KEY="$(userfold encryption new-key)" userfold serve
    Prints:   the key.
    Exits:    0 done; 1 it cannot be printed.
    """
    print_line(new_key())


@encryption_cli.command("add-key")
def add_key(data: DataOption = None) -> None:
    """Put a new key first in the key file. A server that is restarted encrypts with it, and goes on reading the rest.

    \b
    Example:  userfold encryption add-key
    Prints:   what to do then.
    Exits:    0 done; 1 failed; 2 wrong use or setting, such as keys in USERFOLD_ENCRYPTION_KEY.
    """
    settings = read_settings_or_fail(data=data)
    if settings.encryption_keys:
        fail("the keys are in USERFOLD_ENCRYPTION_KEY: put a new one first there", EXIT_USAGE)
    file = settings.encryption_key_file
    try:
        if not make_key_file(file):
            put_key_first(file, new_key())
    except StoreError as error:
        fail(str(error))
    print_line(f"{file} begins with a new key. Restart the server, then `userfold encryption rotate`.")


@encryption_cli.command("rotate")
def rotate_keys(data: DataOption = None, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Encrypt with the first key what was encrypted with another one, while the server runs.

    \b
    Example:  userfold encryption rotate
    Prints:   how many secrets were encrypted anew, and how many were already.
    Exits:    0 everything is encrypted with the first key, and the others can go; 1 failed, or there is what none of
              the keys can read; 2 wrong use or setting, no database.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)

    async def work(beside: Beside) -> Rotation:
        return await rotate(beside.engine, beside.store, open_encryption(settings, make=False))

    done = beside_the_server(settings, work)
    if as_json:
        print_json(done)
    else:
        print_line(f"{counted(done.renewed, 'secret')} encrypted anew, {done.current:,} were already.")
    if done.unreadable:
        fail(f"none of the keys can read the secrets of {', '.join(done.unreadable)}")
