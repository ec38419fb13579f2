"""The native API as an OpenAPI 3.1 document: one row for each route, and what is made of them.

A route's row says what the route table cannot: its parameters, its body, its replies, and which refusals it can answer
beyond those of its kind (`_kin`). A row that is missing or that says too little fails a test. Schemas are those of the
structs that the handlers decode and encode (`shapes.py`, `core.records`); see `schemas.py` for users' documents.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from userfold import __version__
from userfold.api import bodies
from userfold.api import wire as http
from userfold.api.native import batch_handlers, errors, examples, routes, schemas, shapes, wire
from userfold.api.native.schemas import Schema, ref
from userfold.core import errors as core
from userfold.core import records
from userfold.core.identifiers import LENGTH_MAX
from userfold.core.jsontext import encode
from userfold.engine import Overloaded, Stopping
from userfold.images import IMAGE_BYTES_MAX, SIDE_MAX
from userfold.storage import port

Refusals = tuple[type[Exception], ...]


class Parameter(msgspec.Struct, frozen=True):
    """Something that a request says beside its body. `place`: path, query or header."""

    name: str
    place: str
    description: str
    schema: Schema
    required: bool = False
    example: Any = None


class Body(msgspec.Struct, frozen=True):
    """What a request carries: content type → name of a schema, or None where it is not JSON."""

    content: dict[str, str | None]
    required: bool = True

    @property
    def is_json(self) -> bool:
        return None not in self.content.values()


class Answer(msgspec.Struct, frozen=True):
    """A reply that is no refusal. No shape: no body. `line_shape`: of each line, where NDJSON is answered."""

    status: int
    description: str
    shape: type[Any] | None = None
    headers: tuple[str, ...] = ()
    line_shape: type[Any] | None = None
    other_shape: type[Any] | None = None  # of an answer that is of one kind or of the other


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the document says of one route."""

    id: str
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: tuple[Answer, ...]
    refusals: Refusals = ()


# What several rows say.

_JSON_TYPE = "application/json"
_ID: Schema = {"type": "string", "minLength": 1}
_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": LENGTH_MAX, "pattern": schemas.NO_NUL}

USER_ID = Parameter("id", "path", "The id of the user.", _ID, True, "user_01m7zvgwjn3gg1x0fanetqa3a0")
SESSION_ID = Parameter("id", "path", "The id of the sign-in.", _ID, True, "ses_01m7zvgw8wdsn77b61a4kptxax")
SEGMENT_ID = Parameter("id", "path", "The id of the segment.", _ID, True, "seg_01m7zvgwaf2cr7c03drf3xvvsm")
ATTRIBUTE_ID = Parameter("id", "path", "The id of the attribute.", _ID, True, "attr_2x8pm6v7tq0c5b9d3n1hfwk4za")
OF_SEGMENT = Parameter("segment_id", "path", "The id of the segment.", _ID, True, SEGMENT_ID.example)
KEY_ID = Parameter("id", "path", "The id of the key.", _ID, True, "ak_01m7zvgws64fh736cqy7f68qm1")
EXTERNAL_ID = Parameter("external_id", "path", "What the app calls the user, or the user's id.", _TEXT, True, "u-1")
REQUEST_ID = Parameter(
    "X-Request-Id",
    "header",
    "An id for logs and the history. One that is longer than 128 characters, or has others than letters, digits and "
    "`._:+/=-`, gives way to a new one.",
    {"type": "string"},
)
IF_MATCH = Parameter(
    "If-Match",
    "header",
    "Do it only if it is at one of these versions: `ETag`s, or `*` (RFC 9110, 13.1.1).",
    {"anyOf": [{"const": "*"}, {"type": "string", "pattern": wire.ENTITY_TAGS_PATTERN}]},
    example='"1"',
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    "Answer 304, without a body, if it is at one of these versions (RFC 9110, 13.1.2).",
    {"type": "string"},
    example='"1"',
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Sent again within 24 hours, the same request gets the same answer and is not done again.",
    {"type": "string", "maxLength": wire.IDEMPOTENCY_KEY_LENGTH_MAX, "pattern": "^[!-~](?:[ -~]*[!-~])?$"},
    example="order-1234",
)
DRY_RUN = Parameter("dry_run", "query", "Answer as the write would, and store nothing.", {"type": "boolean"})
LIMIT = Parameter(
    "limit",
    "query",
    "How many at most.",
    {"type": "integer", "minimum": 1, "maximum": wire.PAGE_SIZE_MAX, "default": wire.PAGE_SIZE},
)
WRITE = (DRY_RUN, IDEMPOTENCY_KEY)

