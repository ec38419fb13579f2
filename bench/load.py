"""The load generator, a process of its own: N connections, each sending its next request when it has its answer.

    python -m bench.load < job.json > report.json

Requests are made ready beforehand and answers are only cut into head and body, because this process must cost less than
the one that it measures. Every `SAMPLE_EVERY`th answer is compared with what it must hold, and after the measurement a
sample of users is read back and compared whole: each count must be the last one that was answered (no update lost),
each version the number of updates. Imports nothing of userfold.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
import time
from array import array
from typing import cast

import msgspec
import uvloop

from bench.processes import busy_seconds, cpu_seconds, tree_cpu_seconds
from bench.traffic import TRAFFIC, Requests, Traffic

GRACE_S = 30  # for answers, beyond the time of the measurement


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `pid`: the server's, whose CPU is read as the measurement begins and ends; so is the database's."""

    port: int
    token: str
    pid: int
    database_pid: int | None = None  # of a database server beside it
    traffic: str  # a row of traffic.TRAFFIC
    connections: int
    warm_up_s: float = 0.0
    seconds: float = 0.0
    user_ids: tuple[str, ...] = ()
    seed: int = 0
    signals: bool = False  # SIGUSR1 to the server as the measurement begins and ends


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `errors` holds the first few; there should be none."""

    answers: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    server_cpu_us: float = 0.0  # per request
    database_cpu_us: float = 0.0  # per request, of a database server with all its processes
    load_cpu_share: float = 0.0  # of one core: near 1, this process is what was measured
    others_share: float = 0.0  # of one core: what other programs used meanwhile
    checked: int = 0
    errors: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()  # those that were made


class Readings(msgspec.Struct, frozen=True):
    """Clocks that are read together, in seconds: of the wall, and of CPU by whose it was."""

    clock: float
    own: float
    server: float
    database: float
    everybody: float

    @classmethod
    def of(cls, job: Job) -> Readings:
        """Now."""
        database = 0.0 if job.database_pid is None else tree_cpu_seconds(job.database_pid)
        return cls(time.perf_counter(), time.process_time(), cpu_seconds(job.pid), database, busy_seconds())

    def __sub__(self, earlier: Readings) -> Readings:
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(earlier), strict=True)
        return Readings(*(now - then for now, then in pairs))


class Errors:
    """Counts what went wrong and keeps the first texts."""

    KEPT = 5

    def __init__(self) -> None:
        self.count = 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Note one."""
        self.count += 1
        if len(self.texts) < self.KEPT:
            self.texts.append(text)


class Connection(asyncio.Protocol):
    """One connection in a closed loop. Ends when its traffic has no next request."""

    def __init__(self, traffic: Traffic, index: int, latencies: Latencies, errors: Errors) -> None:
        self._traffic = traffic
        self._index = index
        self._latencies = latencies
        self._errors = errors
        self._received = b""
        self._sent_at = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Send the first request."""
        self._send_next()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end >= 0:
            at = received.find(b"content-length: ", 0, head_end)
            length = int(received[at + 16 : received.find(b"\r\n", at)]) if at >= 0 else 0
            body_start = head_end + 4
            if len(received) >= body_start + length:
                self._received = b""
                self._latencies.add(time.perf_counter() - self._sent_at)
                try:
                    self._traffic.answered(self._index, int(received[9:12]), received[body_start:])
                except Exception as error:
                    self._errors.add(f"{type(error).__name__}: {error}"[:300])
                self._send_next()
                return
        self._received = received

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self._errors.add(f"connection {self._index} was closed by the server: {error}")
            self.ended.set_result(None)

    def _send_next(self) -> None:
        request = self._traffic.next(self._index)
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class Latencies:
    """Seconds per answer."""

    def __init__(self) -> None:
        self._seconds = array("d")
        self.add = self._seconds.append

    def take(self) -> list[float]:
        """All of them, in order of size; what follows is counted afresh."""
        taken = sorted(self._seconds)
        del self._seconds[:]
        return taken


async def run(job: Job) -> Report:
    """Prepare, warm up, measure, check."""
    errors = Errors()
    requests = Requests(job.port, job.token)
    traffic = TRAFFIC[job.traffic](requests, job.user_ids, job.connections, random.Random(job.seed))
    for preparation in traffic.before():
        await drive(preparation, job, Latencies(), errors)
    latencies = Latencies()
    report = Report()
    if traffic.endless:
        report = await measure(traffic, job, latencies, errors)
    else:
        await drive(traffic, job, latencies, errors)
    for check in traffic.after():
        await drive(check, job, Latencies(), errors)
    texts = [*errors.texts, f"{errors.count} errors in all"] if errors.count else []
    return msgspec.structs.replace(
        report, checked=traffic.checked, errors=tuple(texts), user_ids=tuple(traffic.made_user_ids)
    )


async def measure(traffic: Traffic, job: Job, latencies: Latencies, errors: Errors) -> Report:
    """Drive `traffic` for the time of the job, and measure the last part of it."""
    driving = asyncio.create_task(drive(traffic, job, latencies, errors))
    await asyncio.sleep(job.warm_up_s)
    latencies.take()
    if job.signals:
        os.kill(job.pid, signal.SIGUSR1)
    before = Readings.of(job)
    await asyncio.sleep(job.seconds)
    spent = Readings.of(job) - before
    if job.signals:
        os.kill(job.pid, signal.SIGUSR1)
    seconds = latencies.take()
    traffic.stop()
    await driving
    if not seconds:
        errors.add("there was not one answer in the time of the measurement")
        return Report()
    return Report(
        answers=len(seconds),
        per_second=len(seconds) / spent.clock,
        p50_ms=seconds[len(seconds) // 2] * 1000,
        p99_ms=seconds[len(seconds) * 99 // 100] * 1000,
        max_ms=seconds[-1] * 1000,
        server_cpu_us=spent.server / len(seconds) * 1e6,
        database_cpu_us=spent.database / len(seconds) * 1e6,
        load_cpu_share=spent.own / spent.clock,
        others_share=(spent.everybody - spent.server - spent.database - spent.own) / spent.clock,
    )


async def drive(traffic: Traffic, job: Job, latencies: Latencies, errors: Errors) -> None:
    """Open the connections, and return when all of them have come to their end."""
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    for index in range(job.connections):
        connection = Connection(traffic, index, latencies, errors)
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", job.port)  # type: ignore[misc]
        connections.append(connection)
    for connection in connections:
        connection.begin()
    async with asyncio.timeout(job.warm_up_s + job.seconds + GRACE_S):
        await asyncio.gather(*(connection.ended for connection in connections))


def main() -> None:
    """Read the job, write the report."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    gc.disable()  # a stall of this process would be counted as the server's
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(job))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
