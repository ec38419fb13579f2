"""The native API: PATCH with operations, and dry runs of every write of a user. Over every store."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from tests.server import InProcess, Server, connected, serving
from userfold.core.operations import JSON_PATCH as RFC_6902
from userfold.core.operations import OPERATIONS

JSON_PATCH = "application/json-patch+json"
OURS = "application/vnd.userfold.operations+json"

TRAITS: dict[str, Any] = {"plan": "free", "seats": 2, "tags": ["a", "b"], "deep": {"x": 1, "y": 2}, "none": None}

# An operation, and what of the traits it leaves different.
BY_JSON_PATCH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"op": "add", "path": "/traits/tags/0", "value": "z"}, {"tags": ["z", "a", "b"]}),
    ({"op": "add", "path": "/traits/tags/-", "value": "z"}, {"tags": ["a", "b", "z"]}),
    ({"op": "replace", "path": "/traits/deep/x", "value": None}, {"deep": {"x": None, "y": 2}}),
    ({"op": "remove", "path": "/traits/deep/x"}, {"deep": {"y": 2}}),
    ({"op": "move", "from": "/traits/deep/x", "path": "/traits/plan"}, {"deep": {"y": 2}, "plan": 1}),
    ({"op": "copy", "from": "/traits/deep", "path": "/traits/plan"}, {"plan": {"x": 1, "y": 2}}),
    ({"op": "test", "path": "/traits/seats", "value": 2.0}, {}),
]
BY_OURS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"op": "set", "path": "/traits/new/at/depth", "value": 1}, {"new": {"at": {"depth": 1}}}),
    ({"op": "unset", "path": "/traits/nothing/here"}, {}),
    ({"op": "set_once", "path": "/traits/plan", "value": "pro"}, {}),
    ({"op": "set_once", "path": "/traits/none", "value": "pro"}, {"none": "pro"}),
    ({"op": "merge", "path": "/traits/deep", "value": {"x": None, "z": 3}}, {"deep": {"y": 2, "z": 3}}),
    ({"op": "increment", "path": "/traits/seats"}, {"seats": 3}),
    ({"op": "increment", "path": "/traits/seats", "by": 0.1}, {"seats": 2.1}),
    ({"op": "min", "path": "/traits/seats", "value": 1}, {"seats": 1}),
    ({"op": "max", "path": "/traits/seats", "value": 1}, {}),
    ({"op": "append", "path": "/traits/tags", "values": ["b"]}, {"tags": ["a", "b", "b"]}),
    ({"op": "union", "path": "/traits/tags", "values": ["b", "c"]}, {"tags": ["a", "b", "c"]}),
    ({"op": "pull", "path": "/traits/tags", "values": ["a", "x"]}, {"tags": ["b"]}),
]
GOOD = [(JSON_PATCH, *row) for row in BY_JSON_PATCH] + [(OURS, *row) for row in BY_JSON_PATCH + BY_OURS]


def operate(api: InProcess, user_id: str, operations: Any, content_type: str = OURS, **more: Any) -> httpx.Response:
    return api.ask("PATCH", f"/v1/users/{user_id}", operations, content_type=content_type, **more)


def test_every_operation_stands_in_the_tables_above() -> None:
    assert {operation["op"] for operation, _ in BY_JSON_PATCH + BY_OURS} == set(OPERATIONS)


@pytest.mark.parametrize(("content_type", "operation", "different"), GOOD)
def test_an_operation_changes_what_it_says_and_nothing_else(
    api: InProcess, content_type: str, operation: dict[str, Any], different: dict[str, Any]
) -> None:
    user = api.user(traits=TRAITS, name="Ada")
    reply = operate(api, user["id"], [operation], content_type)
    assert reply.status_code == 200, reply.text
    now = api.read(user["id"])
    assert now["traits"] == TRAITS | different
    assert now["version"] == (2 if different else 1)
    assert reply.headers["etag"] == f'"{now["version"]}"'
    assert {k: v for k, v in reply.json().items() if k != "changes"} == now
    assert bool(reply.json()["changes"]) == bool(different)
    assert [change["operations"] for change in api.history(user["id"])[1:]] == [reply.json()["changes"]] * bool(
        different
    )


def test_operations_reach_fields_that_are_not_bags(api: InProcess) -> None:
    user = api.user(name="Ada", email_addresses=["a@example.com", "b@example.com"])
    operations = [
        {"op": "remove", "path": "/name"},
        {"op": "set", "path": "/username", "value": "ada"},
        {"op": "set", "path": "/disabled", "value": True},
        {"op": "set", "path": "/email_addresses/1/verified", "value": True},
        {"op": "remove", "path": "/email_addresses/0"},
    ]
    reply = operate(api, user["id"], operations)
    assert reply.status_code == 200, reply.text
    now = api.read(user["id"])
    assert (now["name"], now["username"], now["disabled"]) == (None, "ada", True)
    (address,) = now["email_addresses"]
    assert address["id"] == user["email_addresses"][1]["id"]
    assert (address["verified"], address["primary"]) == (True, True)


def test_no_operations_change_nothing(api: InProcess) -> None:
    user = api.user()
    for content_type in (JSON_PATCH, OURS):
        reply = operate(api, user["id"], [], content_type)
        assert (reply.status_code, reply.json()["version"], reply.json()["changes"]) == (200, 1, [])


BAD: list[tuple[str, Any, int, str, str | None]] = [
    (OURS, {}, 422, "operation_invalid", ""),
    (OURS, [1], 422, "operation_invalid", "/0"),
    (OURS, [{"op": "test", "path": ""}], 422, "operation_invalid", "/0"),
    (OURS, [{"op": "unset", "path": "/name"}] * 1001, 422, "operation_invalid", ""),
    (OURS, [{"op": "set", "path": "traits", "value": 1}], 422, "operation_invalid", "/0/path"),
    (OURS, [{"op": "set", "path": "/traits/~2", "value": 1}], 422, "operation_invalid", "/0/path"),
    (OURS, [{"op": "append", "path": "/traits/seats", "values": [1]}], 409, "list_not_found", "/traits/seats"),
    (OURS, [{"op": "append", "path": "/traits/tags", "values": 1}], 422, "operation_invalid", "/0/values"),
    (OURS, [{"op": "move", "from": "/traits", "path": "/traits/a"}], 422, "operation_invalid", "/0"),
    (OURS, [{"op": "nope", "path": "/name"}], 422, "operation_unknown", "/0/op"),
    (OURS, [{"path": "/name"}], 422, "operation_unknown", "/0/op"),
    (JSON_PATCH, [{"op": "set", "path": "/name", "value": "Bea"}], 422, "operation_unknown", "/0/op"),
    (JSON_PATCH, [{"op": "remove", "path": "/traits/nope"}], 409, "path_not_found", "/traits/nope"),
    (JSON_PATCH, [{"op": "add", "path": "/traits/tags/9", "value": 1}], 409, "path_not_found", "/traits/tags/9"),
    (JSON_PATCH, [{"op": "replace", "path": "/version", "value": 9}], 409, "path_not_found", "/version"),
    (OURS, [{"op": "set", "path": "/version", "value": 9}], 422, "field_unknown", "/version"),
    (OURS, [{"op": "set", "path": "/nope", "value": 9}], 422, "field_unknown", "/nope"),
    (OURS, [{"op": "set", "path": "/name", "value": 9}], 422, "field_invalid", "/name"),
    (OURS, [{"op": "increment", "path": "/traits/plan"}], 409, "number_invalid", "/traits/plan"),
    (OURS, [{"op": "increment", "path": "/traits/seats", "by": True}], 422, "operation_invalid", "/0/by"),
    (OURS, [{"op": "max", "path": "/traits/seats", "value": "9"}], 422, "operation_invalid", "/0/value"),
    (OURS, [{"op": "increment", "path": "/traits/seats", "amount": 5}], 422, "operation_invalid", "/0/amount"),
    # Into a scalar there is no way.
    (OURS, [{"op": "increment", "path": "/traits/plan/n"}], 409, "path_not_found", "/traits/plan/n"),
    (OURS, [{"op": "set", "path": "/traits/plan/n/m", "value": 1}], 409, "path_not_found", "/traits/plan/n"),
    # What only Userfold writes, and secrets, do not exist: they are not found, and cannot be made.
    (OURS, [{"op": "test", "path": "/created_at", "value": 1}], 409, "path_not_found", "/created_at"),
    (OURS, [{"op": "copy", "from": "/totp_secret", "path": "/traits/a"}], 409, "path_not_found", "/totp_secret"),
    (OURS, [{"op": "increment", "path": "/version"}], 422, "field_unknown", "/version"),
    (OURS, [{"op": "set_once", "path": "/password_hash", "value": "x"}], 422, "field_unknown", "/password_hash"),
    (OURS, [{"op": "set", "path": "/traits/a", "value": "x" * 65536}], 422, "bag_too_large", "/traits"),
    (OURS, [{"op": "set", "path": "/traits" + "/a" * 33, "value": {}}], 422, "bag_too_deep", "/traits"),
    (OURS, [{"op": "test", "path": "/traits/seats", "value": True}], 409, "test_failed", "/traits/seats"),
    (OURS, [{"op": "set", "path": "/username", "value": "Taken"}], 409, "identifier_taken", "/username"),
]


@pytest.mark.parametrize("place", ["alone", "after a good one"])
@pytest.mark.parametrize(("content_type", "operations", "status", "code", "path"), BAD)
def test_bad_operations_are_refused_with_their_path_and_nothing_is_stored(
    api: InProcess, content_type: str, operations: Any, status: int, code: str, path: str | None, place: str
) -> None:
    api.user(username="taken")
    user = api.user(traits=TRAITS, name="Ada")
    before = api.writes
    if place == "after a good one" and isinstance(operations, list):
        good = {"op": "replace", "path": "/name", "value": "Bea"}
        operations = [good, *operations]
        path = "/1" + path[2:] if path is not None and path.startswith("/0") else path
    problem = operate(api, user["id"], operations, content_type).json()
    assert (problem["status"], problem["code"], problem.get("path")) == (status, code, path)
    assert api.writes == before
    assert api.read(user["id"]) == user


# Integers have up to 4,300 characters with their sign, because that is what can be read again.
@pytest.mark.parametrize(
    ("start", "by", "status"),
    [
        (10**4300 - 2, 1, 200),
        (10**4300 - 1, 1, 409),
        (-(10**4299) + 2, -1, 200),
        (-(10**4299) + 1, -1, 409),
    ],
    ids=["the largest", "one more", "the smallest", "one less"],
)
def test_a_sum_that_is_stored_can_be_read_again(api: InProcess, start: int, by: int, status: int) -> None:
    user = api.user(traits={"n": start})
    reply = operate(api, user["id"], [{"op": "increment", "path": "/traits/n", "by": by}])
    assert api.read(user["id"])["traits"] == {"n": start + by if status == 200 else start}
    assert reply.status_code == status
    assert status == 200 or (reply.json()["code"], reply.json()["path"]) == ("number_invalid", "/traits/n")


def test_a_failed_test_says_the_current_value(api: InProcess) -> None:
    user = api.user(traits=TRAITS)
    for pointer, current in [("/traits/deep", TRAITS["deep"]), ("/traits/none", None), ("/name", None)]:
        reply = operate(api, user["id"], [{"op": "test", "path": pointer, "value": "other"}], JSON_PATCH)
        assert (reply.status_code, reply.json()["code"], reply.json()["current_value"]) == (409, "test_failed", current)


@pytest.mark.parametrize("content_type", [JSON_PATCH, OURS])
@pytest.mark.parametrize("content", [b"", b"[", b'[{"op": "test", "op": "test"}]', b"[NaN]"])
def test_a_body_of_operations_must_be_strict_json(api: InProcess, content_type: str, content: bytes) -> None:
    user = api.user()
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", content=content, content_type=content_type)
    assert (reply.status_code, reply.json()["code"] in ("json_invalid", "json_duplicate_key")) == (400, True)
    assert api.read(user["id"]) == user


@pytest.mark.parametrize("content_type", [JSON_PATCH, OURS])
def test_operations_are_for_patch_alone(api: InProcess, content_type: str) -> None:
    before = api.writes
    for method, path in [("POST", "/v1/users"), ("PUT", "/v1/users/by-external-id/u-1")]:
        reply = api.ask(method, path, [], content_type=content_type)
        assert (reply.status_code, reply.json()["code"]) == (415, "content_type_unsupported")
    assert api.writes == before


def test_operations_obey_if_match(api: InProcess) -> None:
    user = api.user(traits={"n": 0})
    add = [{"op": "increment", "path": "/traits/n"}]
    done = operate(api, user["id"], add, headers={"if-match": '"1"'})
    assert (done.status_code, done.headers["etag"]) == (200, '"2"')
    late = operate(api, user["id"], add, headers={"if-match": '"1"'})
    assert (late.status_code, late.json()["code"], late.json()["current_version"]) == (412, "version_mismatch", 2)
    assert api.read(user["id"])["traits"] == {"n": 1}


# Many at once.

CLIENTS, TIMES = 64, 500


async def increment_many(server: Server, user_id: str) -> list[tuple[int, int]]:
    """The versions that the increments of one client made, each with the counter as its answer showed it."""
    shown = []
    async with connected(server, server.secret_key) as connection:
        for _ in range(TIMES):
            operations = [{"op": "increment", "path": "/traits/n"}]
            status, user = await connection.ask("PATCH", f"/v1/users/{user_id}", operations, OURS)
            assert status == 200
            shown.append((user["version"], user["traits"]["n"]))
    return shown


def test_a_counter_that_64_clients_increment_500_times_each_ends_at_32000(tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(server, server.secret_key) as connection:
            _, user = await connection.ask("POST", "/v1/users", {})
            made = await asyncio.gather(*(increment_many(server, user["id"]) for _ in range(CLIENTS)))
            _, user = await connection.ask("GET", f"/v1/users/{user['id']}")
        assert (user["traits"], user["version"]) == ({"n": 32_000}, 32_001)
        # No two answers show the same, none is missing, and each shows its own increment and all before it.
        assert sorted(shown for many in made for shown in many) == [(n + 1, n) for n in range(1, CLIENTS * TIMES + 1)]
        assert all(many == sorted(many) for many in made)

    with serving(tmp_path / "data") as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
    assert not re.search(r"^\S+ error ", server.log(), re.MULTILINE)


# Dry run.

WRITES: list[tuple[str, str, str, Any, int]] = [
    ("PATCH", "/v1/users/{id}", "application/json", {"traits": {"a": 1}}, 200),
    ("PATCH", "/v1/users/{id}", OURS, [{"op": "increment", "path": "/traits/n"}], 200),
    ("PATCH", "/v1/users/{id}", JSON_PATCH, [{"op": "add", "path": "/traits/a", "value": 1}], 200),
    ("PATCH", "/v1/users/{id}", JSON_PATCH, [{"op": "test", "path": "/name", "value": "Bea"}], 409),
    ("PATCH", "/v1/users/{id}", OURS, [{"op": "increment", "path": "/name/first"}], 422),
    ("PATCH", "/v1/users/{id}", "application/json", {}, 200),
    ("PUT", "/v1/users/by-external-id/u-1", "application/json", {"name": "Bea"}, 200),
    ("PUT", "/v1/users/by-external-id/u-2", "application/json", {"name": "Bea"}, 201),
    ("POST", "/v1/users", "application/json", {"external_id": "u-3"}, 201),
    ("DELETE", "/v1/users/{id}", "application/json", None, 204),
    ("POST", "/v1/users", "application/json", {"external_id": "u-1"}, 409),
    ("PATCH", "/v1/users/{id}", "application/json", {"nope": 1}, 422),
]
MADE = ("id", "usercom_id", "created_at", "updated_at", "request_id")


def lasting(reply: httpx.Response) -> Any:
    """A reply without what is made anew each time."""
    if not reply.content:
        return None
    body = {name: value for name, value in reply.json().items() if name not in MADE}
    body["changes"] = [c for c in body.get("changes", []) if c["path"].lstrip("/") not in MADE]
    return body


@pytest.mark.parametrize(("method", "path", "content_type", "document", "status"), WRITES)
def test_a_dry_run_stores_nothing_and_answers_as_the_write_that_follows(
    api: InProcess, method: str, path: str, content_type: str, document: Any, status: int
) -> None:
    user = api.user(external_id="u-1", traits={"n": 1})
    before = api.writes
    path = path.format(id=user["id"])
    dry = api.ask(method, f"{path}?dry_run=true", document, content_type=content_type)
    assert dry.status_code == status, dry.text
    assert api.writes == before
    assert api.read(user["id"]) == user
    real = api.ask(method, f"{path}?dry_run=false", document, content_type=content_type)
    assert real.status_code == status
    assert lasting(dry) == lasting(real)
    assert dry.headers.get("etag") == real.headers.get("etag")


@pytest.mark.parametrize("value", ["", "1", "True", "yes"])
def test_a_dry_run_is_asked_for_with_true_and_nothing_like_it(api: InProcess, value: str) -> None:
    user = api.user()
    before = api.writes
    reply = api.ask("PATCH", f"/v1/users/{user['id']}?dry_run={value}", {"name": "Bea"})
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_invalid")
    assert api.writes == before


# The reference.

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "operations.md"
EXAMPLE = re.compile(r"^\| `(\w+)`[^`]*\| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
EXAMPLES: list[tuple[str, str, str]] = EXAMPLE.findall(REFERENCE.read_text())


def test_the_reference_has_an_example_of_every_operation() -> None:
    assert [name for name, _, _ in EXAMPLES] == list(OPERATIONS)


@pytest.mark.parametrize(("name", "example", "after"), EXAMPLES)
def test_an_example_of_the_reference_does_what_it_says(api: InProcess, name: str, example: str, after: str) -> None:
    traits = json.loads(REFERENCE.read_text().partition("```json\n")[2].partition("```")[0])
    user = api.user(traits=traits)
    operation = json.loads(example)
    assert operation["op"] == name
    content_type = JSON_PATCH if name in RFC_6902 else OURS
    assert operate(api, user["id"], [operation], content_type).status_code == 200
    assert api.read(user["id"])["traits"] == json.loads(after)
