"""The native API: attributes say what keys of traits hold, and writes of every API are held to it. Over every store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess, Keys

UNKNOWN = f"attr_{'0' * 26}"
OPERATIONS = "application/vnd.userfold.operations+json"


def define(api: InProcess, name: str = "plan", type_: str = "integer", **document: Any) -> dict[str, Any]:
    """An attribute that was just made."""
    reply = api.ask("POST", "/v1/attributes", {"name": name, "type": type_, **document})
    assert reply.status_code == 201, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


def listed(api: InProcess, key: str | None = None) -> list[dict[str, Any]]:
    page = api.ask("GET", "/v1/attributes", key=key).json()
    assert set(page) == {"data", "next_cursor"}
    assert page["next_cursor"] is None
    found: list[dict[str, Any]] = page["data"]
    return found


def test_an_attribute_is_made_and_shown_with_its_address_and_version(api: InProcess) -> None:
    document = {"name": "colour", "type": "choice", "choices": ["red", "blue"], "title": "Colour", "description": "d"}
    reply = api.ask("POST", "/v1/attributes", document)
    made = reply.json()
    assert reply.status_code == 201
    assert list(made) == [
        *("id", "name", "type", "choices", "title", "description", "created_at", "updated_at", "version"),
    ]
    assert {name: made[name] for name in document} == document
    assert (reply.headers["location"], reply.headers["etag"]) == (f"/v1/attributes/{made['id']}", '"1"')
    read = api.ask("GET", f"/v1/attributes/{made['id']}")
    assert (read.json(), read.headers["etag"]) == (made, '"1"')


def test_attributes_are_listed_by_name_and_only_the_own(api: InProcess, other: Keys) -> None:
    assert listed(api) == []
    made = [define(api, name) for name in ("b", "c", "a")]
    assert listed(api) == [made[2], made[0], made[1]]
    assert listed(api, other.secret) == []


def test_two_projects_define_the_same_name_each_for_itself(api: InProcess, other: Keys) -> None:
    ours = define(api, "plan", "integer")
    reply = api.ask("POST", "/v1/attributes", {"name": "plan", "type": "string"}, key=other.secret)
    assert reply.status_code == 201
    assert reply.json()["id"] != ours["id"]
    assert api.ask("POST", "/v1/users", {"traits": {"plan": "gold"}}, key=other.secret).status_code == 201
    assert api.ask("POST", "/v1/users", {"traits": {"plan": "gold"}}).status_code == 422


def test_what_is_given_changes_an_attribute_and_the_rest_stays(api: InProcess) -> None:
    made = define(api, "colour", "choices", choices=["red"], title="t")
    path = f"/v1/attributes/{made['id']}"
    reply = api.ask("PATCH", path, {"choices": ["red", "blue"], "title": None})
    expected = {**made, "choices": ["red", "blue"], "title": None, "version": 2}
    assert reply.json() == {**expected, "updated_at": reply.json()["updated_at"]}
    assert reply.headers["etag"] == '"2"'
    before = api.writes
    assert api.ask("PATCH", path, {}).json() == reply.json() == api.ask("GET", path).json()
    assert api.writes == before


BAD: list[tuple[Any, str, str | None]] = [
    ({"type": "string"}, "field_invalid", "/name"),
    ({"name": "a"}, "field_invalid", "/type"),
    ({"name": "a", "type": "text"}, "field_invalid", "/type"),
    ({"name": "a", "type": None}, "field_invalid", "/type"),
    ({"name": "", "type": "string"}, "field_format_invalid", "/name"),
    ({"name": "a", "type": "choice"}, "field_invalid", "/choices"),
    ({"name": "a", "type": "choice", "choices": "red"}, "field_invalid", "/choices"),
    ({"name": "a", "type": "string", "choices": ["red"]}, "field_invalid", "/choices"),
    ({"name": "a", "type": "choice", "choices": ["red", "red"]}, "field_invalid", "/choices/1"),
    ({"name": "a", "type": "choice", "choices": ["red", 1]}, "field_invalid", "/choices/1"),
    ({"name": "a", "type": "string", "title": 1}, "field_invalid", "/title"),
    ({"name": "a", "type": "string", "id": UNKNOWN}, "field_unknown", "/id"),
]


@pytest.mark.parametrize(("document", "code", "path"), BAD)
def test_a_bad_attribute_is_refused(api: InProcess, document: Any, code: str, path: str | None) -> None:
    before = api.writes
    problem = api.ask("POST", "/v1/attributes", document).json()
    assert (problem["status"], problem["code"], problem.get("path")) == (422, code, path)
    assert api.writes == before


@pytest.mark.parametrize(("name", "value"), [("name", "other"), ("type", "string")])
def test_an_attributes_name_and_type_are_for_good(api: InProcess, name: str, value: str) -> None:
    problem = api.ask("PATCH", f"/v1/attributes/{define(api)['id']}", {name: value}).json()
    assert (problem["code"], problem["path"]) == ("field_unknown", f"/{name}")


def test_a_name_is_defined_once(api: InProcess) -> None:
    made = define(api)
    reply = api.ask("POST", "/v1/attributes", {"name": "plan", "type": "string"})
    assert (reply.status_code, reply.json()["code"], reply.json()["path"]) == (409, "attribute_exists", "/name")
    assert made["id"] in reply.json()["detail"]
    assert listed(api) == [made]


def test_an_attribute_at_another_version_is_left_alone(api: InProcess) -> None:
    path = f"/v1/attributes/{define(api)['id']}"
    for method, document in (("PATCH", {"title": "t"}), ("DELETE", None)):
        reply = api.ask(method, path, document, headers={"if-match": '"2"'})
        assert (reply.status_code, reply.json()["current_version"]) == (412, 1)
    assert api.ask("DELETE", path, headers={"if-match": '"1"'}).status_code == 204


def test_a_deleted_attribute_is_found_nowhere_and_binds_nobody(api: InProcess) -> None:
    path = f"/v1/attributes/{define(api)['id']}"
    assert api.ask("DELETE", path).status_code == 204
    assert listed(api) == []
    for method, document in (("GET", None), ("PATCH", {"title": "t"}), ("DELETE", None)):
        reply = api.ask(method, path, document)
        assert (reply.status_code, reply.json()["code"]) == (404, "attribute_not_found")
    assert api.user(traits={"plan": "gold"})["traits"] == {"plan": "gold"}


def test_writes_of_every_api_are_held_to_the_type_from_the_next_request_on(api: InProcess) -> None:
    user = api.user(external_id="u-1", traits={"plan": "gold"})
    assert api.ask("PATCH", f"/v1/users/{user['id']}", {"traits": {"plan": "silver"}}).status_code == 200
    define(api)
    writes = [
        api.ask("POST", "/v1/users", {"traits": {"plan": "gold"}}),
        api.ask("PATCH", f"/v1/users/{user['id']}", {"traits": {"plan": "gold"}}),
        api.ask("PUT", "/v1/users/by-external-id/u-1", {"traits": {"plan": "gold"}}),
        api.ask(
            "PATCH",
            f"/v1/users/{user['id']}",
            [{"op": "set", "path": "/traits/plan", "value": "gold"}],
            content_type=OPERATIONS,
        ),
        api.ask("PATCH", f"/v1/users/{user['id']}?dry_run=true", {"traits": {"plan": "gold"}}),
    ]
    for reply in writes:
        problem = reply.json()
        assert (reply.status_code, problem["code"], problem["path"]) == (422, "field_invalid", "/traits/plan")
        assert "an integer is needed" in problem["detail"]
    # What was stored before is left alone, and does not stand in the way of anything else.
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Ada", "traits": {"plan": "silver", "n": 1}})
    assert (reply.status_code, reply.json()["traits"]) == (200, {"plan": "silver", "n": 1})
    assert api.ask("PATCH", f"/v1/users/{user['id']}", {"traits": {"plan": 3}}).json()["traits"]["plan"] == 3
    clerk = api.ask("PATCH", f"/clerk/v1/users/{user['id']}/metadata", {"public_metadata": {"plan": "gold"}})
    assert clerk.status_code == 200, "only traits have attributes"


def test_a_request_that_is_sent_again_with_its_key_is_done_once(api: InProcess) -> None:
    headers = {"idempotency-key": "k1"}
    document = {"name": "colour", "type": "choice", "choices": ["red"]}
    replies = [api.ask("POST", "/v1/attributes", document, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].content == replies[1].content
    path = f"/v1/attributes/{replies[0].json()['id']}"
    for method, body in (("PATCH", {"title": "t"}), ("DELETE", None)):
        replies = [api.ask(method, path, body, headers=headers) for _ in range(2)]
        assert replies[0].is_success
        assert (replies[0].status_code, replies[0].content) == (replies[1].status_code, replies[1].content)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/attributes"),
        ("POST", "/v1/attributes"),
        ("GET", f"/v1/attributes/{UNKNOWN}"),
        ("PATCH", f"/v1/attributes/{UNKNOWN}"),
        ("DELETE", f"/v1/attributes/{UNKNOWN}"),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused(api: InProcess, method: str, path: str) -> None:
    document = {"POST": {"name": "a", "type": "any"}, "PATCH": {}}.get(method)
    reply = api.ask(method, f"{path}?nope=1", document)
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")
