"""Clerk's shapes: its `User` made of ours, its parameters made into edits.

Python's SDK refuses a user that lacks any of 35 keys, or whose metadata is null, so every key is always sent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from userfold.api import conditions
from userfold.api.wire import HeaderInvalid, Request
from userfold.core.claims import DAY_MS
from userfold.core.commands import ChoosePrimary, IfUserMatch, Unchanged
from userfold.core.diff import escape
from userfold.core.errors import FieldFormatInvalid, FieldInvalid, FieldUnknown, InputError
from userfold.core.fields import ADDRESSES_MAX
from userfold.core.identifiers import LENGTH_MAX
from userfold.core.passwords import check_length
from userfold.core.records import EmailAddress, PhoneNumber, Presence, SignIn, User
from userfold.core.second_factors import check_backup_code, check_number_of_backup_codes
from userfold.core.second_factors import totp_secret as normal_totp_secret
from userfold.core.user_secrets import has_second_factor

BULK_MAX = 100
EPOCH = datetime.fromtimestamp(0, UTC)

METADATA = ("public_metadata", "private_metadata", "unsafe_metadata")
METADATA_APART = "2026-05-12"  # from this version on, metadata has routes of its own

API_VERSIONS = frozenset({"2021-02-05", "2024-10-01", "2025-03-12", "2025-04-10", "2025-11-10", "2026-05-12"})

# Parameters of POST and PATCH /users that mean the same to us.
_PROFILE = frozenset({"external_id", "first_name", "last_name", "locale", "timezone"})
_SETTINGS = frozenset(
    {"bypass_client_trust", "create_organization_enabled", "create_organizations_limit", "delete_self_enabled"}
)
_SAME = frozenset({*_PROFILE, *_SETTINGS, *METADATA})
# They say how the secrets come, and are read by `password`, `totp_secret` and `backup_codes`.
_SECRETS = frozenset(
    {"password", "password_digest", "password_hasher", "skip_password_checks", "totp_secret", "backup_codes"}
)
# Clerk's name of a way to make digests → what a digest begins with. Clerk knows more that Userfold cannot verify.
_HASHERS = {"argon2i": ("$argon2i$",), "argon2id": ("$argon2id$",), "bcrypt": ("$2a$", "$2b$", "$2y$")}
_STATUSES = ("email_address_identification_status", "phone_number_identification_status")
# They loosen checks that Userfold does not make, or ask for messages that it does not send.
_NO_EFFECT = frozenset({"skip_legal_checks"})
_NO_EFFECT_ON_CREATE = _NO_EFFECT | {"skip_password_requirement", "skip_user_requirement"}
_NO_EFFECT_ON_UPDATE = _NO_EFFECT | {"notify_primary_email_address_changed"}


class VersionInvalid(HeaderInvalid):
    """The version of the API in {name} is not valid: {reason}."""

    code = "api_version_invalid"


class FieldMissing(FieldInvalid):
    """The parameter at {path} is needed."""

    code = "field_missing"


class FieldMissingBeside(FieldMissing):
    """The parameter at {path} is needed where {given} is given."""


class FieldNotBeside(FieldInvalid):
    """The parameter at {path} cannot be combined with {given}."""


class TooManyItems(FieldInvalid):
    """The value at {path} is not valid: {reason}."""


class UsernameTooLong(FieldFormatInvalid):
    """The value at {path} does not have the right form: {reason}."""


class LengthsDiffer(FieldInvalid):
    """The list at {path} must have one item for each of {given}."""


class MetadataApart(FieldUnknown):
    """From version {version} of the API on, {path} is written at /users/{{id}}/metadata: PATCH merges, PUT replaces."""


class TimeInvalid(FieldFormatInvalid):
    """The value at {path} is no time: {reason}."""

    code = "time_invalid"


class BulkTooLarge(InputError):
    """At most {count_max} users can be named in one request."""

    code = "bulk_too_large"


# They choose among a user's addresses.
_PRIMARIES: dict[str, Literal["email_addresses", "phone_numbers"]] = {
    "primary_email_address_id": "email_addresses",
    "primary_phone_number_id": "phone_numbers",
}
_UPDATE_ONLY = frozenset({*_PRIMARIES, "created_at", "sign_out_of_other_sessions"})
# Parameters that would choose what is not chosen so here; null chooses nothing.
_NOT_CHOSEN = {
    "primary_web3_wallet_id": "there are no wallets",
    "profile_image_id": "a picture has no id: it is uploaded to /users/{id}/profile_image",
}


def user(user: User, presence: Presence, public_url: str) -> dict[str, Any]:
    """Clerk's `User`. Times are milliseconds, lists that we do not keep are empty."""
    image_url = f"{public_url}/images/{'default.svg' if user.image is None else user.image.name}"
    return {
        "id": user.id,
        "object": "user",
        "external_id": user.external_id,
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "locale": user.locale,
        "timezone": user.timezone,
        "primary_email_address_id": _primary(user.email_addresses),
        "primary_phone_number_id": _primary(user.phone_numbers),
        "primary_web3_wallet_id": None,
        "image_url": image_url,
        "profile_image_url": image_url,
        "has_image": user.image is not None,
        "public_metadata": user.public_metadata,
        "private_metadata": user.private_metadata,
        "unsafe_metadata": user.unsafe_metadata,
        "email_addresses": [email_address(address) for address in user.email_addresses],
        "phone_numbers": [phone_number(number) for number in user.phone_numbers],
        "web3_wallets": [],
        "passkeys": [],
        "external_accounts": [],
        "saml_accounts": [],
        "enterprise_accounts": [],
        "organization_memberships": [],
        "password_enabled": user.password_enabled,
        "two_factor_enabled": has_second_factor(user),
        "totp_enabled": user.totp_enabled,
        "backup_code_enabled": user.backup_codes_enabled,
        "mfa_enabled_at": user.second_factor_enabled_at,
        "mfa_disabled_at": user.second_factor_disabled_at,
        "password_last_updated_at": None,
        "last_sign_in_at": presence.last_sign_in_at,
        "last_active_at": _day_of(presence.last_active_at),
        "legal_accepted_at": user.legal_accepted_at,
        "banned": user.disabled,
        "locked": user.locked,
        "deprovisioned": False,
        "lockout_expires_in_seconds": None,
        "verification_attempts_remaining": None,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "delete_self_enabled": user.delete_self_enabled,
        "create_organization_enabled": user.create_organization_enabled,
        "create_organizations_limit": user.create_organizations_limit,
        "bypass_client_trust": user.bypass_client_trust,
    }


