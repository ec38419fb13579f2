"""Users whom the native API made, with all that Clerk does not know, as Clerk's SDKs see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.clerk.sdk.calls import Is, javascript_sdk, part, python_sdk
from tests.server import Server

USERS: dict[str, dict[str, Any]] = {
    "with everything": {
        "external_id": "ext-1",
        "username": "ada",
        "name": "Ada L.",
        "first_name": "Ada",
        "last_name": "",
        "locale": "en-GB",
        "timezone": "Europe/London",
        "email_addresses": [{"email_address": "b@example.com", "primary": True}, "a@example.com"],
        "phone_numbers": [{"phone_number": "+442079460958", "verified": True}],
        "contact_email": "c@example.com",
        "contact_phone": "+442079460959",
        "second_factor_policy": "enforced",
        "traits": {"plan": "pro", "deleted": True, "data": [1]},
        "disabled": True,
        "locked": True,
    },
    "with odd metadata": {
        "public_metadata": {"deleted": True, "data": [{"object": "user"}], "object": "user", "": {"": [None]}},
        "private_metadata": {
            "integer": 2**53 - 1,
            "float": 1e-300,
            "text": "\u0000\u2028\ud7ff😀",
            "list": [[], {}, [None]],
        },
        "unsafe_metadata": {"__proto__": {"a": 1}, "constructor": None, "id": "user_x"},
    },
    "with nothing": {},
}


@pytest.mark.parametrize("name", USERS)
def test_they_are_parsed_and_nothing_of_them_is_taken_for_something_else(
    server: Server, client: httpx.Client, tmp_path: Path, name: str
) -> None:
    made = client.post("/v1/users", json=USERS[name])
    assert made.status_code == 201, made.text
    user = client.get(f"/v1/users/{made.json()['id']}").json()
    kinds = ("public_metadata", "private_metadata", "unsafe_metadata")
    with python_sdk(server.url, server.secret_key) as python:
        fields = {field: user[field] for field in ("id", "first_name", "last_name", "created_at", "updated_at", *kinds)}
        wanted = Is("User", banned=user["disabled"], **fields)
        assert part(python.call("users.get", {"user_id": user["id"]}), wanted) == wanted
        assert [listed.id for listed in python.call("users.list", {"request": {"user_id": [user["id"]]}})] == [
            user["id"]
        ]
    with javascript_sdk(server.url, server.secret_key, tmp_path) as javascript:
        wanted = Is(
            "User", id=user["id"], firstName=user["first_name"], banned=user["disabled"], createdAt=user["created_at"]
        )
        seen = javascript.call("users.getUser", [user["id"]])
        assert part(seen, wanted) == wanted
        assert [seen["publicMetadata"], seen["privateMetadata"], seen["unsafeMetadata"]] == [
            user[kind] for kind in kinds
        ]
        page = javascript.call("users.getUserList", [{"userId": [user["id"]]}])
        assert page == {"data": [seen], "totalCount": 1}