_MERGE_PATCH = dict.fromkeys(("application/json", "application/merge-patch+json"))
USER_BODY = Body({_JSON_TYPE: "UserInput"})
UPSERT_BODY = Body(dict.fromkeys(_MERGE_PATCH, "UserUpsert"))
PATCH_BODY = Body(
    {
        **dict.fromkeys(_MERGE_PATCH, "UserInput"),
        "application/json-patch+json": "JsonPatch",
        "application/vnd.userfold.operations+json": "Operations",
    }
)

NO_CONTENT = Answer(204, "It is done.")
FIELDS: Refusals = (
    core.FieldUnknown,
    core.FieldReadOnly,
    core.FieldInvalid,
    core.FieldFormatInvalid,
    core.BagTooLarge,
    core.BagTooDeep,
    core.IdentifierTaken,
    core.IdempotencyKeyReused,
    http.ParameterInvalid,
    http.HeaderInvalid,
)
SHAPE: Refusals = (core.FieldUnknown, core.FieldInvalid)

DEFINED: Refusals = (*SHAPE, core.FieldFormatInvalid, core.IdempotencyKeyReused, http.HeaderInvalid)
MEMBERSHIP: Refusals = (
    core.UserNotFound,
    core.SegmentNotFound,
    core.VersionMismatch,
    core.IdempotencyKeyReused,
    http.ParameterInvalid,
    http.HeaderInvalid,
)

OF_IMAGE: Refusals = (
    core.UserNotFound,
    core.VersionMismatch,
    core.IdempotencyKeyReused,
    http.ParameterInvalid,
    http.HeaderInvalid,
)

