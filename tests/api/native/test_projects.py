"""Whose key sees what: projects know nothing of each other, and what is no key gets one answer. Over every store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server import InProcess, Keys
from userfold.api import wire
from userfold.api.native import routes as native
from userfold.core.commands import RevokeKey
from userfold.core.records import EffectiveSettings
from userfold.first_start import OPERATOR

WITH_ID: list[tuple[str, str, Any]] = [
    ("GET", "/v1/users/{id}", None),
    ("GET", "/v1/users/{id}?version=1", None),
    ("GET", "/v1/users/{id}?version=9", None),
    ("GET", "/v1/users/{id}/history", None),
    ("PATCH", "/v1/users/{id}", {"name": "Eve"}),
    ("PATCH", "/v1/users/{id}", {"nope": 1}),
    ("DELETE", "/v1/users/{id}", None),
    ("GET", "/clerk/v1/users/{id}", None),
    ("PATCH", "/clerk/v1/users/{id}/metadata", {"public_metadata": {"a": 1}}),
    ("PUT", "/clerk/v1/users/{id}/metadata", {"public_metadata": {"a": 1}}),
    ("POST", "/clerk/v1/users/{id}/ban", None),
    ("POST", "/clerk/v1/users/{id}/unlock", None),
    ("DELETE", "/clerk/v1/users/{id}", None),
]


# What a route that takes an id says is followed by, and an id of that kind that nobody has.
UNKNOWN = {
    "/users/": f"user_{'0' * 26}",
    "/sessions/": f"ses_{'0' * 26}",
    "/project/keys/": f"ak_{'0' * 26}",
    "/segments/": f"seg_{'0' * 26}",
    "/attributes/": f"attr_{'0' * 26}",
}
TAKES_ID = [route for route in native.ROUTES if "{id}" in route.path]
# What a route needs to get as far as its id, if `{}` is not enough.
BODIES = {("POST", "/users/{id}/events"): b'{"name": "order paid"}'}
OPERATIONS = ("application/json-patch+json", "application/vnd.userfold.operations+json")


def ids_in(api: InProcess) -> dict[str, str]:
    """By the beginning of a path, an id that it takes, of the first project."""
    user = api.user(name="Ada")
    session = api.ask("POST", f"/v1/users/{user['id']}/sessions").json()
    key = api.ask("POST", "/v1/project/keys", {"name": "a key"}).json()
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()
    attribute = api.ask("POST", "/v1/attributes", {"name": "plan", "type": "any"}).json()
    return {
        "/users/": user["id"],
        "/sessions/": session["id"],
        "/project/keys/": key["id"],
        "/segments/": segment["id"],
        "/attributes/": attribute["id"],
    }


def path_of(route: wire.Route, id_: str, ids: dict[str, str]) -> str:
    """The path of a request to a route about `id_`; a second id in it is one of `ids`."""
    return "/v1" + route.path.replace("{id}", id_).replace("{segment_id}", ids["/segments/"])


# From the route table, so that no new route is forgotten: one with ids of another kind fails here until it is known.
@pytest.mark.parametrize("content_type", ["application/json", "image/png", *OPERATIONS])
@pytest.mark.parametrize("route", TAKES_ID, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_answers_an_id_of_another_project_as_an_unknown_one(
    api: InProcess, other: Keys, route: wire.Route, content_type: str
) -> None:
    begins = next(begins for begins in UNKNOWN if route.path.startswith(begins))
    ids = ids_in(api)
    id_ = ids[begins]
    before = api.writes
    body = BODIES.get((route.method, route.path), b"{}")
    content = None if route.method in ("GET", "DELETE") else b"[]" if content_type in OPERATIONS else body
    answers = []
    for given in (id_, UNKNOWN[begins]):
        reply = api.ask(
            route.method,
            path_of(route, given, ids),
            content=content,
            content_type=content_type,
            key=other.secret,
            headers={"x-request-id": "same"},
        )
        answers.append((reply.status_code, reply.text.replace(given, "ID"), sorted(reply.headers.items())))
    assert answers[0] == answers[1]
    assert answers[0][0] in ((501,) if route.handler is None else (404, 415))
    taken = "image/png" if route.path.endswith("/image") and content is not None else "application/json"
    assert content_type != taken or answers[0][0] != 415
    assert api.writes == before


def test_nothing_of_the_first_project_was_touched_through_the_second(api: InProcess, other: Keys) -> None:
    ids = ids_in(api)
    shown = [
        f"/v1/users/{ids['/users/']}",
        f"/v1/sessions/{ids['/sessions/']}",
        "/v1/project/keys",
        "/v1/segments",
        "/v1/attributes",
    ]
    before = [api.ask("GET", path).json() for path in shown]
    for route in TAKES_ID:
        id_ = next(id_ for begins, id_ in ids.items() if route.path.startswith(begins))
        document: Any = None if route.method in ("GET", "DELETE") else {}
        api.ask(route.method, path_of(route, id_, ids), document, key=other.secret)
    assert [api.ask("GET", path).json() for path in shown] == before


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("method", "path", "document"), WITH_ID)
def test_a_user_of_another_project_is_answered_as_an_unknown_one(
    api: InProcess, other: Keys, method: str, path: str, document: Any, conditional: bool
) -> None:
    user = api.user(name="Ada")
    before = api.writes
    answers = []
    for user_id in (user["id"], "user_00000000000000000000000000"):
        headers = {"x-request-id": "same"} | ({"if-match": '"1"'} if conditional else {})
        reply = api.ask(method, path.format(id=user_id), document, key=other.secret, headers=headers)
        answers.append((reply.status_code, reply.text.replace(user_id, "ID"), sorted(reply.headers.items())))
    assert answers[0][:2] == answers[1][:2]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert api.writes == before
    assert api.read(user["id"]) == user


def test_projects_name_their_users_without_regard_to_each_other(api: InProcess, other: Keys) -> None:
    document = {"username": "ada", "email_addresses": ["ada@example.com"], "phone_numbers": ["+442079460958"]}
    path = "/v1/users/by-external-id/u-1"
    one = api.ask("PUT", path, document)
    two = api.ask("PUT", path, document, key=other.secret)
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["id"] != two.json()["id"]
    api.ask("PUT", path, {"name": "Ada"})
    assert api.ask("PUT", path, {}, key=other.secret).json()["name"] is None
    api.ask("DELETE", f"/v1/users/{one.json()['id']}")
    assert api.ask("PUT", path, {}, key=other.secret).status_code == 200


def test_the_id_of_a_user_of_another_project_names_nobody_in_an_upsert(api: InProcess, other: Keys) -> None:
    user = api.user(name="Ada")
    reply = api.ask("PUT", f"/v1/users/by-external-id/{user['id']}", {}, key=other.secret)
    assert (reply.status_code, reply.json()["external_id"], reply.json()["name"]) == (201, user["id"], None)
    assert api.read(user["id"]) == user


# Keys.

ANY_ROUTE = [
    *WITH_ID,
    ("POST", "/v1/users", {"name": "Eve"}),
    ("PUT", "/v1/users/by-external-id/u-1", {"name": "Eve"}),
    ("GET", "/v1/users", None),
    ("POST", "/clerk/v1/users", {"first_name": "Eve"}),
]


def test_missing_wrong_revoked_and_publishable_keys_are_answered_alike(api: InProcess, other: Keys) -> None:
    user = api.user(name="Ada", external_id="u-1")
    revoke(api, other)
    before = api.writes
    for method, path, document in ANY_ROUTE:
        answers = []
        for key in ("", "sk_wrong", other.secret, api.keys.publishable, "null", api.keys.secret_id):
            reply = api.ask(method, path.format(id=user["id"]), document, key=key, headers={"x-request-id": "same"})
            answers.append((reply.status_code, reply.text, dict(reply.headers)))
        assert answers == [answers[0]] * len(answers), path
        assert answers[0][0] == 401
        problem = json.loads(answers[0][1])
        assert problem.get("code") == "unauthorized" or problem["errors"][0]["code"] == "clerk_key_invalid"
    assert api.writes == before
    assert api.read(user["id"]) == user


def revoke(api: InProcess, keys: Keys) -> None:
    service = api.app.service
    command = RevokeKey(project_id=keys.project_id, author=OPERATOR, key_id=keys.secret_id)
    api.runner.run(service.engine.run(command, EffectiveSettings()))
    service.directory.forget()


def test_a_key_that_this_process_revokes_is_refused_at_once(api: InProcess, other: Keys) -> None:
    assert api.ask("GET", "/v1/users/nobody", key=other.secret).status_code == 404
    revoke(api, other)
    assert api.ask("GET", "/v1/users/nobody", key=other.secret).status_code == 401
    assert api.ask("GET", "/v1/users/nobody").status_code == 404


def test_a_secret_key_is_nowhere_in_what_the_api_says(api: InProcess) -> None:
    user = api.user(name="Ada")
    said = [api.ask(method, path.format(id=user["id"]), document).text for method, path, document in ANY_ROUTE]
    assert not [text for text in said if api.keys.secret in text]
