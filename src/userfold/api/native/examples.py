"""Examples for `/openapi.json`: one of each refusal, as it is really answered, and one of each body."""

from __future__ import annotations

import string
from typing import Any

from msgspec import to_builtins

from userfold.api import bodies
from userfold.api import wire as http
from userfold.api.native import batch_handlers, errors, shapes
from userfold.core import errors as core
from userfold.core import jsontext
from userfold.core.records import ProjectSettings
from userfold.images import SIDE_MAX

REQUEST_ID = "req_60984afc842d7943507f4ea7"
USER_ID = "user_01m7zvgwjn3gg1x0fanetqa3a0"
SESSION_ID = "ses_01m7zvgw8wdsn77b61a4kptxax"
SEGMENT_ID = "seg_01m7zvgwaf2cr7c03drf3xvvsm"
ATTRIBUTE_ID = "attr_2x8pm6v7tq0c5b9d3n1hfwk4za"
KEY_ID = "ak_01m7zvgws64fh736cqy7f68qm1"
PROJECT_ID = "prj_01m7zvgy0bpja2hc2844fcqfh2"
AT = 1_800_000_000_000

# What a refusal tells about its request. A refusal that tells nothing needs no line.
DATA: dict[type[core.DomainError], dict[str, Any]] = {
    core.JsonInvalid: {"reason": "Input data was truncated"},
    core.JsonDuplicateKey: {"key": "name"},
    core.JsonTooDeep: {"levels_max": jsontext.TEXT_LEVELS_MAX},
    core.FieldUnknown: {"path": "/firstName"},
    core.FieldReadOnly: {"path": "/version"},
    core.FieldInvalid: {"path": "/disabled", "reason": "true or false is needed"},
    core.FieldFormatInvalid: {
        "path": "/email_addresses/0/email_address",
        "reason": "an email address is needed, such as ada@example.com",
    },
    core.BagTooLarge: {"path": "/traits", "size": 70_012, "size_max": 65_536},
    core.BagTooDeep: {"path": "/traits", "levels": 33, "levels_max": 32},
    core.ImageInvalid: {"reason": "its first bytes are of no kind that is known"},
    core.ImageTooLarge: {"side_max": SIDE_MAX},
    core.OperationInvalid: {"path": "/0", "reason": "value is missing"},
    core.OperationUnknown: {"path": "/0/op", "known": "add, remove, replace, move, copy, test"},
    core.PathNotFound: {"path": "/traits/plan"},
    core.NumberInvalid: {"path": "/traits/plan", "reason": "a number is needed"},
    core.ListNotFound: {"path": "/traits/plan"},
    core.TestFailed: {"path": "/traits/plan", "current": "free"},
    core.UserNotFound: {"user_id": USER_ID},
    core.VersionNotFound: {"version": 9, "current": 3},
    core.VersionMismatch: {"current": 3},
    core.SessionNotFound: {"session_id": SESSION_ID},
    core.KeyNotFound: {"key_id": KEY_ID},
    core.SegmentNotFound: {"segment_id": SEGMENT_ID},
    core.AttributeNotFound: {"attribute_id": ATTRIBUTE_ID},
    core.AttributeExists: {"path": "/name", "attribute_id": ATTRIBUTE_ID},
    core.LimitReached: {"what": "segments in this project", "count_max": 1_000},
    core.IdentifierTaken: {"path": "/email_addresses/0"},
    http.Unauthorized: {"kind": http.SECRET_KEYS.kind, "where": http.SECRET_KEYS.where},
    http.MethodNotAllowed: {"allowed": "DELETE, GET, PATCH"},
    bodies.BodyTooLarge: {"size_max": bodies.BODY_BYTES_MAX},
    batch_handlers.BatchTooLong: {"items_max": shapes.BATCH_ITEMS_MAX},
    batch_handlers.ItemTooLarge: {"size_max": bodies.LINE_BYTES_MAX},
    http.ContentTypeUnsupported: {"wanted": "application/json", "given": "text/plain"},
    http.ParameterUnknown: {"name": "dryrun"},
    http.ParameterInvalid: {"name": "limit", "reason": "at most 500 is allowed"},
    http.HeaderInvalid: {"name": "If-Match", "reason": 'a version in quotes is needed, such as "3"'},
}

