"""Clerk's envelope around every refusal, its content type, and the version header."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess
from userfold.api.clerk.errors import TABLE
from userfold.api.wire import NotBuilt
from userfold.core.errors import CommandBroken
from userfold.engine import Busy
from userfold.storage.port import StoreError, StoreFull

BAD_BODIES: dict[str, tuple[bytes, str, int, str]] = {
    "broken JSON": (b'{"a', "application/json", 400, "request_body_invalid"),
    "a list": (b"[]", "application/json", 400, "request_body_invalid"),
    "a key twice": (b'{"public_metadata": {"a": 1, "a": 2}}', "application/json", 400, "request_body_invalid"),
    "NaN": (b'{"public_metadata": {"a": NaN}}', "application/json", 400, "request_body_invalid"),
    "1e400": (b'{"public_metadata": {"a": 1e400}}', "application/json", 400, "request_body_invalid"),
    "a lone surrogate": (b'{"public_metadata": {"a": "\\ud800"}}', "application/json", 400, "request_body_invalid"),
    "101 levels": (b'{"a":' * 101 + b"1" + b"}" * 101, "application/json", 400, "request_body_invalid"),
    "33 levels": (
        b'{"public_metadata":' + b'{"a":' * 33 + b"1" + b"}" * 34,
        "application/json",
        422,
        "form_param_value_invalid",
    ),
    "a form": (b"public_metadata=%7B%7D", "application/x-www-form-urlencoded", 415, "unsupported_content_type"),
    "text": (b"{}", "text/plain", 415, "unsupported_content_type"),
    "over 1 MiB": (b"{}" + b" " * (1 << 20), "application/json", 413, "request_body_too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_in_the_envelope_and_nothing_is_stored(api: InProcess, name: str) -> None:
    content, content_type, status, code = BAD_BODIES[name]
    user = api.user(public_metadata={"a": 1})
    before = api.writes
    for method, path in [("POST", ""), ("PATCH", f"/{user['id']}/metadata"), ("PUT", f"/{user['id']}/metadata")]:
        reply = api.ask(method, f"/clerk/v1/users{path}", content=content, content_type=content_type)
        assert reply.status_code == status
        enveloped(reply, code)
    assert api.writes == before
    assert api.read(user["id"]) == user


def enveloped(reply: Any, code: str) -> None:
    """The error body that both SDKs can read."""
    # With `; charset=utf-8` the JavaScript SDK hands its caller the text instead of the errors.
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert set(body) == {"errors", "clerk_trace_id"}
    assert body["clerk_trace_id"] == reply.headers["x-request-id"]
    (error,) = body["errors"]
    assert set(error) == {"code", "message", "long_message", "meta"}
    assert error["code"] == code
    assert all(isinstance(error[name], str) and error[name] for name in ("message", "long_message"))


def test_replies_that_succeed_have_exactly_that_content_type(api: InProcess) -> None:
    made = api.ask("POST", "/clerk/v1/users", {})
    address = f"/clerk/v1/users/{made.json()['id']}"
    for reply in (
        made,
        api.ask("GET", address),
        api.ask("PATCH", f"{address}/metadata", {}),
        api.ask("PUT", f"{address}/metadata", {}),
    ):
        assert reply.status_code == 200  # Python's SDK takes no other success.
        assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
def test_a_user_that_does_not_exist_is_not_found(api: InProcess, method: str) -> None:
    path = "/clerk/v1/users/user_x" + ("" if method == "GET" else "/metadata")
    reply = api.ask(method, path, None if method == "GET" else {})
    assert reply.status_code == 404
    enveloped(reply, "resource_not_found")


def test_unknown_paths_and_missing_keys_are_answered_in_the_envelope(api: InProcess) -> None:
    enveloped(api.ask("GET", "/clerk/v1/jwks"), "resource_not_found")
    enveloped(api.ask("GET", "/clerk/v1/users/user_x", key=""), "clerk_key_invalid")
    enveloped(api.ask("POST", "/clerk/v1/users/user_x"), "method_not_allowed")
    enveloped(api.ask("DELETE", "/clerk/v1/users/user_x/trusted_devices/device_x"), "not_implemented")


def test_a_deleted_user_is_not_found(api: InProcess) -> None:
    user = api.user()
    api.ask("DELETE", f"/v1/users/{user['id']}")
    assert api.ask("GET", f"/clerk/v1/users/{user['id']}").status_code == 404


def test_only_what_may_go_well_later_is_a_5xx() -> None:
    """Python's SDK repeats each of them for up to an hour, whatever the method."""
    temporary = {Busy, StoreError, StoreFull}
    ours = {CommandBroken}  # a defect, which nobody can foresee
    # What Clerk has and Userfold never will is the exception, and its README says what to do about it.
    assert {kind for kind, (status, *_) in TABLE.items() if status >= 500} == temporary | ours | {NotBuilt}


# (header, query) → status. Of the versions, both SDKs' and all that older JavaScript releases sent.
VERSIONS: list[tuple[str | None, str, int]] = [
    (None, "", 200),
    ("2021-02-05", "", 200),
    ("2024-10-01", "", 200),
    ("2025-03-12", "", 200),
    ("2025-04-10", "", 200),
    ("2025-11-10", "", 200),
    ("2026-05-12", "", 200),
    ("2026-05-13", "", 400),
    ("v1", "", 400),
    ("", "", 400),
    (None, "?__clerk_api_version=2026-05-12", 200),
    (None, "?a=b&__clerk_api_version=2021-02-05", 200),
    (None, "?__clerk_api_version=2020-01-01", 400),
    (None, "?__clerk_api_version=", 400),
    ("2026-05-12", "?__clerk_api_version=2026-05-12", 400),
    ("2026-05-12", "?__clerk_api_version=2021-02-05", 400),
    (None, "?__clerk_api_version=2026-05-12&__clerk_api_version=2026-05-12", 400),
    ("2026-05-12", "?clerk_api_version=2020-01-01", 200),
]


@pytest.mark.parametrize(("header", "query", "status"), VERSIONS)
def test_the_version_of_the_api(api: InProcess, header: str | None, query: str, status: int) -> None:
    user = api.user()
    before = api.writes
    headers = {} if header is None else {"Clerk-API-Version": header}
    for method, path in [("GET", ""), ("PATCH", "/metadata")]:
        reply = api.ask(method, f"/clerk/v1/users/{user['id']}{path}{query}", headers=headers)
        assert reply.status_code == status
        if status == 400:
            enveloped(reply, "api_version_invalid")
    assert api.writes == before


def test_the_native_api_has_no_versions(api: InProcess) -> None:
    user = api.user()
    assert api.ask("GET", f"/v1/users/{user['id']}", headers={"Clerk-API-Version": "v1"}).status_code == 200
