"""What each route of the native API does: parse → command → engine → reply."""

from __future__ import annotations

from typing import Any

from userfold.api.native import wire
from userfold.api.wire import NotBuilt, ParameterInvalid, Reply, Request, Service, json_reply
from userfold.core.commands import CreateUser, DeleteUser, Edit, UpdateUser, UpsertUser
from userfold.core.diff import fold
from userfold.core.errors import UserNotFound, VersionNotFound
from userfold.core.records import Key, User

SOURCE = "native"
MERGE_PATCH = "application/merge-patch+json"
OPERATIONS = ("application/json-patch+json", "application/vnd.userfold.operations+json")


async def create_user(service: Service, request: Request) -> Reply:
    """201 with the user; its address in Location."""
    _refuse_not_built(request)
    command = CreateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        edits=(Edit("replace", wire.fields_of(request.json_object())),),
    )
    applied = await service.run(request, command)
    assert applied.user is not None
    return wire.user_reply(201, applied.user, applied, (b"location", f"/v1/users/{applied.user.id}".encode()))


async def read_user(service: Service, request: Request) -> Reply:
    """The user now, or with `?version=n` as it was then."""
    query = request.query({"version"})
    user = await _user(service, request)
    if "version" not in query:
        return json_reply(200, user, wire.etag(user.version))
    version = wire.positive(query["version"], "version")
    return json_reply(200, await _user_at(service, request.project_id, user, version), wire.etag(version))


async def update_user(service: Service, request: Request) -> Reply:
    """A JSON Merge Patch (RFC 7396) of the user."""
    _refuse_not_built(request)
    media_type = request.require_content_type((MERGE_PATCH, "application/json", *OPERATIONS))
    if media_type in OPERATIONS:
        raise NotBuilt(what=f"A body of {media_type}")
    command = UpdateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        edits=(Edit("merge_patch", wire.fields_of(request.json_object((media_type,)))),),
        if_match=wire.if_match(request),
    )
    applied = await service.run(request, command)
    assert applied.user is not None
    return wire.user_reply(200, applied.user, applied)


async def upsert_user(service: Service, request: Request) -> Reply:
    """Merge into the user whom an external_id names (200), or make it (201)."""
    _refuse_not_built(request)
    document = wire.fields_of(request.json_object(("application/json", MERGE_PATCH)))
    command = UpsertUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        external_id=request.params["external_id"],
        edits=(Edit("merge_patch", document),),
        if_match=wire.if_match(request),
    )
    applied = await service.run(request, command)
    assert applied.user is not None
    location = (b"location", f"/v1/users/{applied.user.id}".encode())
    return wire.user_reply(201 if applied.created else 200, applied.user, applied, location)


async def delete_user(service: Service, request: Request) -> Reply:
    """204: the user and its history are gone."""
    _refuse_not_built(request)
    command = DeleteUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        if_match=wire.if_match(request),
    )
    await service.run(request, command)
    return Reply(204)


async def read_history(service: Service, request: Request) -> Reply:
    """The changes of a user, oldest first; with `order_by=-version` newest first."""
    query = request.query({"limit", "cursor", "order_by"})
    limit = wire.positive(query.get("limit", str(wire.PAGE_SIZE)), "limit", most=wire.PAGE_SIZE_MAX)
    order_by = query.get("order_by", "version")
    if order_by not in ("version", "-version"):
        raise ParameterInvalid(name="order_by", reason="version or -version is needed")
    user = await _user(service, request)
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


async def _user(service: Service, request: Request) -> User:
    key = Key("user", request.project_id, request.params["id"])
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=key.id)
    return user


async def _user_at(service: Service, project_id: str, user: User, version: int) -> dict[str, Any]:
    """The user as it was at `version`: its changes folded up to there."""
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
    return dict(document)


def _refuse_not_built(request: Request) -> None:
    """What a caller relies on must not be passed over in silence until it is there."""
    if request.header(b"idempotency-key") is not None:
        raise NotBuilt(what="Idempotency-Key")
    if request.header(b"if-none-match") is not None:
        raise NotBuilt(what="If-None-Match")
    if "dry_run" in request.query({"dry_run"}):
        raise NotBuilt(what="dry_run")
