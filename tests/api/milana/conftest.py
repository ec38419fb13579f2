"""What the tests of the Milana-compatible API share."""

from __future__ import annotations

import pytest

from tests.api.milana.page import Page, page_of
from tests.server import InProcess


@pytest.fixture
def page(api: InProcess) -> Page:
    """A page with Milana's SDK, over each store in turn; it has no session yet."""
    return page_of(api)
