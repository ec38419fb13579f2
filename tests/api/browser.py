"""An API for tests that browsers may call: a small route table behind a publishable key, over the real dispatcher.

It shows what only browsers can meet, such as rate limits and refusals like `user_deleted`, through HTTP and without any
vendor's protocol. `browser` (conftest.py) is a `Browser` over each store in turn.

    browser.identify("u-1", traits={"plan": "pro"}, session=browser.session())
    browser.api.ask("DELETE", …)    what the app's backend does meanwhile, with its secret key
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from tests.server import InProcess
from userfold.api import wire
from userfold.api.native.errors import error_reply
from userfold.api.native.handlers import read_user_record
from userfold.app import App
from userfold.core.applied import Applied
from userfold.core.commands import Edit, StartSession, UpdateUser, UpsertUser
from userfold.core.records import Session
from userfold.rate_limits import RateLimits

SOURCE = "client"
PREFIX = "/browser"


async def start_session(service: wire.Service, request: wire.Request) -> wire.Reply:
    """201 with a session that belongs to nobody yet."""
    command = StartSession(project_id=request.project_id, author=request.author(SOURCE))
    applied = await service.run(request, command)
    assert isinstance(applied.record, Session)
    return wire.json_reply(201, {"id": applied.record.id})


async def identify(service: wire.Service, request: wire.Request) -> wire.Reply:
    """Merge into the user of that external_id, or make it, from `?session=`; 200 or 201 with the user.

    The header `Identity-Token` proves who the user is.
    """
    command = UpsertUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        external_id=request.params["external_id"],
        edits=(Edit("merge_patch", request.json_object()),),
        session_id=request.query({"session"}).get("session"),
        evidence=service.evidence(request, request.header(b"identity-token")),
    )
    return _user_reply(await service.run(request, command))


async def update(service: wire.Service, request: wire.Request) -> wire.Reply:
    """Merge into the user of that id, who must exist."""
    command = UpdateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        edits=(Edit("merge_patch", request.json_object()),),
    )
    return _user_reply(await service.run(request, command))


def _user_reply(applied: Applied) -> wire.Reply:
    assert applied.user is not None
    body = {"user": applied.user, "ignored": {ignored.path: ignored.code for ignored in applied.ignored}}
    return wire.json_reply(201 if applied.created else 200, body)


async def batch(service: wire.Service, request: wire.Request) -> wire.Reply:
    """200 whether there is room or not, as a client needs it that would send again and again; says if it dropped."""
    assert request.caller is not None
    dropped = service.draw("writes", request.caller, request.address) > 0
    return wire.json_reply(200, {"dropped": dropped})


async def read(service: wire.Service, request: wire.Request) -> wire.Reply:
    """The user whom the path names."""
    return wire.json_reply(200, await read_user_record(service, request))


ROUTES = (
    wire.Route("POST", "/sessions", start_session, draws="new_sessions"),
    wire.Route("PUT", "/users/by-external-id/{external_id}", identify, draws="writes"),
    wire.Route("PATCH", "/users/{id}", update, draws="writes"),
    wire.Route("GET", "/users/{id}", read),
    wire.Route("POST", "/batch", batch),
)


class Clock:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Browser:
    """A browser that has the publishable key of the project of `api`, and asks from `address`."""

    api: InProcess
    clock: Clock
    address: str = "192.0.2.1"

    def ask(
        self, method: str, path: str, document: Any = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """The reply to a request below `PREFIX`."""
        key = self.api.keys.publishable if key is None else key
        return self.api.ask(method, PREFIX + path, document, key=key, address=self.address, headers=headers)

    def session(self) -> str:
        """The id of a new session."""
        reply = self.ask("POST", "/sessions")
        assert reply.status_code == 201, reply.text
        session_id: str = reply.json()["id"]
        return session_id

    def identify(
        self, external_id: str, *, session: str | None = None, token: str | None = None, **document: Any
    ) -> httpx.Response:
        """The reply to a call that names a user and says something about it, with a `token` as proof."""
        query = "" if session is None else f"?session={session}"
        proof = {} if token is None else {"identity-token": token}
        return self.ask("PUT", f"/users/by-external-id/{external_id}{query}", document, **proof)

    def limit(self, **settings: Any) -> None:
        """Change the project's settings, as its backend would."""
        reply = self.api.ask("PATCH", "/v1/project", {"settings": settings})
        assert reply.status_code == 200, reply.text


def in_browser(api: InProcess) -> Browser:
    """A browser that calls the application `api`, which from now on has the test API and a clock for rate limits."""
    clock = Clock()
    service = msgspec.structs.replace(api.app.service, rate_limits=RateLimits(monotonic=clock))
    api.app = App(service)
    api.app._mounts[PREFIX.strip("/")] = wire.Api(
        "browser",
        prefix=PREFIX,
        routes=ROUTES,
        error_reply=error_reply,
        service=service,
        callers=wire.PUBLISHABLE_KEYS,
    )
    return Browser(api, clock)
