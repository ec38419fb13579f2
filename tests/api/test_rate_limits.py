"""Rate limits of callers with a publishable key: the buckets alone, then through HTTP. A test moves the clock."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec
import pytest

from tests.api.browser import Browser, Clock
from userfold.core.records import ProjectSettings
from userfold.rate_limits import CLOSED_S, KINDS, Kind, RateLimits, site

SIX = ProjectSettings(new_sessions_per_minute=6, new_users_per_minute=6, writes_per_minute=6)


class Buckets:
    """Rate limits and the clock they read."""

    def __init__(self, buckets_max: int = 100) -> None:
        self.clock = Clock()
        self.limits = RateLimits(monotonic=self.clock, buckets_max=buckets_max)

    def draw(
        self, kind: Kind = "writes", key: str = "ak_1", address: str = "192.0.2.1", settings: ProjectSettings = SIX
    ) -> int:
        return self.limits.draw(kind, key, address, settings)

    def empty(self, address: str = "192.0.2.1") -> None:
        assert [self.draw(address=address) for _ in range(7)] == [0] * 6 + [10]


# The buckets.


def test_a_minutes_worth_may_be_drawn_at_once_and_then_one_at_a_time() -> None:
    buckets = Buckets()
    buckets.empty()
    for seconds, wait_s in [(9.5, 1), (0.5, 0), (0, 10), (20, 0), (0, 0), (0, 10)]:
        buckets.clock.now += seconds
        assert buckets.draw() == wait_s


def test_a_bucket_never_holds_more_than_a_minutes_worth() -> None:
    buckets = Buckets()
    buckets.empty()
    buckets.clock.now += 86_400
    buckets.empty()


def test_after_the_seconds_that_were_named_there_is_a_token_and_not_before() -> None:
    settings = ProjectSettings(writes_per_minute=7)
    buckets = Buckets()
    while (wait_s := buckets.draw(settings=settings)) == 0:
        pass
    buckets.clock.now += wait_s - 1
    assert buckets.draw(settings=settings) == 1
    buckets.clock.now += 1
    assert buckets.draw(settings=settings) == 0


def test_a_refused_draw_takes_nothing() -> None:
    buckets = Buckets()
    buckets.empty()
    for _ in range(100):
        assert buckets.draw() == 10
    buckets.clock.now += 10
    assert buckets.draw() == 0


def test_what_is_given_back_can_be_drawn_again_but_is_no_surplus() -> None:
    buckets = Buckets()
    buckets.empty()
    buckets.limits.give_back("writes", "ak_1", "192.0.2.1")
    assert (buckets.draw(), buckets.draw()) == (0, 10)
    buckets.clock.now += 60
    for _ in range(3):
        buckets.limits.give_back("writes", "ak_1", "192.0.2.1")
    buckets.empty()


def test_kinds_keys_and_addresses_have_buckets_of_their_own() -> None:
    buckets = Buckets()
    buckets.empty()
    assert buckets.draw(kind="new_users") == 0
    assert buckets.draw(kind="new_sessions") == 0
    assert buckets.draw(key="ak_2") == 0
    assert buckets.draw(address="192.0.2.2") == 0
    assert buckets.draw() == 10


def test_a_limit_of_none_refuses_all() -> None:
    buckets = Buckets()
    closed = ProjectSettings(writes_per_minute=0)
    for seconds in (0, 3600):
        buckets.clock.now += seconds
        assert buckets.draw(settings=closed) == CLOSED_S


def test_a_changed_limit_counts_at_once() -> None:
    buckets = Buckets()
    assert buckets.draw(settings=ProjectSettings(writes_per_minute=1_000)) == 0
    buckets.empty()
    buckets.clock.now += 1
    assert buckets.draw(settings=ProjectSettings(writes_per_minute=60)) == 0


def test_each_kind_has_a_limit_of_its_own() -> None:
    for kind in KINDS:
        settings = msgspec.convert({f"{kind}_per_minute": 1}, ProjectSettings)
        for other in KINDS:
            buckets = Buckets()
            buckets.draw(other, settings=settings)
            assert (buckets.draw(other, settings=settings) > 0) == (kind == other)


def test_there_are_never_more_buckets_than_may_be_and_the_one_used_longest_ago_goes() -> None:
    buckets = Buckets(buckets_max=3)
    buckets.empty("192.0.2.1")
    for number in range(2, 4):
        buckets.draw(address=f"192.0.2.{number}")
    assert buckets.draw() == 10  # used again: now the second one is the oldest
    buckets.draw(address="192.0.2.4")
    assert len(buckets.limits) == 3
    assert buckets.draw() == 10
    for number in range(100):
        buckets.draw(address=f"198.51.100.{number}")
    assert len(buckets.limits) == 3
    buckets.limits.give_back("writes", "ak_1", "192.0.2.1")  # forgotten by now, and so no harm
    buckets.empty("192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("", "192.0.2.1", False),
    ],
)
def test_one_customer_is_one_address(one: str, other: str, same: bool) -> None:
    assert (site(one) == site(other)) is same


# Through HTTP.


def assert_refused(browser: Browser, ask: Callable[[], httpx.Response], wait_s: int) -> None:
    """That the reply to `ask` says: not now, come back in `wait_s`; and nothing was written."""
    before = browser.api.writes
    reply = ask()
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == str(wait_s)
    assert reply.json()["code"] == "rate_limited"
    assert browser.api.writes == before


def test_new_sessions_are_limited_and_writes_go_on(browser: Browser) -> None:
    browser.limit(new_sessions_per_minute=2)
    session = browser.session()
    browser.session()
    assert_refused(browser, lambda: browser.ask("POST", "/sessions"), 30)
    assert browser.identify("u-1", session=session).status_code == 201
    browser.clock.now += 30
    browser.session()


def test_writes_are_limited_whatever_they_come_to(browser: Browser) -> None:
    browser.limit(writes_per_minute=4)
    assert browser.identify("u-1", traits={"a": 1}).status_code == 201
    assert browser.identify("u-1", traits={"a": 1}).status_code == 200  # nothing changed, but it was asked
    assert browser.identify("u-1", traits=[]).status_code == 422
    assert browser.identify("", traits={}).status_code == 404  # no route, nothing drawn
    assert browser.identify("u-1", traits={"a": 2}).status_code == 200
    assert_refused(browser, lambda: browser.identify("u-1", traits={"a": 3}), 15)
    assert browser.ask("POST", "/sessions").status_code == 201


def test_what_is_too_much_is_refused_before_its_body_is_read_and_after_its_key(browser: Browser) -> None:
    browser.limit(writes_per_minute=0)
    large = {"traits": {"a": "x" * (1 << 20)}}
    assert browser.ask("PUT", "/users/by-external-id/u-1", large).status_code == 429
    assert browser.ask("PUT", "/users/by-external-id/u-1", large, key="key_wrong").status_code == 401


def test_new_users_are_limited_and_those_who_are_known_are_not(browser: Browser) -> None:
    browser.limit(new_users_per_minute=2)
    assert browser.identify("u-1").status_code == 201
    for number in range(5):
        assert browser.identify("u-1", traits={"n": number}).status_code == 200
    assert browser.identify("u-2").status_code == 201
    assert_refused(browser, lambda: browser.identify("u-3"), 30)
    assert browser.identify("u-1", traits={"n": "later"}).json()["user"]["traits"] == {"n": "later"}
    browser.clock.now += 30
    assert browser.identify("u-3").status_code == 201
    assert_refused(browser, lambda: browser.identify("u-4"), 30)


def test_a_refused_creation_draws_nothing(browser: Browser) -> None:
    browser.limit(new_users_per_minute=1)
    for _ in range(3):
        assert browser.identify("u-1", traits=[]).status_code == 422
        assert browser.identify("u-1", session="ses_unknown").status_code == 409
    assert browser.identify("u-1").status_code == 201


def test_a_session_of_a_known_user_is_linked_although_there_is_no_room_for_new_ones(browser: Browser) -> None:
    browser.limit(new_users_per_minute=1)
    browser.identify("u-1")
    session = browser.session()
    assert browser.identify("u-1", session=session, name="Ada").json()["user"]["name"] == "Ada"
    browser.api.ask("PUT", "/v1/users/by-external-id/u-2", {})
    assert browser.identify("u-2", session=session, name="Eve").json()["user"]["name"] is None


def test_an_api_may_drop_what_is_too_much_instead_of_refusing_it(browser: Browser) -> None:
    browser.limit(writes_per_minute=1)
    replies = [browser.ask("POST", "/batch") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert [reply.json()["dropped"] for reply in replies] == [False, True, True]


def test_another_address_is_not_made_to_wait(browser: Browser) -> None:
    browser.limit(new_sessions_per_minute=1)
    browser.session()
    assert_refused(browser, lambda: browser.ask("POST", "/sessions"), 60)
    browser.address = "192.0.2.2"
    browser.session()


def test_backends_are_not_limited(browser: Browser) -> None:
    browser.limit(new_users_per_minute=0, writes_per_minute=0, new_sessions_per_minute=0)
    assert_refused(browser, lambda: browser.identify("u-1"), CLOSED_S)
    for _ in range(3):
        browser.api.user()
    assert browser.api.ask("PUT", "/v1/users/by-external-id/u-1", {}).status_code == 201


def test_a_forwarded_address_of_a_proxy_that_nobody_named_makes_no_other_bucket(browser: Browser) -> None:
    browser.limit(new_sessions_per_minute=1)
    browser.session()
    for number in range(3):
        reply = browser.api.ask(
            "POST",
            "/browser/sessions",
            key=browser.api.keys.publishable,
            address=browser.address,
            headers={"x-forwarded-for": f"203.0.113.{number}"},
        )
        assert reply.status_code == 429


@pytest.mark.parametrize("value", [-1, 1_000_001, "7", 1.5, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_is_no_number_per_minute_is_refused(browser: Browser, kind: Kind, value: object) -> None:
    reply = browser.api.ask("PATCH", "/v1/project", {"settings": {f"{kind}_per_minute": value}})
    assert (reply.status_code, reply.json()["path"]) == (422, "/settings")
