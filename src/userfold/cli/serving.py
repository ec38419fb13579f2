"""`userfold serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from userfold.cli.beside import read_settings_or_fail
from userfold.cli.options import DatabaseOption, DataOption
from userfold.cli.saying import EXIT_FAILED, EXIT_LOCKED, EXIT_USAGE, fail
from userfold.locks import CannotLock, InUse
from userfold.logs import set_up_logging
from userfold.settings import DEFAULT_HOST, DEFAULT_PORT
from userfold.storage.port import StoreError
from userfold.workers import WorkersFailed


def serve(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = DEFAULT_PORT,
    workers: Annotated[
        int, typer.Option(help="Processes at this port; with SQLite 1, because it has one writer.", min=1)
    ] = 1,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log a line for every request. [USERFOLD_ACCESS_LOG]")
    ] = False,
) -> None:
    """Start the server. What is missing is made: the folder, the database, the first project and its keys.

    \b
    Example:  userfold serve --data /var/lib/userfold --port 8787
    Prints:   `Userfold is ready at http://HOST:PORT` once it answers. The log goes to standard error.
    Exits:    0 stopped by SIGTERM or Ctrl-C with everything answered; 1 it could not start; 2 wrong use or setting;
              3 another server has the data.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url, host=host, port=port, access_log=access_log)
    if workers > 1 and settings.database_file is not None:
        fail("SQLite has one writing process, so --workers must be 1", EXIT_USAGE)
    set_up_logging(settings.log_format)
    # Imported here, because the other commands need none of it, and it takes as long as all that they need.
    from userfold.server import CannotStart
    from userfold.server import serve as serve_forever

    try:
        serve_forever(settings, workers=workers)
    except InUse as error:
        fail(str(error), EXIT_LOCKED)
    except (CannotStart, CannotLock, WorkersFailed, StoreError) as error:
        fail(str(error), EXIT_FAILED)
