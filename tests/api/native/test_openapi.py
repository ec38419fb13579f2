"""`/openapi.json`: nothing is left open in it, nothing is missing, and `/docs` says the same to people.

That replies are what it says is checked for every reply in this folder, in `conftest.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.native.described import broken_promises, document, faults, operations, resolved
from tests.server import InProcess
from userfold import __version__, transfer
from userfold.api.native import errors, openapi, pages, routes, schemas, shapes
from userfold.core import errors as core
from userfold.core import identifiers, records
from userfold.core.records import Change
from userfold.engine import Busy
from userfold.storage import port
from userfold.storage.memory import MemoryStore

BUILT = {(route.method, route.path): route for route in routes.ROUTES if route.handler is not None}
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"]) for path, method, operation in operations()
]

# Which refusals the native API never answers, and why.
NEVER = {
    "not_found": "its name stands for those below it",
    "busy": "its name stands for those below it",
    "user_id_protected": "browsers only",
    "user_deleted": "browsers only",
    "session_closed": "browsers only",
    "identity_missing": "browsers only",
    "identity_invalid": "browsers only",
    "session_not_sampled": "browsers only",
    "origin_not_allowed": "browsers only",
    "rate_limited": "callers with a publishable key only",
    **dict.fromkeys(
        (
            *("password_too_short", "password_too_long", "password_not_set", "password_wrong"),
            *("password_compromised", "totp_secret_invalid", "second_factor_not_set", "second_factor_wrong"),
            *("secret_unreadable", "time_invalid"),
            *("address_not_found", "address_unverified", "identifier_last"),
            *("list_too_long", "bulk_too_large", "field_missing", "form_invalid", "form_part_missing"),
            *("api_version_invalid", "delivery_invalid", "delivery_unsigned"),
        ),
        "Clerk's API only",
    ),
    **dict.fromkeys(("history_invalid", "change_id_taken", transfer.LineTooLong.code), "`userfold import` only"),
    "not_built": "what is not built is not in the document",
    "schema_too_new": "then the server does not start",
}


@pytest.fixture
def store() -> MemoryStore:
    """None of this depends on the store."""
    return MemoryStore()


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(where, what) of everything in a JSON value."""
    yield path, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from nodes(member, f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}")


def all_schemas() -> Iterator[tuple[str, Any]]:
    """(where, schema) of every schema in the document, also those inside others."""
    roots = [(f"components/{name}", schema) for name, schema in document()["components"]["schemas"].items()]
    roots += [(path, node["schema"]) for path, node in nodes(document()) if isinstance(node, dict) and "schema" in node]
    left = list(roots)
    while left:
        path, schema = left.pop()
        yield path, schema
        for word in ("properties", "$defs"):
            left += [(f"{path}/{name}", inner) for name, inner in schema.get(word, {}).items()]
        for word in ("anyOf", "allOf", "oneOf", "prefixItems"):
            left += [(f"{path}/{word}{index}", inner) for index, inner in enumerate(schema.get(word, ()))]
        for word in ("items", "additionalProperties"):
            if isinstance(schema.get(word), dict):
                left.append((f"{path}/{word}", schema[word]))


# The whole.


def test_it_is_open_to_everybody_and_of_this_version(api: InProcess) -> None:
    reply = api.ask("GET", "/openapi.json", key="")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == document()
    assert document()["openapi"].startswith("3.1")
    assert document()["info"]["version"] == __version__
    assert document()["info"]["license"]["identifier"] == "Apache-2.0"


def test_every_route_that_is_built_has_a_row_and_no_other() -> None:
    assert set(openapi.ROWS) == set(BUILT)
    described = {(method.upper(), path.removeprefix(routes.PREFIX)) for path, method, _ in operations()}
    assert described == set(BUILT)


def test_every_reference_leads_somewhere() -> None:
    references = [node for path, node in nodes(document()) if path.endswith("/$ref")]
    assert len(references) > 100
    for reference in references:
        assert resolved({"$ref": reference}), reference


def test_every_schema_is_one() -> None:
    for path, schema in all_schemas():
        assert jsonschema_rs.meta.is_valid({**schema, "$schema": document()["jsonSchemaDialect"]}), path


def test_no_operation_has_the_name_of_another() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert sorted(set(names)) == sorted(names)


# What is open, and what is not.

TYPED = {"type", "enum", "const", "$ref", "anyOf", "allOf", "oneOf"}


def test_no_schema_is_without_a_type() -> None:
    # What limits a type that stands beside it has none of its own.
    limits = re.compile(r"/allOf1(/properties)?$|/AttributeInput/anyOf\d(/choices)?$")
    untyped = [path for path, schema in all_schemas() if not TYPED & set(schema) and not limits.search(path)]
    assert untyped == []


