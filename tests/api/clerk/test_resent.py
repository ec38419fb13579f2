"""Creations that are sent again, as Clerk's SDK for Python does: one user, and no error that is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx
import pytest

from tests.server import InProcess, Keys, in_process
from userfold import app as composition
from userfold.core.resending import BACK_OFF_MS, CREATIONS_KEPT_MS
from userfold.storage.port import Store

ADA = {"email_address": ["ada@example.com"], "first_name": "Ada"}
PYTHON = {"x-clerk-sdk": "python/7.0.0"}
NOW = 1_750_000_000_000
EXISTS = (422, "form_identifier_exists")


class Clock:
    """Stands still until it is set."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(store: Store, runner: asyncio.Runner, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The application over a store, by that clock."""
    monkeypatch.setattr(composition, "clock_ms", clock)
    with in_process(runner, store) as api:
        yield api


def create(
    api: InProcess, body: Any = ADA, headers: dict[str, str] | None = None, key: str | None = None
) -> httpx.Response:
    return api.ask("POST", "/clerk/v1/users", body, headers=headers, key=key)


def create_and_go(api: InProcess, body: Any = ADA, headers: dict[str, str] | None = None) -> None:
    """A client that sends its request and goes away, before it is answered."""
    sent = {"authorization": f"Bearer {api.keys.secret}", "content-type": "application/json"} | (headers or {})
    messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive() -> MutableMapping[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: MutableMapping[str, Any]) -> None:
        """Into the void, as a server does that has lost its client."""

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/clerk/v1/users",
        "raw_path": b"/clerk/v1/users",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 50_000),
    }

    async def call() -> None:
        await api.app(scope, receive, send)

    api.runner.run(call())


def outcome(reply: httpx.Response) -> Any:
    """The id of the user, or the status and the code."""
    body = reply.json()
    return body["id"] if reply.status_code == 200 else (reply.status_code, body["errors"][0]["code"])


def users(api: InProcess) -> int:
    total: int = api.ask("GET", "/clerk/v1/users/count").json()["total_count"]
    return total


@pytest.mark.parametrize("headers", [{}, PYTHON], ids=["javascript", "python"])
def test_what_was_asked_by_somebody_who_has_gone_is_answered_when_it_is_asked_again(
    api: InProcess, headers: dict[str, str]
) -> None:
    create_and_go(api, headers=headers)
    writes = api.writes
    again = create(api, headers=headers)
    assert again.status_code == 200
    assert (again.json()["first_name"], users(api), api.writes) == ("Ada", 1, writes)


@pytest.mark.parametrize("headers", [{}, PYTHON], ids=["javascript", "python"])
def test_an_answer_that_arrived_later_counts(api: InProcess, headers: dict[str, str]) -> None:
    create_and_go(api, headers=headers)
    assert create(api, headers=headers).status_code == 200
    assert outcome(create(api, headers=headers)) == EXISTS


@pytest.mark.parametrize("later_ms", [0, BACK_OFF_MS, CREATIONS_KEPT_MS - 1])
def test_a_client_that_never_sends_again_means_it(api: InProcess, clock: Clock, later_ms: int) -> None:
    create(api)
    clock.now += later_ms
    assert outcome(create(api)) == EXISTS


def test_a_client_that_sends_again_by_itself_does_so_after_a_pause(api: InProcess, clock: Clock) -> None:
    first = outcome(create(api, headers=PYTHON))
    clock.now += BACK_OFF_MS - 1
    assert outcome(create(api, headers=PYTHON)) == EXISTS
    clock.now += 1
    assert outcome(create(api, headers=PYTHON)) == first
    clock.now += CREATIONS_KEPT_MS
    assert outcome(create(api, headers=PYTHON)) == EXISTS
    assert users(api) == 1


def test_two_at_once_are_one_user_and_one_refusal(api: InProcess) -> None:
    async def both() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api.app)
        headers = {"authorization": f"Bearer {api.keys.secret}", **PYTHON}
        async with httpx.AsyncClient(transport=transport, base_url="http://userfold.test", headers=headers) as client:
            return await asyncio.gather(*(client.post("/clerk/v1/users", json=ADA) for _ in range(2)))

    assert sorted(reply.status_code for reply in api.runner.run(both())) == [200, 422]
    assert users(api) == 1


def test_after_a_restart_nothing_is_known_of_the_answer(api: InProcess, store: Store) -> None:
    first = outcome(create(api))
    with in_process(api.runner, store) as restarted:
        assert outcome(create(restarted, key=api.keys.secret)) == first
        assert outcome(create(restarted, key=api.keys.secret)) == EXISTS


def test_only_the_same_body_of_the_same_key_is_the_same_request(api: InProcess, clock: Clock, other: Keys) -> None:
    create_and_go(api)
    assert outcome(create(api, {**ADA, "first_name": "Eve"})) == EXISTS
    second = api.ask("POST", "/v1/project/keys", {"name": "second"}).json()["token"]
    assert outcome(create(api, key=second)) == EXISTS
    assert create(api, key=other.secret).status_code == 200
    assert create(api).status_code == 200


def test_a_user_who_was_changed_since_exists(api: InProcess) -> None:
    create_and_go(api)
    (user,) = api.ask("GET", "/clerk/v1/users").json()
    api.ask("PATCH", f"/clerk/v1/users/{user['id']}", {"first_name": "Countess"})
    assert outcome(create(api)) == EXISTS


def test_a_refusal_is_no_answer_that_could_be_lost(api: InProcess) -> None:
    taken = api.user(email_addresses=["ada@example.com"])
    create_and_go(api)
    api.ask("DELETE", f"/v1/users/{taken['id']}")
    first = outcome(create(api))
    assert outcome(create(api)) == EXISTS
    assert api.read(first)["first_name"] == "Ada"


def test_a_creation_that_names_nobody_is_done_each_time(api: InProcess) -> None:
    create_and_go(api, {"first_name": "Ada"}, PYTHON)
    assert create(api, {"first_name": "Ada"}, PYTHON).status_code == 200
    assert users(api) == 2


def test_with_a_password_the_same_request_is_known_again(api: InProcess) -> None:
    body = {**ADA, "password": "correct horse battery"}
    create_and_go(api, body)
    (user,) = api.ask("GET", "/clerk/v1/users").json()
    assert outcome(create(api, body)) == user["id"]
    assert outcome(create(api, {**body, "password": "correct horse batterx"})) == EXISTS