ROWS: dict[tuple[str, str], Row] = {
    ("POST", "/users"): Row(
        id="create_user",
        tag="Users",
        summary="Create a user",
        description="An external_id that only a browser has claimed so far is adopted with all that it holds.",
        parameters=WRITE,
        body=USER_BODY,
        answers=(Answer(201, "The user.", shapes.UserWritten, ("ETag", "Location")),),
        refusals=FIELDS,
    ),
    ("GET", "/users"): Row(
        id="list_users",
        tag="Users",
        summary="Find users",
        description="One page of users, of whom all that is asked for holds. There is no total.",
        parameters=(
            Parameter("external_id", "query", "The user whom the app calls so.", _TEXT),
            Parameter(
                "email",
                "query",
                "The user of that address. If nobody has it as an identifier, those who claim it as `contact_email`.",
                {"type": "string", "maxLength": LENGTH_MAX, "pattern": schemas.EMAIL},
                example="ada@example.com",
            ),
            Parameter(
                "username",
                "query",
                "The user of that name, in any case.",
                {"type": "string", "minLength": 1, "maxLength": LENGTH_MAX, "pattern": schemas.USERNAME},
            ),
            Parameter(
                "segment",
                "query",
                "The users in the segment of this id.",
                {"type": "string", "maxLength": LENGTH_MAX, "pattern": schemas.NO_NUL},
            ),
            Parameter("query", "query", "A part of an id, a name, an address or a phone number.", {"type": "string"}),
            Parameter(
                "order_by",
                "query",
                "With `-` before it, the latest first.",
                {"enum": [sign + order for order in wire.ORDERS for sign in ("", "-")], "default": "created_at"},
            ),
            LIMIT,
            Parameter(
                "cursor",
                "query",
                "The `next_cursor` of the page before, with the same other parameters.",
                {"type": "string", "pattern": wire.CURSOR_PATTERN},
            ),
        ),
        answers=(Answer(200, "The users.", shapes.UserPage),),
        refusals=(http.ParameterInvalid,),
    ),
    ("PUT", "/users/by-external-id/{external_id}"): Row(
        id="upsert_user",
        tag="Users",
        summary="Create a user, or merge into it",
        description="A merge patch (RFC 7396) for the user whom the external_id, or the id, names.",
        parameters=(EXTERNAL_ID, IF_MATCH, *WRITE),
        body=UPSERT_BODY,
        answers=(
            Answer(200, "The user, which was there.", shapes.UserWritten, ("ETag", "Location")),
            Answer(201, "The user, which is new.", shapes.UserWritten, ("ETag", "Location")),
        ),
        refusals=(*FIELDS, core.UserNotFound, core.VersionMismatch),
    ),
    ("GET", "/users/{id}"): Row(
        id="read_user",
        tag="Users",
        summary="Read a user",
        parameters=(
            USER_ID,
            Parameter(
                "version",
                "query",
                "Read the user as it was at that version.",
                {"type": "integer", "minimum": 1, "maximum": wire.INTEGER_MAX},
            ),
            IF_NONE_MATCH,
        ),
        answers=(
            Answer(200, "The user.", records.User, ("ETag",)),
            Answer(304, "Who asks has that version already.", None, ("ETag",)),
        ),
        refusals=(core.UserNotFound, core.VersionNotFound, http.ParameterInvalid),
    ),
    ("PATCH", "/users/{id}"): Row(
        id="update_user",
        tag="Users",
        summary="Change a user",
        description="A merge patch (RFC 7396), a JSON Patch (RFC 6902) or operations of Userfold's own, "
        "by the content type. All or nothing.",
        parameters=(USER_ID, IF_MATCH, *WRITE),
        body=PATCH_BODY,
        answers=(Answer(200, "The user, changed.", shapes.UserWritten, ("ETag",)),),
        refusals=(
            *FIELDS,
            core.UserNotFound,
            core.VersionMismatch,
            core.OperationInvalid,
            core.OperationUnknown,
            core.PathNotFound,
            core.NumberInvalid,
            core.ListNotFound,
            core.TestFailed,
        ),
    ),
    ("DELETE", "/users/{id}"): Row(
        id="delete_user",
        tag="Users",
        summary="Delete a user",
        description="Erases the user and its history and frees its identifiers.",
        parameters=(USER_ID, IF_MATCH, *WRITE),
        answers=(NO_CONTENT,),
        refusals=(
            core.UserNotFound,
            core.VersionMismatch,
            core.IdempotencyKeyReused,
            http.ParameterInvalid,
            http.HeaderInvalid,
        ),
    ),
    ("GET", "/users/{id}/history"): Row(
        id="read_history",
        tag="Users",
        summary="Read the changes of a user",
        parameters=(
            USER_ID,
            Parameter(
                "order_by",
                "query",
                "With `-` before it, the latest first.",
                {"enum": ["version", "-version"], "default": "version"},
            ),
            LIMIT,
            Parameter(
                "cursor",
                "query",
                "The `next_cursor` of the page before, with the same `order_by`.",
                {"type": "integer", "minimum": 1, "maximum": wire.INTEGER_MAX},
            ),
        ),
        answers=(Answer(200, "The changes.", shapes.ChangePage),),
        refusals=(core.UserNotFound, http.ParameterInvalid),
    ),
    ("GET", "/users/{id}/export"): Row(
        id="export_user",
        tag="Users",
        summary="Export a user",
        description="All that is held about it, as a file: its history, its events and its sessions too.",
        parameters=(USER_ID,),
        answers=(Answer(200, "The export.", shapes.UserExport, ("Content-Disposition",)),),
        refusals=(core.UserNotFound,),
    ),
    ("POST", "/users/{id}/events"): Row(
        id="record_event",
        tag="Events",
        summary="Record an event",
        description="An event is no part of the user: it makes no version.",
        parameters=(USER_ID, IDEMPOTENCY_KEY),
        body=Body({_JSON_TYPE: "EventInput"}),
        answers=(Answer(201, "The event.", records.Event),),
        refusals=(
            *SHAPE,
            core.FieldFormatInvalid,
            core.BagTooLarge,
            core.BagTooDeep,
            core.UserNotFound,
            core.IdempotencyKeyReused,
            http.HeaderInvalid,
        ),
    ),
    ("GET", "/users/{id}/events"): Row(
        id="list_events",
        tag="Events",
        summary="List the events of a user",
        parameters=(
            USER_ID,
            Parameter(
                "order_by",
                "query",
                "With `-` before it, the latest first.",
                {"enum": ["created_at", "-created_at"], "default": "-created_at"},
            ),
            LIMIT,
            Parameter(
                "cursor",
                "query",
                "The `next_cursor` of the page before, with the same `order_by`.",
                {"type": "string", "minLength": 1, "maxLength": LENGTH_MAX},
            ),
        ),
        answers=(Answer(200, "The events.", shapes.EventPage),),
        refusals=(core.UserNotFound, http.ParameterInvalid),
    ),
    ("PUT", "/users/{id}/segments/{segment_id}"): Row(
        id="assign_segment",
        tag="Segments",
        summary="Put a user into a segment",
        description="If it is in it, nothing changes.",
        parameters=(USER_ID, OF_SEGMENT, IF_MATCH, *WRITE),
        answers=(Answer(200, "The user.", shapes.UserWritten, ("ETag",)),),
        refusals=(*MEMBERSHIP, core.LimitReached),
    ),
    ("DELETE", "/users/{id}/segments/{segment_id}"): Row(
        id="unassign_segment",
        tag="Segments",
        summary="Take a user out of a segment",
        description="If it is not in it, nothing changes.",
        parameters=(USER_ID, OF_SEGMENT, IF_MATCH, *WRITE),
        answers=(Answer(200, "The user.", shapes.UserWritten, ("ETag",)),),
        refusals=MEMBERSHIP,
    ),
    ("PUT", "/users/{id}/image"): Row(
        id="set_image",
        tag="Users",
        summary="Give a user a picture",
        description=f"The body is a JPEG, PNG, GIF, WebP or ICO of up to {IMAGE_BYTES_MAX >> 20} MiB and {SIDE_MAX} × "
        f"{SIDE_MAX} pixels. Its bytes say which; it is encoded anew, without metadata, and of an animation the first "
        "frame is kept. The picture is then at `/images/` and the `name` of `image`, for anyone. If it is the one that "
        "the user has, nothing changes.",
        parameters=(USER_ID, IF_MATCH, *WRITE),
        body=Body({"image/*": None}),
        answers=(Answer(200, "The user.", shapes.UserWritten, ("ETag",)),),
        refusals=(*OF_IMAGE, core.ImageInvalid, core.ImageTooLarge, http.ContentTypeUnsupported),
    ),
    ("DELETE", "/users/{id}/image"): Row(
        id="remove_image",
        tag="Users",
        summary="Take away the picture of a user",
        description="If there is none, nothing changes. Its bytes are removed within two hours.",
        parameters=(USER_ID, IF_MATCH, *WRITE),
        answers=(Answer(200, "The user.", shapes.UserWritten, ("ETag",)),),
        refusals=OF_IMAGE,
    ),
    ("GET", "/segments"): Row(
        id="list_segments",
        tag="Segments",
        summary="List the segments",
        description="All of them, by name.",
        answers=(Answer(200, "The segments.", shapes.SegmentPage),),
    ),
    ("POST", "/segments"): Row(
        id="create_segment",
        tag="Segments",
        summary="Make a segment",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body({_JSON_TYPE: "SegmentInput"}),
        answers=(Answer(201, "The segment.", shapes.Segment, ("ETag", "Location")),),
        refusals=(*DEFINED, core.LimitReached),
    ),
    ("GET", "/segments/{id}"): Row(
        id="read_segment",
        tag="Segments",
        summary="Read a segment",
        parameters=(SEGMENT_ID,),
        answers=(Answer(200, "The segment.", shapes.Segment, ("ETag",)),),
        refusals=(core.SegmentNotFound,),
    ),
    ("PATCH", "/segments/{id}"): Row(
        id="update_segment",
        tag="Segments",
        summary="Change a segment",
        description="What is not given stays.",
        parameters=(SEGMENT_ID, IF_MATCH, IDEMPOTENCY_KEY),
        body=Body({_JSON_TYPE: "SegmentPatch"}),
        answers=(Answer(200, "The segment.", shapes.Segment, ("ETag",)),),
        refusals=(*DEFINED, core.SegmentNotFound, core.VersionMismatch),
    ),
    ("DELETE", "/segments/{id}"): Row(
        id="delete_segment",
        tag="Segments",
        summary="Delete a segment",
        description="Its users leave it one after the other, each in a change of its own.",
        parameters=(SEGMENT_ID, IF_MATCH, IDEMPOTENCY_KEY),
        answers=(NO_CONTENT,),
        refusals=(core.SegmentNotFound, core.VersionMismatch, core.IdempotencyKeyReused, http.HeaderInvalid),
    ),
    ("GET", "/attributes"): Row(
        id="list_attributes",
        tag="Attributes",
        summary="List the attributes",
        description="All of them, by name.",
        answers=(Answer(200, "The attributes.", shapes.AttributePage),),
    ),
    ("POST", "/attributes"): Row(
        id="create_attribute",
        tag="Attributes",
        summary="Say what a key of traits holds",
        description="A write of any API that would leave another value there is refused from then on.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body({_JSON_TYPE: "AttributeInput"}),
        answers=(Answer(201, "The attribute.", shapes.Attribute, ("ETag", "Location")),),
        refusals=(*DEFINED, core.AttributeExists, core.LimitReached),
    ),
    ("GET", "/attributes/{id}"): Row(
        id="read_attribute",
        tag="Attributes",
        summary="Read an attribute",
        parameters=(ATTRIBUTE_ID,),
        answers=(Answer(200, "The attribute.", shapes.Attribute, ("ETag",)),),
        refusals=(core.AttributeNotFound,),
    ),
    ("PATCH", "/attributes/{id}"): Row(
        id="update_attribute",
        tag="Attributes",
        summary="Change an attribute",
        description="What is not given stays, and so do its name and its type.",
        parameters=(ATTRIBUTE_ID, IF_MATCH, IDEMPOTENCY_KEY),
        body=Body({_JSON_TYPE: "AttributePatch"}),
        answers=(Answer(200, "The attribute.", shapes.Attribute, ("ETag",)),),
        refusals=(*DEFINED, core.AttributeNotFound, core.VersionMismatch),
    ),
    ("DELETE", "/attributes/{id}"): Row(
        id="delete_attribute",
        tag="Attributes",
        summary="Delete an attribute",
        description="Its key of traits may hold anything again.",
        parameters=(ATTRIBUTE_ID, IF_MATCH, IDEMPOTENCY_KEY),
        answers=(NO_CONTENT,),
        refusals=(core.AttributeNotFound, core.VersionMismatch, core.IdempotencyKeyReused, http.HeaderInvalid),
    ),
    ("POST", "/users/{id}/sessions"): Row(
        id="create_session",
        tag="Sign-ins",
        summary="Sign a user in",
        description=(
            "A user has up to 100 live sign-ins; with one more, the oldest ends. Of those that ended, 400 are kept."
        ),
        parameters=(USER_ID,),
        body=Body({_JSON_TYPE: "SessionInput"}, required=False),
        answers=(Answer(201, "The sign-in, with its token.", shapes.NewSession, ("Location",)),),
        refusals=(*SHAPE, core.UserNotFound, core.UserDisabled, core.UserLocked, http.HeaderInvalid),
    ),
    ("GET", "/users/{id}/sessions"): Row(
        id="list_sessions",
        tag="Sign-ins",
        summary="List the sign-ins of a user",
        description="All of them, also those that are over, the newest first.",
        parameters=(USER_ID,),
        answers=(Answer(200, "The sign-ins.", shapes.SessionPage),),
        refusals=(core.UserNotFound,),
    ),
    ("DELETE", "/users/{id}/sessions"): Row(
        id="revoke_sessions",
        tag="Sign-ins",
        summary="End all sign-ins of a user",
        parameters=(USER_ID, IDEMPOTENCY_KEY),
        answers=(NO_CONTENT,),
        refusals=(core.UserNotFound, core.IdempotencyKeyReused, http.HeaderInvalid),
    ),
    ("POST", "/sessions/verify"): Row(
        id="verify_session",
        tag="Sign-ins",
        summary="Verify a token",
        description="Whether a token is good, and whose it is (RFC 7662). Keys that may only read may ask.",
        body=Body({_JSON_TYPE: "TokenInput"}),
        answers=(Answer(200, "What is known of the token.", shapes.Introspection),),
        refusals=SHAPE,
    ),
    ("GET", "/sessions/{id}"): Row(
        id="read_session",
        tag="Sign-ins",
        summary="Read a session",
        description="A sign-in, or a tracking session: a browser's visit, which may be nobody's yet.",
        parameters=(SESSION_ID,),
        answers=(Answer(200, "The session.", shapes.Session, other_shape=shapes.TrackingSession),),
        refusals=(core.SessionNotFound,),
    ),
    ("DELETE", "/sessions/{id}"): Row(
        id="revoke_session",
        tag="Sign-ins",
        summary="End a sign-in",
        description="Its token is good no more. Ending it again changes nothing.",
        parameters=(SESSION_ID, IDEMPOTENCY_KEY),
        answers=(NO_CONTENT,),
        refusals=(core.SessionNotFound, core.UserNotFound, core.IdempotencyKeyReused, http.HeaderInvalid),
    ),
    ("POST", "/batch"): Row(
        id="run_batch",
        tag="Users",
        summary="Write many users",
        description="Each item is done, or refused, on its own, those about one user in their order. Of NDJSON, the "
        "schema is that of each line; results come while items are still being sent. With an `Idempotency-Key` `k`, "
        "item i has the key `k#i`. In a dry run, items do not see each other.",
        parameters=(
            *WRITE,
            Parameter(
                "return",
                "query",
                "`minimal`: instead of each user only its id and its version.",
                {"enum": list(batch_handlers.RETURN), "default": batch_handlers.RETURN[0]},
            ),
        ),
        body=Body({_JSON_TYPE: "BatchItems", **dict.fromkeys(wire.NDJSON, "BatchItem")}),
        answers=(Answer(200, "What each item came to.", shapes.BatchResults, (), shapes.BatchResult),),
        refusals=(
            http.ParameterInvalid,
            http.HeaderInvalid,
            http.BodyNotList,
            batch_handlers.BatchTooLong,
            batch_handlers.ItemTooLarge,
            batch_handlers.ItemNotObject,
        ),
    ),
    ("GET", "/project"): Row(
        id="read_project",
        tag="Project",
        summary="Read the project",
        answers=(Answer(200, "The project of the key.", records.Project, ("ETag",)),),
    ),
    ("PATCH", "/project"): Row(
        id="update_project",
        tag="Project",
        summary="Change the project",
        description="What is not given stays.",
        parameters=(IF_MATCH, IDEMPOTENCY_KEY),
        body=Body({_JSON_TYPE: "ProjectInput"}),
        answers=(Answer(200, "The project.", records.Project, ("ETag",)),),
        refusals=(
            *SHAPE,
            core.FieldFormatInvalid,
            core.ProjectNotFound,
            core.VersionMismatch,
            core.IdempotencyKeyReused,
            http.HeaderInvalid,
        ),
    ),
    ("GET", "/project/keys"): Row(
        id="list_keys",
        tag="Project",
        summary="List the keys",
        description="All of them, also those that were revoked.",
        answers=(Answer(200, "The keys.", shapes.KeyPage),),
    ),
    ("POST", "/project/keys"): Row(
        id="create_key",
        tag="Project",
        summary="Make a key",
        description="An identity key opens nothing: it verifies tokens by which the app's backend says who a browser's "
        "user is, by ES256 with the public key that is given, or by HS256 with a secret that the answer shows.",
        body=Body({_JSON_TYPE: "KeyInput"}),
        answers=(Answer(201, "The key.", shapes.NewKey),),
        refusals=(*SHAPE, core.FieldFormatInvalid, http.HeaderInvalid),
    ),
    ("DELETE", "/project/keys/{id}"): Row(
        id="revoke_key",
        tag="Project",
        summary="Revoke a key",
        description="It is refused at once by this process, within a second by others. Revoking it again changes "
        "nothing.",
        parameters=(KEY_ID, IDEMPOTENCY_KEY),
        answers=(NO_CONTENT,),
        refusals=(core.KeyNotFound, core.IdempotencyKeyReused, http.HeaderInvalid),
    ),
}

