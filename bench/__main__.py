"""`make bench`, or `python -m bench`: measure all rows, round by round, and print each ratio beside its bar.

Ratios are of rows of the same round, and their median counts: the speed of a shared machine changes within minutes, so
absolute figures of two runs cannot be compared. Rows whose names begin with `pg` run over a PostgreSQL server that is
started for them, durable; without one, or without pgbench, it says so and measures the others.
Ends with 1 if an answer was wrong, with 0 whatever the figures say.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import apsw
import msgspec

from bench import nothing, postgres
from bench.load import Report
from bench.measure import calmly
from bench.processes import CannotMeasure
from bench.report import oddities, ratio_table, row_table
from bench.rows import Row, rows
from bench.world import World
from userfold import server

SYNCS = 200


def main() -> int:
    """The exit status."""
    arguments = _arguments()
    chosen = [row for row in rows(arguments.connections) if _is_chosen(row, arguments.only)]
    if not chosen:
        print(f"There is no such row. All: {', '.join(row.name for row in rows(arguments.connections))}")
        return 2
    _refuse_unequal_servers()
    if any(row.is_over_postgres for row in chosen) and (reason := postgres.missing()) is not None:
        print(f"Nothing is measured over PostgreSQL: {reason}")
        chosen = [row for row in chosen if not row.is_over_postgres]
    with tempfile.TemporaryDirectory(prefix="userfold-bench-", dir=arguments.folder) as folder:
        Path(folder).chmod(0o711)
        print(_machine(Path(folder)))
        wrong: list[str] = []
        measured = []
        for number in range(1, arguments.rounds + 1):
            print(f"Round {number} of {arguments.rounds} …", flush=True)
            measured.append(_round(chosen, Path(folder) / str(number), number, arguments, wrong))
    print("", row_table(measured), "", ratio_table(measured), "", sep="\n")
    for line in oddities(measured):
        print(f"Odd: {line}")
    for line in wrong:
        print(f"WRONG: {line}")
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(measured)))
    checked = sum(report.checked for reports in measured for report in reports.values())
    print(f"{checked} answers and users were compared with what they must be: {len(wrong) or 'none'} wrong.")
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of measurement, per row and round")
    parser.add_argument("--connections", type=_numbers, default=[1, 64], help="such as 1,64")
    parser.add_argument("--only", action="append", default=[], help="rows whose name begins like this; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="SECONDS", help="to wait for a calm machine, per row"
    )
    parser.add_argument("--folder", type=Path, help="where databases are made; its disk is measured (default: TMPDIR)")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _is_chosen(row: Row, beginnings: list[str]) -> bool:
    return not beginnings or row.name.startswith(tuple(beginnings))


def _round(
    chosen: Iterable[Row], folder: Path, number: int, arguments: argparse.Namespace, wrong: list[str]
) -> dict[str, Report]:
    """Every row once, on fresh programs and databases."""
    folder.mkdir(mode=0o711)  # what runs by an account of its own must pass through
    reports: dict[str, Report] = {}
    with contextlib.ExitStack() as stack:
        world = World(folder, stack)
        for row in chosen:
            reports[row.name] = calmly(world.measurement(row, arguments.seconds, number), arguments.patience)
            world.wrong += [f"{row.name}, round {number}: {error}" for error in reports[row.name].errors]
        world.stop()
    wrong += world.wrong
    return reports


def _refuse_unequal_servers() -> None:
    """A handler that does nothing on a server with other settings would be no measure."""

    async def app(scope: object, receive: object, send: object) -> None:
        pass

    def settings(config: object) -> dict[str, object]:
        return {name: value for name, value in vars(config).items() if isinstance(value, int | float | str | None)}

    ours = settings(server._Server(app, ready=lambda: None).config)  # type: ignore[arg-type]
    if ours != settings(nothing.config(app)):
        raise CannotMeasure("bench/nothing.py and userfold/server.py start uvicorn with different settings")


def _machine(folder: Path) -> str:
    """What the figures depend on."""
    load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
    return (
        f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, {os.cpu_count()} cores, "
        f"load average {load}, fdatasync of 8 KiB {_sync_ms(folder):.2f} ms"
    )


def _sync_ms(folder: Path) -> float:
    """The median time that a written block takes to the disk."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(8192))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[SYNCS // 2] * 1000


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # so that what was started is ended


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
