"""Names of images: one part of a path for any id, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userfold.core.ids import make_id, time_of
from userfold.core.image_names import (
    content_type_of_image,
    image_made_at,
    image_name,
    is_image_name,
    user_of_image,
)

IMAGE = "img_01m7zvgwjn3gg1x0fanetqa3a0"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255), st.integers(0, 2**48 - 1))
def test_a_name_tells_whose_it_is_and_when_it_was_made(user_id: str, at: int) -> None:
    name = image_name(user_id, make_id("img_", at, 7), "jpg")
    assert is_image_name(name)
    assert (user_of_image(name), image_made_at(name), content_type_of_image(name)) == (user_id, at, "image/jpeg")
    assert name.count("/") == 1
    assert ".." not in name


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_an_id_tells_when_it_was_made(at: int, entropy: int) -> None:
    assert time_of(make_id("user_", at, entropy)) == at


@pytest.mark.parametrize(
    "name",
    [
        "",
        IMAGE + ".png",
        f"/{IMAGE}.png",
        f"../{IMAGE}.png",
        f"a/b/{IMAGE}.png",
        f"a/{IMAGE}.svg",
        f"a/{IMAGE}.png#1",
        f"a/{IMAGE}.png\n",
        f"a/{IMAGE}",
        f"a/{IMAGE[:-1]}.png",
        f"a/{IMAGE[:-1]}u.png",
        f"a/img_8{IMAGE[5:]}.png",
        f"a%2F..%2F/{IMAGE}.png",
        f"a\\b/{IMAGE}.png",
    ],
)
def test_nothing_else_is_a_name(name: str) -> None:
    assert not is_image_name(name)