def test_what_an_object_may_hold_is_said_and_only_bags_and_operations_are_open() -> None:
    unsaid, open_ = [], set()
    for path, schema in all_schemas():
        if "object" in (schema.get("type") if isinstance(schema.get("type"), list) else [schema.get("type")]):
            if path.endswith("/Json") or schema.get("readOnly"):
                continue
            if "additionalProperties" not in schema:
                unsaid.append(path)
            elif schema["additionalProperties"] is not False:
                open_.add(path)
    assert unsaid == []
    bags = re.compile(r"/(Bag|public_metadata|private_metadata|unsafe_metadata|traits)$")
    operation = re.compile(r"^components/(JsonPatch|Operations)/items/anyOf\d+(/value)?$")
    assert [path for path in open_ if not bags.search(path) and not operation.search(path)] == []


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_parameter_has_its_type_and_the_path_names_those_in_it(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    parameters = [resolved(parameter) for parameter in operation["parameters"]]
    for parameter in parameters:
        schema = parameter["schema"]
        assert TYPED & set(schema), parameter["name"]
        if schema.get("type") == "integer":
            assert {"minimum", "maximum"} <= set(schema), parameter["name"]
        assert parameter["description"]
        assert faults(schema, parameter.get("example", schema.get("default", "x"))) == [] or "example" not in parameter
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_a_parameter_that_is_not_described_is_refused(
    api: InProcess, path: str, method: str, operation: dict[str, Any]
) -> None:
    asked = re.sub(r"\{\w+\}", "x", path)
    body: Any = None if method in ("get", "delete") else {}
    reply = api.ask(method.upper(), f"{asked}?nope=1", body)
    assert (reply.status_code, reply.json()["code"]) == (400, "parameter_unknown")


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_no_reply_is_a_default_and_each_names_its_headers(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    assert "default" not in responses
    assert any(status.startswith("2") for status in responses)
    assert {"400", "401", "405", "413", "500", "503"} <= set(responses)
    for status, response in responses.items():
        assert "X-Request-Id" in response["headers"]
        wanted = {"401": "WWW-Authenticate", "405": "Allow", "412": "ETag", "503": "Retry-After"}.get(status)
        assert wanted is None or wanted in response["headers"]
        assert ("content" in response) == (status not in ("204", "304"))


# Errors.


def test_every_code_that_can_be_answered_is_in_the_document() -> None:
    roots: tuple[Any, ...] = (core.DomainError, port.StoreError, Busy)
    kinds = {kind for root in roots for kind in (root, *below(root)) if "code" in vars(kind)} - {core.DomainError}
    codes = {openapi.code_of(kind) for kind in kinds}
    assert set(NEVER) <= codes
    assert set(document()["components"]["examples"]) == codes - set(NEVER)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_code_of_a_reply_has_an_example_that_fits_it(path: str, method: str, operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        media = response.get("content", {}).get("application/problem+json")
        if media is None:
            assert status.startswith("2") or status == "304"
            continue
        codes = media["schema"]["allOf"][1]["properties"]["code"]["enum"]
        assert set(media["examples"]) == set(codes)
        for code, example in media["examples"].items():
            value = resolved(example)["value"]
            assert faults(media["schema"], value) == []
            assert (value["code"], value["status"]) == (code, int(status))


# Bodies.


def test_every_example_fits_its_schema() -> None:
    seen = 0
    for path, node in nodes(document()):
        if isinstance(node, dict) and {"schema", "example"} <= set(node):
            assert faults(node["schema"], node["example"]) == [], path
            seen += 1
    assert seen > 15


@given(st.from_regex(schemas.EMAIL, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_an_email_address_that_the_schema_takes_is_one(text: str) -> None:
    assert len(text) > identifiers.LENGTH_MAX or identifiers.email(text)


@given(st.from_regex(schemas.phone_pattern(), fullmatch=True, alphabet="+0123456789"))
def test_a_phone_number_that_the_schema_takes_is_one(text: str) -> None:
    assert identifiers.phone(text)


@given(st.from_regex(schemas.USERNAME, fullmatch=True, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_username_that_the_schema_takes_is_one(text: str) -> None:
    assert len(text) > 80 or identifiers.username(text)


@given(st.text(max_size=80))
def test_a_username_that_the_schema_refuses_is_none(text: str) -> None:
    if not re.fullmatch(schemas.USERNAME, text):
        with pytest.raises(ValueError, match="username"):
            identifiers.username(text)


@pytest.mark.parametrize(
    ("record", "shape", "kept_back"),
    [
        (records.ApiKey, shapes.ProjectKey, {"token_digest", "verifier"}),
        (records.SignIn, shapes.Session, {"token_digest", "version"}),
    ],
)
def test_a_record_is_shown_whole_but_for_what_is_kept_back(record: Any, shape: Any, kept_back: set[str]) -> None:
    assert set(record.__struct_fields__) - kept_back == set(shape.__struct_fields__)


def test_an_integer_may_be_written_with_a_point(api: InProcess) -> None:
    path = f"/v1/users/{api.user()['id']}/sessions"
    session = api.ask("POST", path, content=b'{"expires_in_seconds": 60.0}').json()
    assert session["expires_at"] - session["created_at"] == 60_000
    assert api.ask("POST", path, content=b'{"expires_in_seconds": 60.5}').status_code == 422


# The test of replies sees what is wrong.


def test_a_reply_that_is_not_as_described_is_noticed() -> None:
    request = httpx.Request("GET", "http://userfold.test/v1/project")
    good = document()["paths"]["/v1/project"]["get"]["responses"]["200"]["content"]["application/json"]["example"]

    def noticed(status: int, value: Any, **headers: str) -> list[str]:
        sent = {"content-type": "application/json", "x-request-id": "r", "etag": '"1"'} | headers
        return broken_promises(request, httpx.Response(status, headers=sent, content=json.dumps(value)))

    assert noticed(200, good) == []
    assert noticed(200, good | {"more": 1})
    assert noticed(200, {name: value for name, value in good.items() if name != "version"})
    assert noticed(200, good | {"created_at": "1"})
    assert noticed(201, good)
    assert noticed(200, good, **{"content-type": "text/plain"})
    assert noticed(200, good, **{"x-request-id": "no id"})
    assert noticed(200, good, etag="1")
    problem = json.loads(errors.error_reply(core.UserNotFound(user_id="x"), "r").body)
    assert noticed(404, problem, **{"content-type": "application/problem+json"})
    unauthorized = resolved({"$ref": "#/components/examples/unauthorized"})["value"]
    sent = {"content-type": "application/problem+json", "www-authenticate": "Bearer"}
    assert noticed(401, unauthorized, **sent) == []
    assert noticed(401, unauthorized | {"code": "user_not_found"}, **sent)
    assert noticed(401, unauthorized, **sent | {"www-authenticate": "Basic"})


def test_what_was_before_a_field_was_added_reads_as_a_whole_user(api: InProcess) -> None:
    user = api.user(name="Ada")
    read = api.store.history

    async def older(*args: Any, **options: Any) -> list[Change]:
        """The history as it was written before there was a timezone."""
        return [
            msgspec.structs.replace(change, operations=tuple(o for o in change.operations if o.path != "/timezone"))
            for change in await read(*args, **options)
        ]

    vars(api.store)["history"] = older
    assert not any(operation["path"] == "/timezone" for operation in api.history(user["id"])[0]["operations"])
    assert api.ask("GET", f"/v1/users/{user['id']}?version=1").json() == user


# The pages.


class Page(HTMLParser):
    """What a page says and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []  # type: ignore[list-item]
        self.links += [str(given[name]) for name in ("href", "src", "action") if name in given]


@pytest.fixture
def page(api: InProcess) -> Page:
    reply = api.ask("GET", "/docs", key="")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert reply.content == pages.page()
    return Page(reply.text)


def test_the_page_has_every_operation_every_schema_and_every_error(page: Page) -> None:
    wanted = {operation["operationId"] for _, _, operation in operations()}
    wanted |= {f"schema-{name}" for name in document()["components"]["schemas"]}
    wanted |= {f"error-{code}" for code in document()["components"]["examples"]}
    assert wanted <= set(page.ids)
    assert sorted(set(page.ids)) == sorted(page.ids)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(page: Page, api: InProcess) -> None:
    assert not {"script", "link", "img", "iframe", "form"} & set(page.tags)
    outside = [link for link in page.links if not link.startswith("#")]
    assert set(outside) == {"/openapi.json"}
    assert not re.search(r"https?://|@import|url\(", api.ask("GET", "/docs", key="").text)


def test_every_link_on_the_page_leads_somewhere(page: Page) -> None:
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)


def test_a_page_takes_no_parameter(api: InProcess) -> None:
    for path in ("/docs", "/openapi.json"):
        assert api.ask("GET", f"{path}?x=1", key="").json()["code"] == "parameter_unknown"
        assert api.ask("POST", path, key="").headers["allow"] == "GET, HEAD"
