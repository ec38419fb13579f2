"""The shapes of the native API that are no records: what handlers decode and encode, and `/openapi.json` describes.

A body that is asked for is a struct that refuses unknown members; what may be left out is `UNSET`, because null is a
value that was sent. Documents of users are not here: their fields are `core.records.FIELDS`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from userfold.core.records import Change, Operation, ProjectSettings, User
from userfold.core.trust import Ignored

DAY_S = 86_400
LIFETIME_S = 30 * DAY_S
LIFETIME_S_MAX = 366 * DAY_S

# The core checks these (`core.identifiers`); here they are only described.
NAME_SCHEMA = {"minLength": 1, "maxLength": 255, "pattern": "^[^\\u0000]*$"}

Name = Annotated[str, Meta(extra_json_schema=NAME_SCHEMA)]
About = Annotated[str, Meta(max_length=512)]
Time = Annotated[int, Meta(ge=0, description="Milliseconds since the Unix epoch.")]
Seconds = Annotated[int, Meta(ge=0, description="Seconds since the Unix epoch.")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request carries."""


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
    kind: Literal["secret", "publishable"] = "secret"
    read_only: bool = False


class ProjectKey(Shape, frozen=True, kw_only=True):
    """A key of the project."""

    id: str
    project_id: str
    kind: Literal["secret", "publishable"]
    name: str
    token: Annotated[str, Meta(description="Of a publishable key only.")] | UnsetType = UNSET
    read_only: bool
    created_at: Time
    revoked_at: Time | None
    last_used_at: Annotated[Time | None, Meta(description="To the minute.")]
    version: int


class NewKey(ProjectKey, frozen=True, kw_only=True):
    """A key that was just made."""

    token: Annotated[str, Meta(description="The key itself. A secret one is not shown again.")]


class KeyPage(Shape, frozen=True, kw_only=True):
    """All keys of the project."""

    data: tuple[ProjectKey, ...]
    next_cursor: None = None


def given(body: Body) -> dict[str, Any]:
    """The members that were sent, as plain values."""
    values: dict[str, Any] = msgspec.to_builtins(body)
    return values
