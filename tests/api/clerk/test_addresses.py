"""Email addresses and phone numbers through Clerk's API. What an edit comes to is in tests/core/test_addresses.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess, make_project

KINDS = {"email_address": "email_addresses", "phone_number": "phone_numbers"}
VALUES = {
    "email_address": ["ada@one.example", "ada@two.example", "eve@one.example"],
    "phone_number": ["+442079460001", "+442079460002", "+442079460003"],
}

both = pytest.mark.parametrize("name", KINDS)


def user(api: InProcess, **parameters: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.ask("POST", "/clerk/v1/users", parameters).json()
    return made


def said(api: InProcess, method: str, path: str, body: Any = None) -> tuple[int, str, str | None]:
    """Status, code and parameter of what was refused."""
    reply = api.ask(method, f"/clerk/v1{path}", body)
    assert reply.headers["content-type"] == "application/json"
    (error,) = reply.json()["errors"]
    return reply.status_code, error["code"], error["meta"].get("param_name")


@both
def test_an_address_is_made_read_changed_and_deleted_and_the_user_shows_it(api: InProcess, name: str) -> None:
    mine, path = user(api, **{name: VALUES[name][:1]}), f"/clerk/v1/{KINDS[name]}"
    made = api.ask("POST", path, {"user_id": mine["id"], name: VALUES[name][1]})
    assert (made.status_code, made.json()["object"], made.json()[name]) == (200, name, VALUES[name][1])
    assert made.json()["verification"] is None
    here = f"{path}/{made.json()['id']}"
    assert api.ask("GET", here).json() == made.json()
    changed = api.ask("PATCH", here, {"verified": True, "primary": True}).json()
    assert changed["verification"]["status"] == "verified"
    shown = api.ask("GET", f"/clerk/v1/users/{mine['id']}").json()
    assert (shown[KINDS[name]][1], shown[f"primary_{name}_id"]) == (changed, changed["id"])
    assert api.ask("PATCH", here).json() == changed
    deleted = api.ask("DELETE", here)
    assert (deleted.status_code, deleted.json()) == (200, {"object": name, "id": changed["id"], "deleted": True})
    for method in ("GET", "PATCH", "DELETE"):
        assert said(api, method, here.removeprefix("/clerk/v1")) == (404, "resource_not_found", None)
    left = api.ask("GET", f"/clerk/v1/users/{mine['id']}").json()
    assert [address["id"] for address in left[KINDS[name]]] == [address["id"] for address in mine[KINDS[name]]]
    assert left[f"primary_{name}_id"] == mine[f"primary_{name}_id"]
    assert len(api.history(mine["id"])) == 4


@both
def test_a_replaced_address_is_the_only_one(api: InProcess, name: str) -> None:
    mine = user(api, **{name: VALUES[name][:2]})
    for status, verified in ((None, True), ("verified", True), ("reserved", False), ("unverified", False)):
        body = {name: VALUES[name][2], "identification_status": status}
        reply = api.ask("PUT", f"/clerk/v1/users/{mine['id']}/{name}", body)
        assert (reply.status_code, reply.json()["verification"] is not None) == (200, verified)
        shown = api.ask("GET", f"/clerk/v1/users/{mine['id']}").json()
        assert (shown[KINDS[name]], shown[f"primary_{name}_id"]) == ([reply.json()], reply.json()["id"])


@both
def test_what_cannot_be_is_refused_by_its_parameter_and_nothing_is_stored(api: InProcess, name: str) -> None:
    mine, other = user(api, **{name: VALUES[name][:1]}), user(api, **{name: VALUES[name][2:]})
    kind, value = f"/{KINDS[name]}", VALUES[name][1]
    here, replace = f"{kind}/{mine[KINDS[name]][0]['id']}", f"/users/{mine['id']}/{name}"
    before = api.writes
    assert said(api, "POST", kind, {name: value}) == (422, "form_param_missing", "user_id")
    assert said(api, "POST", kind, {"user_id": mine["id"]}) == (422, "form_param_missing", name)
    assert said(api, "POST", kind, {"user_id": mine["id"], name: 1}) == (422, "form_param_value_invalid", name)
    assert said(api, "POST", kind, {"user_id": mine["id"], name: "x"}) == (422, "form_param_format_invalid", name)
    assert said(api, "POST", kind, {"user_id": "user_x", name: value}) == (404, "resource_not_found", None)
    for taken in (VALUES[name][0], VALUES[name][2]):
        asked = {"user_id": mine["id"], name: taken}
        assert said(api, "POST", kind, asked) == (422, "form_identifier_exists", name)
    assert said(api, "POST", kind, {"user_id": mine["id"], name: value, "x": 1}) == (422, "form_param_unknown", "x")
    assert said(api, "PATCH", here, {"verified": "yes"}) == (422, "form_param_value_invalid", "verified")
    assert said(api, "PATCH", here, {name: value}) == (422, "form_param_unknown", name)
    assert said(api, "DELETE", here) == (400, "identification_deletion_failed", None)
    assert said(api, "PUT", replace, {}) == (422, "form_param_missing", name)
    assert said(api, "PUT", replace, {name: VALUES[name][2]}) == (422, "form_identifier_exists", name)
    wrong = {name: value, "identification_status": "maybe"}
    assert said(api, "PUT", replace, wrong) == (422, "form_param_value_invalid", "identification_status")
    chosen = {f"primary_{name}_id": other[KINDS[name]][0]["id"]}
    assert said(api, "PATCH", f"/users/{mine['id']}", chosen) == (404, "resource_not_found", None)
    assert api.writes == before


def test_an_address_is_not_found_as_one_of_the_other_kind_or_by_another_project(api: InProcess) -> None:
    made = user(api, email_address=["ada@one.example"], phone_number=["+442079460001"])
    email, phone = made["email_addresses"][0]["id"], made["phone_numbers"][0]["id"]
    assert api.ask("GET", f"/clerk/v1/email_addresses/{email}").status_code == 200
    assert said(api, "GET", f"/phone_numbers/{email}") == (404, "resource_not_found", None)
    assert said(api, "DELETE", f"/email_addresses/{phone}") == (404, "resource_not_found", None)
    other = api.wait_for(make_project(api.app))
    for method in ("GET", "PATCH", "DELETE"):
        assert api.ask(method, f"/clerk/v1/email_addresses/{email}", key=other.secret).status_code == 404


def test_an_update_of_the_user_chooses_a_verified_address_as_primary(api: InProcess) -> None:
    statuses = ["verified", "verified", "reserved"]
    addresses = ["a@one.example", "b@one.example", "c@one.example"]
    made = user(api, email_address=addresses, email_address_identification_status=statuses)
    first, second, third = (address["id"] for address in made["email_addresses"])
    path = f"/users/{made['id']}"
    chosen = api.ask("PATCH", f"/clerk/v1{path}", {"primary_email_address_id": second, "first_name": "Ada"}).json()
    assert (chosen["primary_email_address_id"], chosen["first_name"]) == (second, "Ada")
    unverified = {"primary_email_address_id": third, "first_name": "Eve"}
    assert said(api, "PATCH", path, unverified) == (422, "form_verification_needed", "primary_email_address_id")
    number = api.ask("POST", "/clerk/v1/phone_numbers", {"user_id": made["id"], "phone_number": "+442079460958"}).json()
    unverified = {"primary_phone_number_id": number["id"]}
    assert said(api, "PATCH", path, unverified) == (422, "form_verification_needed", "primary_phone_number_id")
    assert said(api, "PATCH", path, {"primary_email_address_id": 1})[1:] == (
        "form_param_value_invalid",
        "primary_email_address_id",
    )
    after = api.ask("PATCH", f"/clerk/v1{path}", {"primary_email_address_id": None}).json()
    assert (after["primary_email_address_id"], after["first_name"]) == (second, "Ada")
    assert first != second


def test_a_flag_that_is_not_kept_is_taken_and_must_be_one(api: InProcess) -> None:
    id_ = user(api)["id"]
    phone = {"user_id": id_, "phone_number": "+442079460001", "reserved_for_second_factor": True}
    assert api.ask("POST", "/clerk/v1/phone_numbers", phone).json()["reserved_for_second_factor"] is False
    email = {"user_id": id_, "email_address": "a@one.example", "notify_primary_email_address_changed": "x"}
    assert said(api, "POST", "/email_addresses", email)[1:] == (
        "form_param_value_invalid",
        "notify_primary_email_address_changed",
    )
