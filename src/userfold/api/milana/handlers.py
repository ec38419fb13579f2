"""What each route of the Milana-compatible API does: parse → command → engine → Milana's shape."""

from __future__ import annotations

import logging

from userfold.api.milana import recordings, wire
from userfold.api.wire import RateLimited, Reply, Request, Service, json_reply
from userfold.core.applied import Applied
from userfold.core.commands import RecordFromSession, StartSession, UpdateFromSession
from userfold.core.identifiers import is_email
from userfold.core.records import Session
from userfold.logs import about

log = logging.getLogger("userfold.api.milana")


async def start_session(service: Service, request: Request) -> Reply:
    """`init`, a reload of the page, and every restart that an answer asked for."""
    body = request.json_object()
    command = StartSession(
        project_id=request.project_id,
        author=request.author(wire.SOURCE),
        resumes=wire.session_id(request),
        about=wire.about_new_session(request, body),
        forced=wire.is_forced(body),
    )
    applied = await service.run(request, command)
    if not applied.created:
        _give_back(service, request)
    return wire.succeeded(_session(applied))


async def update(service: Service, request: Request) -> Reply:
    """`identify`, `updateUser`, `updateSession` and `update`, which the wire does not tell apart.

    Nothing awaits before the command is in the queue: the SDK sends what was called before `init` all at once.
    """
    body = request.json_object()
    user = wire.named_user(body)
    command = UpdateFromSession(
        project_id=request.project_id,
        author=wire.author(request),
        session_id=wire.session_id(request) or "",
        external_id=None if user is None else user.external_id,
        edits=() if user is None else user.edits,
        about=wire.about_session(body),
        forced=wire.is_forced(body),
        evidence=None if user is None else service.evidence(request, user.claimed_token),
    )
    applied = await service.run(request, command)
    if user is not None:
        _warn_of_email(service, request, user.external_id)
    for ignored in applied.ignored:
        log.info("%s was left as it is: %s", ignored.path, ignored.code, extra=about(request.id))
    return wire.succeeded(_session(applied))


async def record(service: Service, request: Request) -> Reply:
    """A part of a recording, of which little is kept. See `errors.batch_error_reply` for what cannot be taken.

    That a page is closed says little: its last events come afterwards, and the next page goes on with its session.
    """
    assert request.caller is not None
    wait_s = service.draw("writes", request.caller, request.address)
    if wait_s:
        raise RateLimited(kind="writes", wait_s=wait_s)
    gzipped = (request.header(b"content-encoding") or "").lower() in ("gzip", "x-gzip")  # RFC 9110, 8.4.1
    recording = await service.large_bodies.read(request.incoming, recordings.read, gzipped=gzipped)
    command = RecordFromSession(
        project_id=request.project_id,
        author=wire.author(request),
        session_id=wire.session_id(request) or "",
        events=recording.events,
        ends=recording.ends,
    )
    applied = await service.submit(request, command, size=recording.size)
    return wire.recorded(_session(applied), request)


async def discard(service: Service, request: Request) -> Reply:
    """How the recording of pages performs, which is of no interest where none is kept."""
    return json_reply(200, {"success": True})


def _session(applied: Applied) -> Session:
    assert isinstance(applied.record, Session)
    return applied.record


def _give_back(service: Service, request: Request) -> None:
    """A reload of the page begins no session, and is not counted as one."""
    assert request.caller is not None
    service.rate_limits.give_back("new_sessions", request.caller.key.id, request.address)


def _warn_of_email(service: Service, request: Request, user_id: str) -> None:
    warning = f"email as userId in {request.project_id}"
    if warning not in service.warned and is_email(user_id):
        service.warned.add(warning)
        log.warning(
            "an app uses an email address as userId in project %s: who changes it becomes another user",
            request.project_id,
            extra=about(request.id),
        )
