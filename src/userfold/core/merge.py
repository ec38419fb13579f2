"""The merge modes: how a value that is given joins the value that is stored.

Pure functions over JSON values. The result may share parts with its arguments; neither is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from userfold.core.errors import FieldInvalid
from userfold.core.records import Bag


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge at every depth, null removes, everything else (lists too) replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = merge_patch(merged.get(name), value)
        else:
            merged[name] = value
    return merged


def _replace(stored: Bag, given: Bag) -> Bag:
    return given


def _shallow(stored: Bag, given: Bag) -> Bag:
    return {**stored, **given}


class Mode(msgspec.Struct, frozen=True):
    """How one bag (a JSON object field) is merged, and whether null empties it or is refused."""

    merge: Callable[[Bag, Bag], Bag]
    null_empties: bool


MODES: dict[str, Mode] = {
    # RFC 7396. The native API, the browser SDK, the dashboard.
    "merge_patch": Mode(merge_patch, null_empties=True),
    # As merge_patch inside a bag, but null for a whole bag is refused: Clerk's schema has no such value.
    "deep": Mode(merge_patch, null_empties=False),
    # The bag that is named is overwritten; inside it, null is data. Clerk's PUT.
    "replace": Mode(_replace, null_empties=True),
    # The last value of each top-level key wins; null is data. Milana.
    "shallow": Mode(_shallow, null_empties=False),
}


def merge_bag(mode: str, stored: Bag, given: Any, *, path: str) -> Bag:
    """The bag at `path` once `given` has joined it. Raises `FieldInvalid` for what is no object."""
    rule = MODES[mode]
    if isinstance(given, dict):
        return rule.merge(stored, given)
    if given is None and rule.null_empties:
        return {}
    raise FieldInvalid(path=path, reason="an object is needed")
