"""Deliveries of Clerk's webhooks, built as Svix builds and signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from typing import Any

import httpx

from tests.server import InProcess
from userfold.clock import clock_ms
from userfold.core.commands import CreateKey
from userfold.core.records import EffectiveSettings
from userfold.first_start import OPERATOR
from userfold.tokens import webhook_key

SECRET = "whsec_" + base64.b64encode(b"a key of 24 bytes of one").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"a key of 24 bytes, other").decode()

_numbers = itertools.count(1)


def signed(body: bytes, message_id: str, at_s: int, secret: str = SECRET) -> str:
    """A signature, made without Userfold's own code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{message_id}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def event(kind: str, data: dict[str, Any], told_at: int = 1_750_000_000_000) -> bytes:
    """The body of a delivery, with the six members that Clerk sends."""
    about = {"http_request": {"client_ip": "192.0.2.1", "user_agent": "test"}}
    members = {"data": data, "object": "event", "type": kind, "timestamp": told_at}
    return json.dumps(members | {"instance_id": "ins_1", "event_attributes": about}, separators=(",", ":")).encode()


def address(id_: str, value: str, status: str | None = "verified", **more: Any) -> dict[str, Any]:
    """Clerk's `EmailAddress`."""
    verification = (
        None if status is None else {"object": "verification_otp", "status": status, "strategy": "email_code"}
    )
    return {"id": id_, "object": "email_address", "email_address": value, "verification": verification} | more


def clerk_user(id_: str = "user_2abAda", *, updated_at: int = 1_750_000_000_000, **fields: Any) -> dict[str, Any]:
    """Clerk's `User` as its webhooks carry it."""
    user: dict[str, Any] = {
        "id": id_,
        "object": "user",
        "external_id": None,
        "username": None,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "primary_email_address_id": "idn_1",
        "primary_phone_number_id": None,
        "image_url": "https://img.example/ada.png",
        "has_image": True,
        "public_metadata": {"plan": "free"},
        "private_metadata": {"stripe": "cus_1"},
        "unsafe_metadata": {},
        "email_addresses": [address("idn_1", f"{id_.lower()}@example.com")],
        "phone_numbers": [],
        "web3_wallets": [],
        "passkeys": [],
        "external_accounts": [],
        "enterprise_accounts": [],
        "password_enabled": True,
        "two_factor_enabled": False,
        "banned": False,
        "locked": False,
        "last_sign_in_at": 1_749_999_999_000,
        "created_at": 1_700_000_000_000,
        "updated_at": updated_at,
    }
    return user | fields


def add_secret(api: InProcess, project_id: str | None = None, secret: str = SECRET) -> str:
    """The id of a webhook key that a project now has."""
    encrypt = api.app.service.encryption.encrypt
    key = webhook_key(project_id or api.keys.project_id, secret, "Clerk", clock_ms(), encrypt=encrypt)
    command = CreateKey(project_id=key.project_id, author=OPERATOR, key=key)
    api.wait_for(api.app.service.engine.run(command, EffectiveSettings()))
    api.app.service.directory.forget()
    return key.id


def deliver(
    api: InProcess,
    body: bytes,
    *,
    message_id: str | None = None,
    at_s: int | None = None,
    signature: str | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """The answer to a delivery, which is signed with `SECRET` unless a signature is given."""
    message_id = message_id or f"msg_{next(_numbers)}"
    at_s = clock_ms() // 1000 if at_s is None else at_s
    sent = {
        "svix-id": message_id,
        "svix-timestamp": str(at_s),
        "svix-signature": signed(body, message_id, at_s) if signature is None else signature,
    }
    return api.ask("POST", "/clerk/webhooks", content=body, key="", headers=sent | (headers or {}))
