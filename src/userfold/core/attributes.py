"""Attributes: the types that a project's definitions give to keys of traits, and the check of what is written there.

It holds for writers of every trust level and through every API. What is stored already is never judged again.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from typing import Any

from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid
from userfold.core.jsontext import same_text
from userfold.core.records import AttributeDefinition, AttributeType, Bag

CHOICES_MAX = 500

# RFC 3339, 5.6: full-date and date-time. `T` and `Z` in capitals: not every reader takes the others.
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


def check_traits(before: Bag, after: Bag, attributes: Mapping[str, AttributeDefinition]) -> None:
    """Raise `FieldInvalid` if a value of `after` that was not in `before` is not what its attribute says."""
    if not attributes:
        return
    for name, value in after.items():
        definition = attributes.get(name)
        if definition is None or value is None or (name in before and same_text(before[name], value)):
            continue
        if not TYPES[definition.type](value, definition.choices):
            raise FieldInvalid(path=f"/traits/{escape(name)}", reason=f"{_needed(definition)} is needed")


def _is_integer(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any, choices: tuple[str, ...]) -> bool:
    parts = _DATE.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return False
    year, month, day = map(int, parts.groups())
    return 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def _is_datetime(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and _is_date(value[:10], choices) and _TIME.fullmatch(value[10:]) is not None


def _is_choice(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in choices


def _are_choices(value: Any, choices: tuple[str, ...]) -> bool:
    if not isinstance(value, list) or not all(_is_choice(item, choices) for item in value):
        return False
    return len(set(value)) == len(value)


# The type → whether a value is of it. Null is of every type: it says that there is nothing.
TYPES: dict[AttributeType, Callable[[Any, tuple[str, ...]], bool]] = {
    "string": lambda value, choices: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value, choices: isinstance(value, bool),
    "date": _is_date,
    "datetime": _is_datetime,
    "choice": _is_choice,
    "choices": _are_choices,
    "list": lambda value, choices: isinstance(value, list),
    "object": lambda value, choices: isinstance(value, dict),
    "any": lambda value, choices: True,
}
WITH_CHOICES: frozenset[AttributeType] = frozenset({"choice", "choices"})

_NEEDED: dict[AttributeType, str] = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2027-01-31",
    "datetime": "a time with its offset such as 2027-01-31T09:30:00Z (RFC 3339)",
    "choice": "one of",
    "choices": "a list of some of",
    "list": "a list",
    "object": "an object",
    "any": "anything",
}
_CHOICES_TOLD_MAX = 10


def _needed(definition: AttributeDefinition) -> str:
    """The value that is needed, in words."""
    if definition.type not in WITH_CHOICES:
        return _NEEDED[definition.type]
    told = ", ".join(definition.choices[:_CHOICES_TOLD_MAX])
    more = ", …" if len(definition.choices) > _CHOICES_TOLD_MAX else ""
    return f"{_NEEDED[definition.type]} {told}{more}"
