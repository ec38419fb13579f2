"""Every refusal of the core, met through HTTP by somebody who does what leads to it.

The table is compared with `core/errors.py`: a refusal that nobody can meet, or that nobody has tried to, fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.browser import Browser
from tests.api.pictures import png_header
from tests.contract.samples import folding
from userfold.core import errors as core
from userfold.core.records import Key
from userfold.storage.memory import MemoryStore
from userfold.storage.port import Write

JSON_PATCH = "application/json-patch+json"
OPERATIONS = "application/vnd.userfold.operations+json"

Meet = Callable[[Browser], httpx.Response]


@pytest.fixture
def store() -> MemoryStore:
    """What is refused does not depend on the store: other tests show that."""
    return MemoryStore()


def posting(document: Any = None, *, content: bytes | None = None) -> Meet:
    """Try to make a user of this."""
    return lambda browser: browser.api.ask("POST", "/v1/users", document, content=content)


def operating(*operations: dict[str, Any], content_type: str = OPERATIONS) -> Meet:
    """Try to do this to a user."""

    def meet(browser: Browser) -> httpx.Response:
        user = browser.api.user(traits={"plan": "free"})
        return browser.api.ask("PATCH", f"/v1/users/{user['id']}", list(operations), content_type=content_type)

    return meet


def asking(method: str, path: str, document: Any = None) -> Meet:
    """Ask for something that is not there."""
    return lambda browser: browser.api.ask(method, f"/v1{path}", document)


def about_a_user(method: str, path: str, document: Any = None, **fields: Any) -> Meet:
    """Ask something about a user who has these fields."""

    def meet(browser: Browser) -> httpx.Response:
        user = browser.api.user(**fields)
        return browser.api.ask(method, f"/v1/users/{user['id']}{path}", document)

    return meet


def with_header(name: str, value: str, document: Any) -> Meet:
    def meet(browser: Browser) -> httpx.Response:
        user = browser.api.user()
        return browser.api.ask("PATCH", f"/v1/users/{user['id']}", document, headers={name: value})

    return meet


def showing(content: bytes) -> Meet:
    """Try to give a user this as a picture."""

    def meet(browser: Browser) -> httpx.Response:
        path = f"/v1/users/{browser.api.user()['id']}/image"
        return browser.api.ask("PUT", path, content=content, content_type="image/png")

    return meet


def taken(browser: Browser) -> httpx.Response:
    browser.api.user(username="ada")
    return browser.api.ask("POST", "/v1/users", {"username": "ADA"})


def attribute_twice(browser: Browser) -> httpx.Response:
    browser.api.ask("POST", "/v1/attributes", {"name": "plan", "type": "string"})
    return browser.api.ask("POST", "/v1/attributes", {"name": "plan", "type": "string"})


def in_too_many_segments(browser: Browser) -> httpx.Response:
    user = browser.api.user()
    segments = [browser.api.ask("POST", "/v1/segments", {"name": f"{number}"}).json() for number in range(101)]
    *_, last = [browser.api.ask("PUT", f"/v1/users/{user['id']}/segments/{segment['id']}") for segment in segments]
    return last


def the_same_key_for_something_else(browser: Browser) -> httpx.Response:
    browser.api.ask("POST", "/v1/users", {}, headers={"idempotency-key": "k"})
    return browser.api.ask("POST", "/v1/users", {"name": "Ada"}, headers={"idempotency-key": "k"})


def after_its_deletion(browser: Browser) -> httpx.Response:
    user = browser.api.user(external_id="u-1")
    browser.api.ask("DELETE", f"/v1/users/{user['id']}")
    return browser.identify("u-1")


def over_a_backends_id(browser: Browser) -> httpx.Response:
    user = browser.api.user(external_id="u-1")
    return browser.ask("PATCH", f"/users/{user['id']}", {"external_id": "u-2"})


def of_a_project_that_is_gone(browser: Browser) -> httpx.Response:
    """The key is still in the process's memory; the project is not in the store any more."""
    project_id = browser.api.keys.project_id
    at = Key("project", project_id, project_id)
    browser.api.ask("GET", "/v1/project")
    found = browser.api.wait_for(browser.api.store.get((at,)))[at]
    removal = Write(batch_id="bat_1", removals={at: found}, updates={}, inserts={})  # type: ignore[dict-item]
    browser.api.wait_for(browser.api.store.run(lambda: folding(removal)))
    return browser.api.ask("PATCH", "/v1/project", {"name": "Shop"})


