"""The native API: the project and its keys. A key is shown once, and dies when it is revoked. Over every store."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import pytest

from tests.server import InProcess, Keys
from userfold.api.native import routes as native

SHOWN = {"id", "project_id", "kind", "name", "read_only", "created_at", "revoked_at", "last_used_at", "version"}


def make_key(api: InProcess, **document: Any) -> dict[str, Any]:
    """A key that was just made, with its token."""
    reply = api.ask("POST", "/v1/project/keys", {"name": "made"} | document)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def keys(api: InProcess, key: str | None = None) -> dict[str, dict[str, Any]]:
    """All keys of a project by id."""
    reply = api.ask("GET", "/v1/project/keys", key=key)
    assert reply.status_code == 200, reply.text
    return {shown["id"]: shown for shown in reply.json()["data"]}


def problem(api: InProcess, method: str, path: str, document: Any) -> tuple[int, str, str | None]:
    reply = api.ask(method, path, document)
    return reply.status_code, reply.json()["code"], reply.json().get("path")


# The project.


def test_a_project_is_read_and_changed(api: InProcess) -> None:
    before = api.ask("GET", "/v1/project").json()
    assert set(before) == {"id", "name", "product_id", "settings", "created_at", "version"}
    assert before["id"] == api.keys.project_id
    reply = api.ask("PATCH", "/v1/project", {"name": "Shop", "settings": {"tombstone_days": 7}})
    assert reply.status_code == 200
    settings = before["settings"] | {"tombstone_days": 7}
    assert reply.json() == before | {"name": "Shop", "settings": settings, "version": 2}
    assert api.ask("GET", "/v1/project").json() == reply.json()


@pytest.mark.parametrize("document", [{}, {"name": "test"}, {"settings": {}}, {"settings": {"tombstone_days": 30}}])
def test_a_project_that_stays_as_it_is_is_not_written(api: InProcess, document: dict[str, Any]) -> None:
    before = api.writes
    assert api.ask("PATCH", "/v1/project", document).json()["version"] == 1
    assert api.writes == before


BAD_PROJECTS: list[tuple[Any, int, str, str | None]] = [
    ({"nope": 1}, 422, "field_unknown", "/nope"),
    ({"id": "prj_1"}, 422, "field_unknown", "/id"),
    ({"name": ""}, 422, "field_format_invalid", "/name"),
    ({"name": 1}, 422, "field_invalid", "/name"),
    ({"name": "x" * 256}, 422, "field_format_invalid", "/name"),
    ({"settings": []}, 422, "field_invalid", "/settings"),
    ({"settings": None}, 422, "field_invalid", "/settings"),
    ({"settings": {"no/pe": 1}}, 422, "field_unknown", "/settings/no~1pe"),
    *(
        ({"settings": {"tombstone_days": v}}, 422, "field_invalid", "/settings/tombstone_days")
        for v in (-1, 3651, "7", 1.5, None)
    ),
    ([], 400, "body_not_object", None),
]


@pytest.mark.parametrize(("document", "status", "code", "path"), BAD_PROJECTS)
def test_a_bad_change_of_a_project_is_refused(
    api: InProcess, document: Any, status: int, code: str, path: str | None
) -> None:
    before, writes = api.ask("GET", "/v1/project").json(), api.writes
    assert problem(api, "PATCH", "/v1/project", document) == (status, code, path)
    assert api.writes == writes
    assert api.ask("GET", "/v1/project").json() == before


def test_projects_are_changed_apart(api: InProcess, other: Keys) -> None:
    before = api.ask("GET", "/v1/project").json()
    api.ask("PATCH", "/v1/project", {"name": "Other"}, key=other.secret)
    assert api.ask("GET", "/v1/project").json() == before
    assert not keys(api).keys() & keys(api, other.secret).keys()


# Keys.


def test_a_secret_key_is_shown_once_and_opens_the_api(api: InProcess) -> None:
    made = make_key(api, name="for the shop")
    token = made.pop("token")
    assert token.startswith("sk_")
    assert set(made) == SHOWN
    assert (made["kind"], made["name"], made["read_only"], made["revoked_at"]) == (
        "secret",
        "for the shop",
        False,
        None,
    )
    assert keys(api, token)[made["id"]] == made
    user = api.ask("POST", "/v1/users", {}, key=token).json()
    assert api.history(user["id"])[0]["actor"] == made["id"]


def test_a_publishable_key_can_be_read_again_and_opens_nothing(api: InProcess) -> None:
    made = make_key(api, kind="publishable")
    assert made["token"].startswith("key_")
    assert keys(api)[made["id"]] == made
    assert api.ask("GET", "/v1/users", key=made["token"]).status_code == 401


def test_a_revoked_key_dies_at_once(api: InProcess) -> None:
    made = make_key(api)
    assert api.ask("GET", "/v1/users", key=made["token"]).status_code == 200
    assert api.ask("DELETE", f"/v1/project/keys/{made['id']}").status_code == 204
    assert api.ask("GET", "/v1/users", key=made["token"]).status_code == 401
    revoked_at = keys(api)[made["id"]]["revoked_at"]
    assert revoked_at is not None
    before = api.writes
    assert api.ask("DELETE", f"/v1/project/keys/{made['id']}").status_code == 204
    assert api.writes == before
    assert keys(api)[made["id"]]["revoked_at"] == revoked_at


BAD_KEYS: list[tuple[Any, int, str, str | None]] = [
    ({}, 422, "field_invalid", "/name"),
    ({"name": None}, 422, "field_invalid", "/name"),
    ({"name": ""}, 422, "field_format_invalid", "/name"),
    ({"name": "x" * 256}, 422, "field_format_invalid", "/name"),
    ({"name": "a", "kind": "public"}, 422, "field_invalid", "/kind"),
    ({"name": "a", "kind": []}, 422, "field_invalid", "/kind"),
    ({"name": "a", "read_only": "yes"}, 422, "field_invalid", "/read_only"),
    ({"name": "a", "read_only": 1}, 422, "field_invalid", "/read_only"),
    ({"name": "a", "token": "sk_mine"}, 422, "field_unknown", "/token"),
    ([], 400, "body_not_object", None),
]


@pytest.mark.parametrize(("document", "status", "code", "path"), BAD_KEYS)
def test_a_bad_wish_for_a_key_is_refused(
    api: InProcess, document: Any, status: int, code: str, path: str | None
) -> None:
    before, writes = keys(api), api.writes
    assert problem(api, "POST", "/v1/project/keys", document) == (status, code, path)
    assert api.writes == writes
    assert keys(api) == before


def test_an_unknown_key_cannot_be_revoked(api: InProcess) -> None:
    assert problem(api, "DELETE", "/v1/project/keys/ak_x", None) == (404, "key_not_found", None)


def test_a_secret_key_is_in_no_other_reply_and_never_in_the_log(
    api: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = make_key(api)
    user = api.ask("POST", "/v1/users", {}, key=made["token"]).json()
    said = [
        api.ask("GET", path).text for path in ("/v1/project", "/v1/project/keys", f"/v1/users/{user['id']}/history")
    ]
    said.append(api.ask("DELETE", f"/v1/project/keys/{made['id']}").text)
    said.append(api.ask("GET", "/v1/users", key=made["token"]).text)
    digest = hashlib.sha256(made["token"].encode()).hexdigest()
    for text in (*said, caplog.text):
        assert made["token"] not in text
        assert digest not in text


# Keys that may only read.

READS = {("POST", "/sessions/verify")}
BODIES: dict[tuple[str, str], Any] = {("POST", "/sessions/verify"): {"token": "x"}}
NATIVE = [(route.method, route.path) for route in native.ROUTES]


@pytest.mark.parametrize(("method", "path"), NATIVE)
def test_a_read_only_key_reads_and_does_not_write(api: InProcess, method: str, path: str) -> None:
    token = make_key(api, read_only=True)["token"]
    user = api.user(external_id="u-1")
    session = api.ask("POST", f"/v1/users/{user['id']}/sessions").json()
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()
    attribute = api.ask("POST", "/v1/attributes", {"name": "plan", "type": "any"}).json()
    ids = {
        "/users": user["id"],
        "/sessions": session["id"],
        "/project": api.keys.secret_id,
        "/segments": segment["id"],
        "/attributes": attribute["id"],
    }
    id_ = next((value for prefix, value in ids.items() if path.startswith(prefix)), "")
    asked = "/v1" + path.replace("{id}", id_).replace("{external_id}", "u-1").replace("{segment_id}", segment["id"])
    before = api.writes
    reply = api.ask(method, asked, BODIES.get((method, path), None if method in ("GET", "DELETE") else {}), key=token)
    if method == "GET" or (method, path) in READS:
        assert reply.status_code in (200, 501), reply.text
    else:
        assert (reply.status_code, reply.json()["code"]) == (403, "key_read_only")
    assert api.writes == before
    assert api.read(user["id"]) == user


def test_a_read_only_key_does_not_write_through_another_api(api: InProcess) -> None:
    token = make_key(api, read_only=True)["token"]
    user = api.user(name="Ada")
    before = api.writes
    assert api.ask("GET", f"/clerk/v1/users/{user['id']}", key=token).status_code == 200
    for method, path in [("POST", "/users"), ("PATCH", f"/users/{user['id']}/metadata")]:
        reply = api.ask(method, f"/clerk/v1{path}", {}, key=token)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (403, "not_allowed_access")
    assert api.writes == before


# What a route does not do, it does not pass over in silence.

SMALL_WRITES = [
    ("POST", "/v1/users/{user}/sessions"),
    ("DELETE", "/v1/users/{user}/sessions"),
    ("DELETE", "/v1/sessions/{session}"),
    ("PATCH", "/v1/project"),
    ("POST", "/v1/project/keys"),
    ("DELETE", "/v1/project/keys/{key}"),
]
SMALL_READS = [
    ("GET", "/v1/users/{user}/sessions"),
    ("GET", "/v1/sessions/{session}"),
    ("GET", "/v1/project"),
    ("GET", "/v1/project/keys"),
]


@pytest.mark.parametrize("query", ["dry_run=true", "nope=1"])
@pytest.mark.parametrize(("method", "path"), SMALL_WRITES + SMALL_READS)
def test_a_parameter_that_a_route_does_not_know_is_refused(api: InProcess, method: str, path: str, query: str) -> None:
    user = api.user()
    session = api.ask("POST", f"/v1/users/{user['id']}/sessions").json()
    asked = path.format(user=user["id"], session=session["id"], key=make_key(api)["id"])
    before = api.writes
    document = None if method in ("GET", "DELETE") else {"name": "Shop"} if "project" in path else {}
    reply = api.ask(method, f"{asked}?{query}", document)
    assert api.writes == before, "it was done, although a dry run was asked for"
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")