def email_address(address: EmailAddress) -> dict[str, Any]:
    """Clerk's `EmailAddress`."""
    return {
        "id": address.id,
        "object": "email_address",
        "email_address": address.email_address,
        "reserved": False,
        "verification": _verification(address),
        "linked_to": [],
        "matches_sso_connection": False,
        "created_at": address.created_at,
        "updated_at": address.updated_at,
    }


def phone_number(number: PhoneNumber) -> dict[str, Any]:
    """Clerk's `PhoneNumber`."""
    return {
        "id": number.id,
        "object": "phone_number",
        "phone_number": number.phone_number,
        "reserved_for_second_factor": False,
        "default_second_factor": False,
        "reserved": False,
        "verification": _verification(number),
        "linked_to": [],
        "backup_codes": None,
        "created_at": number.created_at,
        "updated_at": number.updated_at,
    }


def session(sign_in: SignIn, now: int) -> dict[str, Any]:
    """Clerk's `Session`. When it was last used is not kept, so it is when it began; each is a client of its own."""
    return {
        "object": "session",
        "id": sign_in.id,
        "user_id": sign_in.user_id,
        "client_id": client_id_of(sign_in),
        "status": session_status(sign_in, now),
        "actor": None,
        "last_active_organization_id": None,
        "last_active_at": sign_in.created_at,
        "expire_at": sign_in.expires_at,
        "abandon_at": sign_in.expires_at,
        "created_at": sign_in.created_at,
        "updated_at": sign_in.created_at if sign_in.ended_at is None else sign_in.ended_at,
    }


def session_status(sign_in: SignIn, now: int) -> str:
    """`active`, `revoked` or `expired`."""
    return "expired" if sign_in.status == "active" and not sign_in.is_live(now) else sign_in.status


