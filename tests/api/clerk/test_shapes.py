"""Clerk's shapes: golden files of a full and an empty user, the keys that Python's SDK insists on, and their types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.clerk.replay import CAPTURES, Mask, canonical, replay, shape
from tests.server import InProcess


def number(value: Any) -> bool:
    return type(value) is int


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def listed(value: Any) -> bool:
    return isinstance(value, list)


def obj(value: Any) -> bool:
    return isinstance(value, dict)


def or_null(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


# protocols/clerk.md 1.6: leaving one of these out raises ResponseValidationError in Python's SDK.
REQUIRED: dict[str, Callable[[Any], bool]] = {
    "id": text,
    "object": lambda value: value == "user",
    "external_id": or_null(text),
    "username": or_null(text),
    "first_name": or_null(text),
    "last_name": or_null(text),
    "primary_email_address_id": or_null(text),
    "primary_phone_number_id": or_null(text),
    "primary_web3_wallet_id": or_null(text),
    "has_image": flag,
    "public_metadata": obj,
    "email_addresses": listed,
    "phone_numbers": listed,
    "web3_wallets": listed,
    "passkeys": listed,
    "external_accounts": listed,
    "saml_accounts": listed,
    "enterprise_accounts": listed,
    "password_enabled": flag,
    "two_factor_enabled": flag,
    "totp_enabled": flag,
    "backup_code_enabled": flag,
    "mfa_enabled_at": or_null(number),
    "mfa_disabled_at": or_null(number),
    "last_sign_in_at": or_null(number),
    "last_active_at": or_null(number),
    "legal_accepted_at": or_null(number),
    "banned": flag,
    "locked": flag,
    "lockout_expires_in_seconds": or_null(number),
    "verification_attempts_remaining": or_null(number),
    "created_at": number,
    "updated_at": number,
    "delete_self_enabled": flag,
    "create_organization_enabled": flag,
}
OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "locale": or_null(text),
    "timezone": or_null(text),
    "image_url": text,
    "profile_image_url": text,
    # The specification allows null here; the Python SDK's users would meet it on every read.
    "private_metadata": obj,
    "unsafe_metadata": obj,
    "organization_memberships": listed,
    "password_last_updated_at": or_null(number),
    "deprovisioned": flag,
    "create_organizations_limit": or_null(number),
    "bypass_client_trust": flag,
}

FULL = {
    "external_id": "ext-1",
    "username": "Ada_L",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "email_address": ["Ada@Example.com", "a.l@example.org"],
    "email_address_identification_status": ["verified", "reserved"],
    "phone_number": ["+44 20 7946 0958"],
    "public_metadata": {"plan": "pro", "camelCaseKey": {"innerKey": 1, "snake_key": None}},
    "private_metadata": {"stripeId": "cus_1"},
    "unsafe_metadata": {"step": 1.5, "list": [None, {}]},
    "banned": True,
    "locked": True,
    "created_at": "2024-01-02T03:04:05.678Z",
}


def made(api: InProcess, parameters: dict[str, Any]) -> dict[str, Any]:
    reply = api.ask("POST", "/clerk/v1/users", parameters)
    assert reply.status_code == 200, reply.text
    user: dict[str, Any] = reply.json()
    return user


@pytest.mark.parametrize(("name", "parameters"), [("empty_user", {}), ("full_user", FULL)])
def test_a_user_is_exactly_the_golden_file(api: InProcess, name: str, parameters: dict[str, Any]) -> None:
    mask = Mask()
    user = made(api, parameters)
    assert canonical(mask(user)) == canonical(shape(name))
    assert canonical(api.ask("GET", f"/clerk/v1/users/{user['id']}").json()) == canonical(user)


def test_thirty_five_keys_are_required() -> None:
    assert len(REQUIRED) == 35


@pytest.mark.parametrize("parameters", [{}, FULL], ids=["empty", "full"])
def test_every_key_is_there_with_its_type(api: InProcess, parameters: dict[str, Any]) -> None:
    user = made(api, parameters)
    kinds = REQUIRED | OPTIONAL
    assert set(user) == set(kinds)
    assert not [name for name, value in user.items() if not kinds[name](value)]
    assert user["image_url"].startswith("http://userfold.test/")


def test_no_object_has_a_key_by_which_the_javascript_sdk_takes_it_for_another(api: InProcess) -> None:
    user = made(api, FULL)
    for thing in (user, *user["email_addresses"], *user["phone_numbers"]):
        assert not {"deleted", "data", "paginated"} & set(thing)
        # Both SDKs need `linked_to`; Python's takes the kind of a verification from `object`.
        assert thing is user or thing["linked_to"] == []
        assert thing is user or thing["verification"] is None or thing["verification"]["object"] == "verification_admin"


def test_a_user_that_another_api_made_has_the_same_shape(api: InProcess) -> None:
    made_natively = api.user(
        name="Ada L.",
        email_addresses=[{"email_address": "b@example.com", "primary": True}, "a@example.com"],
        contact_email="c@example.com",
        contact_phone="+442079460958",
        traits={"a": 1},
        second_factor_policy="enforced",
    )
    user = api.ask("GET", f"/clerk/v1/users/{made_natively['id']}").json()
    assert set(user) == set(REQUIRED | OPTIONAL)
    assert [address["email_address"] for address in user["email_addresses"]] == ["b@example.com", "a@example.com"]
    assert user["primary_email_address_id"] == user["email_addresses"][0]["id"]
    # What a browser claimed is never one of Clerk's identifiers.
    assert user["phone_numbers"] == []
    assert "c@example.com" not in json.dumps(user)


# Captures.


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_captured_conversation_goes_as_it_did(api: InProcess, path: Any) -> None:
    replay(json.loads(path.read_text()), api)


def test_there_are_captures_of_both_sdks() -> None:
    assert {path.stem.partition("_")[0] for path in CAPTURES} == {"js", "python"}
