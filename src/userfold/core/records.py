"""The records that Userfold keeps. All are frozen: a change is a new record.

Times are integers, milliseconds since the Unix epoch. Every record belongs to a project. A field that is added gets a
default, and needs no migration: documents written before it read as if they had it.

`User` is at once the stored document and what the native API shows. Each field says once, in its annotation, which
kind of value it takes (`fields.py` checks it), who may write it (`trust.py` judges it) and whether it names its user.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec

BAG_BYTES_MAX = 64 * 1024
BAG_LEVELS_MAX = 32

Bag = dict[str, Any]


class Key(NamedTuple):
    """Names one record, or, where the kind is a plural, a collection that is answered as a tuple."""

    kind: str
    project_id: str
    id: str


# A collection is named by a user's id and holds records of one kind that carry it as `user_id`.
COLLECTIONS: dict[str, str] = {"changes": "change", "answers": "idempotency", "sign_ins": "sign_in"}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all records share. Two are equal if all their fields are."""


class Field(msgspec.Struct, frozen=True):
    """What a field of a user takes and who may write it."""

    kind: str  # a row of fields.CHECKS
    writer: str  # a row of trust.TABLE
    choices: tuple[str, ...] = ()  # the first is the default


class EmailAddress(Record, frozen=True, kw_only=True):
    """An identifier of a user, set by a backend. `email_address` is in its normal form."""

    id: str
    email_address: str
    verified: bool = False
    primary: bool = False
    created_at: int
    updated_at: int


class PhoneNumber(Record, frozen=True, kw_only=True):
    """An identifier of a user, set by a backend. `phone_number` is E.164."""

    id: str
    phone_number: str
    verified: bool = False
    primary: bool = False
    created_at: int
    updated_at: int


class Image(Record, frozen=True, kw_only=True):
    """The picture of a user: what is known of the bytes that are stored, beside the records, under `name`.

    Other bytes have another name, so whoever has read some by a name need never ask again.
    """

    name: str  # see `image_names`; also the end of its address
    content_type: str
    size: int  # bytes
    sha256: str  # hexadecimal
    width: int
    height: int
    created_at: int


_system = Field("system", "system")
_profile = Field("text", "profile")
_contact = Field("text", "contact")
_backend_bag = Field("bag", "backend")
_flag = Field("flag", "backend")
_permission = Field("permission", "backend")

Policy = Literal["none", "optional", "enforced"]


class User(Record, frozen=True, kw_only=True):
    """One user of one project."""

    id: Annotated[str, _system]
    external_id: Annotated[str | None, Field("external_id", "external_id")] = None
    usercom_id: Annotated[int | None, _system] = None
    first_name: Annotated[str | None, _profile] = None
    last_name: Annotated[str | None, _profile] = None
    name: Annotated[str | None, _profile] = None
    username: Annotated[str | None, Field("username", "backend")] = None
    email_addresses: Annotated[tuple[EmailAddress, ...], Field("email_addresses", "backend")] = ()
    phone_numbers: Annotated[tuple[PhoneNumber, ...], Field("phone_numbers", "backend")] = ()
    contact_email: Annotated[str | None, Field("contact_email", "contact")] = None
    contact_phone: Annotated[str | None, _contact] = None
    locale: Annotated[str | None, _profile] = None
    timezone: Annotated[str | None, _profile] = None
    image: Annotated[Image | None, _system] = None
    public_metadata: Annotated[Bag, _backend_bag] = {}
    private_metadata: Annotated[Bag, _backend_bag] = {}
    unsafe_metadata: Annotated[Bag, Field("bag", "unsafe")] = {}
    traits: Annotated[Bag, Field("bag", "contact")] = {}
    disabled: Annotated[bool, _flag] = False
    locked: Annotated[bool, _flag] = False
    second_factor_policy: Annotated[Policy, Field("choice", "backend", choices=("optional", "none", "enforced"))] = (
        "optional"
    )
    legal_accepted_at: Annotated[int | None, Field("time", "backend")] = None
    # What the user's own browser may do elsewhere: kept for an app that asks.
    delete_self_enabled: Annotated[bool, _permission] = True
    create_organization_enabled: Annotated[bool, _permission] = True
    create_organizations_limit: Annotated[int | None, Field("count", "backend")] = None  # 0: there is none
    bypass_client_trust: Annotated[bool, _flag] = False
    segments: Annotated[tuple[str, ...], _system] = ()
    owned: Annotated[tuple[str, ...], _system] = ()
    external_id_aliases: Annotated[tuple[str, ...], _system] = ()
    created_at: Annotated[int, _system] = 0
    updated_at: Annotated[int, _system] = 0
    version: Annotated[int, _system] = 0
    # What there is in `Secrets`.
    password_enabled: Annotated[bool, _system] = False
    password_compromised: Annotated[bool, _system] = False  # it may be somebody else's too, and does not verify
    totp_enabled: Annotated[bool, _system] = False
    backup_codes_enabled: Annotated[bool, _system] = False
    # When the user last got a second factor that had none, and last lost the last one.
    second_factor_enabled_at: Annotated[int | None, _system] = None
    second_factor_disabled_at: Annotated[int | None, _system] = None


