"""The unmodified npm `@clerk/backend` as a client of a real server (tests/node/clerk.mjs asserts what the SDK says)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import BOUND_S, environment, serving

NODE_FOLDER = Path(__file__).parents[2] / "node"


def missing() -> str | None:
    """Why the SDK cannot run here."""
    if shutil.which("node") is None:
        return "there is no Node.js"
    if not (NODE_FOLDER / "node_modules" / "@clerk" / "backend").is_dir():
        return f"@clerk/backend is not installed in {NODE_FOLDER} (make test does that)"
    return None


def run(script: str, *arguments: str) -> Any:
    """The JSON that a script prints; it fails if one of its assertions does."""
    reason = missing()
    if reason is not None:
        # Under CI a test that cannot run is a failure, not a skip.
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    done = subprocess.run(
        ["node", NODE_FOLDER / script, *arguments],
        # CLERK_…: what a developer's shell has set must not reach the SDK.
        env={name: value for name, value in environment().items() if not name.startswith("CLERK_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_javascript_sdk_makes_reads_merges_and_replaces(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        made = run("clerk.mjs", server.url, server.secret_key)
        user = client.get(f"/v1/users/{made['id']}").json()
        changes = history(client, made["id"])
        eve = history(client, made["eve"])
        log = server.log()
    assert eve[1]["operations"][-1] == {"op": "replace", "path": "/password"}
    for secret in ("argon2", "correct horse", "battery staple"):
        assert secret not in json.dumps(eve) + log
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
    page = client.get(f"/v1/users/{user_id}/history?limit=500").json()
    assert page["next_cursor"] is None
    changes: list[dict[str, Any]] = page["data"]
    return changes
