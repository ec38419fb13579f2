"""Sessions and updates: what the SDK is told, what is stored, what is refused, and what only the log learns."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from tests.api.milana.page import ORIGIN, Page, page_of
from tests.conftest import in_order
from tests.server import InProcess, Keys

FAILED = {"success": False, "shouldRestartSession": False}
BAD_REQUEST = FAILED | {"errorCode": "BAD_REQUEST"}
REFUSED = FAILED | {"errorCode": "UPDATE_REFUSED"}
CLOSED = {"success": False, "shouldRestartSession": True, "errorCode": "SESSION_CLOSED"}


def setting(page: Page, **settings: Any) -> None:
    """Change the project's settings, as its backend would."""
    reply = page.api.ask("PATCH", "/v1/project", {"settings": settings})
    assert reply.status_code == 200, reply.text


def backend(page: Page, external_id: str, **fields: Any) -> str:
    """The id of a user whom the app's backend has made."""
    reply = page.api.ask("POST", "/v1/users", {"external_id": external_id, **fields})
    assert reply.status_code == 201, reply.text
    user_id: str = reply.json()["id"]
    return user_id


def test_the_same_identify_on_every_page_makes_one_version(page: Page) -> None:
    page.init()
    user = {"userId": "u-1", "email": "Ada@Example.com", "name": "Ada", "metadata": {"plan": "free", "n": [1, None]}}
    assert page.update(user) == {"success": True, "sampled": True, "sessionId": page.session_id}
    before = page.api.writes
    for _ in range(3):
        assert page.init()["sessionId"] == page.session_id
        assert page.update(user)["success"]
    assert (page.api.writes, page.user("u-1")["version"]) == (before, 1)
    (change,) = page.api.history(page.user("u-1")["id"])
    assert (change["source"], change["actor"], change["trust"]) == ("milana", page.session_id, "browser")


@pytest.mark.parametrize("nothing", [{}, {"email": None, "name": None}, {"email": "", "name": ""}, {"metadata": None}])
def test_what_is_not_given_takes_nothing_away(page: Page, nothing: dict[str, Any]) -> None:
    page.init()
    page.update({"userId": "u-1", "email": "ada@example.com", "name": "Ada", "metadata": {"a": 1}})
    assert page.update({"userId": "u-1", **nothing})["success"]
    user = page.user("u-1")
    assert (user["contact_email"], user["name"], user["traits"], user["version"]) == (
        "ada@example.com",
        "Ada",
        {"a": 1},
        1,
    )


def test_another_user_id_never_moves_the_session_and_writes_only_metadata(page: Page) -> None:
    page.init()
    page.update({"userId": "u-1", "name": "Ada"})
    page.update({"userId": "u-2", "name": "Bob"}, {"metadata": {"f": 1}})
    assert page.update({"userId": "u-2", "email": "b@x.org", "metadata": {"x": 1}})["success"]
    user = page.user("u-2")
    assert (user["name"], user["contact_email"], user["traits"]) == (None, None, {"x": 1})
    assert (page.session()["user_id"], page.session()["metadata"]) == (page.user("u-1")["id"], {"f": 1})


def test_a_user_id_that_is_a_users_own_id_names_that_user(page: Page) -> None:
    user_id = page.api.user()["id"]
    page.init()
    assert page.update({"userId": user_id, "metadata": {"x": 1}})["success"]
    assert page.api.read(user_id)["traits"] == {"x": 1}
    assert page.session()["user_id"] == user_id


DEEP: Any = 1
for _ in range(32):
    DEEP = [DEEP]

# What is sent to /update.
BAD: list[tuple[str, Any]] = [
    ("nothing", {}),
    ("no userId", {"user": {}}),
    ("an empty userId", {"user": {"userId": ""}}),
    ("a number as userId", {"user": {"userId": 7}}),
    ("a userId that is too long", {"user": {"userId": "x" * 256}}),
    ("U+0000", {"user": {"userId": "a\0"}}),
    ("a user that is none", {"user": "u-1"}),
    ("null as user", {"user": None}),
    ("an email that is no text", {"user": {"userId": "u-1", "email": 7}}),
    ("a name that is no text", {"user": {"userId": "u-1", "name": ["Ada"]}}),
    ("a name that is too long", {"user": {"userId": "u-1", "name": "x" * 256}}),
    ("a list as metadata", {"user": {"userId": "u-1", "metadata": [1]}}),
    ("a text as metadata", {"user": {"userId": "u-1", "metadata": "x"}}),
    ("metadata that is too large", {"user": {"userId": "u-1", "metadata": {"a": "x" * 65_536}}}),
    ("metadata that is too deep", {"user": {"userId": "u-1", "metadata": {"a": DEEP}}}),
    ("a session that is none", {"user": {"userId": "u-1"}, "session": []}),
    ("null as session", {"session": None}),
    ("a list as metadata of the session", {"user": {"userId": "u-1"}, "session": {"metadata": []}}),
    ("a number as appSessionId", {"user": {"userId": "u-1"}, "session": {"appSessionId": 7}}),
    ("a list as integrations", {"user": {"userId": "u-1"}, "session": {"integrations": []}}),
    ("a list", [{"user": {"userId": "u-1"}}]),
]


