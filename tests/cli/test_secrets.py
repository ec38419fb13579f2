"""No secret is in the log of a server, whatever was asked of it, nor in its database."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.server import BOUND_S, Server, serving, userfold


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_of_a_server_that_was_asked_everything_has_no_secret(tmp_path: Path, log_format: str) -> None:
    with serving(tmp_path / "data", "--access-log", USERFOLD_LOG=log_format) as server:
        created = userfold("keys", "create", "second", "--data", server.data).stdout.strip()
        secrets = {
            server.secret_key,
            created,
            "sk_wrong_but_somebodys",
            "pa55word-in-a-body",
            "pa55word-in-a-query",
            "pa55word-in-a-header",
        }
        for key in (server.secret_key, created, "sk_wrong_but_somebodys"):
            ask_everything(server, key)
    assert len(server.log().splitlines()) > 3
    for secret in secrets:
        assert secret not in server.log()
        assert secret not in server.output
    for key in (server.secret_key, created):
        for path in filter(Path.is_file, server.data.rglob("*")):
            assert path.name == "keys.env" or key.encode() not in path.read_bytes()


def ask_everything(server: Server, key: str) -> None:
    document: dict[str, Any] = {"password": "pa55word-in-a-body"}
    headers = {"x-request-id": "pa55word in a header", "x-other": "pa55word-in-a-header"}
    with server.client(key) as client:
        made = client.put("/v1/users/by-external-id/u-1", json={"name": "Ada"})
        user_id = made.json().get("id", "user_x")
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for path in (
                "/",
                "/nope",
                "/v1/users",
                f"/v1/users/{user_id}x",
                f"/v1/users/{user_id}/history",
                "/v1/nope",
            ):
                for mount in ("", "/clerk"):
                    query = {"token": "pa55word-in-a-query"}
                    client.request(method, mount + path, params=query, json=document, headers=headers)
        client.post("/clerk/v1/users", json=document)
        client.post("/v1/users", content=b'{"pa55word-in-a-body')
        client.patch(f"/v1/users/{user_id}", json={"name": "x" * 300}, headers=headers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S) as connection:
        connection.sendall(b"GET /v1/users HTTP/1.1\r\nAuthorization: Bearer " + key.encode() + b"\r\nnonsense\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
