"""The server process: one lock on the data folder, one listening socket, a start that says when it answers, and a stop
that answers what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TextIO

import uvicorn
import uvloop

from userfold.app import App, build_app
from userfold.core.records import Project
from userfold.core.signatures import signing_key
from userfold.engine import CLOCK_BEHIND_MS_MAX
from userfold.first_start import KEYS_FILE, FirstKeys, first_keys, make_first_project, write_keys_file
from userfold.images import images_in
from userfold.locks import hold_data
from userfold.opening import newest_change, open_encryption, open_store
from userfold.settings import Settings
from userfold.storage.port import Store
from userfold.sweeps import Sweeper
from userfold.workers import run_workers

log = logging.getLogger("userfold.server")

# A batch holds some thousand objects for a few milliseconds. Python's own 700 had the collector walk them again and
# again, which was a tenth of an update; there are next to no cycles to find.
GC_THRESHOLDS = (10_000, 20, 50)
GRACE_S = 30  # for requests in flight when the server is told to stop
KEEP_ALIVE_S = 60  # longer than clients keep idle connections, so that it is they who close them
BACKLOG = 2048
FIRST_START_MS_MAX = 10_000  # then another process may make the first project
FIRST_START_LOOK_S = 0.1


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""


def serve(settings: Settings, say: TextIO = sys.stdout, *, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT, in so many processes.

    Raises `CannotStart`, `InUse`, `CannotLock`, `WorkersFailed` or a `StoreError`.
    """
    _check_webhook_secret(settings)
    _make_folder(settings.data)
    with hold_data(settings.data, settings.database_file), _listen(settings.host, settings.port) as listener:
        address = _address_of(listener)

        def work(ready: Callable[[], None]) -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(settings, listener, address, say, ready))

        def ready() -> None:
            _print(say, f"Userfold is ready at {address}")

        if workers == 1:
            work(ready)
        else:
            # What is not listened at here either is refused at once; else it would wait for processes that are gone.
            run_workers(workers, work, ready, listener.close)


def own_address(settings: Settings, address: str) -> str:
    """How clients reach the server, where nobody said it: at `address`, which it listens at.

    It is not taken from a request, although a proxy tells what its client asked for: one image would have one address
    for browsers and another for backends that do not pass the proxy.
    """
    host, colon, port = address.removeprefix("http://").rpartition(":")
    everywhere = host in ("0.0.0.0", "[::]")  # noqa: S104 - compared, not listened at
    reached = f"http://localhost{colon}{port}" if everywhere else address
    if everywhere or settings.trusted_proxies:
        log.warning(
            "USERFOLD_PUBLIC_URL is not set: addresses that are handed out, such as those of images, begin with %s, "
            "where clients elsewhere find nothing",
            reached,
        )
    return reached


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(
    settings: Settings, listener: socket.socket, address: str, say: TextIO, ready: Callable[[], None]
) -> None:
    store = open_store(settings)
    try:
        app = await build_app(
            store,
            images=images_in(settings.images),
            encryption=open_encryption(settings, make=True),
            public_url=settings.public_url or own_address(settings, address),
            trusted_proxies=settings.trusted_proxies,
            access_log=settings.access_log,
            clerk_webhook_secret=settings.clerk_webhook_secret,
        )
    except BaseException:
        await store.close()
        raise
    try:
        await _make_sure_of_a_project(app, settings, say)
        await _warn_about_unknown_key(app, settings)
        await _say_who_is_believed(store)
        await _warn_about_clock(store, app.service.engine.now())
        gc.collect()
        gc.freeze()  # what was made at the start lives as long as the process: the collector need not walk it
        gc.set_threshold(*GC_THRESHOLDS)
        service = app.service
        sweeping = asyncio.create_task(Sweeper(service.engine, store, service.directory, service.images).run())
        try:
            await _Server(app, ready=ready).serve([listener])
        finally:
            sweeping.cancel()
    finally:
        await app.close()
        log.info("stopped")


async def _make_sure_of_a_project(app: App, settings: Settings, say: TextIO) -> None:
    """Make the first project, if nobody has; of several processes that start at once, one does."""
    store, engine = app.service.store, app.service.engine
    while not await store.list("project"):
        if not await store.lease("first start", ms=FIRST_START_MS_MAX):
            await asyncio.sleep(FIRST_START_LOOK_S)
        elif not await store.list("project"):
            keys = first_keys(settings, engine.now())
            if keys.made:
                _hand_over(keys, settings.data, say)  # first: a project whose keys nobody has would be of no use
            await make_first_project(engine, keys)


class _Server(uvicorn.Server):
    """uvicorn, but it says when it answers, and a signal that it obeyed does not become its exit status."""

    def __init__(self, app: App, *, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            proxy_headers=False,  # nobody is believed about X-Forwarded-* unless an operator says so
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: signal.Signals) -> None:
        log.info("%s: answering what is in flight, then stopping", number.name)
        self.handle_exit(number, None)  # a second SIGINT does not wait


def _check_webhook_secret(settings: Settings) -> None:
    if settings.clerk_webhook_secret is None:
        return
    try:
        signing_key(settings.clerk_webhook_secret)
    except ValueError as error:
        raise CannotStart(f"USERFOLD_CLERK_WEBHOOK_SECRET is not usable: {error}") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds users and keys
    except OSError as error:
        raise CannotStart(f"cannot make the data folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(
            f"cannot write to the data folder {folder}: check its owner, its mode, and whether its disk is read-only"
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise CannotStart(f"cannot listen at {host} port {port}: {error.strerror}; another --port?") from error
    listener.set_inheritable(True)
    return listener


def _hand_over(keys: FirstKeys, folder: Path, say: TextIO) -> None:
    """Show the first keys to a person, or leave them in a file: a log is no place for a secret."""
    if say.isatty():
        _print(say, "The first project was made. Keep its keys; the secret one is not shown again:\n")
        _print(say, keys.as_environment())
    else:
        try:
            path = write_keys_file(folder, keys)
        except OSError as error:
            raise CannotStart(f"cannot write the first keys to {folder / KEYS_FILE}: {error.strerror}") from error
        _print(say, f"The first project was made; its keys are in {path}")


async def _warn_about_unknown_key(app: App, settings: Settings) -> None:
    given = settings.secret_key
    if given is not None and await app.service.directory.caller(given) is None:
        log.warning("USERFOLD_SECRET_KEY is not a key of this database; it is used only when the first project is made")


async def _say_who_is_believed(store: Store) -> None:
    for project in await store.list("project"):
        if isinstance(project, Project) and project.settings.browser_identity == "open":
            log.info(
                "project %s takes browsers at their word about who their user is (browser_identity: open)", project.id
            )


async def _warn_about_clock(store: Store, now: int) -> None:
    behind = await newest_change(store) - now
    if behind > CLOCK_BEHIND_MS_MAX:
        log.warning("this machine's clock is %.1f s behind the newest change in the store: is it right?", behind / 1000)


def _print(say: TextIO, line: str) -> None:
    say.write(line + "\n")
    say.flush()
