"""Tracking sessions: which of them may still be written from, how they are linked, and how they end.

A session ends when its browser says so, or when nothing came for half an hour. The first is for good. The second is a
guess: the same page may be looked at again, and what it says then opens its session again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from userfold.core.errors import SessionClosed, UserDisabled
from userfold.core.reading import Records, Writes, read, read_all
from userfold.core.records import Key, Session, User
from userfold.core.trust import Author

IDLE_MS = 30 * 60_000  # as Milana, which ends a session so
SEEN_EVERY_MS = 60_000  # a page sends something every few seconds; most of that need not write its session
NOBODYS_KEPT_MS = 30 * 86_400_000  # after its end, of one that was never linked


def open_session(project_id: str, session_id: str, author: Author, records: Records, now: int) -> Session:
    """The session, seen at `now` (ms), and active again if it had only been idle.

    Raises `SessionClosed` if it is unknown, was ended by its browser, or its user was deleted; `UserDisabled`.
    """
    session = read(records, Key("session", project_id, session_id), Session)
    if session is None or (session.status == "ended" and session.ended_because != "idle"):
        raise SessionClosed
    user = _user_of(project_id, session, records)
    if session.user_id is not None and user is None:
        raise SessionClosed  # its session is not deleted with a user: it is dead from then on
    if user is not None and user.disabled and author.trust != "backend":
        raise UserDisabled
    return _seen(session, now)


def session_to_resume(project_id: str, session_id: str, records: Records, now: int) -> Session | None:
    """The session, seen at `now`, if it has not ended and is not of a user who is deleted or disabled."""
    session = read(records, Key("session", project_id, session_id), Session)
    if session is None or session.status == "ended" or is_due(session, now):
        return None
    user = _user_of(project_id, session, records)
    if session.user_id is not None and (user is None or user.disabled):
        return None
    return _seen(session, now)


def is_due(session: Session, now: int) -> bool:
    """Whether its time is over at `now`: to end, or to be removed."""
    return session.expires_at is not None and session.expires_at <= now


def link(project_id: str, session: Session, user_id: str, records: Records) -> tuple[Session, Writes]:
    """The session as the user's, and the writes that make its own what was done before anybody knew whose it was."""
    events = [msgspec.structs.replace(event, user_id=user_id) for event in session.early_events]
    keys = [Key("event", project_id, event.id) for event in events]
    read_all(records, keys)  # what is written must be known to be new
    linked = msgspec.structs.replace(session, user_id=user_id, early_events=())
    return linked, dict(zip(keys, events, strict=True))


def ended(session: Session, because: Literal["idle", "client_abort"], at: int) -> Session:
    """The session, over since `at`."""
    removed_at = at + NOBODYS_KEPT_MS if session.user_id is None else None
    return msgspec.structs.replace(session, status="ended", ended_because=because, ended_at=at, expires_at=removed_at)


def keep(project_id: str, session: Session, records: Records) -> Writes:
    """The writes that keep `session` as it is here: none if it is stored so."""
    at = Key("session", project_id, session.id)
    stored = read(records, at, Session)
    if stored == session:
        return {}
    return {at: session if stored is None else msgspec.structs.replace(session, version=stored.version + 1)}


def _seen(session: Session, now: int) -> Session:
    if session.status == "active" and not is_due(session, now) and now < session.seen_at + SEEN_EVERY_MS:
        return session
    return msgspec.structs.replace(
        session, status="active", ended_because=None, ended_at=None, seen_at=now, expires_at=now + IDLE_MS
    )


def _user_of(project_id: str, session: Session, records: Records) -> User | None:
    return None if session.user_id is None else read(records, Key("user", project_id, session.user_id), User)
