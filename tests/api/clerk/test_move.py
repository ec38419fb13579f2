"""`docs/howto/move-from-clerk.md`, walked through: its script with the real npm SDK, the import, the real PyPI SDK.

A Userfold stands in for Clerk.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from clerk_backend_api import Clerk

from tests.api.clerk.deliveries import SECRET, event, signed
from tests.api.clerk.sdk.calls import NODE_FOLDER, need_javascript
from tests.server import BOUND_S, Server, environment, serving, userfold

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "move-from-clerk.md"
BCRYPT = "$2b$04$" + "a" * 53
USERS = 501  # more than one page
# What is another one here: ids of addresses and where pictures are, and when the record was written.
DIFFERENT = {"updated_at", "image_url", "profile_image_url", "has_image", "password_enabled"}


def script() -> str:
    (block,) = re.findall(r"```js\n(import .*?)```", PAGE.read_text(), re.DOTALL)
    return str(block)


def export(clerk: Server) -> str:
    need_javascript()
    given = {"CLERK_SECRET_KEY": clerk.secret_key, "CLERK_API_URL": f"{clerk.url}/clerk"}
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script()],
        cwd=NODE_FOLDER,
        env=environment() | given,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    return done.stdout


def users_of(server: Server) -> dict[str, Any]:
    """{id: the user}, as the SDK for Python reads it, without what is another one here."""
    found: dict[str, Any] = {}
    with Clerk(bearer_auth=server.secret_key, server_url=f"{server.url}/clerk/v1", timeout_ms=60_000) as clerk:
        while page := clerk.users.list(request={"limit": 500, "offset": len(found), "order_by": "+created_at"}):
            found |= {user.id: json.loads(user.model_dump_json(exclude=DIFFERENT)) for user in page}
    for user in found.values():
        for address in (*user["email_addresses"], *user["phone_numbers"]):
            del address["id"], address["created_at"], address["updated_at"]
        del user["primary_email_address_id"], user["primary_phone_number_id"]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydantic.*", "ignore::DeprecationWarning:clerk_backend_api.*")
def test_the_page_is_true(tmp_path: Path) -> None:
    need_javascript()
    with serving(tmp_path / "clerk") as clerk, clerk.client() as client:
        fill(client)
        file = tmp_path / "users.ndjson"
        file.write_text(export(clerk))
        ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
        assert len(set(ids)) == len(ids) == USERS
        csv = tmp_path / "clerk-users.csv"
        csv.write_text(f"id,password_digest,password_hasher\n{ids[0]},{BCRYPT},bcrypt\n")
        there = users_of(clerk)
    with serving(tmp_path / "data") as server, server.client() as client:
        added = subprocess.run(
            [
                sys.executable,
                "-m",
                "userfold",
                "keys",
                "add-webhook",
                "Clerk, production",
                "--data",
                str(tmp_path / "data"),
            ],
            input=SECRET,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=True,
        )
        assert added.stdout.startswith("ak_")
        for said in ("501 users imported, 0 updated, 0 left alone.", "0 users imported, 0 updated, 501 left alone."):
            done = userfold("import", file, "--from", "clerk", "--passwords", csv, "--data", tmp_path / "data")
            assert (done.returncode, done.stderr.strip()) == (0, said)
        assert users_of(server) == there
        assert client.get(f"/v1/users/{ids[0]}").json()["password_enabled"] is True
        deliver_deletion(server, ids[1])
        assert client.get(f"/v1/users/{ids[1]}").status_code == 404


def fill(client: httpx.Client) -> None:
    """Users as Clerk may have them."""
    items = [
        {"action": "create", "user": {"external_id": f"ext-{n}", "first_name": f"N{n}", "public_metadata": {"n": n}}}
        for n in range(USERS - 1)
    ]
    assert client.post("/v1/batch", json=items).status_code == 200
    full = {
        "email_address": ["ada@example.com", "a.l@example.org"],
        "phone_number": ["+442079460958"],
        "username": "Ada_L",
        "first_name": "Ada",
        "private_metadata": {"stripe": {"id": "cus_1"}},
        "unsafe_metadata": {"uni": "Zoë 🦊"},
        "created_at": "2024-01-02T03:04:05.678Z",
        "banned": True,
    }
    assert client.post("/clerk/v1/users", json=full).status_code == 200


def deliver_deletion(server: Server, user_id: str) -> None:
    body, now = event("user.deleted", {"object": "user", "id": user_id, "deleted": True}), int(time.time())
    headers = {"svix-id": "msg_1", "svix-timestamp": str(now), "svix-signature": signed(body, "msg_1", now)}
    reply = httpx.post(
        f"{server.url}/clerk/webhooks", content=body, headers=headers | {"content-type": "application/json"}
    )
    assert reply.status_code == 200
