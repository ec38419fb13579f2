"""What each route of the Clerk-compatible API does: parse → command → engine → Clerk's shape."""

from __future__ import annotations

from userfold.api.clerk import wire
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import CreateUser, Edit, UpdateUser
from userfold.core.errors import UserNotFound
from userfold.core.records import Key, User

SOURCE = "clerk"


async def create_user(service: Service, request: Request) -> Reply:
    """`createUser`. 200, because Python's SDK takes no other success."""
    fields, created_at = wire.new_user(request.json_object())
    command = CreateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        edits=(Edit("replace", fields),),
        created_at=created_at,
    )
    return await _run(service, request, command)


async def read_user(service: Service, request: Request) -> Reply:
    """`getUser`."""
    key = Key("user", request.project_id, request.params["id"])
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=key.id)
    return json_reply(200, wire.user(user, service.public_url))


async def merge_metadata(service: Service, request: Request) -> Reply:
    """`updateUserMetadata`: a deep merge of each kind that is given; null removes a key at any level."""
    return await _edit_metadata(service, request, "deep")


async def replace_metadata(service: Service, request: Request) -> Reply:
    """`replaceUserMetadata`: each kind that is given is overwritten whole."""
    return await _edit_metadata(service, request, "replace")


async def _edit_metadata(service: Service, request: Request, mode: str) -> Reply:
    command = UpdateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        edits=(Edit(mode, wire.metadata(request)),),
    )
    return await _run(service, request, command)


async def _run(service: Service, request: Request, command: CreateUser | UpdateUser) -> Reply:
    applied = await service.run(request, command)
    assert applied.user is not None
    return json_reply(200, wire.user(applied.user, service.public_url))
