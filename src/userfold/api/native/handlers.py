"""What each route of the native API does: parse → command → engine → reply."""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.api.native import wire
from userfold.api.wire import ParameterInvalid, Reply, Request, Service
from userfold.core import jsontext
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateUser, DeleteUser, Edit, Operate, UpdateUser, UpsertUser
from userfold.core.diff import fold
from userfold.core.errors import UserNotFound, VersionNotFound
from userfold.core.operations import JSON_PATCH
from userfold.core.operations import OPERATIONS as ALL_OPERATIONS
from userfold.core.queries import UserQuery
from userfold.core.records import Key, Record, User

SOURCE = "native"
MERGE_PATCH = ("application/json", "application/merge-patch+json")
# Content type → the operations that it may hold.
OPERATIONS = {
    "application/json-patch+json": JSON_PATCH,
    "application/vnd.userfold.operations+json": tuple(ALL_OPERATIONS),
}


async def create_user(service: Service, request: Request) -> Reply:
    """201 with the user; its address in Location."""
    edits = (new_user(request.json_object()),)
    applied = await run_write(service, request, CreateUser, edits=edits)
    return user_written(201, applied, located=True)


async def list_users(service: Service, request: Request) -> Reply:
    """One page of users: `external_id`, `email`, `username`, `segment`, `query`; `order_by`, `limit`, `cursor`."""
    query, terms = wire.user_query(request), await _terms(service, request)
    users = await service.store.users(msgspec.structs.replace(query, also=tuple((term,) for term in terms)))
    return wire.user_page(users, query)


async def read_user(service: Service, request: Request) -> Reply:
    """The user now, or with `?version=n` as it was then."""
    query = request.query({"version"})
    user = await read_user_record(service, request)
    if "version" not in query:
        return wire.user_read(request, user)
    version = wire.positive(query["version"], "version")
    return wire.user_read(request, await _user_at(service, request.project_id, user, version))


async def update_user(service: Service, request: Request) -> Reply:
    """A JSON Merge Patch (RFC 7396), a JSON Patch (RFC 6902) or operations of our own, by the content type."""
    applied = await run_write(service, request, UpdateUser, user_id=request.params["id"], edits=(_edit(request),))
    return user_written(200, applied)


async def upsert_user(service: Service, request: Request) -> Reply:
    """Merge into the user whom an external_id names (200), or make it (201)."""
    edits = (merge_patch(request.json_object(MERGE_PATCH)),)
    applied = await run_write(service, request, UpsertUser, external_id=request.params["external_id"], edits=edits)
    return user_written(201 if applied.created else 200, applied, located=True)


async def delete_user(service: Service, request: Request) -> Reply:
    """204: the user and its history are gone."""
    await run_write(service, request, DeleteUser, user_id=request.params["id"])
    return Reply(204)


async def read_history(service: Service, request: Request) -> Reply:
    """The changes of a user, oldest first; with `order_by=-version` newest first."""
    query = request.query({"limit", "cursor", "order_by"})
    limit = wire.positive(query.get("limit", str(wire.PAGE_SIZE)), "limit", most=wire.PAGE_SIZE_MAX)
    order_by = query.get("order_by", "version")
    if order_by not in ("version", "-version"):
        raise ParameterInvalid(name="order_by", reason="version or -version is needed")
    user = await read_user_record(service, request)
    start = wire.positive(query["cursor"], "cursor") if "cursor" in query else None
    if order_by == "version":
        after = 0 if start is None else start
        up_to, next_start = user.version, after + limit
        has_more = next_start < user.version
    else:
        up_to = user.version if start is None else min(start - 1, user.version)
        after, next_start = max(up_to - limit, 0), up_to - limit + 1
        has_more = after > 0
    changes = list(await service.store.history(request.project_id, user.id, after=after, up_to=up_to, limit=limit))
    if order_by == "-version":
        changes.reverse()
    return wire.history_page(changes, str(next_start) if has_more else None)


async def read_user_record(service: Service, request: Request) -> User:
    """The user whom the path names. Raises `UserNotFound`."""
    key = Key("user", request.project_id, request.params["id"])
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=key.id)
    return user


async def _terms(service: Service, request: Request) -> tuple[str, ...]:
    """What a list's users must be found by."""
    terms = wire.given_terms(request)
    if "email" in request.query(wire.LIST_PARAMETERS):
        address = tuple(term for term in terms if term.startswith("email|"))
        owner = UserQuery(project_id=request.project_id, any_terms=address, limit=1)
        if not await service.store.users(owner):
            # Identifiers first. Nobody has that address as one, so those who only claim it are meant.
            return wire.given_terms(request, email_kind="contact_email")
    return terms


async def _user_at(service: Service, project_id: str, user: User, version: int) -> User:
    """The user as it was at `version`: its changes folded up to there. What it had no field for yet is empty."""
    if version > user.version:
        raise VersionNotFound(version=version, current=user.version)
    document: Any = {}
    folded = 0
    while folded < version:
        page = await service.store.history(project_id, user.id, after=folded, up_to=version, limit=wire.PAGE_SIZE_MAX)
        if not page:
            raise VersionNotFound(version=version, current=user.version)
        for change in page:
            document = fold(document, change.operations)
            folded = change.version
        document |= {"version": folded, "updated_at": page[-1].at}
    return msgspec.convert(document, User)


def _edit(request: Request) -> Edit | Operate:
    media_type = request.require_content_type((*MERGE_PATCH, *OPERATIONS))
    if media_type in OPERATIONS:
        return Operate(jsontext.decode(request.body), OPERATIONS[media_type])
    return merge_patch(request.json_object((media_type,)))


def merge_patch(document: dict[str, Any]) -> Edit:
    """What is to join a user: a JSON Merge Patch."""
    return Edit("merge_patch", wire.fields_of(document))


def new_user(document: dict[str, Any]) -> Edit:
    """What a user is to be made of."""
    return Edit("replace", wire.fields_of(document))


async def run_write(service: Service, request: Request, kind: type[Command], **fields: Any) -> Applied:
    """Make the command that `kind` and `fields` say, with what every write may carry, and run it."""
    dry_run = wire.flag(request.query({"dry_run"}), "dry_run")
    once = wire.once(request)
    if kind is CreateUser:
        wire.unconditional(request)
    else:
        fields["if_match"] = wire.if_match(request)
    command = command_of(request, kind, once=None if dry_run else once, **fields)
    return await service.run(request, command, dry_run=dry_run)


def command_of(request: Request, kind: type[Command], **fields: Any) -> Command:
    """The command that `kind` and `fields` say, in the name of who asks."""
    return kind(project_id=request.project_id, author=request.author(SOURCE), **fields)


async def define(service: Service, request: Request, kind: type[Command], **fields: Any) -> Record:
    """Make a command about something that the project defines, and run it; what it defines then.

    The next request is judged by it.
    """
    once = wire.once(request)
    command = kind(project_id=request.project_id, author=request.author(SOURCE), once=once, **fields)
    applied = await service.run(request, command)
    service.directory.forget()
    assert applied.record is not None
    return applied.record


def user_written(status: int, applied: Applied, *, located: bool = False) -> Reply:
    """The user as a write left it."""
    assert applied.user is not None
    location = (b"location", f"/v1/users/{applied.user.id}".encode())
    return wire.user_reply(status, applied.user, applied, *([location] if located else []))
