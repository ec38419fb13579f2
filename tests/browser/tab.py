"""A tab of a browser with the unmodified `milana-js` in it, and what the app's backend sees meanwhile."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page, Request

from tests.browser.site import ESBUILD, NODE_FOLDER, Site, bundle
from tests.server import BOUND_S, Server, read_keys, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INFO = {"environment": "test", "version": "9.9.9"}


def missing() -> str | None:
    """Why there can be no browser here."""
    if chromium_path() is None:
        return "there is no Chromium (CHROMIUM may name one)"
    if shutil.which("node") is None:
        return "there is no Node.js"
    if not (ESBUILD.exists() and (NODE_FOLDER / "node_modules" / "milana-js").is_dir()):
        return f"milana-js and esbuild are not installed in {NODE_FOLDER} (make test does that)"
    return None


def chromium_path() -> str | None:
    """The browser of this machine. Playwright's own is not asked for: it would have to be downloaded."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@functools.cache
def sdk() -> bytes:
    """The SDK as a script that leaves its functions in `milana`."""
    return bundle('import * as milana from "milana-js"; window.milana = milana;')


PAGE = '<!doctype html><title>Shop</title><script src="sdk.js"></script><button>Buy</button>'


@dataclass
class Backend:
    """A server, and what the native API says there."""

    server: Server
    client: httpx.Client

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        return read_keys(self.server.data)

    @property
    def endpoint(self) -> str:
        return f"{self.server.url}/milana"

    def set(self, **settings: Any) -> None:
        """Change the project's settings."""
        reply = self.client.patch("/v1/project", json={"settings": settings})
        assert reply.status_code == 200, reply.text

    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("/v1/users")["data"]
        return found

    def user(self, external_id: str) -> dict[str, Any]:
        """The user whom the app calls so, who must be there."""
        (user,) = self._get("/v1/users", external_id=external_id)["data"]
        assert isinstance(user, dict)
        return user

    def history(self, external_id: str) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = self._get(f"/v1/users/{self.user(external_id)['id']}/history")["data"]
        return changes

    def session(self, session_id: str) -> dict[str, Any]:
        session: dict[str, Any] = self._get(f"/v1/sessions/{session_id}")
        return session

    def events(self, external_id: str) -> list[dict[str, Any]]:
        """What the user did, in the order in which it happened."""
        found = self._get(f"/v1/users/{self.user(external_id)['id']}/events", order_by="created_at")["data"]
        return sorted(found, key=lambda event: event["occurred_at"])

    def events_named(self, external_id: str, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events(external_id) if event["name"] == name]

    def wait_for_event(self, external_id: str, name: str) -> dict[str, Any]:
        """An event, once it is there: a page that goes away does not wait for the answer to what it sends."""
        wait_until(lambda: bool(self.events_named(external_id, name)), f"an event {name} of {external_id}")
        return self.events_named(external_id, name)[0]

    def _get(self, path: str, **query: str) -> Any:
        reply = self.client.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()


@dataclass
class Tab:
    """A page of the app. Whatever its script does wrong, and whatever the policy of the app forbids, fails the test."""

    page: Page
    site: Site
    backend: Backend
    sent: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, name: str = "shop.html?utm_source=mail&token=s3cret#top", *, page: str = PAGE) -> None:
        """Go to a page that has the SDK."""
        self.site.put("sdk.js", sdk())
        self.page.goto(self.site.put(name.partition("?")[0], page).replace(name.partition("?")[0], name))

    def init(self, *, endpoint: str | None = None, **info: Any) -> Any:
        """What `init` comes to."""
        keys = self.backend.keys
        options = {"endpoint": endpoint or self.backend.endpoint}
        return self.call("init", keys["USERFOLD_PRODUCT_ID"], keys["USERFOLD_PUBLISHABLE_KEY"], INFO | info, options)

    def call(self, name: str, *arguments: Any) -> Any:
        """What a function of the SDK comes to."""
        return self.page.evaluate("([name, given]) => milana[name](...given)", [name, list(arguments)])

    def session_id(self) -> str | None:
        """The session that the SDK believes to be in."""
        found: str | None = self.page.evaluate("sessionStorage.getItem('sessionId')")
        return found

    def wait_until_it_records(self) -> None:
        """The SDK begins when the page is idle; what was tracked before is lost. Idle callbacks run in their order."""
        self.page.evaluate("new Promise((done) => requestIdleCallback(() => requestIdleCallback(done)))")

    def leave(self) -> None:
        """Go to another page, which says nothing of what is left."""
        self.page.goto("about:blank")

    def sent_to(self, path: str) -> list[Any]:
        """The bodies of what was sent there, as JSON."""
        return [request.post_data_json for request in self.sent if request.url == self.backend.endpoint + path]


def new_tab(context: BrowserContext, site: Site, backend: Backend) -> Tab:
    """A tab that remembers what it sent and what went wrong."""
    page = context.new_page()
    page.set_default_timeout(BOUND_S * 1000)
    tab = Tab(page, site, backend)
    page.on("pageerror", lambda error: tab.errors.append(str(error)))
    page.on("console", lambda said: tab.errors.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda request: tab.sent.append(request) if request.method == "POST" else None)
    return tab
