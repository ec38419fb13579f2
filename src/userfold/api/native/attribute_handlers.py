"""The native API's routes about attributes: what keys of traits hold."""

from __future__ import annotations

from userfold.api.native import wire
from userfold.api.native.handlers import define
from userfold.api.native.shapes import AttributeInput, AttributePage, AttributePatch
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import CreateAttribute, DeleteAttribute, UpdateAttribute
from userfold.core.errors import AttributeNotFound
from userfold.core.records import AttributeDefinition, Key, Record


async def list_attributes(service: Service, request: Request) -> Reply:
    """All attributes of the project, by name."""
    request.query(())
    found = [one for one in await service.store.list("attribute") if isinstance(one, AttributeDefinition)]
    own = sorted((one for one in found if one.project_id == request.project_id), key=lambda one: one.name)
    return json_reply(200, AttributePage(data=tuple(map(wire.attribute, own))))


async def create_attribute(service: Service, request: Request) -> Reply:
    """201 with the attribute; its address in Location."""
    request.query(())
    wire.unconditional(request)
    body = wire.body(request, AttributeInput)
    attribute = await define(
        service,
        request,
        CreateAttribute,
        name=body.name,
        type=body.type,
        choices=body.choices,
        title=body.title,
        description=body.description,
    )
    return _reply(201, attribute)


async def read_attribute(service: Service, request: Request) -> Reply:
    """One attribute."""
    request.query(())
    key = Key("attribute", request.project_id, request.params["id"])
    found = (await service.store.get((key,)))[key]
    if not isinstance(found, AttributeDefinition):
        raise AttributeNotFound(attribute_id=key.id)
    return _reply(200, found)


async def update_attribute(service: Service, request: Request) -> Reply:
    """Change its choices, title or description; what is not given stays."""
    request.query(())
    body = wire.body(request, AttributePatch)
    attribute = await define(
        service,
        request,
        UpdateAttribute,
        attribute_id=request.params["id"],
        choices=body.choices,
        title=body.title,
        description=body.description,
        if_match=wire.if_match(request),
    )
    return _reply(200, attribute)


async def delete_attribute(service: Service, request: Request) -> Reply:
    """204: its key of traits may hold anything again."""
    request.query(())
    if_match = wire.if_match(request)
    await define(service, request, DeleteAttribute, attribute_id=request.params["id"], if_match=if_match)
    return Reply(204)


def _reply(status: int, attribute: Record) -> Reply:
    assert isinstance(attribute, AttributeDefinition)
    location = [(b"location", f"/v1/attributes/{attribute.id}".encode())] if status == 201 else []
    return json_reply(status, wire.attribute(attribute), wire.etag(attribute.version), *location)
