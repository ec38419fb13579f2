"""The captures are what the unmodified SDKs send today, and what a real server answers. `record.py` records them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.clerk.replay import FOLDER, PUBLIC_URL, canonical
from tests.api.clerk.sdk.record import SCRIPTS, record
from tests.server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody else uses: what is recorded shows everybody who is there."""
    with serving(tmp_path_factory.mktemp("server") / "data", USERFOLD_PUBLIC_URL=PUBLIC_URL) as server:
        yield server


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_capture_is_what_its_sdk_sends_and_is_answered(name: str, server: Server, tmp_path: Path) -> None:
    stored = json.loads((FOLDER / "captures" / f"{name}.json").read_text())
    assert canonical(record(name, server, tmp_path)) == canonical(stored)


def test_every_capture_can_be_recorded() -> None:
    assert {path.stem for path in (FOLDER / "captures").glob("*.json")} == set(SCRIPTS)
