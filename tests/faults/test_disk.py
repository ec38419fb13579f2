"""A disk that takes nothing more while 16 clients write: full, over a limit, read-only. And a start on such a one.

A full disk is a file system of some MiB, mounted in a namespace that ends with its server; that needs rights, which not
every container has. So there is a second way that needs none: a limit on the length of files, put on the server from
outside while it runs. The system answers it in other words, as it does a quota. A disk that becomes read-only is one of
`tests/troubled.py`, because no system makes one so, and writable again, under files that are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from tests import troubled
from tests.api.pictures import picture
from tests.server import BOUND_S, USERFOLD, Server, connected, environment, serving, start

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CLIENTS = 16
ENOUGH = 5  # answers of a kind, for each client
PAUSE_S = 0.05  # of each client between two writes, so that they do not fill the disk before the test does
MIB = 1 << 20
KEY = "sk_" + "k" * 40
PAGE = {"X-Milana-Client-Key": "key_" + "p" * 26, "X-Milana-Product-Id": "prd_" + "0" * 26}
SETTINGS = {
    "USERFOLD_SECRET_KEY": KEY,
    "USERFOLD_PUBLISHABLE_KEY": PAGE["X-Milana-Client-Key"],
    "USERFOLD_PRODUCT_ID": PAGE["X-Milana-Product-Id"],
}
PNG = {"content-type": "image/png"}

# To be held to the modes of files, as root too.
AS_ANYBODY = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)
NAMESPACE = ["unshare", "--mount", "--propagation", "private", *([] if os.geteuid() == 0 else ["--user", "-r"])]
MOUNT = 'mount -t tmpfs -o size=96m,mode=700 tmpfs "$0" && exec "$@"'


def can_mount(folder: Path) -> bool:
    command = [*NAMESPACE, "sh", "-c", MOUNT, str(folder), "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@dataclass
class Disk:
    """Where a server keeps its data. `fail`: from now on it takes nothing more; `mend`: it does again."""

    folder: Path
    program: Sequence[str] = USERFOLD
    status: int = 507
    code: str = "store_full"
    says: str = "StoreFull: the disk, or the quota of it, is full"
    server: Server | None = None

    def fail(self) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        raise NotImplementedError

    def log(self) -> str:
        assert self.server is not None
        return self.server.log()


class Full(Disk):
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, (*NAMESPACE, "sh", "-c", MOUNT, str(folder), *USERFOLD))

    @property
    def _filler(self) -> Path:
        assert self.server is not None
        return Path(f"/proc/{self.server.process.pid}/root{self.folder}/filler")

    def fail(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            size = MIB
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def mend(self) -> None:
        self._filler.unlink()


class Limited(Disk):
    """A limit on the length of files."""

    def fail(self) -> None:
        self._limit(0)

    def mend(self) -> None:
        self._limit(None)

    def _limit(self, size: int | None) -> None:
        assert self.server is not None
        _, most = resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE, (most if size is None else size, most))

    def log(self) -> str:
        return self.says  # what it logged is in a file, too


class ReadOnly(Disk):
    """A disk that may not be written to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            (*AS_ANYBODY, *troubled.program(folder)),
            status=503,
            code="store_unavailable",
            says="StoreUnavailable: nothing can be written where the database is: Read-only file system",
        )

    def fail(self) -> None:
        (self.folder / "read-only").touch()
        for path in self._image_folders():
            path.chmod(0o500)

    def mend(self) -> None:
        (self.folder / "read-only").unlink()
        for path in self._image_folders():
            path.chmod(0o700)

    def _image_folders(self) -> list[Path]:
        images = self.folder / "data" / "images"
        return [images, *(path for path in images.iterdir() if path.is_dir())]


DISKS: dict[str, type[Disk]] = {"full": Full, "limited": Limited, "read-only": ReadOnly}


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "full" and not can_mount(folder):
        # Nothing is left out: the other way shows the same of every answer.
        return Limited(folder)
    return DISKS[request.param](folder)


@contextlib.contextmanager
def serving_on(disk: Disk) -> Iterator[Server]:
    disk.server = start(disk.folder / "data", program=disk.program, **SETTINGS)
    try:
        yield disk.server
    finally:
        if not disk.server.ended:
            disk.server.kill()


