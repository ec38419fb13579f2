"""Sign-ins as Clerk's sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.server import InProcess, make_project

STATUSES = {"active", "revoked", "ended", "expired", "removed", "abandoned", "replaced", "pending"}

Kinds = dict[str, Callable[[Any], bool]]


def number(value: Any) -> bool:
    return type(value) is int


def text(value: Any) -> bool:
    return isinstance(value, str)


# protocols/clerk.md 1.5: what Python's SDK insists on.
REQUIRED: Kinds = {
    "object": lambda value: value == "session",
    "id": text,
    "user_id": text,
    "client_id": text,
    "status": lambda value: value in STATUSES,
    **dict.fromkeys(("last_active_at", "expire_at", "abandon_at", "updated_at", "created_at"), number),
}


def user(api: InProcess) -> str:
    made: str = api.ask("POST", "/clerk/v1/users", {}).json()["id"]
    return made


def session(api: InProcess, user_id: str) -> dict[str, Any]:
    reply = api.ask("POST", "/clerk/v1/sessions", {"user_id": user_id})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    made: dict[str, Any] = reply.json()
    return made


def listed(api: InProcess, query: str) -> list[str]:
    """The ids of a list, which as a page has the same and their number."""
    found = api.ask("GET", f"/clerk/v1/sessions?{query}").json()
    page = api.ask("GET", f"/clerk/v1/sessions?{query}&paginated=true").json()
    assert page["data"] == found
    assert set(page) == {"data", "total_count"}
    return [session["id"] for session in found]


def said(api: InProcess, method: str, path: str, body: Any = None) -> tuple[int, str, str | None]:
    """Status, code and parameter of what was refused."""
    reply = api.ask(method, f"/clerk/v1/sessions{path}", body)
    (error,) = reply.json()["errors"]
    return reply.status_code, error["code"], error["meta"].get("param_name")


def test_a_session_has_every_key_that_is_needed_with_its_type(api: InProcess) -> None:
    made = session(api, user(api))
    assert not [name for name, kind in REQUIRED.items() if not kind(made[name])]
    assert set(made) == {*REQUIRED, "actor", "last_active_organization_id"}
    assert api.ask("GET", f"/clerk/v1/sessions/{made['id']}").json() == made


def test_a_session_is_a_sign_in_of_the_native_api_and_the_other_way_round(api: InProcess) -> None:
    id_ = user(api)
    made = session(api, id_)
    begun = api.ask("POST", f"/v1/users/{id_}/sessions", {"expires_in_seconds": 60}).json()
    shown = api.ask("GET", f"/v1/users/{id_}/sessions").json()["data"]
    assert [found["id"] for found in shown] == listed(api, f"user_id={id_}")
    assert {found["id"] for found in shown} == {begun["id"], made["id"]}
    assert "token" not in made
    assert api.ask("GET", f"/clerk/v1/sessions/{begun['id']}").json()["expire_at"] == begun["expires_at"]


def test_a_revoked_session_stays_revoked_and_revoking_it_again_changes_nothing(api: InProcess) -> None:
    made = session(api, user(api))
    first, second = (api.ask("POST", f"/clerk/v1/sessions/{made['id']}/revoke") for _ in range(2))
    assert (first.status_code, first.json()["status"]) == (200, "revoked")
    assert first.json() == second.json()
    assert first.json()["updated_at"] >= made["updated_at"]


def test_sessions_are_listed_by_user_client_and_status_page_by_page(api: InProcess) -> None:
    id_, other = user(api), user(api)
    # Of two that begin in one millisecond, either may be the newer one: it is their ids that decide.
    first, second, third = sorted((session(api, id_) for _ in range(3)), key=lambda made: str(made["id"]))
    session(api, other)
    api.ask("POST", f"/clerk/v1/sessions/{second['id']}/revoke")
    assert listed(api, f"user_id={id_}") == [third["id"], second["id"], first["id"]]
    assert listed(api, f"user_id={id_}&limit=1&offset=1") == [second["id"]]
    assert listed(api, f"user_id={id_}&status=active") == [third["id"], first["id"]]
    assert listed(api, f"user_id={id_}&status=revoked") == [second["id"]]
    assert listed(api, f"user_id={id_}&status=ended") == []
    assert listed(api, f"client_id={first['client_id']}") == [first["id"]]
    assert listed(api, f"client_id={first['client_id']}&user_id={id_}") == [first["id"]]
    assert listed(api, f"client_id={first['client_id']}&user_id={other}") == []
    assert listed(api, "user_id=user_x") == []
    assert listed(api, "client_id=client_x") == []
    page = api.ask("GET", f"/clerk/v1/sessions?user_id={id_}&status=active&limit=1&paginated=true").json()
    assert (len(page["data"]), page["total_count"]) == (1, 2)


@pytest.mark.parametrize(
    ("query", "status", "code", "name"),
    [
        ("", 422, "form_param_missing", "user_id"),
        ("user_id=", 422, "form_param_missing", "user_id"),
        ("user_id=u&status=asleep", 422, "form_param_value_invalid", "status"),
        ("user_id=u&limit=501", 422, "form_param_value_invalid", "limit"),
        ("user_id=u&offset=x", 422, "form_param_value_invalid", "offset"),
        ("user_id=u&paginated=1", 422, "form_param_value_invalid", "paginated"),
        ("user_id=u&userid=v", 400, "malformed_request_parameters", "userid"),
    ],
)
def test_a_list_that_cannot_be_answered_is_refused(
    api: InProcess, query: str, status: int, code: str, name: str | None
) -> None:
    assert said(api, "GET", f"?{query}") == (status, code, name)


def test_what_cannot_be_is_refused_and_nothing_is_stored(api: InProcess) -> None:
    banned, locked = user(api), user(api)
    api.ask("POST", f"/clerk/v1/users/{banned}/ban")
    api.ask("POST", f"/clerk/v1/users/{locked}/lock")
    made = session(api, user(api))
    other = api.wait_for(make_project(api.app))
    before = api.writes
    assert said(api, "POST", "", {}) == (422, "form_param_missing", "user_id")
    assert said(api, "POST", "", {"user_id": 1}) == (422, "form_param_value_invalid", "user_id")
    assert said(api, "POST", "", {"user_id": banned, "x": 1}) == (422, "form_param_unknown", "x")
    organization = {"user_id": banned, "active_organization_id": "org_1"}
    assert said(api, "POST", "", organization) == (422, "form_param_value_invalid", "active_organization_id")
    assert said(api, "POST", "", {"user_id": "user_x"}) == (404, "resource_not_found", None)
    assert said(api, "POST", "", {"user_id": banned}) == (403, "user_banned", None)
    assert said(api, "POST", "", {"user_id": locked}) == (403, "user_locked", None)
    assert said(api, "GET", "/ses_x") == (404, "resource_not_found", None)
    assert said(api, "POST", "/ses_x/revoke") == (404, "resource_not_found", None)
    assert said(api, "POST", f"/{made['id']}/revoke", {"why": 1}) == (422, "form_param_unknown", "why")
    for method, path in (("GET", ""), ("POST", "/revoke")):
        reply = api.ask(method, f"/clerk/v1/sessions/{made['id']}{path}", key=other.secret)
        assert reply.status_code == 404
    assert api.ask("GET", f"/clerk/v1/sessions?user_id={made['user_id']}", key=other.secret).json() == []
    assert api.writes == before
