"""The one place that chooses a store and mounts everything. Read this file first.

request → App (by the first part of the path) → an API's routes.py → its handlers.py → Engine → Store
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from userfold import __version__
from userfold.api import wire
from userfold.api.clerk import errors as clerk_errors
from userfold.api.clerk import routes as clerk
from userfold.api.clerk import wire as clerk_wire
from userfold.api.native import errors as native_errors
from userfold.api.native import routes as native
from userfold.directory import Directory
from userfold.engine import Engine, Stopping
from userfold.storage.port import Store

DEFAULT_IMAGE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="#d5dae1"/>'
    b'<circle cx="32" cy="25" r="11" fill="#fff"/><path d="M10 60a22 20 0 0 1 44 0z" fill="#fff"/></svg>'
)


def clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class App:
    """The ASGI application: hands each request to the API whose mount its path begins with."""

    def __init__(self, service: wire.Service) -> None:
        self.service = service
        operations = wire.Api(
            "operations",
            prefix="",
            routes=OPERATIONS,
            error_reply=native_errors.error_reply,
            service=service,
            open_to_all=True,
        )
        self._mounts: dict[str, wire.App] = {
            "v1": wire.Api(
                "native",
                prefix=native.PREFIX,
                routes=native.ROUTES,
                error_reply=native_errors.error_reply,
                service=service,
            ),
            "clerk": wire.Api(
                "clerk",
                prefix=clerk.PREFIX,
                routes=clerk.ROUTES,
                error_reply=clerk_errors.error_reply,
                service=service,
                check_request=clerk_wire.check_version,
            ),
        }
        self._default: wire.App = operations

    async def __call__(self, scope: wire.Scope, receive: wire.Receive, send: wire.Send) -> None:
        assert scope["type"] == "http", "the server is started without lifespan and websockets"
        mount = scope["path"].partition("/")[2].partition("/")[0]
        await self._mounts.get(mount, self._default)(scope, receive, send)

    async def close(self) -> None:
        """Answer what is waiting, then let go of the store."""
        await self.service.engine.close()
        self.service.passwords.close()
        await self.service.store.close()


async def build_app(store: Store, *, public_url: str) -> App:
    """The application over a store, which is migrated first. Raises a `StoreError`."""
    await store.migrate()
    engine = Engine(store, clock_ms=clock_ms)
    directory = Directory(store)
    return App(wire.Service(engine=engine, store=store, directory=directory, public_url=public_url))


async def _root(service: wire.Service, request: wire.Request) -> wire.Reply:
    about = {"name": "Userfold", "version": __version__, "apis": [native.PREFIX, clerk.PREFIX]}
    return wire.json_reply(200, about)


async def _healthz(service: wire.Service, request: wire.Request) -> wire.Reply:
    """The process answers. Says nothing about the store: a restart would not mend that."""
    return wire.json_reply(200, {"status": "ok"})


async def _readyz(service: wire.Service, request: wire.Request) -> wire.Reply:
    """Requests can be served: the store answers, and the server is not stopping."""
    if service.engine.stopping:
        raise Stopping
    await service.store.list("project")
    return wire.json_reply(200, {"status": "ready"})


async def _default_image(service: wire.Service, request: wire.Request) -> wire.Reply:
    headers = (
        (b"content-type", b"image/svg+xml"),
        (b"cache-control", b"public, max-age=86400"),
        (b"x-content-type-options", b"nosniff"),
    )
    return wire.Reply(200, DEFAULT_IMAGE, headers)


OPERATIONS: Sequence[wire.Route] = (
    wire.Route("GET", "/", _root),
    wire.Route("GET", "/healthz", _healthz),
    wire.Route("GET", "/readyz", _readyz),
    wire.Route("GET", "/images/default.svg", _default_image),
)
