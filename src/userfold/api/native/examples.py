"""Examples for `/openapi.json`: one of each refusal, as it is really answered, and one of each body."""

from __future__ import annotations

import string
from typing import Any

from userfold.api import wire as http
from userfold.api.native import errors
from userfold.core import errors as core
from userfold.core import jsontext

REQUEST_ID = "req_60984afc842d7943507f4ea7"
USER_ID = "user_01m7zvgwjn3gg1x0fanetqa3a0"
SESSION_ID = "ses_01m7zvgw8wdsn77b61a4kptxax"
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
    core.OperationInvalid: {"path": "/0", "reason": "value is missing"},
    core.OperationUnknown: {"path": "/0/op", "known": "add, remove, replace, move, copy, test"},
    core.PathNotFound: {"path": "/traits/plan"},
    core.NumberInvalid: {"path": "/traits/plan", "reason": "a number is needed"},
    core.TestFailed: {"path": "/traits/plan", "current": "free"},
    core.UserNotFound: {"user_id": USER_ID},
    core.VersionNotFound: {"version": 9, "current": 3},
    core.VersionMismatch: {"current": 3},
    core.SessionNotFound: {"session_id": SESSION_ID},
    core.KeyNotFound: {"key_id": KEY_ID},
    core.IdentifierTaken: {"path": "/email_addresses/0"},
    http.Unauthorized: {"kind": http.SECRET_KEYS.kind, "where": http.SECRET_KEYS.where},
    http.MethodNotAllowed: {"allowed": "DELETE, GET, PATCH"},
    http.BodyTooLarge: {"size_max": http.BODY_BYTES_MAX},
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
    "last_used_at": None,
    "version": 1,
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
        "settings": {"tombstone_days": 7},
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
