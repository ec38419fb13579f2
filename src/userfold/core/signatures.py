"""Signatures of webhooks, as Svix makes them, and the Standard Webhooks specification after it.

Signed is `id.timestamp.body` with HMAC-SHA256. The key is what a secret says in base64 after `whsec_`. While a secret
is being replaced, a delivery carries a signature for each: `v1,AAAA… v1,BBBB…`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
TOLERANCE_MS = 300_000  # between the sender's clock and ours, in both directions; as Svix's own libraries have it
_VERSION = "v1,"
_SECONDS = re.compile(r"[0-9]{1,12}")


def signing_key(secret: str) -> bytes:
    """The key of a secret such as `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`. Raises `ValueError`, without the secret."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"it must begin with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(f"base64 is needed after {SECRET_PREFIX}")
    return key


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a delivery, as it is sent."""
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + body
    return _VERSION + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def is_signed(key: bytes, message_id: str, timestamp: str, body: bytes, given: str) -> bool:
    """Whether one of the signatures in `given` is that of `key`. The time it takes tells nothing of the right one."""
    wanted = signature(key, message_id, timestamp, body).encode()
    found = [hmac.compare_digest(wanted, one.encode("latin-1")) for one in given.split(" ")]
    return any(found)


def is_recent(timestamp: str, now: int) -> bool:
    """Whether `timestamp`, seconds in decimal, is close enough to `now` (ms)."""
    return bool(_SECONDS.fullmatch(timestamp)) and abs(int(timestamp) * 1000 - now) <= TOLERANCE_MS