def by_clerks_api(path: str, document: Any, **fields: Any) -> Meet:
    def meet(browser: Browser) -> httpx.Response:
        made = browser.api.ask("POST", "/clerk/v1/users", fields)
        assert made.status_code == 200, made.text
        return browser.api.ask("POST", f"/clerk/v1/users/{made.json()['id']}{path}", document)

    return meet


def compromised_password(browser: Browser) -> httpx.Response:
    password = {"password": "correct horse battery"}
    path = f"/clerk/v1/users/{browser.api.ask('POST', '/clerk/v1/users', password).json()['id']}"
    browser.api.ask("POST", f"{path}/password/set_compromised")
    return browser.api.ask("POST", f"{path}/verify_password", password)


def last_address(browser: Browser) -> httpx.Response:
    user = browser.api.user(email_addresses=["ada@example.com"])
    return browser.api.ask("DELETE", f"/clerk/v1/email_addresses/{user['email_addresses'][0]['id']}")


def unverified_primary(browser: Browser) -> httpx.Response:
    user = browser.api.user(email_addresses=["ada@example.com"])
    chosen = {"primary_email_address_id": user["email_addresses"][0]["id"]}
    return browser.api.ask("PATCH", f"/clerk/v1/users/{user['id']}", chosen)


def without_proof(token: str | None) -> Meet:
    """Name a user in a project that takes no browser at its word."""

    def meet(browser: Browser) -> httpx.Response:
        browser.limit(browser_identity="verified")
        return browser.identify("u-1", token=token)

    return meet


