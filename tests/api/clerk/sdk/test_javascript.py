"""The unmodified npm `@clerk/backend`: each function, once in success and once in its documented failure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.clerk.sdk.calls import (
    BACKUP_CODES,
    TOTP_SECRET,
    Call,
    Is,
    JavaScriptSdk,
    People,
    Refused,
    came_and_wanted,
    javascript_sdk,
    undefined,
)
from tests.api.pictures import picture
from tests.server import Server
from userfold.core.claims import DAY_MS

HUNDRED_AND_ONE = [f"user_{number}" for number in range(101)]
PNG = {"$png": base64.b64encode(picture("PNG")).decode()}
NO_PICTURE = {"$png": base64.b64encode(b"no picture").decode()}

NOT_BUILT = Refused(501, "not_implemented")
NOT_FOUND = Refused(404, "resource_not_found")


def wrong(code: str, param_name: str | None = None) -> Refused:
    return Refused(422, code, param_name)


VERIFIED = Is("Verification", status="verified", strategy="admin", attempts=None, expireAt=None)
EMPTY_PAGE = {"data": [], "totalCount": 0}

USERS = [
    Call(
        "users.createUser",
        [
            {
                "externalId": "new-{n}",
                "username": "New_{n}",
                "firstName": "Ada",
                "lastName": "Lovelace",
                "locale": "en-GB",
                "timezone": "Europe/London",
                "emailAddress": ["New{n}@Example.com", "new{n}@example.org"],
                "emailAddressIdentificationStatus": ["verified", "reserved"],
                "phoneNumber": ["{free_number}"],
                "password": "correct horse",
                "publicMetadata": {"camelCaseKey": {"innerKey": 1, "snake_key": None}},
                "privateMetadata": {"stripeId": "cus_1"},
                "unsafeMetadata": {"uni": "Zoë 🦊", "list": [None, {}, 1.5]},
                "createdAt": {"$date": 1704164645678},
                "locked": True,
            }
        ],
        Is(
            "User",
            externalId="new-{n}",
            username="New_{n}",
            firstName="Ada",
            lastName="Lovelace",
            fullName="Ada Lovelace",
            locale="en-GB",
            timezone="Europe/London",
            emailAddresses=[
                Is("EmailAddress", emailAddress="new{n}@example.com", verification=VERIFIED, linkedTo=[]),
                Is("EmailAddress", emailAddress="new{n}@example.org", verification=None, linkedTo=[]),
            ],
            primaryEmailAddress=Is("EmailAddress", emailAddress="new{n}@example.com"),
            phoneNumbers=[Is("PhoneNumber", phoneNumber="{free_number}", verification=VERIFIED, linkedTo=[])],
            primaryPhoneNumber=Is("PhoneNumber", phoneNumber="{free_number}"),
            primaryWeb3Wallet=None,
            passwordEnabled=True,
            twoFactorEnabled=False,
            publicMetadata={"camelCaseKey": {"innerKey": 1, "snake_key": None}},
            privateMetadata={"stripeId": "cus_1"},
            unsafeMetadata={"uni": "Zoë 🦊", "list": [None, {}, 1.5]},
            createdAt=1704164645678,
            banned=False,
            locked=True,
            hasImage=False,
            externalAccounts=[],
            web3Wallets=[],
            enterpriseAccounts=[],
        ),
    ),
    Call("users.createUser", [{"emailAddress": ["{taken_email}"]}], wrong("form_identifier_exists", "email_address")),
    Call("users.createUser", [{"username": "{taken_username}"}], wrong("form_identifier_exists", "username")),
    Call("users.createUser", [{"emailAddress": ["nothing"]}], wrong("form_param_format_invalid", "email_address")),
    Call("users.createUser", [{"password": "2 short"}], wrong("form_password_length_too_short", "password")),
    Call("users.createUser", [{"web3Wallet": ["0x1"]}], wrong("form_param_unknown", "web3_wallet")),
    Call(
        "users.getUser",
        ["{user}"],
        Is(
            "User",
            id="{user}",
            primaryEmailAddressId="{email}",
            primaryPhoneNumberId="{phone}",
            fullName="Ada Lovelace",
        ),
    ),
    Call("users.getUser", ["user_nobody"], NOT_FOUND),
    # The path is joined as it is, so that this asks for something that is not there.
    Call("users.getUser", ["{user}/metadata"], Refused(405, "method_not_allowed")),
    Call(
        "users.updateUser",
        ["{user}", {"firstName": "Augusta", "lastName": None, "primaryEmailAddressID": "{second_email}"}],
        Is(
            "User",
            firstName="Augusta",
            lastName=None,
            fullName="Augusta",
            primaryEmailAddressId="{second_email}",
            username="ada_{n}",
        ),
    ),
    # It sends two requests, a PATCH of the user and then a PUT of the metadata.
    Call(
        "users.updateUser",
        ["{user}", {"firstName": "Augusta", "publicMetadata": {"only": 1}}],
        Is("User", firstName="Augusta", publicMetadata={"only": 1}, privateMetadata={"stripeId": "cus_1"}),
    ),
    Call("users.updateUser", ["{user}", {}], Is("User", id="{user}", firstName="Ada", lastName="Lovelace")),
    Call("users.updateUser", ["user_nobody", {"firstName": "Ada"}], NOT_FOUND),
    Call("users.updateUser", ["{user}", {"username": "{taken_username}"}], wrong("form_identifier_exists", "username")),
    Call("users.deleteUser", ["{user}"], Is("DeletedObject", object="user", id="{user}", deleted=True)),
    Call("users.deleteUser", ["user_nobody"], NOT_FOUND),
    Call(
        "users.updateUserMetadata",
        [
            "{user}",
            {
                "publicMetadata": {"plan": None, "prefs": {"theme": "dark", "nested": {"add": 3, "not": None}}},
                "unsafeMetadata": {},
            },
        ],
        Is(
            "User",
            publicMetadata={"prefs": {"theme": "dark", "lang": "en", "nested": {"add": 3}}},
            privateMetadata={"stripeId": "cus_1"},
            unsafeMetadata={"step": 1},
        ),
    ),
    # It sends no body.
    Call("users.updateUserMetadata", ["{user}", {}], Is("User", unsafeMetadata={"step": 1})),
    Call("users.updateUserMetadata", ["user_nobody", {"publicMetadata": {}}], NOT_FOUND),
    Call(
        "users.updateUserMetadata",
        ["{user}", {"publicMetadata": [1]}],
        wrong("form_param_value_invalid", "public_metadata"),
    ),
    Call(
        "users.updateUserMetadata",
        ["{user}", {"privateMetadata": {"text": "x" * (1 << 16)}}],
        wrong("form_param_exceeds_allowed_size", "private_metadata"),
    ),
    Call(
        "users.replaceUserMetadata",
        ["{user}", {"publicMetadata": {"only": {"x": None}}, "privateMetadata": {}}],
        Is("User", publicMetadata={"only": {"x": None}}, privateMetadata={}, unsafeMetadata={"step": 1}),
    ),
    Call("users.replaceUserMetadata", ["user_nobody", {"publicMetadata": {}}], NOT_FOUND),
    Call("users.banUser", ["{user}"], Is("User", id="{user}", banned=True, locked=False)),
    Call("users.banUser", ["user_nobody"], NOT_FOUND),
    Call("users.unbanUser", ["{banned}"], Is("User", id="{banned}", banned=False)),
    Call("users.unbanUser", ["user_nobody"], NOT_FOUND),
    Call("users.lockUser", ["{user}"], Is("User", id="{user}", locked=True, banned=False)),
    Call("users.lockUser", ["user_nobody"], NOT_FOUND),
    Call("users.unlockUser", ["{user}"], Is("User", id="{user}", locked=False)),
    Call("users.unlockUser", ["user_nobody"], NOT_FOUND),
    Call("users.updateUserProfileImage", ["{user}", {"file": PNG}], Is("User", id="{user}", hasImage=True)),
    Call("users.updateUserProfileImage", ["user_nobody", {"file": PNG}], NOT_FOUND),
    Call("users.updateUserProfileImage", ["{user}", {"file": NO_PICTURE}], Refused(400, "request_body_invalid")),
    Call("users.deleteUserProfileImage", ["{pictured}"], Is("User", id="{pictured}", hasImage=False)),
    Call("users.deleteUserProfileImage", ["user_nobody"], NOT_FOUND),
    Call("users.verifyPassword", [{"userId": "{user}", "password": "correct horse"}], {"verified": True}),
    Call(
        "users.verifyPassword",
        [{"userId": "{user}", "password": "wrong horse"}],
        wrong("incorrect_password", "password"),
    ),
    Call(
        "users.verifyPassword",
        [{"userId": "{other}", "password": "correct horse"}],
        Refused(400, "no_password_set"),
    ),
    Call("users.removePassword", ["{user}"], Is("User", id="{user}", passwordEnabled=False)),
    Call("users.removePassword", ["user_nobody"], NOT_FOUND),
    Call("users.getOrganizationMembershipList", [{"userId": "{user}"}], EMPTY_PAGE),
    Call("users.getOrganizationMembershipList", [{"userId": "user_nobody"}], NOT_FOUND),
    Call("users.getOrganizationInvitationList", [{"userId": "{user}"}], EMPTY_PAGE),
    Call("users.getOrganizationInvitationList", [{"userId": "user_nobody"}], NOT_FOUND),
    # test_lists.py has all that can be asked of these two.
    Call("users.getUserList", [{"userId": ["{user}"]}], {"data": [Is("User", id="{user}")], "totalCount": 1}),
    Call("users.getUserList", [{"limit": 501}], wrong("form_param_value_invalid", "limit")),
    Call("users.getCount", [{"userId": ["{user}", "{other}"]}], 2),
    Call("users.getCount", [{"userId": HUNDRED_AND_ONE}], wrong("form_param_array_size_exceeded", "user_id")),
]

ADDRESSES = [
    Call(
        "emailAddresses.createEmailAddress",
        [{"userId": "{user}", "emailAddress": "Third{n}@example.com"}],
        Is("EmailAddress", emailAddress="third{n}@example.com", verification=None, linkedTo=[]),
    ),
    Call(
        "emailAddresses.createEmailAddress",
        [{"userId": "{user}", "emailAddress": "third{n}@example.com", "verified": True, "primary": True}],
        Is("EmailAddress", emailAddress="third{n}@example.com", verification=VERIFIED),
    ),
    Call(
        "emailAddresses.createEmailAddress",
        [{"userId": "{user}", "emailAddress": "{taken_email}"}],
        wrong("form_identifier_exists", "email_address"),
    ),
    Call(
        "emailAddresses.createEmailAddress",
        [{"userId": "user_nobody", "emailAddress": "third{n}@example.com"}],
        NOT_FOUND,
    ),
    Call(
        "emailAddresses.getEmailAddress",
        ["{email}"],
        Is("EmailAddress", id="{email}", emailAddress="ada{n}@example.com", verification=VERIFIED),
    ),
    Call("emailAddresses.getEmailAddress", ["idn_nothing"], NOT_FOUND),
    Call(
        "emailAddresses.updateEmailAddress",
        ["{second_email}", {"primary": True}],
        Is("EmailAddress", id="{second_email}", verification=VERIFIED),
    ),
    Call("emailAddresses.updateEmailAddress", ["idn_nothing", {"verified": True}], NOT_FOUND),
    Call(
        "emailAddresses.deleteEmailAddress",
        ["{email}"],
        Is("DeletedObject", object="email_address", id="{email}", deleted=True),
    ),
    Call("emailAddresses.deleteEmailAddress", ["{only_email}"], Refused(400, "identification_deletion_failed")),
    Call("emailAddresses.deleteEmailAddress", ["idn_nothing"], NOT_FOUND),
    Call(
        "users.replaceUserEmailAddress",
        ["{user}", {"emailAddress": "only{n}@example.com"}],
        Is("EmailAddress", emailAddress="only{n}@example.com", verification=VERIFIED),
    ),
    Call(
        "users.replaceUserEmailAddress",
        ["{user}", {"emailAddress": "{taken_email}"}],
        wrong("form_identifier_exists", "email_address"),
    ),
    Call("users.replaceUserEmailAddress", ["user_nobody", {"emailAddress": "only{n}@example.com"}], NOT_FOUND),
    Call(
        "phoneNumbers.createPhoneNumber",
        [{"userId": "{user}", "phoneNumber": "{free_number}"}],
        Is(
            "PhoneNumber",
            phoneNumber="{free_number}",
            verification=None,
            reservedForSecondFactor=False,
            defaultSecondFactor=False,
            linkedTo=[],
        ),
    ),
    Call(
        "phoneNumbers.createPhoneNumber",
        [{"userId": "{user}", "phoneNumber": "{taken_number}"}],
        wrong("form_identifier_exists", "phone_number"),
    ),
    Call(
        "phoneNumbers.createPhoneNumber",
        [{"userId": "{user}", "phoneNumber": "nothing"}],
        wrong("form_param_format_invalid", "phone_number"),
    ),
    Call("phoneNumbers.getPhoneNumber", ["{phone}"], Is("PhoneNumber", id="{phone}", verification=VERIFIED)),
    Call("phoneNumbers.getPhoneNumber", ["{email}"], NOT_FOUND),
    Call(
        "phoneNumbers.updatePhoneNumber",
        ["{second_phone}", {"verified": False}],
        Is("PhoneNumber", id="{second_phone}", verification=None),
    ),
    Call("phoneNumbers.updatePhoneNumber", ["idn_nothing", {"verified": True}], NOT_FOUND),
    Call(
        "phoneNumbers.deletePhoneNumber",
        ["{phone}"],
        Is("DeletedObject", object="phone_number", id="{phone}", deleted=True),
    ),
    Call("phoneNumbers.deletePhoneNumber", ["idn_nothing"], NOT_FOUND),
    Call(
        "users.replaceUserPhoneNumber",
        ["{user}", {"phoneNumber": "{free_number}"}],
        Is("PhoneNumber", phoneNumber="{free_number}", verification=VERIFIED),
    ),
    Call(
        "users.replaceUserPhoneNumber",
        ["{user}", {"phoneNumber": "{taken_number}"}],
        wrong("form_identifier_exists", "phone_number"),
    ),
]

OWN_SESSION = Is("Session", id="{session}", clientId="{client}", userId="{user}", status="active")

SESSIONS = [
    Call("sessions.createSession", [{"userId": "{user}"}], Is("Session", userId="{user}", status="active", actor=None)),
    Call("sessions.createSession", [{"userId": "user_nobody"}], NOT_FOUND),
    Call("sessions.createSession", [{"userId": "{banned}"}], Refused(403, "user_banned")),
    Call("sessions.getSession", ["{session}"], OWN_SESSION),
    Call("sessions.getSession", ["ses_nothing"], NOT_FOUND),
    # It asks for a page; a bare list would be undefined to it.
    Call("sessions.getSessionList", [{"clientId": "{client}"}], {"data": [OWN_SESSION], "totalCount": 1}),
    Call(
        "sessions.getSessionList",
        [{"clientId": "{client}", "userId": "{user}", "status": "active"}],
        {"data": [OWN_SESSION], "totalCount": 1},
    ),
    Call("sessions.getSessionList", [{"clientId": "{client}", "status": "revoked"}], EMPTY_PAGE),
    Call("sessions.getSessionList", [{"clientId": "{client}", "offset": 1}], {"data": [], "totalCount": 1}),
    Call(
        "sessions.getSessionList",
        [{"userId": "{user}", "status": "asleep"}],
        wrong("form_param_value_invalid", "status"),
    ),
    Call("sessions.revokeSession", ["{session}"], Is("Session", id="{session}", status="revoked")),
    Call("sessions.revokeSession", ["ses_nothing"], NOT_FOUND),
]

NEVER = [
    Call("users.deleteUserPasskey", [{"userId": "{user}", "passkeyIdentificationId": "idn_x"}], NOT_BUILT),
    Call("users.deleteUserWeb3Wallet", [{"userId": "{user}", "web3WalletIdentificationId": "idn_x"}], NOT_BUILT),
    Call("users.deleteUserExternalAccount", [{"userId": "{user}", "externalAccountId": "eac_x"}], NOT_BUILT),
    Call("users.getUserOauthAccessToken", ["{user}", "google"], NOT_BUILT),
    Call("sessions.getToken", ["{session}"], NOT_BUILT),
    Call("sessions.getToken", ["{session}", "a_template"], NOT_BUILT),
]

SECOND_FACTORS = [
    Call(
        "users.createUser",
        [{"totpSecret": TOTP_SECRET, "backupCodes": BACKUP_CODES}],
        Is("User", twoFactorEnabled=True, totpEnabled=True, backupCodeEnabled=True),
    ),
    Call("users.createUser", [{"totpSecret": "1"}], wrong("invalid_totp_secret_code", "totp_secret")),
    Call(
        "users.updateUser",
        ["{user}", {"backupCodes": ["another-code"]}],
        Is("User", twoFactorEnabled=True, totpEnabled=False, backupCodeEnabled=True),
    ),
    Call(
        "users.verifyTOTP",
        [{"userId": "{guarded}", "code": "{totp_code}"}],
        {"verified": True, "code_type": "totp"},
    ),
    Call(
        "users.verifyTOTP",
        [{"userId": "{guarded}", "code": "second-code"}],
        {"verified": True, "code_type": "backup_code"},
    ),
    Call("users.verifyTOTP", [{"userId": "{guarded}", "code": "third-code"}], wrong("totp_incorrect_code", "code")),
    Call("users.verifyTOTP", [{"userId": "{user}", "code": "123456"}], Refused(400, "totp_disabled")),
    Call("users.verifyTOTP", [{"userId": "user_nobody", "code": "123456"}], NOT_FOUND),
    Call("users.disableUserMFA", ["{guarded}"], {"user_id": "{guarded}"}),
    Call("users.disableUserMFA", ["user_nobody"], NOT_FOUND),
    Call("users.deleteUserTOTP", ["{guarded}"], {"user_id": "{guarded}"}),
    Call("users.deleteUserTOTP", ["user_nobody"], NOT_FOUND),
    Call("users.deleteUserBackupCodes", ["{guarded}"], {"user_id": "{guarded}"}),
    Call("users.deleteUserBackupCodes", ["user_nobody"], NOT_FOUND),
    Call("users.setPasswordCompromised", ["{user}"], Is("User", id="{user}", passwordEnabled=True)),
    Call("users.setPasswordCompromised", ["user_nobody"], NOT_FOUND),
    Call("users.unsetPasswordCompromised", ["{user}"], Is("User", id="{user}", passwordEnabled=True)),
    Call("users.unsetPasswordCompromised", ["user_nobody"], NOT_FOUND),
]

CALLS = [*USERS, *SECOND_FACTORS, *ADDRESSES, *SESSIONS, *NEVER]

# They are for a browser's token, and there are none here.
ELSEWHERE = {"sessions.verifySession", "sessions.refreshSession"}
# Clerk itself does not always send it.
OPTIONAL = {"Session.latestActivity"}


@pytest.fixture(scope="module")
def sdk(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaScriptSdk]:
    """The SDK with the server's key."""
    with javascript_sdk(server.url, server.secret_key, tmp_path_factory.mktemp("driver")) as sdk:
        yield sdk


