"""The unmodified PyPI `clerk-backend-api`: each function, once in success and once in its documented failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.clerk.sdk.calls import (
    BACKUP_CODES,
    TOTP_SECRET,
    Call,
    Is,
    People,
    PythonSdk,
    Refused,
    came_and_wanted,
    python_sdk,
)
from tests.api.pictures import picture
from tests.server import Server
from userfold.core.claims import DAY_MS

NOBODY = {"user_id": "user_nobody"}
HUNDRED_AND_ONE = [f"user_{number}" for number in range(101)]

NOT_BUILT = Refused(501, "not_implemented", error="SDKError")


def not_found(error: str = "ClerkErrors") -> Refused:
    """`SDKError`: Clerk's description of the function lists no 404, so that this SDK does not parse it."""
    return Refused(404, "resource_not_found", error=error)


def wrong(code: str, param_name: str | None = None) -> Refused:
    return Refused(422, code, param_name, "ClerkErrors")


def verified(type: str) -> Is:
    """The verification of an address that a backend made."""
    return Is(
        type,
        object="verification_admin",
        status="verified",
        strategy="admin",
        attempts=None,
        expire_at=None,
    )


USERS = [
    Call(
        "users.create",
        {
            "external_id": "new-{n}",
            "username": "New_{n}",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "locale": "en-GB",
            "email_address": ["New{n}@Example.com", "new{n}@example.org"],
            "email_address_identification_status": ["verified", "reserved"],
            "phone_number": ["{free_number}"],
            "password": "correct horse",
            "public_metadata": {"camelCaseKey": {"innerKey": 1, "snake_key": None}},
            "private_metadata": {"stripeId": "cus_1"},
            "unsafe_metadata": {"uni": "Zoë 🦊", "list": [None, {}, 1.5]},
            "created_at": "2024-01-02T03:04:05.678Z",
            "locked": True,
        },
        Is(
            "User",
            object="user",
            external_id="new-{n}",
            username="New_{n}",
            first_name="Ada",
            last_name="Lovelace",
            locale="en-GB",
            email_addresses=[
                Is(
                    "EmailAddress",
                    object="email_address",
                    email_address="new{n}@example.com",
                    reserved=False,
                    verification=verified("Admin"),
                    linked_to=[],
                ),
                Is("EmailAddress", email_address="new{n}@example.org", verification=None),
            ],
            phone_numbers=[
                Is(
                    "PhoneNumber",
                    object="phone_number",
                    phone_number="{free_number}",
                    verification=verified("VerificationAdmin"),
                    linked_to=[],
                )
            ],
            primary_web3_wallet_id=None,
            password_enabled=True,
            two_factor_enabled=False,
            public_metadata={"camelCaseKey": {"innerKey": 1, "snake_key": None}},
            private_metadata={"stripeId": "cus_1"},
            unsafe_metadata={"uni": "Zoë 🦊", "list": [None, {}, 1.5]},
            created_at=1704164645678,
            banned=False,
            locked=True,
            has_image=False,
            passkeys=[],
            external_accounts=[],
            organization_memberships=[],
        ),
    ),
    Call("users.create", {"email_address": ["{taken_email}"]}, wrong("form_identifier_exists", "email_address")),
    Call("users.create", {"email_address": ["nothing"]}, wrong("form_param_format_invalid", "email_address")),
    Call("users.create", {"password": "2 short"}, wrong("form_password_length_too_short", "password")),
    Call("users.create", {"web3_wallet": ["0x1"]}, wrong("form_param_unknown", "web3_wallet")),
    Call(
        "users.get",
        {"user_id": "{user}"},
        Is("User", id="{user}", primary_email_address_id="{email}", primary_phone_number_id="{phone}"),
    ),
    Call("users.get", NOBODY, not_found()),
    Call(
        "users.update",
        {"user_id": "{user}", "first_name": "Augusta", "last_name": None, "primary_email_address_id": "{second_email}"},
        Is("User", first_name="Augusta", last_name=None, primary_email_address_id="{second_email}", username="ada_{n}"),
    ),
    # It sends `notify_primary_email_address_changed`, and nothing else.
    Call("users.update", {"user_id": "{user}"}, Is("User", id="{user}", first_name="Ada", last_name="Lovelace")),
    Call("users.update", {**NOBODY, "first_name": "Ada"}, not_found()),
    Call(
        "users.update",
        {"user_id": "{user}", "username": "{taken_username}"},
        wrong("form_identifier_exists", "username"),
    ),
    Call(
        "users.update",
        {"user_id": "{user}", "primary_phone_number_id": "{email}"},
        not_found(),
    ),
    Call("users.delete", {"user_id": "{user}"}, Is("DeletedObject", object="user", id="{user}", deleted=True)),
    Call("users.delete", NOBODY, not_found()),
    Call(
        "users.update_metadata",
        {
            "user_id": "{user}",
            "public_metadata": {"plan": None, "prefs": {"theme": "dark", "nested": {"add": 3, "not": None}}},
            "unsafe_metadata": {},
        },
        Is(
            "User",
            public_metadata={"prefs": {"theme": "dark", "lang": "en", "nested": {"add": 3}}},
            private_metadata={"stripeId": "cus_1"},
            unsafe_metadata={"step": 1},
        ),
    ),
    Call("users.update_metadata", {"user_id": "{user}"}, Is("User", unsafe_metadata={"step": 1})),
    Call("users.update_metadata", {**NOBODY, "public_metadata": {}}, not_found()),
    Call(
        "users.update_metadata",
        {"user_id": "{user}", "private_metadata": {"text": "x" * (1 << 16)}},
        wrong("form_param_exceeds_allowed_size", "private_metadata"),
    ),
    Call(
        "users.replace_metadata",
        {"user_id": "{user}", "public_metadata": {"only": {"x": None}}, "private_metadata": {}},
        Is("User", public_metadata={"only": {"x": None}}, private_metadata={}, unsafe_metadata={"step": 1}),
    ),
    Call("users.replace_metadata", {**NOBODY, "public_metadata": {}}, not_found()),
    Call("users.ban", {"user_id": "{user}"}, Is("User", id="{user}", banned=True, locked=False)),
    Call("users.ban", NOBODY, not_found("SDKError")),
    Call("users.unban", {"user_id": "{banned}"}, Is("User", id="{banned}", banned=False)),
    Call("users.unban", NOBODY, not_found("SDKError")),
    Call(
        "users.bulk_ban",
        {"user_ids": ["{user}", "{banned}", "{user}"]},
        [Is("User", id="{user}", banned=True), Is("User", id="{banned}", banned=True)],
    ),
    Call(
        "users.bulk_ban", {"user_ids": HUNDRED_AND_ONE}, Refused(400, "bulk_size_exceeded", "user_ids", "ClerkErrors")
    ),
    Call("users.bulk_ban", {"user_ids": ["{user}", "user_nobody"]}, not_found("SDKError")),
    Call("users.bulk_unban", {"user_ids": ["{banned}"]}, [Is("User", id="{banned}", banned=False)]),
    Call(
        "users.bulk_unban", {"user_ids": HUNDRED_AND_ONE}, Refused(400, "bulk_size_exceeded", "user_ids", "ClerkErrors")
    ),
    Call("users.lock", {"user_id": "{user}"}, Is("User", id="{user}", locked=True, banned=False)),
    Call("users.lock", NOBODY, not_found("SDKError")),
    Call("users.unlock", {"user_id": "{user}"}, Is("User", id="{user}", locked=False)),
    Call("users.unlock", NOBODY, not_found("SDKError")),
    Call(
        "users.verify_password",
        {"user_id": "{user}", "password": "correct horse"},
        Is("VerifyPasswordResponseBody", verified=True),
    ),
    Call(
        "users.verify_password",
        {"user_id": "{user}", "password": "wrong horse"},
        Refused(422, "incorrect_password", "password", "SDKError"),
    ),
    Call(
        "users.verify_password",
        {"user_id": "{other}", "password": "correct horse"},
        Refused(400, "no_password_set", error="SDKError"),
    ),
    Call("users.remove_password", {"user_id": "{user}"}, Is("User", id="{user}", password_enabled=False)),
    Call("users.remove_password", NOBODY, not_found()),
    Call(
        "users.get_organization_memberships",
        {"user_id": "{user}"},
        Is("OrganizationMemberships", data=[], total_count=0),
    ),
    Call("users.get_organization_memberships", NOBODY, not_found("SDKError")),
    Call(
        "users.get_organization_invitations",
        {"user_id": "{user}"},
        Is("OrganizationInvitationsWithPublicOrganizationData", data=[], total_count=0),
    ),
    Call("users.get_organization_invitations", NOBODY, not_found()),
    Call(
        "users.set_profile_image",
        {"user_id": "{user}", "file": {"file_name": "me.jpg", "content": picture("PNG"), "content_type": "image/jpeg"}},
        Is("User", id="{user}", has_image=True, first_name="Ada"),
    ),
    Call(
        "users.set_profile_image",
        {**NOBODY, "file": {"file_name": "me.png", "content": picture("PNG"), "content_type": "image/png"}},
        not_found(),
    ),
    Call(
        "users.set_profile_image",
        {"user_id": "{user}", "file": {"file_name": "me.png", "content": b"no picture", "content_type": "image/png"}},
        Refused(400, "request_body_invalid", error="ClerkErrors"),
    ),
    Call("users.delete_profile_image", {"user_id": "{pictured}"}, Is("User", id="{pictured}", has_image=False)),
    Call("users.delete_profile_image", NOBODY, not_found()),
    # test_lists.py has all that can be asked of these two.
    Call("users.list", {"request": {"user_id": ["{user}"]}}, [Is("User", id="{user}", username="ada_{n}")]),
    Call("users.list", {"request": {"limit": 501}}, wrong("form_param_value_invalid", "limit")),
    Call(
        "users.count",
        {"request": {"user_id": ["{user}", "{other}"]}},
        Is("TotalCount", object="total_count", total_count=2),
    ),
    Call("users.count", {"request": {"user_id": HUNDRED_AND_ONE}}, wrong("form_param_array_size_exceeded", "user_id")),
]