@dataclass
class Writer:
    """A client with a user of its own: what was answered."""

    user_id: str
    stored: int = 0
    refused: int = 0
    others: Counter[tuple[int, str]] = field(default_factory=Counter)


async def write(writer: Writer, server: Server, disk: Disk, over: asyncio.Event) -> None:
    """Write and read, one after the other, until all is over."""
    path = f"/v1/users/{writer.user_id}"
    async with connected(server, KEY) as connection:
        while not over.is_set():
            body = {"traits": {f"k{writer.stored % 8}": f"{writer.stored} " + os.urandom(500).hex()}}
            status, answer = await connection.ask("PATCH", path, body)
            if status == 200:
                writer.stored += 1
                assert answer["version"] == 1 + writer.stored, "what was refused has changed nothing"
            elif (status, answer["code"]) == (disk.status, disk.code):
                writer.refused += 1
            else:
                writer.others[status, answer["code"]] += 1
            status, answer = await connection.ask("GET", path)
            assert (status, answer["version"]) == (200, 1 + writer.stored), "reads go on"
            await asyncio.sleep(PAUSE_S)


async def until_all(writers: Sequence[Writer], what: str, disk: Disk | None = None) -> None:
    """Return when each has had enough answers more of that kind."""
    counts = {writer.user_id: getattr(writer, what) + ENOUGH for writer in writers}
    async with asyncio.timeout(BOUND_S):
        while any(getattr(writer, what) < counts[writer.user_id] for writer in writers):
            if disk is not None:
                disk.fail()  # what one transaction gave back, another may have taken
            await asyncio.sleep(0.05)


def refusals(client: httpx.Client, url: str, session: str, user_id: str) -> dict[str, tuple[int, Any]]:
    """What each API says to a write."""
    page = PAGE | {"X-Milana-Session-Id": session}
    native = client.post("/v1/users", json={"name": "Ada"})
    clerk = client.post("/clerk/v1/users", json={"first_name": "Ada"})
    image = client.put(f"/v1/users/{user_id}/image", content=picture("PNG", color=(9, 9, 9)), headers=PNG)
    logo = client.post(f"/clerk/v1/users/{user_id}/profile_image", files={"file": picture("PNG", color=(8, 8, 8))})
    browser = httpx.post(
        f"{url}/milana/update", json={"user": {"userId": "u"}}, headers=page, timeout=BOUND_S, trust_env=False
    )
    return {
        "native": (native.status_code, native.json()["code"]),
        "image": (image.status_code, image.json()["code"]),
        "clerk": (clerk.status_code, clerk.json()["errors"][0]["code"]),
        "clerk image": (logo.status_code, logo.json()["errors"][0]["code"]),
        "milana": (browser.status_code, browser.json()),
    }


def check_refusals(disk: Disk, said: dict[str, tuple[int, Any]]) -> None:
    not_done = {"success": False, "shouldRestartSession": False, "errorCode": "INTERNAL_ERROR"}
    assert said == {
        "native": (disk.status, disk.code),
        "image": (disk.status, disk.code),
        "clerk": (disk.status, "service_unavailable"),
        "clerk image": (disk.status, "service_unavailable"),
        "milana": (disk.status, not_done),
    }


def state(client: httpx.Client, writers: Sequence[Writer]) -> dict[str, Any]:
    return {writer.user_id: client.get(f"/v1/users/{writer.user_id}").json() for writer in writers}


def check(client: httpx.Client, writers: Sequence[Writer]) -> None:
    for writer in writers:
        assert not writer.others
        user = client.get(f"/v1/users/{writer.user_id}").json()
        history = client.get(f"/v1/users/{writer.user_id}/history?limit=500").json()["data"]
        newest = client.get(f"/v1/users/{writer.user_id}/history?limit=1&cursor={writer.stored}").json()["data"]
        assert user["version"] == 1 + writer.stored
        assert [change["version"] for change in history] == list(range(1, min(500, user["version"]) + 1))
        assert [change["version"] for change in newest] == [user["version"]]
        last = writer.stored - 1
        assert user["traits"][f"k{last % 8}"].startswith(f"{last} ")