TAGS = {
    "Users": "The record of each user, and its history.",
    "Events": "What users did.",
    "Segments": "Named groups of users, and who is in them.",
    "Attributes": "What keys of traits hold.",
    "Sign-ins": "Sessions that a backend began for a user.",
    "Project": "The project that the key belongs to, and its keys.",
}

HEADERS: dict[str, Schema] = {
    "ETag": {
        "description": "The version, for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[1-9][0-9]*"$'},
    },
    "Location": {
        "description": "Where it can be read.",
        "required": True,
        "schema": {"type": "string", "pattern": "^/v1/"},
    },
    "Content-Disposition": {
        "description": "The name of the file.",
        "required": True,
        "schema": {"type": "string", "pattern": '^attachment; filename="[A-Za-z0-9._-]+"$'},
    },
    "X-Request-Id": {
        "description": "By which the log knows the request.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:+/=-]{1,128}$"},
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Allow": {
        "description": "The methods that the path takes.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
    },
    "WWW-Authenticate": {
        "description": "What kind of key is needed.",
        "required": True,
        "schema": {"const": "Bearer"},
    },
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 405: ("Allow",), 412: ("ETag",), 503: ("Retry-After",)}

# What every route can answer, and what it can because of the kind of route that it is.
EVERY: Refusals = (
    http.ParameterUnknown,
    http.Unauthorized,
    http.MethodNotAllowed,
    bodies.BodyTooLarge,
    core.CommandBroken,
    Stopping,
    port.StoreError,
    port.StoreUnavailable,
)
WRITING: Refusals = (Overloaded, port.WriteFailed, port.Conflict, port.OutcomeUnknown, port.StoreFull)
JSON_BODY: Refusals = (
    http.ContentTypeUnsupported,
    http.BodyNotObject,
    core.JsonInvalid,
    core.JsonDuplicateKey,
    core.JsonTooDeep,
)