FIELDS: dict[str, Field] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(User, include_extras=True).items()
}

# The change itself says which version it made and when, so these two are not repeated in its operations.
TOLD_BY_CHANGE = frozenset({"version", "updated_at"})


class Operation(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One difference between two versions of a user. A missing `old` or `new` means absent, which null is not.

    A changed list is one operation: from index `at`, `removed` gave way to `added`. A replacement that tells nothing
    but its path is of a secret, such as `/password`: that it changed is history, what it was is not.
    """

    op: Literal["add", "replace", "remove"]
    path: str  # JSON Pointer, RFC 6901
    old: Any = msgspec.UNSET
    new: Any = msgspec.UNSET
    at: int | msgspec.UnsetType = msgspec.UNSET
    removed: list[Any] | msgspec.UnsetType = msgspec.UNSET
    added: list[Any] | msgspec.UnsetType = msgspec.UNSET


class Change(Record, frozen=True, kw_only=True):
    """One accepted update that changed something. Folding a user's changes gives the user."""

    id: str
    user_id: str
    version: int
    at: int
    source: str
    actor: str
    trust: str
    request_id: str
    operations: tuple[Operation, ...]


class Idempotency(Record, frozen=True, kw_only=True):
    """What an idempotency key was answered, so that the same request gets the same answer. Goes with its user."""

    id: str
    request: str  # a digest of what was asked
    at: int
    expires_at: int
    user_id: str  # "" where the answer is about no user
    user_version: int = 1  # which version a creation made that is remembered without its user
    user: User | None
    record_kind: str = ""
    record: dict[str, Any] | None = None  # a record that is not a user, as JSON values
    change: Change | None
    created: bool
    ignored: tuple[tuple[str, str], ...]


class Identifier(Record, frozen=True, kw_only=True):
    """`identifier` (such as `email|ada@example.com`) names `user_id`; `set_by` is the trust level that claimed it."""

    identifier: str
    user_id: str
    set_by: str


class Tombstone(Record, frozen=True, kw_only=True):
    """What is left of a deleted user: who, when, by whom. `id` is a user id, or the digest of an external_id."""

    id: str
    user_id: str
    at: int
    source: str
    actor: str


class Mirror(Record, frozen=True, kw_only=True):
    """How new what was taken over of a user was, of whom another system tells. Has no version and no history."""

    id: str  # the user's
    changed_at: int  # when the user was changed there
    told_at: int


class Erasure(Record, frozen=True, kw_only=True):
    """A user was deleted at `at`, and what it left in tables that may be long is still to be removed by a sweep."""

    id: str  # the user's
    project_id: str
    at: int


class Event(Record, frozen=True, kw_only=True):
    """Something that a user did. No part of the user: it has no version, and the history does not tell of it."""

    id: str  # sorts as `created_at` does, which is when it came; one that a tracking session tells of as `occurred_at`
    user_id: str
    session_id: str | None = None
    name: str
    properties: Bag = {}
    occurred_at: int  # by the clock of whoever says so
    created_at: int
    source: str
    actor: str


class Context(Record, frozen=True, kw_only=True):
    """Where somebody was active, as far as it was told. Texts are as long as `presence.context` leaves them."""

    ip_address: str | None = None
    user_agent: str | None = None
    browser_language: str | None = None
    timezone: str | None = None
    entry_url: str | None = None


class Session(Record, frozen=True, kw_only=True):
    """A browser's tracking session. A user that is linked stays linked."""

    id: str
    kind: Literal["tracking"] = "tracking"
    user_id: str | None = None
    status: Literal["active", "ended"] = "active"
    ended_because: Literal["idle", "client_abort"] | None = None
    sampled: bool = True  # else the browser was told that nothing of this visit is wanted
    environment: str | None = None
    release: str | None = None
    app_session_id: str | None = None  # the app's own id of this visit
    metadata: Bag = {}
    integrations: Bag = {}  # {vendor: its ids of this visit}
    context: Context = Context()
    early_events: tuple[Event, ...] = ()  # whose they are is not known yet; they become the user's who is linked
    created_at: int
    seen_at: int = 0  # to the minute
    ended_at: int | None = None
    # While it is active: when it ends unless something comes. Afterwards: when it is removed (None: with its user).
    expires_at: int | None = None
    version: int = 1


class SignIn(Record, frozen=True, kw_only=True):
    """A session that an app's backend began for a user. Of its token only the SHA-256 is kept."""

    id: str
    user_id: str
    token_digest: str
    status: Literal["active", "revoked"] = "active"
    created_at: int
    expires_at: int
    ended_at: int | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    version: int = 1

    def is_live(self, now: int) -> bool:
        """Whether its token is good at `now` (ms)."""
        return self.status == "active" and now < self.expires_at


class Presence(Record, frozen=True, kw_only=True):
    """When and where the user `id` was last active. No part of the user: it has no version, history or ETag."""

    id: str
    last_active_at: int | None = None  # to the minute
    last_sign_in_at: int | None = None
    page_views: int = 0
    context: Context = Context()  # of the last activity that told of one


class Secrets(Record, frozen=True, kw_only=True):
    """What proves that somebody is the user `id`. Never in a difference, a reply, a log or a history."""

    id: str
    password_digest: str | None = None  # in PHC or modular crypt format
    totp_secret: str | None = None  # encrypted; in an export it is not
    totp_step: int | None = None  # the time step of the last code that was accepted: no code is good twice
    backup_code_digests: tuple[str, ...] = ()  # of those that were not used yet
    version: int = 1


PerMinute = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
# As a browser says it (RFC 6454, 6.1): lower case, without a path.
Origin = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9+.-]*://[^/?#@A-Z]+$", max_length=255)]


