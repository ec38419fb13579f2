"""What second factors are to the rules: secrets of which a user says only that they are there, and codes that are good
once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    NOW,
    PROJECT,
    VERIFIED,
    Database,
    as_json,
    changes_of,
    create,
    delete,
    folded,
    refusal,
    run,
    sign_in,
    stored,
    update,
    user_of,
)
from userfold.core.commands import AcceptTotp, Command, CreateUser, MarkPassword, Once, RenewTotpSecret, UseBackupCode
from userfold.core.errors import FieldFormatInvalid, FieldInvalid, InputError, TotpSecretInvalid
from userfold.core.queries import HAS_TOTP, terms
from userfold.core.records import Key, Secrets, SignIn
from userfold.core.second_factors import STEP_MS, check_backup_code, good_steps, is_totp_code, totp_secret
from userfold.core.trust import Author, Ignored

SEALED, RENEWED = "what-was-encrypted", "and-encrypted-anew"
ONE, TWO = "$2b$04$" + "a" * 53, "$2b$04$" + "b" * 53
PASSWORD = "$2b$10$" + "c" * 53


def a(**more: Any) -> CreateUser:
    return create({"first_name": "Ada"}, user_id="user_a", **more)


def accept(step: int, secret: str = SEALED, user_id: str = "user_a") -> AcceptTotp:
    return AcceptTotp(project_id=PROJECT, author=BACKEND, user_id=user_id, secret=secret, step=step)


def use(digest: str, user_id: str = "user_a") -> UseBackupCode:
    return UseBackupCode(project_id=PROJECT, author=BACKEND, user_id=user_id, digest=digest)


def mark(compromised: bool, by: Author = BACKEND, **more: Any) -> MarkPassword:
    return MarkPassword(project_id=PROJECT, author=by, user_id="user_a", compromised=compromised, **more)


def renew(stored_as: str = SEALED, user_id: str = "user_a") -> RenewTotpSecret:
    return RenewTotpSecret(project_id=PROJECT, author=BACKEND, user_id=user_id, stored=stored_as, renewed=RENEWED)


def kept(records: Database) -> Secrets | None:
    record = records.get(Key("secrets", PROJECT, "user_a"))
    assert record is None or isinstance(record, Secrets)
    return record


def told(records: Database) -> list[dict[str, Any]]:
    """The operations of the last change."""
    operations: list[dict[str, Any]] = as_json(changes_of(records, "user_a")[-1].operations)
    return operations


def after(*commands: Command) -> Database:
    """What these left, one a second."""
    records: Database = {}
    for number, command in enumerate(commands):
        run(command, records, now=NOW + 1000 * number)
    return records


def test_a_user_says_which_second_factors_it_has_and_nobody_says_what_they_are() -> None:
    records = after(a(totp_secret=SEALED, backup_code_digests=(ONE,)))
    user = stored(records, "user_a")
    assert (user.totp_enabled, user.backup_codes_enabled) == (True, True)
    assert (user.second_factor_enabled_at, user.second_factor_disabled_at) == (NOW, None)
    assert kept(records) == Secrets(id="user_a", totp_secret=SEALED, backup_code_digests=(ONE,), version=1)
    seen = str(as_json([changes_of(records, "user_a"), user]))
    assert not any(secret in seen for secret in (SEALED, ONE))
    assert folded(records, "user_a") == as_json(user)


def test_the_history_says_that_secrets_changed_and_when_factors_came_and_went() -> None:
    records = after(a(), update("user_a", {}, totp_secret=SEALED))
    assert told(records) == [
        {"op": "replace", "path": "/totp_enabled", "old": False, "new": True},
        {"op": "replace", "path": "/second_factor_enabled_at", "old": None, "new": NOW + 1000},
    ]
    run(update("user_a", {}, totp_secret="another", backup_code_digests=(ONE,)), records, now=NOW + 2000)
    assert told(records) == [
        {"op": "replace", "path": "/backup_codes_enabled", "old": False, "new": True},
        {"op": "replace", "path": "/totp_secret"},
    ]
    run(update("user_a", {}, totp_secret=None, backup_code_digests=(TWO,)), records, now=NOW + 3000)
    assert told(records) == [
        {"op": "replace", "path": "/totp_enabled", "old": True, "new": False},
        {"op": "replace", "path": "/backup_codes"},
    ]
    run(update("user_a", {}, backup_code_digests=()), records, now=NOW + 4000)
    assert told(records) == [
        {"op": "replace", "path": "/backup_codes_enabled", "old": True, "new": False},
        {"op": "replace", "path": "/second_factor_disabled_at", "old": None, "new": NOW + 4000},
    ]
    user = stored(records, "user_a")
    # That there was none is no reason to forget when there was one.
    assert (user.second_factor_enabled_at, user.second_factor_disabled_at) == (NOW + 1000, NOW + 4000)
    assert folded(records, "user_a") == as_json(user)


def test_factors_that_are_not_there_are_removed_without_a_change() -> None:
    records = after(a())
    assert run(update("user_a", {}, totp_secret=None, backup_code_digests=()), records).writes == {}


def test_a_password_stays_when_factors_go_and_factors_when_a_password_goes() -> None:
    records = after(a(password_digest=PASSWORD, totp_secret=SEALED), update("user_a", {}, password_digest=None))
    assert kept(records) == Secrets(id="user_a", totp_secret=SEALED, version=2)
    records = after(a(password_digest=PASSWORD, totp_secret=SEALED), update("user_a", {}, totp_secret=None))
    assert kept(records) == Secrets(id="user_a", password_digest=PASSWORD, version=2)


@pytest.mark.parametrize("by", [BROWSER, VERIFIED])
def test_only_a_backend_sets_secrets_and_marks_passwords(by: Author) -> None:
    records = after(a(password_digest=PASSWORD))
    applied = run(update("user_a", {}, by, totp_secret=SEALED, backup_code_digests=(ONE,)), records)
    assert applied.ignored == (Ignored("/password", "not_permitted"),)
    applied = run(mark(True, by), records)
    assert applied.ignored == (Ignored("/password_compromised", "not_permitted"),)
    assert stored(records, "user_a").version == 1


def test_a_step_is_accepted_once_and_none_before_it_afterwards() -> None:
    records = after(a(totp_secret=SEALED))
    user = user_of(run(accept(7), records))
    assert (user.version, len(changes_of(records, "user_a"))) == (1, 1)
    assert refusal(accept(7), records).code == "second_factor_wrong"
    assert refusal(accept(6), records).code == "second_factor_wrong"
    run(accept(8), records)
    secrets = kept(records)
    assert secrets is not None
    assert (secrets.totp_step, secrets.version) == (8, 3)


def test_a_code_of_a_secret_that_gave_way_meanwhile_is_not_accepted() -> None:
    records = after(a(totp_secret=SEALED), accept(7), update("user_a", {}, totp_secret="another"))
    assert refusal(accept(8), records).path == "/code"
    run(accept(7, "another"), records)  # what was used of the other one says nothing about this one
    run(update("user_a", {}, totp_secret=None), records)
    assert refusal(accept(9, "another"), records).code == "second_factor_wrong"


def test_other_secrets_that_change_leave_the_last_step() -> None:
    records = after(a(totp_secret=SEALED), accept(7), update("user_a", {}, backup_code_digests=(ONE,)))
    assert refusal(accept(7), records).code == "second_factor_wrong"


def test_a_backup_code_is_used_up_in_one_change_with_its_use() -> None:
    records = after(a(backup_code_digests=(ONE, TWO)))
    used = run(use(ONE), records, now=NOW + 5)
    assert told(records) == [{"op": "replace", "path": "/backup_codes"}]
    assert used.user == stored(records, "user_a")
    assert (user_of(used).version, user_of(used).updated_at) == (2, NOW + 5)
    assert refusal(use(ONE), records).code == "second_factor_wrong"
    run(use(TWO), records, now=NOW + 9)
    user = stored(records, "user_a")
    assert (user.backup_codes_enabled, user.second_factor_disabled_at) == (False, NOW + 9)
    assert kept(records) == Secrets(id="user_a", version=3)
    assert folded(records, "user_a") == as_json(user)


@pytest.mark.parametrize("command", [accept(1, user_id="user_z"), use(ONE, "user_z"), renew(user_id="user_z")])
def test_nobody_has_no_secrets(command: Command) -> None:
    assert refusal(command, after(a())).code == "user_not_found"


def test_a_secret_is_encrypted_anew_without_a_trace_if_it_is_still_that_one() -> None:
    records = after(a(totp_secret=SEALED), accept(7))
    run(renew(), records)
    assert kept(records) == Secrets(id="user_a", totp_secret=RENEWED, totp_step=7, version=3)
    assert len(changes_of(records, "user_a")) == 1
    assert run(renew(), records).writes == {}


def test_a_password_is_marked_once_and_no_longer_once_it_changes() -> None:
    records = after(a(password_digest=PASSWORD), mark(True))
    assert told(records) == [{"op": "replace", "path": "/password_compromised", "old": False, "new": True}]
    assert run(mark(True), records).writes == {}
    run(update("user_a", {"first_name": "Eve"}), records)
    run(update("user_a", {}, totp_secret=SEALED), records)
    assert stored(records, "user_a").password_compromised
    run(update("user_a", {}, password_digest=PASSWORD.replace("c", "d")), records)
    assert told(records) == [
        {"op": "replace", "path": "/password_compromised", "old": True, "new": False},
        {"op": "replace", "path": "/password"},
    ]
    run(mark(True), records)
    run(mark(False), records)
    assert not stored(records, "user_a").password_compromised
    run(mark(True), records)
    run(update("user_a", {}, password_digest=None), records)
    assert not stored(records, "user_a").password_compromised
    assert refusal(mark(True), records).code == "password_not_set"
    assert run(mark(False), records).writes == {}


@pytest.mark.parametrize("sign_out", [True, False])
def test_with_a_compromised_password_sign_ins_end_if_that_is_asked_for(sign_out: bool) -> None:
    records = after(a(password_digest=PASSWORD), sign_in("user_a"))
    run(mark(True, sign_out=sign_out), records, now=NOW + 1)
    session = records[Key("sign_in", PROJECT, "ses_1")]
    assert isinstance(session, SignIn)
    assert session.is_live(NOW + 1) is not sign_out


def test_a_deleted_user_leaves_no_secrets_and_no_answer_holds_any() -> None:
    records = after(a(totp_secret=SEALED, backup_code_digests=(ONE,), once=Once("k", "1")))
    assert not any(secret in str(as_json(records[Key("idempotency", PROJECT, "k")])) for secret in (SEALED, ONE))
    run(delete("user_a"), records)
    assert kept(records) is None


def test_who_has_something_encrypted_is_found_by_that() -> None:
    records = after(a(totp_secret=SEALED))
    assert HAS_TOTP in terms(stored(records, "user_a"))
    run(update("user_a", {}, totp_secret=None, backup_code_digests=(ONE,)), records)
    assert HAS_TOTP not in terms(stored(records, "user_a"))


def test_when_somebody_was_created_elsewhere_can_be_said_later_and_only_by_a_backend() -> None:
    records = after(a(), update("user_a", {}, created_at=5))
    assert told(records) == [{"op": "replace", "path": "/created_at", "old": NOW, "new": 5}]
    assert run(update("user_a", {}, created_at=5), records).writes == {}
    run(update("user_a", {"traits": {"a": 1}}, BROWSER, created_at=7), records)
    assert stored(records, "user_a").created_at == 5
    assert refusal(update("user_a", {}, created_at=-1), records).path == "/created_at"


# Fields that only a backend writes: values that are kept as they are, what null is, and values that are refused.
FIELDS: list[tuple[str, list[Any], Any, list[Any]]] = [
    ("legal_accepted_at", [0, 1 << 52], None, [-1, 1.5, True, "now", 1 << 53]),
    ("create_organizations_limit", [0, 5], None, [-1, 1.5, True, "5", 1 << 31]),
    ("delete_self_enabled", [False, True], True, [0, "no"]),
    ("create_organization_enabled", [False, True], True, [0, "no"]),
    ("bypass_client_trust", [True, False], False, [1, "yes"]),
]


@pytest.mark.parametrize("name", ["legal_accepted_at", "create_organizations_limit"])
def test_an_integer_may_be_written_with_a_fraction_of_nothing(name: str) -> None:
    records = after(a())
    run(update("user_a", {name: 7.0}), records)
    value = getattr(stored(records, "user_a"), name)
    assert (value, type(value)) == (7, int)


@pytest.mark.parametrize(("name", "good", "null", "bad"), FIELDS)
def test_what_an_app_keeps_about_a_user(name: str, good: list[Any], null: Any, bad: list[Any]) -> None:
    records = after(a())
    for value in good:
        run(update("user_a", {name: value}), records)
        assert getattr(stored(records, "user_a"), name) == value
    run(update("user_a", {name: None}, mode="replace"), records)
    assert getattr(stored(records, "user_a"), name) == null
    for value in bad:
        error = refusal(update("user_a", {name: value}), records)
        assert isinstance(error, FieldInvalid)
        assert error.path == f"/{name}"


STEP = 50_000_000
AT = STEP * STEP_MS

STEPS: list[tuple[int, int | None, tuple[int, ...]]] = [
    (AT, None, (STEP - 1, STEP, STEP + 1)),
    (AT + STEP_MS - 1, None, (STEP - 1, STEP, STEP + 1)),
    (AT + STEP_MS, None, (STEP, STEP + 1, STEP + 2)),
    (AT, STEP - 2, (STEP - 1, STEP, STEP + 1)),
    (AT, STEP - 1, (STEP, STEP + 1)),
    (AT, STEP, (STEP + 1,)),
    (AT, STEP + 1, ()),
]


@pytest.mark.parametrize(("now", "last", "steps"), STEPS)
def test_codes_of_the_step_and_its_neighbours_are_good_after_the_last_one(
    now: int, last: int | None, steps: tuple[int, ...]
) -> None:
    assert good_steps(now, last) == steps


CODES = {
    "123456": True,
    "000000": True,
    "12345": False,
    "1234567": False,
    "12345a": False,
    "１２３４５６": False,
    "": False,
}


@pytest.mark.parametrize("code", CODES)
def test_a_code_of_totp_is_six_digits(code: str) -> None:
    assert is_totp_code(code) is CODES[code]


SECRETS = {
    "JBSWY3DPEHPK3PXP": "JBSWY3DPEHPK3PXP",
    "jbsw y3dp-ehpk 3pxp": "JBSWY3DPEHPK3PXP",
    "GEZDGNBVGY3TQOJQGEZDGNBVGY======": "GEZDGNBVGY3TQOJQGEZDGNBVGY",
    "A" * 103: "A" * 103,
}


@pytest.mark.parametrize("given", SECRETS)
def test_a_secret_has_a_normal_form(given: str) -> None:
    assert totp_secret(given, "/totp_secret") == SECRETS[given]
    assert totp_secret(SECRETS[given], "/totp_secret") == SECRETS[given]


BAD_SECRETS = [
    "",
    "1",
    "JBSWY3DPEHPK3PX1",
    "JBSWY3DPEHPK3PX",
    "A" * 15,
    "A" * 104,
    "JBSWY3DPEHPK3PXPA",
    "ÄÄÄÄ" * 8,
    "=" * 16,
]


@pytest.mark.parametrize("given", BAD_SECRETS)
def test_another_secret_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(TotpSecretInvalid) as refused:
        totp_secret(given, "/totp_secret")
    assert refused.value.path == "/totp_secret"
    assert len(given) < 8 or given not in str(refused.value)


@pytest.mark.parametrize("given", ["123456", "x" * 64, "abcd-efgh", ONE, "$2y$12$" + "b" * 53])
def test_a_backup_code_or_its_digest_is_taken(given: str) -> None:
    check_backup_code(given, "/backup_codes/0")


@pytest.mark.parametrize("given", ["", "12345", "x" * 65, "$2b$13$" + "b" * 53, "$2x$10$" + "b" * 53, "$money$"])
def test_another_backup_code_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(FieldFormatInvalid) as refused:
        check_backup_code(given, "/backup_codes/0")
    assert len(given) < 8 or given not in str(refused.value)


@pytest.mark.parametrize(
    ("digests", "path"),
    [
        (tuple(f"{ONE[:-2]}{number}" for number in range(10, 31)), "/backup_codes"),
        ((ONE, "12345678"), "/backup_codes/1"),
        ((ONE, "$2b$13$" + "b" * 53), "/backup_codes/1"),
    ],
    ids=["too many", "no digest", "too dear"],
)
def test_digests_of_backup_codes_that_cannot_be_kept_are_refused(digests: tuple[str, ...], path: str) -> None:
    error = refusal(msgspec.structs.replace(a(), backup_code_digests=digests), {})
    assert isinstance(error, InputError)
    assert error.path == path
