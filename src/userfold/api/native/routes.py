"""The route table of the native API. A line without a handler is planned and answers 501."""

from __future__ import annotations

from userfold.api.native import batch_handlers, handlers, project_handlers, session_handlers
from userfold.api.wire import Route

PREFIX = "/v1"

ROUTES = (
    Route("POST", "/users", handlers.create_user),
    Route("GET", "/users", handlers.list_users),
    Route("PUT", "/users/by-external-id/{external_id}", handlers.upsert_user),
    Route("GET", "/users/{id}", handlers.read_user),
    Route("PATCH", "/users/{id}", handlers.update_user),
    Route("DELETE", "/users/{id}", handlers.delete_user),
    Route("GET", "/users/{id}/history", handlers.read_history),
    Route("GET", "/users/{id}/export", None),
    Route("POST", "/users/{id}/sessions", session_handlers.create_session),
    Route("GET", "/users/{id}/sessions", session_handlers.list_sessions),
    Route("DELETE", "/users/{id}/sessions", session_handlers.revoke_sessions),
    Route("GET", "/users/{id}/events", None),
    Route("PUT", "/users/{id}/image", None),
    Route("DELETE", "/users/{id}/image", None),
    Route("POST", "/sessions/verify", session_handlers.verify_session, reads=True),
    Route("GET", "/sessions/{id}", session_handlers.read_session),
    Route("DELETE", "/sessions/{id}", session_handlers.revoke_session),
    Route("POST", "/batch", batch_handlers.run_batch, streams=True),
    Route("GET", "/segments", None),
    Route("POST", "/segments", None),
    Route("GET", "/attributes", None),
    Route("GET", "/project", project_handlers.read_project),
    Route("PATCH", "/project", project_handlers.update_project),
    Route("GET", "/project/keys", project_handlers.list_keys),
    Route("POST", "/project/keys", project_handlers.create_key),
    Route("DELETE", "/project/keys/{id}", project_handlers.revoke_key),
)
