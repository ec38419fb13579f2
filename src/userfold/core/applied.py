"""What a command came to: the writes that carry it out, and what its caller is told."""

from __future__ import annotations

import msgspec

from userfold.core.reading import Writes
from userfold.core.records import Change, Record, User
from userfold.core.trust import Ignored


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to. `user` is as of this command; `change` is None where nothing was different."""

    writes: Writes
    user: User | None = None
    record: Record | None = None  # for commands about something other than a user
    change: Change | None = None
    created: bool = False
    ignored: tuple[Ignored, ...] = ()
