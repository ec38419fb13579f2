"""Lists and counts of users through both SDKs: every filter and every order that they know.

The parameters are written as they are sent, in snake_case, which is what Python's SDK calls them; for JavaScript's they
are made camelCase, and it makes them snake_case again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest
from clerk_backend_api.models import GetUserListRequest, GetUsersCountRequest

from tests.api.clerk.sdk.calls import JavaScriptSdk, PythonSdk, Refused, javascript_sdk, python_sdk
from tests.api.clerk.test_lists import PEOPLE, SECOND
from tests.server import Server

Parameters = dict[str, Any]


class Asked(Protocol):
    """An SDK that is asked for lists and counts."""

    def users(self, parameters: Parameters) -> list[str] | Refused:
        """The ids of who is listed."""

    def count(self, parameters: Parameters) -> int | Refused:
        """How many there are, whatever the page."""


class AskedPython:
    def __init__(self, sdk: PythonSdk) -> None:
        self.sdk = sdk

    def users(self, parameters: Parameters) -> list[str] | Refused:
        found = self.sdk.call("users.list", {"request": parameters})
        return found if isinstance(found, Refused) else [user.id for user in found]

    def count(self, parameters: Parameters) -> int | Refused:
        found = self.sdk.call("users.count", {"request": parameters})
        return found if isinstance(found, Refused) else found.total_count


class AskedJavaScript:
    def __init__(self, sdk: JavaScriptSdk) -> None:
        self.sdk = sdk

    def users(self, parameters: Parameters) -> list[str] | Refused:
        found = self.sdk.call("users.getUserList", [camel_case(parameters)])
        if isinstance(found, Refused):
            return found
        # It asks for the count beside the list, with the same filters.
        assert found["totalCount"] == self.count(parameters)
        return [user["id"] for user in found["data"]]

    def count(self, parameters: Parameters) -> int | Refused:
        filters = {name: value for name, value in parameters.items() if name not in ("limit", "offset", "order_by")}
        found: int | Refused = self.sdk.call("users.getCount", [camel_case(filters)])
        return found


def camel_case(parameters: Parameters) -> Parameters:
    return {re.sub("_([a-z0-9])", lambda at: at[1].upper(), name): value for name, value in parameters.items()}


@pytest.fixture(scope="module", params=["python", "javascript"])
def asked(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Each SDK in turn."""
    if request.param == "python":
        with python_sdk(server.url, server.secret_key) as python:
            yield AskedPython(python)
    else:
        with javascript_sdk(server.url, server.secret_key, tmp_path_factory.mktemp("driver")) as javascript:
            yield AskedJavaScript(javascript)


@pytest.fixture(scope="module")
def ids(client: httpx.Client) -> list[str]:
    """The users of `PEOPLE`, and nobody else."""
    made = [client.post("/clerk/v1/users", json=person).json()["id"] for person in PEOPLE]
    # The order in which they were changed last is another one than that in which they were made.
    for id_ in (made[1], made[0], made[2]):
        before = client.get(f"/clerk/v1/users/{id_}").json()["updated_at"]
        while client.patch(f"/clerk/v1/users/{id_}", json={"locale": "en"}).json()["updated_at"] == before:
            client.patch(f"/clerk/v1/users/{id_}", json={"locale": "de"})
    # The first one signs in, and then the third.
    first = sign_in(client, made[0])
    while sign_in(client, made[2]) == first:
        pass
    return made


def sign_in(client: httpx.Client, user_id: str) -> int:
    """When it was."""
    session = client.post("/clerk/v1/sessions", json={"user_id": user_id}).json()
    return int(session["created_at"])


@pytest.fixture(scope="module")
def signed_in(client: httpx.Client, ids: list[str]) -> list[int]:
    """When the users of `PEOPLE` signed in last; those who never did, at the beginning of time."""
    return [client.get(f"/clerk/v1/users/{id_}").json()["last_sign_in_at"] or 0 for id_ in ids]


@dataclass(frozen=True)
class SignedIn:
    """The time of a user's last sign-in, with so many milliseconds more."""

    place: int
    plus_ms: int = 0


def named(value: Any, ids: list[str], signed_in: list[int]) -> Any:
    """`value` with `{0}`, `{1}` and `{2}` replaced by the ids of the users, and times by what they are."""
    if isinstance(value, SignedIn):
        return signed_in[value.place] + value.plus_ms
    if isinstance(value, str):
        return re.sub(r"\{(\d)\}", lambda at: ids[int(at[1])], value)
    if isinstance(value, list):
        return [named(item, ids, signed_in) for item in value]
    return {name: named(item, ids, signed_in) for name, item in value.items()} if isinstance(value, dict) else value


