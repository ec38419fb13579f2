"""Ids that are no ids, or odd ones: neither SDK escapes what it puts into a path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.clerk.sdk.calls import JavaScriptSdk, PythonSdk, Refused, javascript_sdk, python_sdk
from tests.server import Server, connected, serving, userfold

# As a path of HTTP has them. The last ones are a path that goes up, and one that would be another route's.
NO_IDS = [
    "a%2Fb",
    "%2E%2E",
    "%00",
    "%FF",
    "%0D%0AX-Header:%20x",
    "%ED%A0%80",
    "a;b",
    "a:b",
    "..",
    "../users",
    "./",
    "a//b",
]
ROUTES = [
    ("GET", "/users/{}"),
    ("PATCH", "/users/{}"),
    ("DELETE", "/users/{}"),
    ("PATCH", "/users/{}/metadata"),
    ("POST", "/users/{}/ban"),
    ("PUT", "/users/{}/email_address"),
    ("GET", "/email_addresses/{}"),
    ("DELETE", "/phone_numbers/{}"),
    ("POST", "/sessions/{}/revoke"),
]


@pytest.mark.parametrize("id_", NO_IDS)
def test_what_is_no_id_is_not_found_and_changes_nothing(server: Server, client: httpx.Client, id_: str) -> None:
    made = client.post("/clerk/v1/users", json={"first_name": "Ada"}).json()

    async def answers() -> list[tuple[int, Any]]:
        body = {"email_address": "odd@example.com"}
        async with connected(server, server.secret_key) as connection:
            return [
                await connection.ask(method, "/clerk/v1" + path.format(id_), body if method == "PUT" else None)
                for method, path in ROUTES
            ]

    for status, answer in asyncio.run(answers()):
        (error,) = answer["errors"]
        assert (status, error["code"]) in [(404, "resource_not_found"), (405, "method_not_allowed")]
    assert client.get(f"/clerk/v1/users/{made['id']}").json() == made


ODD_IDS = ["auth0|5f7c8ec7", "a b", "ö", "a%b", "a+b", "a/b"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PythonSdk, JavaScriptSdk]]:
    """Both SDKs, and users who came from other systems, with the ids that they had there."""
    folder: Path = tmp_path_factory.mktemp("imported")
    lines = [json.dumps({"user": {"id": id_, "first_name": id_}}) + "\n" for id_ in ODD_IDS]
    (folder / "users.ndjson").write_text("".join(lines))
    with serving(folder / "data") as server:
        done = userfold("import", folder / "users.ndjson", "--data", server.data)
        assert done.returncode == 0, done.stderr
        with (
            python_sdk(server.url, server.secret_key) as python,
            javascript_sdk(server.url, server.secret_key, folder) as javascript,
        ):
            yield python, javascript


def escaped(id_: str) -> str:
    """Only these mean something else in a path; the rest is escaped by the HTTP clients below the SDKs."""
    return id_.replace("%", "%25").replace("/", "%2F")


@pytest.mark.parametrize("id_", ODD_IDS)
def test_a_user_with_an_odd_id_is_found(both: tuple[PythonSdk, JavaScriptSdk], id_: str) -> None:
    python, javascript = both
    assert python.call("users.get", {"user_id": escaped(id_)}).id == id_
    assert javascript.call("users.getUser", [escaped(id_)])["id"] == id_
    assert javascript.call("users.banUser", [escaped(id_)])["banned"] is True
    (listed,) = python.call("users.list", {"request": {"user_id": ["+" + id_]}})
    assert (listed.id, listed.banned) == (id_, True)


@pytest.fixture(scope="module")
def python(server: Server) -> Iterator[PythonSdk]:
    with python_sdk(server.url, server.secret_key) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def javascript(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaScriptSdk]:
    with javascript_sdk(server.url, server.secret_key, tmp_path_factory.mktemp("driver")) as sdk:
        yield sdk


def test_a_slash_in_an_id_leads_to_another_path(python: PythonSdk, javascript: JavaScriptSdk) -> None:
    assert python.call("users.get", {"user_id": "a/b"}) == Refused(404, "resource_not_found", error="ClerkErrors")
    assert python.call("users.get", {"user_id": "a/metadata"}) == Refused(405, "method_not_allowed", error="SDKError")
    assert javascript.call("users.getUser", ["a/b"]) == Refused(404, "resource_not_found")
    assert javascript.call("users.getUser", ["a/metadata"]) == Refused(405, "method_not_allowed")


def test_javascript_refuses_to_go_up_itself(javascript: JavaScriptSdk) -> None:
    with pytest.raises(AssertionError, match="path segments are not allowed"):
        javascript.call("users.getUser", ["../users"])