ADDRESSES = [
    Call(
        "email_addresses.create",
        {"request": {"user_id": "{user}", "email_address": "Third{n}@example.com"}},
        Is(
            "EmailAddress",
            object="email_address",
            email_address="third{n}@example.com",
            verification=None,
            reserved=False,
            linked_to=[],
        ),
    ),
    Call(
        "email_addresses.create",
        {"request": {"user_id": "{user}", "email_address": "v{n}@example.com", "verified": True, "primary": True}},
        Is("EmailAddress", email_address="v{n}@example.com", verification=verified("Admin")),
    ),
    Call(
        "email_addresses.create",
        {"request": {"user_id": "{user}", "email_address": "{taken_email}"}},
        wrong("form_identifier_exists", "email_address"),
    ),
    Call("email_addresses.create", {"request": {**NOBODY, "email_address": "third{n}@example.com"}}, not_found()),
    Call(
        "email_addresses.get",
        {"email_address_id": "{email}"},
        Is("EmailAddress", id="{email}", email_address="ada{n}@example.com", verification=verified("Admin")),
    ),
    Call("email_addresses.get", {"email_address_id": "idn_nothing"}, not_found()),
    Call("email_addresses.get", {"email_address_id": "{phone}"}, not_found()),
    Call(
        "email_addresses.update",
        {"email_address_id": "{second_email}", "verified": False},
        Is("EmailAddress", id="{second_email}", verification=None),
    ),
    Call("email_addresses.update", {"email_address_id": "idn_nothing", "verified": True}, not_found()),
    Call(
        "email_addresses.delete",
        {"email_address_id": "{email}"},
        Is("DeletedObject", object="email_address", id="{email}", deleted=True),
    ),
    Call(
        "email_addresses.delete",
        {"email_address_id": "{only_email}"},
        Refused(400, "identification_deletion_failed", error="ClerkErrors"),
    ),
    Call("email_addresses.delete", {"email_address_id": "idn_nothing"}, not_found()),
    Call(
        "email_addresses.replace_for_user",
        {"user_id": "{user}", "email_address": "only{n}@example.com", "identification_status": "unverified"},
        Is("EmailAddress", email_address="only{n}@example.com", verification=None),
    ),
    Call(
        "email_addresses.replace_for_user",
        {"user_id": "{user}", "email_address": "{taken_email}"},
        wrong("form_identifier_exists", "email_address"),
    ),
    Call("email_addresses.replace_for_user", {**NOBODY, "email_address": "only{n}@example.com"}, not_found()),
    Call(
        "phone_numbers.create",
        {"request": {"user_id": "{user}", "phone_number": "{free_number}"}},
        Is(
            "PhoneNumber",
            object="phone_number",
            phone_number="{free_number}",
            verification=None,
            reserved=False,
            reserved_for_second_factor=False,
            default_second_factor=False,
            linked_to=[],
        ),
    ),
    Call(
        "phone_numbers.create",
        {"request": {"user_id": "{user}", "phone_number": "{taken_number}"}},
        wrong("form_identifier_exists", "phone_number"),
    ),
    Call(
        "phone_numbers.create",
        {"request": {"user_id": "{user}", "phone_number": "nothing"}},
        wrong("form_param_format_invalid", "phone_number"),
    ),
    Call(
        "phone_numbers.get",
        {"phone_number_id": "{phone}"},
        Is("PhoneNumber", id="{phone}", verification=verified("VerificationAdmin")),
    ),
    Call("phone_numbers.get", {"phone_number_id": "idn_nothing"}, not_found()),
    Call(
        "phone_numbers.update",
        {"phone_number_id": "{second_phone}", "primary": True},
        Is("PhoneNumber", id="{second_phone}", verification=verified("VerificationAdmin")),
    ),
    Call("phone_numbers.update", {"phone_number_id": "idn_nothing", "verified": True}, not_found()),
    Call(
        "phone_numbers.delete",
        {"phone_number_id": "{phone}"},
        Is("DeletedObject", object="phone_number", id="{phone}", deleted=True),
    ),
    Call("phone_numbers.delete", {"phone_number_id": "idn_nothing"}, not_found()),
    Call(
        "phone_numbers.replace_for_user",
        {"user_id": "{user}", "phone_number": "{free_number}"},
        Is("PhoneNumber", phone_number="{free_number}", verification=verified("VerificationAdmin")),
    ),
    Call(
        "phone_numbers.replace_for_user",
        {"user_id": "{user}", "phone_number": "{taken_number}"},
        wrong("form_identifier_exists", "phone_number"),
    ),
]

