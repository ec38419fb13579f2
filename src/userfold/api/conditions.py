"""What a write may carry in any API: a condition on the version (`If-Match`), and a key that makes it done once."""

from __future__ import annotations

import hashlib
import hmac
import re

from userfold.api.wire import HeaderInvalid, Request
from userfold.core.commands import IfMatch, Once

IDEMPOTENCY_KEY_LENGTH_MAX = 255

# `/openapi.json` shows it, so it is written as every regular expression understands it.
_TAG = '(?:W/)?"[^"]*"'
ENTITY_TAGS_PATTERN = f"^{_TAG}(?:[ \\t]*,[ \\t]*{_TAG})*$"

_ENTITY_TAGS = re.compile(ENTITY_TAGS_PATTERN)
_QUOTED = re.compile(r'"[^"]*"')
_STRONG_VERSION = re.compile(r'(?<!W/)"([1-9]\d{0,17})"')


def etag(version: int) -> tuple[bytes, bytes]:
    """The entity tag of a user, a segment or an attribute is its version."""
    return b"etag", b'"%d"' % version


def if_match(request: Request) -> IfMatch:
    """The condition that `If-Match` makes (RFC 9110, 13.1.1). Weak tags never match, as the RFC asks for."""
    _refuse_if_none_match(request)
    value = request.header(b"if-match")
    if value is None:
        return None
    value = value.strip()
    if value == "*":
        return "*"
    if not _ENTITY_TAGS.fullmatch(value):
        raise HeaderInvalid(name="If-Match", reason='a version in quotes is needed, such as "3"')
    return tuple(map(int, _STRONG_VERSION.findall(value)))


def has_it(request: Request, version: int) -> bool:
    """Whether who asks has that version already, as `If-None-Match` says (RFC 9110, 13.1.2). Weak tags count here."""
    value = (request.header(b"if-none-match") or "").strip()
    return value == "*" or (bool(_ENTITY_TAGS.fullmatch(value)) and f'"{version}"' in _QUOTED.findall(value))


def once(request: Request) -> Once | None:
    """What makes the request idempotent, if it has an `Idempotency-Key`.

    A key counts for one credential, method and path; the request is the same if everything else that matters is.
    """
    key = idempotency_key(request)
    if key is None:
        return None
    asked = (
        request.query_string,
        (request.header(b"content-type") or "").encode(),
        (request.header(b"if-match") or "").encode(),
        request.body,
    )
    return once_of(request, key, b"\n".join(asked))


def once_of(request: Request, key: str, asked: bytes) -> Once:
    """What makes `asked` idempotent under `key` for who asks, by this method and path."""
    assert request.caller is not None
    scope = "\n".join((request.caller.key.id, request.method, request.path, key))
    return Once(hashlib.sha256(scope.encode()).hexdigest(), digest_of(request, asked))


def digest_of(request: Request, asked: bytes) -> str:
    """What stands for `asked` in a record. It may hold a password, so it cannot be guessed without the caller's key."""
    credential = request.headers.get(b"authorization", b"")
    return hmac.digest(credential, asked, hashlib.sha256).hex()


def idempotency_key(request: Request) -> str | None:
    """The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), if there is one."""
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not (0 < len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
        raise HeaderInvalid(name="Idempotency-Key", reason="1 to 255 printable ASCII characters are needed")
    return key


def unconditional(request: Request) -> None:
    """Refuse a condition where it would not be kept: whoever sends one relies on it."""
    if request.header(b"if-match") is not None:
        raise HeaderInvalid(name="If-Match", reason="nothing here has a version to compare")
    _refuse_if_none_match(request)


def _refuse_if_none_match(request: Request) -> None:
    """No write keeps it, and a server that passed over it would do what must not be done (RFC 9110, 13.1.2)."""
    if request.header(b"if-none-match") is not None:
        raise HeaderInvalid(name="If-None-Match", reason="a write takes If-Match only; POST makes what must be new")


def not_repeatable(request: Request) -> None:
    """Refuse what is said of a write elsewhere, where the answer shows a secret: it is not kept, so not given again."""
    unconditional(request)
    if request.header(b"idempotency-key") is not None:
        raise HeaderInvalid(name="Idempotency-Key", reason="the answer would have to be kept, and it shows a secret")
