"""What Clerk does not have: conditions on the version, idempotency keys, and who may not be kept waiting in vain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess
from userfold.api.clerk import errors
from userfold.core.errors import DomainError
from userfold.core.rules import ONCE_MS

# Every write of a user, and what it says: {id} is the user's, {email} and {phone} are those of its second addresses.
WRITES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "/users/{id}", {"first_name": "Augusta"}),
    ("PATCH", "/users/{id}/metadata", {"public_metadata": {"a": 1}}),
    ("PUT", "/users/{id}/metadata", {"public_metadata": {"a": 1}}),
    ("POST", "/users/{id}/ban", None),
    ("POST", "/users/{id}/lock", None),
    ("POST", "/users/{id}/remove_password", None),
    ("POST", "/users/{id}/password/set_compromised", None),
    ("DELETE", "/users/{id}/totp", None),
    ("DELETE", "/users/{id}/backup_code", None),
    ("DELETE", "/users/{id}/mfa", None),
    ("PUT", "/users/{id}/email_address", {"email_address": "new@example.com"}),
    ("PUT", "/users/{id}/phone_number", {"phone_number": "+442079460960"}),
    ("POST", "/email_addresses", {"user_id": "{id}", "email_address": "new@example.com"}),
    ("POST", "/phone_numbers", {"user_id": "{id}", "phone_number": "+442079460960"}),
    ("PATCH", "/email_addresses/{email}", {"verified": False}),
    ("PATCH", "/phone_numbers/{phone}", {"primary": True}),
    ("DELETE", "/email_addresses/{email}", None),
    ("DELETE", "/phone_numbers/{phone}", None),
    ("DELETE", "/users/{id}", None),
]
IDS = [f"{method} {path}" for method, path, _ in WRITES]
every_write = pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=IDS)


class Ada:
    """A user with two of each kind of address, and requests about it."""

    def __init__(self, api: InProcess) -> None:
        document = {
            "email_address": ["a@example.com", "b@example.com"],
            "phone_number": ["+442079460958", "+442079460959"],
            "password": "correct horse battery",
            "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            "backup_codes": ["codecode1"],
        }
        self.api = api
        self.user = api.ask("POST", "/clerk/v1/users", document).json()
        self._names = {
            "{id}": self.user["id"],
            "{email}": self.user["email_addresses"][1]["id"],
            "{phone}": self.user["phone_numbers"][1]["id"],
        }

    def write(self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None) -> Any:
        for name, id_ in self._names.items():
            path = path.replace(name, id_)
        if body is not None:
            body = {
                name: self._names.get(value, value) if isinstance(value, str) else value for name, value in body.items()
            }
        return self.api.ask(method, f"/clerk/v1{path}", body, headers=headers)


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["errors"][0]["code"]


@every_write
def test_a_write_for_another_version_is_a_conflict(api: InProcess, method: str, path: str, body: Any) -> None:
    ada = Ada(api)
    writes = api.writes
    assert code(ada.write(method, path, body, {"if-match": '"7"'})) == (409, "conflict")
    assert api.writes == writes
    assert ada.write(method, path, body, {"if-match": '"1"'}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [write for write in WRITES if write[0] != "DELETE"],
    ids=[i for i in IDS if "DEL" not in i],
)
def test_a_write_for_another_time_of_change_is_a_conflict(api: InProcess, method: str, path: str, body: Any) -> None:
    ada = Ada(api)
    writes, given = api.writes, {} if body is None else body
    stale = {**given, "expected_updated_at": ada.user["updated_at"] - 1}
    assert code(ada.write(method, path, stale)) == (409, "conflict")
    for wrong in ("now", True, 1.5):
        assert code(ada.write(method, path, {**given, "expected_updated_at": wrong}))[0] == 422
    both = ada.write(method, path, {**given, "expected_updated_at": 1}, {"if-match": '"1"'})
    assert code(both) == (422, "form_conditional_param_disallowed")
    assert api.writes == writes
    right = {**given, "expected_updated_at": ada.user["updated_at"]}
    assert ada.write(method, path, right).status_code == 200


@every_write
def test_a_write_under_an_idempotency_key_is_done_once(api: InProcess, method: str, path: str, body: Any) -> None:
    ada = Ada(api)
    headers = {"idempotency-key": "k"}
    first = ada.write(method, path, body, headers)
    assert first.status_code == 200
    ada.write("PATCH", "/users/{id}", {"last_name": "Later"})
    writes = api.writes
    again = ada.write(method, path, body, headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert api.writes == writes
    other = ada.write(method, path, {**(body or {}), "expected_updated_at": 1}, headers)
    assert code(other) == (409, "conflict")


def test_a_creation_under_an_idempotency_key_is_done_once(api: InProcess) -> None:
    body, headers = {"email_address": ["ada@example.com"]}, {"idempotency-key": "k"}
    first = api.ask("POST", "/clerk/v1/users", body, headers=headers)
    assert first.status_code == 200
    assert api.ask("POST", "/clerk/v1/users", body, headers=headers).json() == first.json()
    other = api.ask("POST", "/clerk/v1/users", {"email_address": ["eve@example.com"]}, headers=headers)
    assert code(other) == (409, "conflict")
    refused = {"idempotency-key": "r"}
    assert code(api.ask("POST", "/clerk/v1/users", body, headers=refused)) == (422, "form_identifier_exists")
    api.ask("DELETE", f"/clerk/v1/users/{first.json()['id']}")
    assert api.ask("POST", "/clerk/v1/users", body, headers=refused).status_code == 200
    assert ONCE_MS == 86_400_000


def test_a_bulk_ban_under_an_idempotency_key_is_done_once(api: InProcess) -> None:
    ids = [api.user()["id"] for _ in range(3)]
    headers = {"idempotency-key": "k"}
    first = api.ask("POST", "/clerk/v1/users/ban", {"user_ids": ids}, headers=headers)
    assert [(user["id"], user["banned"]) for user in first.json()] == [(id_, True) for id_ in ids]
    api.ask("POST", "/clerk/v1/users/unban", {"user_ids": ids})
    again = api.ask("POST", "/clerk/v1/users/ban", {"user_ids": ids}, headers=headers)
    assert (first.status_code, again.json()) == (200, first.json())
    assert [api.read(id_)["disabled"] for id_ in ids] == [False] * 3


@pytest.mark.parametrize("headers", [{"if-match": '"1"'}, {"if-none-match": "*"}])
def test_a_condition_that_would_not_be_kept_is_refused(api: InProcess, headers: dict[str, str]) -> None:
    writes = api.writes
    for path, body in (("/users", {}), ("/users/ban", {"user_ids": ["x"]}), ("/sessions", {"user_id": "x"})):
        assert code(api.ask("POST", f"/clerk/v1{path}", body, headers=headers)) == (400, "malformed_request_parameters")
    assert code(api.ask("POST", "/clerk/v1/users", {"expected_updated_at": 1})) == (422, "form_param_unknown")
    assert api.writes == writes


def test_the_version_that_a_write_may_name_is_the_entity_tag(api: InProcess) -> None:
    ada = Ada(api)
    assert ada.write("PATCH", "/users/{id}", {"first_name": "A"}).headers["etag"] == '"2"'
    assert ada.write("GET", "/users/{id}", None).headers["etag"] == '"2"'


def test_a_user_may_be_updated_more_than_ten_times_in_ten_seconds(api: InProcess) -> None:
    ada = Ada(api)
    replies = [ada.write("PATCH", "/users/{id}/metadata", {"public_metadata": {f"n{n}": n}}) for n in range(30)]
    assert {reply.status_code for reply in replies} == {200}


def test_a_bag_may_have_64_kib_and_no_more(api: InProcess) -> None:
    ada = Ada(api)
    filling = {"a": "x" * (64 * 1024 - len('{"a":""}'))}
    assert ada.write("PATCH", "/users/{id}/metadata", {"private_metadata": filling}).status_code == 200
    more = ada.write("PATCH", "/users/{id}/metadata", {"private_metadata": {"b": 1}})
    assert code(more) == (422, "form_param_exceeds_allowed_size")


@pytest.mark.parametrize("kind", [kind for kind, row in errors.TABLE.items() if row[0] in (429, 503)])
def test_who_is_asked_to_come_again_is_told_when(kind: type[Exception]) -> None:
    refusal: Any = kind(kind="writes", wait_s=3) if issubclass(kind, DomainError) else kind()
    reply = errors.error_reply(refusal, "req_1")
    assert int(dict(reply.headers)[b"retry-after"]) >= 1
