"""What one of Clerk's two SDKs stumbles over and the other does not, at every route. (Values: test_shapes.py.)"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.clerk.test_errors import enveloped
from tests.server import InProcess
from userfold.api.clerk.routes import PREFIX, ROUTES
from userfold.api.wire import Route

# Nothing of this depends on the store.
pytestmark = pytest.mark.parametrize("constructor", ["memory"], indirect=True)

JSON = {"content-type": "application/json", "content-length": "0"}
EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")

(UPLOAD,) = (route for route in ROUTES if (route.method, route.path) == ("POST", "/users/{id}/profile_image"))


def path_of(api: InProcess, route: Route) -> str:
    """The path of a route, about a new user with an email address, a phone number and a session."""
    body = {"email_address": ["ada@example.com"], "phone_number": ["+442079460958"], "username": "ada"}
    user = api.ask("POST", "/clerk/v1/users", body).json()
    session = api.ask("POST", "/clerk/v1/sessions", {"user_id": user["id"]}).json()
    ids = {
        "email_addresses": user["primary_email_address_id"],
        "phone_numbers": user["primary_phone_number_id"],
        "sessions": session["id"],
    }
    id_ = ids.get(route.path.split("/")[1], user["id"])
    parts = ("nothing" if part.startswith("{") and part != "{id}" else part for part in route.path.split("/"))
    return PREFIX + "/".join(parts).replace("{id}", id_)


def told(reply: httpx.Response) -> tuple[int, Any]:
    """The status, and the code of a refusal."""
    body = reply.json()
    return reply.status_code, body["errors"][0]["code"] if "errors" in body else None


@EVERY_ROUTE
def test_an_answer_is_json_without_a_charset_and_a_success_is_200(api: InProcess, route: Route) -> None:
    """With a charset, JavaScript's SDK gives its caller the text; Python's takes no success but 200."""
    path = path_of(api, route)
    for key in (None, "sk_wrong"):
        reply = api.ask(route.method, path, key=key)
        assert reply.headers["content-type"] == "application/json"
        if reply.status_code != 200:
            enveloped(reply, told(reply)[1])
            assert reply.status_code in {*range(400, 500), 501}
        assert (reply.status_code == 401) == (key is not None)


@EVERY_ROUTE
def test_no_body_is_no_body_whatever_its_content_type(api: InProcess, route: Route) -> None:
    """JavaScript's SDK sends a JSON content type with everything, also with a GET, a DELETE and a body of no bytes."""
    path = path_of(api, route)
    without = told(api.ask(route.method, path))
    for user in api.ask("GET", "/clerk/v1/users").json():
        api.ask("DELETE", f"/clerk/v1/users/{user['id']}")
    assert told(api.ask(route.method, path_of(api, route), headers=JSON)) == without
    # An upload needs a form; otherwise only what is in a body can be wrong with it.
    assert without[1] != "request_body_invalid"
    assert (without[1] == "unsupported_content_type") == (route == UPLOAD)
