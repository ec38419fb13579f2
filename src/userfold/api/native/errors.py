"""The native API's errors: RFC 9457 problem details with a stable `code`, the path at fault and what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from userfold.api import bodies, forms, wire
from userfold.core import errors as core
from userfold.core.jsontext import encode
from userfold.engine import Busy
from userfold.storage import port

# Refusal → status. The code is the refusal's own.
STATUS: dict[type[Exception], int] = {
    core.JsonInvalid: 400,
    core.JsonDuplicateKey: 400,
    core.JsonTooDeep: 400,
    core.InputError: 422,
    core.NotFound: 404,
    core.AttributeExists: 409,
    core.LimitReached: 409,
    core.IdentifierTaken: 409,
    core.ChangeIdTaken: 409,
    core.AddressUnverified: 409,
    core.IdentifierLast: 409,
    core.PasswordNotSet: 409,
    core.PasswordWrong: 422,
    core.PasswordCompromised: 422,
    core.SecondFactorNotSet: 409,
    core.SecondFactorWrong: 422,
    core.UserIdProtected: 409,
    core.UserDeleted: 409,
    core.UserDisabled: 403,
    core.UserLocked: 403,
    core.SessionClosed: 409,
    core.SessionNotSampled: 409,
    core.IdentityMissing: 403,
    core.IdentityInvalid: 403,
    core.VersionMismatch: 412,
    core.TestFailed: 409,
    # RFC 5789, 2.2: the patch is well formed, but the state of the user is not one to which it can be applied.
    core.PathNotFound: 409,
    core.NumberInvalid: 409,
    core.ListNotFound: 409,
    core.IdempotencyKeyReused: 409,
    core.CommandBroken: 500,
    wire.PathUnknown: 404,
    wire.MethodNotAllowed: 405,
    wire.Unauthorized: 401,
    wire.KeyReadOnly: 403,
    wire.OriginNotAllowed: 403,
    wire.NotBuilt: 501,
    wire.RateLimited: 429,
    bodies.BodyTooLarge: 413,
    wire.ContentTypeUnsupported: 415,
    forms.PartMissing: 400,
    forms.FormInvalid: 400,
    wire.BodyNotObject: 400,
    wire.ParameterUnknown: 400,
    wire.ParameterInvalid: 400,
    wire.HeaderInvalid: 400,
    Busy: 503,
    port.StoreFull: 507,
    port.StoreError: 503,
}

PROBLEM_JSON = (b"content-type", b"application/problem+json")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str  # stable; texts may get better
    detail: str
    request_id: str
    path: str | UnsetType = UNSET  # a JSON Pointer to what is at fault
    hint: str | UnsetType = UNSET
    current_version: int | UnsetType = UNSET
    current_value: Any = UNSET


def status_of(kind: type[Exception]) -> int:
    """The status of a refusal: that of its row, or of the nearest class above it."""
    return next(STATUS[above] for above in kind.__mro__ if above in STATUS)


def error_reply(refusal: wire.Refusal, request_id: str) -> wire.Reply:
    """The problem details of a refusal."""
    details = problem(refusal, request_id)
    headers = (PROBLEM_JSON, *wire.refusal_headers(refusal, details.status))
    if isinstance(refusal, core.VersionMismatch):
        headers += ((b"etag", b'"%d"' % refusal.data["current"]),)
    return wire.Reply(details.status, encode(details), headers)


def problem(refusal: wire.Refusal, request_id: str) -> Problem:
    """What is told about a refusal."""
    status = status_of(type(refusal))
    more: dict[str, Any] = {}
    if isinstance(refusal, core.DomainError):
        more |= {"path": refusal.path} if refusal.path is not None else {}
        more |= {"hint": refusal.hint} if refusal.hint else {}
    if isinstance(refusal, core.VersionMismatch):
        more["current_version"] = refusal.data["current"]
    if isinstance(refusal, core.TestFailed):
        more["current_value"] = refusal.data["current"]
    return Problem(
        type=f"urn:userfold:problem:{refusal.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=refusal.code,
        detail=wire.message_of(refusal),
        request_id=request_id,
        **more,
    )
