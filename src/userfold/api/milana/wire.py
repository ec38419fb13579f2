"""Milana's shapes: what its SDK sends, read into our words, and what it needs to be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from userfold.api.wire import Callers, OriginNotAllowed, Reply, Request, Unauthorized, header, json_reply
from userfold.core.commands import AboutSession, Edit
from userfold.core.errors import FieldInvalid
from userfold.core.records import Context, Session
from userfold.core.trust import Author

SOURCE = "milana"
WHERE = "X-Milana-Client-Key: key_…, with the project's X-Milana-Product-Id: prd_…"
SESSION_ID = b"x-milana-session-id"

# Where the unmodified SDK can carry an identity token. It is taken out whatever the project's mode is.
TOKEN_MEMBER = "identityToken"  # noqa: S105 - the name of a member
TOKEN_KEY = "$identity_token"  # noqa: S105 - the same
TOKEN_NAMES = (TOKEN_MEMBER, TOKEN_KEY)


class NamedUser(msgspec.Struct, frozen=True, kw_only=True):
    """The user whom an update names, and what it says of it."""

    external_id: str
    edits: tuple[Edit, ...]
    claimed_token: Any  # what should prove who the user is; None if nothing does


def client_key(headers: Mapping[bytes, bytes]) -> str:
    """The publishable key, or "" if there is none."""
    return header(headers, b"x-milana-client-key") or ""


CLIENTS = Callers(kind="publishable", where=WHERE, token=client_key)


def check_request(request: Request) -> None:
    """That the key comes with its own project's product id, from a page that the project allows."""
    assert request.caller is not None
    project = request.caller.project
    if request.header(b"x-milana-product-id") != project.product_id:
        raise Unauthorized(kind=CLIENTS.kind, where=CLIENTS.where)
    origin = request.header(b"origin")
    if origin is not None and project.settings.allowed_origins and origin not in project.settings.allowed_origins:
        raise OriginNotAllowed


def session_id(request: Request) -> str | None:
    """The session that a request says it belongs to. It may be anything: the SDK keeps it where others may write."""
    return request.header(SESSION_ID) or None


def author(request: Request) -> Author:
    """Who writes from a session, as the history will say it."""
    return msgspec.structs.replace(request.author(SOURCE), actor=session_id(request) or "")


def about_new_session(request: Request, body: dict[str, Any]) -> AboutSession:
    """What `/session` says."""
    return AboutSession(
        environment=_text(body, "environment", ""),
        release=_text(body, "version", ""),
        app_session_id=_text(body, "appSessionId", ""),
        metadata=_metadata(body, ""),
        context=Context(
            ip_address=request.address or None,
            user_agent=request.header(b"user-agent"),
            browser_language=request.header(b"x-milana-locale"),
            timezone=request.header(b"x-milana-time-zone"),
            entry_url=request.header(b"x-milana-referrer"),  # the page at `init`, whatever the header is called
        ),
    )


def about_session(body: dict[str, Any]) -> AboutSession:
    """What `/update` says of the session."""
    given = _part(body, "session")
    if given is None:
        if "user" not in body:
            raise FieldInvalid(path="", reason="user or session is needed")
        return AboutSession()
    integrations = _object(given, "integrations", "/session")
    return AboutSession(
        app_session_id=_text(given, "appSessionId", "/session"),
        metadata=_metadata(given, "/session"),
        integrations=None if integrations is None else _without_nulls(integrations),
    )


def named_user(body: dict[str, Any]) -> NamedUser | None:
    """What `/update` says of a user. An email or a name that is null or empty is not given."""
    given = _part(body, "user")
    if given is None:
        return None
    external_id = given.get("userId")
    if not isinstance(external_id, str):
        raise FieldInvalid(path="/user/userId", reason="a string is needed")
    metadata = _metadata(given, "/user")
    fields = {"contact_email": _text(given, "email", "/user"), "name": _text(given, "name", "/user")}
    fields = {name: text for name, text in fields.items() if text}
    edits = [Edit("replace", fields)] if fields else []
    if metadata:
        edits.append(Edit("shallow", {"traits": metadata}))
    return NamedUser(external_id=external_id, edits=tuple(edits), claimed_token=_claimed_token(given))


def is_forced(body: dict[str, Any]) -> bool:
    """Whether somebody who debugs wants the session to be sampled. What the key is, is nobody's business."""
    given = body.get("forceSamplingKey")
    return isinstance(given, str) and bool(given)


def succeeded(session: Session) -> Reply:
    """200. All three are there always: the SDK would take a missing `sampled` for false."""
    return json_reply(200, {"success": True, "sampled": session.sampled, "sessionId": session.id})


def recorded(session: Session, request: Request) -> Reply:
    """200: a batch was taken."""
    told = {"success": True, "sampled": session.sampled, "sessionId": session.id}
    body = told | {"messageId": request.id, "shouldRestartSession": False}
    return json_reply(200, body)


def _claimed_token(given: dict[str, Any]) -> Any:
    if given.get(TOKEN_MEMBER) is not None:
        return given[TOKEN_MEMBER]
    metadata = given.get("metadata")
    return metadata.get(TOKEN_KEY) if isinstance(metadata, dict) else None


def _metadata(given: dict[str, Any], path: str) -> dict[str, Any] | None:
    metadata = _object(given, "metadata", path)
    if metadata is None:
        return None
    return {name: value for name, value in metadata.items() if name != TOKEN_KEY}


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """Milana's integrations have no way to be taken back: null is not given."""
    return {name: value for name, value in given.items() if value is not None}


def _part(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    if name in body and body[name] is None:
        raise FieldInvalid(path=f"/{name}", reason="an object is needed")
    return _object(body, name, "")


def _object(given: dict[str, Any], name: str, path: str) -> dict[str, Any] | None:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise FieldInvalid(path=f"{path}/{name}", reason="an object is needed")
    return value


def _text(given: dict[str, Any], name: str, path: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise FieldInvalid(path=f"{path}/{name}", reason="a string is needed")
    return value
