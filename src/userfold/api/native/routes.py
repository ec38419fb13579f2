"""The route table of the native API. A line without a handler is planned and answers 501."""

from __future__ import annotations

from userfold.api.native import (
    attribute_handlers,
    batch_handlers,
    event_handlers,
    export_handlers,
    handlers,
    image_handlers,
    project_handlers,
    segment_handlers,
    session_handlers,
)
from userfold.api.wire import Route
from userfold.images import IMAGE_BYTES_MAX

PREFIX = "/v1"

ROUTES = (
    Route("POST", "/users", handlers.create_user),
    Route("GET", "/users", handlers.list_users),
    Route("PUT", "/users/by-external-id/{external_id}", handlers.upsert_user),
    Route("GET", "/users/{id}", handlers.read_user),
    Route("PATCH", "/users/{id}", handlers.update_user),
    Route("DELETE", "/users/{id}", handlers.delete_user),
    Route("GET", "/users/{id}/history", handlers.read_history),
    Route("GET", "/users/{id}/export", export_handlers.export_user),
    Route("POST", "/users/{id}/sessions", session_handlers.create_session),
    Route("GET", "/users/{id}/sessions", session_handlers.list_sessions),
    Route("DELETE", "/users/{id}/sessions", session_handlers.revoke_sessions),
    Route("POST", "/users/{id}/events", event_handlers.record_event),
    Route("GET", "/users/{id}/events", event_handlers.list_events),
    Route("PUT", "/users/{id}/segments/{segment_id}", segment_handlers.assign_segment),
    Route("DELETE", "/users/{id}/segments/{segment_id}", segment_handlers.unassign_segment),
    Route("PUT", "/users/{id}/image", image_handlers.set_image, body_bytes_max=IMAGE_BYTES_MAX),
    Route("DELETE", "/users/{id}/image", image_handlers.remove_image),
    Route("POST", "/sessions/verify", session_handlers.verify_session, reads=True),
    Route("GET", "/sessions/{id}", session_handlers.read_session),
    Route("DELETE", "/sessions/{id}", session_handlers.revoke_session),
    Route("POST", "/batch", batch_handlers.run_batch, streams=True),
    Route("GET", "/segments", segment_handlers.list_segments),
    Route("POST", "/segments", segment_handlers.create_segment),
    Route("GET", "/segments/{id}", segment_handlers.read_segment),
    Route("PATCH", "/segments/{id}", segment_handlers.update_segment),
    Route("DELETE", "/segments/{id}", segment_handlers.delete_segment),
    Route("GET", "/attributes", attribute_handlers.list_attributes),
    Route("POST", "/attributes", attribute_handlers.create_attribute),
    Route("GET", "/attributes/{id}", attribute_handlers.read_attribute),
    Route("PATCH", "/attributes/{id}", attribute_handlers.update_attribute),
    Route("DELETE", "/attributes/{id}", attribute_handlers.delete_attribute),
    Route("GET", "/project", project_handlers.read_project),
    Route("PATCH", "/project", project_handlers.update_project),
    Route("GET", "/project/keys", project_handlers.list_keys),
    Route("POST", "/project/keys", project_handlers.create_key),
    Route("DELETE", "/project/keys/{id}", project_handlers.revoke_key),
)
