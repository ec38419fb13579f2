"""Which user a browser's session belongs to, and what a call that names a user may write from it.

A session is linked by the first call that names a user, and never moves. A later call that names somebody else still
updates that user, but only the traits: an email or a name typed into another person's session is not evidence.

| session is linked to | links | writes            |
|----------------------|-------|-------------------|
| nobody               | yes   | everything given  |
| the named user       | no    | everything given  |
| somebody else        | no    | traits only       |
| (no session)         | no    | everything given  |
| (ended)              | refused: `session_closed`  |

One that had only been idle is active again by then: `tracking.open_session` sees to that.
"""

from __future__ import annotations

import msgspec

from userfold.core.errors import SessionClosed
from userfold.core.records import FIELDS, Session

ALL_FIELDS = frozenset(FIELDS)
TRAITS_ONLY = frozenset({"traits"})


class Attribution(msgspec.Struct, frozen=True):
    """Whether the session becomes the user's, and the fields that may be written."""

    links: bool
    fields: frozenset[str]


def attribute(session: Session | None, user_id: str) -> Attribution:
    """What a call that names `user_id` may do from `session` (None: not from a session at all)."""
    if session is None:
        return Attribution(links=False, fields=ALL_FIELDS)
    if session.status != "active":
        raise SessionClosed
    if session.user_id is None:
        return Attribution(links=True, fields=ALL_FIELDS)
    if session.user_id == user_id:
        return Attribution(links=False, fields=ALL_FIELDS)
    return Attribution(links=False, fields=TRAITS_ONLY)
