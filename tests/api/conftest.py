"""What the API tests share: the application in this process, over each store in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.api.browser import Browser, in_browser
from tests.server import InProcess, Keys, in_process, make_project
from userfold.storage.port import Store


@pytest.fixture
def api(store: Store, runner: asyncio.Runner) -> Iterator[InProcess]:
    """The application over a store, with one project."""
    with in_process(runner, store) as api:
        vars(api.store)["users"] = store.users  # what is only read passes the watching store by
        yield api


@pytest.fixture
def browser(api: InProcess) -> Browser:
    """A browser that calls the application of `api` with its publishable key."""
    return in_browser(api)


@pytest.fixture
def other(api: InProcess) -> Keys:
    """A second project in the same store."""
    return api.runner.run(make_project(api.app))
