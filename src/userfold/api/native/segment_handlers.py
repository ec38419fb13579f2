"""The native API's routes about segments, and about who is in one."""

from __future__ import annotations

from userfold.api.native import wire
from userfold.api.native.handlers import define, run_write, user_written
from userfold.api.native.shapes import SegmentInput, SegmentPage, SegmentPatch
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import (
    AssignSegment,
    CreateSegment,
    DeleteSegment,
    UnassignSegment,
    UpdateSegment,
)
from userfold.core.errors import SegmentNotFound
from userfold.core.records import Key, Record, Segment


async def list_segments(service: Service, request: Request) -> Reply:
    """All segments of the project, by name."""
    request.query(())
    found = [segment for segment in await service.store.list("segment") if isinstance(segment, Segment)]
    own = [segment for segment in found if segment.project_id == request.project_id and segment.deleted_at is None]
    own.sort(key=lambda segment: (segment.name, segment.id))
    return json_reply(200, SegmentPage(data=tuple(map(wire.segment, own))))


async def create_segment(service: Service, request: Request) -> Reply:
    """201 with the segment; its address in Location."""
    request.query(())
    wire.unconditional(request)
    body = wire.body(request, SegmentInput)
    return _reply(201, await define(service, request, CreateSegment, name=body.name, description=body.description))


async def read_segment(service: Service, request: Request) -> Reply:
    """One segment."""
    request.query(())
    key = Key("segment", request.project_id, request.params["id"])
    found = (await service.store.get((key,)))[key]
    if not isinstance(found, Segment) or found.deleted_at is not None:
        raise SegmentNotFound(segment_id=key.id)
    return _reply(200, found)


async def update_segment(service: Service, request: Request) -> Reply:
    """Change its name or description; what is not given stays."""
    request.query(())
    body = wire.body(request, SegmentPatch)
    fields = {"name": body.name, "description": body.description, "if_match": wire.if_match(request)}
    return _reply(200, await define(service, request, UpdateSegment, segment_id=request.params["id"], **fields))


async def delete_segment(service: Service, request: Request) -> Reply:
    """204: it is gone, and its users leave it one after the other."""
    request.query(())
    if_match = wire.if_match(request)
    await define(service, request, DeleteSegment, segment_id=request.params["id"], if_match=if_match)
    return Reply(204)


async def assign_segment(service: Service, request: Request) -> Reply:
    """The user, who is in the segment now."""
    user_id, segment_id = request.params["id"], request.params["segment_id"]
    return user_written(200, await run_write(service, request, AssignSegment, user_id=user_id, segment_id=segment_id))


async def unassign_segment(service: Service, request: Request) -> Reply:
    """The user, who is in the segment no more."""
    user_id, segment_id = request.params["id"], request.params["segment_id"]
    return user_written(200, await run_write(service, request, UnassignSegment, user_id=user_id, segment_id=segment_id))


def _reply(status: int, segment: Record) -> Reply:
    assert isinstance(segment, Segment)
    location = [(b"location", f"/v1/segments/{segment.id}".encode())] if status == 201 else []
    return json_reply(status, wire.segment(segment), wire.etag(segment.version), *location)
