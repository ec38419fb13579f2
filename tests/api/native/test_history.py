"""The history of a user, its pages, and the user as it was at a version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server import InProcess
from tests.strategies import documents


def with_versions(api: InProcess, versions: int) -> str:
    """The id of a user that has so many versions."""
    user_id: str = api.user(traits={"n": 1})["id"]
    for n in range(2, versions + 1):
        assert api.ask("PATCH", f"/v1/users/{user_id}", {"traits": {"n": n}}).status_code == 200
    return user_id


def pages(api: InProcess, user_id: str, query: str) -> list[list[int]]:
    """The versions on each page, following the cursors."""
    found = []
    cursor = ""
    while True:
        reply = api.ask("GET", f"/v1/users/{user_id}/history?{query}{cursor}")
        assert reply.status_code == 200, reply.text
        assert set(reply.json()) == {"data", "next_cursor"}
        found.append([change["version"] for change in reply.json()["data"]])
        assert len(found) < 50
        if reply.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={reply.json()['next_cursor']}"


PAGES = [
    ("limit=3", [[1, 2, 3], [4, 5, 6], [7]]),
    ("limit=3&order_by=version", [[1, 2, 3], [4, 5, 6], [7]]),
    ("limit=3&order_by=-version", [[7, 6, 5], [4, 3, 2], [1]]),
    ("limit=7", [[1, 2, 3, 4, 5, 6, 7]]),
    ("limit=7&order_by=-version", [[7, 6, 5, 4, 3, 2, 1]]),
    ("limit=6", [[1, 2, 3, 4, 5, 6], [7]]),
    ("limit=6&order_by=-version", [[7, 6, 5, 4, 3, 2], [1]]),
    ("limit=1", [[1], [2], [3], [4], [5], [6], [7]]),
    ("limit=1&order_by=-version", [[7], [6], [5], [4], [3], [2], [1]]),
    ("limit=500", [[1, 2, 3, 4, 5, 6, 7]]),
    ("order_by=-version", [[7, 6, 5, 4, 3, 2, 1]]),
    ("", [[1, 2, 3, 4, 5, 6, 7]]),
]


def test_a_history_is_read_in_pages_from_either_end(api: InProcess) -> None:
    user_id = with_versions(api, 7)
    assert {query: pages(api, user_id, query) for query, _ in PAGES} == dict(PAGES)


def test_a_page_has_a_hundred_changes_unless_another_number_is_asked_for(api: InProcess) -> None:
    user_id = with_versions(api, 102)
    assert [len(page) for page in pages(api, user_id, "")] == [100, 2]
    assert [len(page) for page in pages(api, user_id, "order_by=-version")] == [100, 2]


def test_a_page_backwards_stays_where_it_was_while_changes_are_added(api: InProcess) -> None:
    user_id = with_versions(api, 5)
    first = api.ask("GET", f"/v1/users/{user_id}/history?limit=2&order_by=-version").json()
    api.ask("PATCH", f"/v1/users/{user_id}", {"traits": {"n": 6}})
    second = api.ask("GET", f"/v1/users/{user_id}/history?order_by=-version&cursor={first['next_cursor']}").json()
    assert [change["version"] for change in first["data"] + second["data"]] == [5, 4, 3, 2, 1]


def test_a_cursor_past_the_end_is_an_empty_page(api: InProcess) -> None:
    user_id = with_versions(api, 2)
    for cursor in ("2", "3", "999999999999999999"):
        reply = api.ask("GET", f"/v1/users/{user_id}/history?cursor={cursor}")
        assert reply.json() == {"data": [], "next_cursor": None}
    assert api.ask("GET", f"/v1/users/{user_id}/history?order_by=-version&cursor=1").json()["data"] == []
    newest = api.ask("GET", f"/v1/users/{user_id}/history?order_by=-version&cursor=99").json()["data"]
    assert [change["version"] for change in newest] == [2, 1]


def test_a_change_tells_who_when_and_what(api: InProcess) -> None:
    user_id = with_versions(api, 2)
    _, change = api.history(user_id)
    user = api.read(user_id)
    assert change.pop("id").startswith("chg_")
    assert change.pop("request_id").startswith("req_")
    assert change == {
        "user_id": user_id,
        "version": 2,
        "at": user["updated_at"],
        "source": "native",
        "actor": api.keys.secret_id,
        "trust": "backend",
        "operations": [{"op": "replace", "path": "/traits/n", "old": 1, "new": 2}],
    }


BAD_PARAMETERS = [
    ("history?limit=0", "limit"),
    ("history?limit=501", "limit"),
    ("history?limit=-1", "limit"),
    ("history?limit=", "limit"),
    ("history?limit=1.0", "limit"),
    ("history?limit=%C2%B2", "limit"),
    ("history?limit=%D9%A3", "limit"),
    ("history?limit=9999999999999999999", "limit"),
    ("history?limit=10&limit=x", "limit"),
    ("history?cursor=0", "cursor"),
    ("history?cursor=x", "cursor"),
    ("history?cursor=", "cursor"),
    ("history?cursor=9999999999999999999", "cursor"),
    ("history?order_by=created_at", "order_by"),
    ("history?order_by=", "order_by"),
    ("history?order_by=%2Bversion", "order_by"),
    ("?version=0", "version"),
    ("?version=-1", "version"),
    ("?version=", "version"),
    ("?version=x", "version"),
    ("?version=1.0", "version"),
    ("?version=9999999999999999999", "version"),
]


@pytest.mark.parametrize(("query", "name"), BAD_PARAMETERS)
def test_a_parameter_that_is_not_valid_is_refused(api: InProcess, query: str, name: str) -> None:
    user_id = with_versions(api, 1)
    reply = api.ask("GET", f"/v1/users/{user_id}{'' if query.startswith('?') else '/'}{query}")
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_invalid")
    assert f"parameter {name} is" in reply.json()["detail"]


UNKNOWN = [
    ("GET", "", "?Version=1"),
    ("GET", "", "?v"),
    ("GET", "", "?dry_run=true"),
    ("GET", "/history", "?offset=1"),
    ("GET", "/history", "?limit=1&version=2"),
    ("PATCH", "", "?version=1"),
    ("DELETE", "", "?force=true"),
]


@pytest.mark.parametrize(("method", "path", "query"), UNKNOWN)
def test_a_parameter_that_is_unknown_is_refused(api: InProcess, method: str, path: str, query: str) -> None:
    user_id = with_versions(api, 1)
    before = api.writes
    reply = api.ask(method, f"/v1/users/{user_id}{path}{query}", {} if method == "PATCH" else None)
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")
    assert api.writes == before


def test_a_parameter_that_is_unknown_is_refused_where_users_are_made(api: InProcess) -> None:
    before = api.writes
    for method, path in [("POST", "/v1/users?x=1"), ("PUT", "/v1/users/by-external-id/u-1?x=1")]:
        reply = api.ask(method, path, {})
        assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")
    assert api.writes == before


# The user as it was.

UPDATES: list[dict[str, Any]] = [
    {"name": "Ada", "traits": {"a": {"b": [1, 2, 3]}}, "email_addresses": ["ada@example.com"]},
    {"traits": {"a": {"b": [1, 5, 3]}, "c": {}}, "external_id": "u-1"},
    {"name": None, "public_metadata": {"x/y~z": {"": 1.0}}},
    {"traits": {"a": None}, "email_addresses": ["bea@example.com", "ada@example.com"]},
    {"public_metadata": {"x/y~z": {"": 1}}, "disabled": True, "username": "Ada"},
    {"external_id": "u-2", "traits": None, "phone_numbers": ["+442079460958"]},
    {"email_addresses": None, "unsafe_metadata": {"deep": {"er": {"and": {"er": [{}, [], None]}}}}},
]


def test_a_user_at_a_version_is_what_the_reply_said_then(api: InProcess) -> None:
    replies = [api.ask("POST", "/v1/users", {"name": "Nobody", "traits": {"null": None}})]
    address = f"/v1/users/{replies[0].json()['id']}"
    replies += [api.ask("PATCH", address, update) for update in UPDATES]
    for version, reply in enumerate(replies, 1):
        then = api.ask("GET", f"{address}?version={version}")
        assert then.status_code == 200
        assert then.headers["etag"] == reply.headers["etag"] == f'"{version}"'
        assert exactly(then.json()) == exactly({k: v for k, v in reply.json().items() if k != "changes"})
    assert exactly(api.ask("GET", f"{address}?version={len(replies)}").json()) == exactly(
        api.ask("GET", address).json()
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(documents("external_id", "username", "email_addresses"), min_size=1, max_size=6))
def test_a_user_at_any_version_is_what_the_reply_said_then(api: InProcess, updates: list[dict[str, Any]]) -> None:
    user: dict[str, Any] = api.user()
    then = {1: user}
    for update in updates:
        reply = api.ask("PATCH", f"/v1/users/{user['id']}", update).json()
        then[reply["version"]] = {name: value for name, value in reply.items() if name != "changes"}
    assert sorted(then) == list(range(1, max(then) + 1))
    for version, document in then.items():
        assert exactly(api.ask("GET", f"/v1/users/{user['id']}?version={version}").json()) == exactly(document)


def exactly(value: Any) -> Any:
    """`value` such that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return repr(value)


def test_a_version_in_a_long_history_is_found(api: InProcess) -> None:
    user_id = with_versions(api, 520)
    for version in (1, 128, 129, 499, 500, 501, 520):
        then = api.ask("GET", f"/v1/users/{user_id}?version={version}").json()
        assert (then["version"], then["traits"]) == (version, {"n": version})


@pytest.mark.parametrize("version", [3, 500, 501, 999999999999999999])
def test_a_version_that_was_not_yet_is_not_found(api: InProcess, version: int) -> None:
    user_id = with_versions(api, 2)
    reply = api.ask("GET", f"/v1/users/{user_id}?version={version}")
    assert (reply.status_code, reply.json()["code"]) == (404, "version_not_found")
    assert f"{version}; the current one is 2" in reply.json()["detail"]