@functools.cache
def document() -> bytes:
    """The text of `/openapi.json`."""
    return encode(build())


@functools.cache
def build() -> Mapping[str, Any]:
    """The document. Not to be changed."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes.ROUTES:
        if route.handler is not None:
            row = ROWS[route.method, route.path]
            paths[routes.PREFIX + route.path][route.method.lower()] = _operation(route, row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Userfold",
            "version": __version__,
            "summary": "One record per user, updated by every SDK you use.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "This server."}],
        "security": [{"secretKey": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": dict(paths),
        "components": _components(),
    }


_ABOUT = (
    "Everything that Userfold can do, in the field's standard terms: JSON, problem details (RFC 9457), merge patch "
    "(RFC 7396), entity tags (RFC 9110). After every refusal nothing was stored, except after `outcome_unknown`."
)


def refusals_of(route: http.Route, row: Row) -> Refusals:
    """All that the route can answer instead of what was asked for."""
    reads = route.method == "GET" or route.reads
    found = (*EVERY, *row.refusals)
    found += () if reads else (http.KeyReadOnly,)
    found += () if reads else WRITING
    found += (http.PathUnknown,) if "{" in route.path else ()
    found += JSON_BODY if row.body is not None and row.body.is_json else ()
    return tuple(dict.fromkeys(found))


def _components() -> dict[str, Any]:
    shown = {shape for row in ROWS.values() for answer in row.answers for shape in (answer.shape, answer.other_shape)}
    kinds = {shape for shape in shown if shape is not None}
    bodies_of = [row.body for row in ROWS.values() if row.body is not None]
    names = {name for body in bodies_of for name in body.content.values() if name is not None}
    named = [vars(shapes)[name] for name in names if name in vars(shapes)]
    asked = {kind for name in named for kind in get_args(name) or (name,)}
    found = schemas.of_structs([*sorted(kinds | asked, key=lambda kind: kind.__name__), errors.Problem])
    refusals = {k for route in routes.ROUTES for k in _listed(route)}
    return {
        "securitySchemes": {
            "secretKey": {"type": "http", "scheme": "bearer", "description": "A secret key of the project: `sk_…`."}
        },
        "schemas": dict(sorted({**schemas.basic(), **found, **schemas.of_documents()}.items())),
        "headers": HEADERS,
        "parameters": {"X-Request-Id": _parameter(REQUEST_ID)},
        "examples": {code_of(kind): examples.of(kind) for kind in sorted(refusals, key=code_of)},
    }


def _listed(route: http.Route) -> Refusals:
    return () if route.handler is None else refusals_of(route, ROWS[route.method, route.path])


def _operation(route: http.Route, row: Row) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": row.id, "tags": [row.tag], "summary": row.summary}
    if row.description:
        operation["description"] = row.description
    operation["parameters"] = [
        *map(_parameter, row.parameters),
        {"$ref": "#/components/parameters/X-Request-Id"},
    ]
    if row.body is not None:
        content = {media_type: _content(media_type, name) for media_type, name in row.body.content.items()}
        operation["requestBody"] = {"required": row.body.required, "content": content}
    answers = {str(answer.status): _answer(answer) for answer in row.answers}
    operation["responses"] = answers | _problems(refusals_of(route, row))
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    said = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": parameter.schema,
    }
    return said if parameter.example is None else {**said, "example": parameter.example}


def _content(media_type: str, name: str | None) -> dict[str, Any]:
    if name is None:
        return {}  # bytes: there is nothing that a JSON Schema could say
    # Of NDJSON the schema is that of a line; an example of one would be taken for that of a body.
    return {"schema": ref(name)} if media_type in wire.NDJSON else _media(ref(name), name)


def _media(schema: Schema, name: str) -> dict[str, Any]:
    example = examples.BODIES.get(name)
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _answer(answer: Answer) -> dict[str, Any]:
    said: dict[str, Any] = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.shape is not None:
        name = answer.shape.__name__
        said["content"] = {_JSON_TYPE: _media(ref(name), name)}
    if answer.shape is not None and answer.other_shape is not None:
        either = {"anyOf": [ref(answer.shape.__name__), ref(answer.other_shape.__name__)]}
        said["content"] = {_JSON_TYPE: _media(either, answer.shape.__name__)}
    if answer.line_shape is not None:
        name = answer.line_shape.__name__
        said["content"] |= dict.fromkeys(wire.NDJSON, _media(ref(name), name))
    return said


def _problems(refusals: Iterable[type[Exception]]) -> dict[str, Any]:
    """{status: response} of refusals; of each status, exactly their codes."""
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for kind in refusals:
        codes[errors.status_of(kind)].append(code_of(kind))
    return {str(status): _problem(status, sorted(codes[status])) for status in sorted(codes)}


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    exactly = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(_HEADERS_OF.get(status, ())),
        "content": {
            "application/problem+json": {
                "schema": {"allOf": [ref("Problem"), exactly]},
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


def code_of(kind: type[Exception]) -> str:
    """The stable code of a refusal."""
    code: str = kind.code  # type: ignore[attr-defined]  # all refusals have one
    return code
