"""Userfold's server with something different, so that one thing can be told from another.

    python -m bench.variant --data DIR [--batch-size-max 1] [--sync-delay-ms 1] [--parts] [--port 0]
    python -m bench.variant --data DIR --database-url postgresql://… [--read-one-by-one]

A batch of one is the usual design, a transaction per request. A delayed sync is a slower disk. One by
one, each read is a query of its own. `--parts` measures where
the time goes (see parts.py) between two SIGUSR1 and prints it as JSON when it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from bench import parts, slow_disk
from userfold.api.wire import Service
from userfold.app import App
from userfold.clock import clock_ms
from userfold.core.records import Key
from userfold.directory import Directory
from userfold.engine import Engine, Limits
from userfold.first_start import first_keys, make_first_project
from userfold.logs import set_up_logging
from userfold.server import GC_THRESHOLDS, _listen, _Server
from userfold.settings import read_settings
from userfold.storage.port import Records, Store
from userfold.storage.postgres.connections import Readers
from userfold.storage.postgres.store import PostgresStore
from userfold.storage.sqlite.store import SQLiteStore


async def serve(arguments: argparse.Namespace, listener: socket.socket, stopwatch: parts.Stopwatch | None) -> None:
    """What `userfold.server` does, with the differences that were asked for."""
    settings = read_settings(os.environ, data=arguments.data)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    disk = slow_disk.SlowDisk(arguments.sync_delay_ms / 1000) if arguments.sync_delay_ms else None
    store = open_store(arguments, settings.data, vfs=None if disk is None else slow_disk.NAME)
    await store.migrate()
    engine = Engine(store, clock_ms=clock_ms, limits=Limits(batch_size_max=arguments.batch_size_max))
    app = App(Service(engine=engine, store=store, directory=Directory(store), public_url=address))
    if not await store.list("project"):
        await make_first_project(engine, first_keys(settings, engine.now()))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    if stopwatch is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stopwatch.turn)
    try:
        await _Server(app, ready=lambda: print(f"Variant is ready at {address}", flush=True)).serve([listener])
    finally:
        await app.close()
    if stopwatch is not None:
        print(msgspec.json.encode(stopwatch.result()).decode(), flush=True)


def open_store(arguments: argparse.Namespace, data: Path, *, vfs: str | None) -> Store:
    """The store, with the differences that concern it."""
    if arguments.database_url is None:
        return SQLiteStore(data / "userfold.db", vfs=vfs)
    return (ReadsOneByOne if arguments.read_one_by_one else PostgresStore)(arguments.database_url)


class ReadsOneByOne(PostgresStore):
    """Each read is a query, on one of as many connections as pools usually have."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._readers_by_key = Readers(url, 10, by_key=True)

    async def get(self, keys: Sequence[Key]) -> Records:
        return await self._get(keys)


def main() -> None:
    """Parse the arguments and serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--batch-size-max", type=int, default=Limits().batch_size_max)
    parser.add_argument("--sync-delay-ms", type=float, default=0)
    parser.add_argument("--database-url")
    parser.add_argument("--read-one-by-one", action="store_true")
    parser.add_argument("--parts", action="store_true")
    arguments = parser.parse_args()
    set_up_logging("text")
    stopwatch = parts.install() if arguments.parts else None
    listener = _listen("127.0.0.1", arguments.port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments, listener, stopwatch))


if __name__ == "__main__":
    main()
