"""What each route of the Clerk-compatible API does: parse → command → engine → Clerk's shape."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from userfold.api import conditions
from userfold.api.clerk import lists, wire
from userfold.api.wire import Handler, Reply, Request, Service, json_reply
from userfold.core.applied import Applied
from userfold.core.commands import Command, CreateUser, DeleteUser, Edit, RevokeSignIns, UpdateUser
from userfold.core.errors import PasswordCompromised, PasswordNotSet, PasswordWrong, UserNotFound
from userfold.core.presence import presence_key, presence_of
from userfold.core.records import Key, Secrets, User

SOURCE = "clerk"

C = TypeVar("C", bound=Command)


async def create_user(service: Service, request: Request) -> Reply:
    """`createUser`. 200, because Python's SDK takes no other success."""
    conditions.unconditional(request)
    body = wire.body_or_nothing(request)
    fields, created_at = wire.new_user(body)
    command = CreateUser(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=conditions.once(request),
        edits=(Edit("replace", fields),),
        created_at=created_at,
        **await _secrets(service, body),
    )
    if command.once is not None:
        return await _run(service, request, command)
    id_ = conditions.digest_of(request, b"POST /users\n" + request.body)
    return await user_reply(
        service, request, await service.create(request, command, id_, resends=wire.resends(request))
    )


async def read_user(service: Service, request: Request) -> Reply:
    """`getUser`."""
    return await _shown_reply(service, request, await read_user_record(service, request))


async def list_users(service: Service, request: Request) -> Reply:
    """`getUserList`: a bare list."""
    given = lists.parameters(request)
    lists.refuse_unknown(given)
    query = lists.filters(given, request.project_id)
    start = None
    if "starting_after" in given:
        key = Key("user", request.project_id, given["starting_after"][-1])
        found = (await service.store.get((key,)))[key]
        start = found if isinstance(found, User) else None
    users = await service.store.users(lists.paged(query, given, start))
    return json_reply(200, await _shown(service, request, users))


async def count_users(service: Service, request: Request) -> Reply:
    """`getCount`. JavaScript's SDK asks it beside every list and with its parameters, so it takes all of them."""
    query = lists.filters(lists.parameters(request), request.project_id)
    total = await service.store.count_users(query)
    return json_reply(200, {"object": "total_count", "total_count": total})


async def delete_user(service: Service, request: Request) -> Reply:
    """`deleteUser`: the user and its history are gone."""
    user_id = request.params["id"]
    await service.run(request, command_of(request, DeleteUser, user_id=user_id, if_match=wire.condition(request, {})))
    return json_reply(200, wire.deleted("user", user_id))


def flagging(field: str, value: bool) -> Handler:
    """`banUser`, `lockUser` and the like: a handler that sets a flag of a user."""

    async def handler(service: Service, request: Request) -> Reply:
        body = wire.body_or_nothing(request)
        if_match = wire.condition(request, body)
        wire.refuse_unknown(body)
        edits = (Edit("replace", {field: value}),)
        return await _run(service, request, update_of(request, edits=edits, if_match=if_match))

    return handler


