"""The unmodified PyPI `clerk-backend-api` behind a proxy that holds an answer for longer than it waits.

It gives up after five seconds and sends its request again, without an idempotency key. One user must come of it, and
no error.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clerk_backend_api import Clerk
from clerk_backend_api.models import ClerkErrors

from tests.server import BOUND_S, Server, serving, start

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

HELD_S = 6.5  # longer than the SDK waits


@dataclass
class Proxy:
    """Hands requests on at once. The answers of its first connection come late, all others at once."""

    upstream: int
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)  # the server has given the first answer
    given_up: threading.Event = field(default_factory=threading.Event)  # its client waits for it no longer
    ended: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            is_first = not self.requests
            self.requests.append(b"")
            threading.Thread(target=self._connect, args=(client, is_first), daemon=True).start()

    def _connect(self, client: socket.socket, is_first: bool) -> None:
        number = len(self.requests) - 1
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            back = threading.Thread(target=self._hand_back, args=(server, client, is_first), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while chunk := client.recv(65_536):
                    self.requests[number] += chunk
                    server.sendall(chunk)
            if is_first:
                self.given_up.set()
            back.join(HELD_S)  # the server is not told that its client has gone

    def _hand_back(self, server: socket.socket, client: socket.socket, is_first: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(65_536):
                if is_first:
                    self.answered.set()
                    self.ended.wait(HELD_S)
                client.sendall(chunk)


@contextlib.contextmanager
def proxying(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.port = listener.getsockname()[1]
        serving_ = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        serving_.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            serving_.join(BOUND_S)


def test_a_creation_whose_answer_comes_too_late_is_one_user_and_no_error(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, proxying(server) as proxy:
        clerk = Clerk(bearer_auth=server.secret_key, server_url=f"http://127.0.0.1:{proxy.port}/clerk/v1")
        with clerk:
            user = clerk.users.create(email_address=["ada@example.com"], first_name="Ada", skip_password_checks=True)
            assert proxy.given_up.is_set(), "the SDK did not give up, so this test shows nothing"
            sent = [request for request in proxy.requests if request]
            bodies = {request.partition(b"\r\n\r\n")[2] for request in sent}
            assert (len(sent), len(bodies)) == (2, 1), "the SDK sends the same again"
            with server.client() as client:
                page = client.get("/v1/users").json()["data"]
                history = client.get(f"/v1/users/{user.id}/history").json()["data"]
            assert [(one["id"], one["first_name"]) for one in page] == [(user.id, "Ada")]
            assert len(history) == 1
            assert user.email_addresses[0].email_address == "ada@example.com"
            with pytest.raises(ClerkErrors) as refused:
                clerk.users.create(email_address=["ada@example.com"], first_name="Another")
            assert refused.value.data.errors[0].code == "form_identifier_exists"


def test_so_it_is_if_the_server_dies_in_between(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, proxying(server) as proxy:
        key, made = server.secret_key, []
        clerk = Clerk(bearer_auth=key, server_url=f"http://127.0.0.1:{proxy.port}/clerk/v1")

        def create() -> None:
            made.append(clerk.users.create(external_id="ext-1", first_name="Ada"))

        asking = threading.Thread(target=create)
        asking.start()
        assert proxy.answered.wait(BOUND_S)
        server.kill()
        again = start(tmp_path / "data", "--port", str(server.port))
        try:
            asking.join(BOUND_S)
            with again.client(key) as client:
                page = client.get("/v1/users").json()["data"]
            assert [one["id"] for one in page] == [user.id for user in made]
            assert len(page) == 1
        finally:
            again.stop()
