"""Clerk's routes about sessions, which are sign-ins: sessions that an app's backend began for a user."""

from __future__ import annotations

from userfold import tokens
from userfold.api import conditions
from userfold.api.clerk import lists, wire
from userfold.api.clerk.handlers import command_of
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import RevokeSignIn, SignInUser
from userfold.core.errors import SessionNotFound
from userfold.core.records import Key, SignIn

LIFETIME_MS = 7 * 86_400_000  # as Clerk's, if nobody says otherwise


async def list_sessions(service: Service, request: Request) -> Reply:
    """`getSessionList`, the newest first: a page if it is asked to be one, as JavaScript's SDK does, else a list."""
    asked = lists.session_query(lists.parameters(request))
    now = service.engine.now()
    found = [
        session for session in await _found(service, request, asked) if asked.wants(wire.session_status(session, now))
    ]
    page = [wire.session(session, now) for session in found[asked.offset : asked.offset + asked.limit]]
    return json_reply(200, {"data": page, "total_count": len(found)} if asked.paginated else page)


async def create_session(service: Service, request: Request) -> Reply:
    """`createSession`, for tests as at Clerk. Nobody is told its token, so nobody can sign in with it."""
    conditions.unconditional(request)
    body = wire.body_or_nothing(request)
    wire.refuse_unknown(body, "user_id", "active_organization_id")
    wire.refuse_organization(body)
    session_id, token = tokens.new_token(service.engine.now())
    command = command_of(
        request,
        SignInUser,
        user_id=wire.needed_text(body, "user_id"),
        session_id=session_id,
        token_digest=tokens.digest(token),
        lifetime_ms=LIFETIME_MS,
    )
    applied = await service.run(request, command)
    assert isinstance(applied.record, SignIn)
    return json_reply(200, wire.session(applied.record, service.engine.now()))


async def read_session(service: Service, request: Request) -> Reply:
    """`getSession`."""
    found = await _session(service, request.project_id, request.params["id"])
    if found is None:
        raise SessionNotFound(session_id=request.params["id"])
    return json_reply(200, wire.session(found, service.engine.now()))


async def revoke_session(service: Service, request: Request) -> Reply:
    """`revokeSession`. Revoking it again changes nothing."""
    conditions.unconditional(request)
    wire.refuse_unknown(wire.body_or_nothing(request))
    applied = await service.run(request, command_of(request, RevokeSignIn, session_id=request.params["id"]))
    assert isinstance(applied.record, SignIn)
    return json_reply(200, wire.session(applied.record, service.engine.now()))


async def _found(service: Service, request: Request, asked: lists.SessionQuery) -> list[SignIn]:
    """The sign-ins of the user or of the client that is asked for, the newest first."""
    if asked.user_id is None:
        found = await _session(service, request.project_id, wire.session_id_of(asked.client_id or ""))
        return [] if found is None else [found]
    key = Key("sign_ins", request.project_id, asked.user_id)
    members = (await service.store.get((key,)))[key]
    assert isinstance(members, tuple)
    own = [member for member in reversed(members) if isinstance(member, SignIn)]
    return [session for session in own if asked.client_id in (None, wire.client_id_of(session))]


async def _session(service: Service, project_id: str, session_id: str) -> SignIn | None:
    key = Key("sign_in", project_id, session_id)
    found = (await service.store.get((key,)))[key]
    return found if isinstance(found, SignIn) else None