_USER: dict[str, Any] = {
    "external_id": "u-1",
    "name": "Ada Lovelace",
    "email_addresses": [{"email_address": "ada@example.com", "verified": True}],
    "public_metadata": {"plan": "free"},
    "traits": {"seats": 2},
}
_SESSION: dict[str, Any] = {
    "id": SESSION_ID,
    "user_id": USER_ID,
    "status": "active",
    "created_at": AT,
    "expires_at": AT + 2_592_000_000,
    "ended_at": None,
    "ip_address": "192.0.2.1",
    "user_agent": None,
}
_KEY: dict[str, Any] = {
    "id": KEY_ID,
    "project_id": PROJECT_ID,
    "kind": "secret",
    "name": "reports",
    "read_only": True,
    "created_at": AT,
    "revoked_at": None,
    "last_used_at": AT + 60_000,
    "version": 1,
}

_ITEM: dict[str, Any] = {"action": "update", "id": USER_ID, "user": {"traits": {"plan": "pro"}}, "if_match": 3}
_KEPT: dict[str, Any] = {"created_at": AT, "updated_at": AT, "version": 1}
_EVENT: dict[str, Any] = {"name": "order paid", "properties": {"total": 95}, "occurred_at": AT - 10_000}
_SEGMENT: dict[str, Any] = {"name": "Beta", "description": "Who tries things first"}
_ATTRIBUTE: dict[str, Any] = {
    "name": "plan",
    "type": "choice",
    "choices": ["free", "paid"],
    "title": "Plan",
    "description": None,
}

# Name of a schema → an example of it.
BODIES: dict[str, Any] = {
    "UserInput": _USER,
    "UserUpsert": {name: value for name, value in _USER.items() if name != "external_id"},
    "JsonPatch": [{"op": "replace", "path": "/traits/plan", "value": "pro"}],
    "Operations": [
        {"op": "increment", "path": "/traits/orders"},
        {"op": "union", "path": "/traits/tags", "values": ["buyer"]},
    ],
    "BatchItem": _ITEM,
    "BatchItems": [_ITEM, {"action": "delete", "id": USER_ID, "if_match": "*"}],
    "BatchResult": {"index": 0, "status": 200, "id": USER_ID, "version": 4},
    "BatchResults": {"data": [{"index": 0, "status": 200, "id": USER_ID, "version": 4}, {"index": 1, "status": 204}]},
    "EventInput": _EVENT,
    "Event": {
        "id": "evt_01m7zvgwb8m1s4c6h9yq2x0k3d",
        "user_id": USER_ID,
        "session_id": None,
        **_EVENT,
        "created_at": AT,
        "source": "native",
        "actor": KEY_ID,
    },
    "SegmentInput": _SEGMENT,
    "SegmentPatch": {"description": None},
    "Segment": {"id": SEGMENT_ID, **_SEGMENT, **_KEPT},
    "AttributeInput": _ATTRIBUTE,
    "AttributePatch": {"choices": ["free", "paid", "trial"]},
    "Attribute": {"id": ATTRIBUTE_ID, **_ATTRIBUTE, **_KEPT},
    "SessionInput": {"expires_in_seconds": 86_400, "ip_address": "192.0.2.1"},
    "TokenInput": {"token": f"{SESSION_ID}.jMMQFRZ0Xn1P4nY9LJkSx1W2Uq0dFJ8mG6cB3hT7vKE"},
    "Session": _SESSION,
    "SessionPage": {"data": [_SESSION], "next_cursor": None},
    "Introspection": {"active": False},
    "ProjectInput": {"settings": {"tombstone_days": 7}},
    "Project": {
        "id": PROJECT_ID,
        "name": "Shop",
        "product_id": "prd_01m7zvgy0bpja2hc2844fcqfh3",
        "settings": to_builtins(ProjectSettings(tombstone_days=7)),
        "created_at": AT,
        "version": 2,
    },
    "KeyInput": {"name": "reports", "read_only": True},
    "KeyPage": {"data": [_KEY], "next_cursor": None},
}


def of(kind: type[Any]) -> dict[str, Any]:
    """What the API answers for a refusal of that kind, and what it means."""
    refusal = kind(**DATA.get(kind, {})) if issubclass(kind, core.DomainError) else kind()
    reply = errors.error_reply(refusal, REQUEST_ID)
    return {"summary": _meaning(kind), "value": jsontext.decode(reply.body)}


def _meaning(kind: type[Exception]) -> str:
    """The message of a refusal, with a dash for what differs from case to case."""
    text = " ".join((kind.__doc__ or "").split())
    return "".join(words + ("…" if name is not None else "") for words, name, _, _ in string.Formatter().parse(text))