def flagging_all(field: str, value: bool) -> Handler:
    """Python's `bulk_ban`, `bulk_unban`: a handler that sets a flag of several users, and answers with all of them."""

    async def handler(service: Service, request: Request) -> Reply:
        conditions.unconditional(request)
        key_of_all = conditions.idempotency_key(request)
        keys = [Key("user", request.project_id, user_id) for user_id in wire.user_ids(request)]
        found = await service.store.get(keys)
        for key in keys:
            if found[key] is None:
                raise UserNotFound(user_id=key.id)
        answers = []
        for key in keys:
            once = None if key_of_all is None else conditions.once_of(request, f"{key_of_all}#{key.id}", request.body)
            command = UpdateUser(
                project_id=request.project_id,
                author=request.author(SOURCE),
                once=once,
                user_id=key.id,
                edits=(Edit("replace", {field: value}),),
            )
            answers.append(service.submit(request, command, size=len(request.body) // len(keys)))
        all_applied = await asyncio.gather(*answers)
        users = [applied.user for applied in all_applied if applied.user is not None]
        return json_reply(200, await _shown(service, request, users))

    return handler


async def update_user(service: Service, request: Request) -> Reply:
    """`updateUser`."""
    body = wire.body_or_nothing(request)
    if_match = wire.condition(request, body)
    fields = wire.changed_fields(request, body)
    signs_out = wire.signs_out(body)
    command = update_of(
        request,
        edits=(Edit("replace", fields), *wire.primaries(body)),
        if_match=if_match,
        created_at=wire.time_or_none(body, "created_at"),
        **await _secrets(service, body),
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
    if user.password_compromised:
        raise PasswordCompromised(path="/password")
    return json_reply(200, {"verified": True})


async def remove_password(service: Service, request: Request) -> Reply:
    """`removePassword`. Removing it again changes nothing."""
    body = wire.body_or_nothing(request)
    if_match = wire.condition(request, body)
    wire.refuse_unknown(body, "sign_out_of_other_sessions")
    signs_out = wire.signs_out(body)
    reply = await _run(service, request, update_of(request, edits=(), if_match=if_match, password_digest=None))
    if signs_out:
        await _sign_out(service, request)
    return reply


async def merge_metadata(service: Service, request: Request) -> Reply:
    """`updateUserMetadata`: a deep merge of each kind that is given; null removes a key at any level."""
    return await _edit_metadata(service, request, "deep")


async def replace_metadata(service: Service, request: Request) -> Reply:
    """`replaceUserMetadata`: each kind that is given is overwritten whole."""
    return await _edit_metadata(service, request, "replace")


async def list_no_organizations(service: Service, request: Request) -> Reply:
    """`getOrganizationMembershipList`, `getOrganizationInvitationList`: a page that is empty, as there are none."""
    lists.limit_and_offset(lists.parameters(request))
    await read_user_record(service, request)
    return json_reply(200, {"data": [], "total_count": 0})


async def read_user_record(service: Service, request: Request) -> User:
    """The user whom the path names. Raises `UserNotFound`."""
    key = Key("user", request.project_id, request.params["id"])
    user = (await service.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=key.id)
    return user


async def _edit_metadata(service: Service, request: Request, mode: str) -> Reply:
    body = wire.body_or_nothing(request)
    if_match = wire.condition(request, body)
    edits = (Edit(mode, wire.metadata(body)),)
    return await _run(service, request, update_of(request, edits=edits, if_match=if_match))


async def _secrets(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of the secrets that a body gives, if any: fields of a `SetsSecrets`.

    Making digests awaits, so updates that bring secrets are applied in the order in which their digests are ready.
    """
    (plain, digest), totp, codes = wire.password(body), wire.totp_secret(body), wire.backup_codes(body)
    given: dict[str, Any] = {} if digest is None else {"password_digest": digest}
    if totp is not None:
        given["totp_secret"] = service.encryption.encrypt(totp)
    if plain is not None:
        given["password_digest"] = await service.passwords.hash_password(plain)
    if codes is not None:
        given["backup_code_digests"] = await service.passwords.hash_backup_codes(codes)
    return given


async def _sign_out(service: Service, request: Request) -> None:
    author = request.author(SOURCE)
    await service.run(
        request, RevokeSignIns(project_id=request.project_id, author=author, user_id=request.params["id"])
    )


async def _run(service: Service, request: Request, command: CreateUser | UpdateUser) -> Reply:
    return await user_reply(service, request, await service.run(request, command))


async def user_reply(service: Service, request: Request, applied: Applied) -> Reply:
    """The user, as a command left it."""
    assert applied.user is not None
    return await _shown_reply(service, request, applied.user)


async def _shown_reply(service: Service, request: Request, user: User) -> Reply:
    """A user. The entity tag is for whoever writes next: no SDK of Clerk's asks for it."""
    (shown,) = await _shown(service, request, [user])
    return json_reply(200, shown, conditions.etag(user.version))


async def _shown(service: Service, request: Request, users: Sequence[User]) -> list[dict[str, Any]]:
    """Users in Clerk's shape, which tells when each was last there."""
    project_id = request.project_id
    found = await service.store.get([presence_key(project_id, user.id) for user in users])
    return [wire.user(user, presence_of(found, project_id, user.id), service.public_url) for user in users]


def update_of(request: Request, **fields: Any) -> UpdateUser:
    """The update that `fields` say of the user whom the path names."""
    return command_of(request, UpdateUser, user_id=request.params["id"], **fields)


def command_of(request: Request, kind: type[C], **fields: Any) -> C:
    """The command that `kind` and `fields` say, in the name of who asks, and once if it is to be done once."""
    once = conditions.once(request)
    return kind(project_id=request.project_id, author=request.author(SOURCE), once=once, **fields)
