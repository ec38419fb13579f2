"""The command line. Thin: it reads settings, calls what does the work, and says what happened.

One module per noun; `options.py`, `saying.py` and `beside.py` are what they share. A command is a function whose
docstring is its help: one line, then an example, what it prints and how it exits.

Exit codes: 0 done, 1 failed, 2 wrong use or a wrong setting, 3 the data folder or the database is in use.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from userfold import __version__
from userfold.cli.encryption import encryption_cli
from userfold.cli.keys import keys_cli
from userfold.cli.projects import projects_cli
from userfold.cli.saying import EXIT_FAILED, EXIT_USAGE, print_line, say_failure
from userfold.cli.serving import serve
from userfold.cli.transfer import export_users, import_users
from userfold.cli.upkeep import backup, doctor, migrate
from userfold.cli.users import users_cli

CANNOT_PRINT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)  # standard output may be a file on a full disk

cli = typer.Typer(
    name="userfold",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="One record per user, updated by browsers, backends and operators at the same time.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or a wrong setting, 3 the data folder or the database is in use.",
)
cli.command()(serve)
cli.add_typer(projects_cli, name="projects")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(users_cli, name="users")
cli.add_typer(encryption_cli, name="encryption")
cli.command("export")(export_users)
cli.command("import")(import_users)
cli.command()(backup)
cli.command()(migrate)
cli.command()(doctor)


def main() -> None:
    """Run the command line and exit with its status. What goes wrong is one line on standard error."""
    if sys.stdout is None:  # closed by whoever started us, who wants to see nothing
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process
    try:
        status = cli(prog_name="userfold", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        status = EXIT_USAGE
        _say_wrong_use(error)
    except typer.Abort:
        status = EXIT_FAILED
        say_failure("stopped; nothing was changed")
    except BrokenPipeError:  # whoever read us has seen enough
        status = EXIT_FAILED
        _print_no_more()
    except OSError as error:
        if error.errno not in CANNOT_PRINT or error.filename is not None:
            raise
        status = EXIT_FAILED
        _print_no_more()
        say_failure(f"cannot print what was asked for: {error.strerror}")
    sys.exit(status)


@cli.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print_line(__version__)
        raise typer.Exit


def _print_no_more() -> None:
    """Python would complain once more when it flushes standard output at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_wrong_use(error: TyperException) -> None:
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: what there is, is the answer
        sys.stderr.write(message + "\n")
        return
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "userfold")
    say_failure(f"{message.rstrip('.')}. `{command} --help` shows how it is used.")
