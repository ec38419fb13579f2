"""Tracking sessions: which of them may still be written from, how they are linked, and how they end.

A session ends when its browser says so, or when nothing came for half an hour. The first is for good. The second is a
guess: the same page may be looked at again, and what it says then opens its session again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from userfold.core.errors import SessionClosed, UserDisabled
from userfold.core.presence import UNTOLD, note, presence_key, presence_of, touched
from userfold.core.reading import Records, Writes, read, read_all
from userfold.core.records import Context, Event, Key, Session, User
from userfold.core.trust import Author

PAGE_VIEW = "page_view"  # the name of the event that is counted as one
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


def link(project_id: str, session: Session, user_id: str, records: Records, now: int) -> tuple[Session, Writes]:
    """The session as the user's, and the writes that make its own what was done before anybody knew whose it was."""
    events = [msgspec.structs.replace(event, user_id=user_id) for event in session.early_events]
    writes: Writes = {Key("event", project_id, event.id): event for event in events}
    read_all(records, [*writes, presence_key(project_id, user_id)])  # all that is written, in one round of reading
    linked = msgspec.structs.replace(session, user_id=user_id, early_events=())
    return linked, writes | note_active(project_id, linked, records, now, events, session.context)


def note_active(
    project_id: str,
    session: Session,
    records: Records,
    now: int,
    events: Iterable[Event] = (),
    where: Context = UNTOLD,
) -> Writes:
    """The write that says when and where the user of a session was last active, and with `events`, what it looked at.

    None if that is no news, or the session is nobody's.
    """
    if session.user_id is None:
        return {}
    before = presence_of(records, project_id, session.user_id)
    page_views = sum(event.name == PAGE_VIEW for event in events)
    return note(project_id, before, touched(before, now, where, page_views=page_views))


def ended(session: Session, because: Literal["idle", "client_abort"], at: int) -> Session:
    """The session, over since `at`."""
    removed_at = at + NOBODYS_KEPT_MS if session.user_id is None else None
    return msgspec.structs.replace(session, status="ended", ended_because=because, ended_at=at, expires_at=removed_at)


def keep(project_id: str, session: Session, records: Records) -> tuple[Session, Writes]:
    """The session as it is here, and the write that keeps it so: none if it is stored so, else its next version."""
    at = Key("session", project_id, session.id)
    if read(records, at, Session) == session:
        return session, {}
    after = msgspec.structs.replace(session, version=session.version + 1)
    return after, {at: after}


def _seen(session: Session, now: int) -> Session:
    if session.status == "active" and now < session.seen_at + SEEN_EVERY_MS:
        return session
    return msgspec.structs.replace(
        session, status="active", ended_because=None, ended_at=None, seen_at=now, expires_at=now + IDLE_MS
    )


def _user_of(project_id: str, session: Session, records: Records) -> User | None:
    if session.user_id is None:
        return None
    # Both in one round of reading, because the presence is what is looked at next.
    user, _ = read_all(records, [Key("user", project_id, session.user_id), presence_key(project_id, session.user_id)])
    assert user is None or isinstance(user, User)
    return user
