"""What the SDK sent from a real browser is answered as it must be, and comes to what the native API shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.milana.page import Page
from tests.api.milana.replay import CAPTURES, replay


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_is_answered_exactly(page: Page, path: Path) -> None:
    replay(json.loads(path.read_text()), page)
