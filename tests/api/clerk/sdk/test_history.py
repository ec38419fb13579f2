"""What the history says of users that JavaScript's SDK made and changed, and what it and the log must not say."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.api.clerk.sdk.calls import output, run_javascript, start_javascript
from tests.server import Server


def test_the_history_says_what_each_call_changed(server: Server, client: httpx.Client) -> None:
    made = run_javascript("clerk.mjs", server.url, server.secret_key)
    user = client.get(f"/v1/users/{made['id']}").json()
    changes = history(client, made["id"])
    eve = history(client, made["eve"])
    assert eve[1]["operations"][-1] == {"op": "replace", "path": "/password"}
    for secret in ("argon2", "correct horse", "battery staple"):
        assert secret not in json.dumps(eve) + server.log()
    seen = made["user"]
    for bag in ("public_metadata", "private_metadata", "unsafe_metadata"):
        assert seen[bag] == user[bag]
    assert {name: user[name] for name in ("external_id", "username", "first_name", "last_name", "created_at")} == {
        name: seen[name] for name in ("external_id", "username", "first_name", "last_name", "created_at")
    }
    assert [change["version"] for change in changes] == list(range(1, user["version"] + 1))
    assert {change["source"] for change in changes} == {"clerk"}
    # The creation, three merges and a replacement, of which each call is one change; then fifty at once.
    assert len(changes) == 5 + 50
    told = [[(o["op"], o["path"]) for o in change["operations"]] for change in changes]
    assert ("add", "/public_metadata") in told[0]
    assert told[1] == [
        ("replace", "/public_metadata/prefs/theme"),
        ("add", "/public_metadata/prefs/nested/add"),
        ("add", "/public_metadata/camelCaseKey/newKey"),
    ]
    assert told[2] == [("remove", "/public_metadata/plan"), ("remove", "/public_metadata/prefs/nested/drop")]
    assert told[3] == [
        ("replace", "/public_metadata/tags"),
        ("remove", "/private_metadata/stripeId"),
        ("add", "/private_metadata/flags"),
        ("replace", "/unsafe_metadata/step"),
    ]
    assert told[4] == [
        ("remove", "/unsafe_metadata/step"),
        ("remove", "/unsafe_metadata/uni"),
        ("add", "/unsafe_metadata/fresh"),
    ]
    assert sorted(path for change in told[5:] for _, path in change) == sorted(
        ["/private_metadata/counts"]
        + [f"/private_metadata/counts/n{n}" for n in range(50) if f"n{n}" not in first_counts(changes)]
    )


def first_counts(changes: list[dict[str, Any]]) -> dict[str, int]:
    """The object that the first of the fifty brought; the others added to it."""
    (operation,) = changes[5]["operations"]
    assert operation["op"] == "add"
    counts: dict[str, int] = operation["new"]
    return counts


def history(client: httpx.Client, user_id: str) -> list[dict[str, Any]]:
    """All changes of a user, oldest first."""
    changes: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/users/{user_id}/history?limit=500{cursor}").json()
        changes += page["data"]
        if page["next_cursor"] is None:
            return changes
        cursor = f"&cursor={page['next_cursor']}"


def test_a_thousand_keys_that_two_processes_merge_at_once_are_all_there(server: Server, client: httpx.Client) -> None:
    user_id = client.post("/clerk/v1/users", json={"private_metadata": {"kept": True}}).json()["id"]
    arguments = (server.url, server.secret_key, user_id, "500")
    processes = [start_javascript("merge.mjs", *arguments, *prefixes) for prefixes in ("ab", "ba")]
    answered = [output(process) for process in processes]
    wanted = {f"{prefix}{number}": number for prefix in "ab" for number in range(500)}
    merged = client.get(f"/clerk/v1/users/{user_id}").json()["private_metadata"]
    assert merged == {"kept": True, "keys": wanted}
    # Each call was answered with its own key merged into what was there.
    assert answered == [{"merged": 500}, {"merged": 500}]
    changes = history(client, user_id)
    assert [change["version"] for change in changes] == list(range(1, 1002))
    first, *later = (operation for change in changes[1:] for operation in change["operations"])
    assert (first["op"], first["path"], len(first["new"])) == ("add", "/private_metadata/keys", 1)
    told = first["new"] | {operation["path"].rpartition("/")[2]: operation["new"] for operation in later}
    assert told == wanted
    # Neither merged a second key before the other had merged a first one.
    assert list(told)[:2] in (["a0", "b0"], ["b0", "a0"])
