"""The native API: users are created, read, merged into, upserted and deleted. Over every store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess
from userfold.clock import clock_ms

DOCUMENT: dict[str, Any] = {
    "external_id": "u-1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "name": "Ada Lovelace",
    "username": "Ada",
    "email_addresses": ["Ada@Example.COM", {"email_address": "a@example.org", "verified": True, "primary": True}],
    "phone_numbers": [{"phone_number": "+44 20 7946 0958", "verified": True}],
    "contact_email": "Ada@Home.Example",
    "contact_phone": "ask my mother",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "public_metadata": {"plan": "pro"},
    "private_metadata": {"cost": 1.5},
    "unsafe_metadata": {"step": None},
    "traits": {"likes": ["maths", {"and": "🦊"}], "": 0, "a/b~c": True, "u\0000": -0.0},
    "disabled": True,
    "locked": True,
    "second_factor_policy": "enforced",
}

EMPTY: dict[str, Any] = {
    "external_id": None,
    "first_name": None,
    "last_name": None,
    "name": None,
    "username": None,
    "email_addresses": [],
    "phone_numbers": [],
    "contact_email": None,
    "contact_phone": None,
    "locale": None,
    "timezone": None,
    "image": None,
    "public_metadata": {},
    "private_metadata": {},
    "unsafe_metadata": {},
    "traits": {},
    "disabled": False,
    "locked": False,
    "second_factor_policy": "optional",
    "segments": [],
    "owned": [],
    "external_id_aliases": [],
    "password_enabled": False,
    "password_compromised": False,
    "totp_enabled": False,
    "backup_codes_enabled": False,
    "second_factor_enabled_at": None,
    "second_factor_disabled_at": None,
    "legal_accepted_at": None,
    "delete_self_enabled": True,
    "create_organization_enabled": True,
    "create_organizations_limit": None,
    "bypass_client_trust": False,
    "version": 1,
}


def without(user: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in user.items() if name not in names}


# Create and read.


def test_a_new_user_has_every_field_and_only_those(api: InProcess) -> None:
    started = clock_ms()
    reply = api.ask("POST", "/v1/users", {})
    assert reply.status_code == 201
    user = reply.json()
    assert user["id"].startswith("user_")
    assert len(user["id"]) == 31
    assert 0 < user["usercom_id"] < 1 << 53
    assert started <= user["created_at"] == user["updated_at"] <= clock_ms()
    assert without(user, "id", "usercom_id", "created_at", "updated_at", "changes") == EMPTY
    assert reply.headers["location"] == f"/v1/users/{user['id']}"
    assert reply.headers["etag"] == '"1"'
    assert reply.headers["content-type"] == "application/json"


def test_what_a_user_was_made_with_is_what_is_read(api: InProcess) -> None:
    reply = api.ask("POST", "/v1/users", DOCUMENT)
    user = api.read(reply.json()["id"])
    assert user == without(reply.json(), "changes")
    first, second = user["email_addresses"]
    assert (first["email_address"], first["verified"], first["primary"]) == ("ada@example.com", False, False)
    assert (second["email_address"], second["verified"], second["primary"]) == ("a@example.org", True, True)
    (number,) = user["phone_numbers"]
    assert (number["phone_number"], number["verified"], number["primary"]) == ("+442079460958", True, True)
    assert user["contact_email"] == "ada@home.example"
    given_otherwise = ("email_addresses", "phone_numbers", "contact_email")
    assert without(DOCUMENT, *given_otherwise).items() <= user.items()
    assert str(user["traits"]["u\0000"]) == "-0.0"


def test_the_reply_to_a_creation_has_one_added_operation_for_each_field(api: InProcess) -> None:
    user = api.ask("POST", "/v1/users", {"name": "Ada"}).json()
    changes = {change["path"]: change for change in user["changes"]}
    assert changes["/name"] == {"op": "add", "path": "/name", "new": "Ada"}
    assert changes["/traits"] == {"op": "add", "path": "/traits", "new": {}}
    assert {change["op"] for change in user["changes"]} == {"add"}
    assert set(changes) == {f"/{name}" for name in without(user, "changes", "version", "updated_at")}


def test_null_in_a_new_bag_is_kept_because_creation_merges_with_nothing(api: InProcess) -> None:
    assert api.user(traits={"a": None, "b": {"c": None}})["traits"] == {"a": None, "b": {"c": None}}


def test_a_creation_with_null_for_a_field_leaves_it_empty(api: InProcess) -> None:
    user = api.ask("POST", "/v1/users", dict.fromkeys(DOCUMENT)).json()
    assert without(user, "id", "usercom_id", "created_at", "updated_at", "changes") == EMPTY


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_user_that_does_not_exist_is_not_found(api: InProcess, method: str) -> None:
    reply = api.ask(method, "/v1/users/user_nobody", {} if method == "PATCH" else None)
    assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")
    assert "user_nobody" in reply.json()["detail"]


def test_the_history_of_a_user_that_does_not_exist_is_not_found(api: InProcess) -> None:
    reply = api.ask("GET", "/v1/users/user_nobody/history")
    assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")


# Merge.

CONTENT_TYPES = ["application/merge-patch+json", "application/json", "Application/JSON; charset=utf-8"]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_a_patch_merges_at_every_depth(api: InProcess, content_type: str) -> None:
    user = api.user(name="Ada", traits={"a": {"b": {"c": 1, "d": 2}}, "list": [1, 2, 3]}, public_metadata={"p": 1})
    patch = {"traits": {"a": {"b": {"c": None, "e": 3}, "x": {"y": None}}, "list": [9]}}
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", patch, content_type=content_type)
    assert reply.status_code == 200
    merged = {"a": {"b": {"d": 2, "e": 3}, "x": {}}, "list": [9]}
    assert reply.json()["traits"] == merged
    now = api.read(user["id"])
    assert now == without(reply.json(), "changes")
    assert now == user | {"traits": merged, "version": 2, "updated_at": now["updated_at"]}
    assert now["updated_at"] >= user["updated_at"]


def test_the_reply_to_a_patch_lists_what_it_changed(api: InProcess) -> None:
    user = api.user(name="Ada", traits={"a": 1, "gone": [], "list": [1, 2, 3], "same": {"x": 1}})
    patch = {"name": "Bea", "traits": {"a": 1.0, "new": {}, "gone": None, "list": [1, 5, 3], "same": {"x": 1}}}
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", patch)
    assert sorted(reply.json()["changes"], key=lambda change: change["path"]) == [
        {"op": "replace", "path": "/name", "old": "Ada", "new": "Bea"},
        {"op": "replace", "path": "/traits/a", "old": 1, "new": 1.0},
        {"op": "remove", "path": "/traits/gone", "old": []},
        {"op": "replace", "path": "/traits/list", "at": 1, "removed": [2], "added": [5]},
        {"op": "add", "path": "/traits/new", "new": {}},
    ]


def test_a_list_that_changes_is_one_operation_from_where_it_differs(api: InProcess) -> None:
    user = api.user(email_addresses=["a@example.com", "b@example.com", "c@example.com"])
    first, second, third = user["email_addresses"]
    patch = {"email_addresses": [first, "new@example.com", third]}
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", patch)
    new = reply.json()["email_addresses"][1]
    assert reply.json()["email_addresses"] == [first, new, third]
    assert (new["email_address"], new["verified"], new["primary"]) == ("new@example.com", False, False)
    assert reply.json()["changes"] == [
        {"op": "replace", "path": "/email_addresses", "at": 1, "removed": [second], "added": [new]}
    ]


EMPTIED: list[tuple[str, Any, Any]] = [
    ("name", "Ada", None),
    ("first_name", "Ada", None),
    ("external_id", "u-1", None),
    ("username", "ada", None),
    ("contact_email", "a@example.com", None),
    ("email_addresses", ["a@example.com"], []),
    ("phone_numbers", ["+442079460958"], []),
    ("traits", {"a": 1}, {}),
    ("public_metadata", {"a": 1}, {}),
    ("private_metadata", {"a": 1}, {}),
    ("unsafe_metadata", {"a": 1}, {}),
    ("disabled", True, False),
    ("locked", True, False),
    ("second_factor_policy", "enforced", "optional"),
]


@pytest.mark.parametrize(("field", "value", "emptied"), EMPTIED)
def test_null_empties_a_field(api: InProcess, field: str, value: Any, emptied: Any) -> None:
    user = api.user(**{field: value})
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {field: None})
    assert reply.status_code == 200
    assert reply.json()[field] == emptied
    assert api.read(user["id"])[field] == emptied


def test_an_empty_string_is_a_value(api: InProcess) -> None:
    user = api.user(name="Ada")
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "", "traits": {"": ""}})
    assert (reply.json()["name"], reply.json()["traits"]) == ("", {"": ""})


@pytest.mark.parametrize("patch", [{}, {"name": "Ada"}, {"traits": {}}, {"traits": {"a": {"b": 1}}}, {"locale": None}])
def test_a_patch_that_changes_nothing_makes_no_version_and_writes_nothing(api: InProcess, patch: Any) -> None:
    user = api.user(name="Ada", traits={"a": {"b": 1}})
    before = api.writes
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", patch)
    assert (reply.status_code, reply.headers["etag"]) == (200, '"1"')
    assert reply.json() == user | {"changes": []}
    assert api.writes == before
    assert len(api.history(user["id"])) == 1


def test_a_user_that_was_read_and_edited_can_be_sent_back_whole(api: InProcess) -> None:
    user = api.user(**DOCUMENT | {"unsafe_metadata": {"step": 1}})
    edited = user | {"name": "Countess", "traits": user["traits"] | {"born": 1815}}
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", edited)
    assert reply.status_code == 200
    assert [change["path"] for change in reply.json()["changes"]] == ["/name", "/traits/born"]
    reply_edited = reply.json() | {"name": "Ada"}
    again = api.ask("PATCH", f"/v1/users/{user['id']}", reply_edited)
    assert [change["path"] for change in again.json()["changes"]] == ["/name"]


def test_what_replies_add_to_a_user_may_be_sent_back(api: InProcess) -> None:
    user = api.user()
    added = {"changes": [{"op": "add", "path": "/x"}], "ignored": [{"path": "/name", "code": "not_permitted"}]}
    for reply in (
        api.ask("PATCH", f"/v1/users/{user['id']}", added),
        api.ask("PUT", f"/v1/users/by-external-id/{user['id']}", added),
    ):
        assert (reply.status_code, reply.json()["changes"]) == (200, [])
        assert "ignored" not in reply.json()


READ_ONLY: list[tuple[str, Any]] = [
    ("id", "user_other"),
    ("usercom_id", 1),
    ("version", 9),
    ("created_at", 1),
    ("updated_at", 1),
    ("segments", ["seg_1"]),
    ("owned", ["locale"]),
    ("external_id_aliases", ["x"]),
    ("password_enabled", True),
    ("version", None),
    ("id", None),
    ("version", 1.0),
]


@pytest.mark.parametrize(("field", "value"), READ_ONLY)
def test_what_userfold_keeps_cannot_be_written(api: InProcess, field: str, value: Any) -> None:
    user = api.user(name="Ada")
    before = api.writes
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Bea", field: value})
    assert reply.status_code == 422
    assert (reply.json()["code"], reply.json()["path"]) == ("field_read_only", f"/{field}")
    assert api.writes == before
    assert api.read(user["id"]) == user


def test_a_new_user_cannot_bring_what_userfold_keeps(api: InProcess) -> None:
    before = api.writes
    for field, value in READ_ONLY:
        if value is not None:
            reply = api.ask("POST", "/v1/users", {field: value})
            assert (reply.status_code, reply.json()["code"]) == (422, "field_read_only")
    assert api.writes == before


# Upsert.


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_an_upsert_makes_a_user_then_merges_then_does_nothing(api: InProcess, content_type: str) -> None:
    path = "/v1/users/by-external-id/u-1"
    made = api.ask("PUT", path, {"name": "Ada", "traits": {"a": {"b": 1}}}, content_type=content_type)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    user = made.json()
    assert user["external_id"] == "u-1"
    merged = api.ask("PUT", path, {"traits": {"a": {"c": 2, "b": None}}}, content_type=content_type)
    assert (merged.status_code, merged.headers["etag"]) == (200, '"2"')
    assert (merged.json()["id"], merged.json()["name"], merged.json()["traits"]) == (user["id"], "Ada", {"a": {"c": 2}})
    before = api.writes
    nothing = api.ask("PUT", path, {"traits": {"a": {"c": 2}}}, content_type=content_type)
    assert (nothing.status_code, nothing.headers["etag"]) == (200, '"2"')
    assert nothing.json() == merged.json() | {"changes": []}
    assert api.writes == before
    for reply in (made, merged, nothing):
        assert reply.headers["location"] == f"/v1/users/{user['id']}"


def test_an_upsert_by_the_users_own_id_names_that_user(api: InProcess) -> None:
    user = api.user(external_id="u-1")
    reply = api.ask("PUT", f"/v1/users/by-external-id/{user['id']}", {"name": "Ada"})
    assert (reply.status_code, reply.json()["id"], reply.json()["external_id"]) == (200, user["id"], "u-1")


def test_an_upsert_may_repeat_the_external_id_but_not_name_another(api: InProcess) -> None:
    same = api.ask("PUT", "/v1/users/by-external-id/u-1", {"external_id": "u-1"})
    assert same.status_code == 201
    before = api.writes
    for document in ({"external_id": "u-2"}, {"external_id": None}, {"external_id": 1}):
        other = api.ask("PUT", "/v1/users/by-external-id/u-1", document)
        assert (other.status_code, other.json()["path"]) == (422, "/external_id")
    assert api.writes == before


def test_an_upserted_user_can_be_sent_back_whole(api: InProcess) -> None:
    made = api.ask("PUT", "/v1/users/by-external-id/u-1", {"name": "Ada"}).json()
    reply = api.ask("PUT", "/v1/users/by-external-id/u-1", made | {"name": "Bea"})
    assert (reply.status_code, [change["path"] for change in reply.json()["changes"]]) == (200, ["/name"])


# Identifiers.

TAKEN: list[tuple[str, Any, Any, str]] = [
    ("external_id", "u-1", "u-1", "/external_id"),
    ("username", "Ada", "aDA", "/username"),
    ("email_addresses", ["ada@example.com"], ["free@example.com", "ADA@example.com"], "/email_addresses/1"),
    ("phone_numbers", ["+442079460958"], ["+44 20 7946 0958"], "/phone_numbers/0"),
]


@pytest.mark.parametrize(("field", "of_one", "of_other", "path"), TAKEN)
def test_what_names_a_user_cannot_name_another(
    api: InProcess, field: str, of_one: Any, of_other: Any, path: str
) -> None:
    one, other = api.user(**{field: of_one}), api.user(name="Bea")
    before = api.writes
    for reply in (
        api.ask("POST", "/v1/users", {field: of_other}),
        api.ask("PATCH", f"/v1/users/{other['id']}", {field: of_other, "name": "Cleo"}),
    ):
        assert (reply.status_code, reply.json()["code"], reply.json()["path"]) == (409, "identifier_taken", path)
        assert one["id"] not in reply.text
    assert api.writes == before
    api.ask("PATCH", f"/v1/users/{one['id']}", {field: None})
    assert api.ask("PATCH", f"/v1/users/{other['id']}", {field: of_other}).status_code == 200


def test_an_external_id_cannot_be_the_id_of_another_user(api: InProcess) -> None:
    one, other = api.user(), api.user()
    reply = api.ask("PATCH", f"/v1/users/{other['id']}", {"external_id": one["id"]})
    assert (reply.status_code, reply.json()["code"]) == (409, "identifier_taken")
    assert api.ask("PATCH", f"/v1/users/{one['id']}", {"external_id": one["id"]}).status_code == 200


# Delete.


def test_a_deleted_user_is_gone_with_its_history_and_frees_its_names(api: InProcess) -> None:
    user = api.user(**DOCUMENT)
    address = f"/v1/users/{user['id']}"
    reply = api.ask("DELETE", address)
    assert (reply.status_code, reply.content) == (204, b"")
    for method, path in [("GET", ""), ("GET", "/history"), ("GET", "?version=1"), ("PATCH", ""), ("DELETE", "")]:
        gone = api.ask(method, address + path, {} if method == "PATCH" else None)
        assert (gone.status_code, gone.json()["code"]) == (404, "user_not_found")
    again = api.ask("POST", "/v1/users", DOCUMENT)
    assert again.status_code == 201
    assert again.json()["id"] != user["id"]


def test_a_user_of_a_deleted_name_starts_anew(api: InProcess) -> None:
    first = api.ask("PUT", "/v1/users/by-external-id/u-1", {"name": "Ada"}).json()
    api.ask("DELETE", f"/v1/users/{first['id']}")
    second = api.ask("PUT", "/v1/users/by-external-id/u-1", {})
    assert (second.status_code, second.json()["version"], second.json()["name"]) == (201, 1, None)
    assert len(api.history(second.json()["id"])) == 1
    assert api.ask("GET", f"/v1/users/{first['id']}").status_code == 404


# Who did it.


def test_the_history_names_the_key_the_api_and_the_trust(api: InProcess) -> None:
    user = api.user()
    (change,) = api.history(user["id"])
    assert change["source"] == "native"
    assert change["actor"] == api.keys.secret_id
    assert change["trust"] == "backend"
    assert change["user_id"] == user["id"]


def test_a_backend_owns_the_names_that_it_set(api: InProcess) -> None:
    user = api.user(name="Ada", external_id="u-1", traits={"a": 1})
    assert user["owned"] == ["external_id", "name"]
