"""How much callers with a publishable key may ask for: token buckets, by key and address.

A publishable key is public, so whoever has it can make sessions and users without end; its calls are therefore counted
by the address that they come from. A bucket holds as many tokens as a project allows per minute and is filled at that
rate: so many at once, and so many per minute in the long run. Callers with a secret key are not limited.

A decision is a value, the seconds to wait: an API may refuse with it, or answer that all is well and drop the call.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Literal, get_args

import msgspec

from userfold.core.records import ProjectSettings

Kind = Literal["new_sessions", "new_users", "writes"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BUCKETS_MAX = 50_000  # about 20 MB
CLOSED_S = 3600  # to come back after, where a project allows none at all
MINUTE_S = 60.0


class Bucket(msgspec.Struct):
    """What is left, as of `at` (seconds of a clock that never goes back)."""

    tokens: float
    at: float


class RateLimits:
    """All buckets of this process. A bucket that nobody has drawn from for a minute is full, and as good as none.

    So the one to forget, where there are too many, is the one that was used longest ago: whoever calls from so many
    addresses that buckets are forgotten before they are full has that many full buckets anyway.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic, buckets_max: int = BUCKETS_MAX) -> None:
        self._monotonic = monotonic
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[tuple[Kind, str, str], Bucket] = OrderedDict()
        self.refused: dict[Kind, int] = dict.fromkeys(KINDS, 0)  # or dropped, for want of a token

    def __len__(self) -> int:
        return len(self._buckets)

    def draw(self, kind: Kind, key_id: str, address: str, settings: ProjectSettings) -> int:
        """0, and a token is taken; or the whole seconds after which there will be one."""
        limit = per_minute(kind, settings)
        bucket = self._bucket((kind, key_id, site(address)), limit)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return math.ceil((1 - bucket.tokens) * MINUTE_S / limit) if limit else CLOSED_S

    def give_back(self, kind: Kind, key_id: str, address: str) -> None:
        """What a token was taken for did not come about."""
        bucket = self._buckets.get((kind, key_id, site(address)))
        if bucket is not None:  # else it was forgotten, and the next one is full
            bucket.tokens += 1

    def _bucket(self, at: tuple[Kind, str, str], limit: int) -> Bucket:
        now = self._monotonic()
        bucket = self._buckets.get(at)
        if bucket is None:
            bucket = self._buckets[at] = Bucket(limit, now)
            if len(self._buckets) > self._buckets_max:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(at)
        bucket.tokens = min(bucket.tokens + (now - bucket.at) * limit / MINUTE_S, limit)
        bucket.at = now
        return bucket


def per_minute(kind: Kind, settings: ProjectSettings) -> int:
    """How many of a kind a project allows one address in a minute."""
    limits: dict[Kind, int] = {
        "new_sessions": settings.new_sessions_per_minute,
        "new_users": settings.new_users_per_minute,
        "writes": settings.writes_per_minute,
    }
    return limits[kind]


def site(address: str) -> str:
    """What is counted as one address: of IPv6 the /64, because that is what a single customer is given."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
