"""Options that several commands take, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from userfold.settings import DEFAULT_DATA

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help=f"Data folder. [USERFOLD_DATA, or {DEFAULT_DATA}]"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="sqlite:///PATH or postgresql://… [USERFOLD_DATABASE_URL, or userfold.db in the data folder]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="ID", help="The project's id; needed only where there are several.")
]
