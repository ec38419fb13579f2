"""The native API: users are listed, filtered and searched, page by page. Over every store."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.server import InProcess, Keys


def listed(api: InProcess, *, key: str | None = None, **parameters: Any) -> list[str]:
    """The ids on one page."""
    reply = api.ask("GET", f"/v1/users?{urlencode(parameters)}", key=key)
    assert reply.status_code == 200, reply.text
    return [user["id"] for user in reply.json()["data"]]


def walked(api: InProcess, **parameters: Any) -> list[str]:
    """The ids on all pages."""
    ids: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.ask("GET", f"/v1/users?{urlencode(parameters | cursor)}").json()
        assert len(page["data"]) <= int(parameters.get("limit", 100))
        ids += [user["id"] for user in page["data"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}


def test_a_project_without_users_has_one_empty_page(api: InProcess) -> None:
    assert api.ask("GET", "/v1/users").json() == {"data": [], "next_cursor": None}


def test_a_list_shows_users_as_they_are(api: InProcess) -> None:
    users = [api.user(name=name) for name in ("Ada", "Bea")]
    assert sorted(api.ask("GET", "/v1/users").json()["data"], key=lambda user: str(user["name"])) == users


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_hold_every_user_once_in_order(api: InProcess, limit: int) -> None:
    users = [api.user(name=f"n{index}") for index in range(7)]
    api.ask("PATCH", f"/v1/users/{users[2]['id']}", {"name": "later"})
    for order in ("created_at", "updated_at"):
        now = [api.read(user["id"]) for user in users]
        expected = [user["id"] for user in sorted(now, key=lambda user: (user[order], user["id"]))]
        assert walked(api, limit=limit, order_by=order) == expected
        assert walked(api, limit=limit, order_by=f"-{order}") == expected[::-1]
    assert walked(api, limit=limit) == walked(api, limit=limit, order_by="created_at")


def test_a_page_is_full_whatever_is_asked_for_together(api: InProcess) -> None:
    segment = api.ask("POST", "/v1/segments", {"name": "Beta"}).json()["id"]
    users = [api.user(name=f"n{index}", contact_email="home@example.com") for index in range(6)]
    inside = [user["id"] for user in users[1::2]]
    for id_ in inside:
        api.ask("PUT", f"/v1/users/{id_}/segments/{segment}")
    asked = {"email": "home@example.com", "segment": segment, "query": "n"}
    assert listed(api, limit=2, **asked) == sorted(inside)[:2]
    assert sorted(walked(api, limit=2, **asked)) == sorted(inside)
    assert listed(api, username="nobody", **asked) == []


def test_names_are_looked_up_in_their_normal_form(api: InProcess) -> None:
    user = api.user(
        external_id="U-1", username="Ada", email_addresses=["ada@example.com"], contact_email="home@example.com"
    )
    api.user(external_id="u-1", username="bea", email_addresses=["bea@example.com"])
    mine = [user["id"]]
    assert listed(api, external_id="U-1") == mine
    assert listed(api, username="aDA") == mine
    assert listed(api, email="ADA@Example.com") == mine
    assert listed(api, email="home@example.com") == mine
    assert listed(api, external_id="U-2") == listed(api, username="ad") == listed(api, email="x@example.com") == []
    assert listed(api, email="ada@example.com", query="exam") == mine
    assert listed(api, email="ada@example.com", query="nothing") == []


def test_an_address_that_somebody_owns_does_not_find_those_who_only_claim_it(api: InProcess) -> None:
    claims = api.user(contact_email="ada@example.com")
    assert listed(api, email="ada@example.com") == [claims["id"]]
    owns = api.user(email_addresses=["ada@example.com"])
    api.user(contact_email="ada@example.com")
    assert listed(api, email="ada@example.com") == [owns["id"]]
    assert walked(api, email="ada@example.com", limit=1) == [owns["id"]]


def test_what_a_list_is_asked_for_must_all_hold(api: InProcess) -> None:
    ada = api.user(external_id="u-1", username="ada", email_addresses=["ada@example.com"])["id"]
    bea = api.user(external_id="u-2", username="bea", contact_email="bea@example.com")["id"]
    assert listed(api, external_id="u-1", username="ADA", email="ada@example.com") == [ada]
    assert listed(api, external_id="u-2", email="bea@example.com") == [bea]
    assert listed(api, external_id="u-1", username="bea") == []
    assert listed(api, username="bea", email="ada@example.com") == []
    assert listed(api, username="ada", email="ada@example.com", query="bea") == []


def test_those_who_only_claim_an_address_are_found_page_by_page(api: InProcess) -> None:
    claim = [api.user(contact_email="ada@example.com")["id"] for _ in range(5)]
    assert sorted(walked(api, email="ada@example.com", limit=2)) == sorted(claim)


QUERIES = ["lovelace", "VELA", "ada lo", "ad", "+4", "@example", "exa", "u-1", "7946", "straSSE", "é", 'q"uote']


@pytest.mark.parametrize("query", QUERIES)
def test_a_search_finds_parts_of_what_names_a_user(api: InProcess, query: str) -> None:
    user = api.user(
        name="Ada Lovelace",
        first_name="Straße",
        last_name='É q"uote',
        external_id="u-1",
        email_addresses=["ada@example.com"],
        phone_numbers=["+442079460958"],
        traits={"secret": "not looked into"},
    )
    api.user(name="Zzz", traits={"a": query})
    assert listed(api, query=query) == [user["id"]]


@pytest.mark.parametrize(
    "query", ["not looked", "%", "_da", "ada*", '"', "OR", "a OR b", "NEAR(", "a\0b", "abc\0", "\0"]
)
def test_a_search_takes_every_character_as_itself(api: InProcess, query: str) -> None:
    api.user(name="Ada Lovelace", traits={"secret": "not looked into"})
    assert listed(api, query=query) == []


def test_a_search_follows_what_changes(api: InProcess) -> None:
    user = api.user(name="Ada Lovelace", username="ada")
    api.ask("PATCH", f"/v1/users/{user['id']}", {"name": "Augusta King", "username": None})
    assert listed(api, query="lovelace") == listed(api, username="ada") == []
    assert listed(api, query="augusta") == [user["id"]]
    api.ask("DELETE", f"/v1/users/{user['id']}")
    assert listed(api, query="augusta") == listed(api) == []


BAD: list[tuple[dict[str, str], str]] = [
    *(({"cursor": garbage}, "parameter_invalid") for garbage in ("", "!", "A", "ä", "null", "x" * 5000)),
    *(({"cursor": text}, "parameter_invalid") for text in (".", "a.b", "1|user_1", "01.user_1", "9" * 5000 + ".a")),
    *(({"cursor": text}, "parameter_invalid") for text in ("1", "1.", "1.a\0", "1." + "x" * 256, "9" * 19 + ".user_1")),
    ({"cursor": "-1.user_1"}, "parameter_invalid"),
    *(({"limit": value}, "parameter_invalid") for value in ("0", "-1", "501", "x", "", "1.0", "9" * 30)),
    *(({"order_by": value}, "parameter_invalid") for value in ("", "name", "--created_at", "created_at,id")),
    ({"email": "nobody"}, "parameter_invalid"),
    ({"username": "a b"}, "parameter_invalid"),
    ({"external_id": ""}, "parameter_invalid"),
    ({"limit": "01"}, "parameter_invalid"),
    ({"offset": "1"}, "parameter_unknown"),
    ({"Limit": "1"}, "parameter_unknown"),
]
BAD_TEXTS = [
    *(("limit=1&limit=2", "parameter_invalid"), ("query=a&limit=1&query=a", "parameter_invalid")),
    *((f"{name}=%ff", "parameter_invalid") for name in ("external_id", "username", "query", "segment")),
    ("external_id=a%ed%a0%80", "parameter_invalid"),
    ("%ff=1", "parameter_unknown"),
]


@pytest.mark.parametrize(("parameters", "code"), BAD)
def test_bad_parameters_are_refused_by_name(api: InProcess, parameters: dict[str, str], code: str) -> None:
    api.user()
    reply = api.ask("GET", f"/v1/users?{urlencode(parameters)}")
    assert (reply.status_code, reply.json()["code"]) == (400, code)
    assert any(name in reply.json()["detail"] for name in parameters)


@pytest.mark.parametrize(("text", "code"), BAD_TEXTS)
def test_what_two_readers_could_take_differently_is_refused_and_finds_nobody(
    api: InProcess, text: str, code: str
) -> None:
    api.user(external_id="\N{REPLACEMENT CHARACTER}")
    reply = api.ask("GET", f"/v1/users?{text}")
    assert (reply.status_code, reply.json()["code"]) == (400, code)


def test_a_write_that_says_twice_whether_it_is_dry_is_refused(api: InProcess) -> None:
    user = api.user()
    before = api.writes
    for query in ("dry_run=true&dry_run=false", "dry_run=false&dry_run=true"):
        reply = api.ask("PATCH", f"/v1/users/{user['id']}?{query}", {"name": "Ada"})
        assert (reply.status_code, reply.json()["code"]) == (400, "parameter_invalid")
    assert api.writes == before


def test_a_walk_sees_everybody_who_was_there_once_while_others_are_made(api: InProcess) -> None:
    there = {api.user()["id"] for _ in range(20)}

    async def test() -> list[str]:
        headers = {"authorization": f"Bearer {api.keys.secret}"}
        transport = httpx.ASGITransport(api.app)
        seen: list[str] = []
        async with httpx.AsyncClient(transport=transport, base_url="http://userfold.test", headers=headers) as client:

            async def make() -> None:
                for _ in range(20):
                    assert (await client.post("/v1/users", json={})).status_code == 201

            makers = [asyncio.create_task(make()) for _ in range(4)]
            path = "/v1/users?limit=3"
            while True:
                page = (await client.get(path)).json()
                seen += [user["id"] for user in page["data"]]
                if page["next_cursor"] is None:
                    break
                path = f"/v1/users?limit=3&cursor={page['next_cursor']}"
            await asyncio.gather(*makers)
        return seen

    seen = api.wait_for(test())
    assert len(seen) == len(set(seen))
    assert there <= set(seen)
    assert len(walked(api)) == 100


def test_users_of_another_project_are_in_no_list(api: InProcess, other: Keys) -> None:
    user = api.user(name="Ada Lovelace", external_id="u-1", email_addresses=["ada@example.com"])
    for parameters in ({}, {"external_id": "u-1"}, {"email": "ada@example.com"}, {"query": "ada"}, {"query": "ad"}):
        assert listed(api, key=other.secret, **parameters) == []
        assert listed(api, **parameters) == [user["id"]]
