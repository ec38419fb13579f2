"""Starting the programs that are measured, telling that they are ours, and ending them with all that they started."""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent  # where `-m bench` is found
START_S_MAX = 30
STOP_S_MAX = 30
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_READY = re.compile(r" is ready at http://127\.0\.0\.1:(\d+)$")


class CannotMeasure(Exception):
    """A program that is to be measured does not start, or what answers is not it."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads, ended or not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def tree_cpu_seconds(root: int) -> float:
    """The same of a process and all that it started, also of what has ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            fields = file.read_text().rpartition(")")[2].split()
            parents[int(file.parent.name)] = int(fields[1])
            ticks[int(file.parent.name)] = sum(map(int, fields[11:15]))  # of those that it waited for, too

    def of_tree(pid: int) -> int:
        return ticks.get(pid, 0) + sum(of_tree(child) for child, parent in parents.items() if parent == pid)

    return of_tree(root) / _TICKS_PER_S


def busy_seconds() -> float:
    """The time that all cores together have worked since the machine was started, for whomever."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = Path("/proc/stat").read_text().split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS_PER_S


class Server:
    """A program that was started here: a fresh token that only it knows, and a free port that it took itself."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, *, python_path: str | None = None) -> None:
        self.name = name
        self.token = "sk_" + secrets.token_hex(24)
        self.log_file = folder / f"{name}.log"
        environment = {
            **os.environ,
            "BENCH_TOKEN": self.token,
            "USERFOLD_SECRET_KEY": self.token,
            "USERFOLD_ENCRYPTION_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        if python_path is not None:
            environment["PYTHONPATH"] = python_path
        with self.log_file.open("wb") as log:
            # A process group of its own, so that its whole tree can be ended at once.
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                text=True,
            )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_lines, daemon=True).start()
        self.pid = self._process.pid
        try:
            self.port = self._await_port()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> list[str]:
        """End it and all that it started; what it printed since it was ready. May be called again."""
        if self._process.returncode is not None:
            return []
        self._process.terminate()
        # Waited for without reaping: as long as the process is a zombie, its group cannot be anybody else's.
        deadline = time.monotonic() + STOP_S_MAX
        while not _is_zombie(self.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        return list(iter(self._lines.get, None))

    def complaints(self) -> list[str]:
        """What it wrote to its log at level warning or worse, or without a level."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return [f"{self.name}: {line}" for line in lines if " info " not in line]

    def _await_port(self) -> int:
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise CannotMeasure(f"{self.name} was not ready after {START_S_MAX} s") from None
            if line is None:
                raise CannotMeasure(f"{self.name} ended at its start:\n{self.log_file.read_text()}")
            if found := _READY.search(line):
                return self._owned(int(found[1]))

    def _owned(self, port: int) -> int:
        """`port`, once it is sure that this process listens there and not somebody else."""
        sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
        opened = {os.readlink(file) for file in Path(f"/proc/{self.pid}/fd").iterdir()}
        if len(sockets) != 1 or not sockets <= opened:
            raise CannotMeasure(f"port {port} is not served by {self.name} alone")
        return port

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _listening_inodes(port: int) -> list[str]:
    """The sockets that listen at `port` of any address (proc(5): state 0A)."""
    rows = [line.split() for file in ("tcp", "tcp6") for line in _rows(Path("/proc/net") / file)]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]


def _rows(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:] if table.exists() else []
