"""Passwords: what one may be, which digests of one are taken, and how a digest joins the user it belongs to.

A password itself never gets here: `userfold.secrets` makes a digest of it first. The digest is kept in the user's
`Secrets`, and nothing else ever holds it: the history says only that it changed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from userfold.core.commands import PasswordDigest
from userfold.core.errors import FieldFormatInvalid, PasswordTooLong, PasswordTooShort
from userfold.core.reading import Records, Writes, read
from userfold.core.records import Key, Operation, Secrets, User

LENGTH_MIN = 8
LENGTH_MAX = 1024

# Whoever brings a digest decides what it costs to verify it, up to these.
MEMORY_KIB_MAX = 256 * 1024
PASSES_MAX = 16
LANES_MAX = 16
BCRYPT_COST_MAX = 15

_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=(?:16|19)\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,128}"
)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

CHANGED = Operation(op="replace", path="/password")


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
        memory, passes, lanes = map(int, argon2.groups())
        # RFC 9106, 3.1: at least 8 KiB for each lane.
        if not (1 <= lanes <= LANES_MAX and 8 * lanes <= memory <= MEMORY_KIB_MAX and 1 <= passes <= PASSES_MAX):
            limits = f"m up to {MEMORY_KIB_MAX}, t up to {PASSES_MAX} and p up to {LANES_MAX}"
            raise FieldFormatInvalid(path=path, reason=f"of Argon2's parameters {limits} are taken")
    elif bcrypt is not None:
        if not 4 <= int(bcrypt[1]) <= BCRYPT_COST_MAX:
            raise FieldFormatInvalid(path=path, reason=f"a cost from 4 to {BCRYPT_COST_MAX} is taken")
    else:
        raise FieldFormatInvalid(path=path, reason="a digest made by argon2id, argon2i, argon2d or bcrypt is needed")


class Joined(NamedTuple):
    """What giving a user a password comes to: writes, what the history says, and the user's fields that change."""

    writes: Writes
    operations: tuple[Operation, ...]
    fields: dict[str, bool]


NOTHING = Joined({}, (), {})


def join_password(project_id: str, user: User, digest: PasswordDigest, records: Records) -> Joined:
    """What it comes to that `user` gets the password of `digest`."""
    if digest is msgspec.UNSET:
        return NOTHING
    if digest is not None:
        check_digest(digest, "/password_digest")
    at = Key("secrets", project_id, user.id)
    stored = read(records, at, Secrets)
    # A user that is just being made has no past, though it may take the place of one that has.
    before = stored if stored is not None and user.version > 0 else Secrets(id=user.id, version=0)
    enabled = digest is not None
    if before.password_digest == digest and user.password_enabled == enabled:
        return NOTHING
    writes: Writes = {at: msgspec.structs.replace(before, password_digest=digest, version=before.version + 1)}
    if user.password_enabled == enabled:
        return Joined(writes, (CHANGED,), {})
    flag = Operation(op="replace", path="/password_enabled", old=not enabled, new=enabled)
    return Joined(writes, (flag,), {"password_enabled": enabled})
