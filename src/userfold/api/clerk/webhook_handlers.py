"""Clerk's own webhooks: a team goes on signing in at Clerk, and its users arrive here.

A delivery is signed by Svix. Its project is the one whose secret signed it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from userfold.api.clerk.handlers import SOURCE
from userfold.api.clerk.mirroring import mirroring, text_of
from userfold.api.wire import HeaderInvalid, Reply, Request, Service, Unauthorized, json_reply
from userfold.core.commands import MirrorDeletion, MirrorUser
from userfold.core.errors import DomainError, FieldInvalid
from userfold.core.signatures import is_recent, is_signed, signing_key
from userfold.directory import Caller
from userfold.logs import about

log = logging.getLogger("userfold.api.clerk")

HEADERS = (b"svix-id", b"svix-timestamp", b"svix-signature")
IGNORED_LOGGED_MAX = 100


class DeliveryUnsigned(Unauthorized):
    """The delivery is not signed with the secret of a webhook of any project."""

    code = "delivery_unsigned"
    hint = "`userfold keys list` shows the webhook keys; is the endpoint's signing secret among them?"


class DeliveryInvalid(HeaderInvalid):
    """The delivery cannot be taken: {reason}."""

    code = "delivery_invalid"


class Receiver:
    """Takes deliveries. It remembers of which events it has said that they are ignored."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    async def receive(self, service: Service, request: Request) -> Reply:
        """`user.created`, `user.updated`, `user.deleted`; of any other event that it is ignored.

        What is refused is sent again, at longer and longer intervals. So is a user one of whose names belongs to
        another here: often that one has just given it up, and the delivery that says so is on its way.
        """
        request.query(())
        caller = await sender(service, request)
        service.directory.note_use(caller)
        request = msgspec.structs.replace(request, caller=caller)
        event = request.json_object()
        kind = text_of(event, "type")
        if kind not in _COMMANDS:
            return self._ignored(kind, request)
        command = _COMMANDS[kind](event, request)
        try:
            applied = await service.run(request, command)
        except DomainError as refusal:
            line = "Clerk's %s of %s is refused, and Clerk will send it again: %s %s"
            log.warning(line, kind, command.user_id, refusal, refusal.hint, extra=about(request.id))
            raise
        return json_reply(200, {"object": "event", "type": kind, "changed": bool(applied.writes)})

    def _ignored(self, kind: str, request: Request) -> Reply:
        """It was delivered, and need not be sent again. The log says so once."""
        if kind not in self._told and len(self._told) < IGNORED_LOGGED_MAX:
            self._told.add(kind)
            log.info("Clerk's event %r is ignored, as are all but those of users", kind[:64], extra=about(request.id))
        return json_reply(200, {"object": "event", "ignored": kind})


async def sender(service: Service, request: Request) -> Caller:
    """Who signed a delivery. Raises `DeliveryInvalid`, `DeliveryUnsigned`."""
    message_id, timestamp, signatures = (request.header(name) for name in HEADERS)
    if not message_id or not timestamp or not signatures:
        raise DeliveryInvalid(reason="svix-id, svix-timestamp and svix-signature are needed")
    # A list and no generator: every secret is tried, whichever is the right one.
    senders = [
        signer.caller
        for signer in await service.directory.signers()
        if is_signed(signing_key(signer.secret), message_id, timestamp, request.body, signatures)
    ]
    if not senders:
        raise DeliveryUnsigned
    if not is_recent(timestamp, service.engine.now()):
        raise DeliveryInvalid(reason="its svix-timestamp is over five minutes away from the clock of this server")
    return senders[0]


def _changed(event: dict[str, Any], request: Request) -> MirrorUser:
    # Clerk's descriptions show milliseconds, and one shows seconds.
    told_at = event.get("timestamp")
    told_at = told_at if type(told_at) is int and told_at > 0 else 0
    return mirroring(_data(event), request.project_id, request.author(SOURCE), told_at=told_at)


def _deleted(event: dict[str, Any], request: Request) -> MirrorDeletion:
    user_id = text_of(_data(event), "id")
    return MirrorDeletion(project_id=request.project_id, author=request.author(SOURCE), user_id=user_id)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    if not isinstance(data, dict):
        raise FieldInvalid(path="/data", reason="an object is needed")
    return data


_COMMANDS: dict[str, Callable[[dict[str, Any], Request], MirrorUser | MirrorDeletion]] = {
    "user.created": _changed,
    "user.updated": _changed,
    "user.deleted": _deleted,
}
