"""The unmodified `milana-js` in Chromium, from one origin to Userfold on another. After each step the server is asked
through the native API what came of it."""

from __future__ import annotations

from tests.browser.tab import Backend, Tab

DONE = {"success": True}
REFUSED = {"success": False}


def test_a_visit_from_init_to_stop_recording(tab: Tab, backend: Backend) -> None:
    tab.open()
    assert tab.init(metadata={"build": 7}, appSessionId="app-1") == DONE
    session_id = tab.session_id()
    assert session_id is not None
    session = backend.session(session_id)
    told = {name: session[name] for name in ("status", "user_id", "sampled", "environment", "release")}
    assert told == {"status": "active", "user_id": None, "sampled": True, "environment": "test", "release": "9.9.9"}
    assert (session["metadata"], session["app_session_id"]) == ({"build": 7}, "app-1")
    assert session["context"]["entry_url"].endswith("/shop.html?utm_source=mail&token=--redacted--")

    ada = {"userId": "u-1", "email": "Ada@Example.com", "name": "Ada", "metadata": {"plan": "free", "tags": [1, None]}}
    assert tab.call("identify", ada) == DONE
    user = backend.user("u-1")
    assert (user["contact_email"], user["name"], user["version"]) == ("ada@example.com", "Ada", 1)
    assert user["traits"] == {"plan": "free", "tags": [1, None]}
    assert backend.session(session_id)["user_id"] == user["id"]

    assert tab.call("updateUser", {"userId": "u-1", "metadata": {"plan": "pro", "team": None}}) == DONE
    user = backend.user("u-1")
    assert user["traits"] == {"plan": "pro", "tags": [1, None], "team": None}
    assert (user["contact_email"], user["name"], user["version"]) == ("ada@example.com", "Ada", 2)
    change = backend.history("u-1")[-1]
    assert (change["source"], change["trust"], change["actor"]) == ("milana", "browser", session_id)

    assert tab.call("updateSession", {"metadata": {"flag": "on"}, "appSessionId": "app-2"}) == DONE
    session = backend.session(session_id)
    assert (session["metadata"], session["app_session_id"]) == ({"build": 7, "flag": "on"}, "app-2")
    assert backend.user("u-1")["version"] == 2

    tab.wait_until_it_records()
    tab.call("trackEvent", "upgrade_clicked", {"plan": "pro", "n": 3, "ok": True, "nil": None})
    tab.page.reload()
    event = backend.wait_for_event("u-1", "upgrade_clicked")
    assert event["properties"] == {"plan": "pro", "n": 3, "ok": True, "nil": None}
    assert event["session_id"] == session_id

    assert tab.init(metadata={"build": 7}, appSessionId="app-2") == DONE
    assert tab.session_id() == session_id
    session = backend.session(session_id)
    assert (session["status"], session["user_id"], session["metadata"]["flag"]) == ("active", user["id"], "on")
    assert tab.call("updateUser", {"userId": "u-1", "metadata": {"plan": "pro"}}) == DONE
    assert backend.user("u-1")["version"] == 2, "what is the same is no change"

    eve = {"userId": "u-2", "email": "eve@example.com", "name": "Eve", "metadata": {"plan": "team"}}
    assert tab.call("updateUser", eve) == DONE
    other = backend.user("u-2")
    assert (other["traits"], other["contact_email"], other["name"]) == ({"plan": "team"}, None, None)
    assert backend.session(session_id)["user_id"] == user["id"]
    assert backend.user("u-1") == user

    with tab.page.expect_response(backend.endpoint + "/batch"):
        assert tab.call("stopRecording") == DONE
    session = backend.session(session_id)
    assert (session["status"], session["ended_because"]) == ("ended", "client_abort")
    assert tab.session_id() is None
    assert tab.init() == DONE
    assert tab.session_id() != session_id
    assert len(backend.users()) == 2


BEFORE_INIT = """() => {
  window.early = [
    milana.identify({userId: "u-1", email: "ada@example.com", metadata: {step: 0, first: true}}),
    ...[1, 2, 3, 4].map((step) => milana.updateUser({userId: "u-1", metadata: {step}})),
    milana.updateSession({metadata: {queued: true}}),
  ];
}"""


def test_what_is_called_before_init_is_applied_after_it(tab: Tab, backend: Backend) -> None:
    tab.open()
    tab.page.evaluate(BEFORE_INIT)
    assert backend.users() == []
    assert tab.init() == DONE
    assert tab.page.evaluate("Promise.all(window.early)") == [DONE] * 6
    assert [sent.get("user", {}).get("metadata", {}).get("step") for sent in tab.sent_to("/update")] == [
        *(0, 1, 2, 3, 4),
        None,
    ]
    user = backend.user("u-1")
    assert (user["contact_email"], user["traits"]["first"], user["version"]) == ("ada@example.com", True, 5)
    session = backend.session(tab.session_id() or "")
    assert (session["metadata"], session["user_id"]) == ({"queued": True}, user["id"])


def test_a_burst_that_the_network_keeps_in_order_is_applied_in_order(tab: Tab, backend: Backend) -> None:
    """A browser sends a burst over six connections, on which one request may overtake another; here none does."""
    tab.page.route(backend.endpoint + "/update", lambda route: route.fulfill(response=route.fetch()))
    tab.open()
    tab.page.evaluate(BEFORE_INIT)
    assert tab.init() == DONE
    assert tab.page.evaluate("Promise.all(window.early)") == [DONE] * 6
    assert backend.user("u-1")["traits"] == {"step": 4, "first": True}
    made, *changed = backend.history("u-1")
    assert {operation["path"]: operation.get("new") for operation in made["operations"]}["/traits"] == {
        "step": 0,
        "first": True,
    }
    assert [[operation["new"] for operation in change["operations"]] for change in changed] == [[1], [2], [3], [4]]
