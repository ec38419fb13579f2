"""10,000 users are walked through both SDKs while others are created."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.api.clerk.sdk.calls import JavaScriptSdk, PythonSdk, javascript_sdk, python_sdk
from tests.server import Server, wait_until

COUNT = 10_000
BATCH = 1_000
PAGE = 500
PAGES_MAX = 2 * COUNT // PAGE  # far more than there are


def make_users(client: httpx.Client) -> set[str]:
    """The ids of all users before anybody walks. Many were made in one millisecond."""
    ids: set[str] = set()
    for _ in range(COUNT // BATCH):
        reply = client.post("/v1/batch", json=[{"action": "create", "user": {"name": "Ada"}}] * BATCH)
        ids |= {result["user"]["id"] for result in reply.json()["data"]}
    assert len(ids) == COUNT
    return ids


@contextmanager
def others_being_created(server: Server) -> Iterator[Callable[[], None]]:
    """Somebody creates one user after the other. What is given back waits for the next one."""
    enough = threading.Event()
    created = itertools.count()
    last = 0

    def create() -> None:
        nonlocal last
        with server.client() as client:
            while not enough.is_set():
                number = next(created)
                body = {"email_address": [f"other{number}@example.com"]}
                assert client.post("/clerk/v1/users", json=body).status_code == 200
                last = number

    def another_is_created() -> None:
        before = last
        wait_until(lambda: last > before, "another user was created")

    thread = threading.Thread(target=create)
    thread.start()
    try:
        yield another_is_created
    finally:
        enough.set()
        thread.join()


def test_nobody_is_missed_while_others_are_created(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    everybody = make_users(client)
    with (
        javascript_sdk(server.url, server.secret_key, tmp_path) as javascript,
        python_sdk(server.url, server.secret_key) as python,
        others_being_created(server) as another_is_created,
    ):
        for order in ("-created_at", "+created_at"):
            seen = by_cursor(javascript, order, everybody, another_is_created)
            assert everybody <= set(seen)
            assert max(seen.values()) == 1
            seen = by_offset(python, order, another_is_created)
            assert everybody <= set(seen)
            # If the newest come first, they push some of the others onto the next page.
            assert any(seen[user_id] > 1 for user_id in everybody) == (order == "-created_at")


def by_cursor(
    sdk: JavaScriptSdk, order: str, everybody: set[str], another_is_created: Callable[[], None]
) -> Counter[str]:
    """How often each user was seen, until everybody was, or there is nobody more."""
    seen: Counter[str] = Counter()
    totals: list[int] = []
    parameters = {"limit": PAGE, "orderBy": order}
    while everybody - set(seen) and len(totals) < PAGES_MAX:
        another_is_created()
        page = sdk.call("users.getUserList", [parameters])
        if not page["data"]:
            break
        seen.update(user["id"] for user in page["data"])
        totals.append(page["totalCount"])
        parameters["startingAfter"] = page["data"][-1]["id"]
    # The count beside each page is of all there are.
    assert totals[0] > COUNT
    assert all(before < after for before, after in itertools.pairwise(totals))
    return seen


def by_offset(sdk: PythonSdk, order: str, another_is_created: Callable[[], None]) -> Counter[str]:
    """How often each user was seen."""
    seen: Counter[str] = Counter()
    for offset in range(0, PAGES_MAX * PAGE, PAGE):
        another_is_created()
        page = sdk.call("users.list", {"request": {"limit": PAGE, "offset": offset, "order_by": order}})
        if not page:
            return seen
        seen.update(user.id for user in page)
    raise AssertionError("a list has no end")
