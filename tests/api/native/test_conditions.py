"""Optimistic concurrency: the ETag of a user, and what `If-Match` makes of it (RFC 9110, 13.1.1)."""

from __future__ import annotations

import pytest

from tests.server import InProcess

# If-Match, for a user at version 2: what comes of it.
CONDITIONS = [
    ('"2"', 200),
    (' "2" ', 200),
    ('"1", "2"', 200),
    ('"2","3"', 200),
    ('"1" ,\t"2"', 200),
    ('W/"1", "2"', 200),
    ('"abc", "2"', 200),
    ("*", 200),
    (" * ", 200),
    ('"1"', 412),
    ('"3"', 412),
    ('W/"2"', 412),
    ('W/"2", "1"', 412),
    ('"1", W/"2"', 412),
    ('""', 412),
    ('"abc"', 412),
    ('"2 "', 412),
    ('"-2"', 412),
    ('"2.0"', 412),
    ('"99999999999999999999999999"', 412),
    ("2", 400),
    ("", 400),
    ('"2', 400),
    ('2"', 400),
    ('"2" "1"', 400),
    ('"2",', 400),
    (',"2"', 400),
    ('"2", *', 400),
    ('w/"2"', 400),
    ("W/2", 400),
    ("'2'", 400),
]
CODES = {412: "version_mismatch", 400: "header_invalid"}


@pytest.mark.parametrize(("condition", "status"), CONDITIONS)
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_if_match(api: InProcess, method: str, condition: str, status: int) -> None:
    user = api.user(external_id="u-1")
    api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Ada"})
    before = api.writes
    path = "/v1/users/by-external-id/u-1" if method == "PUT" else f"/v1/users/{user['id']}"
    document = None if method == "DELETE" else {"name": "Bea"}
    reply = api.ask(method, path, document, headers={"if-match": condition})
    if status == 200:
        assert reply.status_code == (204 if method == "DELETE" else 200)
        assert api.writes == before + 1
        return
    assert (reply.status_code, reply.json()["code"]) == (status, CODES[status])
    assert api.writes == before
    assert api.read(user["id"])["name"] == "Ada"
    if status == 412:
        assert reply.json()["current_version"] == 2
        assert reply.headers["etag"] == '"2"'
        assert reply.json()["hint"]
    else:
        assert "If-Match" in reply.json()["detail"]


def test_the_tag_of_a_version_with_leading_zeros_is_another_tag(api: InProcess) -> None:
    user = api.user()
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Ada"}, headers={"if-match": '"01"'})
    assert reply.status_code == 412


def test_a_version_that_does_not_match_is_said_before_what_else_is_wrong(api: InProcess) -> None:
    user = api.user()
    for document in ({"nope": 1}, {"name": 1}, {"version": 7}):
        reply = api.ask("PATCH", f"/v1/users/{user['id']}", document, headers={"if-match": '"9"'})
        assert reply.status_code == 412


def test_of_two_writers_that_read_the_same_version_one_is_refused(api: InProcess) -> None:
    user = api.user(name="Ada")
    address, condition = f"/v1/users/{user['id']}", {"if-match": '"1"'}
    assert api.ask("PATCH", address, {"name": "Bea"}, headers=condition).status_code == 200
    assert api.ask("PATCH", address, {"name": "Cleo"}, headers=condition).status_code == 412
    assert api.read(user["id"])["name"] == "Bea"


def test_every_reply_about_a_user_carries_its_tag(api: InProcess) -> None:
    made = api.ask("PUT", "/v1/users/by-external-id/u-1", {})
    address = f"/v1/users/{made.json()['id']}"
    tags = [
        made.headers["etag"],
        api.ask("GET", address).headers["etag"],
        api.ask("PATCH", address, {"name": "Ada"}).headers["etag"],
        api.ask("PUT", "/v1/users/by-external-id/u-1", {"name": "Bea"}).headers["etag"],
        api.ask("GET", address).headers["etag"],
        api.ask("GET", f"{address}?version=2").headers["etag"],
        api.ask("HEAD", address).headers["etag"],
    ]
    assert tags == ['"1"', '"1"', '"2"', '"3"', '"3"', '"2"', '"3"']


def test_a_creation_refuses_a_condition_instead_of_passing_over_it(api: InProcess) -> None:
    before = api.writes
    for condition in ("*", '"1"'):
        reply = api.ask("POST", "/v1/users", {}, headers={"if-match": condition})
        assert (reply.status_code, reply.json()["code"]) == (400, "header_invalid")
    assert api.writes == before


def test_every_write_refuses_the_condition_that_none_keeps(api: InProcess) -> None:
    user = api.user(external_id="u-1")
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()
    key = api.ask("POST", "/v1/project/keys", {"name": "n"}).json()
    address = f"/v1/users/{user['id']}"
    before = api.writes
    for method, path, document in (
        ("POST", "/v1/users", {}),
        ("PUT", "/v1/users/by-external-id/u-1", {"name": "Bea"}),
        ("PATCH", address, {"name": "Bea"}),
        ("PUT", f"{address}/segments/{segment['id']}", None),
        ("POST", f"{address}/events", {"name": "order paid"}),
        ("POST", f"{address}/sessions", {}),
        ("DELETE", f"{address}/sessions", None),
        ("PATCH", f"/v1/segments/{segment['id']}", {"name": "Gamma"}),
        ("PATCH", "/v1/project", {"name": "One"}),
        ("POST", "/v1/project/keys", {"name": "n"}),
        ("DELETE", f"/v1/project/keys/{key['id']}", None),
        ("DELETE", address, None),
    ):
        reply = api.ask(method, path, document, headers={"if-none-match": "*"})
        assert (reply.status_code, reply.json()["code"]) == (400, "header_invalid"), (method, path)
    assert api.writes == before


@pytest.mark.parametrize("condition", ['"1"', '"0"', 'W/"1"'])
def test_a_condition_on_a_version_never_makes_a_user(api: InProcess, condition: str) -> None:
    before = api.writes
    reply = api.ask("PUT", "/v1/users/by-external-id/u-1", {}, headers={"if-match": condition})
    assert reply.status_code in (404, 412)
    assert api.writes == before


def test_the_condition_that_a_user_exists_never_makes_one(api: InProcess) -> None:
    before = api.writes
    reply = api.ask("PUT", "/v1/users/by-external-id/u-1", {}, headers={"if-match": "*"})
    assert reply.status_code in (404, 412)
    assert api.writes == before


# If-None-Match, for a user at version 2: what a read answers.
@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"2"', 304),
        ('W/"2"', 304),
        ('"1", "2"', 304),
        ("*", 304),
        ('"1"', 200),
        ('"22"', 200),
        ("2", 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_a_version_does_not_get_it_again(api: InProcess, method: str, condition: str, status: int) -> None:
    user = api.user(name="Ada")
    changed = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Bea"}).json()
    assert changed["version"] == 2
    reply = api.ask(method, f"/v1/users/{user['id']}", headers={"if-none-match": condition})
    assert (reply.status_code, reply.headers["etag"]) == (status, '"2"')
    assert ("content-length" in reply.headers) is (status == 200)
    assert bool(reply.content) is (status == 200 and method == "GET")
    before = api.ask(method, f"/v1/users/{user['id']}?version=1", headers={"if-none-match": '"1"'})
    assert (before.status_code, before.headers["etag"]) == (304, '"1"')
