"""The native API's routes about the picture of a user."""

from __future__ import annotations

from userfold.api.native import wire
from userfold.api.native.handlers import SOURCE, read_user_record, run_write, user_written
from userfold.api.wire import Reply, Request, Service
from userfold.core.commands import RemoveImage, SetImage
from userfold.core.records import Image


async def set_image(service: Service, request: Request) -> Reply:
    """The user, whose picture is now what the body shows."""
    dry_run = wire.flag(request.query({"dry_run"}), "dry_run")
    once, if_match = wire.once(request), wire.if_match(request)
    content = request.require_image()
    user = await read_user_record(service, request)  # for nobody, nothing is decoded

    def make(image: Image) -> SetImage:
        return SetImage(
            project_id=request.project_id,
            author=request.author(SOURCE),
            once=None if dry_run else once,
            user_id=user.id,
            image=image,
            if_match=if_match,
        )

    return user_written(200, await service.set_image(request, user.id, content, make, dry_run=dry_run))


async def remove_image(service: Service, request: Request) -> Reply:
    """The user, who has no picture."""
    return user_written(200, await run_write(service, request, RemoveImage, user_id=request.params["id"]))
