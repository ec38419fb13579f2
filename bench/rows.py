"""What is measured: the programs, the rows, and the ratios with their bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bench.load import Report

# name → arguments of the interpreter, for a program that may keep its data in the folder
PROGRAMS: dict[str, Callable[[Path], list[str]]] = {
    "nothing": lambda folder: ["-m", "bench.nothing"],
    "userfold": lambda folder: _serve(folder),
    "bare": lambda folder: ["-m", "bench.bare", "--data", str(folder)],
    "one-by-one": lambda folder: _variant(folder, "--batch-size-max", "1"),
    "slow": lambda folder: _variant(folder, "--sync-delay-ms", "1"),
    "slow-one-by-one": lambda folder: _variant(folder, "--sync-delay-ms", "1", "--batch-size-max", "1"),
}
# The same, for a program that keeps users in the PostgreSQL database at an address
PROGRAMS_OVER_POSTGRES: dict[str, Callable[[Path, str], list[str]]] = {
    "pg": lambda folder, url: _serve(folder, "--database-url", url),
    "pg-read-one-by-one": lambda folder, url: _variant(folder, "--database-url", url, "--read-one-by-one"),
}
PGBENCH = "pgbench"  # no server for requests: it makes its load itself


def _serve(folder: Path, *options: str) -> list[str]:
    return ["-m", "userfold", "serve", "--data", str(folder), "--port", "0", *options]


def _variant(folder: Path, *options: str) -> list[str]:
    return ["-m", "bench.variant", "--data", str(folder), *options]


class Row(msgspec.Struct, frozen=True):
    """One kind of traffic to one program."""

    name: str
    program: str
    traffic: str
    connections: int

    @property
    def is_over_postgres(self) -> bool:
        """Whether it needs a PostgreSQL server."""
        return self.program == PGBENCH or self.program in PROGRAMS_OVER_POSTGRES


def rows(connections: Iterable[int]) -> list[Row]:
    """All rows. Those that a ratio compares stand near each other, because the machine drifts."""
    found = []
    for count in sorted(connections, reverse=True):
        found += [
            Row(f"nothing-{count}", "nothing", "nothing", count),
            Row(f"update-{count}", "userfold", "update", count),
            Row(f"read-{count}", "userfold", "read", count),
            Row(f"clerk-{count}", "userfold", "clerk", count),
        ]
        if count == 1:
            found.insert(-2, Row("bare-1", "bare", "update", 1))
        else:
            found += [
                Row(f"one-by-one-{count}", "one-by-one", "update", count),
                Row(f"slow-{count}", "slow", "update", count),
                Row(f"slow-one-by-one-{count}", "slow-one-by-one", "update", count),
            ]
    # Last, because a database server goes on tidying up after what it wrote.
    for count in sorted(connections, reverse=True):
        found += [
            Row(f"pg-update-{count}", "pg", "update", count),
            Row(f"pgbench-{count}", PGBENCH, "", count),
        ]
        if count > 1:
            found += [
                Row(f"pg-read-{count}", "pg", "read", count),
                Row(f"pg-read-one-by-one-{count}", "pg-read-one-by-one", "read", count),
            ]
    return found


class Ratio(msgspec.Struct, frozen=True):
    """What one row makes of another, in the same round; without another, what it is. `at_most`: less is better."""

    name: str
    row: str
    of: str | None
    bar: float
    stretch: float
    measure: str = "per_second"
    at_most: bool = False

    def value(self, reports: dict[str, Report]) -> float:
        """The ratio in one round."""
        own: float = getattr(reports[self.row], self.measure)
        return own if self.of is None else own / float(getattr(reports[self.of], self.measure))

    def meets(self, value: float, wanted: float) -> bool:
        """Whether `value` is as good as `wanted`."""
        return value <= wanted if self.at_most else value >= wanted


CPU = "server_cpu_us"
P99 = "p99_ms"

RATIOS = (
    Ratio("update / do nothing", "update-64", "nothing-64", 0.18, 0.28),
    Ratio("CPU of update / of do nothing", "update-64", "nothing-64", 5, 3.5, CPU, at_most=True),
    Ratio("read / do nothing", "read-64", "nothing-64", 0.55, 0.65),
    Ratio("update / bare.py, 1 connection", "update-1", "bare-1", 0.8, 0.95),
    Ratio("group commit / one by one", "update-64", "one-by-one-64", 2.2, 3),
    Ratio("the same, +1 ms per sync", "slow-64", "slow-one-by-one-64", 8, 15),
    Ratio("PostgreSQL: update / pgbench", "pg-update-64", "pgbench-64", 0.45, 0.6),
    Ratio("p99 of a PostgreSQL update, ms", "pg-update-64", None, 40, 20, P99, at_most=True),
    Ratio("PostgreSQL: read / one by one", "pg-read-64", "pg-read-one-by-one-64", 2.2, 3),
)
