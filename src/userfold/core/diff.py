"""The difference between two JSON values as operations, and the way back from operations to a value.

Objects are compared key by key at every depth; an added or removed member is one operation with its whole value, and
`{}` and `[]` are values like any other. A list that changed is one operation: the run that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import UNSET

from userfold.core.jsontext import same_text
from userfold.core.records import Operation


def diff(before: Any, after: Any, path: str) -> Iterator[Operation]:
    """The operations at and below `path` that make `after` of `before`; none if they are the same data.

    `UNSET` stands for an absent value.
    """
    if before is after:
        return
    if before is UNSET:
        yield Operation(op="add", path=path, new=after)
    elif after is UNSET:
        yield Operation(op="remove", path=path, old=before)
    elif isinstance(before, dict) and isinstance(after, dict):
        for name, one in before.items():
            other = after.get(name, UNSET)
            if one is not other:  # what was not touched is shared, so most keys of a large object end here
                yield from diff(one, other, f"{path}/{escape(name)}")
        for name, other in after.items():
            if name not in before:
                yield Operation(op="add", path=f"{path}/{escape(name)}", new=other)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _diff_lists(before, after, path)
    elif not same_text(before, after):
        yield Operation(op="replace", path=path, old=before, new=after)


def escape(name: str) -> str:
    """A key as one part of a JSON Pointer (RFC 6901, 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def leaves(value: Any, path: str) -> Iterator[str]:
    """The JSON Pointers of everything in `value` that is not an object with members."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from leaves(member, f"{path}/{escape(name)}")
    else:
        yield path


def fold(document: Any, operations: Iterable[Operation]) -> Any:
    """`document` with the operations applied in order. `document` is not changed; a secret is no part of it."""
    ours = False  # whether `document` is a copy that was made here; most operations are on a field of its own
    for operation in operations:
        if _is_of_secret(operation):
            continue
        names = operation.path.split("/")[1:]
        if "~" in operation.path:
            names = [part.replace("~1", "/").replace("~0", "~") for part in names]
        if len(names) == 1 and operation.at is UNSET:
            document = document if ours else dict(document)
            if operation.op == "remove":
                del document[names[0]]
            else:
                document[names[0]] = operation.new
        else:
            document = _apply(document, names, operation)
        ours = bool(names)
    return document


def _is_of_secret(operation: Operation) -> bool:
    return operation.op == "replace" and operation.new is UNSET and operation.at is UNSET


def _diff_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if not same_text(before[i], after[i])), shorter)
    if start == len(before) == len(after):
        return
    tail = 0
    while tail < shorter - start and same_text(before[-1 - tail], after[-1 - tail]):
        tail += 1
    yield Operation(
        op="replace",
        path=path,
        at=start,
        removed=before[start : len(before) - tail],
        added=after[start : len(after) - tail],
    )


def _apply(value: Any, names: list[str], operation: Operation) -> Any:
    if names:
        name, *rest = names
        copy = dict(value)
        if not rest and operation.op == "remove":
            del copy[name]
        else:
            copy[name] = _apply(value.get(name), rest, operation)
        return copy
    if operation.at is not UNSET:
        assert isinstance(operation.removed, list) and isinstance(operation.added, list)
        end = operation.at + len(operation.removed)
        return [*value[: operation.at], *operation.added, *value[end:]]
    return operation.new
