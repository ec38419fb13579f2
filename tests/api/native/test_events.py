"""The native API: events of users are recorded and read page by page. Over every store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server import InProcess, in_process
from userfold.core.commands import CreateUser
from userfold.core.records import EffectiveSettings
from userfold.core.trust import Author
from userfold.storage.port import Store

SHOWN = ["id", "user_id", "session_id", "name", "properties", "occurred_at", "created_at", "source", "actor"]
IMPORT = Author(source="import", actor="operator", trust="backend")


class Clock:
    """Time as a test says it is."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(store: Store, runner: asyncio.Runner, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The application over a store, by that clock."""
    monkeypatch.setattr("userfold.app.clock_ms", clock)
    with in_process(runner, store) as api:
        yield api


def record(api: InProcess, user_id: str, name: str = "order paid", **document: Any) -> dict[str, Any]:
    """An event that was just recorded."""
    reply = api.ask("POST", f"/v1/users/{user_id}/events", {"name": name, **document})
    assert reply.status_code == 201, reply.text
    event: dict[str, Any] = reply.json()
    return event


def page(api: InProcess, user_id: str, query: str = "") -> tuple[list[dict[str, Any]], str | None]:
    reply = api.ask("GET", f"/v1/users/{user_id}/events{query}")
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert list(shown) == ["data", "next_cursor"]
    return shown["data"], shown["next_cursor"]


def imported(api: InProcess, user_id: str) -> None:
    """A user of that id, as an import makes one."""
    command = CreateUser(project_id=api.keys.project_id, author=IMPORT, edits=(), user_id=user_id)
    api.wait_for(api.app.service.engine.run(command, EffectiveSettings()))


def test_an_event_is_recorded_with_who_said_so_and_when(api: InProcess, clock: Clock) -> None:
    user = api.user()
    properties = {"total": 9.5, "items": [{"sku": "a", "n": 1}], "coupon": None}
    event = record(api, user["id"], properties=properties, occurred_at=1_700_000_000_000)
    assert list(event) == SHOWN
    assert event == {
        "id": event["id"],
        "user_id": user["id"],
        "session_id": None,
        "name": "order paid",
        "properties": properties,
        "occurred_at": 1_700_000_000_000,
        "created_at": clock.now,
        "source": "native",
        "actor": api.keys.secret_id,
    }
    assert page(api, user["id"]) == ([event], None)


def test_an_event_is_no_change_of_the_user(api: InProcess) -> None:
    user = api.user()
    event = record(api, user["id"])
    assert (event["properties"], event["occurred_at"]) == ({}, event["created_at"])
    assert api.read(user["id"]) == user
    assert len(api.history(user["id"])) == 1


BAD: list[tuple[Any, int, str, str | None]] = [
    ({}, 422, "field_invalid", "/name"),
    ({"name": ""}, 422, "field_format_invalid", "/name"),
    ({"name": 1}, 422, "field_invalid", "/name"),
    ({"name": "a", "properties": []}, 422, "field_invalid", "/properties"),
    ({"name": "a", "properties": None}, 422, "field_invalid", "/properties"),
    ({"name": "a", "properties": {"a": "x" * 65_536}}, 422, "bag_too_large", "/properties"),
    *(
        ({"name": "a", "occurred_at": value}, 422, "field_invalid", "/occurred_at")
        for value in (-1, 1.5, "1", True, 1e300)
    ),
    ({"name": "a", "user_id": "u"}, 422, "field_unknown", "/user_id"),
    ({"name": "a", "created_at": 1}, 422, "field_unknown", "/created_at"),
    ([], 400, "body_not_object", None),
]


@pytest.mark.parametrize(("document", "status", "code", "path"), BAD)
def test_a_bad_event_is_refused(api: InProcess, document: Any, status: int, code: str, path: str | None) -> None:
    user = api.user()
    before = api.writes
    problem = api.ask("POST", f"/v1/users/{user['id']}/events", document).json()
    assert (problem["status"], problem["code"], problem.get("path")) == (status, code, path)
    assert api.writes == before
    assert page(api, user["id"]) == ([], None)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_user_has_no_events(api: InProcess, method: str) -> None:
    reply = api.ask(method, "/v1/users/user_x/events", {"name": "a"} if method == "POST" else None)
    assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_hold_every_event_once_the_latest_first_or_the_earliest(api: InProcess, clock: Clock, limit: int) -> None:
    user, somebody = api.user(), api.user()
    made = []
    for number in range(5):
        clock.now += number % 2  # some share a millisecond
        made.append(record(api, user["id"], f"n{number}", occurred_at=number)["id"])
        record(api, somebody["id"])
    made.sort()
    for order_by, expected in (("created_at", made), ("-created_at", made[::-1])):
        walked: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            data, cursor = page(
                api, user["id"], f"?limit={limit}&order_by={order_by}" + (f"&cursor={cursor}" if cursor else "")
            )
            assert len(data) <= limit
            walked += [event["id"] for event in data]
        assert walked == expected
    assert [event["id"] for event in page(api, user["id"])[0]] == made[::-1]


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=501", "?limit=x", "?order_by=name", "?order_by=", "?cursor=", f"?cursor={'x' * 256}"],
)
def test_a_bad_parameter_of_a_page_is_refused(api: InProcess, query: str) -> None:
    reply = api.ask("GET", f"/v1/users/{api.user()['id']}/events{query}")
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_invalid")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_parameter_that_a_route_does_not_know_is_refused(api: InProcess, method: str) -> None:
    document = {"name": "a"} if method == "POST" else None
    reply = api.ask(method, f"/v1/users/{api.user()['id']}/events?dry_run=true", document)
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")


def test_any_cursor_is_no_more_than_a_place(api: InProcess) -> None:
    user = api.user()
    event = record(api, user["id"])
    for cursor in ("x", "%00", "%F0%9D%92%B5", "~", "evt_"):
        for order_by in ("created_at", "-created_at"):
            data, _ = page(api, user["id"], f"?cursor={cursor}&order_by={order_by}")
            assert data in ([], [event])


def test_a_new_user_does_not_have_the_events_of_a_deleted_one_of_its_id(api: InProcess, clock: Clock) -> None:
    imported(api, "u1")
    old = [record(api, "u1", f"n{number}")["id"] for number in range(3)]
    clock.now += 1
    api.ask("DELETE", "/v1/users/u1")
    clock.now += 1
    imported(api, "u1")
    assert page(api, "u1") == ([], None)
    assert page(api, "u1", "?order_by=created_at") == ([], None)
    clock.now += 1
    new = record(api, "u1")
    for query in ("?limit=1", "?limit=2&order_by=created_at", f"?order_by=created_at&cursor={old[0]}"):
        assert page(api, "u1", query)[0] == [new]
    assert page(api, "u1", f"?limit=1&cursor={new['id']}") == ([], None)


def test_an_event_that_is_sent_again_with_its_key_is_recorded_once(api: InProcess) -> None:
    user = api.user()
    path = f"/v1/users/{user['id']}/events"
    replies = [api.ask("POST", path, {"name": "a"}, headers={"idempotency-key": "k1"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert page(api, user["id"]) == ([replies[0].json()], None)
    reply = api.ask("POST", path, {"name": "b"}, headers={"idempotency-key": "k1"})
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_reused")
