"""The rules about sign-ins, sessions that a backend begins for a user, and about activity."""

from __future__ import annotations

from typing import Any

from userfold.core.applied import Applied
from userfold.core.commands import NoteActivity, RevokeSignIn, RevokeSignIns, SignInUser
from userfold.core.errors import SessionNotFound, UserDisabled, UserLocked
from userfold.core.ids import Mint
from userfold.core.presence import context, note, presence_key, presence_of, signed_in, touched
from userfold.core.reading import Records, existing_user, read
from userfold.core.records import EffectiveSettings, Key, SignIn
from userfold.core.sign_ins import begin, revoke_all, revoked


def sign_in(command: SignInUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    if user.disabled:
        raise UserDisabled
    if user.locked:
        raise UserLocked
    new = SignIn(
        id=command.session_id,
        user_id=user.id,
        token_digest=command.token_digest,
        created_at=mint.now,
        expires_at=mint.now + command.lifetime_ms,
        ip_address=command.ip_address,
        user_agent=command.user_agent,
    )
    before = presence_of(records, command.project_id, user.id)
    where = context(ip_address=command.ip_address, user_agent=command.user_agent)
    writes = begin(command.project_id, new, records, mint.now)
    writes |= note(command.project_id, before, signed_in(before, mint.now, where))
    return Applied(writes=writes, user=user, record=new)


def revoke_sign_in(command: RevokeSignIn, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    at = Key("sign_in", command.project_id, command.session_id)
    found = read(records, at, SignIn)
    if found is None:
        raise SessionNotFound(session_id=command.session_id)
    existing_user(records, command.project_id, found.user_id)  # whoever changes a user's sign-in holds the user
    if not found.is_live(mint.now):
        return Applied(writes={}, record=found)
    ended = revoked(found, mint.now)
    return Applied(writes={at: ended}, record=ended)


def revoke_sign_ins(command: RevokeSignIns, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    return Applied(writes=revoke_all(command.project_id, user.id, records, mint.now), user=user)


def note_activity(command: NoteActivity, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = existing_user(records, command.project_id, command.user_id)
    before = presence_of(records, command.project_id, user.id)
    return Applied(writes=note(command.project_id, before, touched(before, mint.now)), user=user)


def reads_user_and_sign_ins(command: Any) -> tuple[Key, ...]:
    return (Key("user", command.project_id, command.user_id), Key("sign_ins", command.project_id, command.user_id))


def reads_sign_ins_and_presence(command: SignInUser) -> tuple[Key, ...]:
    return (*reads_user_and_sign_ins(command), presence_key(command.project_id, command.user_id))


def reads_user_and_presence(command: NoteActivity) -> tuple[Key, ...]:
    return (Key("user", command.project_id, command.user_id), presence_key(command.project_id, command.user_id))


def reads_sign_in(command: RevokeSignIn) -> tuple[Key, ...]:
    return (Key("sign_in", command.project_id, command.session_id),)
