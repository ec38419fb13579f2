"""Pictures of users: what is taken, what is refused, what is served, and that nothing else is stored."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image, PngImagePlugin

from tests.api.pictures import (
    BLUE,
    RED,
    animation,
    ico_of,
    ico_of_bitmap,
    opened,
    picture,
    png_bomb,
    png_header,
    webp_header,
)
from tests.engine.commands import BACKEND
from tests.server import InProcess, Keys
from userfold.core.commands import CreateUser
from userfold.core.image_names import image_name
from userfold.core.records import EffectiveSettings
from userfold.images import IMAGE_BYTES_MAX, WAITING_MAX, Images

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
FOREVER = "public, max-age=31536000, immutable"


def put(api: InProcess, user_id: str, content: bytes, content_type: str = "image/png", **said: Any) -> httpx.Response:
    return api.ask("PUT", f"/v1/users/{user_id}/image", content=content, content_type=content_type, **said)


def served(api: InProcess, image: dict[str, Any]) -> httpx.Response:
    return api.ask("GET", f"/images/{image['name']}", key="")


def stored(api: InProcess) -> list[str]:
    """The names of all bytes that are stored."""

    async def names() -> list[str]:
        return [name async for some in api.app.service.images.names() for name in some]

    return api.wait_for(names())


# What is taken.


@pytest.mark.parametrize(
    ("content", "content_type", "extension"),
    [
        (picture("JPEG"), "image/jpeg", "jpg"),
        (picture("PNG"), "image/png", "png"),
        (picture("WEBP"), "image/jpeg", "jpg"),
        (picture("GIF"), "image/png", "png"),
        (animation("GIF"), "image/png", "png"),
        (animation("WEBP"), "image/jpeg", "jpg"),
        (picture("ICO", (16, 16), sizes=[(16, 16)], bitmap_format="bmp"), "image/png", "png"),
        (ico_of(picture("PNG", (16, 16))), "image/png", "png"),
        (picture("MPO"), "image/jpeg", "jpg"),
    ],
    ids=["jpeg", "png", "webp", "gif", "animated gif", "animated webp", "ico", "ico of png", "mpo"],
)
def test_a_picture_is_kept_as_what_everybody_can_show(
    api: InProcess, content: bytes, content_type: str, extension: str
) -> None:
    user = api.user()
    reply = put(api, user["id"], content, "image/x-whatever")
    assert reply.status_code == 200, reply.text
    image = reply.json()["image"]
    bytes_ = served(api, image)
    assert bytes_.status_code == 200
    assert bytes_.headers["content-type"] == image["content_type"] == content_type
    assert bytes_.headers["cache-control"] == FOREVER
    assert bytes_.headers["x-content-type-options"] == "nosniff"
    assert image["name"].startswith(f"{user['id']}/img_")
    assert image["name"].endswith(f".{extension}")
    assert (image["size"], image["sha256"]) == (len(bytes_.content), hashlib.sha256(bytes_.content).hexdigest())
    shown = opened(bytes_.content)
    assert (shown.format, shown.size) == (
        content_type.removeprefix("image/").upper(),
        (image["width"], image["height"]),
    )
    assert getattr(shown, "n_frames", 1) == 1
    near = zip(shown.convert("RGB").getpixel((0, 0)), RED, strict=True)  # type: ignore[arg-type]
    assert all(abs(got - wanted) < 8 for got, wanted in near)


def test_a_png_that_is_called_a_jpeg_is_a_png(api: InProcess) -> None:
    image = put(api, api.user()["id"], picture("PNG"), "image/jpeg").json()["image"]
    assert (image["content_type"], image["name"][-4:]) == ("image/png", ".png")


def with_metadata() -> list[bytes]:
    exif = Image.Exif()
    exif[0x010E] = "WHERE-I-LIVE"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "WHERE-I-LIVE")
    return [
        picture("JPEG", exif=exif, comment=b"WHERE-I-LIVE", icc_profile=b"WHERE-I-LIVE"),
        picture("PNG", exif=exif, pnginfo=text, icc_profile=b"WHERE-I-LIVE"),
        picture("WEBP", exif=exif, xmp=b"WHERE-I-LIVE", icc_profile=b"WHERE-I-LIVE"),
        picture("GIF", comment=b"WHERE-I-LIVE"),
        picture("PNG") + b"WHERE-I-LIVE",
    ]


@pytest.mark.parametrize("content", with_metadata(), ids=["jpeg", "png", "webp", "gif", "behind the end"])
def test_nothing_but_the_pixels_is_kept(api: InProcess, content: bytes) -> None:
    reply = put(api, api.user()["id"], content)
    assert reply.status_code == 200, reply.text
    assert b"WHERE-I-LIVE" in content
    assert b"WHERE-I-LIVE" not in served(api, reply.json()["image"]).content


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_says_how_it_was_held_is_turned_upright(api: InProcess, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = put(api, api.user()["id"], picture(format, (32, 16), exif=exif)).json()["image"]
    shown = opened(served(api, image).content)
    assert (image["width"], image["height"]) == shown.size == (16, 32)
    assert 0x0112 not in shown.getexif()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_pixels_of_every_kind_are_taken(api: InProcess, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (3, 3)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    reply = put(api, api.user()["id"], buffer.getvalue())
    assert reply.status_code == 200, reply.text
    assert opened(served(api, reply.json()["image"]).content).size == (3, 3)


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_what_was_transparent_still_is(api: InProcess, format: str) -> None:
    buffer = io.BytesIO()
    if format == "GIF":
        Image.new("P", (3, 3)).save(buffer, "GIF", transparency=0)
    else:
        Image.new("RGBA", (3, 3)).save(buffer, "WEBP")
    image = put(api, api.user()["id"], buffer.getvalue()).json()["image"]
    assert opened(served(api, image).content).convert("RGBA").getpixel((1, 1))[3] == 0  # type: ignore[index]


def test_a_picture_of_the_greatest_size_is_taken(api: InProcess) -> None:
    reply = put(api, api.user()["id"], png_bomb(4_096))
    assert (reply.status_code, reply.json()["image"]["width"]) == (200, 4_096)


# What is refused.

REFUSED = {
    "an SVG": (SVG, 422, "image_invalid"),
    "text": (b"hello", 422, "image_invalid"),
    "nothing": (b"", 422, "image_invalid"),
    "a BMP": (picture("BMP"), 422, "image_invalid"),
    "a TIFF": (picture("TIFF"), 422, "image_invalid"),
    "half a PNG": (picture("PNG", (64, 64))[:-60], 422, "image_invalid"),
    "half a JPEG": (picture("JPEG", (640, 640))[:-600], 422, "image_invalid"),
    "half a GIF": (picture("GIF", (640, 640))[:60], 422, "image_invalid"),
    "half a WebP": (picture("WEBP", (64, 64))[:-20], 422, "image_invalid"),
    "half an ICO": (picture("ICO", (64, 64))[:-80], 422, "image_invalid"),
    "a header alone": (png_header(16, 16), 422, "image_invalid"),
    "one pixel too wide": (png_header(4_097, 1), 422, "image_too_large"),
    "one pixel too high": (png_header(1, 4_097), 422, "image_too_large"),
    "a decompression bomb": (png_bomb(12_000), 422, "image_too_large"),
    "a bomb that Pillow refuses": (png_header(100_000, 100_000), 422, "image_too_large"),
    "a bomb in an icon": (ico_of(png_bomb(8_000)), 422, "image_too_large"),
    "a bitmap in an icon": (ico_of_bitmap(8_000, 8_000), 422, "image_too_large"),
    "50 MB": (b"\xff" * 50_000_000, 413, "body_too_large"),
    "one byte too much": (picture("PNG").ljust(IMAGE_BYTES_MAX + 1), 413, "body_too_large"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_and_leaves_no_trace(api: InProcess, name: str) -> None:
    content, status, code = REFUSED[name]
    user, before = api.user(), api.writes
    reply = put(api, user["id"], content)
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert (stored(api), api.writes) == ([], before)


def test_a_canvas_that_is_too_large_is_refused_whatever_is_on_it(api: InProcess) -> None:
    reply = put(api, api.user()["id"], webp_header(16_383, 16_383))
    assert (reply.status_code, reply.json()["code"]) == (422, "image_too_large")
    assert stored(api) == []


def test_ten_mebibytes_are_taken(api: InProcess) -> None:
    assert put(api, api.user()["id"], picture("PNG").ljust(IMAGE_BYTES_MAX)).status_code == 200


def test_a_body_that_is_not_said_to_be_an_image_is_refused(api: InProcess) -> None:
    reply = put(api, api.user()["id"], picture("PNG"), "application/json")
    assert (reply.status_code, reply.json()["code"]) == (415, "content_type_unsupported")


def test_other_routes_take_no_more_than_before(api: InProcess) -> None:
    reply = api.ask("POST", "/v1/users", content=b" " * (2 << 20))
    assert reply.json()["code"] == "body_too_large"


def test_the_picture_of_nobody_and_of_another_projects_user_is_refused_alike(api: InProcess, other: Keys) -> None:
    user = api.user()
    replies = [
        put(api, user["id"], picture("PNG"), key=other.secret),
        put(api, "user_nobody", picture("PNG")),
        api.ask("DELETE", f"/v1/users/{user['id']}/image", key=other.secret),
    ]
    assert [reply.json()["code"] for reply in replies] == ["user_not_found"] * 3
    assert stored(api) == []


def test_a_patch_cannot_write_it(api: InProcess) -> None:
    user = api.user()
    put(api, user["id"], picture("PNG"))
    for image in (None, {"name": "x"}):
        reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"image": image})
        assert (reply.status_code, reply.json()["code"]) == (422, "field_read_only")
    whole = api.read(user["id"])
    assert api.ask("PATCH", f"/v1/users/{user['id']}", whole).json()["changes"] == []


def test_more_pictures_than_can_wait_are_refused(api: InProcess) -> None:
    async def ask(images: Images) -> list[Any]:
        many = (images.picture_of(picture("PNG")) for _ in range(WAITING_MAX + 1))
        return await asyncio.gather(*many, return_exceptions=True)

    answers = api.wait_for(ask(api.app.service.images))
    assert [type(answer).__name__ for answer in answers].count("Overloaded") == 1


# The record.


def test_the_history_tells_of_each_picture_and_folds_to_the_user(api: InProcess) -> None:
    user = api.user()
    first = put(api, user["id"], picture("PNG")).json()["image"]
    second = put(api, user["id"], picture("PNG", color=BLUE)).json()["image"]
    assert api.ask("DELETE", f"/v1/users/{user['id']}/image").json()["image"] is None
    operations = [change["operations"] for change in api.history(user["id"])[1:]]
    assert operations == [
        [{"op": "replace", "path": "/image", "old": None, "new": first}],
        [{"op": "replace", "path": "/image", "old": first, "new": second}],
        [{"op": "replace", "path": "/image", "old": second, "new": None}],
    ]
    assert api.ask("GET", f"/v1/users/{user['id']}?version=3").json()["image"] == second


def test_the_same_picture_again_changes_nothing_and_is_not_stored_twice(api: InProcess) -> None:
    user = api.user()
    first = put(api, user["id"], picture("PNG")).json()
    again = put(api, user["id"], picture("PNG")).json()
    assert (again["changes"], again["version"], again["image"]) == ([], 2, first["image"])
    assert stored(api) == [first["image"]["name"]]


def test_removing_what_is_not_there_changes_nothing(api: InProcess) -> None:
    reply = api.ask("DELETE", f"/v1/users/{api.user()['id']}/image")
    assert (reply.status_code, reply.json()["changes"]) == (200, [])


def test_if_match_is_kept_and_what_was_stored_for_nothing_is_gone(api: InProcess) -> None:
    user = api.user()
    path = f"/v1/users/{user['id']}/image"
    refused = put(api, user["id"], picture("PNG"), headers={"if-match": '"9"'})
    assert (refused.status_code, refused.json()["current_version"], stored(api)) == (412, 1, [])
    assert put(api, user["id"], picture("PNG"), headers={"if-match": '"1"'}).headers["etag"] == '"2"'
    assert api.ask("DELETE", path, headers={"if-match": '"1"'}).status_code == 412
    assert api.ask("DELETE", path, headers={"if-match": '"2"'}).status_code == 200


def test_the_same_request_with_a_key_is_answered_as_before_and_stores_nothing_more(api: InProcess) -> None:
    user, key = api.user(), {"idempotency-key": "k"}
    first = put(api, user["id"], picture("PNG"), headers=key)
    put(api, user["id"], picture("PNG", color=BLUE))
    again = put(api, user["id"], picture("PNG"), headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert len(stored(api)) == 2
    another = put(api, user["id"], picture("PNG", color=BLUE), headers=key)
    assert another.json()["code"] == "idempotency_key_reused"
    assert len(stored(api)) == 2


def test_a_dry_run_shows_the_user_and_stores_nothing(api: InProcess) -> None:
    user, before = api.user(), api.writes
    path = f"/v1/users/{user['id']}/image?dry_run=true"
    reply = api.ask("PUT", path, content=picture("PNG"), content_type="image/png")
    assert (reply.json()["image"]["width"], reply.json()["version"]) == (4, 2)
    assert (stored(api), api.writes, api.read(user["id"])["image"]) == ([], before, None)


# What is served.


@pytest.mark.parametrize(
    "path",
    [
        "/images/../userfold.db",
        "/images/user_1/../../userfold.db",
        "/images/%2e%2e/userfold.db",
        "/images/..%2f..%2fetc/passwd",
        "/images/user_1/%2e%2e%2f%2e%2e%2fuserfold.db",
        "/images/user_1/img_01m7zvgwjn3gg1x0fanetqa3a0.png",
        "/images/user_1/img_01m7zvgwjn3gg1x0fanetqa3a0.svg",
        "/images/user_1/img_01m7zvgwjn3gg1x0fanetqa3a0.png%23" + "1",
        "/images//img_01m7zvgwjn3gg1x0fanetqa3a0.png",
        "/images/user_1",
        "/images/",
    ],
)
def test_nothing_else_is_found_by_any_path(api: InProcess, path: str) -> None:
    put(api, api.user()["id"], picture("PNG"))
    request = httpx.Request("GET", httpx.URL("http://userfold.test").copy_with(raw_path=path.encode()))
    assert api.send(request).status_code == 404


@pytest.mark.parametrize(
    "user_id", ["auth0|5f7c8ec7", "ada@example.com", "..", "a/../../b", "a%2Fb", "=41", "𝒵" * 255, "a" * 255, "A b\n"]
)
def test_a_user_of_any_id_can_have_a_picture(api: InProcess, user_id: str) -> None:
    made = api.wait_for(make_user(api, user_id))
    assert made == user_id
    path = f"/v1/users/{quote(user_id, safe='').replace('.', '%2E')}/image"
    reply = api.ask("PUT", path, content=picture("PNG"), content_type="image/png")
    assert reply.status_code == 200, reply.text
    image = reply.json()["image"]
    assert served(api, image).status_code == 200
    assert stored(api) == [image["name"]]


async def make_user(api: InProcess, user_id: str) -> str:
    command = CreateUser(project_id=api.keys.project_id, author=BACKEND, user_id=user_id, edits=())
    applied = await api.app.service.engine.run(command, EffectiveSettings())
    assert applied.user is not None
    return applied.user.id


def test_clerks_clients_see_it(api: InProcess) -> None:
    user = api.user()
    before = api.ask("GET", f"/clerk/v1/users/{user['id']}").json()
    image = put(api, user["id"], picture("PNG")).json()["image"]
    after = api.ask("GET", f"/clerk/v1/users/{user['id']}").json()
    assert (before["has_image"], before["image_url"]) == (False, "http://userfold.test/images/default.svg")
    assert (after["has_image"], after["image_url"]) == (True, f"http://userfold.test/images/{image['name']}")
    assert after["profile_image_url"] == after["image_url"]


def test_names_of_two_pictures_are_never_the_same(api: InProcess) -> None:
    user = api.user()
    names = set()
    for color in (RED, BLUE, RED, BLUE):
        names.add(put(api, user["id"], picture("PNG", color=color)).json()["image"]["name"])
    assert len(names) == 4
    assert image_name("user_1", "img_1", "png") == "user_1/img_1.png"
