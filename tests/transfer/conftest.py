"""The fixtures of `moving.py`, for every test of the folder."""

from __future__ import annotations

from tests.transfer.moving import here, there

__all__ = ["here", "there"]
