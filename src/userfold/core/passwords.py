"""Passwords: what one may be, and which digests of one are taken.

`userfold.secrets` makes a digest of a password before any rule sees it.
"""

from __future__ import annotations

import re

from userfold.core.errors import FieldFormatInvalid, PasswordTooLong, PasswordTooShort

LENGTH_MIN = 8
LENGTH_MAX = 1024

# Whoever brings a digest decides what it costs to verify it, up to these.
MEMORY_KIB_MAX = 256 * 1024
PASSES_MAX = 16
LANES_MAX = 16
BCRYPT_COST_MAX = 15

_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=(?:16|19)\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,128})\$([A-Za-z0-9+/]{16,128})"
)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


def check_length(password: str) -> None:
    """Refuse a password that is too easily guessed, or so long that hashing it is a burden."""
    if len(password) < LENGTH_MIN:
        raise PasswordTooShort(path="/password", length_min=LENGTH_MIN)
    if len(password) > LENGTH_MAX:
        raise PasswordTooLong(path="/password", length_max=LENGTH_MAX)


def check_digest(digest: str, path: str) -> None:
    """Refuse a digest that could not be verified, or only at a price that nobody would pay for a sign-in."""
    argon2, bcrypt = _ARGON2.fullmatch(digest), _BCRYPT.fullmatch(digest)
    if argon2 is not None:
        memory, passes, lanes = map(int, argon2.groups()[:3])
        # RFC 9106, 3.1: at least 8 KiB for each lane.
        if not (1 <= lanes <= LANES_MAX and 8 * lanes <= memory <= MEMORY_KIB_MAX and 1 <= passes <= PASSES_MAX):
            limits = f"m up to {MEMORY_KIB_MAX}, t up to {PASSES_MAX} and p up to {LANES_MAX}"
            raise FieldFormatInvalid(path=path, reason=f"of Argon2's parameters {limits} are taken")
        # Base 64 of whole bytes, without padding.
        if any(len(part) % 4 == 1 for part in argon2.groups()[3:]):
            raise FieldFormatInvalid(path=path, reason="the salt or the hash of Argon2 is cut off")
    elif bcrypt is not None:
        if not 4 <= int(bcrypt[1]) <= BCRYPT_COST_MAX:
            raise FieldFormatInvalid(path=path, reason=f"a cost from 4 to {BCRYPT_COST_MAX} is taken")
    else:
        raise FieldFormatInvalid(path=path, reason="a digest made by argon2id, argon2i, argon2d or bcrypt is needed")
