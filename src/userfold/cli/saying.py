"""How commands answer: tables for people, JSON for programs, one line on standard error for what went wrong.

Texts that users wrote are shown with their control characters made visible: a name must not be able to move the
cursor of whoever lists it.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it

# Where nobody looks, nothing is cut: a program, or a person with grep, gets each row as one line.
_UNBOUNDED = 100_000


def print_line(line: str = "") -> None:
    """One line on standard output."""
    sys.stdout.write(visible(line) + "\n")


def print_json(value: Any) -> None:
    """Records or plain values as JSON. ASCII, so that it survives any terminal, pipe and locale."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is never broken as long as there is room: it holds what people copy."""
    on_terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if on_terminal else _UNBOUNDED)
    table = Table(box=None, pad_edge=False, header_style="bold")
    widest = max((len(row[0]) for row in rows), default=0)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=None if index else widest, no_wrap=not on_terminal)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    with console.capture() as printed:
        console.print(table)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in printed.get().splitlines()))


def visible(text: str) -> str:
    """`text` on one line, with characters that a terminal would obey written out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(character) if _is_obeyed(character) else character for character in text)


def date(time_ms: int | None) -> str:
    """A time (ms since the epoch) as people read it, in UTC; empty for None."""
    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(count: int, thing: str) -> str:
    """`1 user`, `2 users`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    """End the command with one line that says why."""
    say_failure(message)
    raise typer.Exit(code)


def say_failure(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"userfold: {visible(message)}\n")


def _is_obeyed(character: str) -> bool:
    # Controls, and what turns the direction of writing or hides (Cf), line and paragraph separators, surrogates.
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
