"""Every refusal of the core: produced once, with its code, its data and the sentence that a caller reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    SETTINGS,
    after,
    create,
    delete,
    imported,
    line,
    operate,
    run,
    sign_in,
    stored,
    update,
    upsert,
)
from userfold.core import errors
from userfold.core.attribute_rules import attribute_id
from userfold.core.commands import (
    AssignSegment,
    ChoosePrimary,
    Command,
    CreateAttribute,
    CreateSegment,
    DeleteAttribute,
    MarkPassword,
    Once,
    RemoveAddress,
    RevokeKey,
    RevokeSignIn,
    UpdateFromSession,
    UpdateProject,
    UpdateUser,
    UseBackupCode,
)
from userfold.core.errors import (
    AddressNotFound,
    AddressUnverified,
    AttributeExists,
    AttributeNotFound,
    BagTooDeep,
    BagTooLarge,
    ChangeIdTaken,
    CommandBroken,
    DomainError,
    FieldFormatInvalid,
    FieldInvalid,
    FieldReadOnly,
    FieldUnknown,
    HistoryInvalid,
    IdempotencyKeyReused,
    IdentifierLast,
    IdentifierTaken,
    IdentityInvalid,
    IdentityMissing,
    ImageInvalid,
    ImageTooLarge,
    InputError,
    JsonDuplicateKey,
    JsonInvalid,
    JsonTooDeep,
    KeyNotFound,
    LimitReached,
    ListNotFound,
    NotFound,
    NumberInvalid,
    OperationInvalid,
    OperationUnknown,
    PasswordCompromised,
    PasswordNotSet,
    PasswordTooLong,
    PasswordTooShort,
    PasswordWrong,
    PathNotFound,
    ProjectNotFound,
    SecondFactorNotSet,
    SecondFactorWrong,
    SegmentNotFound,
    SessionClosed,
    SessionNotFound,
    SessionNotSampled,
    TotpSecretInvalid,
    UserDeleted,
    UserDisabled,
    UserIdProtected,
    UserLocked,
    UserNotFound,
    VersionMismatch,
    VersionNotFound,
)
from userfold.core.export_line import read_line
from userfold.core.identity import judge_claims
from userfold.core.jsontext import decode
from userfold.core.passwords import check_length
from userfold.core.reading import Unread, read_all
from userfold.core.records import EffectiveSettings, Key, Session
from userfold.core.rules import apply
from userfold.core.second_factors import totp_secret

# Callers rely on these: a code never changes and never means something else.
CODES: dict[type[DomainError], str] = {
    DomainError: "refused",
    InputError: "refused",
    JsonInvalid: "json_invalid",
    JsonDuplicateKey: "json_duplicate_key",
    JsonTooDeep: "json_too_deep",
    FieldUnknown: "field_unknown",
    FieldReadOnly: "field_read_only",
    FieldInvalid: "field_invalid",
    FieldFormatInvalid: "field_format_invalid",
    BagTooLarge: "bag_too_large",
    BagTooDeep: "bag_too_deep",
    OperationInvalid: "operation_invalid",
    OperationUnknown: "operation_unknown",
    PathNotFound: "path_not_found",
    NumberInvalid: "number_invalid",
    ListNotFound: "list_not_found",
    NotFound: "not_found",
    UserNotFound: "user_not_found",
    VersionNotFound: "version_not_found",
    ProjectNotFound: "project_not_found",
    KeyNotFound: "key_not_found",
    SessionNotFound: "session_not_found",
    SegmentNotFound: "segment_not_found",
    LimitReached: "limit_reached",
    AttributeNotFound: "attribute_not_found",
    AddressNotFound: "address_not_found",
    AddressUnverified: "address_unverified",
    IdentifierLast: "identifier_last",
    AttributeExists: "attribute_exists",
    IdentifierTaken: "identifier_taken",
    ChangeIdTaken: "change_id_taken",
    PasswordTooShort: "password_too_short",
    PasswordTooLong: "password_too_long",
    ImageInvalid: "image_invalid",
    ImageTooLarge: "image_too_large",
    PasswordNotSet: "password_not_set",
    PasswordWrong: "password_wrong",
    PasswordCompromised: "password_compromised",
    TotpSecretInvalid: "totp_secret_invalid",
    SecondFactorNotSet: "second_factor_not_set",
    SecondFactorWrong: "second_factor_wrong",
    HistoryInvalid: "history_invalid",
    UserIdProtected: "user_id_protected",
    UserDeleted: "user_deleted",
    UserDisabled: "user_disabled",
    UserLocked: "user_locked",
    SessionClosed: "session_closed",
    SessionNotSampled: "session_not_sampled",
    IdentityMissing: "identity_missing",
    IdentityInvalid: "identity_invalid",
    VersionMismatch: "version_mismatch",
    # By its module's name, because pytest would collect a class that is called Test….
    errors.TestFailed: "test_failed",
    IdempotencyKeyReused: "idempotency_key_reused",
    CommandBroken: "internal_error",
}

NOT_RAISED_BY_THE_CORE: dict[type[DomainError], str] = {
    DomainError: "the family of all refusals",
    InputError: "the family of what is wrong whatever is stored",
    NotFound: "the family of what is not there",
    CommandBroken: "the engine's, for a rule that failed in a way of its own",
    ImageInvalid: "that of `images`, which decodes them, because that takes longer than a rule may",
    ImageTooLarge: "the same",
    PasswordWrong: "the API's that verifies passwords, because that takes longer than a rule may",
    PasswordCompromised: "the same",
    SecondFactorNotSet: "the API's that verifies codes, for the same reason",
    VersionNotFound: "the native API's, for a version that its history does not reach",
}


def reading(text: bytes) -> Callable[[], Any]:
    return lambda: decode(text)


def applying(command: Command, *before: Command) -> Callable[[], Any]:
    """Apply `command` to what the commands before it left."""
    return lambda: run(command, after(*before))


def editing(kind: type[RemoveAddress | ChoosePrimary], address_id: str | None = None) -> Callable[[], Any]:
    """Edit the only address of a user, or the one of this id."""
    records = after(create({"email_addresses": ["a@x.org"]}, user_id="user_b"))
    edit = kind("email_addresses", address_id or stored(records, "user_b").email_addresses[0].id)
    command = UpdateUser(project_id=PROJECT, author=BACKEND, user_id="user_b", edits=(edit,))
    return lambda: run(command, records)


FULL = EffectiveSettings(segments=frozenset(f"seg_{number}" for number in range(1000)))
PLAN = CreateAttribute(project_id=PROJECT, author=BACKEND, name="plan", type="any")
A = create({"external_id": "a"}, user_id="user_a")
DEEP: Any = [[]]
for _ in range(30):
    DEEP = [DEEP]

# The refusal, its data, its message, and what produces it.
REFUSALS: list[tuple[type[DomainError], dict[str, Any], str, Callable[[], Any]]] = [
    (
        JsonInvalid,
        {"reason": "it is not valid UTF-8"},
        "The body is not valid JSON: it is not valid UTF-8.",
        reading(b'"\xff"'),
    ),
    (
        JsonDuplicateKey,
        {"key": "it's"},
        'An object in the body has the key "it\'s" more than once.',
        reading(b'{"it\'s":1,"it\'s":2}'),
    ),
    (
        JsonTooDeep,
        {"levels_max": 100},
        "The body nests more than 100 levels deep.",
        reading(b"[" * 101 + b"]" * 101),
    ),
    (
        FieldUnknown,
        {"path": "/nick~1name"},
        "There is no field at /nick~1name.",
        applying(update("user_a", {"nick/name": "Ada"}), A),
    ),
    (
        FieldReadOnly,
        {"path": "/version"},
        "The field at /version is kept by Userfold and cannot be written.",
        applying(update("user_a", {"version": 7}), A),
    ),
    (
        FieldInvalid,
        {"path": "/disabled", "reason": "true or false is needed"},
        "The value at /disabled is not valid: true or false is needed.",
        applying(update("user_a", {"disabled": "yes"}), A),
    ),
    (
        FieldFormatInvalid,
        {"path": "/external_id", "reason": "an external_id has at least one character"},
        "The value at /external_id does not have the right form: an external_id has at least one character.",
        applying(upsert("", {})),
    ),
    (
        BagTooLarge,
        {"path": "/traits", "size": 65_545, "size_max": 65_536},
        "/traits would be 65545 bytes of JSON; the limit is 65536.",
        applying(update("user_a", {"traits": {"a": "x" * 65_537}}), A),
    ),
    (
        BagTooDeep,
        {"path": "/traits", "levels": 33, "levels_max": 32},
        "/traits would nest 33 levels deep; the limit is 32.",
        applying(update("user_a", {"traits": {"a": DEEP}}), A),
    ),
    (
        OperationInvalid,
        {"path": "/0", "reason": "value is missing"},
        "The operation at /0 cannot be carried out: value is missing.",
        applying(operate("user_a", [{"op": "set", "path": "/name"}]), A),
    ),
    (
        OperationUnknown,
        {"path": "/0/op", "known": "add, test"},
        "There is no such operation as the one at /0/op; there are: add, test.",
        applying(operate("user_a", [{"op": "set", "path": "/name"}], allowed=("add", "test")), A),
    ),
    (
        PathNotFound,
        {"path": "/traits/a~1b"},
        "The user has nothing at /traits/a~1b.",
        applying(operate("user_a", [{"op": "remove", "path": "/traits/a~1b"}]), A),
    ),
    (
        NumberInvalid,
        {"path": "/traits", "reason": "a number is needed"},
        "The number at /traits cannot be computed: a number is needed.",
        applying(operate("user_a", [{"op": "increment", "path": "/traits"}]), A),
    ),
    (
        ListNotFound,
        {"path": "/traits"},
        "There is something other than a list at /traits.",
        applying(operate("user_a", [{"op": "append", "path": "/traits", "value": 1}]), A),
    ),
    (
        errors.TestFailed,
        {"path": "/external_id", "current": "a"},
        "The value at /external_id is not the one that the request expects.",
        applying(operate("user_a", [{"op": "test", "path": "/external_id", "value": "b"}]), A),
    ),
    (
        UserNotFound,
        {"user_id": "user_z"},
        "There is no user user_z in this project.",
        applying(update("user_z", {}), A),
    ),
    (
        SessionNotFound,
        {"session_id": "ses_z"},
        "There is no session ses_z in this project.",
        applying(RevokeSignIn(project_id=PROJECT, author=BACKEND, session_id="ses_z")),
    ),
    (
        ProjectNotFound,
        {},
        "There is no such project.",
        applying(UpdateProject(project_id=PROJECT, author=BACKEND, name="Shop")),
    ),
    (
        KeyNotFound,
        {"key_id": "key_z"},
        "There is no key key_z in this project.",
        applying(RevokeKey(project_id=PROJECT, author=BACKEND, key_id="key_z")),
    ),
    (
        SegmentNotFound,
        {"segment_id": "seg_z"},
        "There is no segment seg_z in this project.",
        applying(AssignSegment(project_id=PROJECT, author=BACKEND, user_id="user_a", segment_id="seg_z"), A),
    ),
    (
        AttributeNotFound,
        {"attribute_id": "attr_z"},
        "There is no attribute attr_z in this project.",
        applying(DeleteAttribute(project_id=PROJECT, author=BACKEND, attribute_id="attr_z")),
    ),
    (
        AttributeExists,
        {"path": "/name", "attribute_id": attribute_id(PROJECT, "plan")},
        f"This project has an attribute of this name already: {attribute_id(PROJECT, 'plan')}.",
        applying(PLAN, PLAN),
    ),
    (
        AddressNotFound,
        {"address_id": "idn_z"},
        "There is no email address or phone number idn_z in this project.",
        editing(RemoveAddress, "idn_z"),
    ),
    (
        PasswordNotSet,
        {},
        "The user has no password.",
        applying(MarkPassword(project_id=PROJECT, author=BACKEND, user_id="user_a", compromised=True), A),
    ),
    (
        TotpSecretInvalid,
        {"path": "/totp_secret", "reason": "it is not base 32"},
        "The TOTP secret at /totp_secret cannot be used: it is not base 32.",
        lambda: totp_secret("1", "/totp_secret"),
    ),
    (
        SecondFactorWrong,
        {"path": "/code"},
        "The code at /code is not good, or not any more: each is accepted once.",
        applying(UseBackupCode(project_id=PROJECT, author=BACKEND, user_id="user_a", digest="x"), A),
    ),
    (
        AddressUnverified,
        {"path": "/email_addresses"},
        "The address chosen at /email_addresses is not verified, and so cannot be primary.",
        editing(ChoosePrimary),
    ),
    (
        IdentifierLast,
        {},
        "It is the last name by which the user can sign in.",
        editing(RemoveAddress),
    ),
    (
        LimitReached,
        {"what": "segments in this project", "count_max": 1000},
        "There are 1000 segments in this project already; no more are allowed.",
        lambda: run(CreateSegment(project_id=PROJECT, author=BACKEND, name="one more"), {}, settings=FULL),
    ),
    (
        IdentifierTaken,
        {"path": "/external_id"},
        "The value at /external_id already belongs to another user.",
        applying(create({"external_id": "a"}), A),
    ),
    (
        ChangeIdTaken,
        {"path": "/changes/0/id"},
        "The change of the id at /changes/0/id already belongs to another user of this project.",
        applying(imported(line("user_b")), imported(line("user_a"))),
    ),
    (
        HistoryInvalid,
        {"path": "/changes/0/version", "reason": "1 is the next version"},
        "The changes are not the history of this user: 1 is the next version.",
        lambda: read_line(line("user_a", version=2)),
    ),
    (
        PasswordTooShort,
        {"path": "/password", "length_min": 8},
        "The password is too short: at least 8 characters are needed.",
        lambda: check_length("1234567"),
    ),
    (
        PasswordTooLong,
        {"path": "/password", "length_max": 1024},
        "The password is too long: at most 1024 characters are allowed.",
        lambda: check_length("x" * 1025),
    ),
    (
        UserIdProtected,
        {"path": "/external_id"},
        "The external_id of this user was set by a backend; a browser cannot change it.",
        applying(update("user_a", {"external_id": "b"}, BROWSER), A),
    ),
    (
        UserDeleted,
        {"path": "/external_id", "until": 1_752_592_000_000},
        "A user of this name was deleted; a browser cannot create it again before 1752592000000 (ms since the epoch).",
        applying(upsert("a", {}, BROWSER), A, delete("user_a")),
    ),
    (
        UserDisabled,
        {},
        "The user is disabled: browsers cannot write to it, and it cannot sign in.",
        applying(update("user_a", {}, BROWSER), A, update("user_a", {"disabled": True})),
    ),
    (
        UserLocked,
        {},
        "The user is locked and cannot sign in.",
        applying(sign_in("user_a"), A, update("user_a", {"locked": True})),
    ),
    (
        SessionClosed,
        {},
        "The session is unknown, ended or belongs elsewhere.",
        applying(upsert("a", {}, BROWSER, session_id="ses_z"), A),
    ),
    (
        IdentityMissing,
        {"path": "/identity_token"},
        "The project takes no browser at its word: a token must prove who the user is.",
        lambda: run(upsert("a", {}, BROWSER), {}, settings=EffectiveSettings(browser_identity="verified")),
    ),
    (
        IdentityInvalid,
        {"path": "/identity_token", "reason": "it has no exp"},
        "The identity token does not prove who the user is: it has no exp.",
        lambda: judge_claims({"sub": "a"}, "a", NOW),
    ),
    (
        SessionNotSampled,
        {},
        "The session is not sampled, and what such sessions say is not applied in this project.",
        lambda: run(
            UpdateFromSession(project_id=PROJECT, author=BROWSER, session_id="ses_1", external_id="a"),
            {Key("session", PROJECT, "ses_1"): Session(id="ses_1", sampled=False, created_at=1)},
        ),
    ),
    (
        VersionMismatch,
        {"current": 1},
        "It is at version 1, not at the one that the request was made for.",
        applying(update("user_a", {}, if_match=(2,)), A),
    ),
    (
        IdempotencyKeyReused,
        {},
        "This Idempotency-Key was used for another request.",
        applying(update("user_a", {}, once=Once("k", "2")), A, update("user_a", {}, once=Once("k", "1"))),
    ),
]


def core_errors() -> set[type[DomainError]]:
    return {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, DomainError)}


@pytest.mark.parametrize(("refusal", "data", "message", "act"), REFUSALS, ids=[row[0].__name__ for row in REFUSALS])
def test_a_refusal_carries_its_data_and_says_it_in_a_sentence(
    refusal: type[DomainError], data: dict[str, Any], message: str, act: Callable[[], Any]
) -> None:
    with pytest.raises(DomainError) as refused:
        act()
    error = refused.value
    assert (type(error), error.data, str(error)) == (refusal, data, message)
    assert error.path == data.get("path")
    assert "{" not in str(error)


def test_every_refusal_of_the_core_is_produced_by_a_row() -> None:
    produced = {row[0] for row in REFUSALS}
    assert produced | NOT_RAISED_BY_THE_CORE.keys() == core_errors()
    assert not produced & NOT_RAISED_BY_THE_CORE.keys()


def test_codes_are_stable_and_each_means_one_refusal() -> None:
    assert {error: error.code for error in core_errors()} == CODES
    raised = [code for error, code in CODES.items() if error is not InputError]
    assert len(set(raised)) == len(raised)


@pytest.mark.parametrize("error", CODES)
def test_every_refusal_has_its_own_docstring_that_is_a_sentence(error: type[DomainError]) -> None:
    assert error.__doc__ is not None
    assert error.__doc__[-1] == "."
    assert error.__doc__.count("\n") == 0
    assert error.hint == "" or error.hint[-1] == "."


def test_the_tree_at_the_head_of_the_module_shows_every_refusal() -> None:
    assert errors.__doc__ is not None
    assert [error.__name__ for error in core_errors() if error.__name__ not in errors.__doc__] == []


def test_messages_whose_refusal_the_core_does_not_raise_itself() -> None:
    assert str(VersionNotFound(version=9, current=2)) == "The user has no version 9; the current one is 2."
    assert str(CommandBroken()).startswith("Userfold could not carry out this request")


def test_a_refusal_without_a_place_has_no_path() -> None:
    assert VersionMismatch(current=1).path is None
    assert FieldInvalid(path=7, reason="").path is None


def test_a_rule_that_lacks_a_record_asks_for_it_and_refuses_nothing() -> None:
    with pytest.raises(Unread) as unread:
        apply(update("user_a", {}), {}, now=NOW, entropy=0, settings=SETTINGS)
    assert unread.value.keys == (Key("user", PROJECT, "user_a"),)
    assert not isinstance(unread.value, DomainError)
    known, one, two = (Key("user", PROJECT, name) for name in ("known", "one", "two"))
    with pytest.raises(Unread) as unread:
        read_all({known: None}, [one, known, two])
    assert unread.value.keys == (one, two)
