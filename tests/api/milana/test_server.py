"""What only a real server can show: long header lines, bodies that it does not read, and requests that overlap."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx

from tests.api.milana.page import HEADERS, Page
from tests.server import PEER, read_keys, serving


def test_an_address_of_any_length_and_a_batch_of_any_size_are_taken(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=60) as pages:
        keys = read_keys(server.data)
        pages.headers.update(HEADERS)
        pages.headers["X-Milana-Client-Key"] = keys["USERFOLD_PUBLISHABLE_KEY"]
        pages.headers["X-Milana-Product-Id"] = keys["USERFOLD_PRODUCT_ID"]
        address = "https://a.example/?token=S3CRET&q=" + "x" * 32_000
        begun = pages.post("/milana//session", json={}, headers={"X-Milana-Referrer": address}).json()
        with server.client() as client:
            context = client.get(f"/v1/sessions/{begun['sessionId']}").json()["context"]
        assert context["entry_url"].startswith("https://a.example/?token=--redacted--&q=xxx")
        pages.headers["X-Milana-Session-Id"] = begun["sessionId"]
        for content, packed in [(b" " * 20_000_000, False), (gzip.compress(b" " * 60_000_000), True)]:
            reply = pages.post("/milana/batch", content=content, headers={"Content-Encoding": "gzip"} if packed else {})
            assert (reply.status_code, reply.json()["success"]) == (200, True)
            assert pages.post("/milana/update", json={"user": {"userId": "u-1"}}).json()["success"]


def test_what_was_said_before_init_is_sent_at_once_and_applied_in_its_order(page: Page) -> None:
    page.init()
    headers = HEADERS | {"X-Milana-Product-Id": page.product_id, "X-Milana-Client-Key": page.api.keys.publishable}
    bodies: list[dict[str, Any]] = [{"user": {"userId": "u-1", "metadata": {"n": n}}} for n in range(1, 21)]

    async def replay() -> list[httpx.Response]:
        transport = httpx.ASGITransport(page.api.app, client=(PEER, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://userfold.test", headers=headers) as client:
            client.headers["X-Milana-Session-Id"] = page.session_id
            return await asyncio.gather(*(client.post("/milana/update", json=body) for body in bodies))

    assert [reply.json()["success"] for reply in page.api.runner.run(replay())] == [True] * 20
    history = page.api.history(page.user("u-1")["id"])
    assert [operation["new"] for change in history[1:] for operation in change["operations"]] == list(range(2, 21))
    assert page.user("u-1")["traits"] == {"n": 20}
