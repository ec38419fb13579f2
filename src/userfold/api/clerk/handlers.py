"""What each route of the Clerk-compatible API does: parse → command → engine → Clerk's shape."""

from __future__ import annotations

from typing import Any

import msgspec

from userfold.api.clerk import wire
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import CreateUser, Edit, PasswordDigest, RevokeSignIns, UpdateUser
from userfold.core.errors import PasswordNotSet, PasswordWrong, UserNotFound
from userfold.core.records import Key, Secrets, User

SOURCE = "clerk"


async def create_user(service: Service, request: Request) -> Reply:
    """`createUser`. 200, because Python's SDK takes no other success."""
    body = request.json_object()
    fields, created_at = wire.new_user(body)
    command = CreateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        edits=(Edit("replace", fields),),
        created_at=created_at,
        password_digest=await _digest(service, body),
    )
    return await _run(service, request, command)


async def read_user(service: Service, request: Request) -> Reply:
    """`getUser`."""
    key = Key("user", request.project_id, request.params["id"])
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=key.id)
    return json_reply(200, wire.user(user, service.public_url))


async def update_user(service: Service, request: Request) -> Reply:
    """`updateUser`."""
    body = wire.body_or_nothing(request)
    fields = wire.changed_fields(request, body)
    signs_out = wire.signs_out(body)
    command = UpdateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        edits=(Edit("replace", fields),),
        password_digest=await _digest(service, body),
    )
    reply = await _run(service, request, command)
    if signs_out:
        await _sign_out(service, request)
    return reply


async def verify_password(service: Service, request: Request) -> Reply:
    """`verifyPassword`: `{"verified": true}`, or the refusal that says why not."""
    given = wire.password_to_verify(request)
    keys = [Key(kind, request.project_id, request.params["id"]) for kind in ("user", "secrets")]
    user, kept = (await service.store.get(keys)).values()
    if not isinstance(user, User):
        raise UserNotFound(user_id=request.params["id"])
    if not isinstance(kept, Secrets) or kept.password_digest is None:
        raise PasswordNotSet
    if not await service.passwords.verify_password(given, kept.password_digest):
        raise PasswordWrong(path="/password")
    return json_reply(200, {"verified": True})


async def remove_password(service: Service, request: Request) -> Reply:
    """`removePassword`. Removing it again changes nothing."""
    body = wire.body_or_nothing(request)
    wire.refuse_unknown(body, "sign_out_of_other_sessions")
    signs_out = wire.signs_out(body)
    command = UpdateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        user_id=request.params["id"],
        edits=(),
        password_digest=None,
    )
    reply = await _run(service, request, command)
    if signs_out:
        await _sign_out(service, request)
    return reply


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


async def _digest(service: Service, body: dict[str, Any]) -> PasswordDigest:
    """What is kept of the password that a body gives, if any.

    Making it awaits, so updates that bring a password are applied in the order in which their digests are ready.
    """
    plain, digest = wire.password(body)
    if plain is not None:
        return await service.passwords.hash_password(plain)
    return msgspec.UNSET if digest is None else digest


async def _sign_out(service: Service, request: Request) -> None:
    author = request.author(SOURCE)
    await service.run(
        request, RevokeSignIns(project_id=request.project_id, author=author, user_id=request.params["id"])
    )


async def _run(service: Service, request: Request, command: CreateUser | UpdateUser) -> Reply:
    applied = await service.run(request, command)
    assert applied.user is not None
    return json_reply(200, wire.user(applied.user, service.public_url))
