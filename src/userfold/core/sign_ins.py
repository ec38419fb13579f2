"""Sign-ins: who is signed in, for how long, and how that ends."""

from __future__ import annotations

import msgspec

from userfold.core.reading import Records, Writes, read_members
from userfold.core.records import Key, SignIn, User

LIVE_MAX = 100  # of one user; with one more, the oldest ends
# All of a user's are read when one begins: somebody who signs in every minute must not have more and more of them.
ENDED_KEPT_MAX = 400  # the oldest go before their time


def begin(project_id: str, new: SignIn, records: Records, now: int) -> Writes:
    """The writes that begin `new`, end the oldest of those that are too many, and remove the oldest that had ended."""
    members = read_members(records, Key("sign_ins", project_id, new.user_id), SignIn)
    live = sorted((member for member in members if member.is_live(now)), key=lambda member: member.id)
    surplus = live[: len(live) + 1 - LIVE_MAX] if len(live) >= LIVE_MAX else []
    ended = sorted((member for member in members if not member.is_live(now)), key=lambda member: member.id)
    writes: Writes = {_key(project_id, old): revoked(old, now) for old in surplus}
    writes |= {_key(project_id, old): None for old in ended[: max(len(ended) - ENDED_KEPT_MAX, 0)]}
    return writes | {_key(project_id, new): new}


def revoke_all(project_id: str, user_id: str, records: Records, now: int) -> Writes:
    """The writes that end every live sign-in of a user."""
    members = read_members(records, Key("sign_ins", project_id, user_id), SignIn)
    return {_key(project_id, member): revoked(member, now) for member in members if member.is_live(now)}


def is_signed_in(sign_in: SignIn, user: User | None, now: int) -> bool:
    """Whether who shows the token of `sign_in` is `user` at `now` (ms). A locked user stays signed in."""
    return sign_in.is_live(now) and user is not None and user.id == sign_in.user_id and not user.disabled


def revoked(sign_in: SignIn, now: int) -> SignIn:
    """`sign_in`, ended at `now`."""
    return msgspec.structs.replace(sign_in, status="revoked", ended_at=now, version=sign_in.version + 1)


def _key(project_id: str, sign_in: SignIn) -> Key:
    return Key("sign_in", project_id, sign_in.id)
