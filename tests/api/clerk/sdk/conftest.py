"""A real server for the vendor's own clients, and people whom they may ask about."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.clerk.sdk.calls import People
from tests.server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module: each has users of its own."""
    with serving(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Asks the server with its secret key."""
    with server.client() as client:
        yield client


@pytest.fixture
def people(client: httpx.Client) -> People:
    """People whom no other test knows."""
    return People(client)
