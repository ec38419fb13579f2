"""Bad input through HTTP: each gets its status, its stable code and the path at fault, and nothing is stored.

Every row is sent as a creation, a merge and an upsert, because all three take the same documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.server import InProcess

NAME_255 = "x" * 255
NAME_256 = "x" * 256


def nested(levels: int) -> Any:
    """An object so many levels deep."""
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


class Bad(NamedTuple):
    content: bytes | dict[str, Any]
    status: int
    code: str
    path: str | None = None


JSON_TEXTS = {
    "no body": Bad(b"", 400, "json_invalid"),
    "blanks": Bad(b" \n", 400, "json_invalid"),
    "broken off": Bad(b'{"name": "Ada"', 400, "json_invalid"),
    "text after the end": Bad(b"{} {}", 400, "json_invalid"),
    "a trailing comma": Bad(b'{"name": "Ada",}', 400, "json_invalid"),
    "a comment": Bad(b'{} // "name"', 400, "json_invalid"),
    "single quotes": Bad(b"{'name': 'Ada'}", 400, "json_invalid"),
    "a byte order mark": Bad(b"\xef\xbb\xbf{}", 400, "json_invalid"),
    "UTF-16": Bad('{"name": "Ada"}'.encode("utf-16"), 400, "json_invalid"),
    "a byte that is not UTF-8": Bad(b'{"name": "\xff"}', 400, "json_invalid"),
    "an overlong UTF-8 form": Bad(b'{"name": "\xc0\xaf"}', 400, "json_invalid"),
    "a surrogate as UTF-8": Bad(b'{"name": "\xed\xa0\x80"}', 400, "json_invalid"),
    "a high surrogate alone": Bad(b'{"name": "\\ud800"}', 400, "json_invalid"),
    "a low surrogate alone": Bad(b'{"traits": {"a": "\\udc00"}}', 400, "json_invalid"),
    "a lone surrogate in a key": Bad(b'{"traits": {"\\ud83d": 1}}', 400, "json_invalid"),
    "a raw control character": Bad(b'{"name": "a\nb"}', 400, "json_invalid"),
    "NaN": Bad(b'{"traits": {"a": NaN}}', 400, "json_invalid"),
    "Infinity": Bad(b'{"traits": {"a": -Infinity}}', 400, "json_invalid"),
    "a number past the doubles": Bad(b'{"traits": {"a": 1e400}}', 400, "json_invalid"),
    "a number past the doubles, below": Bad(b'{"traits": {"a": -1e400}}', 400, "json_invalid"),
    "an integer of 4301 digits": Bad(b'{"traits": {"a": 1' + b"0" * 4300 + b"}}", 400, "json_invalid"),
    "a leading zero": Bad(b'{"traits": {"a": 01}}', 400, "json_invalid"),
    "a key twice": Bad(b'{"name": "Ada", "name": "Ada"}', 400, "json_duplicate_key"),
    "a key twice, deep inside": Bad(b'{"traits": {"a": [{"b": 1, "c": 2, "b": 1}]}}', 400, "json_duplicate_key"),
    "a key twice, once escaped": Bad(b'{"traits": {"a": 1, "\\u0061": 1}}', 400, "json_duplicate_key"),
    "101 levels": Bad(b'{"traits": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "json_too_deep"),
    "100,000 levels": Bad(b'{"traits": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "json_too_deep"),
    "a list": Bad(b"[]", 400, "body_not_object"),
    "a string": Bad(b'"Ada"', 400, "body_not_object"),
    "null": Bad(b"null", 400, "body_not_object"),
}

DOCUMENTS = {
    "an unknown field": Bad({"nope": 1}, 422, "field_unknown", "/nope"),
    "an unknown field that is null": Bad({"nope": None}, 422, "field_unknown", "/nope"),
    "an unknown field with a slash": Bad({"a/b~c": 1}, 422, "field_unknown", "/a~1b~0c"),
    "an unknown field of great length": Bad({"n" * 10_000: 1}, 422, "field_unknown", "/" + "n" * 255),
    "a field in camelCase": Bad({"firstName": "Ada"}, 422, "field_unknown", "/firstName"),
    "a method of the record": Bad({"__class__": 1}, 422, "field_unknown", "/__class__"),
    "an unknown field of an address": Bad(
        {"email_addresses": [{"email_address": "a@example.com", "x/y": 1}]},
        422,
        "field_unknown",
        "/email_addresses/0/x~1y",
    ),
    "an address without its value": Bad(
        {"phone_numbers": [{"verified": True}]}, 422, "field_invalid", "/phone_numbers/0/phone_number"
    ),
    "an address twice": Bad(
        {"email_addresses": ["a@example.com", "A@EXAMPLE.com"]}, 422, "field_invalid", "/email_addresses/1"
    ),
    "two primary addresses": Bad(
        {"email_addresses": [{"email_address": f"{name}@example.com", "primary": True} for name in "ab"]},
        422,
        "field_invalid",
        "/email_addresses",
    ),
    "an address that is verified with a word": Bad(
        {"email_addresses": [{"email_address": "a@example.com", "verified": "yes"}]},
        422,
        "field_invalid",
        "/email_addresses/0/verified",
    ),
    "101 addresses": Bad(
        {"email_addresses": [f"a{number}@example.com" for number in range(101)]},
        422,
        "field_invalid",
        "/email_addresses",
    ),
    "an address with an id of the caller's own": Bad(
        {"email_addresses": [{"email_address": "a@example.com", "id": "idn_1"}]},
        422,
        "field_read_only",
        "/email_addresses/0/id",
    ),
    "an address that is a number": Bad(
        {"email_addresses": ["a@example.com", 1]}, 422, "field_invalid", "/email_addresses/1"
    ),
    "an email address without a domain": Bad(
        {"email_addresses": ["ada"]}, 422, "field_format_invalid", "/email_addresses/0/email_address"
    ),
    "a phone number without its country": Bad(
        {"phone_numbers": ["020 7946 0958"]}, 422, "field_format_invalid", "/phone_numbers/0/phone_number"
    ),
    "U+0000 in a name": Bad({"name": "a\0b"}, 422, "field_format_invalid", "/name"),
    "U+0000 in a username": Bad({"username": "a\0b"}, 422, "field_format_invalid", "/username"),
    "U+0000 in an email address": Bad(
        {"email_addresses": ["a\0@example.com"]}, 422, "field_format_invalid", "/email_addresses/0/email_address"
    ),
    "U+0000 in a contact address": Bad({"contact_email": "a\0"}, 422, "field_format_invalid", "/contact_email"),
    "a blank in a username": Bad({"username": "a b"}, 422, "field_format_invalid", "/username"),
    "an empty username": Bad({"username": ""}, 422, "field_format_invalid", "/username"),
    "a policy that is none of three": Bad(
        {"second_factor_policy": "maybe"}, 422, "field_invalid", "/second_factor_policy"
    ),
    "33 levels in a bag": Bad({"traits": nested(33)}, 422, "bag_too_deep", "/traits"),
    "33 levels in a bag, the last a list": Bad(
        {"public_metadata": {"a": json.loads("[" * 32 + "]" * 32)}}, 422, "bag_too_deep", "/public_metadata"
    ),
    "a bag of more than 64 KiB": Bad(
        {"private_metadata": {"a": "x" * 65_536}}, 422, "bag_too_large", "/private_metadata"
    ),
}

# For every kind of field, values that it does not take.
TEXTS = ("first_name", "last_name", "name", "username", "contact_email", "contact_phone", "locale", "timezone")
WRONG_TYPES: list[tuple[tuple[str, ...], list[Any]]] = [
    (TEXTS, [1, True, [], {}, ["Ada"]]),
    (("public_metadata", "private_metadata", "unsafe_metadata", "traits"), [1, True, [], "{}", [{}]]),
    (("disabled", "locked"), [0, 1, "true", [], {}]),
    (("email_addresses", "phone_numbers"), [1, "a@example.com", {}, True]),
    (("second_factor_policy",), [1, True, [], {}, "", "none "]),
]
DOCUMENTS |= {
    f"{field} is {value!r}": Bad({field: value}, 422, "field_invalid", f"/{field}")
    for fields, values in WRONG_TYPES
    for field in fields
    for value in values
}
DOCUMENTS |= {
    f"{field} has 256 characters": Bad({field: NAME_256}, 422, "field_format_invalid", f"/{field}") for field in TEXTS
}

EXTERNAL_IDS = {
    "a number": Bad({"external_id": 7}, 422, "field_invalid", "/external_id"),
    "true": Bad({"external_id": True}, 422, "field_invalid", "/external_id"),
    "a list": Bad({"external_id": ["u-1"]}, 422, "field_invalid", "/external_id"),
    "empty": Bad({"external_id": ""}, 422, "field_format_invalid", "/external_id"),
    "U+0000": Bad({"external_id": "u\0"}, 422, "field_format_invalid", "/external_id"),
    "too long": Bad({"external_id": NAME_256}, 422, "field_format_invalid", "/external_id"),
}

SENT_TO_ALL = JSON_TEXTS | DOCUMENTS


@pytest.fixture
def user(api: InProcess) -> Iterator[dict[str, Any]]:
    """A user that must be the same afterwards, as must all else that is stored."""
    user = api.user(external_id="u-1", name="Ada", traits={"a": 1})
    before = api.writes
    yield user
    assert api.writes == before
    assert api.read(user["id"]) == user
    assert len(api.history(user["id"])) == 1


def refused(api: InProcess, bad: Bad, method: str, path: str) -> None:
    content = bad.content if isinstance(bad.content, bytes) else json.dumps(bad.content).encode()
    reply = api.ask(method, path, content=content)
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem.get("path")) == (bad.status, bad.code, bad.path)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["status"] == bad.status
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert len(reply.content) < 2_000
    if bad.code == "json_duplicate_key":
        assert problem["hint"]


@pytest.mark.parametrize("name", SENT_TO_ALL)
def test_bad_input_is_refused_and_nothing_is_stored(api: InProcess, user: dict[str, Any], name: str) -> None:
    bad = SENT_TO_ALL[name]
    refused(api, bad, "POST", "/v1/users")
    refused(api, bad, "PATCH", f"/v1/users/{user['id']}")
    refused(api, bad, "PUT", "/v1/users/by-external-id/u-1")
    refused(api, bad, "PUT", "/v1/users/by-external-id/new")


@pytest.mark.parametrize("name", EXTERNAL_IDS)
def test_a_bad_external_id_is_refused_and_nothing_is_stored(api: InProcess, user: dict[str, Any], name: str) -> None:
    refused(api, EXTERNAL_IDS[name], "POST", "/v1/users")
    refused(api, EXTERNAL_IDS[name], "PATCH", f"/v1/users/{user['id']}")


@pytest.mark.parametrize("part", ["%00", "a%00b", "x" * 256])
def test_a_bad_external_id_in_a_path_is_refused_and_nothing_is_stored(
    api: InProcess, user: dict[str, Any], part: str
) -> None:
    bad = Bad({}, 422, "field_format_invalid", "/external_id")
    refused(api, bad, "PUT", f"/v1/users/by-external-id/{part}")


@pytest.mark.parametrize("part", ["%00", "a%00b", "x" * 5_000, "%F0%9F%A6%8A", "'--", "*"])
def test_an_id_that_nobody_can_have_is_merely_unknown(api: InProcess, user: dict[str, Any], part: str) -> None:
    for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/history"), ("GET", "?version=1")]:
        reply = api.ask(method, f"/v1/users/{part}{path}", {} if method == "PATCH" else None)
        assert (reply.status_code, reply.json()["code"]) == (404, "user_not_found")


CONTENT_TYPES = [
    "text/plain",
    "text/json",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json, text/plain",
    "",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_another_content_type_is_refused_and_nothing_is_stored(
    api: InProcess, user: dict[str, Any], content_type: str
) -> None:
    for method, path in [
        ("POST", "/v1/users"),
        ("PATCH", f"/v1/users/{user['id']}"),
        ("PUT", "/v1/users/by-external-id/u-1"),
    ]:
        reply = api.ask(method, path, content=b'{"name": "Bea"}', content_type=content_type)
        assert (reply.status_code, reply.json()["code"]) == (415, "content_type_unsupported")


def test_a_creation_is_no_merge_patch(api: InProcess, user: dict[str, Any]) -> None:
    reply = api.ask("POST", "/v1/users", {}, content_type="application/merge-patch+json")
    assert reply.status_code == 415


def test_a_patch_that_would_grow_a_bag_past_its_size_is_refused(api: InProcess) -> None:
    user = api.user(traits={"a": "x" * 40_000}, public_metadata={"b": "y" * 40_000})
    before = api.writes
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Bea", "traits": {"b": "x" * 30_000}})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["path"]) == (422, "bag_too_large", "/traits")
    size = len(json.dumps({"a": "x" * 40_000, "b": "x" * 30_000}, separators=(",", ":")))
    assert f"{size} bytes" in problem["detail"]
    assert "65536" in problem["detail"]
    assert api.writes == before
    assert api.read(user["id"]) == user
    fits = api.ask("PATCH", f"/v1/users/{user['id']}", {"traits": {"a": None, "b": "x" * 30_000}})
    assert fits.status_code == 200


def test_a_patch_that_would_deepen_a_bag_past_its_depth_is_refused(api: InProcess) -> None:
    user = api.user(traits=nested(32))
    before = api.writes
    patch: Any = nested(31)
    reply = api.ask("PATCH", f"/v1/users/{user['id']}", {"traits": {"a": {"a": patch, "b": patch}}})
    assert (reply.status_code, reply.json()["code"]) == (422, "bag_too_deep")
    assert api.writes == before


def test_what_is_just_within_the_limits_is_taken(api: InProcess) -> None:
    document = {
        "name": NAME_255,
        "external_id": NAME_255,
        "username": NAME_255,
        "traits": nested(32),
        "public_metadata": {"a": "x" * (65_536 - len('{"a":""}'))},
        "private_metadata": {"n": 10**4299, "d": 1e308, "s": "\0\u2028🦊", "": []},
    }
    user = api.user(**document)
    assert document.items() <= user.items()


def test_a_bad_field_is_refused_with_all_that_came_with_it(api: InProcess, user: dict[str, Any]) -> None:
    document = {"name": "Bea", "traits": {"b": 2}, "locale": 7, "public_metadata": {"c": 3}}
    refused(api, Bad(document, 422, "field_invalid", "/locale"), "PATCH", f"/v1/users/{user['id']}")


def test_the_reason_names_types_in_words(api: InProcess) -> None:
    user = api.user()
    reply = api.ask("POST", f"/v1/users/{user['id']}/events", {"name": "a", "occurred_at": 1.5})
    assert reply.json()["detail"].endswith("expected an integer or null, got a decimal.")
