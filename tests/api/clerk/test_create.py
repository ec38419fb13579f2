"""Clerk's `createUser`: what each parameter becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess


def create(api: InProcess, **parameters: Any) -> Any:
    reply = api.ask("POST", "/clerk/v1/users", parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def refused(api: InProcess, document: Any) -> tuple[int, str, str | None]:
    """Status, code and the parameter at fault of a refusal that stored nothing."""
    before = api.writes
    reply = api.ask("POST", "/clerk/v1/users", document)
    assert reply.status_code >= 400, reply.text
    assert api.writes == before
    (error,) = reply.json()["errors"]
    return reply.status_code, error["code"], error["meta"].get("param_name")


def test_addresses_are_verified_and_the_first_is_primary(api: InProcess) -> None:
    user = create(api, email_address=["A@example.com", "b@example.com"], phone_number=["+442079460958"])
    first, second = user["email_addresses"]
    (number,) = user["phone_numbers"]
    assert [first["email_address"], second["email_address"]] == ["a@example.com", "b@example.com"]
    for address in (first, second, number):
        assert address["verification"]["status"] == "verified"
    assert user["primary_email_address_id"] == first["id"]
    assert user["primary_phone_number_id"] == number["id"]


def test_a_reserved_address_is_not_verified(api: InProcess) -> None:
    user = create(
        api,
        email_address=["a@example.com", "b@example.com"],
        email_address_identification_status=["reserved", "verified"],
        phone_number=["+442079460958"],
        phone_number_identification_status=["reserved"],
    )
    assert [address["verification"] is None for address in user["email_addresses"]] == [True, False]
    assert [number["verification"] is None for number in user["phone_numbers"]] == [True]
    native = api.read(user["id"])
    assert [address["verified"] for address in native["email_addresses"]] == [False, True]


@pytest.mark.parametrize(
    "statuses", ["verified", [], ["verified", "verified"], ["unverified"], [None], [1], {}, [["verified"]]], ids=repr
)
@pytest.mark.parametrize(("name", "value"), [("email_address", "a@example.com"), ("phone_number", "+442079460958")])
def test_a_status_that_fits_no_address_is_refused(api: InProcess, name: str, value: str, statuses: Any) -> None:
    document = {name: [value], f"{name}_identification_status": statuses}
    lengths_differ = isinstance(statuses, list) and len(statuses) != 1
    code = "form_param_array_length_mismatch" if lengths_differ else "form_param_value_invalid"
    assert refused(api, document) == (422, code, f"{name}_identification_status")


@pytest.mark.parametrize(
    "name", ["foo_identification_status", "_identification_status", "username_identification_status"]
)
def test_a_status_of_what_is_no_address_is_an_unknown_parameter(api: InProcess, name: str) -> None:
    assert refused(api, {name: ["verified"]}) == (422, "form_param_unknown", name)


def test_statuses_without_addresses_are_refused(api: InProcess) -> None:
    name = "email_address_identification_status"
    assert refused(api, {name: ["verified"]}) == (422, "form_param_array_length_mismatch", name)


TIMES = [
    ("2024-01-02T03:04:05.678Z", 1_704_164_645_678),
    ("2024-01-02T03:04:05Z", 1_704_164_645_000),
    ("2024-01-02T04:04:05.678+01:00", 1_704_164_645_678),
    ("2024-01-02T03:04:05.678901Z", 1_704_164_645_679),
    ("1970-01-01T00:00:00Z", 0),
]


@pytest.mark.parametrize(("created_at", "ms"), TIMES)
def test_created_at_is_a_time_of_rfc_3339(api: InProcess, created_at: str, ms: int) -> None:
    user = create(api, created_at=created_at)
    assert user["created_at"] == ms
    assert api.read(user["id"])["created_at"] == ms
    assert user["updated_at"] > 1_704_164_645_678


def test_created_at_null_is_now(api: InProcess) -> None:
    user = create(api, created_at=None)
    assert user["created_at"] == user["updated_at"]


@pytest.mark.parametrize(
    "created_at",
    ["", "yesterday", "2024-01-02", "2024-01-02T03:04:05", "2024-13-01T00:00:00Z", 1_704_164_645_678, True, {}],
)
def test_created_at_in_another_form_is_refused(api: InProcess, created_at: Any) -> None:
    assert refused(api, {"created_at": created_at}) == (422, "form_param_invalid_time", "created_at")


@pytest.mark.parametrize(
    "created_at",
    ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01"],  # Go's zero is the first
)
def test_nobody_was_created_before_1970(api: InProcess, created_at: str) -> None:
    assert refused(api, {"created_at": created_at}) == (422, "form_param_invalid_time", "created_at")


def test_what_loosens_checks_is_taken_without_effect(api: InProcess) -> None:
    names = (
        "skip_password_checks",
        "skip_password_requirement",
        "skip_user_requirement",
        "skip_legal_checks",
    )
    user = create(api, first_name="Ada", **dict.fromkeys(names, True))
    assert user["first_name"] == "Ada"
    for name in names:
        assert refused(api, {name: "yes"}) == (422, "form_param_value_invalid", name)
    assert not set(names) & set(api.read(user["id"]))


@pytest.mark.parametrize("wallets", [None, []])
def test_no_wallets_are_no_parameter_that_would_be_lost(api: InProcess, wallets: Any) -> None:
    assert create(api, first_name="Ada", web3_wallet=wallets)["web3_wallets"] == []
    assert refused(api, {"web3_wallet": ["0x0"]}) == (422, "form_param_unknown", "web3_wallet")


@pytest.mark.parametrize(
    "name",
    [
        "emailAddress",
        "email_addresses",
        "name",
        "traits",
        "id",
        "version",
        "a/b~c",
        "~1",
    ],
)
def test_a_parameter_that_would_be_lost_is_refused(api: InProcess, name: str) -> None:
    status, code, param_name = refused(api, {"first_name": "Ada", name: None})
    assert (status, code, param_name) == (422, "form_param_unknown", name)


@pytest.mark.parametrize(("given", "kept"), [("ada", "ada"), ("", None), (None, None)])
def test_a_blank_username_is_none(api: InProcess, given: str | None, kept: str | None) -> None:
    assert create(api, username=given)["username"] == kept


@pytest.mark.parametrize("name", ["first_name", "last_name", "username", "external_id", "locale", "timezone"])
def test_null_for_a_text_is_none(api: InProcess, name: str) -> None:
    assert create(api, **{name: None})[name] is None


@pytest.mark.parametrize("name", ["email_address", "phone_number", "public_metadata", "banned", "locked"])
def test_null_for_anything_else_is_nothing(api: InProcess, name: str) -> None:
    created = create(api, **{name: None})
    bare = create(api)
    changing = ("id", "created_at", "updated_at")
    assert {k: v for k, v in created.items() if k not in changing} == {
        k: v for k, v in bare.items() if k not in changing
    }


WRONG: list[tuple[str, Any, str, str]] = [
    ("first_name", 1, "form_param_value_invalid", "first_name"),
    ("first_name", "x" * 256, "form_param_format_invalid", "first_name"),
    ("first_name", "a\0", "form_param_format_invalid", "first_name"),
    ("username", "a b", "form_username_invalid_character", "username"),
    ("username", "x" * 256, "form_username_invalid_length", "username"),
    ("username", "x" * 2_000, "form_username_invalid_length", "username"),
    ("username", 1, "form_param_value_invalid", "username"),
    ("username", 0, "form_param_value_invalid", "username"),
    ("username", False, "form_param_value_invalid", "username"),
    ("username", [], "form_param_value_invalid", "username"),
    ("external_id", 1, "form_param_value_invalid", "external_id"),
    ("external_id", "", "form_param_format_invalid", "external_id"),
    ("email_address", "a@example.com", "form_param_value_invalid", "email_address"),
    ("email_address", {"a@example.com": 1}, "form_param_value_invalid", "email_address"),
    ("email_address", [1], "form_param_value_invalid", "email_address"),
    ("email_address", [None], "form_param_value_invalid", "email_address"),
    ("email_address", [{"email_address": "a@example.com"}], "form_param_value_invalid", "email_address"),
    ("email_address", ["ada"], "form_param_format_invalid", "email_address"),
    ("email_address", ["a@example.com", "A@example.com"], "form_param_value_invalid", "email_address"),
    ("email_address", [f"{n}@example.com" for n in range(101)], "form_param_array_size_exceeded", "email_address"),
    ("phone_number", ["12345"], "form_param_format_invalid", "phone_number"),
    ("phone_number", "+442079460958", "form_param_value_invalid", "phone_number"),
    ("public_metadata", [], "form_param_value_invalid", "public_metadata"),
    ("private_metadata", "{}", "form_param_value_invalid", "private_metadata"),
    ("unsafe_metadata", {"a": "x" * 65_536}, "form_param_exceeds_allowed_size", "unsafe_metadata"),
    ("banned", "true", "form_param_value_invalid", "banned"),
    ("locked", 1, "form_param_value_invalid", "locked"),
]


@pytest.mark.parametrize(("name", "value", "code", "param_name"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_wrong_value_is_refused_by_the_name_it_was_sent_under(
    api: InProcess, name: str, value: Any, code: str, param_name: str
) -> None:
    assert refused(api, {"last_name": "Lovelace", name: value}) == (422, code, param_name)


@pytest.mark.parametrize(
    ("name", "value", "again"),
    [
        ("email_address", ["ada@example.com"], ["ADA@example.com"]),
        ("phone_number", ["+442079460958"], ["+44 20 7946 0958"]),
        ("username", "Ada", "ada"),
        ("external_id", "u-1", "u-1"),
    ],
)
def test_a_taken_identifier_is_refused(api: InProcess, name: str, value: Any, again: Any) -> None:
    create(api, **{name: value})
    assert refused(api, {name: again}) == (422, "form_identifier_exists", name)


def test_a_user_needs_nothing(api: InProcess) -> None:
    assert create(api)["email_addresses"] == []


def test_a_banned_or_locked_user_is_made_so(api: InProcess) -> None:
    user = create(api, banned=True, locked=True)
    assert (user["banned"], user["locked"]) == (True, True)
    assert api.read(user["id"])["disabled"] is True
