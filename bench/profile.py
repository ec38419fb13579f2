"""`python -m bench.profile`: where the microseconds of one update, or one read, go.

The real server runs under the real load twice: as it is, for its CPU per request, and with a stopwatch at the seams
(parts.py). What the parts do not account for is the event loop, sockets and the kernel. One connection means a batch of
one; 64 mean batches of about 64.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.load import Job, Report
from bench.measure import WARM_UP_S, make_users, put_load
from bench.parts import COMMIT, SEAMS, Result
from bench.processes import Server

REST = "event loop, sockets, kernel"
WAIT = "(waiting for the disk in COMMIT)"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--traffic", choices=("update", "clerk", "read"), default="update")
    parser.add_argument("--connections", type=_numbers, default=[1, 64], help="such as 1,64")
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    columns = {count: _column(arguments.traffic, count, arguments.seconds) for count in arguments.connections}
    print(_table(arguments.traffic, columns))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _column(traffic: str, connections: int, seconds: float) -> dict[str, float]:
    """Part → µs per request."""
    plain, _ = _measured(traffic, connections, seconds, with_parts=False)
    report, result = _measured(traffic, connections, seconds, with_parts=True)
    assert result is not None

    def per_request(seconds: float) -> float:
        return seconds / report.answers * 1e6

    column = {part: per_request(result.wall[part]) for _, _, part in SEAMS if part in result.wall}
    for part, cpu in result.cpu_of_waiting_parts.items():
        column[part] = per_request(cpu)
    column[REST] = plain.server_cpu_us - sum(column.values())
    column["all: CPU per request"] = plain.server_cpu_us
    if COMMIT in result.wall:
        column[WAIT] = per_request(result.wall[COMMIT]) - column[COMMIT]
    column["requests/s"] = plain.per_second
    return column


def _measured(traffic: str, connections: int, seconds: float, *, with_parts: bool) -> tuple[Report, Result | None]:
    options = ["--parts"] if with_parts else []
    with tempfile.TemporaryDirectory(prefix="userfold-profile-") as folder:
        command = ["-m", "bench.variant", "--data", folder, *options]
        with Server("profiled", command, Path(folder)) as server:
            made = make_users(server)
            report = put_load(
                Job(
                    port=server.port,
                    token=server.token,
                    pid=server.pid,
                    traffic=traffic,
                    connections=connections,
                    warm_up_s=WARM_UP_S,
                    seconds=seconds,
                    user_ids=made.user_ids,
                    signals=with_parts,
                )
            )
            lines = server.stop()
        for error in (*made.errors, *report.errors, *server.complaints()):
            print(f"WRONG: {error}")
        return report, msgspec.json.decode(lines[-1], type=Result) if with_parts else None


def _table(traffic: str, columns: dict[int, dict[str, float]]) -> str:
    head = f"{f'µs per {traffic}':36}" + "".join(f"{_connections(count):>16}" for count in columns)
    names = _in_order(name for column in columns.values() for name in column)
    lines = [
        f"{name:36}"
        + "".join(f"{column[name]:16.1f}" if name in column else f"{'–':>16}" for column in columns.values())
        for name in names
    ]
    return "\n".join([head, *lines])


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    main()
