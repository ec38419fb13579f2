"""The contract holds over every version of a server that there is."""

from __future__ import annotations

from functools import partial

import pytest

from tests import postgres
from tests.conftest import STORES, Constructor

OLDER = {
    f"postgresql {version}": Constructor(partial(postgres.store_in, version=version))
    for version in postgres.versions()[1:]
}


@pytest.fixture(params=[*STORES, *OLDER])
def constructor(request: pytest.FixtureRequest) -> Constructor:
    """Each store's constructor in turn."""
    return (STORES | OLDER)[request.param]
