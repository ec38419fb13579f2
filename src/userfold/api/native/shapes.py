"""The shapes of the native API that are no records: what handlers decode and encode.

A body that is asked for is a struct that refuses unknown members; what may be left out is `UNSET`, because null is a
value that was sent.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from userfold.core.event_rules import OCCURRED_AT_MAX
from userfold.core.fields import DESCRIPTION_LENGTH_MAX
from userfold.core.records import AttributeType, Event

# The core checks these (`core.identifiers`, `core.fields`); here they are only described.
NAME_SCHEMA = {"minLength": 1, "maxLength": 255, "pattern": "^[^\\u0000]*$"}

Name = Annotated[str, Meta(extra_json_schema=NAME_SCHEMA)]
Description = Annotated[str, Meta(extra_json_schema={"maxLength": DESCRIPTION_LENGTH_MAX})]
Time = Annotated[int, Meta(ge=0, description="Milliseconds since the Unix epoch.")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request carries."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply carries."""


# Events.


class EventInput(Body, frozen=True, kw_only=True):
    """Something that a user did."""

    name: Name
    properties: dict[str, Any] = {}
    occurred_at: Annotated[int, Meta(ge=0, le=OCCURRED_AT_MAX)] | None = None


class EventPage(Shape, frozen=True, kw_only=True):
    """One page of the events of a user."""

    data: tuple[Event, ...]
    next_cursor: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]


# Segments.


class SegmentInput(Body, frozen=True, kw_only=True):
    """A segment to make."""

    name: Name
    description: Description | None = None


class SegmentPatch(Body, frozen=True, kw_only=True):
    """What to change of a segment; what is not given stays."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET


class Segment(Shape, frozen=True, kw_only=True):
    """A named group of users."""

    id: str
    name: str
    description: str | None
    created_at: Time
    updated_at: Time
    version: int


class SegmentPage(Shape, frozen=True, kw_only=True):
    """All segments of the project, by name."""

    data: tuple[Segment, ...]
    next_cursor: None = None


# Attributes.


class AttributeInput(Body, frozen=True, kw_only=True):
    """What a key of traits is to hold."""

    name: Name
    type: AttributeType
    choices: tuple[Name, ...] = ()
    title: Name | None = None
    description: Description | None = None


class AttributePatch(Body, frozen=True, kw_only=True):
    """What to change of an attribute; what is not given stays."""

    choices: tuple[Name, ...] | UnsetType = UNSET
    title: Name | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET


class Attribute(Shape, frozen=True, kw_only=True):
    """What a key of traits holds."""

    id: str
    name: str
    type: AttributeType
    choices: tuple[str, ...]
    title: str | None
    description: str | None
    created_at: Time
    updated_at: Time
    version: int


class AttributePage(Shape, frozen=True, kw_only=True):
    """All attributes of the project, by name."""

    data: tuple[Attribute, ...]
    next_cursor: None = None