def test_while_the_disk_takes_nothing_writes_are_refused_reads_go_on_and_nothing_that_was_answered_is_lost(
    disk: Disk,
) -> None:
    async def scenario(server: Server, client: httpx.Client, writers: Sequence[Writer], session: str) -> None:
        over = asyncio.Event()
        writing = [asyncio.create_task(write(writer, server, disk, over)) for writer in writers]
        try:
            for _ in range(2):
                await until_all(writers, "stored")
                disk.fail()
                await until_all(writers, "refused", disk)
                ask = asyncio.to_thread(refusals, client, server.url, session, writers[0].user_id)
                check_refusals(disk, await ask)
                assert (await asyncio.to_thread(client.get, "/v1/users")).status_code == 200
                assert (await asyncio.to_thread(client.get, "/readyz")).status_code == 200
                disk.mend()
                await until_all(writers, "stored")
        finally:
            over.set()
            await asyncio.gather(*writing)

    with serving_on(disk) as server, server.client(KEY) as client:
        writers = [Writer(client.post("/v1/users", json={}).json()["id"]) for _ in range(CLIENTS)]
        pictured = client.post("/v1/users", json={}).json()["id"]
        image = client.put(f"/v1/users/{pictured}/image", content=picture("PNG"), headers=PNG).json()["image"]
        begun = httpx.post(
            f"{server.url}/milana/session", json={"environment": "test", "version": "1"}, headers=PAGE, trust_env=False
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario(server, client, writers, begun.json()["sessionId"]))
        check(client, writers)
        assert client.get(f"/images/{image['name']}").status_code == 200
        assert client.put(
            f"/v1/users/{pictured}/image", content=picture("PNG", color=(7, 7, 7)), headers=PNG
        ).is_success, "without a restart"
        assert disk.says in disk.log()
        assert "Traceback" not in disk.log()
        before = state(client, writers)
        if isinstance(disk, Full):
            return  # its disk goes with it
        server.stop()
    with serving_on(disk), disk.server.client(KEY) as client:  # type: ignore[union-attr]
        assert state(client, writers) == before


# The start.


def started(data: Path, *program: str) -> subprocess.CompletedProcess[str]:
    """A server that is not to start."""
    return subprocess.run(
        [*program, *USERFOLD, "serve", "--data", str(data), "--port", "0"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a server that has stopped, with a user."""
    with serving(tmp_path / "data", **SETTINGS) as server, server.client(KEY) as client:
        client.post("/v1/users", json={"username": "ada"})
    return tmp_path / "data"


LOOK_AT = "check its owner, its mode, and whether its disk is read-only"
UNWRITABLE = {
    "": f"cannot write to the data folder {{}}: {LOOK_AT}",
    "userfold.lock": "cannot open {}: Permission denied",
    "userfold.db": f"{{}} cannot be written to: {LOOK_AT}",
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_start_on_what_cannot_be_written_to_says_what_and_changes_nothing(data: Path, name: str) -> None:
    place = data / name
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    mode = place.stat().st_mode
    place.chmod(mode & ~0o222)
    done = started(data, *AS_ANYBODY)
    place.chmod(mode)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"userfold: {UNWRITABLE[name].format(place)}"
    assert "Traceback" not in done.stderr
    after = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    assert {name for name in before if before[name] != after.get(name)} <= {"userfold.lock", "userfold.db.lock"}
    with serving(data) as server, server.client(KEY) as client:
        assert client.get("/v1/users?username=ada").json()["data"]


def test_a_start_on_a_disk_that_is_mounted_read_only_says_the_same(data: Path) -> None:
    """Where it can be mounted; the call that is answered is that of the test above."""
    if not can_mount(data.parent):
        return
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    done = started(data, *NAMESPACE, "sh", "-c", mount, str(data))
    assert done.returncode == 1
    assert done.stderr == f"userfold: {UNWRITABLE[''].format(data)}\n"


def test_images_that_cannot_be_stored_are_refused_and_all_else_goes_on(data: Path) -> None:
    (data / "images").chmod(0o500)
    program = (*AS_ANYBODY, *USERFOLD)
    with serving(data, program=program) as server, server.client(KEY) as client:
        user = client.post("/v1/users", json={}).json()
        path = f"/v1/users/{user['id']}/image"
        refused = client.put(path, content=picture("PNG"), headers=PNG)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert client.get(f"/v1/users/{user['id']}").json()["version"] == 1
        (data / "images").chmod(0o700)
        assert client.put(path, content=picture("PNG"), headers=PNG).is_success
        assert f"PUT '{path}' could not be answered: StoreUnavailable: images: " in server.log()
