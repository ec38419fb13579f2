"""How a server stops: it answers what is in flight, whatever it is waiting for, and ends with status 0."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import BOUND_S, Server, serving, wait_until


def request(server: Server, number: int) -> bytes:
    body = json.dumps({"name": f"user {number}"}).encode()
    return head(server, number, len(body)) + body


def head(server: Server, number: int, length: int) -> bytes:
    lines = [
        f"PUT /v1/users/by-external-id/u-{number} HTTP/1.1",
        "Host: userfold",
        f"Authorization: Bearer {server.secret_key}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=BOUND_S)


def has_read_all(server: Server) -> None:
    """Return when the server has read what was sent before: it serves its connections in turns."""
    with server.client() as client:
        for _ in range(2):
            assert client.get("/healthz").status_code == 200


def refuses_connections(server: Server) -> bool:
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def database_held(server: Server) -> Iterator[None]:
    """Another process writes to the database, so that the server's writers have to wait."""
    db = sqlite3.connect(server.data / "userfold.db", isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
    finally:
        db.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "data") as server, connect(server) as idle:
        has_read_all(server)
        server.signal(number)
        assert answer(idle) == b""
        assert server.wait() == 0
        assert f"{number.name}: answering what is in flight" in server.log()
        assert server.log().rstrip().endswith("stopped")
        assert "Traceback" not in server.log()


def test_all_requests_in_flight_are_answered_and_kept(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        # The first batch is with the store, which waits; the others gather in the queue.
        connections = [connect(server) for _ in range(20)]
        with database_held(server):
            for number, connection in enumerate(connections):
                connection.sendall(request(server, number))
            has_read_all(server)
            server.signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server), "the server accepts no more connections")
            assert server.process.poll() is None
        answers = [answer(connection) for connection in connections]
        for connection in connections:
            connection.close()
        assert server.wait() == 0
        assert [reply.split(b" ", 2)[1] for reply in answers] == [b"201"] * 20
    with serving(tmp_path / "data") as again, again.client() as client:
        for number in range(20):
            reply = client.put(f"/v1/users/by-external-id/u-{number}", json={})
            assert (reply.status_code, reply.json()["name"]) == (200, f"user {number}")


def test_a_body_that_is_on_its_way_is_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, connect(server) as slow:
        whole = request(server, 1)
        slow.sendall(whole[:-5])
        has_read_all(server)
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(server), "the server accepts no more connections")
        assert server.process.poll() is None
        slow.sendall(whole[-5:])
        assert answer(slow).startswith(b"HTTP/1.1 201 ")
        assert server.wait() == 0
        assert "Traceback" not in server.log()


def test_a_second_interrupt_does_not_wait_for_a_body_that_never_comes(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, connect(server) as stalled:
        stalled.sendall(head(server, 1, 100) + b"{")
        has_read_all(server)
        server.signal(signal.SIGINT)
        wait_until(lambda: refuses_connections(server), "the server accepts no more connections")
        assert server.process.poll() is None
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert b" 201 " not in answer_or_reset(stalled)
        # It did not sit out the time that it gives to what is in flight.
        assert "graceful shutdown exceeded" not in server.log()
    with serving(tmp_path / "data") as again, again.client() as client:
        assert client.put("/v1/users/by-external-id/u-1", json={}).status_code == 201


def answer_or_reset(connection: socket.socket) -> bytes:
    try:
        return answer(connection)
    except ConnectionResetError:
        return b""


def test_a_client_that_left_while_its_update_waited_does_not_stop_the_update(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        with database_held(server):
            with connect(server) as leaving:
                leaving.sendall(request(server, 1))
                has_read_all(server)
            has_read_all(server)
        with server.client() as client:
            reply = client.put("/v1/users/by-external-id/u-1", json={})
            assert (reply.status_code, reply.json()["name"]) == (200, "user 1")
        assert "Traceback" not in server.log()


def test_reads_go_on_while_writers_wait(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client, connect(server) as writer:
        user = client.post("/v1/users", json={"name": "Ada"}).json()
        with database_held(server):
            writer.sendall(request(server, 1))
            has_read_all(server)
            assert client.get(f"/v1/users/{user['id']}").json()["name"] == "Ada"
            assert len(client.get(f"/v1/users/{user['id']}/history").json()["data"]) == 1
            assert client.get("/readyz").status_code == 200
        assert writer.recv(12) == b"HTTP/1.1 201"


def test_a_stopped_server_leaves_its_data_in_one_file(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        client.post("/v1/users", json={})
    left = {path.name: path.stat().st_size for path in server.data.iterdir() if path.is_file()}
    assert set(left) - {"userfold.db-shm"} <= {
        "userfold.db",
        "userfold.db-wal",
        "userfold.db.lock",
        "userfold.lock",
        "keys.env",
        "secret.key",
    }
    assert left.get("userfold.db-wal", 0) == 0
    assert not os.path.exists(server.data / "userfold.db-journal")
