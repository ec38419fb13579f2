"""Names of images: `{user}/{id}.{extension}`, where the bytes are stored and, after `/images/`, how they are asked for.

The id is new for every upload and tells when it was made. The user's id is written so that it is one part of a path
whatever it holds: an imported one may be `auth0|5f7c8ec7`, or `../..`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from userfold.core.ids import time_of

# {extension: content type} of what is stored.
CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png"}

_NAME = re.compile(rf"([A-Za-z0-9_~=-]+)/(img_[0-7][0-9a-hjkmnp-tv-z]{{25}})\.({'|'.join(CONTENT_TYPES)})")


def image_name(user_id: str, image_id: str, extension: str) -> str:
    """The name of a user's new image."""
    return f"{image_folder(user_id)}/{image_id}.{extension}"


def image_folder(user_id: str) -> str:
    """What the names of all images of a user begin with, before the slash."""
    # `=` instead of `%`, which servers and stores on the way would decode; a dot could make it `..`.
    return quote(user_id, safe="").replace(".", "%2E").replace("%", "=")


def is_image_name(name: str) -> bool:
    """Whether `image_name` can have made it."""
    return _NAME.fullmatch(name) is not None


def user_of_image(name: str) -> str:
    """The id of the user for whom an image was stored."""
    return unquote(name.partition("/")[0].replace("=", "%"))


def image_made_at(name: str) -> int:
    """When an image was named (ms since the epoch), a moment before it was stored."""
    return time_of(name.partition("/")[2].partition(".")[0])


def content_type_of_image(name: str) -> str:
    """What its bytes are."""
    return CONTENT_TYPES[name.rpartition(".")[2]]
