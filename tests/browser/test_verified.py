"""A project that asks browsers for proof, and the unmodified SDK that carries it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from tests.browser.tab import Backend, Tab
from tests.identity import Signer, elliptic_key, pem_of

DONE = {"success": True}
REFUSED = {"success": False}


def signer(backend: Backend, algorithm: str) -> Signer:
    """The app's backend, whose key the project has from now on."""
    if algorithm == "HS256":
        return Signer(algorithm, new_key(backend)["token"])
    private = elliptic_key()
    new_key(backend, public_key=pem_of(private))
    return Signer(algorithm, private)


def new_key(backend: Backend, **more: str) -> dict[str, Any]:
    reply = backend.client.post("/v1/project/keys", json={"name": "backend", "kind": "identity"} | more)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def tampered(token: str) -> str:
    """The token of somebody who would like to be another user."""
    head, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(said | {"public_metadata": {"plan": "pro"}}).encode())
    return ".".join((head, changed.decode().rstrip("="), signature))


def confused(signer: Signer) -> str:
    """HS256 with the public key of ES256 as its secret (RFC 8725, 2.1). PyJWT itself would not sign that."""
    pem = pem_of(signer.key) if signer.algorithm == "ES256" else pem_of(elliptic_key())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "u-1", "exp": int(time.time()) + 600})
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return (text + b"." + base64.urlsafe_b64encode(hmac.sign(text, pem.encode())).rstrip(b"=")).decode()


# Why it is refused: what a browser sends for a token, given the app's backend; None: nothing at all.
REFUSALS: dict[str, Callable[[Signer], Any]] = {
    "no token": lambda backend: None,
    "expired": lambda backend: backend.token("u-1", exp=int(time.time()) - 1),
    "without an end": lambda backend: backend.token("u-1", exp=None),
    "another key": lambda backend: Signer("ES256", elliptic_key()).token("u-1"),
    "another secret": lambda backend: Signer("HS256", "ik_" + "x" * 43).token("u-1"),
    "another user's": lambda backend: backend.token("u-2"),
    "nobody's": lambda backend: backend.token("u-1", sub=None),
    "alg none": lambda backend: jwt.encode({"sub": "u-1", "exp": 2**40}, "", algorithm="none"),
    "a public key as a secret": confused,
    "tampered with": lambda backend: tampered(backend.token("u-1")),
    "of absurd length": lambda backend: backend.token("u-1", padding="x" * 100_000),
    "no token at all": lambda backend: "user-1",
    "no text": lambda backend: {"sub": "u-1"},
}


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
def test_what_proves_nothing_is_refused_and_the_right_token_is_good(tab: Tab, backend: Backend, algorithm: str) -> None:
    signs = signer(backend, algorithm)
    backend.set(browser_identity="verified")
    tab.open()
    assert tab.init() == DONE
    said = {"userId": "u-1", "name": "Ada", "metadata": {"theme": "dark"}}
    tokens = []
    for why, make in REFUSALS.items():
        tokens.append(make(signs))
        proof = {} if tokens[-1] is None else {"identityToken": tokens[-1]}
        with tab.page.expect_response(backend.endpoint + "/update") as answered:
            assert tab.call("updateUser", said | proof) == REFUSED, why
        answer = answered.value.json()
        missing = "IDENTITY_MISSING" if tokens[-1] is None else "IDENTITY_INVALID"
        assert (answer["errorCode"], answer["shouldRestartSession"]) == (missing, False), why
    assert backend.users() == []
    assert backend.session(tab.session_id() or "")["user_id"] is None

    good = signs.token("u-1", public_metadata={"plan": "pro", "limits": {"seats": 3}})
    assert tab.call("updateUser", said | {"identityToken": good}) == DONE
    user = backend.user("u-1")
    assert user["public_metadata"] == {"plan": "pro", "limits": {"seats": 3}}
    assert (user["name"], user["traits"]) == ("Ada", {"theme": "dark"})
    assert backend.session(tab.session_id() or "")["user_id"] == user["id"]
    kept = json.dumps([user, backend.history("u-1"), backend.session(tab.session_id() or "")])
    for token in (good, *tokens):
        assert not isinstance(token, str) or token[-40:] not in kept + backend.server.log()


def test_identify_carries_its_token_in_the_metadata(tab: Tab, backend: Backend) -> None:
    signs = signer(backend, "ES256")
    made = backend.client.post("/v1/users", json={"external_id": "u-1", "first_name": "Ada", "name": "Ada L"})
    assert made.status_code == 201
    backend.set(browser_identity="verified")
    tab.open()
    assert tab.init() == DONE
    token = signs.token("u-1", public_metadata={"plan": "pro"})
    said = {"userId": "u-1", "email": "ada@example.com", "name": "Ada Lovelace"}
    assert tab.call("identify", said) == REFUSED
    assert tab.call("identify", said | {"metadata": {"theme": "dark", "$identity_token": token}}) == DONE
    user = backend.user("u-1")
    assert user["traits"] == {"theme": "dark"}
    assert user["name"] == "Ada Lovelace", "a verified browser may write what a backend owns"
    assert (user["contact_email"], user["public_metadata"]) == ("ada@example.com", {"plan": "pro"})


def test_somebody_who_is_signed_in_with_userfold_needs_no_other_token(tab: Tab, backend: Backend) -> None:
    ada = backend.client.post("/v1/users", json={"external_id": "u-1"}).json()
    backend.client.post("/v1/users", json={"external_id": "u-2"})
    token = backend.client.post(f"/v1/users/{ada['id']}/sessions").json()["token"]
    backend.set(browser_identity="verified")
    tab.open()
    assert tab.init() == DONE
    assert tab.call("updateUser", {"userId": "u-2", "identityToken": token, "metadata": {"a": 1}}) == REFUSED
    assert tab.call("updateUser", {"userId": "u-1", "identityToken": token, "metadata": {"a": 1}}) == DONE
    assert backend.client.delete(f"/v1/users/{ada['id']}/sessions").status_code == 204
    assert tab.call("updateUser", {"userId": "u-1", "identityToken": token, "metadata": {"a": 2}}) == REFUSED
    assert (backend.user("u-1")["traits"], backend.user("u-2")["traits"]) == ({"a": 1}, {})


def test_in_an_open_project_a_token_counts_and_is_stripped_and_none_is_needed(tab: Tab, backend: Backend) -> None:
    signs = signer(backend, "HS256")
    assert "browser_identity: open" in backend.server.log()
    tab.open()
    assert tab.init() == DONE
    wrong = Signer("HS256", "ik_" + "x" * 43).token("u-1", public_metadata={"plan": "free"})
    assert (
        tab.call("updateUser", {"userId": "u-1", "identityToken": wrong, "metadata": {"$identity_token": wrong}})
        == DONE
    )
    assert tab.call("updateUser", {"userId": "u-1", "metadata": {"a": 1}}) == DONE
    assert "identity_invalid" in backend.server.log()
    right = signs.token("u-1", public_metadata={"plan": "pro"})
    assert tab.call("updateUser", {"userId": "u-1", "metadata": {"$identity_token": right}}) == DONE
    user = backend.user("u-1")
    assert (user["traits"], user["public_metadata"]) == ({"a": 1}, {"plan": "pro"})
    assert [change["trust"] for change in backend.history("u-1")] == ["browser", "browser", "verified"]
    kept = json.dumps([user, backend.history("u-1")]) + backend.server.log()
    assert right not in kept
    assert wrong not in kept
