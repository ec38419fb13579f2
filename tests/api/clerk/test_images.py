"""Pictures through Clerk's API: forms, what is refused in Clerk's words, and that a refusal leaves no trace."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.pictures import opened, picture, png_bomb
from tests.server import InProcess
from userfold.api.clerk.image_handlers import FORM_BYTES_MAX
from userfold.images import IMAGE_BYTES_MAX

PNG = picture("PNG")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
BOUNDARY = "----formdata-undici-034889410432"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(content: bytes, *, name: str = "file", filename: str = "blob", kind: str = "image/png") -> bytes:
    """A part of a form, as both SDKs write it."""
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(api: InProcess, user_id: str, body: bytes, content_type: str = FORM) -> httpx.Response:
    return api.ask("POST", f"/clerk/v1/users/{user_id}/profile_image", content=body, content_type=content_type)


def stored(api: InProcess) -> list[str]:
    async def names() -> list[str]:
        return [name async for some in api.app.service.images.names() for name in some]

    return api.wait_for(names())


def test_a_picture_is_set_shown_and_removed(api: InProcess) -> None:
    id_ = api.user()["id"]
    reply = post(api, id_, form(part(PNG)))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json"), reply.text
    user = reply.json()
    assert user["has_image"] is True
    path = user["image_url"].removeprefix(api.app.service.public_url)
    assert opened(api.ask("GET", path, key="").content).size == opened(PNG).size
    assert api.ask("GET", f"/clerk/v1/users/{id_}").json() == user
    assert [change["source"] for change in api.history(id_)] == ["native", "clerk"]
    removed = api.ask("DELETE", f"/clerk/v1/users/{id_}/profile_image").json()
    assert (removed["id"], removed["has_image"]) == (id_, False)
    again = api.ask("DELETE", f"/clerk/v1/users/{id_}/profile_image")
    assert (again.status_code, again.json()) == (200, removed)


def test_the_bytes_say_what_a_picture_is(api: InProcess) -> None:
    reply = post(api, api.user()["id"], form(part(PNG, filename="me.jpg", kind="image/jpeg")))
    assert reply.json()["image_url"].endswith(".png")


def test_other_parts_of_a_form_do_not_count(api: InProcess) -> None:
    body = form(part(b"Ada", name="title"), part(PNG), part(SVG))
    assert post(api, api.user()["id"], body).status_code == 200


REFUSED: dict[str, tuple[bytes, str, int, str]] = {
    "an SVG": (form(part(SVG, kind="image/svg+xml")), FORM, 400, "request_body_invalid"),
    "half a PNG": (form(part(PNG[:-60])), FORM, 400, "request_body_invalid"),
    "nothing": (form(part(b"")), FORM, 400, "request_body_invalid"),
    "a decompression bomb": (form(part(png_bomb(12_000))), FORM, 413, "image_too_large"),
    "one byte too much": (form(part(PNG.ljust(IMAGE_BYTES_MAX + 1))), FORM, 413, "image_too_large"),
    "50 MB": (form(part(b"\xff" * 50_000_000)), FORM, 413, "image_too_large"),
    "no file": (form(part(PNG, name="image")), FORM, 400, "form_param_missing"),
    "an empty form": (form(), FORM, 400, "form_param_missing"),
    "a form that breaks off": (part(PNG), FORM, 400, "request_body_invalid"),
    "another boundary": (form(part(PNG)), FORM + "x", 400, "request_body_invalid"),
    "no boundary": (form(part(PNG)), "multipart/form-data", 400, "request_body_invalid"),
    "a part without a name": (form(part(PNG, name="")), FORM, 400, "request_body_invalid"),
    "too many parts": (form(*[part(b"", name="x")] * 65), FORM, 400, "request_body_invalid"),
    "a picture and no form": (PNG, "image/png", 415, "unsupported_content_type"),
    "JSON": (b"{}", "application/json", 415, "unsupported_content_type"),
    "no body": (b"", FORM, 400, "request_body_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_and_leaves_no_trace(api: InProcess, name: str) -> None:
    body, content_type, status, code = REFUSED[name]
    id_ = api.user()["id"]
    before = api.writes
    reply = post(api, id_, body, content_type)
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"]) == (status, code), reply.text
    assert error["long_message"]
    assert (stored(api), api.writes) == ([], before)


def test_ten_mebibytes_are_taken(api: InProcess) -> None:
    body = form(part(PNG.ljust(IMAGE_BYTES_MAX)))
    assert len(body) < FORM_BYTES_MAX
    assert post(api, api.user()["id"], body).status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nobody_has_no_picture(api: InProcess, method: str) -> None:
    given: dict[str, Any] = {"content": form(part(PNG)), "content_type": FORM} if method == "POST" else {}
    reply = api.ask(method, "/clerk/v1/users/user_nobody/profile_image", **given)
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (404, "resource_not_found")
    assert stored(api) == []


def test_a_picture_may_depend_on_the_version_and_be_set_once(api: InProcess) -> None:
    id_ = api.user()["id"]
    path, writes = f"/clerk/v1/users/{id_}/profile_image", api.writes
    stale = {"if-match": '"7"'}
    for method, content in (("POST", form(part(PNG))), ("DELETE", b"")):
        reply = api.ask(method, path, content=content, content_type=FORM, headers=stale)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (409, "conflict")
    assert (api.writes, stored(api)) == (writes, [])
    key = {"idempotency-key": "k"}
    first = api.ask("POST", path, content=form(part(PNG)), content_type=FORM, headers=key)
    assert first.status_code == 200
    api.ask("DELETE", path)
    other = FORM.replace("undici", "another")  # as each attempt of an SDK has it
    body = form(part(PNG)).replace(b"undici", b"another")
    again = api.ask("POST", path, content=body, content_type=other, headers=key)
    assert again.json() == first.json()
    assert api.read(id_)["image"] is None
    reused = api.ask("POST", path, content=form(part(picture("JPEG"))), content_type=FORM, headers=key)
    assert (reused.status_code, reused.json()["errors"][0]["code"]) == (409, "conflict")
