"""Operations: what can be done to a document beyond merging it. RFC 6902's six, and ours.

    add remove replace move copy test                                     RFC 6902, exactly
    set unset set_once merge increment min max append union pull          ours

Ours never fail because something is absent: `set` makes the objects on the way, `unset` of nothing is nothing,
`increment` counts from 0, a list that is not there is empty. All or nothing: one that fails refuses them all.

Pure functions: a document is copied along the path that changes and shared everywhere else. A request holds up the
whole process, so everything that walks or copies more than its own operation is paid from a budget: for editors, no
loop over what is *stored* without a `spend` before it.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import msgspec

from userfold.core.diff import escape
from userfold.core.errors import (
    ListNotFound,
    NumberInvalid,
    OperationInvalid,
    OperationUnknown,
    PathNotFound,
    TestFailed,
)
from userfold.core.jsontext import TEXT_LEVELS_MAX, same_value, size, token
from userfold.core.merge import merge_patch

OPERATIONS_MAX = 1_000
# No bag is nested deeper, so a longer pointer can only fail later and at a higher price.
POINTER_PARTS_MAX = 64
# `copy` can double a document with thirty bytes; this bounds what all copies of one request may add.
COPIED_BYTES_MAX = 1 << 20
# What all operations of one request may cost, in list items copied: a fifth of a second. A list that fills its bag has
# 32,768 items, so a thousand changes of the largest bag there can be are allowed; what is larger is so on the way only.
WORK_MAX = 1 << 25
# What else costs how many times as much as copying an item of a list; measured.
ENTRY_COST = 3  # copying an entry of an object
LOOK_COST = 10  # looking at a value
TOKEN_COST = 30  # making it hashable
TEXT_COST, TEXT_BYTE_COST = 200, 10  # making its text for that, and each byte of that text

# What can be read again: 4,300 characters, of which the sign is one.
INTEGER_MAX = 10**4_300 - 1
INTEGER_MIN = -(10**4_299 - 1)

_ABSENT: Final = object()
_DECIMALS = decimal.Context(prec=5_000, Emax=10_000, Emin=-10_000)

Pointer = tuple[str, ...]
Change = Callable[[Any], Any]


class _Budget(msgspec.Struct):
    """What the operations of one request may still cost, and where in their list we are."""

    place: str = ""
    work: int = WORK_MAX
    copied_bytes: int = COPIED_BYTES_MAX

    def spend(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise OperationInvalid(path=self.place, reason="the operations up to it are too much work for one request")


def operate(document: Any, operations: Any, allowed: Sequence[str]) -> Any:
    """`document` after a list of operations, of which those named in `allowed` are known.

    Raises an `InputError`; `TestFailed`, `PathNotFound`, `NumberInvalid` or `ListNotFound` because of what is stored.
    """
    if not isinstance(operations, list) or len(operations) > OPERATIONS_MAX:
        raise OperationInvalid(path="", reason=f"a list of up to {OPERATIONS_MAX} operations is needed")
    budget = _Budget()
    for index, operation in enumerate(operations):
        budget.place = f"/{index}"
        if not isinstance(operation, dict):
            raise OperationInvalid(path=budget.place, reason="an object is needed")
        name = operation.get("op")
        if not isinstance(name, str) or name not in allowed:
            raise OperationUnknown(path=f"{budget.place}/op", known=", ".join(allowed))
        _refuse_unknown_members(name, operation, budget.place)
        document = OPERATIONS[name](document, operation, budget)
    return document


def _add(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    value = _member(operation, "value", budget.place)
    return _put(document, _pointer(operation, "path", budget.place), value, budget)


def _remove(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    return _take_out(document, _pointer(operation, "path", budget.place), budget)


def _replace(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    value = _member(operation, "value", budget.place)
    pointer = _pointer(operation, "path", budget.place)
    _get(document, pointer)
    return _change(document, pointer, lambda _: value, budget)


def _move(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    source, target = _pointer(operation, "from", budget.place), _pointer(operation, "path", budget.place)
    value = _get(document, source)
    if target[: len(source)] == source:
        if target == source:
            return document
        raise OperationInvalid(path=budget.place, reason="a value cannot be moved into itself")
    if len(target) > len(source):
        _refuse_too_deep(target, value, budget)
    return _put(_take_out(document, source, budget), target, value, budget)


def _copy(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    source, target = _pointer(operation, "from", budget.place), _pointer(operation, "path", budget.place)
    value = _get(document, source)
    budget.copied_bytes -= size(value)
    if budget.copied_bytes < 0:
        raise OperationInvalid(path=budget.place, reason=f"all copies may add up to {COPIED_BYTES_MAX} bytes")
    _refuse_too_deep(target, value, budget)
    return _put(document, target, value, budget)


def _test(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    expected = _member(operation, "value", budget.place)
    current = _get(document, _pointer(operation, "path", budget.place))
    # Costs no more than reading `expected` did: sizes are compared first.
    if not same_value(current, expected):
        raise TestFailed(path=operation["path"], current=current)
    return document


def _set(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    value = _member(operation, "value", budget.place)
    return _change_own(document, operation, lambda _: value, budget)


def _unset(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    pointer = _pointer(operation, "path", budget.place)
    try:
        return _take_out(document, pointer, budget)
    except PathNotFound:
        return document


def _set_once(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    value = _member(operation, "value", budget.place)
    return _change_own(document, operation, lambda old: _or(old, value), budget)


def _merge(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    patch = _member(operation, "value", budget.place)

    def change(old: Any) -> Any:
        _spend_on_merge(old, patch, budget)
        return merge_patch(_or(old, {}), patch)

    return _change_own(document, operation, change, budget)


def _increment(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    by = _given_number(operation.get("by", 1), f"{budget.place}/by")
    path = operation.get("path", "")
    return _change_own(document, operation, lambda old: _sum(_number(_or(old, 0), path), by, path), budget)


def _min(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    return _extreme(document, operation, budget, min)


def _max(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    return _extreme(document, operation, budget, max)


def _extreme(document: Any, operation: dict[str, Any], budget: _Budget, choose: Callable[[Any, Any], Any]) -> Any:
    value = _given_number(_member(operation, "value", budget.place), f"{budget.place}/value")
    path = operation.get("path", "")
    # The stored one first: equal numbers keep the text that is stored.
    return _change_own(document, operation, lambda old: choose(_number(_or(old, value), path), value), budget)


def _append(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    given = _given(operation, budget.place)

    def change(old: Any) -> Any:
        return [*_copied(_list(old, operation), budget), *given]

    return _change_own(document, operation, change, budget)


def _union(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    given = _given(operation, budget.place)

    def change(old: Any) -> Any:
        joined = _copied(_list(old, operation), budget)
        seen = set(_tokens(joined, budget))
        for value, its_token in zip(given, _tokens(given, budget), strict=True):
            if its_token not in seen:
                seen.add(its_token)
                joined.append(value)
        return joined

    return _change_own(document, operation, change, budget)


def _pull(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    given = _given(operation, budget.place)

    def change(old: Any) -> Any:
        stored = _list(old, operation)
        if not stored:
            return old  # there is nothing to take out of it, nor a reason to make it
        pulled = set(_tokens(given, budget))
        tokens = _tokens(stored, budget)
        return [value for value, its_token in zip(stored, tokens, strict=True) if its_token not in pulled]

    return _change_own(document, operation, change, budget)


OPERATIONS: dict[str, Callable[[Any, dict[str, Any], _Budget], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
    "set": _set,
    "unset": _unset,
    "set_once": _set_once,
    "merge": _merge,
    "increment": _increment,
    "min": _min,
    "max": _max,
    "append": _append,
    "union": _union,
    "pull": _pull,
}
JSON_PATCH = ("add", "remove", "replace", "move", "copy", "test")
# Ours refuse a member that they do not know: `amount` for `by` would count by 1. RFC 6902 (4) has its six ignore them.
_OWN_MEMBERS: dict[str, tuple[str, ...]] = {
    "set": ("path", "value"),
    "unset": ("path",),
    "set_once": ("path", "value"),
    "merge": ("path", "value"),
    "increment": ("path", "by"),
    "min": ("path", "value"),
    "max": ("path", "value"),
    "append": ("path", "value", "values"),
    "union": ("path", "value", "values"),
    "pull": ("path", "value", "values"),
}


def _refuse_unknown_members(name: str, operation: dict[str, Any], place: str) -> None:
    known = _OWN_MEMBERS.get(name)
    if known is None:
        return
    for member in operation:
        if member != "op" and member not in known:
            path = f"{place}/{escape(member[:255])}"
            raise OperationInvalid(path=path, reason=f"the members of {name} are {', '.join(known)}")


def _given(operation: dict[str, Any], place: str) -> list[Any]:
    """The values that `append`, `union` and `pull` are about."""
    if ("value" in operation) == ("values" in operation):
        raise OperationInvalid(path=place, reason="either value or values is needed")
    given = [operation["value"]] if "value" in operation else operation["values"]
    if not isinstance(given, list):
        raise OperationInvalid(path=f"{place}/values", reason="a list is needed")
    return given


def _list(old: Any, operation: dict[str, Any]) -> list[Any]:
    stored = _or(old, [])
    if not isinstance(stored, list):
        raise ListNotFound(path=operation["path"])
    return stored


def _tokens(values: list[Any], budget: _Budget) -> list[Hashable]:
    budget.spend(len(values) * TOKEN_COST)
    tokens: list[Hashable] = []
    for value in values:
        its_token = value if type(value) is str else token(value)
        if type(its_token) is bytes:
            budget.spend(TEXT_COST + len(its_token) * TEXT_BYTE_COST)
        tokens.append(its_token)
    return tokens


def _pointer(operation: dict[str, Any], member: str, place: str) -> Pointer:
    """The parts of a JSON Pointer (RFC 6901)."""
    text = _member(operation, member, place)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise OperationInvalid(path=f"{place}/{member}", reason="a JSON Pointer is needed, such as /traits/plan")
    parts = text.split("/")[1:]
    if len(parts) > POINTER_PARTS_MAX:
        raise OperationInvalid(path=f"{place}/{member}", reason=f"at most {POINTER_PARTS_MAX} parts are allowed")
    if any("~" in part.replace("~0", "").replace("~1", "") for part in parts):
        raise OperationInvalid(path=f"{place}/{member}", reason="~ must be written ~0")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _member(operation: dict[str, Any], name: str, place: str) -> Any:
    if name not in operation:
        raise OperationInvalid(path=place, reason=f"{name} is missing")
    return operation[name]


def _get(value: Any, pointer: Pointer) -> Any:
    for depth, part in enumerate(pointer):
        value = _child(value, part, pointer[: depth + 1])
        if value is _ABSENT:
            raise PathNotFound(path=_text(pointer[: depth + 1]))
    return value


def _child(value: Any, part: str, at: Pointer) -> Any:
    """The member or item `part`, or `_ABSENT`. Raises `PathNotFound` where there can be none."""
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list):
        index = _index(part, at)
        return value[index] if index < len(value) else _ABSENT
    raise PathNotFound(path=_text(at))


def _change_own(document: Any, operation: dict[str, Any], change: Change, budget: _Budget) -> Any:
    """How ours change what is at their path: the objects on the way are made, and null is as good as absent."""
    return _change(document, _pointer(operation, "path", budget.place), change, budget, make_parents=True)


def _change(
    value: Any, pointer: Pointer, change: Change, budget: _Budget, *, make_parents: bool = False, at: int = 0
) -> Any:
    """`value` with what is at `pointer` changed; what `change` is given may be `_ABSENT`, and if it gives that back,
    nothing is made on the way.
    """
    if at == len(pointer):
        return change(value)
    part = pointer[at]
    child = found = _child(value, part, pointer[: at + 1])
    last = at + 1 == len(pointer)
    if child is _ABSENT and (isinstance(value, list) or not (last or make_parents)):
        raise PathNotFound(path=_text(pointer[: at + 1]))
    if make_parents and not last and (child is _ABSENT or child is None):
        child = {}
    changed = _change(child, pointer, change, budget, make_parents=make_parents, at=at + 1)
    if changed is child or changed is found:
        return value
    copied = _copied(value, budget)
    copied[part if isinstance(copied, dict) else int(part)] = changed
    return copied


def _copied(value: Any, budget: _Budget) -> Any:
    """A shallow copy of an object or a list."""
    budget.spend(len(value) * (ENTRY_COST if isinstance(value, dict) else 1))
    return value.copy()


def _put(document: Any, pointer: Pointer, value: Any, budget: _Budget) -> Any:
    """RFC 6902 `add`: sets a member, inserts an item."""
    if not pointer:
        return value
    part = pointer[-1]

    def insert(parent: Any) -> Any:
        if isinstance(parent, dict):
            copied = _copied(parent, budget)
            copied[part] = value
            return copied
        if not isinstance(parent, list):
            raise PathNotFound(path=_text(pointer))
        index = len(parent) if part == "-" else _index(part, pointer)
        if index > len(parent):
            raise PathNotFound(path=_text(pointer))
        copied = _copied(parent, budget)
        copied.insert(index, value)
        return copied

    _get(document, pointer[:-1])
    return _change(document, pointer[:-1], insert, budget)


def _take_out(document: Any, pointer: Pointer, budget: _Budget) -> Any:
    _get(document, pointer)
    if not pointer:
        return {}  # a document is an object: taking all of it out leaves an empty one

    def remove(parent: Any) -> Any:
        copied = _copied(parent, budget)
        del copied[pointer[-1] if isinstance(copied, dict) else int(pointer[-1])]
        return copied

    return _change(document, pointer[:-1], remove, budget)


def _refuse_too_deep(target: Pointer, value: Any, budget: _Budget) -> None:
    """Only `move` and `copy` can nest deeper and deeper: the text of all the others had to be read."""
    if len(target) + _levels(value, budget) > TEXT_LEVELS_MAX:
        reason = f"the user would nest more than {TEXT_LEVELS_MAX} levels deep"
        raise OperationInvalid(path=budget.place, reason=reason)


def _levels(value: Any, budget: _Budget) -> int:
    """As `jsontext.levels`, paid for."""
    if type(value) is not dict and type(value) is not list:
        return 0
    budget.spend((10 + len(value)) * LOOK_COST)
    parts = value.values() if type(value) is dict else value
    return 1 + max([_levels(part, budget) for part in parts if type(part) is dict or type(part) is list], default=0)


def _spend_on_merge(target: Any, patch: Any, budget: _Budget) -> None:
    if isinstance(target, dict) and isinstance(patch, dict):
        budget.spend(len(target) * ENTRY_COST)
        for name, value in patch.items():
            _spend_on_merge(target.get(name), value, budget)


def _index(part: str, at: Pointer) -> int:
    """An index into a list (RFC 6901, 4): no sign, no leading zero."""
    if not (part.isascii() and part.isdecimal() and (part == "0" or part[0] != "0") and len(part) <= 9):
        raise PathNotFound(path=_text(at))
    return int(part)


def _text(pointer: Pointer) -> str:
    return "".join("/" + escape(part) for part in pointer)


def _or(value: Any, default: Any) -> Any:
    """`value`, or `default` where there is none. A field of a user that has no value is null."""
    return default if value is _ABSENT or value is None else value


def _given_number(value: Any, path: str) -> int | float:
    if not _is_number(value):
        raise OperationInvalid(path=path, reason="a number is needed")
    number: int | float = value
    return number


def _number(value: Any, path: str) -> int | float:
    """The number that is stored at `path`."""
    if not _is_number(value):
        raise NumberInvalid(path=path, reason="a number is needed")
    number: int | float = value
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(one: int | float, other: int | float, path: str) -> int | float:
    """Integers exactly; with a decimal, by decimal arithmetic, so that 0.1 + 0.2 is 0.3."""
    if isinstance(one, int) and isinstance(other, int):
        total = one + other
        if not INTEGER_MIN <= total <= INTEGER_MAX:
            raise NumberInvalid(path=path, reason="the result would have more than 4300 characters")
        return total
    result = float(_DECIMALS.add(decimal.Decimal(repr(one)), decimal.Decimal(repr(other))))
    if not math.isfinite(result):
        raise NumberInvalid(path=path, reason="the result would not be finite")
    return result
