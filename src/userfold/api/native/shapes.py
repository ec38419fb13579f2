"""The shapes of the native API that are no records: what handlers decode and encode, and `/openapi.json` describes.

A body that is asked for is a struct that refuses unknown members; what may be left out is `UNSET`, because null is a
value that was sent. Documents of users are not here: their fields are `core.records.FIELDS`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from userfold.api.native.errors import Problem
from userfold.core import records
from userfold.core.attributes import CHOICES_MAX
from userfold.core.event_rules import OCCURRED_AT_MAX
from userfold.core.fields import DESCRIPTION_LENGTH_MAX
from userfold.core.records import (
    AttributeType,
    Change,
    Event,
    IdentityAlgorithm,
    Operation,
    Presence,
    ProjectSettings,
    User,
)
from userfold.core.trust import Ignored

DAY_S = 86_400
LIFETIME_S = 30 * DAY_S
LIFETIME_S_MAX = 366 * DAY_S
BATCH_ITEMS_MAX = 1_000

# The core checks these (`core.identifiers`); here they are only described.
_BLANKS = "\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
NOT_BLANK = f"^[^\\u0000]*[^\\u0000{_BLANKS}][^\\u0000]*$"

Name = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 255, "pattern": NOT_BLANK})]
Description = Annotated[str, Meta(extra_json_schema={"maxLength": DESCRIPTION_LENGTH_MAX})]
About = Annotated[str, Meta(max_length=512)]
Time = Annotated[int, Meta(ge=0, description="Milliseconds since the Unix epoch.")]
Seconds = Annotated[int, Meta(ge=0, description="Seconds since the Unix epoch.")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request carries."""

    data: ClassVar[frozenset[str]] = frozenset()  # the members that are stored as they were sent


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply carries."""


# Users.


class UserWritten(User, frozen=True, kw_only=True):
    """A user as a write left it."""

    changes: Annotated[tuple[Operation, ...], Meta(description="What the write changed; nothing if it is empty.")]
    ignored: Annotated[tuple[Ignored, ...], Meta(description="What was given and not written.")] | UnsetType = UNSET


class UserPage(Shape, frozen=True, kw_only=True):
    """One page of users."""

    data: tuple[User, ...]
    next_cursor: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]


class ChangePage(Shape, frozen=True, kw_only=True):
    """One page of the changes of a user."""

    data: tuple[Change, ...]
    next_cursor: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]


# Batches.

Version = Annotated[int, Meta(ge=1)]
Versions = Annotated[
    Version | tuple[Version, ...] | Literal["*"],
    Meta(description="Only if the user exists and is at this version, or at one of these; `*`: at whatever version."),
]
# Documents of users and operations are checked by the core (`schemas.of_documents`).
UserDocument = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/UserInput"})]
UpsertDocument = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/UserUpsert"})]
OperationList = Annotated[list[Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Operations"})]


class CreateItem(Body, frozen=True, kw_only=True, tag_field="action", tag="create"):
    """Make a user."""

    user: UserDocument


class UpdateItem(Body, frozen=True, kw_only=True, tag_field="action", tag="update"):
    """Change a user: either by `user`, a merge patch (RFC 7396), or by `operations`."""

    id: str
    user: UserDocument | UnsetType = UNSET
    operations: OperationList | UnsetType = UNSET
    if_match: Versions | UnsetType = UNSET


class UpsertItem(Body, frozen=True, kw_only=True, tag_field="action", tag="upsert"):
    """Merge into the user whom an external_id, or its id, names, or make it."""

    external_id: Name
    user: UpsertDocument
    if_match: Versions | UnsetType = UNSET


class DeleteItem(Body, frozen=True, kw_only=True, tag_field="action", tag="delete"):
    """Erase a user and its history."""

    id: str
    if_match: Versions | UnsetType = UNSET


BatchItem = CreateItem | UpdateItem | UpsertItem | DeleteItem


class BatchResult(Shape, frozen=True, kw_only=True):
    """What an item came to: `status`, and either the user (none, once it is deleted) or the error."""

    index: Annotated[int, Meta(ge=0, description="Which item; 0 is the first.")]
    line: Annotated[int, Meta(ge=1, description="Of an item of NDJSON that failed: its line.")] | UnsetType = UNSET
    status: Annotated[int, Meta(ge=200, le=599, description="As a request for this one item would be answered.")]
    id: Annotated[str, Meta(description="With `return=minimal`, the user's.")] | UnsetType = UNSET
    version: Annotated[int, Meta(description="With `return=minimal`, the user's.")] | UnsetType = UNSET
    user: User | UnsetType = UNSET
    changes: Annotated[tuple[Operation, ...], Meta(description="What the item changed.")] | UnsetType = UNSET
    ignored: Annotated[tuple[Ignored, ...], Meta(description="What was given and not written.")] | UnsetType = UNSET
    error: Problem | UnsetType = UNSET
    batch_ended: (
        Annotated[bool, Meta(description="Of the last result: neither this item nor those after it were tried.")]
        | UnsetType
    ) = UNSET


class BatchResults(Shape, frozen=True, kw_only=True):
    """The results of the items of a list, in their order."""

    data: tuple[BatchResult, ...]


# Sign-ins.


class SessionInput(Body, frozen=True, kw_only=True):
    """How long a sign-in lasts and where it began. All of it may be left out."""

    expires_in_seconds: Annotated[int, Meta(ge=1, le=LIFETIME_S_MAX)] = LIFETIME_S
    ip_address: About | None = None
    user_agent: About | None = None


class Session(Shape, frozen=True, kw_only=True):
    """A sign-in."""

    id: str
    user_id: str
    status: Literal["active", "expired", "revoked"]
    created_at: Time
    expires_at: Time
    ended_at: Time | None
    ip_address: str | None
    user_agent: str | None


class NewSession(Session, frozen=True, kw_only=True):
    """A sign-in that was just made."""

    token: Annotated[str, Meta(description="Who shows it is the user. It is not shown again.")]


class SessionPage(Shape, frozen=True, kw_only=True):
    """All sign-ins of a user."""

    data: tuple[Session, ...]
    next_cursor: None = None


class TokenInput(Body, frozen=True, kw_only=True):
    """A token that somebody has shown."""

    token: str


class Introspection(Shape, frozen=True, kw_only=True):
    """Whether a token is good (RFC 7662). Everything but `active` is there only if it is."""

    active: bool
    sub: Annotated[str, Meta(description="The id of the user.")] | UnsetType = UNSET
    iat: Seconds | UnsetType = UNSET
    exp: Seconds | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    user: User | UnsetType = UNSET


# Events.


class EventInput(Body, frozen=True, kw_only=True):
    """Something that a user did."""

    data = frozenset({"properties"})

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


# The core checks this too (`core.attribute_rules`).
Choices = Annotated[tuple[Name, ...], Meta(extra_json_schema={"uniqueItems": True, "maxItems": CHOICES_MAX})]


class AttributeInput(Body, frozen=True, kw_only=True):
    """What a key of traits is to hold."""

    name: Name
    type: AttributeType
    choices: Choices = ()
    title: Name | None = None
    description: Description | None = None


class AttributePatch(Body, frozen=True, kw_only=True):
    """What to change of an attribute; what is not given stays."""

    choices: Choices | UnsetType = UNSET
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


# The export.


class ExportedIdentifier(Shape, frozen=True, kw_only=True):
    """A value that names the user, after its kind and `|`, and who claimed it."""

    identifier: str
    set_by: str


class ExportedSecrets(Shape, frozen=True, kw_only=True):
    """Which secrets are held. What they are is never shown."""

    password: bool
    totp: bool
    backup_codes: bool


class ExportedSegment(Shape, frozen=True, kw_only=True):
    """A segment that the user is in."""

    id: str
    name: Annotated[str | None, Meta(description="Null where the segment is gone already.")]


class TrackingSession(records.Session, frozen=True, kw_only=True):
    """A browser's session."""


