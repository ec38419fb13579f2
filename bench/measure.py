"""One measurement: users are made, the load generator runs as a process of its own, and the machine should be calm."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from bench.load import Job, Report
from bench.processes import ROOT, CannotMeasure, Server, busy_seconds

WARM_UP_S = 0.7
LOAD_S_MAX = 120  # beyond the time of the measurement
OTHERS_MAX = 0.1  # of one core: more of it used by other programs spoils a measurement
CALM_S = 1.0
TRIES = 3


def make_users(server: Server) -> Report:
    """The ids of the users that are measured, newly made. Raises `CannotMeasure`."""
    report = put_load(Job(port=server.port, token=server.token, pid=server.pid, traffic="create", connections=16))
    if not report.user_ids:
        raise CannotMeasure("\n".join((f"{server.name} made no users", *report.errors, *server.complaints()[:40])))
    return report


def put_load(job: Job) -> Report:
    """What the load generator reports."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        timeout=LOAD_S_MAX + job.warm_up_s + job.seconds,
        cwd=ROOT,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Report)


def calmly(measure: Callable[[], Report], patience_s: float) -> Report:
    """What `measure` reports of a calm machine: waits up to `patience_s` for one, and repeats what was disturbed."""
    give_up_at = time.monotonic() + patience_s
    tries_left = TRIES
    while True:
        _wait_for_calm(give_up_at)
        report = measure()
        tries_left -= 1
        if report.others_share <= OTHERS_MAX or not tries_left or time.monotonic() > give_up_at:
            return report


def _wait_for_calm(give_up_at: float) -> None:
    while time.monotonic() < give_up_at:
        before = busy_seconds()
        time.sleep(CALM_S)
        if busy_seconds() - before <= OTHERS_MAX * CALM_S:
            break