SESSIONS = [
    Call(
        "sessions.create",
        {"request": {"user_id": "{user}"}},
        Is("Session", object="session", user_id="{user}", status="active", actor=None),
    ),
    Call("sessions.create", {"request": NOBODY}, not_found()),
    Call("sessions.create", {"request": {"user_id": "{banned}"}}, Refused(403, "user_banned", error="SDKError")),
    Call(
        "sessions.get",
        {"session_id": "{session}"},
        Is("Session", id="{session}", client_id="{client}", user_id="{user}", status="active"),
    ),
    Call("sessions.get", {"session_id": "ses_nothing"}, not_found()),
    Call("sessions.list", {"user_id": "{user}"}, [Is("Session", id="{session}")]),
    Call("sessions.list", {"client_id": "{client}", "status": "active"}, [Is("Session", id="{session}")]),
    Call("sessions.list", {"user_id": "{user}", "status": "revoked"}, []),
    Call("sessions.list", {"user_id": "{user}", "offset": 1}, []),
    Call("sessions.list", {"user_id": "{user}", "limit": 501}, wrong("form_param_value_invalid", "limit")),
    Call("sessions.revoke", {"session_id": "{session}"}, Is("Session", id="{session}", status="revoked")),
    Call("sessions.revoke", {"session_id": "ses_nothing"}, not_found()),
]

