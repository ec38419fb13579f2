"""When users were last there, as Clerk's SDKs show it, filter by it and order by it. Over every store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.server import InProcess, in_process
from userfold.core.claims import DAY_MS
from userfold.storage.port import Store

NOON = 1_800_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
# When they signed in. Grace was active once more, a day later; Alan never was.
GRACE, ADA = NOON, NOON + 1_000
LATER = NOON + DAY_MS


class Clock:
    """Time as a test says it is."""

    now = NOON - 10

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def api(store: Store, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The application over a store, with users who were there at these times."""
    clock = Clock()
    monkeypatch.setattr("userfold.app.clock_ms", clock)
    with in_process(runner, store) as api:
        for external_id in ("ada", "grace", "alan"):
            api.user(external_id=external_id)
            clock.now += 1
        clock.now = GRACE
        token = api.ask("POST", f"/v1/users/{id_of(api, 'grace')}/sessions", {"ip_address": "192.0.2.1"}).json()[
            "token"
        ]
        clock.now = ADA
        assert api.ask("POST", "/clerk/v1/sessions", {"user_id": id_of(api, "ada")}).status_code == 200
        clock.now = LATER
        assert api.ask("POST", "/v1/sessions/verify", {"token": token}).json()["active"] is True
        runner.run(api.app.service.engine.close())  # that somebody was active is noted after the answer
        yield api


def id_of(api: InProcess, external_id: str) -> str:
    (user,) = api.ask("GET", f"/v1/users?external_id={external_id}").json()["data"]
    return str(user["id"])


def listed(api: InProcess, query: str) -> str:
    """Who is found, in this order."""
    reply = api.ask("GET", f"/clerk/v1/users?{query}")
    assert reply.status_code == 200, reply.text
    return " ".join(user["external_id"] for user in reply.json())


# Query → who is found, the newest user first.
FOUND = [
    (f"last_sign_in_at_after={GRACE}", "ada"),
    (f"last_sign_in_at_after={GRACE - 1}&last_sign_in_at_before={ADA}", "grace"),
    (f"last_sign_in_at_before={GRACE}", ""),
    ("last_sign_in_at_after=0", "grace ada"),
    (f"last_sign_in_at_before={LATER}", "grace ada"),
    (f"last_active_at_after={ADA}", "grace"),
    (f"last_active_at_after={ADA - 1}", "grace ada"),
    (f"last_active_at_before={LATER}", "ada"),
    (f"last_active_at_since={ADA}", "grace"),
    (f"last_active_at_since=0&last_active_at_after={ADA}", "grace"),
    (f"last_active_at_after={ADA}&last_active_at_since=0", "grace"),
    (f"last_active_at_after=0&last_sign_in_at_after={GRACE}&created_at_before={NOON}", "ada"),
    ("last_active_at_before=999999999999999999", "grace ada"),
]


@pytest.mark.parametrize(("query", "who"), FOUND)
def test_users_are_found_by_when_they_were_last_there(api: InProcess, query: str, who: str) -> None:
    assert listed(api, query) == who
    assert api.ask("GET", f"/clerk/v1/users/count?{query}").json()["total_count"] == len(who.split())


ORDERED = [
    ("order_by=last_active_at", "alan ada grace"),
    ("order_by=-last_active_at", "grace ada alan"),
    ("order_by=%2Blast_sign_in_at", "alan grace ada"),
    ("order_by=-last_sign_in_at&limit=1", "ada"),
    ("order_by=-last_sign_in_at&offset=1", "grace alan"),
    ("order_by=-last_active_at&last_sign_in_at_after=0", "grace ada"),
]


@pytest.mark.parametrize(("query", "who"), ORDERED)
def test_users_are_ordered_by_when_they_were_last_there(api: InProcess, query: str, who: str) -> None:
    assert listed(api, query) == who


def test_a_user_tells_when_it_signed_in_and_on_which_day_it_was_active(api: InProcess) -> None:
    shown = {user["external_id"]: user for user in api.ask("GET", "/clerk/v1/users").json()}
    assert {name: user["last_sign_in_at"] for name, user in shown.items()} == {"ada": ADA, "grace": GRACE, "alan": None}
    today = NOON - DAY_MS // 2
    assert {name: user["last_active_at"] for name, user in shown.items()} == {
        "ada": today,
        "grace": today + DAY_MS,
        "alan": None,
    }
    assert api.ask("GET", f"/clerk/v1/users/{shown['grace']['id']}").json() == shown["grace"]


def test_an_update_answers_with_it_too(store: Store, runner: asyncio.Runner) -> None:
    with in_process(runner, store) as api:
        user = api.user()
        session = api.ask("POST", "/clerk/v1/sessions", {"user_id": user["id"]}).json()
        path = f"/clerk/v1/users/{user['id']}"
        updated = api.ask("PATCH", f"{path}/metadata", {"public_metadata": {"a": 1}}).json()
        assert updated["last_sign_in_at"] == session["created_at"]
        assert api.ask("POST", f"{path}/lock").json()["last_active_at"] == updated["last_active_at"] is not None
        (banned,) = api.ask("POST", "/clerk/v1/users/ban", {"user_ids": [user["id"]]}).json()
        assert banned["last_sign_in_at"] == session["created_at"]
