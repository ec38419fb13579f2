"""Where pages come from: over HTTPS, and from origins that a project allows or does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.site import POLICY, Site, served
from tests.browser.tab import Backend, Tab
from tests.server import BOUND_S

DONE = {"success": True}


@pytest.fixture
def secure(tmp_path: Path, backend: Backend) -> Iterator[Site]:
    """The app's own origin, over HTTPS. It may talk to a server at 127.0.0.1 although that one has only HTTP."""
    with served(tmp_path, secure=True) as site:
        site.policy = POLICY.format(endpoint=backend.server.url)
        yield site


def test_a_page_over_https_sends_its_recording_compressed(
    open_tab: Callable[..., Tab], secure: Site, backend: Backend
) -> None:
    tab = open_tab(on=secure)
    tab.open()
    assert tab.page.evaluate("location.protocol") == "https:"
    assert tab.init() == DONE
    assert tab.call("identify", {"userId": "u-1", "email": "ada@example.com"}) == DONE
    tab.wait_until_it_records()
    with tab.page.expect_response(backend.endpoint + "/batch", timeout=BOUND_S * 1000) as answered:
        tab.call("trackEvent", "clicked", {"where": "https"})
    assert answered.value.request.headers["content-encoding"] == "gzip"
    assert answered.value.json()["success"] is True
    (event,) = backend.events_named("u-1", "clicked")
    assert event["properties"] == {"where": "https"}
    (view,) = backend.events_named("u-1", "page_view")
    assert view["properties"]["url"] == f"{secure.origin}/shop.html?utm_source=mail&token=--redacted--"


def test_only_pages_of_allowed_origins_get_in(
    open_tab: Callable[..., Tab], secure: Site, site: Site, backend: Backend
) -> None:
    backend.set(allowed_origins=[site.origin])
    stranger = open_tab(on=secure)
    stranger.open()
    assert stranger.init() == {"success": False}
    tab = open_tab()
    tab.open()
    assert tab.init(endpoint=backend.endpoint + "/") == DONE  # the SDK adds a slash of its own
    assert tab.call("updateUser", {"userId": "u-1", "metadata": {"plan": "pro"}}) == DONE
    assert backend.user("u-1")["traits"] == {"plan": "pro"}
    assert len(backend.users()) == 1
