"""A line of an export is taken if it is what an export writes; anything else is refused with the path at fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from tests.core.driver import NOW, line
from userfold.core.commands import UserLine
from userfold.core.errors import InputError
from userfold.core.export_line import NewUser, read_line, write_head, write_tail
from userfold.core.jsontext import decode, encode
from userfold.core.records import Identifier, Secrets

BCRYPT = "$2b$10$" + "a" * 53
CODE = "$2b$04$" + "b" * 53
SECRET = "JBSWY3DPEHPK3PXP"
Line = dict[str, Any]

EMAIL = {
    "id": "idn_1",
    "email_address": "ada@example.com",
    "verified": True,
    "primary": True,
    "created_at": NOW,
    "updated_at": NOW,
}


IMAGE = {
    "name": "user_a/img_01m7zvgwjn3gg1x0fanetqa3a0.png",
    "content_type": "image/png",
    "size": 70,
    "sha256": "a" * 64,
    "width": 4,
    "height": 2,
    "created_at": NOW,
}


PRESENCE = {
    "last_active_at": NOW,
    "last_sign_in_at": None,
    "page_views": 2,
    "context": {
        "ip_address": "::1",
        "user_agent": None,
        "browser_language": "pl",
        "timezone": None,
        "entry_url": "https://x.example/",
    },
}


def full() -> Line:
    """A line with something in most places."""
    return line(
        "user_a",
        external_id="a",
        usercom_id=7,
        username="Ada",
        email_addresses=[EMAIL],
        public_metadata={"a": [1, None, 1.0]},
        owned=["external_id"],
        external_id_aliases=["b"],
        image=IMAGE,
        password_enabled=True,
        totp_enabled=True,
        backup_codes_enabled=True,
        second_factor_enabled_at=NOW,
        legal_accepted_at=NOW,
        create_organizations_limit=0,
    ) | {
        "system": {"identifiers": {"external_id|b": "browser"}, "presence": copy.deepcopy(PRESENCE)},
        "secrets": {
            "password_digest": BCRYPT,
            "totp_secret": SECRET,
            "totp_step": 7,
            "backup_code_digests": [CODE],
            "version": 3,
        },
    }


def test_what_is_written_is_what_was_read() -> None:
    given = full()
    read = read_line(given)
    assert isinstance(read, UserLine)
    assert read.set_by == {
        "external_id|b": "browser",
        "email|ada@example.com": "backend",
        "username|ada": "backend",
        "external_id|a": "backend",
        "usercom_id|7": "backend",
    }
    claims = [Identifier(identifier=name, user_id="user_a", set_by=level) for name, level in read.set_by.items()]
    text = (
        write_head(read.user, claims, presence=read.presence)
        + b",".join(map(encode, read.changes))
        + write_tail(read.secrets)
    )
    assert text.endswith(b"\n")
    assert encode(decode(text)) + b"\n" == text
    given["system"] = {"identifiers": read.set_by, "presence": PRESENCE}
    assert decode(text) == given
    assert read.secrets == Secrets(
        id="user_a",
        password_digest=BCRYPT,
        totp_secret=SECRET,
        totp_step=7,
        backup_code_digests=(CODE,),
        version=3,
    )


def test_a_field_that_is_newer_than_the_export_has_its_default() -> None:
    given = line("user_a")
    del given["user"]["delete_self_enabled"]
    operations = given["changes"][0]["operations"]
    given["changes"][0]["operations"] = [o for o in operations if o["path"] != "/delete_self_enabled"]
    read = read_line(given)
    assert isinstance(read, UserLine)
    assert read.user.delete_self_enabled is True
    given["user"]["delete_self_enabled"] = True  # the user was written by a newer program, its first change was not
    assert isinstance(read_line(given), UserLine)


def test_a_line_with_a_user_alone_is_a_new_user() -> None:
    read = read_line({"user": {"id": "42", "created_at": 5, "name": "Ada"}, "secrets": {"password_digest": BCRYPT}})
    assert read == NewUser(fields={"name": "Ada"}, id="42", created_at=5, password_digest=BCRYPT)
    secrets = {"totp_secret": "jbsw y3dp-ehpk3pxp=", "backup_code_digests": [CODE]}
    assert read_line({"user": {"id": "42"}, "secrets": secrets}) == NewUser(
        fields={}, id="42", created_at=None, totp_secret=SECRET, backup_code_digests=(CODE,)
    )
    assert read_line({"user": {"external_id": "a"}}) == NewUser(
        fields={"external_id": "a"}, id=None, created_at=None, password_digest=UNSET
    )


def put(*steps: str | int, value: Any) -> Callable[[Line], None]:
    """Set what stands there."""

    def change(given: Line) -> None:
        at: Any = given
        for step in steps[:-1]:
            at = at[step]
        at[steps[-1]] = value

    return change


def presence(*steps: str | int, value: Any) -> Callable[[Line], None]:
    """Set what stands there in the presence."""
    return put("system", "presence", *steps, value=value)


def both(name: str, value: Any) -> Callable[[Line], None]:
    """Set a field of the user, and in its history, so that only the field is wrong."""

    def change(given: Line) -> None:
        given["user"][name] = value
        for operation in given["changes"][0]["operations"]:
            if operation["path"] == f"/{name}":
                operation["new"] = value

    return change


def image(name: str, value: Any) -> Callable[[Line], None]:
    return both("image", IMAGE | {name: value})


def address(name: str, value: Any) -> Callable[[Line], None]:
    return both("email_addresses", [EMAIL | {name: value}])


DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]

BAD: list[tuple[Callable[[Line], None], str, str]] = [
    # The line.
    (put("users", value=[]), "field_unknown", "/users"),
    (put("user", value=None), "field_invalid", "/user"),
    (put("user", value=[]), "field_invalid", "/user"),
    (put("changes", value=None), "field_invalid", "/changes"),
    (put("changes", value={}), "field_invalid", "/changes"),
    # The user.
    (both("nick/name", "x"), "field_unknown", "/nick~1name"),
    (both("id", ""), "field_format_invalid", "/id"),
    (both("id", "x" * 256), "field_format_invalid", "/id"),
    (both("id", 7), "field_invalid", "/id"),
    (both("name", "a\0"), "field_format_invalid", "/name"),
    (both("name", "x" * 256), "field_format_invalid", "/name"),
    (both("username", "a b"), "field_format_invalid", "/username"),
    (both("external_id", ""), "field_format_invalid", "/external_id"),
    (both("traits", {"a": "x" * 65_536}), "bag_too_large", "/traits"),
    (both("traits", {"a": DEEP}), "bag_too_deep", "/traits"),
    (both("traits", []), "field_invalid", "/traits"),
    (both("disabled", 1), "field_invalid", "/disabled"),
    (both("second_factor_policy", "maybe"), "field_invalid", "/second_factor_policy"),
    (both("usercom_id", 0), "field_invalid", "/usercom_id"),
    (both("usercom_id", 1 << 53), "field_invalid", "/usercom_id"),
    (both("owned", ["traits"]), "field_invalid", "/owned"),
    (both("segments", ["\0"]), "field_format_invalid", "/segments/0"),
    (both("external_id_aliases", ["a"]), "field_invalid", "/external_id_aliases"),
    (both("external_id_aliases", ["c", "c"]), "field_invalid", "/external_id_aliases"),
    (both("external_id_aliases", ["c", ""]), "field_format_invalid", "/external_id_aliases/1"),
    (both("created_at", -1), "field_invalid", "/created_at"),
    (both("created_at", 1 << 53), "field_invalid", "/created_at"),
    (address("nick", "x"), "field_unknown", "/email_addresses/0/nick"),
    (address("email_address", "Ada@example.com"), "field_format_invalid", "/email_addresses/0/email_address"),
    (address("email_address", "ada"), "field_format_invalid", "/email_addresses/0/email_address"),
    (address("primary", False), "field_invalid", "/email_addresses"),
    (address("verified", None), "field_invalid", "/email_addresses/0/verified"),
    (address("created_at", -1), "field_invalid", "/email_addresses/0/created_at"),
    (address("id", ""), "field_format_invalid", "/email_addresses/0/id"),
    (both("email_addresses", [EMAIL, EMAIL | {"primary": False}]), "field_invalid", "/email_addresses"),
    (both("email_addresses", [EMAIL, EMAIL | {"email_address": "b@b.example"}]), "field_invalid", "/email_addresses"),
    # The history.
    (put("changes", value=[]), "history_invalid", "/changes"),
    (image("nick", "x"), "field_unknown", "/image/nick"),
    (image("name", "user_b/img_01m7zvgwjn3gg1x0fanetqa3a0.png"), "field_invalid", "/image/name"),
    (image("name", "user_a/../userfold.db"), "field_invalid", "/image/name"),
    (image("content_type", "text/html"), "field_invalid", "/image/content_type"),
    (image("size", 0), "field_invalid", "/image/size"),
    (image("width", -1), "field_invalid", "/image/width"),
    (image("height", 0), "field_invalid", "/image/height"),
    (image("sha256", "A" * 64), "field_invalid", "/image/sha256"),
    (image("created_at", -1), "field_invalid", "/image/created_at"),
    (put("changes", 0, "nick", value=1), "field_unknown", "/changes/0/nick"),
    (put("changes", 0, "id", value=""), "field_format_invalid", "/changes/0/id"),
    (put("changes", 0, "trust", value="root"), "field_invalid", "/changes/0/trust"),
    (put("changes", 0, "source", value="\0"), "field_format_invalid", "/changes/0/source"),
    (put("changes", 0, "version", value=2), "history_invalid", "/changes/0/version"),
    (put("changes", 0, "user_id", value="user_b"), "history_invalid", "/changes/0/user_id"),
    (put("changes", 0, "at", value=NOW - 1), "history_invalid", "/changes"),
    (put("changes", 0, "at", value="now"), "field_invalid", "/changes/0/at"),
    (put("changes", 0, "operations", 0, "why", value=""), "field_unknown", "/changes/0/operations/0/why"),
    (put("changes", 0, "operations", 0, "op", value="test"), "field_invalid", "/changes/0/operations/0/op"),
    (put("changes", 0, "operations", 3, "path", value="/nick"), "history_invalid", "/changes"),
    (put("changes", 0, "operations", 3, "new", value="Eve"), "history_invalid", "/changes"),
    (put("changes", 0, "operations", value=[]), "history_invalid", "/changes"),
    (put("changes", 0, "operations", 0, value={"op": "remove", "path": "/x"}), "history_invalid", "/changes"),
    (
        put("changes", 0, "operations", 0, value={"op": "add", "path": "/x/y/z", "new": 1}),
        "history_invalid",
        "/changes",
    ),
    (put("changes", 0, "operations", 0, value={"op": "replace", "path": "", "new": []}), "history_invalid", "/changes"),
    (
        put("changes", 0, "operations", 0, value={"op": "replace", "path": "/id", "at": 0}),
        "history_invalid",
        "/changes",
    ),
    (put("user", "public_metadata", value={"a": [1, None, 1]}), "history_invalid", "/changes"),
    (put("user", "version", value=2), "history_invalid", "/changes"),
    (put("user", "updated_at", value=NOW + 1), "history_invalid", "/changes"),
    # What else is kept.
    (put("system", value=None), "field_invalid", "/system"),
    (put("system", "keys", value={}), "field_unknown", "/system/keys"),
    (put("system", "segments", value=[]), "field_invalid", "/system/segments"),
    (put("system", "segments", value={"seg_1": "Beta"}), "field_unknown", "/system/segments/seg_1"),
    (put("system", "identifiers", value=[]), "field_invalid", "/system/identifiers"),
    (put("system", "identifiers", "email|b/c", value="backend"), "field_unknown", "/system/identifiers/email|b~1c"),
    (put("system", "identifiers", "external_id|b", value="root"), "field_invalid", "/system/identifiers/external_id|b"),
    (put("system", "identifiers", "external_id|b", value=[]), "field_invalid", "/system/identifiers/external_id|b"),
    (presence(value=[]), "field_invalid", "/system/presence"),
    (presence("id", value="user_a"), "field_unknown", "/system/presence/id"),
    (presence("nick", value=1), "field_unknown", "/system/presence/nick"),
    (presence("context", value=None), "field_invalid", "/system/presence/context"),
    (presence("context", "nick", value=1), "field_unknown", "/system/presence/context/nick"),
    (presence("context", "timezone", value=1), "field_invalid", "/system/presence/context/timezone"),
    (presence("context", "timezone", value="x" * 513), "field_format_invalid", "/system/presence/context/timezone"),
    (presence("context", "entry_url", value="x" * 2049), "field_format_invalid", "/system/presence/context/entry_url"),
    (presence("last_active_at", value=-1), "field_invalid", "/system/presence/last_active_at"),
    (presence("last_sign_in_at", value=1 << 53), "field_invalid", "/system/presence/last_sign_in_at"),
    (presence("last_sign_in_at", value="now"), "field_invalid", "/system/presence/last_sign_in_at"),
    (presence("page_views", value=-1), "field_invalid", "/system/presence/page_views"),
    (presence("page_views", value=1 << 53), "field_invalid", "/system/presence/page_views"),
    (put("secrets", value=[]), "field_invalid", "/secrets"),
    (put("secrets", "password", value="x"), "field_unknown", "/secrets/password"),
    (put("secrets", "id", value="user_b"), "field_unknown", "/secrets/id"),
    (put("secrets", "password_digest", value="x"), "field_format_invalid", "/secrets/password_digest"),
    (put("secrets", "password_digest", value=None), "field_invalid", "/secrets/password_digest"),
    (put("secrets", "totp_secret", value=5), "field_invalid", "/secrets/totp_secret"),
    (put("secrets", "totp_secret", value=None), "field_invalid", "/secrets/totp_secret"),
    (put("secrets", "totp_secret", value="10"), "totp_secret_invalid", "/secrets/totp_secret"),
    (put("secrets", "totp_secret", value=SECRET.lower()), "field_format_invalid", "/secrets/totp_secret"),
    (put("secrets", "totp_step", value=-1), "field_invalid", "/secrets/totp_step"),
    (put("secrets", "backup_code_digests", value=["x"]), "field_format_invalid", "/secrets/backup_code_digests/0"),
    (put("secrets", "backup_code_digests", value=[]), "field_invalid", "/secrets/backup_code_digests"),
    (put("secrets", "backup_code_digests", value=[CODE, CODE]), "field_invalid", "/secrets/backup_code_digests"),
    (
        put("secrets", "backup_code_digests", value=[f"{CODE[:-2]}{n}" for n in range(10, 31)]),
        "field_invalid",
        "/secrets/backup_code_digests",
    ),
    (
        put("secrets", "backup_code_digests", value=["$2b$13$" + "b" * 53]),
        "field_format_invalid",
        "/secrets/backup_code_digests/0",
    ),
    (both("legal_accepted_at", -1), "field_invalid", "/legal_accepted_at"),
    (both("create_organizations_limit", -1), "field_invalid", "/create_organizations_limit"),
    (both("second_factor_enabled_at", -1), "field_invalid", "/second_factor_enabled_at"),
    (both("second_factor_disabled_at", -1), "field_invalid", "/second_factor_disabled_at"),
    (both("password_enabled", False), "field_invalid", "/secrets/password_digest"),
    (both("totp_enabled", False), "field_invalid", "/secrets/totp_secret"),
    (both("backup_codes_enabled", False), "field_invalid", "/secrets/backup_code_digests"),
]


@pytest.mark.parametrize(("change", "code", "path"), BAD, ids=[f"{i} {row[2]}" for i, row in enumerate(BAD)])
def test_a_line_that_no_export_writes_is_refused_with_the_path_at_fault(
    change: Callable[[Line], None], code: str, path: str
) -> None:
    given = full()
    change(given)
    before = copy.deepcopy(given)
    with pytest.raises(InputError) as refused:
        read_line(given)
    assert (refused.value.code, refused.value.path) == (code, path)
    assert not any(secret in str(refused.value) for secret in (BCRYPT, CODE, SECRET))
    assert given == before


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_a_line_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        read_line(value)


def test_versions_count_without_a_gap_and_times_never_go_back() -> None:
    given = line("user_a")
    second = copy.deepcopy(given["changes"][0]) | {"id": "chg_2", "version": 2, "operations": []}
    given["changes"].append(second)
    given["user"]["version"] = 2
    assert isinstance(read_line(given), UserLine)
    second["at"] = NOW - 1
    with pytest.raises(InputError, match="earlier"):
        read_line(given)
    second["at"], second["id"] = NOW, "chg_1"
    with pytest.raises(InputError, match="same id"):
        read_line(given)


NEW_BAD: list[tuple[Line, str, str]] = [
    ({"user": {}}, "field_invalid", "/id"),
    ({"user": {"name": "Ada"}}, "field_invalid", "/id"),
    ({"user": {"id": 5}}, "field_invalid", "/id"),
    ({"user": {"id": "a", "created_at": "now"}}, "field_invalid", "/created_at"),
    ({"user": {"id": "a", "created_at": True}}, "field_invalid", "/created_at"),
    ({"user": {"id": "a", "created_at": -1}}, "field_invalid", "/created_at"),
    ({"user": {"id": "a"}, "secrets": {"totp_secret": "x"}}, "totp_secret_invalid", "/secrets/totp_secret"),
    ({"user": {"id": "a"}, "secrets": {"totp_step": 1}}, "field_unknown", "/secrets/totp_step"),
    (
        {"user": {"id": "a"}, "secrets": {"backup_code_digests": ["12345678"]}},
        "field_format_invalid",
        "/secrets/backup_code_digests/0",
    ),
    ({"user": {"id": "a"}, "secrets": {"password_digest": 5}}, "field_invalid", "/secrets/password_digest"),
    ({"user": {"id": "a"}, "secrets": {"password_digest": "5"}}, "field_format_invalid", "/secrets/password_digest"),
]


@pytest.mark.parametrize(("given", "code", "path"), NEW_BAD)
def test_a_new_user_that_cannot_be_made_is_refused(given: Line, code: str, path: str) -> None:
    with pytest.raises(InputError) as refused:
        read_line(given)
    assert (refused.value.code, refused.value.path) == (code, path)
