"""Refusals: what the core answers instead of a change. Nothing was stored when one is raised.

An error's docstring is its message; its `code` is stable and may be relied on; its attributes are data for the
caller. The core never says which HTTP status a refusal has: each API has one table for that.

    DomainError
    ├── InputError            the text or its values are wrong, whatever is stored
    │   ├── JsonInvalid, JsonDuplicateKey, JsonTooDeep
    │   ├── FieldUnknown, FieldReadOnly, FieldInvalid, FieldFormatInvalid
    │   ├── BagTooLarge, BagTooDeep
    │   ├── PasswordTooShort, PasswordTooLong, TotpSecretInvalid
    │   ├── ImageInvalid, ImageTooLarge
    │   ├── HistoryInvalid
    │   └── OperationInvalid, OperationUnknown
    ├── NotFound              UserNotFound, SessionNotFound, VersionNotFound, KeyNotFound, ProjectNotFound,
    │                         SegmentNotFound, AttributeNotFound, AddressNotFound
    ├── AddressUnverified, IdentifierLast
    ├── LimitReached, AttributeExists
    ├── IdentifierTaken, ChangeIdTaken, UserIdProtected, UserDeleted
    ├── PasswordNotSet, PasswordWrong, PasswordCompromised
    ├── SecondFactorNotSet, SecondFactorWrong
    ├── VersionMismatch, TestFailed, PathNotFound, NumberInvalid, ListNotFound
    ├── IdempotencyKeyReused
    ├── UserDisabled, UserLocked, SessionClosed, SessionNotSampled
    ├── IdentityMissing, IdentityInvalid
    └── CommandBroken         our own bug, answered as one
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


class DomainError(Exception):
    """A refusal. Nothing was stored."""

    code: ClassVar[str] = "refused"
    hint: ClassVar[str] = ""  # what to do about it; shown to the caller

    def __init__(self, **data: Any) -> None:
        self.data = data
        super().__init__(data)

    @property
    def path(self) -> str | None:
        """The JSON Pointer (RFC 6901) of what is at fault, or None."""
        path = self.data.get("path")
        return path if isinstance(path, str) else None

    def __str__(self) -> str:
        message = re.sub(r"\s+", " ", type(self).__doc__ or "").strip()
        return message.format_map(self.data)


class InputError(DomainError):
    """The input is not valid."""


class JsonInvalid(InputError):
    """The body is not valid JSON: {reason}."""

    code = "json_invalid"


class JsonDuplicateKey(InputError):
    """An object in the body has the key {key!r} more than once."""

    code = "json_duplicate_key"
    hint = "Two readers of such a text may see different values (RFC 7493, 2.3). Send each key once."


class JsonTooDeep(InputError):
    """The body nests more than {levels_max} levels deep."""

    code = "json_too_deep"


class FieldUnknown(InputError):
    """There is no field at {path}."""

    code = "field_unknown"


class FieldReadOnly(InputError):
    """The field at {path} is kept by Userfold and cannot be written."""

    code = "field_read_only"


class FieldInvalid(InputError):
    """The value at {path} is not valid: {reason}."""

    code = "field_invalid"


class FieldFormatInvalid(FieldInvalid):
    """The value at {path} does not have the right form: {reason}."""

    code = "field_format_invalid"


class BagTooLarge(InputError):
    """{path} would be {size} bytes of JSON; the limit is {size_max}."""

    code = "bag_too_large"


class BagTooDeep(InputError):
    """{path} would nest {levels} levels deep; the limit is {levels_max}."""

    code = "bag_too_deep"


class PasswordTooShort(InputError):
    """The password is too short: at least {length_min} characters are needed."""

    code = "password_too_short"


class PasswordTooLong(InputError):
    """The password is too long: at most {length_max} characters are allowed."""

    code = "password_too_long"


class TotpSecretInvalid(InputError):
    """The TOTP secret at {path} cannot be used: {reason}."""

    code = "totp_secret_invalid"


class ImageInvalid(InputError):
    """The image cannot be taken: {reason}."""

    code = "image_invalid"
    hint = "JPEG, PNG, GIF, WebP and ICO are taken, whatever the file is called. SVG is not."


class ImageTooLarge(InputError):
    """The image has more than {side_max} × {side_max} pixels."""

    code = "image_too_large"


class HistoryInvalid(InputError):
    """The changes are not the history of this user: {reason}."""

    code = "history_invalid"
    hint = "Versions count from 1 without a gap, and applying all operations in order gives the user."


class OperationInvalid(InputError):
    """The operation at {path} cannot be carried out: {reason}."""

    code = "operation_invalid"


class OperationUnknown(InputError):
    """There is no such operation as the one at {path}; there are: {known}."""

    code = "operation_unknown"


class NotFound(DomainError):
    """There is no such record in this project."""

    code = "not_found"


class UserNotFound(NotFound):
    """There is no user {user_id} in this project."""

    code = "user_not_found"


class VersionNotFound(NotFound):
    """The user has no version {version}; the current one is {current}."""

    code = "version_not_found"


class ProjectNotFound(NotFound):
    """There is no such project."""

    code = "project_not_found"


class KeyNotFound(NotFound):
    """There is no key {key_id} in this project."""

    code = "key_not_found"


class SegmentNotFound(NotFound):
    """There is no segment {segment_id} in this project."""

    code = "segment_not_found"


class AttributeNotFound(NotFound):
    """There is no attribute {attribute_id} in this project."""

    code = "attribute_not_found"


class AttributeExists(DomainError):
    """This project has an attribute of this name already: {attribute_id}."""

    code = "attribute_exists"
    hint = "Change that one, or delete it first: the type of an attribute stays."


class AddressNotFound(NotFound):
    """There is no email address or phone number {address_id} in this project."""

    code = "address_not_found"


class AddressUnverified(DomainError):
    """The address chosen at {path} is not verified, and so cannot be primary."""

    code = "address_unverified"


class IdentifierLast(DomainError):
    """It is the last name by which the user can sign in."""

    code = "identifier_last"
    hint = "Give the user another address or a username first, or delete the user."


class LimitReached(DomainError):
    """There are {count_max} {what} already; no more are allowed."""

    code = "limit_reached"


class IdentifierTaken(DomainError):
    """The value at {path} already belongs to another user."""

    code = "identifier_taken"
    hint = "Nothing was changed. Look the other user up by that value, or choose another one."


class ChangeIdTaken(DomainError):
    """The change of the id at {path} already belongs to another user of this project."""

    code = "change_id_taken"
    hint = "Nothing was changed. A user's history can be imported once into a project, or into another project."


class PasswordNotSet(DomainError):
    """The user has no password."""

    code = "password_not_set"


class PasswordWrong(DomainError):
    """The password is not that of the user."""

    code = "password_wrong"


class PasswordCompromised(DomainError):
    """The password is right, but somebody else may have it too; it does not count any more."""

    code = "password_compromised"
    hint = "Ask for a new one, and set that."


class SecondFactorNotSet(DomainError):
    """The user has neither a TOTP secret nor backup codes."""

    code = "second_factor_not_set"


class SecondFactorWrong(DomainError):
    """The code at {path} is not good, or not any more: each is accepted once."""

    code = "second_factor_wrong"


class UserIdProtected(DomainError):
    """The external_id of this user was set by a backend; a browser cannot change it."""

    code = "user_id_protected"


class UserDeleted(DomainError):
    """A user of this name was deleted; a browser cannot create it again before {until} (ms since the epoch)."""

    code = "user_deleted"
    hint = "A backend can create it at any time."


class UserDisabled(DomainError):
    """The user is disabled: browsers cannot write to it, and it cannot sign in."""

    code = "user_disabled"


class UserLocked(DomainError):
    """The user is locked and cannot sign in."""

    code = "user_locked"


class SessionNotFound(NotFound):
    """There is no session {session_id} in this project."""

    code = "session_not_found"


class SessionClosed(DomainError):
    """The session is unknown, ended or belongs elsewhere."""

    code = "session_closed"


class IdentityMissing(DomainError):
    """The project takes no browser at its word: a token must prove who the user is."""

    code = "identity_missing"
    hint = "The app's backend signs one for the user who is signed in; the browser sends it along."


class IdentityInvalid(DomainError):
    """The identity token does not prove who the user is: {reason}."""

    code = "identity_invalid"


class SessionNotSampled(DomainError):
    """The session is not sampled, and what such sessions say is not applied in this project."""

    code = "session_not_sampled"


class VersionMismatch(DomainError):
    """It is at version {current}, not at the one that the request was made for."""

    code = "version_mismatch"
    hint = "Read it again, apply the change to what you find, and send it with the new ETag."


class TestFailed(DomainError):
    """The value at {path} is not the one that the request expects."""

    __test__: ClassVar[bool] = False  # pytest would take a class of this name for one of tests
    code = "test_failed"
    hint = "Nothing was changed. The answer has the current value."


class PathNotFound(DomainError):
    """The user has nothing at {path}."""

    code = "path_not_found"


class NumberInvalid(DomainError):
    """The number at {path} cannot be computed: {reason}."""

    code = "number_invalid"


class ListNotFound(DomainError):
    """There is something other than a list at {path}."""

    code = "list_not_found"


class IdempotencyKeyReused(DomainError):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"
    hint = "Use a new key for a new request; a repeated request must be the same to the byte."


class CommandBroken(DomainError):
    """Userfold could not carry out this request because of a defect of its own. Nothing was stored."""

    code = "internal_error"
    hint = "The log has the details under the request's id."