def client_id_of(sign_in: SignIn) -> str:
    """The client of a session: Clerk's clients may have several, ours have one."""
    return "client_" + sign_in.id.removeprefix("ses_")


def session_id_of(client_id: str) -> str:
    """The session of a client."""
    return "ses_" + client_id.removeprefix("client_")


def refuse_organization(body: dict[str, Any]) -> None:
    """Raise `FieldInvalid` if an organization is named: there are none."""
    if text_or_none(body, "active_organization_id") is not None:
        raise FieldInvalid(path="/active_organization_id", reason="there are no organizations")


def deleted(kind: str, id_: str) -> dict[str, Any]:
    """Clerk's `DeletedObject`."""
    return {"object": kind, "id": id_, "deleted": True}


def user_ids(request: Request) -> list[str]:
    """The users whom a bulk route is about, each once."""
    body = body_or_nothing(request)
    refuse_unknown(body, "user_ids")
    given = body.get("user_ids")
    if given in (None, []):
        raise FieldMissing(path="/user_ids")
    if not isinstance(given, list) or not all(isinstance(user_id, str) for user_id in given):
        raise FieldInvalid(path="/user_ids", reason="a list of strings is needed")
    if len(given) > BULK_MAX:
        raise BulkTooLarge(path="/user_ids", count_max=BULK_MAX)
    return list(dict.fromkeys(given))


