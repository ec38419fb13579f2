"""Clerk's metadata: merge and replace, null, empty bodies, and that it is the same user as in the native API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess

BAGS = ("public_metadata", "private_metadata", "unsafe_metadata")
STORED = {"a": 1, "b": {"c": {"d": 2, "e": 3}}, "list": [1, {"f": None}]}


def clerk(api: InProcess, method: str, user_id: str, document: Any) -> Any:
    reply = api.ask(method, f"/clerk/v1/users/{user_id}/metadata", document)
    assert reply.status_code == 200, reply.text
    return reply.json()


# design 5.1: what is sent, what PATCH makes of `STORED`, what PUT makes of it.
MODES: dict[str, tuple[Any, Any, Any]] = {
    "nothing": ({}, STORED, {}),
    "a new key": ({"n": 1}, STORED | {"n": 1}, {"n": 1}),
    "a key with another value": ({"a": 9}, STORED | {"a": 9}, {"a": 9}),
    "null": ({"a": None}, {"b": STORED["b"], "list": STORED["list"]}, {"a": None}),
    "null for what is not there": ({"x": None}, STORED, {"x": None}),
    "null below": ({"b": {"c": {"d": None}}}, STORED | {"b": {"c": {"e": 3}}}, {"b": {"c": {"d": None}}}),
    "the last key of an object": (
        {"b": {"c": {"d": None, "e": None}}},
        STORED | {"b": {"c": {}}},
        {"b": {"c": {"d": None, "e": None}}},
    ),
    "null in a new object": (
        {"n": {"x": None, "y": {"z": None}}},
        STORED | {"n": {"y": {}}},
        {"n": {"x": None, "y": {"z": None}}},
    ),
    "null in a list": ({"n": [None]}, STORED | {"n": [None]}, {"n": [None]}),
    "a list for a list": ({"list": [2]}, STORED | {"list": [2]}, {"list": [2]}),
    "an empty list": ({"list": []}, STORED | {"list": []}, {"list": []}),
    "an object for a scalar": ({"a": {"x": 1}}, STORED | {"a": {"x": 1}}, {"a": {"x": 1}}),
    "a scalar for an object": ({"b": "x"}, STORED | {"b": "x"}, {"b": "x"}),
    "an object for a list": ({"list": {"0": 1}}, STORED | {"list": {"0": 1}}, {"list": {"0": 1}}),
    "an empty object for an object": ({"b": {}}, STORED, {"b": {}}),
    "an empty string": ({"a": ""}, STORED | {"a": ""}, {"a": ""}),
    "camelCase and snake_case": (
        {"camelCase": {"innerKey": 1, "inner_key": 2}},
        STORED | {"camelCase": {"innerKey": 1, "inner_key": 2}},
        {"camelCase": {"innerKey": 1, "inner_key": 2}},
    ),
}


@pytest.mark.parametrize("bag", BAGS)
@pytest.mark.parametrize("name", MODES)
def test_patch_merges_and_put_replaces(api: InProcess, bag: str, name: str) -> None:
    sent, merged, replaced = MODES[name]
    others = {other: {"kept": [None]} for other in BAGS if other != bag}
    for method, wanted in (("PATCH", merged), ("PUT", replaced)):
        user = api.user(**others, **{bag: STORED}, traits={"kept": 1})
        answer = clerk(api, method, user["id"], {bag: sent})
        stored = api.read(user["id"])
        assert answer[bag] == stored[bag] == wanted
        assert {other: stored[other] for other in others} == others
        assert stored["traits"] == {"kept": 1}
        assert stored["version"] == (1 if wanted == STORED else 2)


def test_all_kinds_can_be_sent_at_once_and_are_one_change(api: InProcess) -> None:
    user = api.user(public_metadata={"a": 1}, private_metadata={"b": 2})
    clerk(
        api,
        "PATCH",
        user["id"],
        {"public_metadata": {"a": 2}, "private_metadata": {"b": None}, "unsafe_metadata": {"c": 3}},
    )
    stored = api.read(user["id"])
    assert [stored[bag] for bag in BAGS] == [{"a": 2}, {}, {"c": 3}]
    assert [change["version"] for change in api.history(user["id"])] == [1, 2]


@pytest.mark.parametrize("bag", BAGS)
def test_null_for_a_whole_kind_is_refused_by_patch_and_empties_by_put(api: InProcess, bag: str) -> None:
    user = api.user(**{bag: STORED})
    before = api.writes
    reply = api.ask("PATCH", f"/clerk/v1/users/{user['id']}/metadata", {bag: None})
    assert reply.status_code == 422
    (error,) = reply.json()["errors"]
    assert (error["code"], error["meta"]) == ("form_param_value_invalid", {"param_name": bag})
    assert api.writes == before
    assert clerk(api, "PUT", user["id"], {bag: None})[bag] == {}
    assert api.read(user["id"])[bag] == {}


@pytest.mark.parametrize("bag", BAGS)
@pytest.mark.parametrize("value", [[], [{}], "{}", "", 1, True], ids=repr)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_metadata_that_is_no_object_is_refused(api: InProcess, method: str, bag: str, value: Any) -> None:
    user = api.user(**{bag: STORED})
    before = api.writes
    reply = api.ask(method, f"/clerk/v1/users/{user['id']}/metadata", {"unsafe_metadata": {"x": 1}, bag: value})
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"]) == (422, "form_param_value_invalid")
    assert error["meta"] == {"param_name": bag}
    assert api.writes == before
    assert api.read(user["id"]) == user


# JavaScript sends no body but the content type where no field is given, Python `{}`.
@pytest.mark.parametrize("content_type", ["application/json", None])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_empty_body_answers_the_user_as_it_is(api: InProcess, method: str, content_type: str | None) -> None:
    user = api.user(public_metadata=STORED)
    before = api.writes
    path = f"/clerk/v1/users/{user['id']}/metadata"
    headers = {"content-type": content_type} if content_type else {}
    empty = api.ask(method, path, headers=headers)
    braces = api.ask(method, path, {})
    assert (empty.status_code, braces.status_code) == (200, 200)
    assert empty.json() == braces.json() == api.ask("GET", f"/clerk/v1/users/{user['id']}").json()
    assert api.writes == before


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_metadata_route_takes_metadata_only(api: InProcess, method: str) -> None:
    user = api.user(public_metadata=STORED)
    before = api.writes
    for name in ("first_name", "publicMetadata", "traits", "expected_version", "a/b"):
        reply = api.ask(method, f"/clerk/v1/users/{user['id']}/metadata", {"public_metadata": {}, name: {}})
        (error,) = reply.json()["errors"]
        assert (reply.status_code, error["code"]) == (422, "form_param_unknown")
        assert name.partition("/")[0] in error["meta"]["param_name"]
    assert api.writes == before


def test_a_change_through_clerk_is_in_the_history_with_its_source(api: InProcess) -> None:
    reply = api.ask("POST", "/clerk/v1/users", {"first_name": "Ada"})
    user_id = reply.json()["id"]
    patched = api.ask("PATCH", f"/clerk/v1/users/{user_id}/metadata", {"public_metadata": {"a": 1}})
    clerk(api, "PUT", user_id, {"public_metadata": {"a": 1, "b": 2}})
    changes = api.history(user_id)
    assert [(change["source"], change["actor"], change["trust"]) for change in changes] == [
        ("clerk", api.keys.secret_id, "backend")
    ] * 3
    assert changes[1]["request_id"] == patched.headers["x-request-id"]
    assert changes[1]["operations"] == [{"op": "add", "path": "/public_metadata/a", "new": 1}]
    assert changes[2]["operations"] == [{"op": "add", "path": "/public_metadata/b", "new": 2}]


def test_a_merge_that_changes_nothing_makes_no_version(api: InProcess) -> None:
    user = api.user(public_metadata=STORED)
    before = api.writes
    assert (
        clerk(api, "PATCH", user["id"], {"public_metadata": {"b": {"c": {"d": 2}}, "x": None}})["public_metadata"]
        == STORED
    )
    assert clerk(api, "PUT", user["id"], {"public_metadata": STORED})["updated_at"] == user["updated_at"]
    assert api.writes == before


def test_a_merge_that_would_grow_metadata_past_its_size_is_refused(api: InProcess) -> None:
    user = api.user(private_metadata={"a": "x" * 40_000})
    before = api.writes
    reply = api.ask("PATCH", f"/clerk/v1/users/{user['id']}/metadata", {"private_metadata": {"b": "x" * 30_000}})
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"]) == (422, "form_param_exceeds_allowed_size")
    assert error["meta"] == {"param_name": "private_metadata"}
    assert api.writes == before
