"""A visit that is not sampled: the SDK is told so, and what it says is refused, unless the project wants it applied."""

from __future__ import annotations

from tests.browser.tab import Backend, Tab

DONE = {"success": True}
REFUSED = {"success": False}
ADA = {"userId": "u-1", "email": "ada@example.com", "name": "Ada", "metadata": {"plan": "pro"}}


def begin(tab: Tab) -> dict[str, object]:
    """What `/session` answers to `init`, which calls that a success in any case."""
    with tab.page.expect_response(tab.backend.endpoint + "/session") as answered:
        assert tab.init(metadata={"build": 7}) == DONE
    answer: dict[str, object] = answered.value.json()
    return answer


def test_of_a_visit_that_is_not_sampled_nothing_is_kept(tab: Tab, backend: Backend) -> None:
    backend.set(sampling_rate=0)
    tab.open()
    answer = begin(tab)
    assert (answer["sampled"], answer["sessionId"]) == (False, tab.session_id())
    assert tab.call("updateUser", ADA) == REFUSED
    assert tab.call("identify", ADA) == REFUSED
    assert tab.call("updateSession", {"metadata": {"flag": "on"}}) == REFUSED
    assert len(tab.sent_to("/update")) == 3, "the SDK asks, whether it is sampled or not"
    assert backend.users() == []
    session = backend.session(tab.session_id() or "")
    assert (session["sampled"], session["user_id"], session["metadata"]) == (False, None, {})
    tab.wait_until_it_records()
    tab.call("trackEvent", "clicked", {})
    tab.leave()
    assert tab.sent_to("/batch") == []


def test_a_project_may_want_it_applied_all_the_same(tab: Tab, backend: Backend) -> None:
    backend.set(sampling_rate=0, unsampled_updates="apply")
    tab.open()
    assert begin(tab)["sampled"] is False
    assert tab.call("updateUser", ADA) == DONE
    user = backend.user("u-1")
    assert (user["traits"], user["name"], user["contact_email"]) == ({"plan": "pro"}, "Ada", "ada@example.com")
    session = backend.session(tab.session_id() or "")
    assert (session["sampled"], session["user_id"], session["metadata"]) == (False, user["id"], {"build": 7})
    tab.wait_until_it_records()
    tab.leave()
    assert tab.sent_to("/batch") == [], "there is still no recording"
