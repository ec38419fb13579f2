"""TOTP secrets, backup codes and compromised passwords, as Clerk's SDKs set, verify and remove them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from typing import Any

import bcrypt
import httpx
import msgspec
import pyotp
import pytest

from tests.server import InProcess
from userfold.app import App
from userfold.core.records import Key, Secrets
from userfold.encryption import encryption_in_memory
from userfold.engine import Engine

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OTHER_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CODES = ["first-code", "second-code"]
PASSWORD = "correct horse battery"
NOW = 1_800_000_000_000


class Clock:
    """The time, which a test sets."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(api: InProcess, runner: asyncio.Runner) -> Iterator[Clock]:
    """What the application goes by from now on."""
    clock = Clock()
    engine = Engine(api.store, clock_ms=clock)
    api.app = App(msgspec.structs.replace(api.app.service, engine=engine))
    yield clock
    runner.run(engine.close())


def user(api: InProcess, **parameters: Any) -> dict[str, Any]:
    reply = api.ask("POST", "/clerk/v1/users", parameters)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def read(api: InProcess, user_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = api.ask("GET", f"/clerk/v1/users/{user_id}").json()
    return shown


def factors(shown: dict[str, Any]) -> tuple[Any, ...]:
    names = ("totp_enabled", "backup_code_enabled", "two_factor_enabled", "mfa_enabled_at", "mfa_disabled_at")
    return tuple(shown[name] for name in names)


def said(api: InProcess, path: str, body: Any, method: str = "POST") -> tuple[int, str, str | None]:
    """Status, code and parameter of what was refused."""
    reply = api.ask(method, f"/clerk/v1/users{path}", body)
    (error,) = reply.json()["errors"]
    assert error["long_message"]
    return reply.status_code, error["code"], error["meta"].get("param_name")


def verify(api: InProcess, user_id: str, code: str) -> str | None:
    """The kind of a code that is good, or None."""
    path = f"/{user_id}/verify_totp"
    reply = api.ask("POST", f"/clerk/v1/users{path}", {"code": code})
    if reply.status_code == 200:
        assert set(reply.json()) == {"verified", "code_type"}
        assert reply.json()["verified"] is True
        return str(reply.json()["code_type"])
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (422, "totp_incorrect_code")
    assert reply.json()["errors"][0]["meta"] == {"param_name": "code"}
    return None


def code_at(ms: int, secret: str = SECRET) -> str:
    return pyotp.TOTP(secret).at(ms // 1000)


def kept(api: InProcess, user_id: str) -> Secrets:
    at = Key("secrets", api.keys.project_id, user_id)
    record = api.wait_for(api.store.get((at,)))[at]
    assert isinstance(record, Secrets)
    return record


def test_a_user_made_with_second_factors_has_them(api: InProcess, clock: Clock) -> None:
    made = user(api, totp_secret=SECRET, backup_codes=CODES)
    assert factors(made) == (True, True, True, NOW, None)
    assert factors(read(api, made["id"])) == factors(made)
    assert factors(user(api)) == (False, False, False, None, None)


def test_an_update_gives_and_replaces_second_factors(api: InProcess, clock: Clock) -> None:
    made = user(api, first_name="Ada")
    path = f"/clerk/v1/users/{made['id']}"
    assert factors(api.ask("PATCH", path, {"totp_secret": SECRET}).json()) == (True, False, True, NOW, None)
    clock.now = NOW + 10
    assert factors(api.ask("PATCH", path, {"backup_codes": CODES}).json()) == (True, True, True, NOW, None)
    api.ask("PATCH", path, {"totp_secret": OTHER_SECRET, "backup_codes": ["third-code"]})
    assert verify(api, made["id"], code_at(NOW)) is None
    assert verify(api, made["id"], CODES[0]) is None
    assert verify(api, made["id"], code_at(NOW, OTHER_SECRET)) == "totp"
    assert verify(api, made["id"], "third-code") == "backup_code"
    assert factors(read(api, made["id"])) == (True, False, True, NOW, None)
    assert factors(api.ask("PATCH", path, {"totp_secret": None, "backup_codes": None}).json())[0] is True


def test_a_code_of_totp_is_good_once_and_only_around_its_time(api: InProcess, clock: Clock) -> None:
    made = user(api, totp_secret=SECRET)
    for away in (-60_000, 60_000):
        assert verify(api, made["id"], code_at(NOW + away)) is None
    assert verify(api, made["id"], code_at(NOW - 30_000)) == "totp"
    assert verify(api, made["id"], code_at(NOW - 30_000)) is None
    assert verify(api, made["id"], code_at(NOW + 30_000)) == "totp"
    assert verify(api, made["id"], code_at(NOW)) is None  # it is older than the one that was accepted
    clock.now = NOW + 60_000
    assert verify(api, made["id"], code_at(clock.now)) == "totp"
    assert len(api.history(made["id"])) == 1


def test_twins_of_a_code_are_accepted_once(api: InProcess, clock: Clock) -> None:
    made = user(api, totp_secret=SECRET, backup_codes=CODES)

    async def at_once(code: str) -> list[int]:
        headers = {"authorization": f"Bearer {api.keys.secret}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), headers=headers) as client:
            address = f"http://userfold.test/clerk/v1/users/{made['id']}/verify_totp"
            answers = await asyncio.gather(*(client.post(address, json={"code": code}) for _ in range(8)))
        return sorted(answer.status_code for answer in answers)

    for code in (code_at(NOW), CODES[0]):
        assert api.runner.run(at_once(code)) == [200] + [422] * 7


def test_a_secret_of_80_bits_has_the_codes_that_its_authenticator_shows(api: InProcess, clock: Clock) -> None:
    made = user(api, totp_secret="JBSW Y3DP EHPK 3PXP")
    mac = hmac.digest(b"Hello!\xde\xad\xbe\xef", (NOW // 30_000).to_bytes(8, "big"), hashlib.sha1)
    at = mac[19] & 15
    code = int.from_bytes(mac[at : at + 4], "big") % (1 << 31) % 1_000_000
    assert verify(api, made["id"], f"{code:06}") == "totp"


def test_a_backup_code_is_used_up(api: InProcess, clock: Clock) -> None:
    made = user(api, backup_codes=[*CODES, CODES[0]])
    assert len(kept(api, made["id"]).backup_code_digests) == 2
    assert verify(api, made["id"], CODES[0]) == "backup_code"
    assert verify(api, made["id"], CODES[0]) is None
    assert api.history(made["id"])[-1]["operations"] == [{"op": "replace", "path": "/backup_codes"}]
    clock.now = NOW + 5
    assert verify(api, made["id"], CODES[1]) == "backup_code"
    assert factors(read(api, made["id"])) == (False, False, False, NOW, NOW + 5)
    assert said(api, f"/{made['id']}/verify_totp", {"code": CODES[1]}) == (400, "totp_disabled", None)


def test_backup_codes_that_another_system_hashed_are_good(api: InProcess) -> None:
    hashed = bcrypt.hashpw(b"an-old-code", bcrypt.gensalt(4)).decode()
    made = user(api, backup_codes=["a-new-code", hashed])
    assert kept(api, made["id"]).backup_code_digests[1] == hashed
    assert verify(api, made["id"], hashed) is None
    assert verify(api, made["id"], "an-old-code") == "backup_code"
    assert verify(api, made["id"], "an-old-code") is None
    assert verify(api, made["id"], "a-new-code") == "backup_code"


def test_a_backup_code_of_six_digits_is_found_beside_totp(api: InProcess, clock: Clock) -> None:
    made = user(api, totp_secret=SECRET, backup_codes=["135790"])
    assert verify(api, made["id"], "135790") == "backup_code"
    assert verify(api, made["id"], code_at(NOW)) == "totp"


@pytest.mark.parametrize(
    ("route", "left"),
    [
        ("mfa", (False, False, False, NOW, NOW + 5)),
        ("totp", (False, True, True, NOW, None)),
        ("backup_code", (True, False, True, NOW, None)),
    ],
)
def test_second_factors_are_removed_and_removing_them_again_changes_nothing(
    api: InProcess, clock: Clock, route: str, left: tuple[Any, ...]
) -> None:
    made = user(api, totp_secret=SECRET, backup_codes=CODES)
    clock.now = NOW + 5
    for _ in range(2):
        reply = api.ask("DELETE", f"/clerk/v1/users/{made['id']}/{route}")
        assert (reply.status_code, reply.json()) == (200, {"user_id": made["id"]})
    assert factors(read(api, made["id"])) == left
    assert len(api.history(made["id"])) == 2


def test_no_secret_is_in_a_reply_a_history_an_export_a_log_or_the_store(
    api: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = user(api, totp_secret=SECRET, backup_codes=CODES)
    path = f"/clerk/v1/users/{made['id']}"
    api.ask("PATCH", path, {"totp_secret": OTHER_SECRET, "backup_codes": ["third-code"]})
    verify(api, made["id"], code_at(NOW))
    verify(api, made["id"], "third-code")
    export = api.ask("GET", f"/v1/users/{made['id']}/export").text
    secrets = kept(api, made["id"])
    seen = json.dumps([made, api.read(made["id"]), api.history(made["id"])]) + export + caplog.text
    stored = msgspec.json.encode(secrets).decode()
    for secret in (SECRET, OTHER_SECRET, *CODES, "third-code"):
        assert secret not in seen + stored
    assert secrets.totp_secret is not None
    assert secrets.totp_secret not in seen
    assert "argon2" not in seen


def test_a_secret_that_this_server_cannot_read_is_its_trouble_and_backup_codes_go_on(api: InProcess) -> None:
    made = user(api, totp_secret=SECRET, backup_codes=CODES)
    api.app = App(msgspec.structs.replace(api.app.service, encryption=encryption_in_memory()))
    reply = api.ask("POST", f"/clerk/v1/users/{made['id']}/verify_totp", {"code": "123456"})
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (503, "service_unavailable")
    assert verify(api, made["id"], CODES[0]) == "backup_code"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"totp_secret": "not base 32!"}, "invalid_totp_secret_code", "totp_secret"),
    ({"totp_secret": "ABCDEFGH"}, "invalid_totp_secret_code", "totp_secret"),
    ({"totp_secret": ""}, "invalid_totp_secret_code", "totp_secret"),
    ({"totp_secret": 7}, "form_param_value_invalid", "totp_secret"),
    ({"backup_codes": "first-code"}, "form_param_value_invalid", "backup_codes"),
    ({"backup_codes": [7]}, "form_param_value_invalid", "backup_codes"),
    ({"backup_codes": [f"code-{number:02}" for number in range(21)]}, "form_param_array_size_exceeded", "backup_codes"),
    ({"backup_codes": ["good-code", "short"]}, "form_param_format_invalid", "backup_codes"),
    ({"backup_codes": ["$2b$13$" + "a" * 53]}, "form_param_format_invalid", "backup_codes"),
    # Nothing can be decoded of such a salt, so that `verifyTOTP` would break.
    (
        {"backup_codes": ["$argon2id$v=19$m=64,t=1,p=1$" + "A" * 13 + "$" + "A" * 43]},
        "form_param_format_invalid",
        "backup_codes",
    ),
    ({"legal_accepted_at": "yesterday"}, "form_param_invalid_time", "legal_accepted_at"),
    ({"legal_accepted_at": 5}, "form_param_invalid_time", "legal_accepted_at"),
    ({"legal_accepted_at": "1969-12-31T23:59:59.999Z"}, "form_param_invalid_time", "legal_accepted_at"),
    ({"created_at": "0001-01-01T00:00:00Z"}, "form_param_invalid_time", "created_at"),
    ({"created_at": "yesterday"}, "form_param_invalid_time", "created_at"),
    ({"delete_self_enabled": "no"}, "form_param_value_invalid", "delete_self_enabled"),
    ({"create_organization_enabled": 0}, "form_param_value_invalid", "create_organization_enabled"),
    ({"create_organizations_limit": -1}, "form_param_value_invalid", "create_organizations_limit"),
    ({"bypass_client_trust": "yes"}, "form_param_value_invalid", "bypass_client_trust"),
    ({"skip_legal_checks": "yes"}, "form_param_value_invalid", "skip_legal_checks"),
    ({"web3_wallet": ["0x0"]}, "form_param_unknown", "web3_wallet"),
]


@pytest.mark.parametrize(("parameters", "code", "name"), REFUSED)
def test_what_cannot_be_taken_is_refused_and_nothing_is_stored(
    api: InProcess, parameters: dict[str, Any], code: str, name: str
) -> None:
    there = user(api, first_name="Ada")
    before = api.writes
    assert said(api, "", {"first_name": "Eve", **parameters}) == (422, code, name)
    assert said(api, f"/{there['id']}", {"first_name": "Eve", **parameters}, "PATCH") == (422, code, name)
    assert api.writes == before


ONLY_ON_CREATE: dict[str, Any] = {
    "email_address": [],
    "email_address_identification_status": [],
    "phone_number": [],
    "phone_number_identification_status": [],
    "web3_wallet": [],
    "banned": False,
    "locked": False,
    "skip_password_requirement": True,
    "skip_user_requirement": True,
}
ONLY_ON_UPDATE: dict[str, Any] = {
    "primary_email_address_id": None,
    "primary_phone_number_id": None,
    "primary_web3_wallet_id": None,
    "profile_image_id": None,
    "notify_primary_email_address_changed": False,
    "sign_out_of_other_sessions": False,
}


@pytest.mark.parametrize("name", [*ONLY_ON_CREATE, *ONLY_ON_UPDATE])
def test_a_parameter_of_the_other_route_is_an_unknown_one(api: InProcess, name: str) -> None:
    there = f"/{user(api)['id']}"
    refused = (422, "form_param_unknown", name)
    if name in ONLY_ON_CREATE:
        assert said(api, there, {name: ONLY_ON_CREATE[name]}, "PATCH") == refused
        assert api.ask("POST", "/clerk/v1/users", {name: ONLY_ON_CREATE[name]}).status_code == 200
    else:
        assert said(api, "", {name: ONLY_ON_UPDATE[name]}) == refused
        assert api.ask("PATCH", f"/clerk/v1/users{there}", {name: ONLY_ON_UPDATE[name]}).status_code == 200
        wrong = said(api, there, {name: ["x"]}, "PATCH")
        assert wrong == (422, "form_param_value_invalid", name)


@pytest.mark.parametrize("name", ["profile_image_id", "primary_web3_wallet_id"])
def test_what_is_chosen_elsewhere_is_refused_with_the_reason_and_null_chooses_nothing(
    api: InProcess, name: str
) -> None:
    made = user(api)
    assert said(api, f"/{made['id']}", {name: "idn_1"}, "PATCH") == (422, "form_param_value_invalid", name)
    assert api.ask("PATCH", f"/clerk/v1/users/{made['id']}", {name: None}).status_code == 200
    assert said(api, "", {name: None}) == (422, "form_param_unknown", name)


def test_what_clerks_user_shows_is_kept(api: InProcess) -> None:
    given = {
        "delete_self_enabled": False,
        "create_organization_enabled": False,
        "create_organizations_limit": 0,
        "bypass_client_trust": True,
        "locale": "en-GB",
        "timezone": "Europe/London",
    }
    times = {"legal_accepted_at": "2024-01-02T03:04:05.678Z", "created_at": "2020-01-01T00:00:00Z"}
    shown = {**given, "legal_accepted_at": 1_704_164_645_678, "created_at": 1_577_836_800_000}
    made = user(api, **given, **times)
    assert {name: made[name] for name in shown} == shown
    later = user(api)
    changed = api.ask("PATCH", f"/clerk/v1/users/{later['id']}", {**given, **times}).json()
    assert {name: changed[name] for name in shown} == shown
    nulls = api.ask("PATCH", f"/clerk/v1/users/{later['id']}", dict.fromkeys([*given, *times])).json()
    assert [nulls[name] for name in shown] == [True, True, None, False, None, None, None, shown["created_at"]]


def test_verifying_needs_a_user_a_code_and_nothing_else(api: InProcess) -> None:
    made = user(api, totp_secret=SECRET)
    path = f"/{made['id']}/verify_totp"
    assert said(api, "/user_x/verify_totp", {"code": "123456"}) == (404, "resource_not_found", None)
    assert said(api, f"/{user(api)['id']}/verify_totp", {"code": "123456"}) == (400, "totp_disabled", None)
    assert said(api, path, {}) == (422, "form_param_missing", "code")
    assert said(api, path, {"code": 123456}) == (422, "form_param_value_invalid", "code")
    assert said(api, path, {"code": "123456", "totp": "x"}) == (422, "form_param_unknown", "totp")
    for route in ("mfa", "totp", "backup_code"):
        assert said(api, f"/user_x/{route}", None, "DELETE") == (404, "resource_not_found", None)


def test_a_compromised_password_does_not_count_until_there_is_a_new_one(api: InProcess) -> None:
    made = user(api, password=PASSWORD)
    path = f"/{made['id']}/password"
    reply = api.ask("POST", f"/clerk/v1/users{path}/set_compromised", {"revoke_all_sessions": False})
    assert (reply.status_code, reply.json()["password_enabled"]) == (200, True)
    assert api.read(made["id"])["password_compromised"] is True
    verifying = f"/{made['id']}/verify_password"
    assert said(api, verifying, {"password": PASSWORD}) == (422, "password_reset_required", "password")
    assert said(api, verifying, {"password": "wrong horse"}) == (422, "incorrect_password", "password")
    api.ask("PATCH", f"/clerk/v1/users/{made['id']}", {"password": "another password"})
    assert api.read(made["id"])["password_compromised"] is False
    assert api.ask("POST", f"/clerk/v1/users{verifying}", {"password": "another password"}).status_code == 200
    api.ask("POST", f"/clerk/v1/users{path}/set_compromised")
    unset = api.ask("POST", f"/clerk/v1/users{path}/unset_compromised")
    assert (unset.status_code, unset.json()["id"]) == (200, made["id"])
    assert api.ask("POST", f"/clerk/v1/users{verifying}", {"password": "another password"}).status_code == 200


@pytest.mark.parametrize("revoke", [True, False])
def test_sessions_end_with_a_compromised_password_if_that_is_asked_for(api: InProcess, revoke: bool) -> None:
    made = user(api, password=PASSWORD)
    sessions = f"/v1/users/{made['id']}/sessions"
    assert api.ask("POST", sessions, {}).status_code == 201
    path = f"/clerk/v1/users/{made['id']}/password/set_compromised"
    api.ask("POST", path, {"revoke_all_sessions": revoke})
    statuses = [session["status"] for session in api.ask("GET", sessions).json()["data"]]
    assert statuses == (["revoked"] if revoke else ["active"])


def test_marking_a_password_needs_one(api: InProcess) -> None:
    path = f"/{user(api)['id']}/password"
    assert said(api, f"{path}/set_compromised", {}) == (400, "no_password_set", None)
    assert api.ask("POST", f"/clerk/v1/users{path}/unset_compromised").status_code == 200
    assert said(api, "/user_x/password/set_compromised", {}) == (404, "resource_not_found", None)
    wrong = {"revoke_all_sessions": "yes"}
    assert said(api, f"{path}/set_compromised", wrong) == (422, "form_param_value_invalid", "revoke_all_sessions")
    assert said(api, f"{path}/set_compromised", {"x": 1}) == (422, "form_param_unknown", "x")
    assert said(api, f"{path}/unset_compromised", {"x": 1}) == (422, "form_param_unknown", "x")
