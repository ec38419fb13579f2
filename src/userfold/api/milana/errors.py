"""Our refusals in Milana's words: a status, its code, and whether the SDK is to begin a new session.

The SDK looks at the body alone. A new session costs the update that was refused, and what the SDK has not sent yet, so
only a session that is of no more use asks for one. Whether a user is disabled, deleted or protected is not a browser's
to know: those are one code, and the log has the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from userfold.api import bodies, wire
from userfold.api.milana.wire import SESSION_ID
from userfold.core import errors as core
from userfold.engine import Busy
from userfold.logs import about
from userfold.storage import port

log = logging.getLogger("userfold.api.milana")

TABLE: dict[type[Exception], tuple[int, str, bool]] = {
    core.DomainError: (403, "UPDATE_REFUSED", False),
    core.InputError: (400, "BAD_REQUEST", False),
    core.SessionClosed: (409, "SESSION_CLOSED", True),
    core.SessionNotSampled: (200, "SESSION_NOT_SAMPLED", False),
    core.IdentityMissing: (403, "IDENTITY_MISSING", False),
    core.IdentityInvalid: (403, "IDENTITY_INVALID", False),
    core.CommandBroken: (500, "INTERNAL_ERROR", False),
    wire.WireRefusal: (400, "BAD_REQUEST", False),
    wire.PathUnknown: (404, "NOT_FOUND", False),
    wire.MethodNotAllowed: (405, "METHOD_NOT_ALLOWED", False),
    wire.Unauthorized: (401, "UNAUTHORIZED", False),
    wire.KeyReadOnly: (403, "UNAUTHORIZED", False),
    wire.OriginNotAllowed: (403, "ORIGIN_NOT_ALLOWED", False),
    wire.RateLimited: (429, "RATE_LIMITED", False),
    bodies.BodyTooLarge: (400, "BAD_REQUEST", False),
    Busy: (503, "INTERNAL_ERROR", False),
    port.StoreFull: (507, "INTERNAL_ERROR", False),
    port.StoreError: (503, "INTERNAL_ERROR", False),
}


def error_reply(refusal: wire.Refusal, request_id: str) -> wire.Reply:
    """Milana's answer for a refusal."""
    status, code, restarts = wire.row_of(TABLE, refusal)
    if isinstance(refusal, core.DomainError) and (code == "BAD_REQUEST" or not isinstance(refusal, wire.WireRefusal)):
        log.info("refused (%s): %s", refusal.code, wire.message_of(refusal), extra=about(request_id))
    body = {"success": False, "shouldRestartSession": restarts, "errorCode": code}
    return wire.json_reply(status, body, *wire.refusal_headers(refusal, status))


def batch_error_reply(refusal: wire.Refusal, headers: Mapping[bytes, bytes]) -> wire.Reply:
    """200, whatever it is: after 40 s of other answers, the SDK records nothing more until the page is reloaded.

    What it may not send it is told not to send; what met trouble it sends again, and events that it sends twice are
    kept once; all else would be no better the next time, and is dropped.
    """
    status, code, _ = wire.row_of(TABLE, refusal)
    body: dict[str, object] = {
        "success": True,
        "sampled": code != "SESSION_NOT_SAMPLED",
        "sessionId": wire.header(headers, SESSION_ID) or "",
        "shouldRestartSession": False,
    }
    if code in ("UNAUTHORIZED", "ORIGIN_NOT_ALLOWED"):
        # With this answer the SDK takes over the session's id; of one without it would go on as `undefined`.
        body |= {"success": False, "sampled": False, "errorCode": "SESSION_NOT_IDENTIFIED"}
    elif status >= 500:
        body |= {"success": False, "errorCode": code}
    return wire.json_reply(200, body)
