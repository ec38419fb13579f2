"""Removes the bytes of pictures that no record names, and those of users who were deleted."""

from __future__ import annotations

from collections.abc import Sequence

from userfold.core.image_names import image_folder, image_made_at, user_of_image
from userfold.core.image_rules import UNNAMED_IMAGES_KEPT_MS
from userfold.core.records import Erasure, Key, User
from userfold.images import Images
from userfold.storage.port import Store


async def sweep_images(images: Images, store: Store, now: int) -> int:
    """Remove what has had no name in any record for long enough; how much that was. Raises a `StoreError`.

    The age is told by the name, so nothing depends on the clock of wherever the bytes are.
    """
    before = now - UNNAMED_IMAGES_KEPT_MS
    removed = await images.remove_unfinished(lambda name: image_made_at(name) <= before)
    async for names in images.names():
        old = [name for name in names if image_made_at(name) <= before]
        removed += await _remove_unnamed(images, store, old)
    return removed


async def sweep_images_of(images: Images, store: Store, erasure: Erasure) -> int:
    """Remove at once what a deleted user left; how much that was. Raises a `StoreError`.

    No record can come to name it: `image_rules` refuses an image that is as old. One of a user of the same id may.
    """
    folder = image_folder(erasure.id)
    removed = await images.remove_unfinished(lambda name: _is_erased(name, erasure), folder)
    async for names in images.names(folder):
        erased = [name for name in names if _is_erased(name, erasure)]
        removed += await _remove_unnamed(images, store, erased)
    return removed


def _is_erased(name: str, erasure: Erasure) -> bool:
    return user_of_image(name) == erasure.id and image_made_at(name) <= erasure.at


async def _remove_unnamed(images: Images, store: Store, names: Sequence[str]) -> int:
    """Remove those of `names` that no record has; how many that were."""
    named = await _named(store, names)
    unnamed = [name for name in names if name not in named]
    for name in unnamed:
        await images.delete(name)
    return len(unnamed)


async def _named(store: Store, names: Sequence[str]) -> frozenset[str]:
    """Those of `names` that a user has. Which project it is of is not in a name: an id may be there in several."""
    projects = await store.list("project")
    users = {user_of_image(name) for name in names}
    keys = [Key("user", project.id, user) for project in projects for user in users]  # type: ignore[attr-defined]
    found = (await store.get(keys)).values() if keys else ()
    return frozenset(user.image.name for user in found if isinstance(user, User) and user.image is not None)
