"""What all APIs share: finding a route, the checks before a handler and their order, bodies, request ids, the log.

None of this depends on the store, so the memory store is enough.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from tests.server import BOUND_S, InProcess, Keys, Server, in_process, serving
from userfold.api import bodies, wire
from userfold.api.clerk import routes as clerk
from userfold.api.native import routes as native
from userfold.app import App
from userfold.clock import clock_ms
from userfold.core.records import Change, Key, Record
from userfold.engine import Engine, Limits
from userfold.logs import formatter
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Records, StoreUnavailable

MIB = 1 << 20
TABLES = {"native": (native.PREFIX, native.ROUTES), "clerk": (clerk.PREFIX, clerk.ROUTES)}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, for what only a socket shows."""
    with serving(tmp_path_factory.mktemp("wire") / "data") as server:
        yield server


def code_of(reply: httpx.Response) -> str:
    """The stable code of a refusal, in either API."""
    body = reply.json()
    return str(body["errors"][0]["code"] if "errors" in body else body["code"])


class AsgiReply(NamedTuple):
    """What the application sent: nothing, if the client had gone."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def call(
    api: InProcess,
    method: str,
    path: str,
    *messages: dict[str, Any],
    headers: Sequence[tuple[bytes, bytes]] = (),
    receive: bodies.Receive | None = None,
) -> AsgiReply | None:
    """Call the application as a server does. Reading past the last of `messages` is an error."""
    sent: list[bodies.Message] = []
    left = list(messages)

    async def next_message() -> bodies.Message:
        assert left, "the body was read further than it may be"
        return left.pop(0)

    async def send(message: bodies.Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer " + api.keys.secret.encode()), *headers],
    }
    await api.app(scope, receive or next_message, send)
    if not sent:
        return None
    start, *bodies = sent
    return AsgiReply(start["status"], dict(start["headers"]), b"".join(message["body"] for message in bodies))


# Finding a route.


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v1",
        "/v1/",
        "/v1/nope",
        "/v1/users/",
        "/v1/users/x/",
        "/v1/users/x/nope",
        "/v1/users//history",
        "/v1/users/by-external-id",
        "/v1/users/by-external-id/",
        "/v1/Users/x",
        "/v1/users%2Fx",
        "/v1//users/x",
        "//v1/users/x",
        "/v2/users/x",
        "/clerk",
        "/clerk/v1",
        "/clerk/users/x",
        "/healthz/",
        "/images/other.svg",
    ],
)
def test_nothing_is_at(api: InProcess, path: str) -> None:
    reply = api.ask("GET", path)
    assert reply.status_code == 404
    assert code_of(reply) in ("path_unknown", "resource_not_found")


@pytest.mark.parametrize("prefix", ["/clerk/v2", "/clerk/V1", "/clerk/", "/clerk%2Fv1/v1"])
def test_only_the_whole_prefix_leads_to_an_api(api: InProcess, prefix: str) -> None:
    user = api.user()
    assert api.ask("GET", f"{prefix}/users/{user['id']}").status_code == 404


def test_the_request_target_of_options_that_is_no_path_is_unknown(server: Server) -> None:
    reply = raw(server, b"OPTIONS * HTTP/1.1\r\nHost: userfold\r\nConnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 404 ")


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def refusals(api: InProcess, mount: str) -> Iterator[tuple[str, str, httpx.Response]]:
    """(path, the methods it takes, reply) for each path of an API and each method that it does not take."""
    prefix, routes = TABLES[mount]
    for path in {route.path for route in routes}:
        taken = sorted(route.method for route in routes if route.path == path)
        heads = ["HEAD"] if "GET" in taken else []
        for method in METHODS:
            if method not in taken:
                yield path, ", ".join(sorted(taken + heads)), api.ask(method, prefix + path, key="")


@pytest.mark.parametrize("mount", TABLES)
def test_a_path_refuses_the_methods_that_it_does_not_take(api: InProcess, mount: str) -> None:
    answers = {(reply.status_code, code_of(reply)) for _, _, reply in refusals(api, mount)}
    assert answers == {(405, "method_not_allowed")}


@pytest.mark.parametrize("mount", TABLES)
def test_a_refusal_of_a_method_names_those_that_the_path_takes(api: InProcess, mount: str) -> None:
    for path, taken, reply in refusals(api, mount):
        assert reply.headers.get("allow") == taken, path


@pytest.mark.parametrize("mount", TABLES)
def test_every_route_needs_a_key(api: InProcess, mount: str) -> None:
    prefix, routes = TABLES[mount]
    wanted = (401, "unauthorized" if mount == "native" else "clerk_key_invalid")
    for route in routes:
        reply = api.ask(route.method, prefix + route.path, key="")
        assert (reply.status_code, code_of(reply)) == wanted, route


@pytest.mark.parametrize("mount", TABLES)
def test_a_refusal_for_want_of_a_key_says_what_kind_is_wanted(api: InProcess, mount: str) -> None:
    prefix, routes = TABLES[mount]
    reply = api.ask(routes[0].method, prefix + routes[0].path, key="")
    assert reply.headers.get("www-authenticate") == "Bearer"


@pytest.mark.parametrize("mount", TABLES)
def test_a_planned_route_says_that_it_is_not_built(api: InProcess, mount: str) -> None:
    prefix, routes = TABLES[mount]
    wanted = (501, "not_built" if mount == "native" else "not_implemented")
    before = api.writes
    for route in routes:
        if route.handler is None:
            reply = api.ask(route.method, prefix + route.path, {})
            assert (reply.status_code, code_of(reply)) == wanted, route
            assert f"{route.method} {route.path} is not built" in reply.text
    assert api.writes == before


def test_a_literal_part_of_a_path_is_preferred_to_a_named_one(api: InProcess) -> None:
    assert api.ask("GET", "/clerk/v1/users/count").status_code == 200
    assert api.ask("GET", "/clerk/v1/users/counts").status_code == 404


# What is in a path.


@pytest.mark.parametrize(
    ("encoded", "external_id"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb%3Fc%23d", "a/b?c#d"),
        ("%C3%BC", "ü"),
        ("%25", "%"),
        ("%2525", "%25"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%F0%9F%A6%8A", "🦊"),
        ("a:b@c,d;e=f", "a:b@c,d;e=f"),
        (".%2E", ".."),
        ("history", "history"),
    ],
)
def test_a_part_of_a_path_is_decoded_once(api: InProcess, encoded: str, external_id: str) -> None:
    reply = api.ask("PUT", f"/v1/users/by-external-id/{encoded}", {})
    assert reply.status_code == 201
    assert reply.json()["external_id"] == external_id


@pytest.mark.parametrize("part", ["%FF", "%C3%28", "a%ED%A0%80", "%E2%82"])
def test_a_part_of_a_path_that_is_not_utf8_names_nothing(api: InProcess, part: str) -> None:
    before = api.writes
    assert api.ask("GET", f"/v1/users/{part}").status_code == 404
    assert api.ask("PUT", f"/v1/users/by-external-id/{part}", {}).status_code == 404
    assert api.writes == before


# HEAD.


@pytest.mark.parametrize("path", ["/healthz", "/", "/images/default.svg", "/v1/users/{id}", "/clerk/v1/users/{id}"])
def test_head_answers_like_get_without_the_body(api: InProcess, path: str) -> None:
    path = path.format(id=api.user()["id"])
    get, head = api.ask("GET", path), api.ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert own_headers(head) == own_headers(get)


def own_headers(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "x-request-id"}


def test_the_body_of_a_reply_to_head_is_empty_before_a_server_could_drop_it(api: InProcess) -> None:
    end = {"type": "http.request", "body": b"", "more_body": False}
    reply = api.runner.run(call(api, "HEAD", "/healthz", end))
    assert reply is not None
    assert (reply.status, reply.body, reply.headers[b"content-length"]) == (200, b"", b"15")


def test_head_of_a_refusal_has_no_body_either(api: InProcess) -> None:
    head = api.ask("HEAD", "/v1/users/nobody")
    assert (head.status_code, head.content) == (404, b"")
    assert api.ask("HEAD", "/v1/batch").status_code == 405


# The order of the checks. The first request is wrong in everything; after each answer, what it complained of is mended.

BUILT = {"native": ("PATCH", "/v1/users/nobody"), "clerk": ("PATCH", "/clerk/v1/users/nobody/metadata")}
# Of the native API nothing is planned: it is asked for what is built one step earlier.
PLANNED = {"native": BUILT["native"], "clerk": ("DELETE", "/clerk/v1/users/nobody/trusted_devices/device_1")}
ALL_WRONG: dict[str, Any] = {
    "method": "FOO",
    "path": "nope",
    "key": "",
    "headers": {"content-length": str(2 * MIB), "clerk-api-version": "1999-01-01"},
    "content_type": "text/plain",
    "content": b"{",
}

# The native API's answer, Clerk's, and what is mended after it. Only Clerk's clients send a version.
ORDER: list[tuple[tuple[int, str] | None, tuple[int, str], dict[str, Any]]] = [
    ((404, "path_unknown"), (404, "resource_not_found"), {"path": "planned"}),
    ((405, "method_not_allowed"), (405, "method_not_allowed"), {"method": None}),
    ((401, "unauthorized"), (401, "clerk_key_invalid"), {"key": None}),
    (None, (501, "not_implemented"), {"path": "built"}),
    ((413, "body_too_large"), (413, "request_body_too_large"), {"headers": {"clerk-api-version": "1999-01-01"}}),
    (None, (400, "api_version_invalid"), {"headers": {}}),
    ((415, "content_type_unsupported"), (415, "unsupported_content_type"), {"content_type": "application/json"}),
    ((400, "json_invalid"), (400, "request_body_invalid"), {"content": b"{}"}),
    ((404, "user_not_found"), (404, "resource_not_found"), {}),
]


@pytest.mark.parametrize("mount", TABLES)
def test_the_first_thing_that_is_wrong_decides_the_answer(api: InProcess, mount: str) -> None:
    before = api.writes
    sent = dict(ALL_WRONG)
    for of_native, of_clerk, mended in ORDER:
        wanted = of_native if mount == "native" else of_clerk
        if wanted is not None:
            method, path = {"built": BUILT, "planned": PLANNED}.get(sent["path"], {}).get(mount, ("", ""))
            path = path or f"{TABLES[mount][0]}/nope"
            rest = {name: value for name, value in sent.items() if name not in ("method", "path")}
            reply = api.ask(sent["method"] or method, path, **rest)
            assert (reply.status_code, code_of(reply)) == wanted
        sent |= mended
    assert api.writes == before


# Bodies.


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("prefix", ["/v1/users", "/clerk/v1/users"])
def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not(api: InProcess, prefix: str) -> None:
    largest = b"{}" + b" " * (MIB - 2)
    assert api.ask("POST", prefix, content=largest).status_code in (200, 201)
    before = api.writes
    assert api.ask("POST", prefix, content=largest + b" ").status_code == 413
    assert api.writes == before


def test_a_body_of_unknown_length_is_cut_off_at_the_largest_size(api: InProcess) -> None:
    headers = {"authorization": f"Bearer {api.keys.secret}", "content-type": "application/json"}
    url = "http://userfold.test/v1/users"
    too_large = httpx.Request("POST", url, headers=headers, content=chunks(MIB + 1024))
    assert "content-length" not in too_large.headers
    assert api.send(too_large).status_code == 413
    largest = httpx.Request("POST", url, headers=headers, content=chunks(MIB))
    assert code_of(api.send(largest)) == "json_invalid"


def test_a_body_that_is_declared_too_large_is_not_read(api: InProcess) -> None:
    declared = [(b"content-length", str(MIB + 1).encode())]
    reply = api.runner.run(call(api, "POST", "/v1/users", headers=declared))
    assert reply is not None
    assert reply.status == 413


def test_a_body_that_arrives_in_one_piece_may_not_be_too_large_either(api: InProcess) -> None:
    before = api.writes
    body = {"type": "http.request", "body": b"{}" + b" " * MIB, "more_body": False}
    reply = api.runner.run(call(api, "POST", "/v1/users", body, headers=[(b"content-type", b"application/json")]))
    assert reply is not None
    assert reply.status == 413
    assert api.writes == before


def test_a_body_in_many_pieces_is_put_together(api: InProcess) -> None:
    pieces = [{"type": "http.request", "body": bytes([byte]), "more_body": True} for byte in b'{"name":"Ada"}']
    end = {"type": "http.request", "body": b"", "more_body": False}
    json_type = [(b"content-type", b"application/json")]
    reply = api.runner.run(call(api, "POST", "/v1/users", *pieces, end, headers=json_type))
    assert reply is not None
    assert json.loads(reply.body)["name"] == "Ada"


def test_a_client_that_goes_away_within_its_body_gets_no_answer_and_stores_nothing(
    api: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    before = api.writes
    part = {"type": "http.request", "body": b'{"name":"A', "more_body": True}
    gone = {"type": "http.disconnect"}
    for messages in ([part, gone], [gone]):
        assert api.runner.run(call(api, "POST", "/v1/users", *messages)) is None
    assert api.writes == before
    assert not caplog.records


def raw(server: Server, request: bytes) -> bytes:
    """All that a server answers to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_connection_is_of_use_after_a_body_that_was_too_large(server: Server) -> None:
    head = f"POST /v1/users HTTP/1.1\r\nHost: userfold\r\nAuthorization: Bearer {server.secret_key}\r\n"
    declared = f"{head}Content-Length: {2 * MIB}\r\n\r\n".encode() + b" " * (2 * MIB)
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + piece * 32 + b"0\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: userfold\r\nConnection: close\r\n\r\n"
    reply = raw(server, declared + chunked + last)
    assert re.findall(rb"HTTP/1\.1 (\d+)", reply) == [b"413", b"413", b"200"]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_offer_of_another_protocol_is_passed_over(server: Server, protocol: str) -> None:
    lines = [
        "GET /v1/users/nobody HTTP/1.1",
        "Host: userfold",
        f"Authorization: Bearer {server.secret_key}",
        "Connection: Upgrade, close",
        f"Upgrade: {protocol}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
    assert "Traceback" not in server.log()


def test_a_client_that_waits_for_leave_to_send_too_much_is_refused_at_once(server: Server) -> None:
    head = f"POST /v1/users HTTP/1.1\r\nHost: userfold\r\nAuthorization: Bearer {server.secret_key}\r\n"
    expecting = f"{head}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {MIB + 1}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall(expecting)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_closes_its_connection_within_a_body_harms_nobody(server: Server) -> None:
    head = f"POST /v1/users HTTP/1.1\r\nHost: userfold\r\nAuthorization: Bearer {server.secret_key}\r\n"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
            connection.sendall(
                f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n".encode() + b'{"na'
            )
    with server.client() as client:
        assert client.get("/healthz").status_code == 200
    assert "Traceback" not in server.log()
    assert not re.search(r"^\S+ error ", server.log(), re.MULTILINE)


def test_updates_are_applied_in_the_order_in_which_their_bodies_were_complete(api: InProcess) -> None:
    user = api.user(external_id="u-1")
    routes = [
        ("PATCH", f"/v1/users/{user['id']}"),
        ("PUT", "/v1/users/by-external-id/u-1"),
        ("PATCH", f"/clerk/v1/users/{user['id']}/metadata"),
        ("PUT", f"/clerk/v1/users/{user['id']}/metadata"),
    ]
    order = list(range(40))
    random.Random(1).shuffle(order)
    waiting: list[int] = []  # the requests whose bodies are being read
    all_wait = asyncio.Event()

    async def ask_all() -> None:
        complete = [asyncio.Event() for _ in order]
        calls = [asyncio.create_task(ask_when(complete[number], number)) for number in range(len(order))]
        await all_wait.wait()
        for number in order:
            complete[number].set()
            await asyncio.sleep(0)
        await asyncio.gather(*calls)

    async def ask_when(complete: asyncio.Event, number: int) -> None:
        body = json.dumps({"public_metadata": {"number": number}}).encode()

        async def receive() -> bodies.Message:
            waiting.append(number)
            if len(waiting) == len(order):
                all_wait.set()
            await complete.wait()
            return {"type": "http.request", "body": body, "more_body": False}

        method, path = routes[number % len(routes)]
        reply = await call(api, method, path, receive=receive, headers=[(b"content-type", b"application/json")])
        assert reply is not None
        assert reply.status == 200

    api.runner.run(ask_all())
    told = [change["operations"][0]["new"] for change in api.history(user["id"])[1:]]
    assert told == order


# Headers of replies.


def test_a_reply_without_content_has_no_content_length(api: InProcess) -> None:
    user = api.user()
    reply = api.ask("DELETE", f"/v1/users/{user['id']}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-length" not in reply.headers
    assert reply.headers["x-request-id"].startswith("req_")


# Request ids.


@pytest.mark.parametrize("given", ["a", "req_1", "A-Z.z:9+/=_-", "x" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-01"])
def test_a_sane_request_id_is_kept(api: InProcess, given: str) -> None:
    reply = api.ask("GET", "/v1/users/nobody", headers={"x-request-id": given})
    assert reply.headers["x-request-id"] == given
    assert reply.json()["request_id"] == given
    clerk_reply = api.ask("GET", "/clerk/v1/users/nobody", headers={"x-request-id": given})
    assert clerk_reply.headers["x-request-id"] == given
    assert clerk_reply.json()["clerk_trace_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "a\tb", "a%b", "a,b", "<a>", "\\", "é"])
def test_any_other_request_id_is_replaced(api: InProcess, given: str) -> None:
    headers = [(b"x-request-id", given.encode("latin-1"))]
    message = {"type": "http.request", "body": b"", "more_body": False}
    reply = api.runner.run(call(api, "GET", "/v1/users/nobody", message, headers=headers))
    assert reply is not None
    made = reply.headers[b"x-request-id"].decode()
    assert re.fullmatch(r"req_[0-9a-f]{24}", made)
    assert json.loads(reply.body)["request_id"] == made


def test_requests_without_an_id_are_given_different_ones(api: InProcess) -> None:
    assert len({api.ask("GET", "/healthz").headers["x-request-id"] for _ in range(20)}) == 20


def test_the_history_says_by_which_request_a_change_was_made(api: InProcess) -> None:
    user = api.user()
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Ada"}, headers={"x-request-id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    assert [change["request_id"] for change in api.history(user["id"])][1:] == ["mine-1"]


# What goes wrong in the server itself.


class Broken(MemoryStore):
    """A store that has a defect, or has lost its database, once `error` is set."""

    error: Exception | None = None

    async def get(self, keys: Sequence[Key]) -> Records:
        if self.error is not None:
            raise self.error
        return await super().get(keys)

    async def list(self, kind: str) -> Sequence[Record]:
        if isinstance(self.error, StoreUnavailable):
            raise self.error
        return await super().list(kind)

    async def history(self, project_id: str, user_id: str, *, after: int, up_to: int, limit: int) -> Sequence[Change]:
        if self.error is not None:
            raise self.error
        return await super().history(project_id, user_id, after=after, up_to=up_to, limit=limit)


@pytest.fixture
def broken(runner: asyncio.Runner) -> Iterator[InProcess]:
    with in_process(runner, Broken()) as api:
        yield api


def breaks(api: InProcess, error: Exception) -> None:
    assert isinstance(api.store.inner, Broken)
    api.store.inner.error = error


@pytest.mark.parametrize(
    ("path", "code"), [("/v1/users/x", "internal_error"), ("/clerk/v1/users/x", "internal_clerk_error")]
)
def test_a_defect_is_a_500_whose_request_the_log_knows_and_whose_text_the_caller_does_not(
    broken: InProcess, caplog: pytest.LogCaptureFixture, path: str, code: str
) -> None:
    breaks(broken, ValueError("the secret of the house"))
    reply = broken.ask("GET", path, headers={"x-request-id": "find-me"})
    assert (reply.status_code, code_of(reply)) == (500, code)
    assert "secret of the house" not in reply.text
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "(request find-me)" in formatter("text").format(record)
    assert record.exc_info is not None
    assert "retry-after" not in reply.headers


def test_a_path_cannot_forge_a_line_of_the_log(broken: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="userfold.api")
    breaks(broken, ValueError("a defect"))
    broken.ask("GET", "/v1/users/x%0A2026-01-01%20error%20forged")
    broken.ask("GET", "/v1/nope%0Aforged")
    assert len(caplog.records) == 2
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


@pytest.mark.parametrize(
    ("path", "code"), [("/v1/users/x", "store_unavailable"), ("/clerk/v1/users/x", "service_unavailable")]
)
def test_a_store_that_cannot_be_reached_is_a_503_that_asks_to_come_back(
    broken: InProcess, path: str, code: str
) -> None:
    breaks(broken, StoreUnavailable("cannot open /srv/secret/path"))
    reply = broken.ask("GET", path)
    assert (reply.status_code, code_of(reply)) == (503, code)
    assert reply.headers["retry-after"] == "1"
    assert "/srv/secret" not in reply.text


def test_who_shows_no_key_is_told_so_although_the_store_cannot_be_reached(broken: InProcess) -> None:
    breaks(broken, StoreUnavailable("gone"))
    broken.app.service.directory.forget()
    assert broken.ask("GET", "/v1/users/x", key="").status_code == 401
    assert broken.ask("GET", "/v1/users/x").status_code == 503


def test_a_server_that_is_stopping_refuses_writes_and_is_not_ready(api: InProcess) -> None:
    user = api.user(name="Ada")
    api.runner.run(api.app.service.engine.close())
    for reply in (
        api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Bea"}),
        api.ask("PATCH", f"/clerk/v1/users/{user['id']}/metadata", {"public_metadata": {"a": 1}}),
        api.ask("GET", "/readyz"),
    ):
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
    assert api.read(user["id"]) == user
    assert api.ask("GET", "/healthz").status_code == 200


def test_closing_answers_what_is_waiting_and_refuses_what_comes_later(api: InProcess) -> None:
    user = api.user()

    async def ask(name: str) -> int:
        body = {"type": "http.request", "body": json.dumps({"name": name}).encode(), "more_body": False}
        json_type = [(b"content-type", b"application/json")]
        reply = await call(api, "PATCH", f"/v1/users/{user['id']}", body, headers=json_type)
        assert reply is not None
        return reply.status

    async def ask_and_close() -> None:
        asking = [asyncio.create_task(ask(f"name {number}")) for number in range(5)]
        await asyncio.sleep(0)
        await api.app.close()
        assert api.app.service.engine.stopping
        assert await asyncio.gather(*asking) == [200] * 5
        assert await ask("too late") == 503

    api.runner.run(ask_and_close())
    assert api.read(user["id"])["name"] == "name 4"


def test_requests_for_which_there_is_no_room_are_refused_and_not_stored(api: InProcess) -> None:
    """The limits are the engine's; here it is that an API counts the bytes of its bodies against them."""
    user = api.user()
    service = api.app.service
    narrow = Engine(service.store, clock_ms=clock_ms, limits=Limits(queue_bytes_max=100))
    api.app = App(msgspec.structs.replace(service, engine=narrow))
    before = api.writes
    for method, path, bag in [
        ("PATCH", f"/v1/users/{user['id']}", "traits"),
        ("PATCH", f"/clerk/v1/users/{user['id']}/metadata", "public_metadata"),
    ]:
        reply = api.ask(method, path, {bag: {"a": "x" * 100}})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert code_of(reply) in ("overloaded", "service_unavailable")
        assert api.writes == before
        assert api.ask(method, path, {bag: {"a": "x"}}).status_code == 200
        before = api.writes


# Operations.


def test_a_server_is_ready_only_while_its_store_answers(broken: InProcess) -> None:
    assert broken.ask("GET", "/readyz", key="").json() == {"status": "ready"}
    breaks(broken, StoreUnavailable("gone"))
    assert broken.ask("GET", "/readyz", key="").status_code == 503
    assert broken.ask("GET", "/healthz", key="").json() == {"status": "ok"}


def test_the_root_says_what_answers(api: InProcess) -> None:
    about = api.ask("GET", "/", key="").json()
    assert about["name"] == "Userfold"
    assert about["apis"] == ["/v1", "/clerk/v1", "/milana"]


def test_the_default_image_is_an_svg_that_browsers_take_for_one(api: InProcess) -> None:
    reply = api.ask("GET", "/images/default.svg", key="")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.content.startswith(b"<svg ")


# Unknown paths are in the log, once each.


def test_an_unknown_path_is_logged_once(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="userfold.api")
    for _ in range(3):
        for method in ("GET", "POST"):
            api.ask(method, "/clerk/v1/jwks")
        api.ask("GET", "/v1/nope")
        api.ask("GET", "/nope")
        api.ask("GET", "/v1/users/%FF")
    assert [record.getMessage() for record in caplog.records] == [
        "the clerk API has nothing at 'GET /clerk/v1/jwks'",
        "the clerk API has nothing at 'POST /clerk/v1/jwks'",
        "the native API has nothing at 'GET /v1/nope'",
        "the operations API has nothing at 'GET /nope'",
        "the native API has nothing at 'GET /v1/users/\ufffd'",
    ]


def test_unknown_paths_cannot_fill_the_log(api: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="userfold.api")

    async def ask_for_many() -> None:
        for number in range(wire.UNKNOWN_PATHS_LOGGED_MAX + 10):
            await call(api, "GET", f"/v1/nope/{number}/{'x' * 1000}")

    api.runner.run(ask_for_many())
    assert len(caplog.records) == wire.UNKNOWN_PATHS_LOGGED_MAX
    assert max(len(record.getMessage()) for record in caplog.records) < 300


# Keys.


def test_all_keys_that_are_not_a_valid_secret_key_get_one_answer(api: InProcess, other: Keys) -> None:
    assert api.ask("GET", "/v1/users/nobody", key=other.secret).status_code == 404
    answers = set()
    for authorization in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {api.keys.secret}",
        api.keys.secret,
        f"Bearer {api.keys.secret}x",
        f"Bearer {api.keys.secret[:-1]}",
        f"Bearer {api.keys.publishable}",
        f"Bearer {api.keys.secret} {api.keys.secret}",
        "Bearer sk_é",
    ):
        headers = {} if authorization is None else {b"authorization": authorization.encode()}
        request = httpx.Request("GET", "http://userfold.test/v1/users/nobody", headers=headers)
        reply = api.send(request)
        assert reply.status_code == 401
        answers.add((reply.text.replace(reply.headers["x-request-id"], ""), str(own_headers(reply))))
    assert len(answers) == 1


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_the_word_bearer_is_read_as_the_standard_says(api: InProcess, scheme: str) -> None:
    request = httpx.Request(
        "GET", "http://userfold.test/v1/users/nobody", headers={"authorization": scheme + api.keys.secret}
    )
    assert api.send(request).status_code == 404


def test_a_server_says_nothing_about_what_it_is_made_of(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        assert "server" not in client.get("/healthz").headers
