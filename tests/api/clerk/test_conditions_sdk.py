"""Conditions and idempotency keys, by the unmodified SDKs of Clerk."""

from __future__ import annotations

from pathlib import Path

import pytest
from clerk_backend_api import Clerk
from clerk_backend_api.models import ClerkErrors

from tests.api.clerk.sdk.calls import run_javascript
from tests.server import serving


def test_javascripts_sdk_writes_only_to_the_user_that_it_knows(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        user_id = client.post("/v1/users", json={"email_addresses": ["ada@example.com"]}).json()["id"]
        made = run_javascript("clerk_conditions.mjs", server.url, server.secret_key, user_id)
        user = client.get(f"/v1/users/{user_id}").json()
    assert (user["first_name"], user["public_metadata"]) == (made["first_name"], made["public_metadata"])
    assert user["version"] == 4  # made, merged, named, replaced; no conflict left a trace
    assert user["email_addresses"][0]["email_address"] == "ada@example.com"


def test_pythons_sdk_names_versions_and_sends_keys(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "data") as server,
        server.client() as client,
        Clerk(bearer_auth=server.secret_key, server_url=f"{server.url}/clerk/v1", timeout_ms=60_000) as clerk,
    ):
        key = {"Idempotency-Key": "signup-1"}
        first = clerk.users.create(first_name="Ada", http_headers=key)
        assert clerk.users.create(first_name="Ada", http_headers=key) == first
        assert [user["id"] for user in client.get("/v1/users").json()["data"]] == [first.id]
        named = clerk.users.update(user_id=first.id, first_name="Augusta", http_headers={"If-Match": '"1"'})
        assert named.first_name == "Augusta"
        with pytest.raises(ClerkErrors) as refused:
            clerk.users.update(user_id=first.id, first_name="Lost", http_headers={"If-Match": '"1"'})
        assert refused.value.data.errors[0].code == "conflict"
        assert clerk.users.get(user_id=first.id).first_name == "Augusta"
