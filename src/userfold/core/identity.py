"""Whom a browser proves to be. Its signature was verified beside the core; what a token says is judged here.

A browser that names a user may show evidence: claims that the app's backend signed for that user, or the token of a
sign-in. By the project's `browser_identity` it is then

| evidence | open                                  | verified                       |
|----------|---------------------------------------|--------------------------------|
| none     | a browser, taken at its word          | refused: `identity_missing`    |
| no good  | the same; the answer says so          | refused: `identity_invalid`    |
| good     | a verified browser                    | a verified browser             |

Claims are those of RFC 7519: `sub` is the userId, `exp` must be there, `nbf` and `aud` are kept where they are, and
`public_metadata` has attributes for the bag of that name.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from userfold.core.claims import user_named
from userfold.core.commands import BrokenToken, Edit, SignedClaims, SignInToken, UpsertUser
from userfold.core.diff import leaves
from userfold.core.errors import IdentityInvalid, IdentityMissing
from userfold.core.reading import Records, read
from userfold.core.records import Bag, Key, ProjectSettings, SignIn
from userfold.core.sign_ins import is_signed_in
from userfold.core.trust import Author, Ignored

AUDIENCE = "userfold"
SKEW_MS = 30_000  # by so much a backend's clock may be ahead of ours
_PATH = "/identity_token"


def establish(
    command: UpsertUser, records: Records, now: int, settings: ProjectSettings
) -> tuple[UpsertUser, tuple[Ignored, ...]]:
    """The command as its evidence makes it, and evidence that was passed over.

    Raises `IdentityMissing`, `IdentityInvalid`, `Unread`.
    """
    if command.author.trust != "browser":
        return command, ()
    try:
        attributes = _proven(command, records, now)
    except (IdentityMissing, IdentityInvalid) as refusal:
        if settings.browser_identity == "verified":
            raise
        return command, () if command.evidence is None else (Ignored(_PATH, refusal.code),)
    signed = frozenset(leaves(attributes, "/public_metadata")) if attributes else frozenset[str]()
    author = msgspec.structs.replace(command.author, trust="verified", signed=signed)
    # Last, so that at every signed path the value is the token's, whatever the browser said of it.
    edits = (*command.edits, Edit("merge_patch", {"public_metadata": attributes})) if attributes else command.edits
    return msgspec.structs.replace(command, author=author, edits=edits), ()


def refuse_unproven(author: Author, settings: ProjectSettings) -> None:
    """Raise `IdentityMissing` if `author` has proved nothing and the project asks for it."""
    if author.trust == "browser" and settings.browser_identity == "verified":
        raise IdentityMissing(path=_PATH)


def _proven(command: UpsertUser, records: Records, now: int) -> Bag:
    """The attributes that were signed for the user whom the command names."""
    match command.evidence:
        case SignedClaims(claims):
            return judge_claims(claims, command.external_id, now)
        case SignInToken() as token:
            return _judge_sign_in(command, token, records, now)
        case BrokenToken(reason):
            raise _invalid(reason)
        case _:
            raise IdentityMissing(path=_PATH)


def judge_claims(claims: Mapping[str, Any], name: str, now: int) -> Bag:
    """The attributes in the claims of a token that is to be good for the user `name` at `now` (ms).

    Raises `IdentityInvalid`.
    """
    if claims.get("sub") != name:
        raise _invalid("its sub is not the user whom the request names")
    expires = _time(claims, "exp")
    if expires is None:
        raise _invalid("it has no exp")
    if now >= expires:
        raise _invalid("it has expired")
    begins = _time(claims, "nbf")
    if begins is not None and now + SKEW_MS < begins:
        raise _invalid("it is not good yet")
    audience = claims.get("aud", AUDIENCE)
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise _invalid(f"it is for somebody else: its aud is not {AUDIENCE}")
    attributes = claims.get("public_metadata", {})
    if not isinstance(attributes, dict):
        raise _invalid("its public_metadata is no object")
    return attributes


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, 2: seconds) in ms, or None if it is not there."""
    if name not in claims:
        return None
    value = claims[name]
    # An integer may be too large to be asked whether it is finite; a NaN would never be over.
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
        raise _invalid(f"its {name} is no number of seconds")
    return value * 1000


def _judge_sign_in(command: UpsertUser, token: SignInToken, records: Records, now: int) -> Bag:
    """Nothing is signed in the token of a sign-in; it proves whose it is, who must be the user that is named."""
    found = read(records, Key("sign_in", command.project_id, token.session_id), SignIn)
    if found is None or not hmac.compare_digest(found.token_digest, token.token_digest):
        raise _invalid("it is the token of no sign-in")
    _, user = user_named(command.project_id, command.external_id, records)
    if not is_signed_in(found, user, now):
        raise _invalid("the sign-in is over, or of another user")
    return {}


def _invalid(reason: str) -> IdentityInvalid:
    return IdentityInvalid(path=_PATH, reason=reason)