BALANCE = {"user_id": "{user}", "amount": 1, "action": "increase", "idempotency_key": "k"}
NEVER = [
    Call("users.delete_passkey", {"user_id": "{user}", "passkey_identification_id": "idn_x"}, NOT_BUILT),
    Call("users.delete_web3_wallet", {"user_id": "{user}", "web3_wallet_identification_id": "idn_x"}, NOT_BUILT),
    Call("users.delete_external_account", {"user_id": "{user}", "external_account_id": "eac_x"}, NOT_BUILT),
    Call("users.get_o_auth_access_token", {"user_id": "{user}", "provider": "oauth_google"}, NOT_BUILT),
    Call("users.get_billing_subscription", {"user_id": "{user}"}, NOT_BUILT),
    Call("users.get_billing_credit_balance", {"user_id": "{user}"}, NOT_BUILT),
    Call("users.adjust_billing_credit_balance", BALANCE, NOT_BUILT),
    Call("users.list_trusted_devices", {"user_id": "{user}"}, NOT_BUILT),
    Call("users.revoke_trusted_device", {"user_id": "{user}", "trusted_device_id": "device_x"}, NOT_BUILT),
    Call("sessions.create_token", {"session_id": "{session}"}, NOT_BUILT),
    Call("sessions.create_token_from_template", {"session_id": "{session}", "template_name": "t"}, NOT_BUILT),
]

