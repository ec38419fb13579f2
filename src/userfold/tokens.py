"""Credentials that Userfold makes: keys of a project and tokens of sign-ins. Of a secret one only a digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from userfold.core.ids import make_id
from userfold.core.records import ApiKey


def new_token(now_ms: int) -> tuple[str, str]:
    """A new session id, and the token that names it."""
    session_id = make_id("ses_", now_ms, secrets.randbits(80))
    return session_id, f"{session_id}.{secrets.token_urlsafe(32)}"


def session_id_of(token: str) -> str:
    """The session that a token names, whether or not it is genuine."""
    return token.partition(".")[0]


def digest(token: str) -> str:
    """What is kept of a token or a key: its SHA-256. They are long and random; a slow hash would protect no more."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def matches(token: str, kept: str) -> bool:
    """Whether `kept` is the digest of `token`, in a time that does not depend on how much is right."""
    return hmac.compare_digest(digest(token), kept)


def api_key(project_id: str, token: str, name: str, now: int, *, read_only: bool = False) -> ApiKey:
    """The record of a key. Of a secret one it keeps only the digest."""
    publishable = token.startswith("key_")
    return ApiKey(
        id=make_id("ak_", now, secrets.randbits(80)),
        project_id=project_id,
        kind="publishable" if publishable else "secret",
        name=name,
        token_digest=digest(token),
        token=token if publishable else None,
        read_only=read_only,
        created_at=now,
    )


def webhook_key(project_id: str, secret: str, name: str, now: int, *, encrypt: Callable[[str], str]) -> ApiKey:
    """The record of the secret by which another system signs what it tells. It has to be read, so it is encrypted."""
    return ApiKey(
        id=make_id("ak_", now, secrets.randbits(80)),
        project_id=project_id,
        kind="webhook",
        name=name,
        token_digest=digest(secret),
        verifier=encrypt(secret),
        created_at=now,
    )


def has_secret(key: ApiKey) -> bool:
    """Whether a key keeps a secret, encrypted, by which it verifies what others sign."""
    return key.verifier is not None and key.algorithm != "ES256"


def new_secret_key() -> str:
    """A credential of a backend: 256 random bits."""
    return "sk_" + secrets.token_urlsafe(32)


def new_publishable_key() -> str:
    """What a browser names its project by. Not a secret."""
    return "key_" + secrets.token_hex(16)
