"""Clerk's error envelope and codes. Both SDKs read `code` and `message`; the Python one insists on `long_message`."""

from __future__ import annotations

from typing import Any

from userfold.api import bodies, forms, wire
from userfold.api.clerk import lists, webhook_handlers
from userfold.api.clerk import wire as clerk_wire
from userfold.core import errors as core
from userfold.core.jsontext import encode
from userfold.engine import Busy
from userfold.storage import port

# Refusal → (status, Clerk's code, short message). What will fail again in the same way is a 4xx: the Python SDK
# repeats every 5xx for up to an hour, POST included.
TABLE: dict[type[Exception], tuple[int, str, str]] = {
    core.JsonInvalid: (400, "request_body_invalid", "Request body invalid"),
    core.JsonDuplicateKey: (400, "request_body_invalid", "Request body invalid"),
    core.JsonTooDeep: (400, "request_body_invalid", "Request body invalid"),
    core.InputError: (422, "form_param_value_invalid", "Parameter invalid"),
    core.FieldUnknown: (422, "form_param_unknown", "Parameter unknown"),
    core.FieldReadOnly: (422, "form_param_unknown", "Parameter unknown"),
    core.FieldFormatInvalid: (422, "form_param_format_invalid", "Parameter has the wrong form"),
    clerk_wire.TooManyItems: (422, "form_param_array_size_exceeded", "Too many values"),
    core.BagTooLarge: (422, "form_param_exceeds_allowed_size", "Parameter too large"),
    lists.ListTooLong: (422, "form_param_array_size_exceeded", "Too many values"),
    clerk_wire.BulkTooLarge: (400, "bulk_size_exceeded", "Too many users"),
    clerk_wire.TimeInvalid: (422, "form_param_invalid_time", "Parameter is no time"),
    lists.DateInvalid: (422, "form_param_invalid_date", "Parameter is no time"),
    clerk_wire.FieldMissing: (422, "form_param_missing", "Parameter missing"),
    clerk_wire.FieldMissingBeside: (422, "form_conditional_param_missing", "Parameter missing"),
    clerk_wire.FieldNotBeside: (422, "form_conditional_param_disallowed", "Parameter not allowed"),
    clerk_wire.UsernameTooLong: (422, "form_username_invalid_length", "Username too long"),
    clerk_wire.LengthsDiffer: (422, "form_param_array_length_mismatch", "Lengths differ"),
    core.ImageInvalid: (400, "request_body_invalid", "Image invalid"),
    core.ImageTooLarge: (413, "image_too_large", "Image too large"),
    core.AddressUnverified: (422, "form_verification_needed", "Verification needed"),
    core.IdentifierLast: (400, "identification_deletion_failed", "Identification cannot be deleted"),
    core.PasswordTooShort: (422, "form_password_length_too_short", "Password too short"),
    core.PasswordTooLong: (422, "form_password_length_too_long", "Password too long"),
    core.TotpSecretInvalid: (422, "invalid_totp_secret_code", "Invalid TOTP secret"),
    core.PasswordNotSet: (400, "no_password_set", "No password set"),
    core.PasswordWrong: (422, "incorrect_password", "Incorrect password"),
    core.PasswordCompromised: (422, "password_reset_required", "Password reset required"),
    core.SecondFactorNotSet: (400, "totp_disabled", "TOTP is disabled"),
    core.SecondFactorWrong: (422, "totp_incorrect_code", "Incorrect code"),
    core.NotFound: (404, "resource_not_found", "Not found"),
    core.AttributeExists: (409, "conflict", "Conflict"),
    core.LimitReached: (403, "user_quota_exceeded", "Too many"),
    # 422 and not 409: on create, Python's SDK parses only the codes that Clerk lists for it.
    core.IdentifierTaken: (422, "form_identifier_exists", "Taken"),
    core.ChangeIdTaken: (409, "conflict", "Conflict"),
    core.UserIdProtected: (403, "not_allowed_access", "Not allowed"),
    core.UserDeleted: (403, "not_allowed_access", "Not allowed"),
    core.UserDisabled: (403, "user_banned", "User banned"),
    core.UserLocked: (403, "user_locked", "User locked"),
    core.SessionClosed: (404, "resource_not_found", "Not found"),
    core.IdentityMissing: (403, "not_allowed_access", "Not allowed"),
    core.IdentityInvalid: (403, "not_allowed_access", "Not allowed"),
    core.SessionNotSampled: (409, "conflict", "Conflict"),
    core.VersionMismatch: (409, "conflict", "Conflict"),
    core.TestFailed: (409, "conflict", "Conflict"),
    core.PathNotFound: (409, "conflict", "Conflict"),
    core.NumberInvalid: (409, "conflict", "Conflict"),
    core.ListNotFound: (409, "conflict", "Conflict"),
    core.IdempotencyKeyReused: (409, "conflict", "Conflict"),
    core.CommandBroken: (500, "internal_clerk_error", "Internal error"),
    wire.PathUnknown: (404, "resource_not_found", "Not found"),
    wire.MethodNotAllowed: (405, "method_not_allowed", "Method not allowed"),
    wire.Unauthorized: (401, "clerk_key_invalid", "Secret key invalid"),
    wire.KeyReadOnly: (403, "not_allowed_access", "Not allowed"),
    wire.RateLimited: (429, "too_many_requests", "Too many requests"),
    wire.OriginNotAllowed: (403, "not_allowed_access", "Not allowed"),
    wire.NotBuilt: (501, "not_implemented", "Not built"),
    bodies.BodyTooLarge: (413, "request_body_too_large", "Request body too large"),
    wire.ContentTypeUnsupported: (415, "unsupported_content_type", "Unsupported content type"),
    forms.PartMissing: (400, "form_param_missing", "Parameter missing"),
    forms.FormInvalid: (400, "request_body_invalid", "Request body invalid"),
    wire.BodyNotObject: (400, "request_body_invalid", "Request body invalid"),
    wire.ParameterUnknown: (400, "malformed_request_parameters", "Request parameters malformed"),
    wire.ParameterInvalid: (400, "malformed_request_parameters", "Request parameters malformed"),
    wire.HeaderInvalid: (400, "malformed_request_parameters", "Request headers malformed"),
    clerk_wire.VersionInvalid: (400, "api_version_invalid", "API version invalid"),
    webhook_handlers.DeliveryUnsigned: (401, "authentication_invalid", "Signature invalid"),
    webhook_handlers.DeliveryInvalid: (400, "malformed_request_parameters", "Delivery invalid"),
    Busy: (503, "service_unavailable", "Service unavailable"),
    port.StoreFull: (507, "service_unavailable", "Service unavailable"),
    port.StoreError: (503, "service_unavailable", "Service unavailable"),
}

