"""The one place that chooses a store and mounts everything. Read this file first.

request → App (by the first part of the path) → an API's routes.py → its handlers.py → Engine → Store
"""

from __future__ import annotations

from collections.abc import Sequence

from userfold import __version__, metrics
from userfold.api import bodies, wire
from userfold.api.clerk import errors as clerk_errors
from userfold.api.clerk import routes as clerk
from userfold.api.clerk import wire as clerk_wire
from userfold.api.milana import errors as milana_errors
from userfold.api.milana import routes as milana
from userfold.api.milana import wire as milana_wire
from userfold.api.native import errors as native_errors
from userfold.api.native import pages as native_pages
from userfold.api.native import routes as native
from userfold.clock import clock_ms
from userfold.core.image_names import content_type_of_image, is_image_name
from userfold.directory import Directory
from userfold.encryption import Encryption
from userfold.engine import Engine, Stopping
from userfold.forwarded import Network, is_local
from userfold.images import Images
from userfold.storage.port import Store

WEBHOOKS_PATH = clerk.WEBHOOKS_PREFIX + clerk.WEBHOOKS_PATH
DEFAULT_IMAGE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="#d5dae1"/>'
    b'<circle cx="32" cy="25" r="11" fill="#fff"/><path d="M10 60a22 20 0 0 1 44 0z" fill="#fff"/></svg>'
)


class App:
    """The ASGI application: hands each request to the API whose mount its path begins with."""

    def __init__(self, service: wire.Service) -> None:
        self.service = service
        self._collected = metrics.Metrics()
        operations = wire.Api(
            "operations",
            prefix="",
            routes=(*OPERATIONS, wire.Route("GET", "/metrics", self._metrics)),
            error_reply=native_errors.error_reply,
            service=service,
            callers=None,
        )
        self._mounts: dict[str, wire.App] = {
            "v1": wire.Api(
                "native",
                prefix=native.PREFIX,
                routes=native.ROUTES,
                error_reply=native_errors.error_reply,
                service=service,
                callers=wire.SECRET_KEYS,
            ),
            "clerk": wire.Api(
                "clerk",
                prefix=clerk.PREFIX,
                routes=clerk.ROUTES,
                error_reply=clerk_errors.error_reply,
                service=service,
                callers=wire.SECRET_KEYS,
                check_request=clerk_wire.check_version,
            ),
            "milana": wire.Api(
                "milana",
                prefix=milana.PREFIX,
                routes=milana.MOUNTED,
                error_reply=milana_errors.error_reply,
                service=service,
                callers=milana_wire.CLIENTS,
                check_request=milana_wire.check_request,
                cross_origin=True,
            ),
        }
        # Who calls is told by the body, so it is no part of an API whose callers show a key.
        self._webhooks = wire.Api(
            "webhooks",
            prefix=clerk.WEBHOOKS_PREFIX,
            routes=clerk.webhook_routes(),
            error_reply=clerk_errors.error_reply,
            service=service,
            callers=None,
        )
        self._default: wire.App = operations

    async def __call__(self, scope: wire.Scope, receive: bodies.Receive, send: wire.Send) -> None:
        assert scope["type"] == "http", "the server is started without lifespan and websockets"
        path: str = scope["path"]
        mounted = self._mounts.get(path.partition("/")[2].partition("/")[0], self._default)
        await (self._webhooks if path == WEBHOOKS_PATH else mounted)(scope, receive, send)

    async def _metrics(self, service: wire.Service, request: wire.Request) -> wire.Reply:
        """What was counted, for a program on this machine or a caller with a secret key."""
        if not is_local(request.peer, request.headers, request.header(b"host")):
            await wire.authenticate(service.directory, wire.SECRET_KEYS, request.headers)
        request.query(())
        mounted = (*self._mounts.values(), self._webhooks, self._default)
        apis = [one for one in mounted if isinstance(one, wire.Api)]
        return wire.Reply(200, self._collected.render(service, apis), ((b"content-type", metrics.CONTENT_TYPE),))

    async def close(self) -> None:
        """Answer what is waiting, then let go of the store."""
        await self.service.engine.close()
        self.service.large_bodies.close()
        self.service.passwords.close()
        self.service.images.close()
        await self.service.store.close()


async def build_app(
    store: Store,
    *,
    images: Images,
    encryption: Encryption,
    public_url: str,
    trusted_proxies: tuple[Network, ...] = (),
    access_log: bool = False,
    clerk_webhook_secret: str | None = None,
) -> App:
    """The application over a store, which is migrated first. Raises a `StoreError`."""
    await store.migrate()
    service = wire.Service(
        engine=Engine(store, clock_ms=clock_ms),
        store=store,
        images=images,
        encryption=encryption,
        directory=Directory(store, decrypt=encryption.decrypt, webhook_secret=clerk_webhook_secret),
        public_url=public_url,
        trusted_proxies=trusted_proxies,
        access_log=access_log,
    )
    return App(service)


async def _root(service: wire.Service, request: wire.Request) -> wire.Reply:
    about = {
        "name": "Userfold",
        "version": __version__,
        "apis": [native.PREFIX, clerk.PREFIX, milana.PREFIX],
        "docs": "/docs",
    }
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


async def _image(service: wire.Service, request: wire.Request) -> wire.Reply:
    """Bytes of this name never change, so nobody need ask for them twice."""
    name = "/".join(request.params.values())
    content = await service.images.get(name) if is_image_name(name) else None
    if content is None:
        raise wire.PathUnknown
    headers = (
        (b"content-type", content_type_of_image(name).encode()),
        (b"cache-control", b"public, max-age=31536000, immutable"),
        (b"x-content-type-options", b"nosniff"),
    )
    return wire.Reply(200, content, headers)


OPERATIONS: Sequence[wire.Route] = (
    wire.Route("GET", "/", _root),
    wire.Route("GET", "/healthz", _healthz),
    wire.Route("GET", "/readyz", _readyz),
    wire.Route("GET", "/images/default.svg", _default_image),
    wire.Route("GET", "/images/{user_id}/{file}", _image),
    *native_pages.ROUTES,
)
