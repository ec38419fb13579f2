"""The clock of a real server is set back by an hour: while it runs, and between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import serving
from tests.troubled import program

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

HOUR = 3_600_000
KEY = "sk_" + "k" * 43
ONCE = {"idempotency-key": "one"}


def user_and_history(client: httpx.Client, user_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    user = client.get(f"/v1/users/{user_id}").json()
    return user, client.get(f"/v1/users/{user_id}/history").json()["data"]


def is_signed_in(client: httpx.Client, token: str) -> bool:
    verified: bool = client.post("/v1/sessions/verify", json={"token": token}).json()["active"]
    return verified


def test_a_clock_that_is_set_back_breaks_no_history_no_sign_in_and_no_repetition(tmp_path: Path) -> None:
    clock = tmp_path / "clock"

    def merge(n: int) -> None:
        assert client.patch(f"/v1/users/{user_id}", json={"traits": {"n": n}}).is_success

    with serving(tmp_path / "data", program=program(tmp_path), USERFOLD_SECRET_KEY=KEY) as server:
        with server.client(KEY) as client:
            first = client.post("/v1/users", json={"name": "Ada"}, headers=ONCE).json()
            user_id = first["id"]
            token = client.post(f"/v1/users/{user_id}/sessions", json={}).json()["token"]
            merge(1)
            clock.write_text(str(-HOUR))
            merge(2)
            assert is_signed_in(client, token)
        assert "the clock was set back by 3600" in server.log() or "the clock was set back by 3599" in server.log()
    with serving(tmp_path / "data", program=program(tmp_path), USERFOLD_SECRET_KEY=KEY) as server:
        with server.client(KEY) as client:
            merge(3)
            merge(4)
            user, history = user_and_history(client, user_id)
            assert is_signed_in(client, token)
            again = client.post("/v1/users", json={"name": "Ada"}, headers=ONCE).json()
            assert again == first
            made = client.post("/v1/users", json={}).json()
            (last,) = client.get("/v1/users?order_by=-updated_at&limit=1").json()["data"]
        assert "behind the newest change in the store" in server.log()
    assert [change["version"] for change in history] == list(range(1, user["version"] + 1)) == [1, 2, 3, 4, 5]
    times = [change["at"] for change in history]
    assert times == sorted(times)
    assert times[-2] < times[-1] == user["updated_at"], "each version has its own"
    assert made["created_at"] < first["created_at"], "who is made now seems older"
    assert last["id"] == user_id