SECOND_FACTORS = [
    Call(
        "users.create",
        {"totp_secret": TOTP_SECRET, "backup_codes": BACKUP_CODES},
        Is("User", two_factor_enabled=True, totp_enabled=True, backup_code_enabled=True, mfa_disabled_at=None),
    ),
    Call("users.create", {"totp_secret": "1"}, wrong("invalid_totp_secret_code", "totp_secret")),
    Call(
        "users.update",
        {"user_id": "{user}", "backup_codes": ["another-code"]},
        Is("User", two_factor_enabled=True, totp_enabled=False, backup_code_enabled=True),
    ),
    Call(
        "users.verify_totp",
        {"user_id": "{guarded}", "code": "{totp_code}"},
        Is("VerifyTOTPResponseBody", verified=True, code_type="totp"),
    ),
    Call(
        "users.verify_totp",
        {"user_id": "{guarded}", "code": "second-code"},
        Is("VerifyTOTPResponseBody", verified=True, code_type="backup_code"),
    ),
    Call(
        "users.verify_totp",
        {"user_id": "{guarded}", "code": "third-code"},
        Refused(422, "totp_incorrect_code", "code", "SDKError"),
    ),
    Call("users.verify_totp", {"user_id": "{user}", "code": "123456"}, Refused(400, "totp_disabled", error="SDKError")),
    Call("users.verify_totp", {**NOBODY, "code": "123456"}, not_found("SDKError")),
    Call("users.disable_mfa", {"user_id": "{guarded}"}, Is("DisableMFAResponseBody", user_id="{guarded}")),
    Call("users.disable_mfa", NOBODY, not_found()),
    Call("users.delete_totp", {"user_id": "{guarded}"}, Is("DeleteTOTPResponseBody", user_id="{guarded}")),
    Call("users.delete_totp", NOBODY, not_found()),
    Call(
        "users.delete_backup_codes", {"user_id": "{guarded}"}, Is("DeleteBackupCodeResponseBody", user_id="{guarded}")
    ),
    Call("users.delete_backup_codes", NOBODY, not_found()),
    Call("users.set_password_compromised", {"user_id": "{user}"}, Is("User", id="{user}", password_enabled=True)),
    Call("users.set_password_compromised", NOBODY, not_found()),
    Call("users.unset_password_compromised", {"user_id": "{user}"}, Is("User", id="{user}", password_enabled=True)),
    Call("users.unset_password_compromised", NOBODY, not_found()),
]