# Filters → who is found, as digits: `02` are the first and the third. The newest comes first.
FILTERS: list[tuple[Parameters, str]] = [
    ({}, "210"),
    ({"email_address": ["ADA@engine.example"]}, "0"),
    ({"email_address": ["a.l@notes.example", "alan@bletchley.example", "nobody@engine.example"]}, "20"),
    ({"phone_number": ["+442079460958"]}, "0"),
    ({"username": ["COUNTESS", "nobody"]}, "0"),
    ({"web3_wallet": ["0x1"]}, ""),
    ({"user_id": ["{0}", "+{1}"]}, "10"),
    ({"user_id": ["-{0}"]}, "21"),
    ({"user_id": ["+{0}", "-{0}"]}, ""),
    ({"external_id": ["ext-1", "+ext-2"]}, "10"),
    ({"external_id": ["-ext-1"]}, "21"),
    ({"organization_id": ["org_1"]}, ""),
    ({"organization_id": ["-org_1"]}, "210"),
    ({"query": "LOVE"}, "0"),
    ({"query": "{1}"}, "1"),
    ({"query": "bletchley"}, "2"),
    ({"query": "4420794"}, "0"),
    ({"email_address_query": "NOTES"}, "0"),
    ({"phone_number_query": "6007"}, "2"),
    ({"phone_number_query": "+48600"}, "2"),
    ({"email_address_query": "lovelace"}, ""),
    ({"phone_number_query": "engine"}, ""),
    ({"username_query": "unt"}, "0"),
    ({"username_query": "ada"}, ""),
    ({"name_query": "ala"}, "2"),
    ({"name_query": "bletchley"}, ""),
    ({"banned": True}, "1"),
    ({"created_at_after": SECOND}, "2"),
    ({"created_at_before": SECOND}, "0"),
    ({"created_at_after": SECOND - 1, "created_at_before": SECOND + 1}, "1"),
    ({"last_sign_in_at_after": SignedIn(0)}, "2"),
    ({"last_sign_in_at_before": SignedIn(2)}, "0"),
    ({"last_sign_in_at_after": SignedIn(0, -1), "last_sign_in_at_before": SignedIn(2, 1)}, "20"),
    ({"last_active_at_after": SignedIn(0)}, "2"),
    ({"last_active_at_before": SignedIn(2)}, "0"),
    ({"last_active_at_since": SignedIn(0)}, "2"),
    ({"provider": "oauth_google", "provider_user_id": ["1"]}, ""),
    ({"query": "a", "user_id": ["-{2}"], "banned": True}, ""),
    ({"email_address_query": "example", "user_id": ["-{2}"]}, "0"),
]


@pytest.mark.parametrize(("parameters", "who"), FILTERS, ids=lambda value: str(value)[:60])
def test_a_filter_finds_exactly_those_whom_it_is_about_and_they_are_counted(
    asked: Asked, ids: list[str], signed_in: list[int], parameters: Parameters, who: str
) -> None:
    parameters = named(parameters, ids, signed_in)
    assert asked.users(parameters) == [ids[int(place)] for place in who]
    assert asked.count(parameters) == len(who)


# Who lacks what they are ordered by comes first.
ORDERS = {
    "created_at": "012",
    "updated_at": "102",
    "email_address": "102",
    "phone_number": "102",
    "username": "120",
    "first_name": "021",
    "last_name": "102",
    "web3wallet": "012",
    "last_active_at": "102",
    "last_sign_in_at": "102",
}


@pytest.mark.parametrize("sign", ["", "+", "-"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_goes_up_unless_it_has_a_minus(asked: Asked, ids: list[str], order: str, sign: str) -> None:
    found = asked.users({"order_by": sign + order})
    assert isinstance(found, list)
    who = "".join(str(ids.index(id_)) for id_ in found)
    assert who == (ORDERS[order][::-1] if sign == "-" else ORDERS[order])


@pytest.mark.parametrize(
    ("page", "who"),
    [
        ({"limit": 2}, "21"),
        ({"limit": 2, "offset": 2}, "0"),
        ({"limit": 500, "offset": 3}, ""),
        ({"limit": 1, "offset": 1, "order_by": "+first_name"}, "2"),
    ],
    ids=str,
)
def test_a_page_is_a_part_of_the_list(asked: Asked, ids: list[str], page: Parameters, who: str) -> None:
    assert asked.users(page) == [ids[int(place)] for place in who]


HUNDRED_AND_ONE = [f"user_{number}" for number in range(101)]


@pytest.mark.parametrize(
    ("parameters", "code", "name"),
    [
        ({"limit": 501}, "form_param_value_invalid", "limit"),
        ({"order_by": "age"}, "form_param_value_invalid", "order_by"),
        ({"provider": "oauth_google"}, "form_conditional_param_missing", "provider_user_id"),
        ({"user_id": HUNDRED_AND_ONE}, "form_param_array_size_exceeded", "user_id"),
        ({"email_address": HUNDRED_AND_ONE}, "form_param_array_size_exceeded", "email_address"),
        ({"external_id": HUNDRED_AND_ONE}, "form_param_array_size_exceeded", "external_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_list_that_cannot_be_answered_is_refused(asked: Asked, parameters: Parameters, code: str, name: str) -> None:
    refused = asked.users(parameters)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code, refused.param_name) == (422, code, name)


# What only one of the two can ask for.


def test_python_sends_what_is_false(server: Server, ids: list[str]) -> None:
    with python_sdk(server.url, server.secret_key) as sdk:
        asked = AskedPython(sdk)
        assert asked.users({"banned": False}) == [ids[2], ids[0]]
        assert asked.count({"banned": False}) == 2


def test_javascript_passes_a_cursor_on_and_its_count_is_of_all(
    server: Server, ids: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with javascript_sdk(server.url, server.secret_key, tmp_path_factory.mktemp("driver")) as sdk:
        page = sdk.call("users.getUserList", [{"startingAfter": ids[2], "limit": 1}])
        assert ([user["id"] for user in page["data"]], page["totalCount"]) == ([ids[1]], 3)
        up = sdk.call("users.getUserList", [{"startingAfter": ids[0], "orderBy": "+created_at"}])
        assert [user["id"] for user in up["data"]] == ids[1:]
        refused = sdk.call("users.getUserList", [{"startingAfter": ids[2], "offset": 1}])
        assert refused == Refused(422, "form_conditional_param_disallowed", "starting_after")


def test_every_filter_of_the_python_sdk_is_asked_for() -> None:
    filters = {name for parameters, _ in FILTERS for name in parameters}
    assert filters == set(GetUsersCountRequest.model_fields)
    assert filters | {"limit", "offset", "order_by"} == set(GetUserListRequest.model_fields)
