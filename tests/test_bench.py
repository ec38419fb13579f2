"""What the programs under `bench/` take for granted about the program that they measure."""

from __future__ import annotations

import functools
import importlib

import pytest

from bench.parts import SEAMS


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, name, _ in SEAMS])
def test_what_the_profile_times_is_there(module: str, name: str) -> None:
    assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module)))