class UserExport(Shape, frozen=True, kw_only=True):
    """All that is held about a user."""

    user: User
    identifiers: tuple[ExportedIdentifier, ...]
    secrets: ExportedSecrets
    segments: tuple[ExportedSegment, ...]
    presence: Presence
    sign_ins: tuple[Session, ...]
    sessions: tuple[TrackingSession, ...]
    changes: tuple[Change, ...]
    events: tuple[Event, ...]


# The project and its keys.

# A setting is added to `ProjectSettings`; here it may also be left out.
ProjectSettingsInput = msgspec.defstruct(
    "ProjectSettingsInput",
    [(field.name, field.type | UnsetType, UNSET) for field in msgspec.structs.fields(ProjectSettings)],
    bases=(Body,),
    namespace={"__doc__": "Settings to change; what is not given stays."},
    frozen=True,
    kw_only=True,
)


class ProjectInput(Body, frozen=True, kw_only=True):
    """What to change of a project; what is not given stays."""

    name: Name | UnsetType = UNSET
    settings: ProjectSettingsInput | UnsetType = UNSET  # type: ignore[valid-type]  # made of another struct


class KeyInput(Body, frozen=True, kw_only=True):
    """A key to make."""

    name: Name
    kind: Literal["secret", "publishable", "identity"] = "secret"
    read_only: bool = False
    public_key: (
        Annotated[str, Meta(description="Of an identity key that verifies by ES256: PEM, on the curve P-256.")]
        | UnsetType
    ) = UNSET


class ProjectKey(Shape, frozen=True, kw_only=True):
    """A key of the project."""

    id: str
    project_id: str
    kind: Literal["secret", "publishable", "webhook", "identity"]
    name: str
    token: Annotated[str, Meta(description="Of a publishable key only.")] | UnsetType = UNSET
    algorithm: Annotated[IdentityAlgorithm, Meta(description="Of an identity key only.")] | UnsetType = UNSET
    read_only: bool
    created_at: Time
    revoked_at: Time | None
    last_used_at: Annotated[Time | None, Meta(description="Exact to the minute, and some seconds late.")]
    version: int


class NewKey(ProjectKey, frozen=True, kw_only=True):
    """A key that was just made."""

    token: (
        Annotated[
            str,
            Meta(
                description="The key itself; of an identity key that verifies by HS256 the secret to sign with. "
                "A secret one is not shown again."
            ),
        ]
        | UnsetType
    ) = UNSET


class KeyPage(Shape, frozen=True, kw_only=True):
    """All keys of the project."""

    data: tuple[ProjectKey, ...]
    next_cursor: None = None


def given(body: Body) -> dict[str, Any]:
    """The members that were sent, as plain values."""
    values: dict[str, Any] = msgspec.to_builtins(body)
    return values
