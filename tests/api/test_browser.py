"""What only a caller with a publishable key meets: its trust, the refusals that the rules have for browsers, and that
keys of the other kind do not open what is not for them. Over every store."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.browser import Browser
from tests.server import Keys
from userfold.core.errors import SessionClosed


def refusal(reply: httpx.Response) -> tuple[int, str]:
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.status_code, reply.json()["code"]


# Keys.


def test_an_api_for_browsers_takes_no_secret_key_and_says_which_it_wants(browser: Browser, other: Keys) -> None:
    answers = []
    for key in (browser.api.keys.secret, other.secret, "", "key_wrong"):
        reply = browser.ask("POST", "/sessions", key=key)
        answers.append((refusal(reply), reply.json()["detail"], reply.headers["www-authenticate"]))
    assert answers == [answers[0]] * 4
    assert answers[0] == (
        (401, "unauthorized"),
        "A valid publishable key is needed: Authorization: Bearer key_…",
        "Bearer",
    )


def test_a_publishable_key_opens_its_own_project_only(browser: Browser, other: Keys) -> None:
    user = browser.api.user(external_id="u-1")
    assert browser.ask("GET", f"/users/{user['id']}").status_code == 200
    assert browser.ask("GET", f"/users/{user['id']}", key=other.publishable).status_code == 404
    session = browser.session()
    reply = browser.ask("PUT", f"/users/by-external-id/u-1?session={session}", {}, key=other.publishable)
    assert refusal(reply) == (409, "session_closed")


# What a browser writes.


def test_the_history_says_that_it_was_a_browser_and_by_which_key_and_request(browser: Browser) -> None:
    user = browser.identify("u-1", traits={"plan": "pro"}).json()["user"]
    (change,) = browser.api.history(user["id"])
    keys = {key["id"]: key for key in browser.api.ask("GET", "/v1/project/keys").json()["data"]}
    assert (change["trust"], change["source"]) == ("browser", "client")
    assert keys[change["actor"]]["kind"] == "publishable"


def test_what_a_browser_may_not_write_is_left_and_named(browser: Browser) -> None:
    reply = browser.identify("u-1", name="Ada", private_metadata={"a": 1}, disabled=True)
    assert reply.status_code == 201
    assert reply.json()["user"]["name"] == "Ada"
    assert reply.json()["user"]["private_metadata"] == {}
    assert reply.json()["ignored"] == {"/private_metadata": "not_permitted", "/disabled": "not_permitted"}


def test_a_name_that_a_backend_owns_is_not_a_browsers_to_change(browser: Browser) -> None:
    browser.api.ask("PUT", "/v1/users/by-external-id/u-1", {"name": "Ada"})
    reply = browser.identify("u-1", name="Eve", traits={"a": 1})
    assert (reply.status_code, reply.json()["ignored"]) == (200, {"/name": "owned_by_backend"})
    assert (reply.json()["user"]["name"], reply.json()["user"]["traits"]) == ("Ada", {"a": 1})


def test_a_session_stays_with_the_user_whom_it_named_first(browser: Browser) -> None:
    session = browser.session()
    first = browser.identify("u-1", session=session, name="Ada").json()["user"]
    reply = browser.identify("u-2", session=session, name="Eve", traits={"a": 1})
    assert (reply.json()["user"]["name"], reply.json()["user"]["traits"]) == (None, {"a": 1})
    assert browser.identify("u-1", session=session, name="Ada L.").json()["user"]["id"] == first["id"]


# What a browser is refused.


def assert_nothing_is_written(browser: Browser, wanted: tuple[int, str], *calls: dict[str, Any]) -> None:
    before = browser.api.writes
    for call in calls:
        assert refusal(browser.identify(**call)) == wanted
    assert browser.api.writes == before


def test_a_user_that_was_deleted_cannot_be_made_again_by_a_browser_but_by_a_backend(browser: Browser) -> None:
    user = browser.api.user(external_id="u-1")
    browser.api.ask("DELETE", f"/v1/users/{user['id']}")
    assert_nothing_is_written(
        browser, (409, "user_deleted"), {"external_id": "u-1", "name": "Ada"}, {"external_id": user["id"]}
    )
    assert browser.api.ask("PUT", "/v1/users/by-external-id/u-1", {}).status_code == 201
    assert browser.identify("u-1").status_code == 200


def test_a_disabled_user_cannot_be_written_by_a_browser(browser: Browser) -> None:
    user = browser.api.user(external_id="u-1", disabled=True)
    assert_nothing_is_written(browser, (403, "user_disabled"), {"external_id": "u-1", "traits": {"a": 1}})
    browser.api.ask("PATCH", f"/v1/users/{user['id']}", {"disabled": False})
    assert browser.identify("u-1", traits={"a": 1}).status_code == 200


def test_an_external_id_that_a_backend_set_cannot_be_changed_by_a_browser(browser: Browser) -> None:
    user = browser.api.user(external_id="u-1")
    before = browser.api.writes
    reply = browser.ask("PATCH", f"/users/{user['id']}", {"external_id": "u-2"})
    assert (refusal(reply), reply.json()["path"]) == ((409, "user_id_protected"), "/external_id")
    assert browser.api.writes == before
    claimed = browser.identify("u-3").json()["user"]
    assert browser.ask("PATCH", f"/users/{claimed['id']}", {"external_id": "u-4"}).status_code == 200


def test_a_session_that_is_unknown_or_whose_user_is_deleted_is_closed(browser: Browser) -> None:
    session = browser.session()
    user = browser.identify("u-1", session=session).json()["user"]
    browser.api.ask("DELETE", f"/v1/users/{user['id']}")
    wanted = (409, SessionClosed.code)
    assert_nothing_is_written(
        browser, wanted, {"external_id": "u-2", "session": session}, {"external_id": "u-2", "session": "ses_unknown"}
    )
