"""Proof of who a user is, over every store; the SDK itself carries it in tests/browser/test_verified.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.api.milana.page import Page
from tests.identity import Signer

FAILED = {"success": False, "shouldRestartSession": False}
MISSING = FAILED | {"errorCode": "IDENTITY_MISSING"}
INVALID = FAILED | {"errorCode": "IDENTITY_INVALID"}


@pytest.fixture
def signs(page: Page) -> Signer:
    """The backend of an app that takes no browser at its word; the page has a session."""
    made = page.api.ask("POST", "/v1/project/keys", {"name": "backend", "kind": "identity"})
    reply = page.api.ask("PATCH", "/v1/project", {"settings": {"browser_identity": "verified"}})
    assert (made.status_code, reply.status_code) == (201, 200)
    page.init()
    return Signer("HS256", made.json()["token"])


def carried(token: Any, how: str) -> dict[str, Any]:
    """An update of `u-1` that carries a token as a member of its own, or in the metadata."""
    metadata = {"a": 1} | ({"$identity_token": token} if how == "metadata" else {})
    return {"userId": "u-1", "metadata": metadata} | ({"identityToken": token} if how == "member" else {})


@pytest.mark.parametrize("how", ["member", "metadata"])
def test_a_token_is_good_wherever_it_is_carried_and_kept_nowhere(
    page: Page, signs: Signer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong, right = signs.token("u-2"), signs.token("u-1", public_metadata={"plan": "pro"})
    assert page.update(carried(wrong, how)) == INVALID
    assert page.users("u-1") == []
    assert page.update(carried(right, how))["success"] is True
    user = page.user("u-1")
    assert (user["traits"], user["public_metadata"]) == ({"a": 1}, {"plan": "pro"})
    history = page.api.history(user["id"])
    assert [(change["source"], change["trust"]) for change in history] == [("milana", "verified")]
    kept = str(page.session()) + str(user) + str(history) + caplog.text
    assert not [token for token in (wrong, right) if token in kept]
    assert "its sub is not the user whom the request names" in caplog.text


def test_without_proof_nothing_of_an_update_is_done_and_a_session_needs_none(page: Page, signs: Signer) -> None:
    assert page.update({"userId": "u-1"}, {"metadata": {"flag": "on"}}) == MISSING
    assert (page.users("u-1"), page.session()["metadata"], page.session()["user_id"]) == ([], {}, None)
    assert page.update(None, {"metadata": {"flag": "on"}})["success"] is True
    assert page.session()["metadata"] == {"flag": "on"}


def test_the_member_counts_before_the_metadata(page: Page, signs: Signer) -> None:
    right, wrong = signs.token("u-1"), signs.token("u-2")
    both = carried(wrong, "metadata")
    assert page.update(both | {"identityToken": right})["success"] is True
    assert page.update(carried(right, "metadata") | {"identityToken": wrong}) == INVALID


def test_in_the_session_of_another_user_a_token_proves_its_own(page: Page, signs: Signer) -> None:
    assert page.update({"userId": "u-2", "identityToken": signs.token("u-2")})["success"] is True
    token = signs.token("u-1", public_metadata={"plan": "pro"})
    said = {"userId": "u-1", "name": "Ada", "metadata": {"a": 1}, "identityToken": token}
    assert page.update(said)["success"] is True
    user = page.user("u-1")
    assert (user["public_metadata"], user["traits"], user["name"]) == ({"plan": "pro"}, {"a": 1}, None)
    assert page.session()["user_id"] == page.user("u-2")["id"]


def test_the_token_of_a_sign_in_proves_whose_it_is(page: Page, signs: Signer) -> None:
    user = page.api.user(external_id="u-1")
    token = page.api.ask("POST", f"/v1/users/{user['id']}/sessions").json()["token"]
    assert page.update(carried(token, "member"))["success"] is True
    assert page.update({"userId": "u-2", "identityToken": token}) == INVALID
    page.api.ask("DELETE", f"/v1/users/{user['id']}/sessions")
    assert page.update(carried(token, "member")) == INVALID
