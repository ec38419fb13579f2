"""The rules about pictures of users, by example."""

from __future__ import annotations

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    after,
    as_json,
    changes_of,
    create,
    delete,
    folded,
    refusal,
    run,
    stored,
    user_of,
)
from userfold.core.commands import RemoveImage, SetImage
from userfold.core.errors import UserNotFound, VersionMismatch
from userfold.core.image_names import image_name
from userfold.core.records import Image, Operation
from userfold.core.trust import Author, Ignored

IMAGE = Image(
    name=image_name("user_a", "img_01m7zvgwjn3gg1x0fanetqa3a0", "png"),
    content_type="image/png",
    size=70,
    sha256="a" * 64,
    width=4,
    height=2,
    created_at=NOW,
)
OTHER = msgspec.structs.replace(IMAGE, name=IMAGE.name.replace("3a0", "3a1"), sha256="b" * 64)


def set_image(image: Image = IMAGE, by: Author = BACKEND, **more: object) -> SetImage:
    return SetImage(project_id=PROJECT, author=by, user_id="user_a", image=image, **more)  # type: ignore[arg-type]


def remove_image(by: Author = BACKEND, **more: object) -> RemoveImage:
    return RemoveImage(project_id=PROJECT, author=by, user_id="user_a", **more)  # type: ignore[arg-type]


@pytest.fixture
def records() -> Database:
    return after(create({}, user_id="user_a"))


def test_a_picture_gives_way_to_another_and_to_none(records: Database) -> None:
    for image in (IMAGE, OTHER):
        applied = run(set_image(image), records)
        assert (user_of(applied).image, stored(records, "user_a").image) == (image, image)
    assert user_of(run(remove_image(), records)).image is None
    assert [change.operations for change in changes_of(records, "user_a")[1:]] == [
        (Operation(op="replace", path="/image", old=None, new=as_json(IMAGE)),),
        (Operation(op="replace", path="/image", old=as_json(IMAGE), new=as_json(OTHER)),),
        (Operation(op="replace", path="/image", old=as_json(OTHER), new=None),),
    ]
    assert folded(records, "user_a") == as_json(stored(records, "user_a"))


def test_the_same_bytes_under_another_name_change_nothing(records: Database) -> None:
    run(set_image(), records)
    applied = run(set_image(msgspec.structs.replace(IMAGE, name=OTHER.name, created_at=NOW + 1)), records)
    assert (applied.writes, user_of(applied).image) == ({}, IMAGE)


def test_none_taken_away_is_no_change(records: Database) -> None:
    applied = run(remove_image(), records)
    assert (applied.writes, applied.change) == ({}, None)


@pytest.mark.parametrize("author", [BROWSER, VERIFIED], ids=lambda author: author.trust)
def test_only_a_backend_may(records: Database, author: Author) -> None:
    applied = run(set_image(by=author), records)
    assert (applied.writes, applied.ignored) == ({}, (Ignored("/image", "not_permitted"),))
    run(set_image(), records)
    applied = run(remove_image(by=author), records)
    assert (applied.writes, applied.ignored) == ({}, (Ignored("/image", "not_permitted"),))


@pytest.mark.parametrize("command", [set_image(if_match=(2,)), remove_image(if_match=(2,))])
def test_the_version_must_match(records: Database, command: SetImage | RemoveImage) -> None:
    assert isinstance(refusal(command, records), VersionMismatch)


@pytest.mark.parametrize("command", [set_image(), remove_image()])
def test_nobody_has_no_picture(command: SetImage | RemoveImage) -> None:
    assert isinstance(refusal(command, {}), UserNotFound)


def test_bytes_from_before_a_deletion_are_of_nobody(records: Database) -> None:
    run(delete("user_a"), records, now=NOW)
    run(create({}, user_id="user_a"), records, now=NOW + 1)
    assert isinstance(refusal(set_image(), records, now=NOW + 1), UserNotFound)
    newer = msgspec.structs.replace(IMAGE, created_at=NOW + 1)
    assert user_of(run(set_image(newer), records, now=NOW + 1)).image == newer
