"""Passwords as Clerk's SDKs set, verify and remove them."""

from __future__ import annotations

import json
import logging
from typing import Any

import argon2
import bcrypt
import pytest

from tests.server import InProcess

PASSWORD = "correct horse battery"


def user(api: InProcess, **parameters: Any) -> dict[str, Any]:
    reply = api.ask("POST", "/clerk/v1/users", parameters)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def said(api: InProcess, path: str, body: Any, method: str = "POST") -> tuple[int, str, str | None]:
    """Status, code and parameter of what was refused."""
    reply = api.ask(method, f"/clerk/v1/users{path}", body)
    (error,) = reply.json()["errors"]
    return reply.status_code, error["code"], error["meta"].get("param_name")


def verifies(api: InProcess, user_id: str, password: str) -> bool:
    reply = api.ask("POST", f"/clerk/v1/users/{user_id}/verify_password", {"password": password})
    if reply.status_code == 200:
        assert reply.json() == {"verified": True}
        return True
    assert said(api, f"/{user_id}/verify_password", {"password": password}) == (422, "incorrect_password", "password")
    return False


def test_a_password_is_set_when_a_user_is_made_and_verified_afterwards(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    assert made["password_enabled"] is True
    assert verifies(api, made["id"], PASSWORD)
    assert not verifies(api, made["id"], PASSWORD + "!")
    assert not verifies(api, made["id"], "")


def test_a_password_and_its_digest_are_in_no_reply_no_history_and_no_log(
    api: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = user(api, password=PASSWORD)
    api.ask("PATCH", f"/clerk/v1/users/{made['id']}", {"password": "another " + PASSWORD})
    verifies(api, made["id"], "a third " + PASSWORD)
    seen = json.dumps([made, api.read(made["id"]), api.history(made["id"])]) + caplog.text
    assert PASSWORD not in seen
    assert "argon2" not in seen
    assert api.history(made["id"])[-1]["operations"] == [{"op": "replace", "path": "/password"}]


def test_a_changed_password_takes_the_place_of_the_one_before(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    changed = api.ask("PATCH", f"/clerk/v1/users/{made['id']}", {"password": "another password"}).json()
    assert changed["password_enabled"] is True
    assert verifies(api, made["id"], "another password")
    assert not verifies(api, made["id"], PASSWORD)


def test_a_removed_password_is_gone_and_removing_it_again_changes_nothing(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    for _ in range(2):
        reply = api.ask("POST", f"/clerk/v1/users/{made['id']}/remove_password")
        assert (reply.status_code, reply.json()["password_enabled"]) == (200, False)
    assert said(api, f"/{made['id']}/verify_password", {"password": PASSWORD}) == (400, "no_password_set", None)
    assert len(api.history(made["id"])) == 2


def test_a_null_password_is_not_given(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    reply = api.ask("PATCH", f"/clerk/v1/users/{made['id']}", {"password": None, "first_name": "Ada"})
    assert reply.json()["password_enabled"] is True
    assert verifies(api, made["id"], PASSWORD)
    assert user(api, password=None)["password_enabled"] is False


@pytest.mark.parametrize(
    ("hasher", "digest"),
    [
        ("bcrypt", bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()),
        ("argon2id", argon2.PasswordHasher(memory_cost=64, time_cost=1).hash(PASSWORD)),
        ("argon2i", argon2.PasswordHasher(memory_cost=64, time_cost=1, type=argon2.Type.I).hash(PASSWORD)),
    ],
    ids=["bcrypt", "argon2id", "argon2i"],  # the digests differ from run to run
)
def test_a_digest_that_another_system_made_goes_on_verifying(api: InProcess, hasher: str, digest: str) -> None:
    made = user(api, password_digest=digest, password_hasher=hasher)
    assert verifies(api, made["id"], PASSWORD)
    assert not verifies(api, made["id"], "wrong")


BCRYPT = "$2b$10$" + "a" * 53
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"password": "1234567"}, "form_password_length_too_short", "password"),
    ({"password": ""}, "form_password_length_too_short", "password"),
    ({"password": "", "skip_password_checks": True}, "form_password_length_too_short", "password"),
    ({"password": "x" * 1025}, "form_password_length_too_long", "password"),
    ({"password": 12345678}, "form_param_value_invalid", "password"),
    ({"password": PASSWORD, "skip_password_checks": "yes"}, "form_param_value_invalid", "skip_password_checks"),
    ({"password_digest": BCRYPT}, "form_conditional_param_missing", "password_hasher"),
    ({"password_digest": BCRYPT, "password_hasher": "md5"}, "form_param_value_invalid", "password_hasher"),
    (
        {"password_digest": BCRYPT, "password_hasher": "argon2id"},
        "form_password_digest_invalid_code",
        "password_digest",
    ),
    (
        {"password_digest": "$2b$10$x", "password_hasher": "bcrypt"},
        "form_password_digest_invalid_code",
        "password_digest",
    ),
    ({"password_hasher": "bcrypt"}, "form_conditional_param_missing", "password_digest"),
    (
        {"password": PASSWORD, "password_digest": BCRYPT, "password_hasher": "bcrypt"},
        "form_conditional_param_disallowed",
        "password_digest",
    ),
]


@pytest.mark.parametrize(("parameters", "code", "name"), REFUSED)
def test_a_password_that_cannot_be_taken_is_refused_and_nothing_is_stored(
    api: InProcess, parameters: dict[str, Any], code: str, name: str
) -> None:
    kept = user(api, first_name="Ada")
    before = api.writes
    assert said(api, "", {"first_name": "Eve", **parameters}) == (422, code, name)
    assert said(api, f"/{kept['id']}", parameters, "PATCH") == (422, code, name)
    assert api.writes == before


def test_checks_of_the_password_can_be_skipped(api: InProcess) -> None:
    made = user(api, password="short", skip_password_checks=True)
    assert verifies(api, made["id"], "short")


def test_verifying_needs_a_user_a_string_and_nothing_else(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    path = f"/{made['id']}/verify_password"
    assert said(api, "/user_x/verify_password", {"password": PASSWORD}) == (404, "resource_not_found", None)
    assert said(api, path, {}) == (422, "form_param_missing", "password")
    assert said(api, path, {"password": 1}) == (422, "form_param_value_invalid", "password")
    assert said(api, path, {"password": PASSWORD, "code": "1"}) == (422, "form_param_unknown", "code")


@pytest.mark.parametrize("way", ["update", "remove"])
def test_other_sessions_end_when_that_is_asked_for(api: InProcess, way: str) -> None:
    made = user(api, password=PASSWORD)
    sessions = f"/v1/users/{made['id']}/sessions"
    assert api.ask("POST", sessions, {}).status_code == 201
    if way == "update":
        asked = {"password": "another password", "sign_out_of_other_sessions": True}
        api.ask("PATCH", f"/clerk/v1/users/{made['id']}", asked)
    else:
        api.ask("POST", f"/clerk/v1/users/{made['id']}/remove_password", {"sign_out_of_other_sessions": True})
    assert [session["status"] for session in api.ask("GET", sessions).json()["data"]] == ["revoked"]


def test_an_update_changes_what_it_names_and_metadata_only_for_older_versions(api: InProcess) -> None:
    made = user(api, first_name="Ada", last_name="L", public_metadata={"a": 1})
    path = f"/clerk/v1/users/{made['id']}"
    changed = api.ask("PATCH", path, {"last_name": None, "notify_primary_email_address_changed": False}).json()
    assert (changed["first_name"], changed["last_name"]) == ("Ada", None)
    older = {"clerk-api-version": "2025-11-10"}
    replaced = api.ask("PATCH", path, {"public_metadata": {"b": 2}}, headers=older).json()
    assert replaced["public_metadata"] == {"b": 2}
    newest = {"clerk-api-version": "2026-05-12"}
    reply = api.ask("PATCH", path, {"public_metadata": {"c": 3}}, headers=newest)
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (422, "form_param_unknown")


# All others that Clerk's SDKs name.
HASHERS = [
    "awscognito",
    "bcrypt_sha256_django",
    "ldap_ssha",
    "md5",
    "md5_phpass",
    "md5_salted",
    "pbkdf2_sha1",
    "pbkdf2_sha256",
    "pbkdf2_sha256_django",
    "pbkdf2_sha512",
    "phpass",
    "scrypt_firebase",
    "scrypt_werkzeug",
    "sha256",
    "sha256_salted",
    "sha512_symfony",
]


@pytest.mark.parametrize("hasher", HASHERS)
def test_a_digest_that_could_never_be_verified_is_refused_with_what_to_do(api: InProcess, hasher: str) -> None:
    reply = api.ask("POST", "/clerk/v1/users", {"password_digest": "x", "password_hasher": hasher})
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"]) == (422, "form_param_value_invalid")
    assert error["meta"] == {"param_name": "password_hasher"}
    assert "argon2i, argon2id, bcrypt are taken" in error["long_message"]
    assert "let the user choose a new password" in error["long_message"]
