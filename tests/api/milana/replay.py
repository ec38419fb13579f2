"""Replays `captures/*.json`: requests as the SDK sent them from Chromium, and the exact answers.

A capture is `{"title", "headers", "exchanges", "then"}`. `{ses_1}`, `<product id>` and `<publishable key>` are filled
in; a body whose headers say that it is gzip is packed. The answer is compared exactly, after ids and request ids were
masked. `then` says what the native API shows afterwards: fields of the one user and of the session, and all events.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import httpx

from tests.api.milana.page import Page

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.json"))

_MASKED = re.compile(r"(user|ses|req)_[0-9a-z]{24,26}")


class Mask:
    """Replaces ids, each always by the same name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        """`value` with its ids masked."""
        return json.loads(_MASKED.sub(self._name, json.dumps(value)))

    def _name(self, found: re.Match[str]) -> str:
        if found[1] == "req":
            return "<request>"
        number = 1 + sum(name.startswith(f"<{found[1]}_") for name in self.names.values())
        return self.names.setdefault(found[0], f"<{found[1]}_{number}>")

    def filled(self, text: str) -> str:
        """`text` with the ids in place of their names."""
        for id_, name in self.names.items():
            text = text.replace("{" + name[1:-1] + "}", id_)
        return text


def replay(capture: dict[str, Any], page: Page) -> None:
    """Send all requests of a capture, compare all answers, and what is there then."""
    mask = Mask()
    for exchange in capture["exchanges"]:
        reply = page.api.send(_request(exchange["request"], capture["headers"], mask, page))
        assert reply.headers["access-control-allow-origin"] == "*"
        wanted = exchange["answer"]
        assert (reply.status_code, mask(reply.json()) if reply.content else None) == (wanted["status"], wanted["body"])
    page.session_id = next(iter(id_ for id_ in mask.names if id_.startswith("ses_")))
    then = capture["then"]
    external_id = then["user"]["external_id"]
    _compare(then["user"], page.user(external_id))
    mask(page.user(external_id))
    _compare(then["session"], mask(page.session()))
    events = mask(page.events(external_id))
    assert len(events) == len(then["events"])
    for wanted, event in zip(then["events"], events, strict=True):
        _compare(wanted, event)


def _compare(wanted: dict[str, Any], shown: dict[str, Any]) -> None:
    assert {name: shown[name] for name in wanted} == wanted


def _request(captured: dict[str, Any], headers: dict[str, str], mask: Mask, page: Page) -> httpx.Request:
    keys = {"<publishable key>": page.api.keys.publishable, "<product id>": page.product_id}
    if captured["method"] == "OPTIONS":
        headers = {"Origin": headers["Origin"]}  # a preflight brings no key
    sent = {name: mask.filled(keys.get(value, value)) for name, value in {**headers, **captured["headers"]}.items()}
    content = json.dumps(captured["body"], separators=(",", ":")).encode() if "body" in captured else b""
    if sent.get("Content-Encoding") == "gzip":
        content = gzip.compress(content)
    url = "http://userfold.test" + captured["path"]
    return httpx.Request(captured["method"], url, headers=sent, content=content)
