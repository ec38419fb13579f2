"""The native API's routes about sign-ins. A token is shown once, when it is made."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from userfold import tokens
from userfold.api.native import wire
from userfold.api.native.handlers import SOURCE, read_user_record
from userfold.api.native.shapes import Introspection, NewSession, SessionInput, SessionPage, TokenInput
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.applied import Applied
from userfold.core.commands import NoteActivity, RevokeSignIn, RevokeSignIns, SignInUser
from userfold.core.errors import SessionNotFound
from userfold.core.presence import is_stale, presence_key, presence_of
from userfold.core.records import Key, Session, SignIn, User
from userfold.core.sign_ins import is_signed_in
from userfold.engine import Busy

NOT_ACTIVE = Introspection(active=False)


async def create_session(service: Service, request: Request) -> Reply:
    """201 with the session and, this once, its token."""
    request.query(())
    wire.not_repeatable(request)
    body = wire.body(request, SessionInput, optional=True)
    session_id, token = tokens.new_token(service.engine.now())
    command = SignInUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        session_id=session_id,
        token_digest=tokens.digest(token),
        lifetime_ms=body.expires_in_seconds * 1000,
        ip_address=body.ip_address,
        user_agent=body.user_agent,
    )
    applied = await service.run(request, command)
    assert isinstance(applied.record, SignIn)
    shown = msgspec.structs.asdict(wire.session(applied.record, service.engine.now()))
    location = (b"location", f"/v1/sessions/{session_id}".encode())
    return json_reply(201, NewSession(**shown, token=token), location)


async def list_sessions(service: Service, request: Request) -> Reply:
    """All sign-ins of a user, the newest first."""
    request.query(())
    user = await read_user_record(service, request)
    key = Key("sign_ins", request.project_id, user.id)
    members = (await service.store.get((key,)))[key]
    assert isinstance(members, tuple)
    now = service.engine.now()
    shown = tuple(wire.session(member, now) for member in reversed(members) if isinstance(member, SignIn))
    return json_reply(200, SessionPage(data=shown))


async def revoke_sessions(service: Service, request: Request) -> Reply:
    """204: nobody is signed in as this user any more."""
    request.query(())
    wire.unconditional(request)
    command = RevokeSignIns(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=wire.once(request),
        user_id=request.params["id"],
    )
    await service.run(request, command)
    return Reply(204)


async def read_session(service: Service, request: Request) -> Reply:
    """One session: a sign-in, or a browser's visit."""
    request.query(())
    session_id = request.params["id"]
    found = await _session(service, request.project_id, session_id)
    if found is not None:
        return json_reply(200, wire.session(found, service.engine.now()))
    visit = await _tracking_session(service, request.project_id, session_id)
    if visit is None:
        raise SessionNotFound(session_id=session_id)
    return json_reply(200, visit)


async def revoke_session(service: Service, request: Request) -> Reply:
    """204: its token is good no more."""
    request.query(())
    wire.unconditional(request)
    command = RevokeSignIn(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=wire.once(request),
        session_id=request.params["id"],
    )
    await service.run(request, command)
    return Reply(204)


async def verify_session(service: Service, request: Request) -> Reply:
    """Whether a token is good, and whose it is, in the shape of token introspection (RFC 7662)."""
    request.query(())
    token = wire.body(request, TokenInput).token
    found = await _session(service, request.project_id, tokens.session_id_of(token))
    now = service.engine.now()
    if found is None or not tokens.matches(token, found.token_digest):
        return json_reply(200, NOT_ACTIVE)
    keys = (Key("user", request.project_id, found.user_id), presence_key(request.project_id, found.user_id))
    held = await service.store.get(keys)
    user = held[keys[0]]
    if not isinstance(user, User) or not is_signed_in(found, user, now):
        return json_reply(200, NOT_ACTIVE)
    if is_stale(presence_of(held, request.project_id, user.id), now):
        _note_activity(service, request, user.id)
    issued, expires = found.created_at // 1000, found.expires_at // 1000
    session = wire.session(found, now)
    return json_reply(200, Introspection(active=True, sub=user.id, iat=issued, exp=expires, session=session, user=user))


def _note_activity(service: Service, request: Request, user_id: str) -> None:
    """Have it noted that somebody is active. Nobody waits for that: what is said of a token depends on no write."""
    command = NoteActivity(project_id=request.project_id, author=request.author(SOURCE), user_id=user_id)
    with contextlib.suppress(Busy):
        service.submit(request, command, size=0).add_done_callback(_noted)


def _noted(answer: asyncio.Future[Applied]) -> None:
    """What goes wrong with the store is in the engine's log; and the user may be gone by now."""
    if not answer.cancelled():
        answer.exception()


async def _session(service: Service, project_id: str, session_id: str) -> SignIn | None:
    key = Key("sign_in", project_id, session_id)
    found = (await service.store.get((key,)))[key]
    return found if isinstance(found, SignIn) else None


async def _tracking_session(service: Service, project_id: str, session_id: str) -> Session | None:
    """The session, unless its user was deleted: then a sweep has yet to remove it."""
    key = Key("session", project_id, session_id)
    found = (await service.store.get((key,)))[key]
    if not isinstance(found, Session) or found.user_id is None:
        return found if isinstance(found, Session) else None
    at = Key("user", project_id, found.user_id)
    return None if (await service.store.get((at,)))[at] is None else found
