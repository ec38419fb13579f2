"""Where the time of a request goes: functions at the seams of the program are timed while it runs under load.

Each of `SEAMS` is replaced, where it is looked up, by itself between two readings of the clock. Time counts for the
innermost function only, so the parts add up; coroutines and generators are timed step by step, so what they wait for
does not count. A reading costs time too: it is measured at the start and taken off. A seam that was renamed in the
program is an error here, and must be renamed in the table.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

CALIBRATION_CALLS = 20_000

HTTP = "HTTP: uvicorn, httptools"
DISPATCH = "dispatch, key, request, handler"
DECODE = "JSON decode and checks"
ENGINE = "queue and engine"
RULES = "rules: update, ids, change"
MERGE = "rules: merge"
DIFF = "rules: diff"
TRUST = "rules: trust"
LIMITS = "rules: limits of a bag"
NAMES = "rules: identifiers"
STORE = "store: transaction, rows to records"
READ = "store: SELECT"
WRITE = "store: INSERT, UPDATE"
COMMIT = "store: COMMIT"
CODEC = "store: documents in and out"
REPLY = "encode the answer"
SEND = "send the answer (to uvicorn)"
COPY = "checkpoint thread"

# (module, name in it, part)
SEAMS: tuple[tuple[str, str, str], ...] = (
    ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol.data_received", HTTP),
    ("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle.run_asgi", HTTP),
    ("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle.receive", HTTP),
    ("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle.send", HTTP),
    ("userfold.api.wire", "Api.__call__", DISPATCH),
    ("userfold.api.wire", "jsontext.decode", DECODE),
    ("userfold.api.wire", "send_reply", SEND),
    ("userfold.api.wire", "jsontext.encode", REPLY),
    ("userfold.api.native.wire", "user_reply", REPLY),
    ("userfold.api.clerk.wire", "user", REPLY),
    ("userfold.engine", "Engine.run", ENGINE),
    ("userfold.engine", "Engine._work_off", ENGINE),
    ("userfold.engine", "fold_batch", ENGINE),
    ("userfold.engine", "apply", RULES),
    ("userfold.core.user_rules", "merge_bag", MERGE),
    ("userfold.core.user_rules", "diff", DIFF),
    ("userfold.core.user_rules", "judge", TRUST),
    ("userfold.core.user_rules", "owned_after", TRUST),
    ("userfold.core.user_rules", "check_bag", LIMITS),
    ("userfold.core.user_rules", "claim_identifiers", NAMES),
    ("userfold.storage.sqlite.store", "SQLiteStore.run", STORE),
    ("userfold.storage.sqlite.store", "SQLiteStore._run_in_thread", STORE),
    ("userfold.storage.sqlite.store", "SQLiteStore.get", STORE),
    ("userfold.storage.sqlite.store", "_row", READ),
    ("userfold.storage.sqlite.store", "SQLiteStore._write", WRITE),
    ("userfold.storage.sqlite.store", "SQLiteStore._commit", COMMIT),
    ("userfold.storage.sqlite.store", "from_text", CODEC),
    ("userfold.storage.sqlite.store", "to_text", CODEC),
    ("userfold.storage.sqlite.wal", "Checkpointer._checkpoint", COPY),
)


class Result(msgspec.Struct, frozen=True):
    """Seconds between two turns of the stopwatch, and the process's CPU in that time."""

    wall: dict[str, float]
    cpu_of_waiting_parts: dict[str, float]  # of COMMIT and COPY, which wait for the disk
    process_cpu: float
    elapsed: float


class Stopwatch:
    """Adds up the time of each part. Off until the first turn."""

    def __init__(self) -> None:
        self._wall: dict[str, float] = {}
        self._cpu: dict[str, float] = {}
        self._stacks = threading.local()
        self._overhead_s = 0.0
        self._turns: list[tuple[dict[str, float], dict[str, float], float, float]] = []

    def turn(self) -> None:
        """Begin, or end."""
        self._turns.append((dict(self._wall), dict(self._cpu), time.process_time(), time.perf_counter()))

    def result(self) -> Result:
        """What was measured between the first two turns."""
        (wall, cpu, process, began), (wall_after, cpu_after, process_after, ended) = self._turns[:2]
        return Result(_less(wall_after, wall), _less(cpu_after, cpu), process_after - process, ended - began)

    def enter(self, part: str) -> None:
        """The innermost part is now this one."""
        stack = self._stack()
        now = time.perf_counter()
        if stack:
            outer = stack[-1]
            self._wall[outer[0]] = self._wall.get(outer[0], 0.0) + now - outer[1] - self._overhead_s
        cpu = time.thread_time() if part in (COMMIT, COPY) else 0.0
        stack.append([part, time.perf_counter(), cpu])

    def leave(self) -> None:
        """The part before it goes on."""
        now = time.perf_counter()
        stack = self._stack()
        part, since, cpu = stack.pop()
        self._wall[part] = self._wall.get(part, 0.0) + now - since
        if cpu:
            self._cpu[part] = self._cpu.get(part, 0.0) + time.thread_time() - cpu
        if stack:
            stack[-1][1] = time.perf_counter()

    def calibrate(self) -> None:
        """Find out what a timed call costs the part around it, beyond what an untimed one costs."""

        def empty() -> None:
            pass

        timed = self.timed(empty, "calibration")
        self.enter("around timed")
        for _ in range(CALIBRATION_CALLS):
            timed()
        self.leave()
        self.enter("around untimed")
        for _ in range(CALIBRATION_CALLS):
            empty()
        self.leave()
        around = self._wall["around timed"] - self._wall["around untimed"]
        self._overhead_s = max(around / CALIBRATION_CALLS, 0.0)
        self._wall.clear()

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """`function`, timed as `part`. What it returns is timed step by step if it runs in steps."""

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            self.enter(part)
            try:
                made = function(*given, **named)
            finally:
                self.leave()
            return self._steps(made, part) if isinstance(made, Generator) else made

        @functools.wraps(function)
        async def run(*given: Any, **named: Any) -> Any:
            return await _Steps(self._steps(function(*given, **named).__await__(), part))

        return run if inspect.iscoroutinefunction(function) else call

    def _steps(self, inner: Any, part: str) -> Generator[Any, Any, Any]:
        given: Any = None
        while True:
            self.enter(part)
            try:
                step = inner.send(given)
            except StopIteration as stop:
                return stop.value
            finally:
                self.leave()
            try:
                given = yield step
            except GeneratorExit:
                inner.close()
                raise

    def _stack(self) -> list[list[Any]]:
        try:
            stack: list[list[Any]] = self._stacks.stack
        except AttributeError:
            stack = self._stacks.stack = []
        return stack


class _Steps:
    """Makes a generator awaitable."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps


def install() -> Stopwatch:
    """Put a stopwatch into the program, before it makes its objects."""
    stopwatch = Stopwatch()
    stopwatch.calibrate()
    for module, name, part in SEAMS:
        *path, last = name.split(".")
        holder = functools.reduce(getattr, path, importlib.import_module(module))
        setattr(holder, last, stopwatch.timed(getattr(holder, last), part))
    return stopwatch


def _less(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {part: seconds - before.get(part, 0.0) for part, seconds in after.items()}