class ProjectSettings(Record, frozen=True, kw_only=True):
    """What an operator decides for a project."""

    tombstone_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 30  # a browser cannot re-create a deleted user
    # What browsers behind one address may do; 0 refuses all. An office, a campus or a mobile network shares an address:
    # some hundred people may open an app in the same minute, few of them for the first time, and each open page sends
    # an update every few seconds. An attacker with one address is kept to what a disk and an operator can bear.
    new_sessions_per_minute: PerMinute = 1_000
    new_users_per_minute: PerMinute = 500
    writes_per_minute: PerMinute = 10_000
    allowed_origins: Annotated[tuple[Origin, ...], msgspec.Meta(max_length=100)] = ()  # of pages; none: all are
    sampling_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0  # the share of tracking sessions that are sampled
    unsampled_updates: Literal["refuse", "apply"] = "refuse"  # what a session that is not sampled says
    # Whether a browser that names a user must prove that it is this user's. Vendors' SDKs bring no proof by themselves.
    browser_identity: Literal["open", "verified"] = "open"


AttributeType = Literal[
    "string", "integer", "number", "boolean", "date", "datetime", "choice", "choices", "list", "object", "any"
]


class AttributeDefinition(Record, frozen=True, kw_only=True):
    """What a key of `User.traits` holds: a value that is written there must be of this type."""

    id: str
    project_id: str
    name: str  # the key; no two of a project have one
    type: AttributeType
    choices: tuple[str, ...] = ()  # of `choice` and `choices`
    title: str | None = None
    description: str | None = None
    created_at: int
    updated_at: int
    version: int = 1


class EffectiveSettings(ProjectSettings, frozen=True, kw_only=True):
    """A project's settings as commands see them, with what it has defined in records of their own.

    They come from the process, and may be a second old: no command locks what all commands look at.
    """

    segments: frozenset[str] = frozenset()  # the ids of those that are not deleted
    attributes: dict[str, AttributeDefinition] = {}  # by name
    mirrors: bool = False  # whether another system tells of its users, whose ids are kept


class Project(Record, frozen=True, kw_only=True):
    """A tenant: nothing in one project can be seen or named from another."""

    id: str
    name: str
    product_id: str  # Milana's: `prd_` and 26 characters
    settings: ProjectSettings = ProjectSettings()
    created_at: int
    version: int = 1


IdentityAlgorithm = Literal["HS256", "ES256"]


class ApiKey(Record, frozen=True, kw_only=True):
    """A credential of a project. Of a secret key only the SHA-256 is kept; a publishable key is public.

    An identity key opens nothing: it verifies tokens by which the app's backend says who a browser's user is.
    By a webhook key another system signs what it tells of its users; whoever checks a signature needs the key itself.
    """

    id: str
    project_id: str
    kind: Literal["secret", "publishable", "webhook", "identity"]
    name: str
    token_digest: str  # SHA-256, hexadecimal
    token: str | None = None  # of a publishable key only
    algorithm: IdentityAlgorithm | None = None  # of an identity key only
    # Of an identity key: a public key as PEM, or a shared secret, encrypted. Of a webhook key: its secret, encrypted.
    verifier: str | None = None
    read_only: bool = False
    created_at: int
    revoked_at: int | None = None
    last_used_at: int | None = None  # to the minute
    version: int = 1


class Segment(Record, frozen=True, kw_only=True):
    """A named group of users. Its members say so themselves, in `User.segments`."""

    id: str
    project_id: str
    name: str
    description: str | None = None
    created_at: int
    updated_at: int
    # From then on it is as if it were not there; a sweep takes it from its users, and then removes it.
    deleted_at: int | None = None
    deleted_by: str | None = None  # the actor, whom the history of those users names
    version: int = 1


KINDS: dict[str, type[Record]] = {
    "user": User,
    "identifier": Identifier,
    "change": Change,
    "idempotency": Idempotency,
    "secrets": Secrets,
    "tombstone": Tombstone,
    "mirror": Mirror,
    "erasure": Erasure,
    "session": Session,
    "sign_in": SignIn,
    "presence": Presence,
    "project": Project,
    "api_key": ApiKey,
    "segment": Segment,
    "event": Event,
    "attribute": AttributeDefinition,
}
_KIND_OF = {type_: kind for kind, type_ in KINDS.items()}


def kind_of(record: Record) -> str:
    """The kind that a key of `record` has."""
    return _KIND_OF[type(record)]
