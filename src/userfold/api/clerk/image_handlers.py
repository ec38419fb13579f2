"""`updateUserProfileImage` and `deleteUserProfileImage`."""

from __future__ import annotations

from userfold.api import conditions, forms
from userfold.api.bodies import BodyTooLarge
from userfold.api.clerk import wire
from userfold.api.clerk.handlers import SOURCE, command_of, read_user_record, user_reply
from userfold.api.wire import Reply, Request, Service
from userfold.core.commands import RemoveImage, SetImage
from userfold.core.records import Image
from userfold.images import IMAGE_BYTES_MAX

FORM_BYTES_MAX = IMAGE_BYTES_MAX + forms.OVERHEAD_BYTES_MAX


async def set_image(service: Service, request: Request) -> Reply:
    """`updateUserProfileImage`: the part `file` of a form; what it is called and said to be does not count."""
    content, if_match = _file(request), conditions.if_match(request)
    key = conditions.idempotency_key(request)
    # Of the picture alone: what stands between the parts of a form is another text each time.
    once = None if key is None else conditions.once_of(request, key, content)
    user = await read_user_record(service, request)  # for nobody, nothing is decoded

    def make(image: Image) -> SetImage:
        return SetImage(
            project_id=request.project_id,
            author=request.author(SOURCE),
            once=once,
            user_id=user.id,
            image=image,
            if_match=if_match,
        )

    return await user_reply(service, request, await service.set_image(request, user.id, content, make))


async def remove_image(service: Service, request: Request) -> Reply:
    """`deleteUserProfileImage`. Removing it again changes nothing."""
    body = wire.body_or_nothing(request)
    if_match = wire.condition(request, body)
    wire.refuse_unknown(body)
    command = command_of(request, RemoveImage, user_id=request.params["id"], if_match=if_match)
    return await user_reply(service, request, await service.run(request, command))


def _file(request: Request) -> bytes:
    content = next((part.content for part in forms.parts(request) if part.name == "file"), None)
    if content is None:
        raise forms.PartMissing(path="/file")
    if len(content) > IMAGE_BYTES_MAX:
        raise BodyTooLarge(size_max=IMAGE_BYTES_MAX)
    return content
