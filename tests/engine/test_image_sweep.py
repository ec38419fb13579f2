"""Which bytes of pictures are removed, and when: over every store, in memory and in a folder, the clock an input."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.api.pictures import BLUE, RED, picture
from tests.contract.samples import put
from tests.engine.commands import BACKEND, PROJECT
from tests.engine.driving import NOW, create, delete, engine_of, stored_user
from userfold.core.commands import RemoveImage, SetImage
from userfold.core.errors import UserNotFound
from userfold.core.image_rules import UNNAMED_IMAGES_KEPT_MS
from userfold.core.records import EffectiveSettings, Image, Project
from userfold.directory import Directory
from userfold.engine import random_bits
from userfold.images import Images, images_in, images_in_memory, named_image, picture_of
from userfold.storage.port import Store
from userfold.sweeps import IMAGES_EVERY_MS, Sweeper

SETTINGS = EffectiveSettings()
HOUR = UNNAMED_IMAGES_KEPT_MS
ODD = "auth0|" + "𝒵" * 200  # its folder is several


class Clock:
    """A time that a test sets."""

    now = NOW

    def __call__(self) -> int:
        return self.now


class Swept:
    """A store, images, and what sweeps them."""

    def __init__(self, runner: asyncio.Runner, store: Store, images: Images) -> None:
        self.run = runner.run
        self.store = store
        self.images = images
        self.clock = Clock()
        self.engine = engine_of(store, clock_ms=self.clock)
        self.sweeper = Sweeper(self.engine, store, Directory(store), images)
        for id_ in (PROJECT, "prj_2"):
            project = Project(id=id_, name="test", product_id=f"prd_{id_:0<26}", created_at=NOW)
            self.run(put(store, project, project_id=id_))

    def make(self, user_id: str = "user_1") -> None:
        self.run(self.engine.run(create(user_id), SETTINGS))

    def store_bytes(self, user_id: str = "user_1", color: tuple[int, int, int] = RED) -> Image:
        """Bytes that nobody names yet."""
        made = picture_of(picture("PNG", color=color))
        image = named_image(made, user_id, self.engine.now(), random_bits())
        self.run(self.images.put(image.name, made.content))
        return image

    def name_them(self, image: Image, user_id: str = "user_1") -> None:
        command = SetImage(project_id=PROJECT, author=BACKEND, user_id=user_id, image=image)
        self.run(self.engine.run(command, SETTINGS))

    def remove(self, user_id: str = "user_1") -> None:
        self.run(self.engine.run(RemoveImage(project_id=PROJECT, author=BACKEND, user_id=user_id), SETTINGS))

    def sweep_at(self, now: int) -> int:
        self.clock.now = now
        return self.run(self.sweeper.sweep())

    def kept(self) -> set[str]:
        async def names() -> set[str]:
            return {name async for some in self.images.names() for name in some}

        return self.run(names())


@pytest.fixture(params=["memory", "folder"])
def swept(request: pytest.FixtureRequest, store: Store, tmp_path: Path, runner: asyncio.Runner) -> Iterator[Swept]:
    images = images_in_memory() if request.param == "memory" else images_in(tmp_path / "images")
    yield Swept(runner, store, images)
    images.close()


def test_bytes_that_no_record_names_go_after_an_hour_and_not_earlier(swept: Swept) -> None:
    swept.make()
    image = swept.store_bytes()
    assert (swept.sweep_at(NOW + HOUR - 1), swept.kept()) == (0, {image.name})
    swept.clock.now += IMAGES_EVERY_MS
    assert (swept.sweep_at(swept.clock.now), swept.kept()) == (1, set())


def test_bytes_that_a_record_names_stay(swept: Swept) -> None:
    for user_id in ("user_1", ODD):
        swept.make(user_id)
        swept.name_them(swept.store_bytes(user_id), user_id)
    kept = swept.kept()
    assert len(kept) == 2
    assert (swept.sweep_at(NOW + 1000 * HOUR), swept.kept()) == (0, kept)


def test_what_was_replaced_or_taken_away_goes(swept: Swept) -> None:
    swept.make()
    swept.name_them(swept.store_bytes())
    second = swept.store_bytes(color=BLUE)
    swept.name_them(second)
    assert (swept.sweep_at(NOW + HOUR), swept.kept()) == (1, {second.name})
    swept.remove()
    assert (swept.sweep_at(NOW + HOUR + IMAGES_EVERY_MS), swept.kept()) == (1, set())


def test_all_images_are_looked_at_now_and_then_only(swept: Swept) -> None:
    swept.store_bytes()
    assert swept.sweep_at(NOW + HOUR - 1) == 0
    assert swept.sweep_at(NOW + HOUR - 2 + IMAGES_EVERY_MS) == 0
    assert swept.sweep_at(NOW + HOUR - 1 + IMAGES_EVERY_MS) == 1


@pytest.mark.parametrize("user_id", ["user_1", ODD])
def test_a_deleted_users_images_go_at_once_and_nobody_elses(swept: Swept, user_id: str) -> None:
    for id_ in (user_id, "user_2"):
        swept.make(id_)
        swept.name_them(swept.store_bytes(id_), id_)
    swept.store_bytes(user_id, BLUE)
    others = {name for name in swept.kept() if name.startswith("user_2/")}
    swept.run(swept.engine.run(delete(user_id), SETTINGS))
    assert (swept.sweep_at(NOW + 1), swept.kept()) == (2, others)


def test_a_new_user_of_a_deleted_ones_id_keeps_its_image(swept: Swept) -> None:
    swept.make()
    swept.run(swept.engine.run(delete("user_1"), SETTINGS))
    swept.clock.now = NOW + 1
    swept.make()
    image = swept.store_bytes()
    swept.name_them(image)
    assert (swept.sweep_at(NOW + 2 * HOUR), swept.kept()) == (0, {image.name})


def test_bytes_from_before_a_deletion_can_be_named_by_nobody(swept: Swept) -> None:
    swept.make()
    image = swept.store_bytes()
    swept.run(swept.engine.run(delete("user_1"), SETTINGS))
    swept.clock.now = NOW + 1
    swept.make()
    with pytest.raises(UserNotFound):
        swept.name_them(image)


def test_bytes_that_a_user_of_another_project_names_stay(swept: Swept) -> None:
    swept.make()
    image = swept.store_bytes()
    other = msgspec.structs.replace(create("user_1"), project_id="prj_2")
    swept.run(swept.engine.run(other, SETTINGS))
    command = SetImage(project_id="prj_2", author=BACKEND, user_id="user_1", image=image)
    swept.run(swept.engine.run(command, SETTINGS))
    swept.run(swept.engine.run(delete("user_1"), SETTINGS))
    assert (swept.sweep_at(NOW + HOUR), swept.kept()) == (0, {image.name})
    assert swept.run(stored_user(swept.store, "user_1")) is None


# In a folder.


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_a_killed_process_did_not_finish_goes_and_what_is_not_ours_stays(
    store: Store, tmp_path: Path, runner: asyncio.Runner
) -> None:
    folder = tmp_path / "images"
    swept = Swept(runner, store, images_in(folder))
    swept.make()
    image = swept.store_bytes()
    swept.name_them(image)
    half = folder / f"{swept.store_bytes(color=BLUE).name}#1"
    half.with_name(half.name.removesuffix("#1")).rename(half)
    (folder / "notes#1").write_text("of somebody else")
    (folder / "user_1" / "notes.png").write_text("of somebody else")
    swept.sweep_at(NOW + HOUR - 1)
    assert len(files(folder)) == 4
    swept.sweep_at(NOW + HOUR - 1 + IMAGES_EVERY_MS)
    assert files(folder) == sorted(["notes#1", "user_1/notes.png", image.name])
    swept.images.close()


def test_no_trace_of_an_erased_user_is_left_in_the_names_of_folders(
    store: Store, tmp_path: Path, runner: asyncio.Runner
) -> None:
    swept = Swept(runner, store, images_in(tmp_path / "images"))
    for user_id in ("ada@example.com", ODD):
        swept.make(user_id)
        swept.name_them(swept.store_bytes(user_id), user_id)
        swept.run(swept.engine.run(delete(user_id), SETTINGS))
    swept.sweep_at(NOW + 1)
    assert list((tmp_path / "images").iterdir()) == []
    swept.images.close()
