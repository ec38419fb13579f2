"""Lists and counts of users, as Clerk's SDKs ask for them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.server import InProcess

PEOPLE: list[dict[str, Any]] = [
    {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "username": "Countess",
        "email_address": ["ada@engine.example", "a.l@notes.example"],
        "phone_number": ["+442079460958"],
        "external_id": "ext-1",
        "created_at": "2024-01-01T00:00:00Z",
    },
    {"first_name": "Grace", "external_id": "ext-2", "banned": True, "created_at": "2024-01-02T00:00:00Z"},
    {
        "first_name": "alan",
        "last_name": "Turing",
        "email_address": ["alan@bletchley.example"],
        "phone_number": ["+48600700800"],
        "created_at": "2024-01-03T00:00:00Z",
    },
]
SECOND = 1704153600000  # when Grace was made


@pytest.fixture
def ids(api: InProcess) -> list[str]:
    """The users of `PEOPLE`."""
    return [api.ask("POST", "/clerk/v1/users", person).json()["id"] for person in PEOPLE]


def found(api: InProcess, query: str, ids: list[str]) -> str:
    """Who is listed, as digits: `02` are the first and the third, in this order. They are counted too."""
    for place, id_ in enumerate(ids):
        query = query.replace("{" + str(place) + "}", id_)
    reply = api.ask("GET", f"/clerk/v1/users?{query}")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return "".join(str(ids.index(user["id"])) for user in reply.json())


# Query → who is found. The order is the newest first, unless the query says another.
FOUND = [
    ("", "210"),
    ("email_address=ADA%40engine.example", "0"),
    ("email_address=a.l%40notes.example&email_address=alan%40bletchley.example", "20"),
    ("email_address=nobody%40engine.example", ""),
    ("email_address=not+an+address", ""),
    ("phone_number=%2B442079460958", "0"),
    ("phone_number=+442079460958", "0"),
    ("username=countess", "0"),
    ("web3_wallet=0x1", ""),
    ("user_id={0}&user_id=%2B{1}", "10"),
    ("user_id=+{0}", "0"),
    ("user_id=-{0}", "21"),
    ("user_id={0}&user_id=-{0}", ""),
    ("external_id=ext-1&external_id=EXT-2", "0"),
    ("external_id=-ext-1", "21"),
    ("organization_id=org_1", ""),
    ("organization_id=-org_1", "210"),
    ("provider=oauth_google&provider_user_id=1", ""),
    ("query=LOVE", "0"),
    ("query=", "210"),
    ("query={1}", "1"),
    ("email_address_query=NOTES", "0"),
    ("email_address_query=lovelace", ""),
    ("phone_number_query=6007", "2"),
    ("phone_number_query=engine", ""),
    ("username_query=unt", "0"),
    ("username_query=ada", ""),
    ("name_query=ala", "2"),
    ("name_query=bletchley", ""),
    ("name_query=", "210"),
    ("banned=true", "1"),
    ("banned=false", "20"),
    (f"created_at_after={SECOND}", "2"),
    (f"created_at_before={SECOND}", "0"),
    (f"created_at_after={SECOND - 1}&created_at_before={SECOND + 1}", "1"),
    ("banned=false&query=ala", "2"),
    ("query=engine&name_query=ala", ""),
    ("__clerk_api_version=2026-05-12", "210"),
]


@pytest.mark.parametrize(("query", "who"), FOUND)
def test_a_filter_finds_exactly_those_whom_it_is_about_and_they_are_counted(
    api: InProcess, ids: list[str], query: str, who: str
) -> None:
    assert found(api, query, ids) == who
    for place, id_ in enumerate(ids):
        query = query.replace("{" + str(place) + "}", id_)
    reply = api.ask("GET", f"/clerk/v1/users/count?{query}")
    assert reply.json() == {"object": "total_count", "total_count": len(who)}


ORDERED = [
    ("order_by=created_at", "012"),
    ("order_by=%2Bcreated_at", "012"),
    ("order_by=+created_at", "012"),
    ("order_by=-created_at", "210"),
    ("order_by=first_name", "021"),
    ("order_by=-first_name", "120"),
    ("order_by=last_name", "102"),
    ("order_by=email_address", "102"),
    ("order_by=-phone_number", "201"),
    ("order_by=-username&limit=1", "0"),
    ("order_by=web3wallet", "012"),
    ("order_by=-created_at&order_by=created_at", "210"),
    ("limit=2", "21"),
    ("limit=500", "210"),
    ("limit=2&offset=2", "0"),
    ("offset=3", ""),
    ("order_by=first_name&limit=1&offset=1", "2"),
    ("starting_after={2}", "10"),
    ("starting_after={1}&limit=1", "0"),
    ("starting_after={0}", ""),
    ("starting_after={0}&order_by=created_at&offset=0", "12"),
]


@pytest.mark.parametrize(("query", "who"), ORDERED)
def test_a_page_has_the_order_and_the_place_that_were_asked_for(
    api: InProcess, ids: list[str], query: str, who: str
) -> None:
    assert found(api, query, ids) == who


def test_users_are_ordered_by_their_last_change(api: InProcess, ids: list[str]) -> None:
    def times(query: str) -> list[tuple[int, str]]:
        return [(user["updated_at"], user["id"]) for user in api.ask("GET", f"/clerk/v1/users?{query}").json()]

    api.ask("PATCH", f"/clerk/v1/users/{ids[0]}", {"last_name": "King"})
    assert len(times("order_by=updated_at")) == 3
    assert times("order_by=updated_at") == sorted(times("")) == times("order_by=-updated_at")[::-1]


MANY = "&".join(f"user_id=user_{number}" for number in range(101))
REFUSED = [
    ("limit=501", "form_param_value_invalid", "limit"),
    ("limit=0", "form_param_value_invalid", "limit"),
    ("limit=ten", "form_param_value_invalid", "limit"),
    ("offset=-1", "form_param_value_invalid", "offset"),
    ("order_by=age", "form_param_value_invalid", "order_by"),
    ("order_by=--created_at", "form_param_value_invalid", "order_by"),
    ("banned=yes", "form_param_value_invalid", "banned"),
    ("created_at_after=2024-01-01", "form_param_invalid_date", "created_at_after"),
    ("last_active_at_after=now", "form_param_invalid_date", "last_active_at_after"),
    ("last_active_at_since=-1", "form_param_invalid_date", "last_active_at_since"),
    ("last_sign_in_at_before=", "form_param_invalid_date", "last_sign_in_at_before"),
    ("provider=oauth_google", "form_conditional_param_missing", "provider_user_id"),
    ("provider_user_id=1", "form_conditional_param_missing", "provider"),
    (MANY, "form_param_array_size_exceeded", "user_id"),
    ("starting_after=user_x", "form_param_value_invalid", "starting_after"),
    ("starting_after={0}&order_by=first_name", "form_conditional_param_disallowed", "starting_after"),
    ("starting_after={0}&order_by=updated_at", "form_conditional_param_disallowed", "starting_after"),
    ("starting_after={0}&offset=1", "form_conditional_param_disallowed", "starting_after"),
]


@pytest.mark.parametrize(("query", "code", "name"), REFUSED, ids=lambda value: value[:40])
def test_a_list_that_cannot_be_answered_is_refused_by_its_parameter(
    api: InProcess, ids: list[str], query: str, code: str, name: str
) -> None:
    reply = api.ask("GET", f"/clerk/v1/users?{query.replace('{0}', ids[0])}")
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"], error["meta"]) == (422, code, {"param_name": name})


def test_a_filter_that_is_spelt_wrong_is_refused_but_a_count_passes_over_it(api: InProcess, ids: list[str]) -> None:
    reply = api.ask("GET", "/clerk/v1/users?user_id[0]=" + ids[0])
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["code"]) == (400, "malformed_request_parameters")
    assert error["meta"] == {"param_name": "user_id[0]"}
    # What JavaScript's SDK sends to its count beside such a list, and beside one with a cursor.
    for query in ("public_metadata_filter=x", f"starting_after={ids[0]}", "limit=501"):
        assert api.ask("GET", f"/clerk/v1/users/count?{query}").json()["total_count"] == 3


def test_ten_users_are_listed_unless_another_number_is_asked_for(api: InProcess) -> None:
    for number in range(12):
        api.user(external_id=f"ext-{number}")
    assert len(api.ask("GET", "/clerk/v1/users").json()) == 10
    assert len(api.ask("GET", "/clerk/v1/users?limit=11").json()) == 11


def test_a_primary_address_that_changes_changes_the_order(api: InProcess, ids: list[str]) -> None:
    assert found(api, "order_by=-email_address", ids) == "201"
    addresses = [{"email_address": "ada@engine.example"}, {"email_address": "zoe@notes.example", "primary": True}]
    api.ask("PATCH", f"/v1/users/{ids[0]}", {"email_addresses": addresses})
    assert found(api, "order_by=-email_address", ids) == "021"


def test_a_text_may_be_any(api: InProcess, ids: list[str]) -> None:
    for text in ("%", '"', "'; --", "\0", "x\0y", "a*", "𝒵𝒵𝒵", "\ud7ff"):
        for name in ("query", "name_query", "email_address_query"):
            assert found(api, f"{name}={quote(text)}", ids) in ("", "20")