CALLS = [*USERS, *SECOND_FACTORS, *ADDRESSES, *SESSIONS, *NEVER]

# About users by their place in the SDK only: there are no organizations here, and nobody signs in.
ELSEWHERE = {
    "users.get_instance_organization_memberships",
    "email_addresses.prepare_verification",
    "email_addresses.attempt_verification",
    "phone_numbers.prepare_verification",
    "phone_numbers.attempt_verification",
    "sessions.refresh",
}


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[PythonSdk]:
    """The SDK with the server's key."""
    with python_sdk(server.url, server.secret_key) as sdk:
        yield sdk


@pytest.mark.parametrize("call", CALLS, ids=[call.id for call in CALLS])
def test_the_sdk_says(sdk: PythonSdk, people: People, call: Call) -> None:
    came, wanted = came_and_wanted(sdk, call, people)
    assert came == wanted


def test_every_function_is_called_in_success_and_in_failure(sdk: PythonSdk) -> None:
    never = {call.function for call in NEVER}
    succeeds = {call.function for call in CALLS if not isinstance(call.outcome, Refused)}
    fails = {call.function for call in CALLS if isinstance(call.outcome, Refused)}
    assert succeeds | never == fails == sdk.functions() - ELSEWHERE


@pytest.mark.parametrize("function", ["users.get", "users.delete", "sessions.get"])
def test_a_wrong_key_is_refused(server: Server, people: People, function: str) -> None:
    argument = "session_id" if function == "sessions.get" else "user_id"
    with python_sdk(server.url, "sk_wrong") as stranger:
        call = Call(function, {argument: "{user}"}, Refused(401, "clerk_key_invalid", error="ClerkErrors"))
        came, wanted = came_and_wanted(stranger, call, people)
    assert came == wanted


def test_what_one_call_says_the_next_ones_say_too(sdk: PythonSdk, people: People) -> None:
    """A user that was made, read and listed is the same, field by field."""
    made: Any = sdk.call("users.create", people.named({"email_address": ["new{n}@example.com"], "first_name": "Ada"}))
    assert sdk.call("users.get", {"user_id": made.id}) == made
    assert sdk.call("users.list", {"request": {"user_id": [made.id]}}) == [made]
    banned = sdk.call("users.ban", {"user_id": made.id})
    assert banned.updated_at >= made.updated_at
    assert sdk.call("users.unban", {"user_id": made.id}).model_copy(update={"updated_at": made.updated_at}) == made


def test_a_user_shows_the_session_that_it_began(sdk: PythonSdk, people: People) -> None:
    before = sdk.call("users.get", {"user_id": people["user"]})
    assert (before.last_sign_in_at, before.last_active_at) == (None, None)
    session = sdk.call("sessions.create", {"request": {"user_id": people["user"]}})
    after = sdk.call("users.get", {"user_id": people["user"]})
    assert (after.last_sign_in_at, after.last_active_at) == (session.created_at, session.created_at // DAY_MS * DAY_MS)


def test_a_compromised_password_does_not_verify(sdk: PythonSdk, people: People) -> None:
    given = {"user_id": people["user"], "password": "correct horse"}
    sdk.call("users.set_password_compromised", {"user_id": people["user"], "revoke_all_sessions": True})
    assert sdk.call("users.verify_password", given) == Refused(422, "password_reset_required", "password", "SDKError")
    sdk.call("users.unset_password_compromised", {"user_id": people["user"]})
    assert sdk.call("users.verify_password", given).verified is True
