"""Every refusal has a row in every API's error table, a code of its own, and an answer that a caller can use."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from userfold.api import bodies, wire
from userfold.api.clerk import errors as clerk
from userfold.api.native import errors as native
from userfold.core import errors as core
from userfold.engine import Busy
from userfold.storage import port

# Classes that stand for all below them, on purpose: the status says all that a caller needs, and the code is their own.
FAMILIES = {core.InputError, core.NotFound, Busy, port.StoreError}


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


ROOTS: tuple[type[Exception], ...] = (core.DomainError, port.StoreError, Busy)
# A class without a code of its own only groups others; it is never raised.
REFUSALS = sorted(
    {kind for root in ROOTS for kind in (root, *below(root)) if "code" in vars(kind) and kind is not core.DomainError},
    key=lambda kind: kind.__name__,
)
# Not raised once the server answers.
ANSWERED = [kind for kind in REFUSALS if kind is not port.SchemaTooNew]
# Of a query, the parameter is what the refusal names; of a body, it is in the path.
PARAM_NAMES: dict[type[Exception], str] = {wire.ParameterUnknown: "7", wire.ParameterInvalid: "7"}
TABLES: dict[str, Mapping[type[Exception], Any]] = {"native": native.STATUS, "clerk": clerk.TABLE}


def example(kind: type[Exception]) -> wire.Refusal:
    """A refusal of that kind, whose message has something in all its places."""
    if issubclass(kind, core.DomainError):
        names = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}
        return kind(**(dict.fromkeys(names, 7) | {"current": 7, "allowed": "GET", "path": "/traits/plan"}))
    refusal = kind("the text for the log")
    assert isinstance(refusal, port.StoreError | Busy)
    return refusal


def test_there_are_refusals_to_look_at() -> None:
    assert {core.UserNotFound, bodies.BodyTooLarge, port.StoreFull, Busy} <= set(REFUSALS)
    assert len(REFUSALS) > 30


@pytest.mark.parametrize("api", TABLES)
@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_a_refusal_has_a_row_of_its_own_or_that_of_its_family(kind: type[Exception], api: str) -> None:
    row = next((base for base in kind.__mro__ if base in TABLES[api]), None)
    assert row is not None, f"{kind.__name__} falls to the bare {core.DomainError.__name__}"
    # A special case of a refusal that has a row is answered as that one.
    assert row is kind or row in FAMILIES or row in REFUSALS


@pytest.mark.parametrize("api", TABLES)
def test_an_error_table_has_rows_for_refusals_only(api: str) -> None:
    # A special case of a refusal may have a row of its own, without a code of its own.
    assert not [row for row in TABLES[api] if not {*REFUSALS, *FAMILIES} & set(row.__mro__)]
    assert not {core.DomainError, wire.WireRefusal, Exception} & set(TABLES[api])


def test_every_code_means_one_thing() -> None:
    codes = [kind.code for kind in REFUSALS if issubclass(kind, core.DomainError | port.StoreError | Busy)]
    assert len(codes) == len(REFUSALS)
    assert sorted(codes) == sorted(set(codes))
    assert core.DomainError.code not in codes


@pytest.mark.parametrize("kind", ANSWERED, ids=lambda kind: kind.__name__)
def test_a_problem_says_what_is_wrong_and_by_which_code(kind: type[Exception]) -> None:
    refusal = example(kind)
    reply = native.error_reply(refusal, "req_1")
    problem = json.loads(reply.body)
    assert dict(reply.headers)[b"content-type"] == b"application/problem+json"
    assert problem["status"] == reply.status
    assert problem["code"] == refusal.code
    assert problem["type"] == f"urn:userfold:problem:{refusal.code}"
    assert problem["request_id"] == "req_1"
    assert problem["title"]
    assert problem["detail"]
    assert "{" not in problem["detail"]
    assert "the text for the log" not in problem["detail"]
    if isinstance(refusal, core.DomainError):
        assert problem["path"] == "/traits/plan"
        assert problem.get("hint", "") == refusal.hint


@pytest.mark.parametrize("kind", ANSWERED, ids=lambda kind: kind.__name__)
def test_an_error_of_clerk_has_what_both_sdks_read(kind: type[Exception]) -> None:
    reply = clerk.error_reply(example(kind), "req_1")
    assert dict(reply.headers)[b"content-type"] == b"application/json"
    body = json.loads(reply.body)
    assert set(body) == {"errors", "clerk_trace_id"}
    assert body["clerk_trace_id"] == "req_1"
    (error,) = body["errors"]
    assert set(error) == {"code", "message", "long_message", "meta"}
    assert error["code"]
    assert error["message"]
    assert error["long_message"]
    assert "{" not in error["long_message"]
    assert "the text for the log" not in error["long_message"]
    assert error["meta"] == (
        {"param_name": PARAM_NAMES.get(kind, "traits")} if issubclass(kind, core.DomainError) else {}
    )


# Python's SDK repeats every 5xx for up to an hour, POST included: only what may go better next time is one.
@pytest.mark.parametrize("kind", ANSWERED, ids=lambda kind: kind.__name__)
def test_only_trouble_of_the_server_is_a_5xx(kind: type[Exception]) -> None:
    ours = issubclass(kind, port.StoreError | Busy | core.CommandBroken | wire.NotBuilt)
    for error_reply in (native.error_reply, clerk.error_reply):
        assert (error_reply(example(kind), "req_1").status >= 500) == ours


@pytest.mark.parametrize("kind", ANSWERED, ids=lambda kind: kind.__name__)
def test_what_asks_to_come_back_says_when(kind: type[Exception]) -> None:
    for error_reply in (native.error_reply, clerk.error_reply):
        reply = error_reply(example(kind), "req_1")
        assert (b"retry-after" in dict(reply.headers)) == (reply.status in (429, 503))


@pytest.mark.parametrize(
    ("path", "param_name"),
    [
        ("/email_addresses/0/email_address", "email_address"),
        ("/phone_numbers", "phone_number"),
        ("/disabled", "banned"),
        ("/public_metadata/a", "public_metadata"),
        ("/", ""),
    ],
)
def test_clerks_clients_are_told_the_parameter_that_they_sent(path: str, param_name: str) -> None:
    reply = clerk.error_reply(core.FieldInvalid(path=path, reason="it is so"), "req_1")
    assert json.loads(reply.body)["errors"][0]["meta"] == {"param_name": param_name}
