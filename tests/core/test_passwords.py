"""What a password is to the rules: a digest in a record of its own, of which the user says only that it is there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.driver import (
    BACKEND,
    BROWSER,
    PROJECT,
    VERIFIED,
    Database,
    as_json,
    changes_of,
    create,
    delete,
    folded,
    made,
    refusal,
    run,
    stored,
    update,
)
from userfold.core.commands import CreateUser, Once
from userfold.core.errors import FieldFormatInvalid
from userfold.core.passwords import check_digest
from userfold.core.records import Key, Secrets
from userfold.core.trust import Author, Ignored

ONE = "$2b$10$" + "a" * 53
OTHER = "$2y$12$" + "b" * 53
ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1$zMumRXUMQOkzf/gwsiC7LA$4jqA1jzvU8DocdzWoMR0IFdtKBqJkhEGf1CDbv/hMQ8"


def kept(records: Database, user_id: str = "user_a") -> str | None:
    """The digest that is kept of a user's password."""
    record = records.get(Key("secrets", PROJECT, user_id))
    assert record is None or isinstance(record, Secrets)
    return None if record is None else record.password_digest


def told(records: Database) -> list[dict[str, Any]]:
    """The operations of the last change."""
    operations: list[dict[str, Any]] = as_json(changes_of(records, "user_a")[-1].operations)
    return operations


def a(**more: Any) -> CreateUser:
    return create({"first_name": "Ada"}, user_id="user_a", **more)


def test_a_user_made_with_a_password_says_that_it_has_one_and_nobody_says_which() -> None:
    records: Database = {}
    assert run(a(password_digest=ONE), records).user == stored(records, "user_a")
    assert stored(records, "user_a").password_enabled
    assert kept(records) == ONE
    assert {"op": "add", "path": "/password_enabled", "new": True} in told(records)
    assert ONE not in str(as_json([changes_of(records, "user_a"), stored(records, "user_a")]))


def test_a_user_made_without_a_password_has_no_record_of_secrets() -> None:
    records: Database = {}
    run(a(), records)
    assert not stored(records, "user_a").password_enabled
    assert Key("secrets", PROJECT, "user_a") not in records


def test_a_first_password_is_one_change_of_the_flag() -> None:
    records: Database = {}
    run(a(), records)
    run(update("user_a", {}, password_digest=ONE), records)
    assert told(records) == [{"op": "replace", "path": "/password_enabled", "old": False, "new": True}]
    assert (kept(records), stored(records, "user_a").version) == (ONE, 2)


def test_another_password_is_a_change_that_tells_neither() -> None:
    records: Database = {}
    run(a(password_digest=ONE), records)
    run(update("user_a", {"locked": True}, password_digest=OTHER), records)
    assert told(records) == [
        {"op": "replace", "path": "/locked", "old": False, "new": True},
        {"op": "replace", "path": "/password"},
    ]
    assert kept(records) == OTHER
    assert folded(records, "user_a") == as_json(stored(records, "user_a"))


def test_a_password_that_is_removed_leaves_the_other_secrets() -> None:
    records: Database = {}
    run(a(), records)
    run(update("user_a", {}, password_digest=OTHER, totp_secret="t"), records)
    run(update("user_a", {}, password_digest=None), records)
    assert told(records) == [{"op": "replace", "path": "/password_enabled", "old": True, "new": False}]
    assert records[Key("secrets", PROJECT, "user_a")] == Secrets(id="user_a", totp_secret="t", version=2)


@pytest.mark.parametrize("digest", [ONE, None])
def test_a_password_that_is_there_already_or_gone_already_changes_nothing(digest: str | None) -> None:
    records: Database = {}
    run(a(), records)
    run(update("user_a", {}, password_digest=digest), records)
    version = stored(records, "user_a").version
    assert run(update("user_a", {}, password_digest=digest), records).writes == {}
    assert stored(records, "user_a").version == version


def test_an_update_that_gives_no_password_leaves_it() -> None:
    records: Database = {}
    run(a(password_digest=ONE), records)
    run(update("user_a", {"password_enabled": True, "name": "A"}), records)
    assert kept(records) == ONE


@pytest.mark.parametrize("by", [BROWSER, VERIFIED])
def test_only_a_backend_sets_a_password(by: Author) -> None:
    records: Database = {}
    run(a(password_digest=ONE), records)
    applied = run(update("user_a", {"traits": {"a": 1}}, by, password_digest=OTHER), records)
    assert applied.ignored == (Ignored("/password", "not_permitted"),)
    assert kept(records) == ONE
    user = made(records, {"external_id": "x"}, by, password_digest=OTHER)
    assert not user.password_enabled
    assert kept(records, user.id) is None


def test_a_deleted_user_leaves_no_digest() -> None:
    records: Database = {}
    run(a(password_digest=ONE), records)
    run(delete("user_a"), records)
    assert kept(records) is None


def test_an_answer_to_an_idempotency_key_holds_no_digest() -> None:
    records: Database = {}
    run(a(password_digest=ONE, once=Once("k", "1")), records)
    answer = records[Key("idempotency", PROJECT, "k")]
    assert ONE not in str(as_json(answer))
    assert as_json(answer)["user"]["password_enabled"] is True


GOOD = [
    ARGON2,
    ARGON2.replace("argon2id", "argon2i").replace("v=19", "v=16"),
    ARGON2.replace("m=19456,t=2,p=1", "m=262144,t=16,p=16"),
    ONE,
    OTHER,
    "$2a$15$" + "." * 53,
]
BAD = [
    "",
    "correct horse",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    ARGON2.replace("m=19456", "m=262145"),
    ARGON2.replace("m=19456", "m=9999999999"),
    ARGON2.replace("m=19456", "m=7"),
    ARGON2.replace("t=2", "t=0"),
    ARGON2.replace("t=2", "t=17"),
    ARGON2.replace("p=1", "p=17"),
    ARGON2.replace("p=1", "p=0"),
    ARGON2 + "\n",
    ARGON2.replace("gwsiC7LA$", "gwsiC7L$"),  # its salt ends in the middle of a byte
    ARGON2[:-2],  # and here its hash
    ARGON2.replace("argon2id", "argon2ix"),
    "$2x$10$" + "a" * 53,
    "$2b$16$" + "a" * 53,
    "$2b$03$" + "a" * 53,
    "$2b$10$" + "a" * 52,
    ONE + " ",
    "pbkdf2_sha256$260000$abc$def",
]


@pytest.mark.parametrize("digest", GOOD)
def test_digests_of_argon2_and_bcrypt_are_taken(digest: str) -> None:
    check_digest(digest, "/password_digest")
    records: Database = {}
    run(a(password_digest=digest), records)
    assert kept(records) == digest


@pytest.mark.parametrize("digest", BAD)
def test_a_digest_that_cannot_be_verified_or_costs_too_much_is_refused_without_being_repeated(digest: str) -> None:
    error = refusal(a(password_digest=digest), {})
    assert isinstance(error, FieldFormatInvalid)
    assert error.path == "/password_digest"
    assert not digest or digest not in str(error)


def test_the_author_of_a_password_is_in_the_history() -> None:
    records: Database = {}
    run(a(), records)
    run(update("user_a", {}, BACKEND, password_digest=ONE), records)
    assert changes_of(records, "user_a")[-1].actor == BACKEND.actor
