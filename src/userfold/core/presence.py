"""Presence: when and where a user was last active, beside the user.

To be active makes no version of the user, no change and no new ETag: nobody who edits a user is in the way of one who
looks at a page. Whoever writes a presence reads the user too, as for all that belongs to one.
"""

from __future__ import annotations

import msgspec

from userfold.core.reading import Records, Writes, read
from userfold.core.records import Context, Key, Presence

STEP_MS = 60_000  # somebody who was active so short a time ago is, unless there is more to say, not written again
# Of the texts of a context, in characters.
LENGTHS_MAX = {"ip_address": 512, "user_agent": 512, "browser_language": 512, "timezone": 512, "entry_url": 2_048}

UNTOLD = Context()


def context(**told: str | None) -> Context:
    """What a client says of itself, cut off where it is too long: nobody is refused for a long user agent.

    Secrets in the URL are the caller's to take out.
    """
    return Context(**{name: text and text[: LENGTHS_MAX[name]] for name, text in told.items()})


def touched(presence: Presence, now: int, where: Context = UNTOLD, *, page_views: int = 0) -> Presence:
    """`presence` of a user who is active at `now` (ms); the same if that says nothing new.

    A context that is told takes the place of the whole one before: parts of two visits would be of nobody.
    """
    told = presence.context if where == UNTOLD else where
    if told == presence.context and page_views == 0 and not is_stale(presence, now):
        return presence
    return msgspec.structs.replace(
        presence,
        last_active_at=max(now, presence.last_active_at or 0),
        page_views=presence.page_views + page_views,
        context=told,
    )


def signed_in(presence: Presence, now: int, where: Context = UNTOLD) -> Presence:
    """`presence` of a user who signs in at `now` (ms)."""
    active = touched(presence, now, where)
    return msgspec.structs.replace(
        active,
        last_active_at=max(now, active.last_active_at or 0),
        last_sign_in_at=max(now, active.last_sign_in_at or 0),
    )


def is_stale(presence: Presence | None, now: int) -> bool:
    """Whether it is news that the user is active at `now` (ms)."""
    return presence is None or presence.last_active_at is None or now >= presence.last_active_at + STEP_MS


def presence_key(project_id: str, user_id: str) -> Key:
    """Where the presence of a user is kept."""
    return Key("presence", project_id, user_id)


def presence_of(records: Records, project_id: str, user_id: str) -> Presence:
    """The presence of a user, empty if it was never active. Raises `Unread`."""
    return read(records, presence_key(project_id, user_id), Presence) or Presence(id=user_id)


def note(project_id: str, before: Presence, after: Presence) -> Writes:
    """The write that puts `after` in the place of `before`; none if they are the same."""
    return {} if after == before else {presence_key(project_id, after.id): after}
