"""Replays `captures/*.json`: requests as the vendor's SDKs sent them, and the exact answers.

`sdk/record.py` records them. A capture is `{"title", "headers", "exchanges"}`; `headers` are those of all its requests.
In each exchange the request is sent as it stands, with `{user_1}` in its path and body, and `<secret key>` in its
headers, filled in. The answer is compared exactly, after ids, request ids and times of now were masked: `<user_1>` is
the first user's id wherever it occurs, `<now>` a time during the replay, `<in 7 days>` one 7 days later. An answer that
is a user says under `user` how it differs from `shapes/empty_user.json`, a list of users under `users`; any other is
under `body`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.server import InProcess
from userfold.api.clerk.session_handlers import LIFETIME_MS
from userfold.clock import clock_ms

FOLDER = Path(__file__).parent
PUBLIC_URL = "http://userfold.test"
CAPTURES = sorted((FOLDER / "captures").glob("*.json"))

_ID = re.compile(r"(user|idn|ses|client|img)_[0-9a-z]{26}")
_REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")


class Mask:
    """Replaces what differs from run to run, each id always by the same name."""

    def __init__(self) -> None:
        self.started = clock_ms()
        self.names: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        """`value` with its ids and the times of now masked."""
        if isinstance(value, dict):
            return {name: self(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, str):
            return _REQUEST_ID.sub("<request>", _ID.sub(self._name, value))
        if type(value) is int and self.started <= value <= clock_ms():
            return "<now>"
        if type(value) is int and self.started <= value - LIFETIME_MS <= clock_ms():
            return "<in 7 days>"
        return value

    def _name(self, found: re.Match[str]) -> str:
        kind, id_ = found[1], found[0]
        if id_ not in self.names:
            number = 1 + sum(name.startswith(f"<{kind}_") for name in self.names.values())
            self.names[id_] = f"<{kind}_{number}>"
        return self.names[id_]

    def unmasked(self, text: str) -> str:
        """`text` with the names of ids replaced by the ids."""
        for id_, name in self.names.items():
            text = text.replace("{" + name[1:-1] + "}", id_)
        return text


def shape(name: str) -> Any:
    """A golden file."""
    return json.loads((FOLDER / "shapes" / f"{name}.json").read_text())


def canonical(value: Any) -> str:
    """Text that is equal for equal JSON values, and for no others: 1, 1.0 and true differ."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def replay(capture: dict[str, Any], api: InProcess) -> None:
    """Send all requests of a capture, and compare all answers."""
    mask = Mask()
    for exchange in capture["exchanges"]:
        reply = api.send(_request(exchange["request"], capture["headers"], mask.unmasked, api.keys.secret))
        answer = exchange["answer"]
        wanted = _wanted(answer)
        assert canonical(mask(reply.json())) == canonical(wanted)
        assert reply.status_code == answer["status"]
        assert reply.headers["content-type"] == "application/json"


def _wanted(answer: dict[str, Any]) -> Any:
    if "users" in answer:
        return [shape("empty_user") | differing for differing in answer["users"]]
    return shape("empty_user") | answer["user"] if "user" in answer else answer["body"]


def _request(
    captured: dict[str, Any], headers: dict[str, str], fill_in: Callable[[str], str], secret_key: str
) -> httpx.Request:
    headers = {
        name: value.replace("<secret key>", secret_key)
        for name, value in (headers | captured.get("headers", {})).items()
    }
    return httpx.Request(
        captured["method"], PUBLIC_URL + fill_in(captured["path"]), headers=headers, content=_content(captured, fill_in)
    )


def _content(captured: dict[str, Any], fill_in: Callable[[str], str]) -> bytes:
    if "body_base64" in captured:
        return base64.b64decode(captured["body_base64"])
    return fill_in(json.dumps(captured["body"])).encode() if "body" in captured else b""
