"""No update is lost: many clients merge into one user at once, over real HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop

from tests.server import Server, connected, serving
from userfold.core.diff import fold
from userfold.core.records import Operation

CLIENTS = 64
MERGES = 500
BAGS = ("public_metadata", "private_metadata", "unsafe_metadata", "traits")
KEYS = 4  # of each client in each bag: all that fits


def place(client: int, n: int) -> tuple[str, str, str]:
    """Where the n-th merge of a client writes: each client has keys of its own."""
    return BAGS[n % len(BAGS)], f"c{client}", f"k{n // len(BAGS) % KEYS}"


async def merge_many(server: Server, key: str, user_id: str, client: int) -> list[int]:
    """The versions that the merges of one client made. Each answer is as of its own merge."""
    versions = []
    async with connected(server, key) as connection:
        for n in range(MERGES):
            bag, name, part = place(client, n)
            status, user = await connection.ask("PATCH", f"/v1/users/{user_id}", {bag: {name: {part: n}}})
            assert status == 200
            assert user[bag][name][part] == n
            versions.append(user["version"])
    return versions


async def history(server: Server, key: str, user_id: str) -> list[Any]:
    changes: list[Any] = []
    async with connected(server, key) as connection:
        cursor: str | None = "0"
        while cursor is not None:
            query = "limit=500" + (f"&cursor={cursor}" if changes else "")
            status, page = await connection.ask("GET", f"/v1/users/{user_id}/history?{query}")
            assert status == 200
            changes += page["data"]
            cursor = page["next_cursor"]
    return changes


def test_of_32000_merges_by_64_clients_none_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        key = server.secret_key
        async with connected(server, key) as connection:
            status, user = await connection.ask("POST", "/v1/users", {})
            assert status == 201
            made = await asyncio.gather(*(merge_many(server, key, user["id"], c) for c in range(CLIENTS)))
            changes = await history(server, key, user["id"])
            status, user = await connection.ask("GET", f"/v1/users/{user['id']}")
        assert status == 200

        # Every answer said another version; together they are all there are, without a gap.
        assert sorted(version for versions in made for version in versions) == list(range(2, CLIENTS * MERGES + 2))
        assert all(versions == sorted(versions) for versions in made)
        assert [change["version"] for change in changes] == list(range(1, CLIENTS * MERGES + 2))
        assert user["version"] == len(changes)

        # Every merge is in the history, at the version that its answer said, and as it was sent.
        for client, versions in enumerate(made):
            for n, version in enumerate(versions):
                bag, name, part = place(client, n)
                (operation,) = changes[version - 1]["operations"]
                first = n < len(BAGS)
                assert operation["path"] == f"/{bag}/{name}" + ("" if first else f"/{part}")
                assert operation["new"] == ({part: n} if first else n)

        # The user is what the history folds to, and the last value of every key.
        document: Any = {}
        for change in changes:
            document = fold(document, msgspec.convert(change["operations"], list[Operation]))
        assert document | {"version": len(changes), "updated_at": changes[-1]["at"]} == user
        last = {place(c, n): n for c in range(CLIENTS) for n in range(MERGES)}
        assert {(b, c, k): n for b in BAGS for c, keys in user[b].items() for k, n in keys.items()} == last

    with serving(tmp_path / "data") as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
    assert "error" not in server.log()


def test_of_clients_that_make_the_same_user_at_once_one_makes_it(tmp_path: Path) -> None:
    async def upsert(server: Server, key: str, n: int) -> tuple[int, str]:
        async with connected(server, key) as connection:
            status, user = await connection.ask("PUT", "/v1/users/by-external-id/u-1", {"traits": {f"c{n}": n}})
            return status, user["id"]

    async def test() -> None:
        key = server.secret_key
        answers = await asyncio.gather(*(upsert(server, key, n) for n in range(CLIENTS)))
        assert sorted(status for status, _ in answers) == [200] * (CLIENTS - 1) + [201]
        (user_id,) = {user_id for _, user_id in answers}
        async with connected(server, key) as connection:
            _, user = await connection.ask("GET", f"/v1/users/{user_id}")
        assert user["traits"] == {f"c{n}": n for n in range(CLIENTS)}
        assert user["version"] == CLIENTS

    with serving(tmp_path / "data") as server:
        asyncio.run(test())


def test_of_clients_that_claim_one_name_at_once_one_gets_it(tmp_path: Path) -> None:
    async def create(server: Server, key: str) -> tuple[int, str]:
        async with connected(server, key) as connection:
            status, body = await connection.ask("POST", "/v1/users", {"username": "ada", "external_id": "u-1"})
            return status, body.get("code", "")

    async def test() -> None:
        answers = await asyncio.gather(*(create(server, server.secret_key) for _ in range(CLIENTS)))
        assert sorted(answers) == [(201, "")] + [(409, "identifier_taken")] * (CLIENTS - 1)

    with serving(tmp_path / "data") as server:
        asyncio.run(test())


def test_of_clients_that_saw_the_same_version_one_may_change_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, server.client() as client:
        user = client.post("/v1/users", json={}).json()

        async def test() -> list[int]:
            headers = {"authorization": f"Bearer {server.secret_key}", "if-match": '"1"'}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=60) as many:
                patches = (many.patch(f"/v1/users/{user['id']}", json={"name": str(n)}) for n in range(CLIENTS))
                return [reply.status_code for reply in await asyncio.gather(*patches)]

        assert sorted(asyncio.run(test())) == [200] + [412] * (CLIENTS - 1)
        assert client.get(f"/v1/users/{user['id']}").json()["version"] == 2
