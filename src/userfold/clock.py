"""The clock. Time is an input of everything that decides; this is where it comes from."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