@pytest.mark.parametrize("call", CALLS, ids=[call.id for call in CALLS])
def test_the_sdk_says(sdk: JavaScriptSdk, people: People, call: Call) -> None:
    came, wanted = came_and_wanted(sdk, call, people)
    assert came == wanted


def test_every_function_is_called_in_success_and_in_failure(sdk: JavaScriptSdk) -> None:
    never = {call.function for call in NEVER}
    succeeds = {call.function for call in CALLS if not isinstance(call.outcome, Refused)}
    fails = {call.function for call in CALLS if isinstance(call.outcome, Refused)}
    assert succeeds | never == fails == sdk.functions() - ELSEWHERE


def test_no_field_of_the_sdks_objects_is_undefined(sdk: JavaScriptSdk, people: People) -> None:
    """What a server leaves out is undefined to this SDK, without an error."""
    seen: list[Any] = [
        sdk.call(function, people.named(arguments))
        for function, arguments in (
            ("users.getUser", ["{user}"]),
            ("users.getUser", ["{banned}"]),
            ("emailAddresses.getEmailAddress", ["{email}"]),
            ("phoneNumbers.getPhoneNumber", ["{phone}"]),
            ("sessions.getSession", ["{session}"]),
            ("users.getUserList", [{"userId": ["{user}"]}]),
            ("users.deleteUser", ["{user}"]),
        )
    ]
    assert not any(isinstance(value, Refused) for value in seen)
    assert set(undefined(seen)) == OPTIONAL


