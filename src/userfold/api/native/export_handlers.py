"""The native API's export: everything that is held about a user, as one JSON object, page by page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from userfold.api.native import wire
from userfold.api.native.event_handlers import events_of
from userfold.api.native.handlers import read_user_record
from userfold.api.native.shapes import ExportedIdentifier, ExportedSecrets, ExportedSegment
from userfold.api.wire import JSON, Reply, Request, Service
from userfold.core.claims import identifier_key, identifiers_of
from userfold.core.jsontext import encode
from userfold.core.presence import presence_key, presence_of
from userfold.core.records import Identifier, Key, Record, Secrets, Segment, Session, SignIn, Tombstone, User
from userfold.core.upkeep_rules import is_left

PAGE = wire.PAGE_SIZE_MAX
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]")


async def export_user(service: Service, request: Request) -> Reply:
    """All that is held about a user, as a file."""
    request.query(())
    user = await read_user_record(service, request)
    file_name = f'attachment; filename="{_NOT_IN_FILE_NAMES.sub("_", user.id)}.json"'
    headers = (JSON, (b"content-disposition", file_name.encode()))
    return Reply(200, headers=headers, pieces=_pieces(service, request.project_id, user))


async def _pieces(service: Service, project_id: str, user: User) -> AsyncGenerator[bytes, None]:
    """The text of the export; what may be long comes last, and no more than a page of it is held at a time."""
    presence_at = presence_key(project_id, user.id)
    short = {
        "user": user,
        "identifiers": await _identifiers(service, project_id, user),
        "secrets": await _secrets(service, project_id, user.id),
        "segments": await _segments(service, project_id, user),
        "presence": presence_of(await service.store.get((presence_at,)), project_id, user.id),
    }
    yield encode(short)[:-1]
    long = {
        "sign_ins": _sign_ins(service, project_id, user.id),
        "sessions": _sessions(service, project_id, user.id),
        "changes": _changes(service, project_id, user),
        "events": _events(service, project_id, user.id),
    }
    for name, pages in long.items():
        yield b',"%s":[' % name.encode()
        separator = b""
        async for page in pages:
            if page:
                yield separator + encode(page)[1:-1]
                separator = b","
        yield b"]"
    yield b"}"


async def _identifiers(service: Service, project_id: str, user: User) -> list[ExportedIdentifier]:
    names = (*identifiers_of(user), *(f"external_id|{alias}" for alias in user.external_id_aliases))
    found = await service.store.get([identifier_key(project_id, name) for name in names])
    return [
        ExportedIdentifier(identifier=claim.identifier, set_by=claim.set_by)
        for claim in found.values()
        if isinstance(claim, Identifier) and claim.user_id == user.id
    ]


async def _secrets(service: Service, project_id: str, user_id: str) -> ExportedSecrets:
    """Which there are, and never what they are."""
    key = Key("secrets", project_id, user_id)
    found = (await service.store.get((key,)))[key]
    held = found if isinstance(found, Secrets) else Secrets(id=user_id)
    return ExportedSecrets(
        password=held.password_digest is not None,
        totp=held.totp_secret is not None,
        backup_codes=bool(held.backup_code_digests),
    )


async def _segments(service: Service, project_id: str, user: User) -> list[ExportedSegment]:
    keys = [Key("segment", project_id, id_) for id_ in user.segments]
    found = await service.store.get(keys)
    named = {key.id: segment.name for key, segment in found.items() if isinstance(segment, Segment)}
    return [ExportedSegment(id=id_, name=named.get(id_)) for id_ in user.segments]


async def _sign_ins(service: Service, project_id: str, user_id: str) -> AsyncIterator[Sequence[Any]]:
    now = service.engine.now()
    async for page in _of_user(service, "sign_in", project_id, user_id):
        yield [wire.session(sign_in, now) for sign_in in page if isinstance(sign_in, SignIn)]


async def _sessions(service: Service, project_id: str, user_id: str) -> AsyncIterator[Sequence[Any]]:
    """Its tracking sessions, without those that an earlier user of that id has left."""
    key = Key("tombstone", project_id, user_id)
    tombstone = (await service.store.get((key,)))[key]
    deleted_at = tombstone.at if isinstance(tombstone, Tombstone) else -1
    async for page in _of_user(service, "session", project_id, user_id):
        yield [one for one in page if isinstance(one, Session) and not is_left(one.created_at, deleted_at)]


async def _changes(service: Service, project_id: str, user: User) -> AsyncIterator[Sequence[Any]]:
    for after in range(0, user.version, PAGE):
        yield await service.store.history(project_id, user.id, after=after, up_to=user.version, limit=PAGE)


async def _events(service: Service, project_id: str, user_id: str) -> AsyncIterator[Sequence[Any]]:
    after: str | None = None
    while events := await events_of(service, project_id, user_id, wire.PageOfIds(after=after, limit=PAGE)):
        yield events
        after = events[-1].id


async def _of_user(service: Service, kind: str, project_id: str, user_id: str) -> AsyncIterator[Sequence[Record]]:
    after: str | None = None
    while page := await service.store.of_user(kind, project_id, user_id, after=after, descending=False, limit=PAGE):
        yield page
        after = page[-1].id  # type: ignore[attr-defined]