# Where Clerk has a code of its own for one parameter: (refusal, parameter) → code.
OF_ONE_PARAMETER: dict[tuple[type[Exception], str], str] = {
    (core.FieldFormatInvalid, "username"): "form_username_invalid_character",
    (core.FieldFormatInvalid, "password_digest"): "form_password_digest_invalid_code",
}

# Our paths → the parameter names that Clerk's clients sent.
PARAM_NAMES = {
    "email_addresses": "email_address",
    "phone_numbers": "phone_number",
    "disabled": "banned",
}
# The same of an address that was chosen.
CHOSEN_NAMES = {
    "email_addresses": "primary_email_address_id",
    "phone_numbers": "primary_phone_number_id",
}


def error_reply(refusal: wire.Refusal, request_id: str) -> wire.Reply:
    """Clerk's envelope for a refusal. `clerk_trace_id` is the request id, which the SDKs show."""
    status, code, message = wire.row_of(TABLE, refusal)
    if isinstance(refusal, bodies.BodyTooLarge) and refusal.data.get("size_max", 0) > bodies.BODY_BYTES_MAX:
        status, code, message = TABLE[core.ImageTooLarge]  # only a picture may be larger than JSON
    long_message = wire.message_of(refusal)
    meta: dict[str, Any] = {}
    if isinstance(refusal, core.DomainError):
        long_message = f"{long_message} {refusal.hint}".strip()
        param_name = _param_name(refusal)
        if param_name is not None:
            meta["param_name"] = param_name
            code = OF_ONE_PARAMETER.get((type(refusal), param_name), code)
    body = {
        "errors": [{"code": code, "message": message, "long_message": long_message, "meta": meta}],
        "clerk_trace_id": request_id,
    }
    # Exactly this content type: with a charset, the JavaScript SDK does not parse the body.
    return wire.Reply(status, encode(body), (wire.JSON, *wire.refusal_headers(refusal, status)))


def _param_name(refusal: core.DomainError) -> str | None:
    """The parameter at fault, as it was sent."""
    if isinstance(refusal, wire.ParameterUnknown | wire.ParameterInvalid):
        return str(refusal.data["name"])
    if refusal.path is None:
        return None
    field = refusal.path.split("/")[1].replace("~1", "/").replace("~0", "~")
    if isinstance(refusal, core.FieldUnknown):
        return field  # it is none of ours
    names = CHOSEN_NAMES if isinstance(refusal, core.AddressUnverified) else PARAM_NAMES
    return names.get(field, field)
