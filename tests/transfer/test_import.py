"""What an import refuses, and what is in when it stops."""

from __future__ import annotations

import json
from typing import Any

import pyotp
import pytest

from tests.server import InProcess
from tests.transfer.moving import PASSWORD, clerk_user, exported, import_into, lines_of, verifies
from userfold import transfer
from userfold.core.errors import DomainError
from userfold.core.records import EffectiveSettings
from userfold.storage.port import StoreFull
from userfold.transfer import ImportStopped, LineTooLong, Report


def text_of(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def stopped(api: InProcess, text: bytes, *on_taken: Any) -> ImportStopped:
    with pytest.raises(ImportStopped) as caught:
        import_into(api, text, *on_taken)
    return caught.value


def ids(api: InProcess) -> list[str]:
    """The ids of all users of the project, sorted."""
    return sorted(line["user"]["id"] for line in lines_of(exported(api)))


GOOD = {"user": {"id": "a", "name": "Ada"}}
BAD: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "json_invalid"),
    "a truncated line": (b'{"user": {"id": "b", "na', "json_invalid"),
    "not UTF-8": (b'{"user": {"id": "\xff"}}\n', "json_invalid"),
    "a byte order mark": (b'\xef\xbb\xbf{"user": {"id": "b"}}\n', "json_invalid"),
    "NaN": (b'{"user": {"id": "b", "traits": {"a": NaN}}}\n', "json_invalid"),
    "two values": (b'{"user": {"id": "b"}} {}\n', "json_invalid"),
    "a key twice": (b'{"user": {"id": "b", "id": "c"}}\n', "json_duplicate_key"),
    "a list": (b"[]\n", "field_invalid"),
    "an unknown part": (b'{"user": {"id": "b"}, "password": "x"}\n', "field_unknown"),
    "an unknown field": (b'{"user": {"id": "b", "nick": "x"}}\n', "field_unknown"),
    "a field of the system's": (b'{"user": {"id": "b", "version": 7}}\n', "field_read_only"),
    "a field with a wrong value": (b'{"user": {"id": "b", "disabled": "x"}}\n', "field_invalid"),
    "a bag too large": (b'{"user": {"id": "b", "traits": {"a": "%s"}}}\n' % (b"x" * 70_000), "bag_too_large"),
    "no name to know it by": (b'{"user": {"name": "b"}}\n', "field_invalid"),
    "a history of nothing": (b'{"user": {"id": "b"}, "changes": []}\n', "history_invalid"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_what_came_before_it_is_in(there: InProcess, name: str) -> None:
    bad, code = BAD[name]
    error = stopped(there, text_of(GOOD) + b"\n" + bad + text_of({"user": {"id": "z"}}))
    assert isinstance(error.reason, DomainError)
    assert (error.line, error.reason.code) == (3, code)
    assert ids(there) in (["a"], ["a", "z"])
    assert error.report.created in (1, 2)


def test_after_a_line_that_is_no_line_nothing_is_in(there: InProcess) -> None:
    stopped(there, text_of(GOOD) + b"{\n" + text_of({"user": {"id": "z"}}))
    assert ids(there) == ["a"]


def test_an_import_goes_on_where_a_mended_file_was_broken(there: InProcess) -> None:
    users = [{"user": {"id": f"user_{n:04}"}} for n in range(transfer.WINDOW_LINES_MAX + 10)]
    text = text_of(*users)
    cut = text.rindex(b"\n", 0, -20) + 8  # in the middle of the last line
    error = stopped(there, text[:cut])
    assert error.line == len(users)
    report = import_into(there, text, "skip")
    assert (report.created, report.skipped) == (1, len(users) - 1)
    assert ids(there) == [line["user"]["id"] for line in users]


def test_a_file_without_a_line_is_no_mistake(there: InProcess) -> None:
    assert import_into(there, b"\n \n") == Report()


def test_a_last_line_needs_no_line_feed(there: InProcess) -> None:
    assert import_into(there, text_of(GOOD).strip()).created == 1


def test_a_line_has_a_limit(there: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "LINE_BYTES_MAX", 100)
    error = stopped(there, text_of(GOOD, {"user": {"id": "b", "traits": {"a": "x" * 100}}}))
    assert (error.line, type(error.reason)) == (2, LineTooLong)


def test_people_come_from_elsewhere_as_a_creation_with_their_id_time_and_password(
    here: InProcess, there: InProcess
) -> None:
    clerk_user(here, password=PASSWORD)
    (line,) = lines_of(exported(here))
    new = {
        "user": {
            "id": "auth0|5f7c8ec7",
            "created_at": 1_600_000_000_000,
            "external_id": "42",
            "email_addresses": [{"email_address": "Ada@Example.com", "verified": True}],
            "public_metadata": {"plan": "pro"},
        },
        "secrets": {
            "password_digest": line["secrets"]["password_digest"],
            "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        },
    }
    import_into(there, text_of(new))
    user = there.read("auth0%7C5f7c8ec7")
    assert (user["created_at"], user["external_id"], user["version"]) == (1_600_000_000_000, "42", 1)
    assert user["email_addresses"][0]["email_address"] == "ada@example.com"
    assert user["password_enabled"] is True
    (change,) = there.history("auth0%7C5f7c8ec7")
    assert (change["source"], change["actor"], change["trust"]) == ("import", "operator", "backend")
    assert verifies(there, "auth0%7C5f7c8ec7", PASSWORD)
    code = {"code": pyotp.TOTP("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").now()}
    assert there.ask("POST", "/clerk/v1/users/auth0%7C5f7c8ec7/verify_totp", code).status_code == 200


def test_an_id_that_is_taken_is_refused_by_name(here: InProcess, there: InProcess) -> None:
    user = here.user(name="Ada")
    text = exported(here)
    import_into(there, text)
    there.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Eve"})
    before = exported(there)
    error = stopped(there, text)
    assert isinstance(error.reason, DomainError)
    assert (error.line, error.reason.code, error.reason.path) == (1, "identifier_taken", "/id")
    assert exported(there) == before


def test_an_id_that_is_taken_can_be_left_alone(here: InProcess, there: InProcess) -> None:
    user = here.user(name="Ada")
    import_into(there, exported(here))
    there.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Eve"})
    here.user(name="Bob")
    report = import_into(there, exported(here), "skip")
    assert (report.created, report.replaced, report.skipped) == (1, 0, 1)
    assert there.read(user["id"])["name"] == "Eve"


def test_a_user_whose_id_is_taken_can_be_replaced_whole(here: InProcess, there: InProcess) -> None:
    user = here.user(name="Ada", email_addresses=["a@example.com"])
    text = exported(here)
    import_into(there, text)
    there.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Eve", "email_addresses": ["e@example.com"]})
    there.ask("PATCH", f"/clerk/v1/users/{user['id']}", {"password": PASSWORD})
    session = there.ask("POST", f"/v1/users/{user['id']}/sessions", {}).json()
    report = import_into(there, text, "replace")
    assert (report.created, report.replaced, report.skipped) == (0, 1, 0)
    assert exported(there) == text
    assert not verifies(there, user["id"], PASSWORD)
    assert there.ask("GET", f"/v1/sessions/{session['id']}").status_code == 404
    assert there.ask("GET", "/v1/users?email=e@example.com").json()["data"] == []
    assert there.ask("POST", "/v1/users", {"email_addresses": ["e@example.com"]}).status_code == 201


def test_a_new_user_is_left_alone_or_replaced_by_its_id_or_external_id(there: InProcess) -> None:
    users = text_of({"user": {"id": "a", "name": "1"}}, {"user": {"external_id": "b", "name": "1"}})
    import_into(there, users)
    number = there.read("a")["usercom_id"]
    assert stopped(there, users).line == 1
    assert import_into(there, users, "skip").skipped == 2
    report = import_into(there, text_of({"user": {"id": "a", "traits": {"x": 1}}}), "replace")
    assert report.replaced == 1
    user = there.read("a")
    assert (user["name"], user["traits"], user["version"], user["usercom_id"]) == (None, {"x": 1}, 1, number)
    assert len(there.history("a")) == 1


@pytest.mark.parametrize("on_taken", ["refuse", "skip", "replace"])
def test_a_name_of_another_user_stops_an_import_whatever_is_done_about_taken_ids(
    here: InProcess, there: InProcess, on_taken: Any
) -> None:
    here.user(email_addresses=["ada@example.com"])
    there.user(email_addresses=["ada@example.com"])
    before = exported(there)
    error = stopped(there, exported(here), on_taken)
    assert isinstance(error.reason, DomainError)
    assert (error.line, error.reason.code, error.reason.path) == (1, "identifier_taken", "/email_addresses/0")
    assert exported(there) == before


def test_the_same_history_under_a_new_id_is_refused(here: InProcess) -> None:
    user = here.user(name="Ada")
    text = exported(here).replace(user["id"].encode(), b"user_new")
    text = text.replace(str(user["usercom_id"]).encode(), b"7")
    error = stopped(here, text)
    assert isinstance(error.reason, DomainError)
    assert (error.reason.code, error.reason.path) == ("change_id_taken", "/changes/0/id")


def test_twins_in_one_file_are_told_apart_from_strangers(there: InProcess) -> None:
    twins = text_of({"user": {"id": "a", "name": "1"}}, {"user": {"id": "a", "name": "2"}})
    assert stopped(there, twins).line == 2
    assert there.read("a")["name"] == "1"
    assert import_into(there, twins, "replace").replaced == 2
    assert there.read("a")["name"] == "2"
    assert len(there.history("a")) == 1


def test_what_the_store_cannot_do_is_named_with_its_line(there: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(make_fold: Any) -> Any:
        raise StoreFull("no space")

    monkeypatch.setattr(there.store, "run", full)
    error = stopped(there, text_of(GOOD))
    assert (error.line, type(error.reason)) == (1, StoreFull)


def test_somebody_is_told_how_far_it_got(here: InProcess, there: InProcess) -> None:
    users = [{"user": {"id": f"user_{n:04}"}} for n in range(transfer.WINDOW_LINES_MAX * 2)]
    heard: list[Report] = []

    async def work() -> None:
        into = there.keys.project_id
        lines = text_of(*users).splitlines(keepends=True)
        service = there.app.service
        await transfer.import_lines(
            service.engine, into, EffectiveSettings(), lines, service.encryption, noted=heard.append
        )

    there.runner.run(work())
    assert [report.created for report in heard] == [transfer.WINDOW_LINES_MAX, transfer.WINDOW_LINES_MAX * 2]
    assert heard[-1].bytes == len(text_of(*users))
