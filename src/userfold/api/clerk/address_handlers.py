"""Clerk's routes about email addresses and phone numbers, which are the same but for their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from userfold.api import conditions
from userfold.api.clerk import wire
from userfold.api.clerk.handlers import command_of
from userfold.api.wire import Reply, Request, Service, json_reply
from userfold.core import queries
from userfold.core.commands import AddAddress, AddressEdit, ChangeAddress, IfUserMatch, RemoveAddress, UpdateUser
from userfold.core.errors import AddressNotFound
from userfold.core.queries import UserQuery
from userfold.core.records import Idempotency, Key, User

STATUSES = (None, "verified", "reserved", "unverified")


class Kind(msgspec.Struct, frozen=True):
    """A kind of address: its list in a user, Clerk's name of it, parameters without effect, and its shape."""

    field: Literal["email_addresses", "phone_numbers"]
    name: str
    no_effect: tuple[str, ...]
    shape: Callable[[Any], dict[str, Any]]

    async def create(self, service: Service, request: Request) -> Reply:
        """`createEmailAddress`, `createPhoneNumber`."""
        body, if_match = self._body(request, "user_id", self.name, "verified", "primary")
        edit = AddAddress(
            self.field,
            wire.needed_text(body, self.name),
            verified=wire.flag(body, "verified") or False,
            primary=wire.flag(body, "primary") or False,
        )
        user = await self._edit(service, request, wire.needed_text(body, "user_id"), edit, if_match)
        return self._reply(getattr(user, self.field)[-1])

    async def replace(self, service: Service, request: Request) -> Reply:
        """`replaceUserEmailAddress`, `replaceUserPhoneNumber`: from now on it is the only one."""
        body, if_match = self._body(request, self.name, "identification_status")
        status = wire.choice(body, "identification_status", STATUSES)
        value = wire.needed_text(body, self.name)
        edit = AddAddress(self.field, value, verified=status in (None, "verified"), alone=True)
        user = await self._edit(service, request, request.params["id"], edit, if_match)
        return self._reply(getattr(user, self.field)[0])

    async def read(self, service: Service, request: Request) -> Reply:
        """`getEmailAddress`, `getPhoneNumber`."""
        return self._reply(self._of(await self._owner(service, request), request.params["id"]))

    async def change(self, service: Service, request: Request) -> Reply:
        """`updateEmailAddress`, `updatePhoneNumber`."""
        body, if_match = self._body(request, "verified", "primary")
        address_id = request.params["id"]
        edit = ChangeAddress(self.field, address_id, wire.flag(body, "verified"), wire.flag(body, "primary"))
        owner = await self._owner(service, request)
        return self._reply(self._of(await self._edit(service, request, owner.id, edit, if_match), address_id))

    async def delete(self, service: Service, request: Request) -> Reply:
        """`deleteEmailAddress`, `deletePhoneNumber`."""
        address_id = request.params["id"]
        owner = await self._owner(service, request)
        if_match = wire.condition(request, {})
        await self._edit(service, request, owner.id, RemoveAddress(self.field, address_id), if_match)
        return json_reply(200, wire.deleted(self.name, address_id))

    def _body(self, request: Request, *known: str) -> tuple[dict[str, Any], IfUserMatch]:
        body = wire.body_or_nothing(request)
        if_match = wire.condition(request, body)
        wire.refuse_unknown(body, *known, *self.no_effect)
        for name in self.no_effect:
            wire.flag(body, name)
        return body, if_match

    async def _owner(self, service: Service, request: Request) -> User:
        """The user who has the address that the path names, of whichever kind it is. Raises `AddressNotFound`.

        Who asks again under an idempotency key gets the answer of then, also if the address is gone since.
        """
        once = conditions.once(request)
        if once is not None:
            key = Key("idempotency", request.project_id, once.id)
            answered = (await service.store.get((key,)))[key]
            if isinstance(answered, Idempotency) and answered.user is not None:
                return answered.user
        term = queries.term("idn", request.params["id"])
        asked = UserQuery(project_id=request.project_id, any_terms=(term,), limit=1)
        owners = await service.store.users(asked)
        if not owners:
            raise AddressNotFound(address_id=request.params["id"])
        return owners[0]

    def _of(self, user: User, address_id: str) -> Any:
        for address in getattr(user, self.field):
            if address.id == address_id:
                return address
        raise AddressNotFound(address_id=address_id)

    async def _edit(
        self, service: Service, request: Request, user_id: str, edit: AddressEdit, if_match: IfUserMatch
    ) -> User:
        command = command_of(request, UpdateUser, user_id=user_id, edits=(edit,), if_match=if_match)
        applied = await service.run(request, command)
        assert applied.user is not None
        return applied.user

    def _reply(self, address: Any) -> Reply:
        return json_reply(200, self.shape(address))


EMAIL = Kind("email_addresses", "email_address", ("notify_primary_email_address_changed",), wire.email_address)
PHONE = Kind("phone_numbers", "phone_number", ("reserved_for_second_factor",), wire.phone_number)
