"""The rules about the pictures of users. Their bytes are stored before the record that names them, and swept after it.

So a record never names bytes that are not there, whatever is killed in between; what no record names is removed in
time, once nobody can be about to name it.
"""

from __future__ import annotations

import msgspec

from userfold.core.applied import Applied
from userfold.core.commands import Command, IfUserMatch, RemoveImage, SetImage
from userfold.core.errors import UserNotFound
from userfold.core.ids import Mint
from userfold.core.image_names import user_of_image
from userfold.core.reading import Records, existing_user, match_user, read
from userfold.core.records import EffectiveSettings, Erasure, Image, Key, Operation, User
from userfold.core.trust import Ignored
from userfold.core.user_rules import changed_user, json_value

NOT_PERMITTED = (Ignored("/image", "not_permitted"),)

# How long bytes are kept that no record names. Far longer than a command waits between storing them and naming them.
UNNAMED_IMAGES_KEPT_MS = 3_600_000


def set_image(command: SetImage, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    image = command.image
    assert user_of_image(image.name) == command.user_id, "an image is stored under its user"
    user = _existing(command, command.user_id, command.if_match, records)
    erasure = read(records, Key("erasure", command.project_id, command.user_id), Erasure)
    if erasure is not None and image.created_at <= erasure.at:
        # It was sent to a user of that id who is gone, and whose images are being removed.
        raise UserNotFound(user_id=command.user_id)
    if user.image is not None and user.image.sha256 == image.sha256:
        return Applied(writes={}, user=user)
    return _with_image(command, user, image, mint)


def remove_image(command: RemoveImage, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    user = _existing(command, command.user_id, command.if_match, records)
    return Applied(writes={}, user=user) if user.image is None else _with_image(command, user, None, mint)


def reads_image(command: SetImage) -> tuple[Key, ...]:
    return tuple(Key(kind, command.project_id, command.user_id) for kind in ("user", "erasure"))


def _existing(command: Command, user_id: str, if_match: IfUserMatch, records: Records) -> User:
    user = existing_user(records, command.project_id, user_id)
    match_user(user, if_match)
    return user


def _with_image(command: Command, before: User, image: Image | None, mint: Mint) -> Applied:
    if command.author.trust != "backend":
        return Applied(writes={}, user=before, ignored=NOT_PERMITTED)
    after = msgspec.structs.replace(
        before, image=image, updated_at=mint.after(before.updated_at), version=before.version + 1
    )
    # As a whole, not by its parts: one picture gives way to another.
    replaced = Operation(op="replace", path="/image", old=json_value(before, "image"), new=json_value(after, "image"))
    return changed_user(command, after, {}, (replaced,), mint)
