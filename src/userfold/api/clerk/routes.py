"""The route table of the Clerk-compatible API. A line without a handler is planned and answers 501."""

from __future__ import annotations

from userfold.api.clerk import handlers, image_handlers, second_factor_handlers, session_handlers
from userfold.api.clerk.address_handlers import EMAIL, PHONE
from userfold.api.clerk.webhook_handlers import Receiver
from userfold.api.wire import Route

PREFIX = "/clerk/v1"
# Called by Clerk itself, which shows no key: it signs what it sends.
WEBHOOKS_PREFIX = "/clerk"
WEBHOOKS_PATH = "/webhooks"

ROUTES = (
    Route("POST", "/users", handlers.create_user),
    Route("GET", "/users/{id}", handlers.read_user),
    Route("PATCH", "/users/{id}/metadata", handlers.merge_metadata),
    Route("PUT", "/users/{id}/metadata", handlers.replace_metadata),
    Route("GET", "/users", handlers.list_users),
    Route("GET", "/users/count", handlers.count_users),
    Route("PATCH", "/users/{id}", handlers.update_user),
    Route("DELETE", "/users/{id}", handlers.delete_user),
    Route("POST", "/users/ban", handlers.flagging_all("disabled", True)),
    Route("POST", "/users/unban", handlers.flagging_all("disabled", False)),
    Route("POST", "/users/{id}/ban", handlers.flagging("disabled", True)),
    Route("POST", "/users/{id}/unban", handlers.flagging("disabled", False)),
    Route("POST", "/users/{id}/lock", handlers.flagging("locked", True)),
    Route("POST", "/users/{id}/unlock", handlers.flagging("locked", False)),
    Route(
        "POST",
        "/users/{id}/profile_image",
        image_handlers.set_image,
        body_bytes_max=image_handlers.FORM_BYTES_MAX,
    ),
    Route("DELETE", "/users/{id}/profile_image", image_handlers.remove_image),
    Route("PUT", "/users/{id}/email_address", EMAIL.replace),
    Route("PUT", "/users/{id}/phone_number", PHONE.replace),
    Route("POST", "/users/{id}/verify_password", handlers.verify_password),
    Route("POST", "/users/{id}/verify_totp", second_factor_handlers.verify_totp),
    Route("POST", "/users/{id}/remove_password", handlers.remove_password),
    Route("POST", "/users/{id}/password/set_compromised", second_factor_handlers.marking(compromised=True)),
    Route("POST", "/users/{id}/password/unset_compromised", second_factor_handlers.marking(compromised=False)),
    Route("DELETE", "/users/{id}/mfa", second_factor_handlers.removing(totp=True, backup_codes=True)),
    Route("DELETE", "/users/{id}/totp", second_factor_handlers.removing(totp=True)),
    Route("DELETE", "/users/{id}/backup_code", second_factor_handlers.removing(backup_codes=True)),
    Route("GET", "/users/{id}/organization_memberships", handlers.list_no_organizations),
    Route("GET", "/users/{id}/organization_invitations", handlers.list_no_organizations),
    Route("DELETE", "/users/{id}/passkeys/{passkey_id}", None),
    Route("DELETE", "/users/{id}/web3_wallets/{wallet_id}", None),
    Route("DELETE", "/users/{id}/external_accounts/{account_id}", None),
    Route("GET", "/users/{id}/oauth_access_tokens/{provider}", None),
    Route("GET", "/users/{id}/billing/subscription", None),
    Route("GET", "/users/{id}/billing/credits", None),
    Route("POST", "/users/{id}/billing/credits", None),
    Route("GET", "/users/{id}/trusted_devices", None),
    Route("DELETE", "/users/{id}/trusted_devices/{device_id}", None),
    Route("POST", "/email_addresses", EMAIL.create),
    Route("GET", "/email_addresses/{id}", EMAIL.read),
    Route("PATCH", "/email_addresses/{id}", EMAIL.change),
    Route("DELETE", "/email_addresses/{id}", EMAIL.delete),
    Route("POST", "/phone_numbers", PHONE.create),
    Route("GET", "/phone_numbers/{id}", PHONE.read),
    Route("PATCH", "/phone_numbers/{id}", PHONE.change),
    Route("DELETE", "/phone_numbers/{id}", PHONE.delete),
    Route("GET", "/sessions", session_handlers.list_sessions),
    Route("POST", "/sessions", session_handlers.create_session),
    Route("GET", "/sessions/{id}", session_handlers.read_session),
    Route("POST", "/sessions/{id}/revoke", session_handlers.revoke_session),
    Route("POST", "/sessions/{id}/tokens", None),
    Route("POST", "/sessions/{id}/tokens/{template}", None),
)


def webhook_routes() -> tuple[Route, ...]:
    """The routes below `WEBHOOKS_PREFIX`."""
    return (Route("POST", WEBHOOKS_PATH, Receiver().receive),)
