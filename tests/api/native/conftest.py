"""Every reply that a test of the native API gets is held against `/openapi.json`."""

from __future__ import annotations

import httpx
import pytest

from tests.api.native.described import broken_promises
from tests.server import PEER, InProcess


@pytest.fixture(autouse=True)
def every_reply_is_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply with a status, a code, a header or a member that the document does not know fails the test."""
    send = InProcess.send

    def checked(self: InProcess, request: httpx.Request, *, address: str = PEER) -> httpx.Response:
        reply = send(self, request, address=address)
        assert broken_promises(request, reply) == [], f"{request.method} {request.url}"
        return reply

    monkeypatch.setattr(InProcess, "send", checked)
