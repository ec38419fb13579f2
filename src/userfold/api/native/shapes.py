"""The shapes of the native API that are no records: what handlers decode and encode.

A body that is asked for is a struct that refuses unknown members; what may be left out is `UNSET`, because null is a
value that was sent. Documents of users are not here: their fields are `core.records.FIELDS`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from userfold.core.records import Operation, User
from userfold.core.trust import Ignored


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request carries."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply carries."""


# Batches.

Version = Annotated[int, Meta(ge=1)]
Versions = (
    Annotated[
        Version | tuple[Version, ...] | Literal["*"],
        Meta(description="Only if the user exists and its version is this, or one of these; `*`: whatever it is."),
    ]
    | UnsetType
)


class CreateItem(Body, frozen=True, kw_only=True, tag_field="action", tag="create"):
    """Make a user."""

    user: dict[str, Any]


class UpdateItem(Body, frozen=True, kw_only=True, tag_field="action", tag="update"):
    """Change a user: by a merge patch (RFC 7396), or by operations."""

    id: str
    user: dict[str, Any] | UnsetType = UNSET
    operations: list[Any] | UnsetType = UNSET
    if_match: Versions = UNSET


class UpsertItem(Body, frozen=True, kw_only=True, tag_field="action", tag="upsert"):
    """Merge into the user whom an external_id names, or make it."""

    external_id: str
    user: dict[str, Any]
    if_match: Versions = UNSET


class DeleteItem(Body, frozen=True, kw_only=True, tag_field="action", tag="delete"):
    """Erase a user and its history."""

    id: str
    if_match: Versions = UNSET


BatchItem = CreateItem | UpdateItem | UpsertItem | DeleteItem


class BatchResult(Shape, frozen=True, kw_only=True):
    """What an item came to."""

    index: Annotated[int, Meta(ge=0, description="Which item: 0 is the first.")]
    line: Annotated[int, Meta(ge=1, description="Of a failed item of NDJSON: the number of its line.")] | UnsetType = (
        UNSET
    )
    status: Annotated[int, Meta(description="As the request for this one item would be answered.")]
    id: Annotated[str, Meta(description="With `return=minimal`: the user.")] | UnsetType = UNSET
    version: Annotated[int, Meta(description="With `return=minimal`: the user's.")] | UnsetType = UNSET
    user: Annotated[User, Meta(description="The user as this item left it.")] | UnsetType = UNSET
    changes: tuple[Operation, ...] | UnsetType = UNSET
    ignored: tuple[Ignored, ...] | UnsetType = UNSET
    error: Annotated[dict[str, Any], Meta(description="Problem details (RFC 9457).")] | UnsetType = UNSET
    batch_ended: (
        Annotated[bool, Meta(description="True of the last result if neither it nor what follows it was tried.")]
        | UnsetType
    ) = UNSET
