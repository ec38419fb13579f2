"""The native API's routes about the project itself, and its keys. A secret key is shown once, when it is made."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from userfold import tokens
from userfold.api.native import wire
from userfold.api.native.handlers import SOURCE
from userfold.api.native.shapes import KeyInput, KeyPage, NewKey, ProjectInput, ProjectKey, given
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import CreateKey, RevokeKey, UpdateProject
from userfold.core.errors import FieldInvalid
from userfold.core.fields import normal
from userfold.core.identifiers import label
from userfold.core.records import ApiKey, Key, Project
from userfold.identity_tokens import identity_key


async def read_project(service: Service, request: Request) -> Reply:
    """The project that the key belongs to."""
    request.query(())
    key = Key("project", request.project_id, request.project_id)
    project = (await service.store.get((key,)))[key]
    assert isinstance(project, Project), "its key was just found"
    return json_reply(200, project, wire.etag(project.version))


async def update_project(service: Service, request: Request) -> Reply:
    """Change its name or its settings; what is not given stays."""
    request.query(())
    body = given(wire.body(request, ProjectInput))
    command = UpdateProject(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=wire.once(request),
        name=body.get("name"),
        settings=body.get("settings"),
        if_match=wire.if_match(request),
    )
    applied = await service.run(request, command)
    service.directory.forget()
    assert isinstance(applied.record, Project)
    return json_reply(200, applied.record, wire.etag(applied.record.version))


async def list_keys(service: Service, request: Request) -> Reply:
    """All keys of the project, also revoked ones."""
    request.query(())
    keys = [key for key in await service.store.list("api_key") if isinstance(key, ApiKey)]
    own = tuple(ProjectKey(**_shown(key)) for key in keys if key.project_id == request.project_id)
    return json_reply(200, KeyPage(data=own))


async def create_key(service: Service, request: Request) -> Reply:
    """201 with the key and, this once, its token."""
    request.query(())
    wire.not_repeatable(request)
    key, token = _new_key(service, request, wire.body(request, KeyInput))
    await service.run(request, CreateKey(project_id=request.project_id, author=request.author(SOURCE), key=key))
    service.directory.forget()
    return json_reply(201, NewKey(**_shown(key) | ({} if token is None else {"token": token})))


async def revoke_key(service: Service, request: Request) -> Reply:
    """204: the key is good no more, in this process at once."""
    request.query(())
    wire.unconditional(request)
    command = RevokeKey(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=wire.once(request),
        key_id=request.params["id"],
    )
    await service.run(request, command)
    service.directory.forget()
    return Reply(204)


def _new_key(service: Service, request: Request, body: KeyInput) -> tuple[ApiKey, str | None]:
    """The record of a key, and the key itself if there is one to show."""
    project_id, now = request.project_id, service.engine.now()
    name = normal(label, body.name, "/name")
    public_key = None if body.public_key is UNSET else body.public_key
    if body.kind == "identity":
        return identity_key(project_id, public_key, name, now, encrypt=service.encryption.encrypt)
    if public_key is not None:
        raise FieldInvalid(path="/public_key", reason="only an identity key has one")
    token = tokens.new_secret_key() if body.kind == "secret" else tokens.new_publishable_key()
    return tokens.api_key(project_id, token, name, now, read_only=body.read_only), token


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = {name: getattr(key, name) for name in ProjectKey.__struct_fields__}
    return shown | {name: UNSET for name in ("token", "algorithm") if shown[name] is None}
