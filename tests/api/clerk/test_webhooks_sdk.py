"""The same deliveries for the unmodified npm `@clerk/backend` and for a real server: both take them, or neither."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.api.clerk.deliveries import OTHER_SECRET, SECRET, clerk_user, event, signed
from tests.api.clerk.sdk.calls import run_javascript
from tests.server import serving, userfold

BODY = event("user.created", clerk_user(first_name="Zoë"))


def delivery(body: bytes, *, secret: str = SECRET, at_s: int = 0, changed: str = "") -> dict[str, Any]:
    """A delivery of now. `secret`: what it is signed with; `changed`: what becomes of the body after that."""
    at_s = int(time.time()) + at_s
    signature = signed(body, "msg_1", at_s, secret)
    headers = {"svix-id": "msg_1", "svix-timestamp": str(at_s), "svix-signature": signature}
    headers["content-type"] = "application/json"
    return {"body": body.decode() + changed, "headers": headers, "secret": SECRET}


def test_what_the_sdk_takes_is_taken_here_and_what_it_refuses_is_refused(tmp_path: Path) -> None:
    forged = [delivery(BODY, secret=OTHER_SECRET), delivery(BODY, changed=" "), delivery(BODY, at_s=-400)]
    deliveries = [*forged, delivery(BODY), delivery(event("session.created", {"id": "sess_1"}))]
    events = run_javascript("clerk_webhooks.mjs", json.dumps(deliveries))
    with serving(tmp_path / "data", USERFOLD_CLERK_WEBHOOK_SECRET=SECRET) as server, server.client() as client:
        replies = [
            httpx.post(f"{server.url}/clerk/webhooks", content=one["body"].encode(), headers=one["headers"])
            for one in deliveries
        ]
        user = client.get("/v1/users/user_2abAda").json()
        (change,) = client.get("/v1/users/user_2abAda/history").json()["data"]
        log = server.log()
    assert [reply.is_success for reply in replies] == [event is not None for event in events]
    assert [reply.status_code for reply in replies] == [401, 401, 400, 200, 200]
    assert events[3]["data"]["first_name"] == user["first_name"] == "Zoë"
    assert (change["source"], change["actor"]) == ("clerk", "environment")
    assert SECRET.removeprefix("whsec_") not in log + json.dumps(change)


def test_a_secret_in_the_environment_must_be_one_and_is_not_repeated(tmp_path: Path) -> None:
    for secret in ("plain-text", "whsec_not base64", "whsec_%%%%%%"):
        done = userfold("serve", "--data", tmp_path / "data", USERFOLD_CLERK_WEBHOOK_SECRET=secret)
        assert done.returncode in (1, 2)
        assert "USERFOLD_CLERK_WEBHOOK_SECRET" in done.stderr
        assert secret.removeprefix("whsec_") not in done.stderr
    assert not (tmp_path / "data" / "userfold.db").exists()
