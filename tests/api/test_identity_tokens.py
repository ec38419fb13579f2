"""Identity keys and tokens over HTTP, over every store: what proves who a browser's user is, and what does not.

What a token says is judged in tests/core/test_identity.py; here it is who signed it, and what becomes of keys.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.api.browser import Browser
from tests.identity import Signer, elliptic_key, pem_of, private_pem_of
from tests.server import InProcess, Keys
from userfold.core.commands import BrokenToken, SignedClaims
from userfold.core.records import ApiKey, Key
from userfold.directory import Caller, Directory
from userfold.identity_tokens import PEM_LENGTH_MAX, TOKEN_LENGTH_MAX, evidence_of, verification_key

ALGORITHMS = ("HS256", "ES256")
UNSIGNED = BrokenToken("no key of this project has signed it")


def make_key(api: InProcess, *, key: str | None = None, **document: Any) -> dict[str, Any]:
    """An identity key that was just made, as the reply shows it."""
    reply = api.ask("POST", "/v1/project/keys", {"name": "backend", "kind": "identity"} | document, key=key)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def signer(api: InProcess, algorithm: str, *, key: str | None = None) -> tuple[Signer, str]:
    """A backend whose key the project has from now on, and the id of the key."""
    if algorithm == "HS256":
        made = make_key(api, key=key)
        return Signer(algorithm, made["token"]), made["id"]
    private = elliptic_key()
    return Signer(algorithm, private), make_key(api, public_key=pem_of(private), key=key)["id"]


@pytest.fixture
def asking(browser: Browser) -> Browser:
    """A browser whose project takes nobody at their word."""
    browser.limit(browser_identity="verified")
    return browser


def refused(browser: Browser, name: str, token: str | None) -> str:
    """The code of the refusal. Nothing was stored."""
    before = browser.api.writes
    reply = browser.identify(name, token=token, traits={"plan": "pro"})
    assert (reply.status_code, browser.api.writes) == (403, before), reply.text
    code: str = reply.json()["code"]
    return code


# Who signed it.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_that_the_backend_signed_makes_a_verified_browser(asking: Browser, algorithm: str) -> None:
    backend, _ = signer(asking.api, algorithm)
    token = backend.token("u-1", public_metadata={"plan": "pro", "limits": {"seats": 3}})
    reply = asking.identify("u-1", token=token, first_name="Ada", traits={"theme": "dark"})
    assert (reply.status_code, reply.json()["ignored"]) == (201, {})
    user = asking.api.read(reply.json()["user"]["id"])
    assert user["public_metadata"] == {"plan": "pro", "limits": {"seats": 3}}
    assert (user["first_name"], user["traits"], user["private_metadata"]) == ("Ada", {"theme": "dark"}, {})
    (change,) = asking.api.history(user["id"])
    assert change["trust"] == "verified"
    assert token not in json.dumps(change)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_tokens_prove_nothing(asking: Browser, algorithm: str) -> None:
    backend, _ = signer(asking.api, algorithm)
    stranger = Signer(algorithm, "ik_" + "x" * 43 if algorithm == "HS256" else elliptic_key())
    good = backend.token("u-1")
    head, claims, signature = good.split(".")
    other_claims = backend.token("u-2").split(".")[1]
    unsigned = jwt.encode({"sub": "u-1", "exp": 2**40}, "", algorithm="none")
    assert refused(asking, "u-1", None) == "identity_missing"
    for token in (
        stranger.token("u-1"),
        backend.token("u-2"),
        backend.token("u-1", exp=1_000_000_000),
        backend.token("u-1", exp=None),
        backend.token("u-1", sub=None),
        f"{head}.{other_claims}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        unsigned,
        unsigned + signature,
        "",
        "x",
        "..",
        "ses_nobody.token",
        backend.token("u-1", padding="x" * TOKEN_LENGTH_MAX),
    ):
        assert refused(asking, "u-1", token) == "identity_invalid", token
    assert asking.identify("u-1", token=good).status_code == 201


def test_a_public_key_is_no_shared_secret(asking: Browser) -> None:
    """RFC 8725, 2.1: HS256 with what verifies ES256, which is public."""
    private = elliptic_key()
    make_key(asking.api, public_key=pem_of(private))
    signer(asking.api, "HS256")  # so that this algorithm is known at all
    for secret in (pem_of(private), pem_of(private).strip(), pem_of(private).replace("\n", "\r\n")):
        head, claims = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "u-1", "exp": 2**40})
        )
        hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(hmac.sign(f"{head}.{claims}".encode(), secret.encode())).decode()
        assert refused(asking, "u-1", f"{head}.{claims}.{signature.rstrip('=')}") == "identity_invalid"


def test_the_token_of_a_sign_in_proves_whose_it_is(asking: Browser) -> None:
    ada, eve = asking.api.user(external_id="u-1"), asking.api.user(external_id="u-2")
    token = asking.api.ask("POST", f"/v1/users/{ada['id']}/sessions").json()["token"]
    reply = asking.identify("u-1", token=token, unsafe_metadata={"theme": "dark"})
    assert (reply.status_code, reply.json()["user"]["unsafe_metadata"]) == (200, {"theme": "dark"})
    assert refused(asking, "u-2", token) == "identity_invalid"
    assert refused(asking, "u-1", token + "x") == "identity_invalid"
    asking.api.ask("DELETE", f"/v1/users/{ada['id']}/sessions")
    assert refused(asking, "u-1", token) == "identity_invalid"
    assert asking.api.read(eve["id"]) == eve


# Keys.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_are_replaced_one_after_the_other(asking: Browser, algorithm: str) -> None:
    old, old_id = signer(asking.api, algorithm)
    new, _ = signer(asking.api, algorithm)
    for backend in (old, new):
        assert asking.identify("u-1", token=backend.token("u-1")).is_success
    assert asking.api.ask("DELETE", f"/v1/project/keys/{old_id}").status_code == 204
    assert refused(asking, "u-1", old.token("u-1")) == "identity_invalid"
    assert asking.identify("u-1", token=new.token("u-1")).is_success


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_of_another_project_verifies_nothing(asking: Browser, other: Keys, algorithm: str) -> None:
    backend, _ = signer(asking.api, algorithm, key=other.secret)
    signer(asking.api, algorithm)
    assert refused(asking, "u-1", backend.token("u-1")) == "identity_invalid"


def test_a_shared_secret_is_shown_once_and_kept_encrypted(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = make_key(api)
    secret = made.pop("token")
    assert (made["kind"], made["algorithm"], made["read_only"]) == ("identity", "HS256", False)
    listed = api.ask("GET", "/v1/project/keys")
    assert made in listed.json()["data"]
    at = Key("api_key", api.keys.project_id, made["id"])
    record = api.wait_for(api.store.get((at,)))[at]
    assert isinstance(record, ApiKey)
    assert record.verifier is not None
    assert api.app.service.encryption.decrypt(record.verifier) == secret
    shown = listed.text + api.ask("GET", "/v1/project").text + caplog.text
    for kept in (secret, record.verifier, record.token_digest):
        assert kept not in shown
    assert secret not in repr(record)


def test_a_public_key_needs_no_secret(api: InProcess) -> None:
    made = make_key(api, public_key=pem_of(elliptic_key()))
    assert (made["algorithm"], "token" in made) == ("ES256", False)


def test_an_identity_key_opens_nothing(asking: Browser) -> None:
    secret = make_key(asking.api)["token"]
    pem = pem_of(elliptic_key())
    make_key(asking.api, public_key=pem)
    assert asking.api.ask("GET", "/v1/users", key=secret).status_code == 401
    assert asking.ask("PUT", "/users/by-external-id/u-1", {}, key=secret).status_code == 401
    assert asking.api.ask("GET", "/v1/users", key=base64.b64encode(pem.encode()).decode()).status_code == 401


def on_another_curve() -> str:
    return pem_of(ec.generate_private_key(ec.SECP384R1()))


BAD: dict[str, dict[str, Any]] = {
    "of no identity key": {"kind": "secret", "public_key": pem_of(elliptic_key())},
    "of a browser's key": {"kind": "publishable", "public_key": pem_of(elliptic_key())},
    "empty": {"public_key": ""},
    "no PEM": {"public_key": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"},
    "not ASCII": {"public_key": "ключ"},
    "private": {"public_key": private_pem_of(elliptic_key())},
    "RSA": {"public_key": pem_of(rsa.generate_private_key(65537, 2048))},
    "another curve": {"public_key": on_another_curve()},
    "cut off": {"public_key": pem_of(elliptic_key())[:80]},
    "too long": {"public_key": "\n" * PEM_LENGTH_MAX + pem_of(elliptic_key())},
    "null": {"public_key": None},
    "a list": {"public_key": []},
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_public_key_is_refused_and_never_repeated(api: InProcess, why: str) -> None:
    before = api.writes
    reply = api.ask("POST", "/v1/project/keys", {"name": "backend", "kind": "identity"} | BAD[why])
    assert (reply.status_code, reply.json()["path"], api.writes) == (422, "/public_key", before)
    assert ("it is a private key" in reply.json()["detail"]) == (why == "private")
    given = BAD[why]["public_key"]
    assert not given or not isinstance(given, str) or given.strip().splitlines()[-1] not in reply.text


def test_a_secret_that_cannot_be_read_verifies_nothing_and_the_log_says_so_once(
    asking: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    backend, _ = signer(asking.api, "HS256")
    other, _ = signer(asking.api, "ES256")
    blind = Directory(asking.api.store)  # without a key to decrypt

    def caller() -> Caller:
        blind.forget()
        found = asking.api.wait_for(blind.caller(asking.api.keys.publishable))
        assert found is not None
        return found

    keys = [caller().identity_keys for _ in range(3)][-1]
    assert evidence_of(backend.token("u-1"), keys) == UNSIGNED
    assert isinstance(evidence_of(other.token("u-1"), keys), SignedClaims)
    said = [line for line in caplog.messages if "verifies nothing" in line]
    assert len(said) == 1


# Tokens that nobody would send.

SECRET = "ik_" + "s" * 43
SHARED = verification_key("HS256", SECRET)


def crafted(header: bytes, payload: bytes) -> str:
    """A token with these parts, properly signed."""
    head, claims = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(hmac.sign(head + b"." + claims, SECRET.encode())).rstrip(b"=")
    return b".".join((head, claims, signature)).decode()


HEAD = b'{"alg":"HS256"}'
ODD = {
    "a header that nests": crafted(b'{"alg":"HS256","x":' + b"[" * 2_900 + b"]" * 2_900 + b"}", b"{}"),
    "a header that is a list": crafted(b"[]", b"{}"),
    "a header that is no JSON": crafted(b"{", b"{}"),
    "no algorithm": crafted(b"{}", b"{}"),
    "an algorithm that is no text": crafted(b'{"alg":["HS256"]}', b"{}"),
    "the algorithm in small letters": crafted(b'{"alg":"hs256"}', b"{}"),
    "an extension that must be understood": crafted(b'{"alg":"HS256","crit":["x"],"x":1}', b"{}"),
    "a payload that is detached": crafted(b'{"alg":"HS256","b64":false,"crit":["b64"]}', b"{}"),
    "a lone surrogate": "\ud800.e30.AA",
    "many points": "." * 8_000,
    "U+0000": "\0",
}
ODD_CLAIMS = {
    "a list": (b"[]", "its claims are no object"),
    "NaN": (b'{"exp":NaN}', "its claims are no strict JSON"),
    "a key twice": (b'{"sub":"a","sub":"b"}', "its claims are no strict JSON"),
    "no UTF-8": (b'{"sub":"\xff"}', "its claims are no strict JSON"),
    "too deep": (b"[" * 2_000 + b"]" * 2_000, "its claims are no strict JSON"),
    "nothing": (b"", "its claims are no strict JSON"),
}


@pytest.mark.parametrize("why", ODD)
def test_an_odd_token_is_signed_by_nobody(why: str) -> None:
    assert evidence_of(ODD[why], [SHARED]) == UNSIGNED


@pytest.mark.parametrize("why", ODD_CLAIMS)
def test_odd_claims_are_none_although_they_are_signed(why: str) -> None:
    payload, reason = ODD_CLAIMS[why]
    assert evidence_of(crafted(HEAD, payload), [SHARED]) == BrokenToken(reason)


def test_a_token_may_be_as_long_as_the_limit() -> None:
    def of_length(length: int) -> str:
        claims = b'{"x":"' + b"x" * (length * 3 // 4 - 80) + b'"}'
        while len(token := crafted(HEAD, claims)) < length:
            claims = claims[:-2] + b'x"}'
        return token

    assert isinstance(evidence_of(of_length(TOKEN_LENGTH_MAX - 8), [SHARED]), SignedClaims)
    assert evidence_of(of_length(TOKEN_LENGTH_MAX + 8), [SHARED]) == BrokenToken("it is longer than 8192 characters")


@pytest.mark.parametrize("token", [1, True, [], {}, ["x"]], ids=repr)
def test_what_is_no_text_is_no_token(token: Any) -> None:
    assert evidence_of(token, [SHARED]) == BrokenToken("it is no text")
    assert evidence_of(None, [SHARED]) is None
