"""A page that has Milana's SDK, as far as its requests go: a browser's, sent to the application in this process."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.server import InProcess
from userfold.core.records import Key, Project

ORIGIN = "http://127.0.0.1:35755"
HEADERS = {
    "X-Milana-Protocol-Version": "1",
    "X-Milana-Client-Version": "1.0.16",
    "X-Milana-Time-Zone": "UTC",
    "X-Milana-Locale": "en-US",
    "X-Milana-Client-Git-Hash": "unknown",
    "X-Milana-Caller-Type": "core",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "Content-Type": "application/json",
    "Origin": ORIGIN,
}


@dataclass
class Page:
    """Asks as the SDK does, once it has a session with that session's id."""

    api: InProcess
    product_id: str
    session_id: str = ""
    address: str = "192.0.2.1"
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, path: str, body: Any = None, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The reply to a POST."""
        sent = HEADERS | {"X-Milana-Product-Id": self.product_id, "X-Milana-Client-Key": self.api.keys.publishable}
        sent |= {"X-Milana-Session-Id": self.session_id} if self.session_id else {}
        content = json.dumps(body).encode() if content is None else content
        url = f"http://userfold.test/milana{path}"
        request = httpx.Request("POST", url, headers={**sent, **self.headers, **(headers or {})}, content=content)
        return self.api.send(request, address=self.address)

    def init(self, **body: Any) -> dict[str, Any]:
        """`init`, and a reload; what the SDK was answered."""
        reply = self.ask("/session", {"environment": "test", "version": "9.9.9", **body})
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        self.session_id = answer["sessionId"]
        return answer

    def update(self, user: Any = None, session: Any = None, **more: Any) -> dict[str, Any]:
        """What the SDK was answered to an update of what is given."""
        body = {"user": user, "session": session}
        answer: dict[str, Any] = self.ask("/update", {k: v for k, v in body.items() if v is not None} | more).json()
        return answer

    def record(self, *events: Any, gzipped: bool = False, **more: Any) -> dict[str, Any]:
        """What the SDK was answered to a batch of these events."""
        text = json.dumps({"version": 1, "batchStartedAt": 1, **more, "events": events}).encode()
        headers = {"Content-Encoding": "gzip"} if gzipped else {}
        reply = self.ask("/batch", content=gzip.compress(text) if gzipped else text, headers=headers)
        assert reply.status_code == 200
        answer: dict[str, Any] = reply.json()
        return answer

    @property
    def dropped(self) -> dict[str, Any]:
        """What the SDK is told of a batch of which nothing is kept."""
        return {"success": True, "sampled": True, "sessionId": self.session_id, "shouldRestartSession": False}

    def session(self) -> dict[str, Any]:
        """The session, as the native API shows it."""
        reply = self.api.ask("GET", f"/v1/sessions/{self.session_id}")
        assert reply.status_code == 200, reply.text
        session: dict[str, Any] = reply.json()
        return session

    def users(self, external_id: str) -> list[dict[str, Any]]:
        """Whoever has this userId: one, or nobody."""
        users: list[dict[str, Any]] = self.api.ask("GET", f"/v1/users?external_id={external_id}").json()["data"]
        return users

    def user(self, external_id: str) -> dict[str, Any]:
        """The user of this userId."""
        (user,) = self.users(external_id)
        return user

    def events(self, external_id: str) -> list[dict[str, Any]]:
        """The events of the user of this userId, the earliest first."""
        path = f"/v1/users/{self.user(external_id)['id']}/events?order_by=created_at&limit=500"
        events: list[dict[str, Any]] = self.api.ask("GET", path).json()["data"]
        return events


def page_of(api: InProcess) -> Page:
    """A page of the project of `api`."""
    key = Key("project", api.keys.project_id, api.keys.project_id)
    project = api.wait_for(api.store.get((key,)))[key]
    assert isinstance(project, Project)
    return Page(api, project.product_id)


def tracked(name: str, at: int, **attributes: Any) -> dict[str, Any]:
    """What `trackEvent` puts into a batch."""
    payload = {"type": 1, "name": name, "attributes": attributes}
    return {"type": 5, "data": {"tag": "V", "payload": payload}, "timestamp": at}
