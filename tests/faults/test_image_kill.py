"""kill -9 between storing a picture and the commit that names it: all or nothing, and nothing is left over.

The test holds the database's write lock, so the server stores the bytes and then waits with the commit. That is where
it is killed, half of the time; the other half, the lock is let go of first, and the kill lands where it lands.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import threading
from pathlib import Path

import httpx
import pytest

from tests.api.pictures import opened, picture
from tests.server import Server, serving, wait_until
from userfold.clock import clock_ms
from userfold.core.image_rules import UNNAMED_IMAGES_KEPT_MS
from userfold.directory import Directory
from userfold.engine import Engine
from userfold.images import images_in
from userfold.storage.sqlite.store import SQLiteStore
from userfold.sweeps import Sweeper

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ROUNDS = 20


def files(data: Path) -> set[str]:
    """All that is stored, finished or not."""
    images = data / "images"
    return {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}


def put(server: Server, key: str, user_id: str, content: bytes) -> None:
    with contextlib.suppress(httpx.TransportError), server.client(key) as client:
        client.put(f"/v1/users/{user_id}/image", content=content, headers={"content-type": "image/png"})


def kill_between(server: Server, key: str, user_id: str, content: bytes, *, release_first: bool) -> None:
    before = files(server.data)
    lock = sqlite3.connect(server.data / "userfold.db", isolation_level=None)
    with contextlib.closing(lock):
        lock.execute("BEGIN IMMEDIATE")
        asking = threading.Thread(target=put, args=(server, key, user_id, content))
        asking.start()
        wait_until(lambda: any(name.endswith(".png") for name in files(server.data) - before), "the bytes are stored")
        if release_first:
            lock.execute("ROLLBACK")
        server.kill()
    asking.join()


def sweep(data: Path) -> None:
    """What the server does in time, done now by a clock that is an hour ahead."""

    async def run() -> None:
        store, images = SQLiteStore(data / "userfold.db"), images_in(data / "images")
        await store.migrate()
        engine = Engine(store, clock_ms=lambda: clock_ms() + UNNAMED_IMAGES_KEPT_MS)
        await Sweeper(engine, store, Directory(store), images).sweep()
        await engine.close()
        await store.close()
        images.close()

    asyncio.run(run())


def test_a_kill_between_the_bytes_and_the_record_leaves_the_old_picture_or_the_new_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server, server.client() as client:
        key = server.secret_key
        user_id = client.post("/v1/users", json={}).json()["id"]
        client.put(f"/v1/users/{user_id}/image", content=picture("PNG"), headers={"content-type": "image/png"})
        user = client.get(f"/v1/users/{user_id}").json()
    unchanged = changed = 0
    for round_ in range(ROUNDS):
        with serving(data) as server:
            color = (round_, 255, 0)
            kill_between(server, key, user_id, picture("PNG", color=color), release_first=round_ % 2 == 1)
        with serving(data) as server, server.client(key) as client:
            now = client.get(f"/v1/users/{user_id}").json()
            bytes_ = client.get(f"/images/{now['image']['name']}").content
        assert hashlib.sha256(bytes_).hexdigest() == now["image"]["sha256"]
        if now == user:
            unchanged += 1
        else:
            assert (now["version"], opened(bytes_).getpixel((0, 0))) == (user["version"] + 1, color)
            changed += 1
        user = now
        if round_ % 2 == 0:
            assert files(data) > {user["image"]["name"]}, "the kill did not land between"
        sweep(data)
        assert files(data) == {user["image"]["name"]}
    assert unchanged >= ROUNDS // 2
    assert unchanged + changed == ROUNDS
