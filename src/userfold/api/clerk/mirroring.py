"""Clerk's own users, as it shows them in webhooks and through its API, as commands that take them over."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from userfold.api.clerk.wire import METADATA
from userfold.core.commands import Edit, MirrorUser, PasswordDigest
from userfold.core.errors import FieldInvalid
from userfold.core.fields import time_ms
from userfold.core.jsontext import decode
from userfold.core.passwords import check_digest
from userfold.core.trust import Author

_SAME = ("external_id", "first_name", "last_name", "locale", "timezone", *METADATA)
# Clerk's name of a field → ours.
_FLAGS = {"banned": "disabled", "locked": "locked"}


def mirroring(
    user: dict[str, Any],
    project_id: str,
    author: Author,
    *,
    told_at: int = 0,
    password_digest: PasswordDigest = msgspec.UNSET,
) -> MirrorUser:
    """The command that takes over `user`, Clerk's `User`, of which Clerk told at `told_at` (ms). Raises `FieldInvalid`.

    What Clerk knows and Userfold does not keep (accounts elsewhere, passkeys, organizations) is left out. So is the
    picture: it stays at Clerk.
    """
    return MirrorUser(
        project_id=project_id,
        author=author,
        user_id=text_of(user, "id"),
        edits=(Edit("replace", mirrored_fields(user)),),
        changed_at=time_of(user, "updated_at"),
        told_at=told_at,
        created_at=time_of(user, "created_at") if "created_at" in user else None,
        password_digest=password_digest,
    )


def mirroring_line(project_id: str, author: Author, digests: Mapping[str, str], text: bytes) -> MirrorUser:
    """The same of a line of JSON. `digests`: {Clerk's id of a user: the digest of its password}."""
    user = decode(text)
    if not isinstance(user, dict):
        raise FieldInvalid(path="", reason="an object is needed: a user as Clerk's API shows it")
    digest = digests.get(text_of(user, "id"), msgspec.UNSET)
    return mirroring(user, project_id, author, password_digest=digest)


def digests_in(export: Iterable[str]) -> tuple[dict[str, str], int]:
    """{user id: digest} of the CSV that Clerk's dashboard exports, and how many it has that cannot be verified here.

    Raises `ValueError` if it is no such file.
    """
    rows = csv.DictReader(export)
    if not {"id", "password_digest"} <= set(rows.fieldnames or ()):
        raise ValueError("it has no columns id and password_digest")
    digests, left_out = {}, 0
    for row in rows:
        digest = row["password_digest"]
        if not digest:
            continue
        try:
            check_digest(digest, "/password_digest")
        except FieldInvalid:
            left_out += 1
        else:
            digests[row["id"]] = digest
    return digests, left_out


def mirrored_fields(user: dict[str, Any]) -> dict[str, Any]:
    """Our fields from those that Clerk's `User` has; one that it does not have is not among them."""
    fields = {name: user[name] for name in _SAME if name in user}
    fields |= {ours: user[name] for name, ours in _FLAGS.items() if name in user}
    if "username" in user:
        fields["username"] = user["username"] or None
    if "email_addresses" in user:
        fields["email_addresses"] = _addresses(user, "email_address", "email_addresses")
    if "phone_numbers" in user:
        fields["phone_numbers"] = _addresses(user, "phone_number", "phone_numbers")
    return fields


def text_of(user: dict[str, Any], name: str) -> str:
    """A string that must be there."""
    given = user.get(name)
    if not isinstance(given, str):
        raise FieldInvalid(path=f"/{name}", reason="a string is needed")
    return given


def time_of(user: dict[str, Any], name: str) -> int:
    """A time in ms that must be there."""
    return time_ms(user.get(name), f"/{name}")


def _addresses(user: dict[str, Any], name: str, field: str) -> Any:
    """The addresses that are the user's own: verified, reserved for it, or what it signs in by.

    At Clerk, anybody may write an address of somebody else's into his account, where it stands unverified and keeps
    nobody from having it. Here an address has one owner, so it is not taken over before it is verified.
    """
    given = user[field]
    if not isinstance(given, list) or not all(isinstance(address, dict) for address in given):
        raise FieldInvalid(path=f"/{field}", reason="a list of objects is needed")
    primary = user.get(f"primary_{name}_id")
    return [
        {
            name: address.get(name),
            "verified": _is_verified(address),
            "primary": primary is not None and address.get("id") == primary,
        }
        for address in given
        if _is_verified(address) or address.get("reserved") is True or address.get("id") == primary
    ]


def _is_verified(address: dict[str, Any]) -> bool:
    verification = address.get("verification")
    return isinstance(verification, dict) and verification.get("status") == "verified"