MET: dict[str, Meet] = {
    "json_invalid": posting(content=b"{"),
    "json_duplicate_key": posting(content=b'{"name": "a", "name": "b"}'),
    "json_too_deep": posting(content=b'{"traits": ' + b"[" * 200 + b"]" * 200 + b"}"),
    "field_unknown": posting({"nickname": "Ada"}),
    "field_read_only": posting({"version": 7}),
    "field_invalid": posting({"disabled": "yes"}),
    "field_format_invalid": posting({"email_addresses": ["ada"]}),
    "bag_too_large": posting({"traits": {"a": "x" * 70_000}}),
    "bag_too_deep": posting(content=b'{"traits": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}"),
    "image_invalid": showing(b"<svg/>"),
    "image_too_large": showing(png_header(4_097, 1)),
    "operation_invalid": operating({"op": "set", "path": "/traits/plan"}),
    "operation_unknown": operating({"op": "increment", "path": "/traits/n"}, content_type=JSON_PATCH),
    "path_not_found": operating({"op": "remove", "path": "/traits/nothing"}),
    "number_invalid": operating({"op": "increment", "path": "/traits/plan"}),
    "list_not_found": operating({"op": "append", "path": "/traits/plan", "value": 1}),
    "test_failed": operating({"op": "test", "path": "/traits/plan", "value": "pro"}),
    "user_not_found": asking("GET", "/users/user_nobody"),
    "version_not_found": about_a_user("GET", "?version=9"),
    "project_not_found": of_a_project_that_is_gone,
    "key_not_found": asking("DELETE", "/project/keys/ak_nobody"),
    "segment_not_found": asking("GET", "/segments/seg_nobody"),
    "attribute_not_found": asking("GET", "/attributes/attr_nobody"),
    "attribute_exists": attribute_twice,
    "limit_reached": in_too_many_segments,
    "identifier_taken": taken,
    "user_id_protected": over_a_backends_id,
    "user_deleted": after_its_deletion,
    "user_disabled": about_a_user("POST", "/sessions", disabled=True),
    "user_locked": about_a_user("POST", "/sessions", locked=True),
    "session_not_found": asking("DELETE", "/sessions/ses_nobody"),
    "session_closed": lambda browser: browser.identify("u-1", session="ses_nobody"),
    "identity_missing": without_proof(None),
    "identity_invalid": without_proof("ses_nobody.token"),
    "version_mismatch": with_header("if-match", '"9"', {}),
    "idempotency_key_reused": the_same_key_for_something_else,
}

# Said in Clerk's words: (what leads to it, Clerk's code).
MET_BY_CLERKS_CLIENTS: dict[str, tuple[Meet, str]] = {
    "password_too_short": (
        lambda browser: browser.api.ask("POST", "/clerk/v1/users", {"password": "short"}),
        "form_password_length_too_short",
    ),
    "password_too_long": (
        lambda browser: browser.api.ask("POST", "/clerk/v1/users", {"password": "x" * 1_025}),
        "form_password_length_too_long",
    ),
    "address_not_found": (
        lambda browser: browser.api.ask("DELETE", "/clerk/v1/email_addresses/idn_nobody"),
        "resource_not_found",
    ),
    "address_unverified": (unverified_primary, "form_verification_needed"),
    "identifier_last": (last_address, "identification_deletion_failed"),
    "password_not_set": (by_clerks_api("/verify_password", {"password": "correct horse"}), "no_password_set"),
    "password_compromised": (compromised_password, "password_reset_required"),
    "totp_secret_invalid": (
        lambda browser: browser.api.ask("POST", "/clerk/v1/users", {"totp_secret": "1"}),
        "invalid_totp_secret_code",
    ),
    "second_factor_not_set": (by_clerks_api("/verify_totp", {"code": "123456"}), "totp_disabled"),
    "second_factor_wrong": (
        by_clerks_api("/verify_totp", {"code": "wrong-code"}, backup_codes=["right-code"]),
        "totp_incorrect_code",
    ),
    "password_wrong": (
        by_clerks_api("/verify_password", {"password": "wrong horse"}, password="correct horse battery"),
        "incorrect_password",
    ),
}

# What HTTP cannot lead to, and who shows it.
MET_ELSEWHERE = {
    "not_found": "stands for those below it",
    "history_invalid": "`userfold import`: tests/transfer, tests/cli/test_transfer.py",
    "change_id_taken": "`userfold import`: tests/transfer, tests/cli/test_transfer.py",
    "internal_error": "a defect: tests/api/test_wire.py breaks a handler",
    "session_not_sampled": "Milana's SDK, in its words: tests/api/milana/test_update.py",
}


def codes(kind: type[core.DomainError]) -> set[str]:
    own = {kind.code} if "code" in vars(kind) and kind is not core.DomainError else set()
    return own.union(*(codes(child) for child in kind.__subclasses__() if child.__module__ == core.__name__))


def test_every_refusal_of_the_core_is_met() -> None:
    assert codes(core.DomainError) == {*MET, *MET_BY_CLERKS_CLIENTS, *MET_ELSEWHERE}


@pytest.mark.parametrize("code", MET)
def test_a_refusal_is_met_through_http_and_leaves_no_trace(browser: Browser, code: str) -> None:
    reply = MET[code](browser)
    assert (reply.json()["code"], reply.headers["content-type"]) == (code, "application/problem+json")
    assert reply.status_code == reply.json()["status"] >= 400
    # What led to it once more, as far as it does not need a fresh start, is refused again: nothing was stored.
    before = browser.api.writes
    assert browser.api.send(reply.request, address=browser.address).json()["code"] == code
    assert browser.api.writes == before


@pytest.mark.parametrize("code", MET_BY_CLERKS_CLIENTS)
def test_a_refusal_is_met_through_clerks_api(browser: Browser, code: str) -> None:
    meet, clerks_code = MET_BY_CLERKS_CLIENTS[code]
    reply = meet(browser)
    (error,) = reply.json()["errors"]
    assert (error["code"], reply.status_code >= 400) == (clerks_code, True)
