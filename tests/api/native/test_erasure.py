"""Deleting a user, from the request to the bytes in the database file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.browser import Browser, in_browser
from tests.contract.samples import change_presence
from tests.server import InProcess, in_process
from userfold.app import App
from userfold.core.claims import DAY_MS
from userfold.core.presence import presence_key, touched
from userfold.core.records import Context, Key, Presence, Tombstone
from userfold.directory import Directory
from userfold.engine import Engine
from userfold.storage.sqlite.store import SQLiteStore
from userfold.sweeps import Sweeper

NOW = 1_800_000_000_000
EMAIL = "somebody.to.forget@secret.example"
PHONE = "+442079460958"
# All of these are of nobody else, in whatever form they are stored.
WORDS = (
    EMAIL,
    "to.forget",
    PHONE,
    "Forgettable",
    "u-secret-1",
    "a-secret-plan",
    "secret-agent/1.0",
    "secret order",
    "2001:db8::dead",
)
# Those of where it was seen last, which nothing but its presence holds.
PLACES = ("secret-agent/2.0", "xx-secret", "Secret/Zone", "https://secret.example/entry")


class Clock:
    """The time, which a test sets."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def browser(tmp_path: Path, runner: asyncio.Runner, clock: Clock) -> Iterator[Browser]:
    """The application over SQLite, with a clock that can be set, and a browser that calls it."""
    store = SQLiteStore(tmp_path / "userfold.db")
    with in_process(runner, store) as api:
        engine = Engine(api.store, clock_ms=clock)
        api.app = App(msgspec.structs.replace(api.app.service, engine=engine))
        yield in_browser(api)
        runner.run(engine.close())
    runner.run(store.close())


def a_whole_user(api: InProcess) -> dict[str, Any]:
    """Everything that can be held about somebody, said in several requests with idempotency keys."""
    document = {"external_id": "u-secret-1", "email_addresses": [EMAIL], "phone_numbers": [PHONE]}
    headers = {"idempotency-key": "k-1"}
    user = api.ask("POST", "/v1/users", document | {"last_name": "Forgettable"}, headers=headers).json()
    path = f"/v1/users/{user['id']}"
    for number in range(3):
        plan = {"traits": {"plan": f"a-secret-plan {number}"}, "contact_email": EMAIL}
        assert api.ask("PATCH", path, plan, headers={"idempotency-key": f"k-2-{number}"}).status_code == 200
    assert (
        api.ask(
            "POST", f"{path}/sessions", {"user_agent": "secret-agent/1.0", "ip_address": "2001:db8::dead"}
        ).status_code
        == 201
    )
    event = {"name": "secret order", "properties": {"email": EMAIL}}
    assert api.ask("POST", f"{path}/events", event, headers={"idempotency-key": "k-3"}).status_code == 201
    password = {
        "password": "correct horse battery",
        "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "backup_codes": ["my-own-code"],
    }
    assert api.ask("PATCH", f"/clerk/v1/users/{user['id']}", password).status_code == 200
    return dict(user)


def see(api: InProcess, user_id: str) -> None:
    """Put a presence with a whole context over the one that the sign-in made."""
    key = presence_key(api.keys.project_id, user_id)
    before = api.wait_for(api.store.get((key,)))[key]
    assert isinstance(before, Presence)
    agent, language, zone, url = PLACES
    where = Context(user_agent=agent, browser_language=language, timezone=zone, entry_url=url)
    api.wait_for(change_presence(api.store, before, touched(before, NOW, where), api.keys.project_id))


def left_in(folder: Path) -> list[str]:
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    return [word for word in (*WORDS, *PLACES) if word.encode() in content]


def sweep(browser: Browser) -> None:
    service = browser.api.app.service
    sweeper = Sweeper(service.engine, service.store, Directory(service.store), service.images)
    browser.api.wait_for(sweeper.sweep())


def test_nothing_of_a_deleted_user_is_left_in_the_file(
    browser: Browser, tmp_path: Path, runner: asyncio.Runner
) -> None:
    api = browser.api
    user = a_whole_user(api)
    other = api.user(name="Somebody else")
    browser.identify("u-secret-1", session=browser.session(), traits={"plan": "a-secret-plan of a browser"})
    see(api, user["id"])
    assert left_in(tmp_path) == [*WORDS, *PLACES]
    deletion = api.ask("DELETE", f"/v1/users/{user['id']}", headers={"idempotency-key": "k-4"})
    assert deletion.status_code == 204
    sweep(browser)
    for path in ("", "/history", "/events", "/sessions", "/export", "?version=1"):
        assert api.ask("GET", f"/v1/users/{user['id']}{path}").status_code == 404
    key = Key("tombstone", api.keys.project_id, user["id"])
    tombstone = runner.run(api.store.get((key,)))[key]
    assert isinstance(tombstone, Tombstone)
    assert (tombstone.at, tombstone.actor) == (NOW, api.keys.secret_id)
    assert api.read(other["id"]) == other
    runner.run(api.store.inner.close())  # the log is copied back and cut off, as at any stop
    assert left_in(tmp_path) == []


def test_the_idempotent_answers_of_a_deleted_user_are_gone(browser: Browser) -> None:
    """The same request with the same key is done anew, and what it answers is not from the grave."""
    document, headers = {"name": "Ada"}, {"idempotency-key": "k"}
    first = browser.api.ask("POST", "/v1/users", document, headers=headers).json()
    browser.api.ask("DELETE", f"/v1/users/{first['id']}")
    again = browser.api.ask("POST", "/v1/users", document, headers=headers).json()
    assert again["id"] != first["id"]


def test_a_browser_cannot_make_a_deleted_user_again_for_30_days_and_a_backend_can(
    browser: Browser, clock: Clock
) -> None:
    for external_id in ("u-1", "u-2"):
        user = browser.api.user(external_id=external_id)
        browser.api.ask("DELETE", f"/v1/users/{user['id']}")
    clock.now = NOW + 30 * DAY_MS - 1
    refused = browser.identify("u-1")
    assert (refused.status_code, refused.json()["code"]) == (409, "user_deleted")
    backends = browser.api.ask("PUT", "/v1/users/by-external-id/u-2", {})
    assert backends.status_code == 201
    assert browser.identify("u-2", traits={"a": 1}).status_code == 200
    clock.now = NOW + 30 * DAY_MS
    assert browser.identify("u-1").status_code == 201
