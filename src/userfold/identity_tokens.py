"""Tokens by which an app's backend tells who a browser's user is: JSON Web Tokens (RFC 7519), and the keys that verify
them.

Only the signature is verified here, each key by its own algorithm and no other: so a token without one (`none`), or one
that takes a public key for a shared secret (RFC 8725, 2.1), is signed by nobody. What a token says is judged by
`core.identity`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from userfold.core import jsontext
from userfold.core.commands import BrokenToken, Evidence, SignedClaims, SignInToken
from userfold.core.errors import FieldInvalid, InputError
from userfold.core.ids import make_id
from userfold.core.records import ApiKey, IdentityAlgorithm
from userfold.tokens import digest, session_id_of

TOKEN_LENGTH_MAX = 8_192  # a bag of attributes may be in it; nobody needs to have more verified
PEM_LENGTH_MAX = 4_096

_jws = jwt.PyJWS(algorithms=["HS256", "ES256"])


class VerificationKey(msgspec.Struct, frozen=True):
    """A key that verifies tokens of one algorithm: the bytes of a shared secret, or a public key."""

    algorithm: IdentityAlgorithm
    key: bytes | EllipticCurvePublicKey


def new_shared_secret() -> str:
    """What a backend signs with by HS256, and what verifies it here: 256 random bits."""
    return "ik_" + secrets.token_urlsafe(32)


def identity_key(
    project_id: str, public_key: str | None, name: str, now: int, *, encrypt: Callable[[str], str]
) -> tuple[ApiKey, str | None]:
    """The record of a key that verifies by ES256 with `public_key` (PEM), or else by HS256 with a secret made here.

    The secret is the second part, readable now and never again. Raises `FieldInvalid`.
    """
    secret = new_shared_secret() if public_key is None else None
    verifier = encrypt(secret) if secret is not None else checked_public_key(public_key or "")
    key = ApiKey(
        id=make_id("ak_", now, secrets.randbits(80)),
        project_id=project_id,
        kind="identity",
        name=name,
        token_digest=digest(verifier),
        algorithm="HS256" if public_key is None else "ES256",
        verifier=verifier,
        created_at=now,
    )
    return key, secret


def verification_key(algorithm: IdentityAlgorithm, verifier: str) -> VerificationKey:
    """The key that a shared secret is, or the PEM of a public key that was checked."""
    if algorithm == "HS256":
        return VerificationKey(algorithm, verifier.encode())
    return VerificationKey(algorithm, _elliptic_key(verifier))


def checked_public_key(pem: str) -> str:
    """The PEM of an ES256 public key in its usual form. Raises `FieldInvalid`, which never repeats it."""
    if "PRIVATE" in pem:
        raise FieldInvalid(path="/public_key", reason="it is a private key, which must stay with who signs")
    try:
        key = _elliptic_key(pem[:PEM_LENGTH_MAX])
    except (ValueError, TypeError):
        raise FieldInvalid(path="/public_key", reason="it is not the PEM of a public key on the curve P-256") from None
    form = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form.decode()


def evidence_of(token: Any, keys: Iterable[VerificationKey]) -> Evidence | None:
    """What a token that somebody shows comes to; None if there is none."""
    if token is None:
        return None
    if not isinstance(token, str):
        return BrokenToken("it is no text")
    if len(token) > TOKEN_LENGTH_MAX:
        return BrokenToken(f"it is longer than {TOKEN_LENGTH_MAX} characters")
    if token.startswith("ses_"):
        return SignInToken(session_id_of(token), digest(token))
    return _signed(token, keys)


def _signed(token: str, keys: Iterable[VerificationKey]) -> SignedClaims | BrokenToken:
    for key in keys:
        try:
            payload = _jws.decode(token, key.key, algorithms=[key.algorithm])
        except (jwt.PyJWTError, ValueError):  # the latter for a text that has no UTF-8
            continue
        return _claims(payload)
    return BrokenToken("no key of this project has signed it")


def _claims(payload: Any) -> SignedClaims | BrokenToken:
    try:
        claims = jsontext.decode(payload)  # as strict as with any body: what is signed may be stored
    except InputError:
        return BrokenToken("its claims are no strict JSON")
    return SignedClaims(claims) if isinstance(claims, dict) else BrokenToken("its claims are no object")


def _elliptic_key(pem: str) -> EllipticCurvePublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise TypeError("not on P-256")
    return key
