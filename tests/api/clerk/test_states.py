"""Users who are banned, locked or deleted through Clerk's API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess


def user(api: InProcess, **parameters: Any) -> str:
    made: str = api.ask("POST", "/clerk/v1/users", parameters).json()["id"]
    return made


def sign_in(api: InProcess, user_id: str) -> int:
    return api.ask("POST", f"/v1/users/{user_id}/sessions", {}).status_code


def statuses(api: InProcess, user_id: str) -> list[str]:
    return [session["status"] for session in api.ask("GET", f"/v1/users/{user_id}/sessions").json()["data"]]


def test_who_is_banned_is_disabled_signed_out_and_kept_out_until_the_ban_ends(api: InProcess) -> None:
    id_ = user(api)
    assert sign_in(api, id_) == 201
    banned = api.ask("POST", f"/clerk/v1/users/{id_}/ban")
    assert (banned.status_code, banned.json()["banned"]) == (200, True)
    assert api.read(id_)["disabled"] is True
    assert statuses(api, id_) == ["revoked"]
    assert sign_in(api, id_) == 403
    assert api.ask("POST", f"/clerk/v1/users/{id_}/unban").json()["banned"] is False
    assert sign_in(api, id_) == 201


def test_who_is_locked_stays_signed_in_but_cannot_sign_in_again(api: InProcess) -> None:
    id_ = user(api)
    assert sign_in(api, id_) == 201
    assert api.ask("POST", f"/clerk/v1/users/{id_}/lock").json()["locked"] is True
    assert statuses(api, id_) == ["active"]
    assert sign_in(api, id_) == 403
    assert api.ask("POST", f"/clerk/v1/users/{id_}/unlock").json()["locked"] is False
    assert sign_in(api, id_) == 201


@pytest.mark.parametrize("action", ["ban", "unban", "lock", "unlock"])
def test_doing_it_twice_is_one_change_and_an_unknown_user_or_parameter_is_refused(api: InProcess, action: str) -> None:
    id_ = user(api, banned=action == "unban", locked=action == "unlock")
    first, second = (api.ask("POST", f"/clerk/v1/users/{id_}/{action}") for _ in range(2))
    assert first.json() == second.json()
    assert len(api.history(id_)) == 2
    assert api.ask("POST", f"/clerk/v1/users/{id_}/{action}", {}).status_code == 200
    nobody = api.ask("POST", f"/clerk/v1/users/user_x/{action}")
    assert (nobody.status_code, nobody.json()["errors"][0]["code"]) == (404, "resource_not_found")
    unknown = api.ask("POST", f"/clerk/v1/users/{id_}/{action}", {"why": "x"})
    assert (unknown.status_code, unknown.json()["errors"][0]["meta"]) == (422, {"param_name": "why"})


def test_several_are_banned_at_once_and_answered_in_the_order_in_which_they_were_named(api: InProcess) -> None:
    ids = [user(api) for _ in range(3)]
    named = [ids[2], ids[0], ids[2]]
    for path, banned in (("ban", True), ("unban", False)):
        reply = api.ask("POST", f"/clerk/v1/users/{path}", {"user_ids": named})
        assert [(found["id"], found["banned"]) for found in reply.json()] == [(ids[2], banned), (ids[0], banned)]
        assert [api.read(id_)["disabled"] for id_ in ids] == [banned, False, banned]


BULKS: list[tuple[Any, int, str]] = [
    ({}, 422, "form_param_missing"),
    ({"user_ids": []}, 422, "form_param_missing"),
    ({"user_ids": "user_x"}, 422, "form_param_value_invalid"),
    ({"user_ids": [1]}, 422, "form_param_value_invalid"),
    ({"user_ids": ["user_x"], "why": 1}, 422, "form_param_unknown"),
    ({"user_ids": ["user_x"] * 101}, 400, "bulk_size_exceeded"),
    ({"user_ids": ["{id}", "user_x"]}, 404, "resource_not_found"),
]


@pytest.mark.parametrize(("body", "status", "code"), BULKS, ids=lambda value: str(value)[:40])
def test_a_bulk_that_names_nobody_too_many_or_an_unknown_user_bans_nobody(
    api: InProcess, body: Any, status: int, code: str
) -> None:
    id_ = user(api)
    if "{id}" in body.get("user_ids", ()):
        body = {"user_ids": [id_, "user_x"]}
    before = api.writes
    reply = api.ask("POST", "/clerk/v1/users/ban", body)
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (status, code)
    assert api.writes == before


def test_a_deleted_user_is_gone_from_every_api_and_its_names_are_free(api: InProcess) -> None:
    id_ = user(api, email_address=["ada@example.com"], username="ada")
    reply = api.ask("DELETE", f"/clerk/v1/users/{id_}")
    assert (reply.status_code, reply.json()) == (200, {"object": "user", "id": id_, "deleted": True})
    for method, path in (
        ("GET", f"/clerk/v1/users/{id_}"),
        ("DELETE", f"/clerk/v1/users/{id_}"),
        ("GET", f"/v1/users/{id_}"),
    ):
        assert api.ask(method, path).status_code == 404
    assert api.ask("GET", "/clerk/v1/users").json() == []
    assert user(api, email_address=["ada@example.com"], username="ada") != id_
