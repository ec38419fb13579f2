"""The native API: segments are made, listed, changed and deleted; users are put in and taken out. Over every store."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import msgspec
import pytest

from tests.server import InProcess, Keys
from userfold.core.records import Key

UNKNOWN = f"seg_{'0' * 26}"


def segment(api: InProcess, name: str = "Beta", **document: Any) -> dict[str, Any]:
    """A segment that was just made."""
    reply = api.ask("POST", "/v1/segments", {"name": name, **document})
    assert reply.status_code == 201, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


def listed(api: InProcess, key: str | None = None) -> list[dict[str, Any]]:
    page = api.ask("GET", "/v1/segments", key=key).json()
    assert set(page) == {"data", "next_cursor"}
    assert page["next_cursor"] is None
    found: list[dict[str, Any]] = page["data"]
    return found


def membership(user: dict[str, Any], segment_id: str) -> str:
    return f"/v1/users/{user['id']}/segments/{segment_id}"


def test_a_segment_is_made_and_shown_with_its_address_and_version(api: InProcess) -> None:
    reply = api.ask("POST", "/v1/segments", {"name": "Beta", "description": "Who tries things first"})
    made = reply.json()
    assert reply.status_code == 201
    assert list(made) == ["id", "name", "description", "created_at", "updated_at", "version"]
    assert (made["name"], made["description"], made["version"]) == ("Beta", "Who tries things first", 1)
    assert (reply.headers["location"], reply.headers["etag"]) == (f"/v1/segments/{made['id']}", '"1"')
    read = api.ask("GET", f"/v1/segments/{made['id']}")
    assert (read.json(), read.headers["etag"]) == (made, '"1"')


def test_segments_are_listed_by_name_and_only_the_own(api: InProcess, other: Keys) -> None:
    assert listed(api) == []
    made = [segment(api, name) for name in ("b", "c", "a", "b")]
    assert [one["name"] for one in listed(api)] == ["a", "b", "b", "c"]
    by_id = itemgetter("id")  # within a millisecond ids come in any order
    assert sorted(listed(api), key=by_id) == sorted(made, key=by_id)
    assert listed(api, other.secret) == []


def test_what_is_given_changes_a_segment_and_the_rest_stays(api: InProcess) -> None:
    made = segment(api, description="d")
    path = f"/v1/segments/{made['id']}"
    reply = api.ask("PATCH", path, {"name": "Gamma"})
    assert reply.json() == {**made, "name": "Gamma", "version": 2, "updated_at": reply.json()["updated_at"]}
    assert reply.headers["etag"] == '"2"'
    assert api.ask("PATCH", path, {"description": None}).json()["description"] is None
    before = api.writes
    assert api.ask("PATCH", path, {}).json() == api.ask("GET", path).json()
    assert api.writes == before


BAD: list[tuple[Any, int, str, str | None]] = [
    ({"name": ""}, 422, "field_format_invalid", "/name"),
    ({"name": "x" * 256}, 422, "field_format_invalid", "/name"),
    ({"name": 1}, 422, "field_invalid", "/name"),
    ({"name": None}, 422, "field_invalid", "/name"),
    ({"name": "a", "description": 1}, 422, "field_invalid", "/description"),
    ({"name": "a", "description": "x" * 1025}, 422, "field_format_invalid", "/description"),
    ({"name": "a", "id": UNKNOWN}, 422, "field_unknown", "/id"),
    ({"name": "a", "nick/name": 1}, 422, "field_unknown", "/nick~1name"),
    ([], 400, "body_not_object", None),
]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("document", "status", "code", "path"), BAD)
def test_a_bad_segment_is_refused(
    api: InProcess, method: str, document: Any, status: int, code: str, path: str | None
) -> None:
    made = segment(api)
    before = api.writes
    at = "/v1/segments" if method == "POST" else f"/v1/segments/{made['id']}"
    problem = api.ask(method, at, document).json()
    assert (problem["status"], problem["code"], problem.get("path")) == (status, code, path)
    assert api.writes == before


def test_a_new_segment_needs_a_name(api: InProcess) -> None:
    problem = api.ask("POST", "/v1/segments", {}).json()
    assert (problem["status"], problem["code"], problem["path"]) == (422, "field_invalid", "/name")


def test_a_segment_at_another_version_is_left_alone(api: InProcess) -> None:
    path = f"/v1/segments/{segment(api)['id']}"
    for method, document in (("PATCH", {"name": "Gamma"}), ("DELETE", None)):
        reply = api.ask(method, path, document, headers={"if-match": '"2"'})
        assert (reply.status_code, reply.json()["current_version"], reply.headers["etag"]) == (412, 1, '"1"')
    assert api.ask("PATCH", path, {"name": "Gamma"}, headers={"if-match": '"1"'}).status_code == 200
    assert api.ask("DELETE", path, headers={"if-match": '"2"'}).status_code == 204


def test_a_deleted_segment_is_found_nowhere(api: InProcess) -> None:
    made, stays, user = segment(api), segment(api, "stays"), api.user()
    path = f"/v1/segments/{made['id']}"
    assert api.ask("DELETE", path).status_code == 204
    assert listed(api) == [stays]
    for method, at, document in (
        ("GET", path, None),
        ("PATCH", path, {"name": "Gamma"}),
        ("DELETE", path, None),
        ("PUT", membership(user, made["id"]), None),
        ("DELETE", membership(user, made["id"]), None),
    ):
        reply = api.ask(method, at, document)
        assert (reply.status_code, reply.json()["code"]) == (404, "segment_not_found"), (method, at)
    assert api.read(user["id"]) == user


# Who is in it.


def test_a_user_is_put_into_a_segment_and_taken_out_and_the_history_says_so(api: InProcess) -> None:
    user, made = api.user(name="Ada"), segment(api)
    put = api.ask("PUT", membership(user, made["id"]))
    assert (put.status_code, put.json()["segments"], put.headers["etag"]) == (200, [made["id"]], '"2"')
    assert put.json()["changes"] == [
        {"op": "replace", "path": "/segments", "at": 0, "removed": [], "added": [made["id"]]}
    ]
    assert api.read(user["id"]) == {name: value for name, value in put.json().items() if name != "changes"}
    taken = api.ask("DELETE", membership(user, made["id"]))
    assert (taken.status_code, taken.json()["segments"], taken.headers["etag"]) == (200, [], '"3"')
    history = api.history(user["id"])
    assert [change["version"] for change in history] == [1, 2, 3]
    assert {(change["source"], change["actor"]) for change in history} == {("native", api.keys.secret_id)}


def test_putting_in_and_taking_out_again_change_nothing(api: InProcess) -> None:
    user, made = api.user(), segment(api)
    for method, segments, version in (("DELETE", [], 1), ("PUT", [made["id"]], 2), ("PUT", [made["id"]], 2)):
        reply = api.ask(method, membership(user, made["id"]))
        assert (reply.status_code, reply.json()["segments"], reply.json()["version"]) == (200, segments, version)


def test_a_dry_run_puts_nobody_into_a_segment(api: InProcess) -> None:
    user, made = api.user(), segment(api)
    before = api.writes
    reply = api.ask("PUT", membership(user, made["id"]) + "?dry_run=true")
    assert (reply.status_code, reply.json()["segments"]) == (200, [made["id"]])
    assert api.writes == before
    assert api.read(user["id"]) == user


def test_a_user_at_another_version_is_left_alone(api: InProcess) -> None:
    user, made = api.user(), segment(api)
    assert api.ask("PUT", membership(user, made["id"]), headers={"if-match": '"2"'}).status_code == 412
    assert api.ask("PUT", membership(user, made["id"]), headers={"if-match": '"1"'}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_unknown_user_and_an_unknown_segment_are_not_found(api: InProcess, other: Keys, method: str) -> None:
    user, made = api.user(), segment(api)
    theirs = api.ask("POST", "/v1/segments", {"name": "theirs"}, key=other.secret).json()
    for at, code in (
        (f"/v1/users/user_x/segments/{made['id']}", "user_not_found"),
        (membership(user, UNKNOWN), "segment_not_found"),
        (membership(user, theirs["id"]), "segment_not_found"),
        (membership(user, user["id"]), "segment_not_found"),
    ):
        reply = api.ask(method, at)
        assert (reply.status_code, reply.json()["code"]) == (404, code)
    assert api.read(user["id"]) == user


def test_users_are_listed_by_segment_page_by_page(api: InProcess) -> None:
    beta, empty = segment(api), segment(api)
    users = [api.user(name=f"n{number}") for number in range(5)]
    for user in users[:3]:
        api.ask("PUT", membership(user, beta["id"]))
    api.ask("DELETE", membership(users[1], beta["id"]))
    page = api.ask("GET", f"/v1/users?segment={beta['id']}").json()
    assert sorted(user["id"] for user in page["data"]) == sorted([users[0]["id"], users[2]["id"]])
    first = api.ask("GET", f"/v1/users?segment={beta['id']}&limit=1").json()
    second = api.ask("GET", f"/v1/users?segment={beta['id']}&limit=1&cursor={first['next_cursor']}").json()
    assert first["data"] + second["data"] == page["data"]
    for nobody in (empty["id"], UNKNOWN, "", "x%00"):
        assert api.ask("GET", f"/v1/users?segment={nobody}").json().get("data", []) == []
    named = api.ask("GET", f"/v1/users?segment={beta['id']}&query=n2").json()["data"]
    assert [user["id"] for user in named] == [users[2]["id"]]


def test_users_are_listed_by_segment_and_by_name(api: InProcess) -> None:
    beta = segment(api)
    ada, bea = (api.user(username=name, email_addresses=[f"{name}@example.com"]) for name in ("ada", "bea"))
    eve = api.user(contact_email="eve@example.com")
    for user in (ada, eve):
        api.ask("PUT", membership(user, beta["id"]))
    for also, found in (
        ("username=ada", [ada]),
        ("username=bea", []),
        ("email=ada@example.com", [ada]),
        ("email=bea@example.com", []),
        ("email=eve@example.com", [eve]),
    ):
        listed_ = api.ask("GET", f"/v1/users?segment={beta['id']}&{also}").json()["data"]
        assert [user["id"] for user in listed_] == [user["id"] for user in found], also
    assert bea["segments"] == []


# Everything else.


def test_a_request_that_is_sent_again_with_its_key_is_done_once(api: InProcess) -> None:
    headers = {"idempotency-key": "k1"}
    first = api.ask("POST", "/v1/segments", {"name": "Beta"}, headers=headers)
    again = api.ask("POST", "/v1/segments", {"name": "Beta"}, headers=headers)
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert len(listed(api)) == 1
    path = f"/v1/segments/{first.json()['id']}"
    for method, at, document in (
        ("PATCH", path, {"name": "Gamma"}),
        ("PUT", membership(api.user(), first.json()["id"]), None),
        ("DELETE", path, None),
    ):
        replies = [api.ask(method, at, document, headers=headers) for _ in range(2)]
        assert replies[0].is_success
        assert (replies[0].status_code, replies[0].content) == (replies[1].status_code, replies[1].content)
    reply = api.ask("POST", "/v1/segments", {"name": "Other"}, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/segments"),
        ("POST", "/v1/segments"),
        ("GET", f"/v1/segments/{UNKNOWN}"),
        ("PATCH", f"/v1/segments/{UNKNOWN}"),
        ("DELETE", f"/v1/segments/{UNKNOWN}"),
        ("PUT", f"/v1/users/user_x/segments/{UNKNOWN}"),
        ("DELETE", f"/v1/users/user_x/segments/{UNKNOWN}"),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused(api: InProcess, method: str, path: str) -> None:
    document = {"name": "Beta"} if method in ("POST", "PATCH") else None
    reply = api.ask(method, f"{path}?nope=1", document)
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")


def test_a_segment_that_another_process_has_just_made_can_be_assigned(api: InProcess) -> None:
    """This process does not know of it yet, for up to a second."""
    user, made = api.user(), segment(api)
    caller = api.wait_for(api.app.service.directory.caller(api.keys.secret))
    assert caller is not None
    assert made["id"] in caller.settings.segments
    directory = api.app.service.directory
    ignorant = msgspec.structs.replace(caller.settings, segments=frozenset())
    vars(directory)["_callers"] = {caller.key.token_digest: msgspec.structs.replace(caller, settings=ignorant)}
    assert api.ask("PUT", membership(user, made["id"])).status_code == 200


def test_what_is_stored_of_a_deleted_segment_says_who_deleted_it(api: InProcess) -> None:
    made = segment(api)
    api.ask("DELETE", f"/v1/segments/{made['id']}")
    key = Key("segment", api.keys.project_id, made["id"])
    stored: Any = api.wait_for(api.store.get((key,)))[key]
    assert stored.deleted_by == api.keys.secret_id