def test_a_wrong_key_is_refused(server: Server, people: People, tmp_path_factory: pytest.TempPathFactory) -> None:
    with javascript_sdk(server.url, "sk_wrong", tmp_path_factory.mktemp("driver")) as stranger:
        for function in ("users.getUser", "users.deleteUser", "sessions.getSession"):
            assert stranger.call(function, [people["user"]]) == Refused(401, "clerk_key_invalid")


def test_what_one_call_says_the_next_ones_say_too(sdk: JavaScriptSdk, people: People) -> None:
    """A user that was made, read and listed is the same, field by field."""
    made: Any = sdk.call(
        "users.createUser", people.named([{"emailAddress": ["new{n}@example.com"], "firstName": "Ada"}])
    )
    assert sdk.call("users.getUser", [made["id"]]) == made
    assert sdk.call("users.getUserList", [{"userId": [made["id"]]}]) == {"data": [made], "totalCount": 1}
    banned = sdk.call("users.banUser", [made["id"]])
    assert banned["updatedAt"] >= made["updatedAt"]
    assert sdk.call("users.unbanUser", [made["id"]]) | {"updatedAt": made["updatedAt"]} == made


def test_a_user_shows_the_session_that_it_began(sdk: JavaScriptSdk, people: People) -> None:
    before = sdk.call("users.getUser", [people["user"]])
    assert (before["lastSignInAt"], before["lastActiveAt"]) == (None, None)
    session = sdk.call("sessions.createSession", [{"userId": people["user"]}])
    after = sdk.call("users.getUser", [people["user"]])
    began = session["createdAt"]
    assert (after["lastSignInAt"], after["lastActiveAt"]) == (began, began // DAY_MS * DAY_MS)


def test_a_compromised_password_does_not_verify(sdk: JavaScriptSdk, people: People) -> None:
    given = [{"userId": people["user"], "password": "correct horse"}]
    sdk.call("users.setPasswordCompromised", [people["user"], {"revokeAllSessions": True}])
    assert sdk.call("users.verifyPassword", given) == wrong("password_reset_required", "password")
    sdk.call("users.unsetPasswordCompromised", [people["user"]])
    assert sdk.call("users.verifyPassword", given) == {"verified": True}
