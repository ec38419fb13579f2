"""The native API's routes about sign-ins. A token is shown once, when it is made."""

from __future__ import annotations

from typing import Any

from userfold import tokens
from userfold.api.native import wire
from userfold.api.native.handlers import SOURCE, read_user_record
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import RevokeSignIn, RevokeSignIns, SignInUser
from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid, FieldUnknown, SessionNotFound
from userfold.core.records import Key, SignIn, User

DAY_S = 86_400
LIFETIME_S = 30 * DAY_S
LIFETIME_S_MAX = 366 * DAY_S


async def create_session(service: Service, request: Request) -> Reply:
    """201 with the session and, this once, its token."""
    request.query(())
    fields = _fields(request)
    session_id, token = tokens.new_token(service.engine.now())
    command = SignInUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        session_id=session_id,
        token_digest=tokens.digest(token),
        lifetime_ms=fields["expires_in_seconds"] * 1000,
        ip_address=fields["ip_address"],
        user_agent=fields["user_agent"],
    )
    applied = await service.run(request, command)
    assert isinstance(applied.record, SignIn)
    shown = wire.session(applied.record, service.engine.now())
    return json_reply(201, {**shown, "token": token}, (b"location", f"/v1/sessions/{session_id}".encode()))


async def list_sessions(service: Service, request: Request) -> Reply:
    """All sign-ins of a user, the newest first."""
    request.query(())
    user = await read_user_record(service, request)
    key = Key("sign_ins", request.project_id, user.id)
    members = (await service.store.get((key,)))[key]
    assert isinstance(members, tuple)
    now = service.engine.now()
    shown = [wire.session(member, now) for member in reversed(members) if isinstance(member, SignIn)]
    return json_reply(200, {"data": shown, "next_cursor": None})


async def revoke_sessions(service: Service, request: Request) -> Reply:
    """204: nobody is signed in as this user any more."""
    request.query(())
    command = RevokeSignIns(project_id=request.project_id, author=request.author(SOURCE), user_id=request.params["id"])
    await service.run(request, command)
    return Reply(204)


async def read_session(service: Service, request: Request) -> Reply:
    """One sign-in."""
    request.query(())
    found = await _session(service, request.project_id, request.params["id"])
    if found is None:
        raise SessionNotFound(session_id=request.params["id"])
    return json_reply(200, wire.session(found, service.engine.now()))


async def revoke_session(service: Service, request: Request) -> Reply:
    """204: its token is good no more."""
    request.query(())
    command = RevokeSignIn(
        project_id=request.project_id, author=request.author(SOURCE), session_id=request.params["id"]
    )
    await service.run(request, command)
    return Reply(204)


async def verify_session(service: Service, request: Request) -> Reply:
    """Whether a token is good, and whose it is, in the shape of token introspection (RFC 7662)."""
    request.query(())
    body = request.json_object()
    token = body.get("token")
    if not isinstance(token, str):
        raise FieldInvalid(path="/token", reason="a string is needed")
    found = await _session(service, request.project_id, tokens.session_id_of(token))
    now = service.engine.now()
    if found is None or not tokens.matches(token, found.token_digest) or not found.is_live(now):
        return json_reply(200, {"active": False})
    key = Key("user", request.project_id, found.user_id)
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User) or user.disabled:
        return json_reply(200, {"active": False})
    about = {"active": True, "sub": user.id, "iat": found.created_at // 1000, "exp": found.expires_at // 1000}
    return json_reply(200, {**about, "session": wire.session(found, now), "user": user})


async def _session(service: Service, project_id: str, session_id: str) -> SignIn | None:
    key = Key("sign_in", project_id, session_id)
    found = (await service.store.get((key,)))[key]
    return found if isinstance(found, SignIn) else None


def _fields(request: Request) -> dict[str, Any]:
    """The body of a new session; all of it may be left out."""
    fields: dict[str, Any] = {"expires_in_seconds": LIFETIME_S, "ip_address": None, "user_agent": None}
    given = request.json_object() if request.body else {}
    for name, value in given.items():
        if name not in fields:
            raise FieldUnknown(path=f"/{escape(name[:255])}")
        fields[name] = value
    lifetime = fields["expires_in_seconds"]
    if isinstance(lifetime, bool) or not isinstance(lifetime, int) or not 0 < lifetime <= LIFETIME_S_MAX:
        raise FieldInvalid(path="/expires_in_seconds", reason=f"an integer from 1 to {LIFETIME_S_MAX} is needed")
    for name in ("ip_address", "user_agent"):
        value = fields[name]
        if value is not None and not (isinstance(value, str) and len(value) <= 512):
            raise FieldInvalid(path=f"/{name}", reason="a string of up to 512 characters is needed")
    return fields
