"""The native API's routes about the project itself, and its keys. A secret key is shown once, when it is made."""

from __future__ import annotations

from typing import Any

import msgspec

from userfold import tokens
from userfold.api.native.handlers import SOURCE
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import CreateKey, RevokeKey, UpdateProject
from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid, FieldUnknown
from userfold.core.fields import normal
from userfold.core.identifiers import label
from userfold.core.records import ApiKey, Key, Project


async def read_project(service: Service, request: Request) -> Reply:
    """The project that the key belongs to."""
    request.query(())
    key = Key("project", request.project_id, request.project_id)
    return json_reply(200, (await service.store.get((key,)))[key])


async def update_project(service: Service, request: Request) -> Reply:
    """Change its name or its settings; what is not given stays."""
    request.query(())
    body = _known(request.json_object(), ("name", "settings"))
    if not isinstance(body.get("settings", {}), dict):
        raise FieldInvalid(path="/settings", reason="an object is needed")
    command = UpdateProject(
        project_id=request.project_id,
        author=request.author(SOURCE),
        name=body.get("name"),
        settings=body.get("settings"),
    )
    applied = await service.run(request, command)
    service.directory.forget()
    assert isinstance(applied.record, Project)
    return json_reply(200, applied.record)


async def list_keys(service: Service, request: Request) -> Reply:
    """All keys of the project, also revoked ones."""
    request.query(())
    keys = [key for key in await service.store.list("api_key") if isinstance(key, ApiKey)]
    own = [_shown(key) for key in keys if key.project_id == request.project_id]
    return json_reply(200, {"data": own, "next_cursor": None})


async def create_key(service: Service, request: Request) -> Reply:
    """201 with the key and, this once, its token."""
    request.query(())
    body = _known(request.json_object(), ("name", "kind", "read_only"))
    kind, read_only = body.get("kind", "secret"), body.get("read_only", False)
    if kind not in ("secret", "publishable"):
        raise FieldInvalid(path="/kind", reason="secret or publishable is needed")
    if not isinstance(read_only, bool):
        raise FieldInvalid(path="/read_only", reason="true or false is needed")
    token = tokens.new_secret_key() if kind == "secret" else tokens.new_publishable_key()
    name = normal(label, body.get("name"), "/name")
    key = tokens.api_key(request.project_id, token, name, service.engine.now(), read_only=read_only)
    await service.run(request, CreateKey(project_id=request.project_id, author=request.author(SOURCE), key=key))
    service.directory.forget()
    return json_reply(201, {**_shown(key), "token": token})


async def revoke_key(service: Service, request: Request) -> Reply:
    """204: the key is good no more, in this process at once."""
    request.query(())
    command = RevokeKey(project_id=request.project_id, author=request.author(SOURCE), key_id=request.params["id"])
    await service.run(request, command)
    service.directory.forget()
    return Reply(204)


def _shown(key: ApiKey) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(key)
    del shown["token_digest"]
    if key.token is None:
        del shown["token"]
    return shown


def _known(body: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    for name in body:
        if name not in names:
            raise FieldUnknown(path=f"/{escape(name[:255])}")
    return body