@pytest.mark.parametrize("body", [body for _, body in BAD], ids=[name for name, _ in BAD])
def test_bad_input_is_refused_and_nothing_is_stored(page: Page, body: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    page.init()
    before = page.api.writes
    reply = page.ask("/update", body)
    assert (reply.status_code, reply.json()) == (400, BAD_REQUEST)
    assert "refused (" in caplog.text, "only the log says why"
    assert (page.api.writes, page.users("u-1")) == (before, [])


NO_JSON = [
    b"",
    b"{",
    b'{"user": {"userId": "u-1", "metadata": {"a": NaN}}}',
    b'{"user": {"userId": "u-1", "userId": "u-2"}}',
    b'{"user": {"userId": "\\ud800"}}',
    b'{"user": {"userId": "u-1", "metadata": {"a": 1e400}}}',
    b" " * (1 << 20) + b"{}",
]


@pytest.mark.parametrize("path", ["/session", "/update"])
@pytest.mark.parametrize("content", NO_JSON, ids=range(len(NO_JSON)))
def test_what_is_no_strict_json_is_refused_in_the_same_shape(page: Page, path: str, content: bytes) -> None:
    page.init()
    before = page.api.writes
    reply = page.ask(path, content=content)
    assert (reply.status_code, reply.json(), page.api.writes) == (400, BAD_REQUEST, before)


@pytest.mark.parametrize(
    "body",
    [{"metadata": []}, {"appSessionId": 7}, {"environment": []}, {"version": 9}, {"metadata": {"a": "x" * 65_536}}, []],
    ids=in_order,
)
def test_a_session_is_not_begun_with_bad_input(page: Page, body: Any) -> None:
    before = page.api.writes
    reply = page.ask("/session", body)
    assert (reply.status_code, reply.json(), page.api.writes) == (400, BAD_REQUEST, before)


def test_what_is_unknown_beside_it_is_passed_over(page: Page) -> None:
    page.init(color="blue")
    assert page.update({"userId": "u-1", "color": "blue"}, {"color": "blue"}, color="blue")["success"]
    assert "blue" not in str(page.user("u-1")) + str(page.session())


WRONG_KEYS: list[dict[str, str]] = [
    {"X-Milana-Client-Key": "key_wrong"},
    {"X-Milana-Client-Key": ""},
    {"X-Milana-Client-Key": "<secret>"},
    {"X-Milana-Product-Id": "prd_" + "0" * 26},
    {"X-Milana-Product-Id": ""},
]


@pytest.mark.parametrize("path", ["/session", "/update", "/metrics"])
@pytest.mark.parametrize("headers", WRONG_KEYS, ids=in_order)
def test_a_key_that_is_not_the_projects_is_refused(page: Page, path: str, headers: dict[str, str]) -> None:
    page.init()
    headers = {name: value.replace("<secret>", page.api.keys.secret) for name, value in headers.items()}
    reply = page.ask(path, {"user": {"userId": "u-1"}}, headers=headers)
    assert (reply.status_code, reply.json()) == (401, FAILED | {"errorCode": "UNAUTHORIZED"})
    assert reply.headers["access-control-allow-origin"] == "*"
    assert page.users("u-1") == []


def test_the_session_of_another_project_is_as_unknown(page: Page, api: InProcess, other: Keys) -> None:
    page.init()
    mine = page.session_id
    own, api.keys = api.keys, other
    elsewhere = page_of(api)
    elsewhere.session_id = mine
    assert elsewhere.update({"userId": "u-1"}) == CLOSED
    assert elsewhere.record() == elsewhere.dropped
    assert elsewhere.init()["sessionId"] != mine
    api.keys = own
    assert page.session()["user_id"] is None


@pytest.mark.parametrize("session_id", ["", "undefined", "ses_nobody", "x" * 10_000])
def test_an_update_from_an_unknown_session_asks_for_a_new_one(page: Page, session_id: str) -> None:
    page.session_id = session_id
    reply = page.ask("/update", {"user": {"userId": "u-1"}})
    assert (reply.status_code, reply.json(), page.users("u-1")) == (409, CLOSED, [])
    assert page.init()["sessionId"] != session_id


def test_a_session_that_the_app_ended_is_closed_and_a_reload_begins_another(page: Page) -> None:
    page.init()
    page.record(isClientAbort=True, clientAbortReason="CLIENT_STOPPED")
    assert page.update({"userId": "u-1"}) == CLOSED
    ended = page.session_id
    assert page.init()["sessionId"] != ended


def test_the_closing_of_a_page_does_not_end_its_session(page: Page) -> None:
    page.init()
    page.record(isPageClose=True)
    assert page.init()["sessionId"] == page.session_id
    assert page.update({"userId": "u-1"})["success"]


def test_a_session_that_is_not_sampled_is_told_so_and_stores_nothing_of_what_it_says(page: Page) -> None:
    setting(page, sampling_rate=0)
    assert page.init(metadata={"a": 1})["sampled"] is False
    before = page.api.writes
    assert page.update({"userId": "u-1"}) == FAILED | {"errorCode": "SESSION_NOT_SAMPLED"}
    assert page.update(None, {"metadata": {"b": 1}}) == FAILED | {"errorCode": "SESSION_NOT_SAMPLED"}
    assert page.record() == page.dropped | {"sampled": False}
    assert (page.api.writes, page.users("u-1"), page.session()["metadata"]) == (before, [], {})
    setting(page, unsampled_updates="apply")
    assert page.update({"userId": "u-1"}) == {"success": True, "sampled": False, "sessionId": page.session_id}
    assert page.user("u-1")["version"] == 1


def test_a_key_that_forces_sampling_does_so_and_is_kept_nowhere(page: Page) -> None:
    setting(page, sampling_rate=0)
    assert page.init(forceSamplingKey="sampled-42")["sampled"] is True
    assert page.update({"userId": "u-1"}, {"metadata": {}}, forceSamplingKey="sampled-42")["success"]
    assert "sampled-42" not in str(page.session()) + str(page.user("u-1")) + str(
        page.api.history(page.user("u-1")["id"])
    )


def test_who_debugs_may_force_sampling_at_any_update(page: Page) -> None:
    setting(page, sampling_rate=0)
    page.init()
    assert page.update({"userId": "u-1"}, forceSamplingKey="") == FAILED | {"errorCode": "SESSION_NOT_SAMPLED"}
    answer = page.update({"userId": "u-1"}, forceSamplingKey="sampled-42")
    assert answer == {"success": True, "sampled": True, "sessionId": page.session_id}


def test_integrations_are_kept_by_vendor_and_null_takes_none_away(page: Page) -> None:
    page.init()
    page.update(None, {"integrations": {"posthog": {"sessionId": "1", "userId": "2"}, "sentry": {"replayId": "3"}}})
    page.update(None, {"integrations": {"posthog": {"sessionId": "4"}, "sentry": None}})
    page.update(None, {"integrations": None})
    assert page.session()["integrations"] == {"posthog": {"sessionId": "4"}, "sentry": {"replayId": "3"}}


def test_identity_tokens_are_taken_out_wherever_the_sdk_carries_them(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hidden = {"$identity_token": "tok-42"}
    page.init(metadata=hidden)
    page.update({"userId": "u-1", "identityToken": "tok-42", "metadata": hidden | {"a": 1}}, {"metadata": hidden})
    page.update({"userId": "u-1", "identityToken": {"tok-42": 1}, "metadata": {"$identity_token": ["tok-42"]}})
    user = page.user("u-1")
    kept = str(page.session()) + str(user) + str(page.api.history(user["id"])) + caplog.text
    assert (user["traits"], "tok-42" in kept) == ({"a": 1}, False)


def test_what_a_backend_owns_is_left_alone_and_the_log_says_so(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    backend(page, "u-1", name="Ada")
    page.init()
    assert page.update({"userId": "u-1", "name": "Bob", "metadata": {"x": 1}})["success"]
    assert (page.user("u-1")["name"], page.user("u-1")["traits"]) == ("Ada", {"x": 1})
    assert "/name was left as it is: owned_by_backend" in caplog.text
    assert "Bob" not in caplog.text


def disabled(page: Page) -> None:
    backend(page, "u-1", disabled=True)


def deleted(page: Page) -> None:
    page.api.ask("DELETE", f"/v1/users/{backend(page, 'u-1')}")


@pytest.mark.parametrize(("meet", "reason"), [(disabled, "user_disabled"), (deleted, "user_deleted")])
def test_a_browser_learns_only_that_it_is_refused_and_the_log_why(
    page: Page, caplog: pytest.LogCaptureFixture, meet: Any, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    meet(page)
    page.init()
    reply = page.ask("/update", {"user": {"userId": "u-1"}})
    assert (reply.status_code, reply.json()) == (403, REFUSED)
    assert f"refused ({reason})" in caplog.text
    assert reply.headers["x-request-id"] in str([vars(record) for record in caplog.records])


def test_an_email_as_user_id_is_taken_and_warned_of_once(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    page.init()
    for user_id in ("ada@example.com", "bob@example.com", "ada@example.com"):
        assert page.update({"userId": user_id})["success"]
    assert page.user("ada@example.com")["email_addresses"] == []
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["email address as userId" in record.getMessage() for record in warnings] == [True]
    assert "ada@example.com" not in caplog.text


def test_a_deleted_users_session_is_closed(page: Page) -> None:
    page.init()
    page.update({"userId": "u-1"})
    page.api.ask("DELETE", f"/v1/users/{page.user('u-1')['id']}")
    assert page.update({"userId": "u-2"}) == CLOSED
    assert page.api.ask("GET", f"/v1/sessions/{page.session_id}").status_code == 404


def test_the_page_of_the_session_is_kept_without_its_secrets(page: Page) -> None:
    page.headers = {"X-Milana-Referrer": "https://a.example/?token=S3CRET#frag"}
    page.init()
    assert page.session()["context"] == {
        "ip_address": page.address,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "browser_language": "en-US",
        "timezone": "UTC",
        "entry_url": "https://a.example/?token=--redacted--",
    }


# Origins.


def preflight(page: Page, path: str) -> httpx.Response:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    return page.api.send(httpx.Request("OPTIONS", f"http://userfold.test/milana{path}", headers=headers))


@pytest.mark.parametrize("path", ["/session", "//session", "/update", "/batch", "/metrics"])
def test_a_browser_may_ask_whether_it_may_ask_without_a_key(page: Page, path: str) -> None:
    reply = preflight(page, path)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == "*"
    assert reply.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert reply.headers["access-control-max-age"] == "7200"


def test_what_is_not_there_says_so_to_pages_too(page: Page) -> None:
    for reply in (preflight(page, "/nothing"), page.ask("/nothing", {})):
        assert (reply.status_code, reply.json()) == (404, FAILED | {"errorCode": "NOT_FOUND"})
        assert reply.headers["access-control-allow-origin"] == "*"


def test_a_project_can_say_whose_pages_may_call_it(page: Page) -> None:
    setting(page, allowed_origins=["https://app.example", "http://localhost:3000"])
    reply = page.ask("/session", {})
    assert (reply.status_code, reply.json()) == (403, FAILED | {"errorCode": "ORIGIN_NOT_ALLOWED"})
    assert page.record() == page.dropped | {"success": False, "sampled": False, "errorCode": "SESSION_NOT_IDENTIFIED"}
    for origin in ("https://app.example", "http://localhost:3000"):
        page.headers = {"Origin": origin}
        assert page.init()["success"]
    page.headers = {"Origin": "https://app.example.evil"}
    assert page.ask("/update", {"user": {"userId": "u-1"}}).status_code == 403
    assert page.users("u-1") == []


@pytest.mark.parametrize("origin", ["https://a.example/", "https://A.example", "a.example", "*", 7])
def test_an_origin_that_no_browser_says_is_no_setting(page: Page, origin: Any) -> None:
    reply = page.api.ask("PATCH", "/v1/project", {"settings": {"allowed_origins": [origin]}})
    assert reply.status_code == 422


@pytest.mark.parametrize("rate", [-0.1, 1.1, "1", None])
def test_a_rate_is_a_share(page: Page, rate: Any) -> None:
    assert page.api.ask("PATCH", "/v1/project", {"settings": {"sampling_rate": rate}}).status_code == 422


# Rate limits.


def test_sessions_and_writes_are_limited_by_address_and_a_reload_is_no_new_session(page: Page) -> None:
    setting(page, new_sessions_per_minute=1, writes_per_minute=2)
    page.init()
    limited = FAILED | {"errorCode": "RATE_LIMITED"}
    first = page.session_id
    page.session_id = ""
    reply = page.ask("/session", {})
    assert (reply.status_code, reply.json()) == (429, limited)
    assert int(reply.headers["retry-after"]) > 0
    page.session_id = first
    assert page.update({"userId": "u-1"})["success"]
    assert page.update({"userId": "u-1", "metadata": {"x": 1}})["success"]
    assert page.update({"userId": "u-1", "metadata": {"x": 2}}) == limited
    assert page.record() == page.dropped
    page.address = "192.0.2.2"
    assert page.init()["sessionId"] == page.init()["sessionId"] == first


def test_where_no_more_users_may_be_made_known_ones_are_still_updated(page: Page) -> None:
    setting(page, new_users_per_minute=1)
    page.init()
    assert page.update({"userId": "u-1"})["success"]
    assert page.update({"userId": "u-2"}) == FAILED | {"errorCode": "RATE_LIMITED"}
    assert page.update({"userId": "u-1", "metadata": {"x": 1}}, {"metadata": {"y": 1}})["success"]
    assert (page.users("u-2"), page.user("u-1")["traits"]) == ([], {"x": 1})