def new_user(body: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The fields of a user, and when it was created, from the parameters of `POST /users`."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name in _SAME:
            fields[name] = value
        elif name == "username":
            fields[name] = _username(value)
        elif name == "email_address":
            fields["email_addresses"] = _identifications(name, value, body)
        elif name == "phone_number":
            fields["phone_numbers"] = _identifications(name, value, body)
        elif name == "banned":
            fields["disabled"] = value
        elif name == "locked":
            fields[name] = value
        elif name in _STATUSES:
            _check_statuses(name, body)
        elif name == "legal_accepted_at":
            fields[name] = time_or_none(body, name)
        elif name in _NO_EFFECT_ON_CREATE:
            flag(body, name)
        elif name == "web3_wallet" and value in (None, []):
            continue  # nothing would be lost
        elif name != "created_at" and name not in _SECRETS:
            raise FieldUnknown(path=f"/{escape(name[:255])}")
    return fields, time_or_none(body, "created_at")


def changed_fields(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a user from the parameters of `PATCH /users/{id}`."""
    known = _SAME - {*METADATA} if METADATA_APART in _versions(request) else _SAME
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name in known:
            fields[name] = value
        elif name == "username":
            fields[name] = _username(value)
        elif name == "legal_accepted_at":
            fields[name] = time_or_none(body, name)
        elif name in _NO_EFFECT_ON_UPDATE:
            flag(body, name)
        elif name in _NOT_CHOSEN and value is not None:
            raise FieldInvalid(path=f"/{name}", reason=_NOT_CHOSEN[name])
        elif name in METADATA:
            raise MetadataApart(path=f"/{name}", version=METADATA_APART)
        elif name not in _SECRETS and name not in _UPDATE_ONLY and name not in _NOT_CHOSEN:
            raise FieldUnknown(path=f"/{escape(name[:255])}")
    return fields


def primaries(body: dict[str, Any]) -> tuple[ChoosePrimary, ...]:
    """The addresses that are to be primary. Null is not given: one is primary as long as there are any."""
    given = [(field, text_or_none(body, name)) for name, field in _PRIMARIES.items()]
    return tuple(ChoosePrimary(field, address_id) for field, address_id in given if address_id is not None)


def password(body: dict[str, Any]) -> tuple[str | None, str | None]:
    """(the password, a digest of it): at most one is given. Null is not given: to remove one has a route of its own."""
    plain, digest, hasher = (body.get(name) for name in ("password", "password_digest", "password_hasher"))
    for name in ("password", "password_digest", "password_hasher"):
        if not isinstance(body.get(name), str | None):
            raise FieldInvalid(path=f"/{name}", reason="a string is needed")
    skips_checks = skips_password_checks(body)
    if digest is None and hasher is None:
        if plain is not None and (not skips_checks or plain == ""):
            check_length(plain)
        return plain, None
    if plain is not None:
        raise FieldNotBeside(path="/password_digest", given="password")
    if hasher is None:
        raise FieldMissingBeside(path="/password_hasher", given="password_digest")
    if hasher not in _HASHERS:
        taken = f"digests made by {', '.join(_HASHERS)} are taken"
        others = "of any other no password could be verified, so leave it out and let the user choose a new password"
        raise FieldInvalid(path="/password_hasher", reason=f"{taken}; {others}")
    if digest is None:
        raise FieldMissingBeside(path="/password_digest", given="password_hasher")
    if not digest.startswith(_HASHERS[hasher]):
        raise FieldFormatInvalid(path="/password_digest", reason=f"it is not one of {hasher}")
    return None, digest


def totp_secret(body: dict[str, Any]) -> str | None:
    """A TOTP secret in its normal form. Null is not given: to remove one has a route of its own."""
    given = text_or_none(body, "totp_secret")
    return None if given is None else normal_totp_secret(given, "/totp_secret")


def backup_codes(body: dict[str, Any]) -> list[str] | None:
    """Backup codes, or digests of them, or None if they are not given. They take the place of those before."""
    given = body.get("backup_codes")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(code, str) for code in given):
        raise FieldInvalid(path="/backup_codes", reason="a list of strings is needed")
    try:
        check_number_of_backup_codes(len(given), "/backup_codes")
    except FieldInvalid as refusal:
        raise TooManyItems(**refusal.data) from None
    for index, code in enumerate(given):
        check_backup_code(code, f"/backup_codes/{index}")
    return given


def skips_password_checks(body: dict[str, Any]) -> bool:
    """Whether the password is taken as it is."""
    return flag(body, "skip_password_checks") is True


def signs_out(body: dict[str, Any]) -> bool:
    """Whether all sign-ins are to end."""
    return flag(body, "sign_out_of_other_sessions") is True


def password_to_verify(request: Request) -> str:
    """The password that `POST /users/{id}/verify_password` asks about."""
    body = body_or_nothing(request)
    refuse_unknown(body, "password")
    return needed_text(body, "password")


def condition(request: Request, body: dict[str, Any]) -> IfUserMatch:
    """On what a write depends: `If-Match`, or `expected_updated_at`, which it takes out of `body`.

    JavaScript's SDK has no headers for a call, but sends every parameter that it is given.
    """
    if_match = conditions.if_match(request)
    expected = body.pop("expected_updated_at", None)
    if expected is None:
        return if_match
    if if_match is not None:
        raise FieldNotBeside(path="/expected_updated_at", given="If-Match")
    if type(expected) is not int:
        raise FieldInvalid(path="/expected_updated_at", reason="the updated_at of the user is needed, in milliseconds")
    return Unchanged(expected)


def resends(request: Request) -> bool:
    """Whether the caller sends again by itself what it gets no answer to, as Clerk's SDK for Python does."""
    return (request.header(b"x-clerk-sdk") or "").startswith("python/")


def code_to_verify(request: Request) -> str:
    """The code that `POST /users/{id}/verify_totp` asks about."""
    body = body_or_nothing(request)
    refuse_unknown(body, "code")
    return needed_text(body, "code")


def body_or_nothing(request: Request) -> dict[str, Any]:
    """The parameters of a route. JavaScript's SDK sends no body if it is given none."""
    return request.json_object() if request.body else {}


def refuse_unknown(body: dict[str, Any], *known: str) -> None:
    """Raise `FieldUnknown` for any parameter but these."""
    for name in body:
        if name not in known:
            raise FieldUnknown(path=f"/{escape(name[:255])}")


def metadata(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a metadata route: any of the three kinds."""
    refuse_unknown(body, *METADATA)
    return body


def check_version(request: Request) -> None:
    """Clerk refuses a version that it does not know, and one that is given twice."""
    given = _versions(request)
    if len(given) > 1:
        raise VersionInvalid(name="Clerk-API-Version", reason="the version is given twice")
    if given and given[0] not in API_VERSIONS:
        raise VersionInvalid(name="Clerk-API-Version", reason="there is no such version")


def needed_text(body: dict[str, Any], name: str) -> str:
    """A string that must be given."""
    given = text_or_none(body, name)
    if given is None:
        raise FieldMissing(path=f"/{name}")
    return given


def text_or_none(body: dict[str, Any], name: str) -> str | None:
    """A string, or None if it is not given."""
    given = body.get(name)
    if not isinstance(given, str | None):
        raise FieldInvalid(path=f"/{name}", reason="a string is needed")
    return given


def choice(body: dict[str, Any], name: str, choices: tuple[str | None, ...]) -> str | None:
    """One of these."""
    given = body.get(name)
    if given not in choices:
        raise FieldInvalid(path=f"/{name}", reason=f"one of {', '.join(filter(None, choices))} is needed")
    return None if given is None else str(given)


def flag(body: dict[str, Any], name: str) -> bool | None:
    """True, false, or None if it is not given."""
    given = body.get(name)
    if not isinstance(given, bool | None):
        raise FieldInvalid(path=f"/{name}", reason="true or false is needed")
    return given


def time_or_none(body: dict[str, Any], name: str) -> int | None:
    """RFC 3339 as milliseconds, or None if it is not given. JavaScript `Date`s arrive like that.

    What was before 1970 is refused: times are counted from then, and nobody had an account. It is mostly the zero of a
    program that has no null.
    """
    given = body.get(name)
    if given is None:
        return None
    try:
        time = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        raise TimeInvalid(path=f"/{name}", reason="one such as 2026-01-02T03:04:05.678Z is needed")
    if time < EPOCH:
        raise TimeInvalid(path=f"/{name}", reason="one from 1970 on is needed")
    return round(time.timestamp() * 1000)


def _versions(request: Request) -> list[str]:
    """The versions of the API that a request asks for, in its query and in its header."""
    header = request.header(b"clerk-api-version")
    query = [part for part in request.query_string.split(b"&") if part.startswith(b"__clerk_api_version=")]
    given = [version.partition(b"=")[2].decode("latin-1") for version in query]
    return given if header is None else [*given, header]


def _username(given: Any) -> Any:
    """Clerk takes a blank one for none."""
    if isinstance(given, str) and len(given) > LENGTH_MAX:
        raise UsernameTooLong(path="/username", reason=f"at most {LENGTH_MAX} characters are allowed")
    return None if given == "" else given


def _day_of(time: int | None) -> int | None:
    """Clerk tells on which day somebody was active: the time is when that began, in UTC."""
    return None if time is None else time - time % DAY_MS


def _primary(addresses: tuple[EmailAddress, ...] | tuple[PhoneNumber, ...]) -> str | None:
    return next((address.id for address in addresses if address.primary), None)


def _verification(address: EmailAddress | PhoneNumber) -> dict[str, Any] | None:
    if not address.verified:
        return None
    return {
        "object": "verification_admin",
        "status": "verified",
        "strategy": "admin",
        "attempts": None,
        "expire_at": None,
    }


def _check_statuses(name: str, body: dict[str, Any]) -> None:
    values, statuses = body.get(name.removesuffix("_identification_status"), []), body[name]
    if isinstance(values, list) and statuses is not None:
        if not isinstance(statuses, list):
            raise FieldInvalid(path=f"/{name}", reason="a list is needed")
        if len(statuses) != len(values):
            raise LengthsDiffer(path=f"/{name}", given=name.removesuffix("_identification_status"))
        if any(status not in ("verified", "reserved") for status in statuses):
            raise FieldInvalid(path=f"/{name}", reason="verified or reserved is needed")


def _identifications(name: str, values: Any, body: dict[str, Any]) -> Any:
    """Addresses made through the backend are verified unless their status says that they are only reserved."""
    if not isinstance(values, list):
        return values  # the core says what is wrong with it
    if len(values) > ADDRESSES_MAX:
        raise TooManyItems(path=f"/{name}", reason=f"at most {ADDRESSES_MAX} are allowed")
    statuses = body.get(f"{name}_identification_status")
    if statuses is None:
        statuses = ["verified"] * len(values)
    else:
        _check_statuses(f"{name}_identification_status", body)
    return [{name: value, "verified": status == "verified"} for value, status in zip(values, statuses, strict=True)]
