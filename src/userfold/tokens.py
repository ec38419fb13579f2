"""Sign-in tokens: a session's id and 256 random bits, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from userfold.core.ids import make_id


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
