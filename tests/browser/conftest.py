"""A real browser, the real SDK and a real server: each test has a server, a site and a browser profile of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.site import POLICY, Site, served
from tests.browser.tab import Backend, Tab, chromium_path, missing, new_tab
from tests.server import serving


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, without a window.

    Each test has its own: while it is there, Playwright keeps an event loop running, and no other test can have one.
    """
    reason = missing()
    if reason is not None:
        # Under CI a test that cannot run is a failure, not a skip.
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium_path(), chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A `userfold serve` process, as the app's backend talks to it."""
    with serving(tmp_path / "data") as server, server.client() as client:
        yield Backend(server, client)


@pytest.fixture
def site(tmp_path: Path, backend: Backend) -> Iterator[Site]:
    """The app's own origin, whose pages may talk to the server and to nobody else."""
    with served(tmp_path) as site:
        site.policy = POLICY.format(endpoint=backend.server.url)
        yield site


@pytest.fixture
def open_tab(chromium: Browser, site: Site, backend: Backend) -> Iterator[Callable[..., Tab]]:
    """Opens tabs of one visitor. In the end nothing may have gone wrong in any of them."""
    tabs: list[Tab] = []
    with chromium.new_context(ignore_https_errors=True) as context:

        def open_tab(on: Site = site) -> Tab:
            tabs.append(new_tab(context, on, backend))
            return tabs[-1]

        yield open_tab
    assert [error for tab in tabs for error in tab.errors] == []


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """One tab."""
    return open_tab()
