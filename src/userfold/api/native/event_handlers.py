"""The native API's routes about events: what users did."""

from __future__ import annotations

from collections.abc import Sequence

from userfold.api.native import wire
from userfold.api.native.handlers import SOURCE, read_user_record
from userfold.api.native.shapes import EventInput, EventPage
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core.commands import RecordEvent
from userfold.core.event_rules import first_id
from userfold.core.records import Event, Key, Tombstone


async def record_event(service: Service, request: Request) -> Reply:
    """201 with the event."""
    request.query(())
    wire.unconditional(request)
    body = wire.body(request, EventInput)
    command = RecordEvent(
        project_id=request.project_id,
        author=request.author(SOURCE),
        once=wire.once(request),
        user_id=request.params["id"],
        name=body.name,
        properties=body.properties,
        occurred_at=body.occurred_at,
    )
    return json_reply(201, (await service.run(request, command)).record)


async def list_events(service: Service, request: Request) -> Reply:
    """One page of the events of a user, the latest first; with `order_by=created_at` the earliest first."""
    page = wire.event_query(request)
    user = await read_user_record(service, request)
    events = await events_of(service, request.project_id, user.id, page)
    return json_reply(200, EventPage(data=tuple(events), next_cursor=wire.next_id(events, page.limit)))


async def events_of(service: Service, project_id: str, user_id: str, page: wire.PageOfIds) -> Sequence[Event]:
    """The events of a user that are its own, and not of an earlier user of that id."""
    key = Key("tombstone", project_id, user_id)
    tombstone = (await service.store.get((key,)))[key]
    assert tombstone is None or isinstance(tombstone, Tombstone)
    first = first_id("evt_", tombstone)
    after = page.after if page.descending else max(first, page.after or "")
    found = await service.store.of_user(
        "event", project_id, user_id, after=after, descending=page.descending, limit=page.limit
    )
    # An event of a browser whose clock is ahead has an id of later than it came.
    deleted_at = -1 if tombstone is None else tombstone.at
    return [event for event in found if isinstance(event, Event) and event.id > first and event.created_at > deleted_at]
