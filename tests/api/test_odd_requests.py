"""Requests that no client makes by mistake, over a socket: each is answered, and none breaks anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.server import BOUND_S, Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("odd") / "data") as server:
        yield server


def status_of(server: Server, line: bytes, headers: bytes = b"", body: bytes = b"") -> tuple[int, bytes]:
    """The status of the answer to a request that is made by hand, and its `Allow`."""
    key = f"Host: userfold\r\nAuthorization: Bearer {server.secret_key}\r\nConnection: close\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall(line + b" HTTP/1.1\r\n" + key + headers + b"\r\n" + body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head = reply.partition(b"\r\n\r\n")[0].lower()
    return int(head.split()[1]), head.partition(b"\r\nallow: ")[2].partition(b"\r\n")[0]


ODD: list[tuple[bytes, bytes, bytes, int]] = [
    (b"GET /v1/users/%00", b"", b"", 404),
    (b"GET /v1/users/%zz%f", b"", b"", 404),
    (b"GET /v1/users/%ED%A0%80", b"", b"", 404),
    (b"GET /v1/users/\xff\xfe", b"", b"", 400),
    (b"GET /v1/users/" + b"a" * 60_000, b"", b"", 404),
    (b"GET /v1/users?query=%zz%00", b"", b"", 200),
    (b"GET /v1/users?query=%zz%ff%ed%a0%80%00", b"", b"", 400),
    (b"GET /v1/users?external_id=%ed%a0%80", b"", b"", 400),
    (b"GET /v1/users?cursor=1.%ed%a0%80", b"", b"", 400),
    (b"GET /v1/users?%ed%a0%80=1", b"", b"", 400),
    (b"GET /v1/users?cursor=999999999999999999.a&order_by=-updated_at", b"", b"", 200),
    (b"GET /v1/users", b"X-Long: " + b"a" * 1_000_000 + b"\r\n", b"", 200),
    (b"GET /v1/users", b"".join(b"X-%d: a\r\n" % number for number in range(5_000)), b"", 200),
    (b"GET /v1/users", b"X-Request-Id: \xff\xfe\x80\r\n", b"", 200),
    (b"DELETE /v1/users/x", b"Idempotency-Key: " + b"a" * 100_000 + b"\r\n", b"", 400),
    (b"DELETE /v1/users/x?dry_run=true", b"Idempotency-Key: \xe9\r\n", b"", 400),
    (b"DELETE /v1/users/x", b"If-Match: " + b'"a",' * 30_000 + b'"b"\r\n', b"", 404),
    (b"DELETE /v1/users/x", b"If-Match: \xff\xfe\r\n", b"", 400),
    (b"POST /v1/users", b"Content-Type: \xff\xfe\x80\r\nContent-Length: 2\r\n", b"{}", 415),
    (b"POST /v1/users", b"Content-Type: application/json\r\nContent-Length: 5\r\n", b'{"\xff"}', 400),
    (b"POST /v1/users", b"Content-Type: application/json\r\nContent-Length: " + b"9" * 30 + b"\r\n", b"{}", 400),
    (b"FOO /v1/users", b"", b"", 400),
]


@pytest.mark.parametrize(("line", "headers", "body", "status"), ODD, ids=range(len(ODD)))
def test_an_odd_request_is_answered(server: Server, line: bytes, headers: bytes, body: bytes, status: int) -> None:
    assert status_of(server, line, headers, body)[0] == status
    assert "broke" not in server.log()


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "QUERY", "CONNECT", "PROPFIND", "PUT", "DELETE"])
def test_a_method_that_a_path_does_not_take_is_told_those_that_it_does(server: Server, method: str) -> None:
    assert status_of(server, f"{method} /v1/users".encode()) == (405, b"get, head, post")
