"""The route table of the Milana-compatible API."""

from __future__ import annotations

import msgspec

from userfold.api.milana import errors, handlers
from userfold.api.wire import Route

PREFIX = "/milana"

ROUTES = (
    Route("POST", "/session", handlers.start_session, draws="new_sessions"),
    Route("POST", "/update", handlers.update, draws="writes"),
    Route("POST", "/batch", handlers.record, streams=True, refuse=errors.batch_error_reply),
    Route("POST", "/metrics", handlers.discard),
)

# The SDK puts a slash of its own after an endpoint, also after one that ends with a slash.
MOUNTED = (*ROUTES, *(msgspec.structs.replace(route, path="/" + route.path) for route in ROUTES))
