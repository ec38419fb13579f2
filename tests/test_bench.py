"""What the programs under `bench/` take for granted about the program that they measure."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import bare, people, pgbench
from bench.load import Report
from bench.parts import SEAMS
from bench.postgres import Postgres, pgbench_program
from bench.processes import CannotMeasure, tree_cpu_seconds
from bench.rows import P99, PGBENCH, PROGRAMS, PROGRAMS_OVER_POSTGRES, RATIOS, Ratio, rows
from tests import postgres
from tests.postgres_server import URL_VARIABLE
from userfold.clock import clock_ms
from userfold.core.applied import Applied
from userfold.core.commands import Edit, UpsertUser
from userfold.core.records import Change, EffectiveSettings, User
from userfold.core.trust import Author
from userfold.engine import Engine
from userfold.storage.codec import to_text
from userfold.storage.memory import MemoryStore

BURN = """
import sys, time
while time.process_time() < 0.2: pass
print("burnt", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, name, _ in SEAMS])
def test_what_the_profile_times_is_there(module: str, name: str) -> None:
    assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module)))


def test_what_ratios_compare_are_rows_and_their_programs_are_known() -> None:
    all_rows = {row.name: row for row in rows([1, 64])}
    compared = {name for ratio in RATIOS for name in (ratio.row, ratio.of) if name is not None}
    assert compared <= all_rows.keys()
    assert {row.program for row in all_rows.values()} == {*PROGRAMS, *PROGRAMS_OVER_POSTGRES, PGBENCH}


def test_a_ratio_without_another_row_is_a_figure_that_has_a_bar() -> None:
    ratio = Ratio("p99", "update", None, 40, 20, P99, at_most=True)
    value = ratio.value({"update": Report(p99_ms=30.0)})
    assert (value, ratio.meets(value, ratio.bar), ratio.meets(value, ratio.stretch)) == (30.0, True, False)


def test_a_server_that_forgets_what_it_answered_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, postgres.server(None).url)
    with pytest.raises(CannotMeasure, match="fsync = off"):
        Postgres(tmp_path)


def test_pgbench_writes_two_rows_in_each_transaction() -> None:
    if pgbench_program() is None:
        pytest.skip("there is no pgbench")
    server = postgres.server(None)
    name = server.new_name()
    server.create(name)
    report = pgbench.Pgbench(server.address(name), None).run(2, "--transactions=3")
    server.drop(name)
    assert (report.answers, report.errors) == (6, ())


def test_comparators_write_documents_as_long_as_an_update_does() -> None:
    user, change = asyncio.run(_updated())
    wanted = len(to_text(user)), len(to_text(change))
    assert tuple(map(len, pgbench.documents())) == pytest.approx(wanted, rel=0.01)


async def _updated() -> tuple[User, Change]:
    engine = Engine(MemoryStore(), clock_ms=clock_ms)
    author = Author(source="native", actor=bare.new_id("ak_"), trust="backend", request_id="req_" + "0" * 24)

    async def run(*edits: Edit) -> Applied:
        command = UpsertUser(project_id="prj_a", author=author, external_id=people.external_id(0), edits=edits)
        return await engine.run(command, EffectiveSettings())

    await run(Edit("replace", people.new_user(0)))
    applied = await run(Edit("merge_patch", people.patch(0, people.COUNT_START + 1)))
    assert applied.user is not None
    assert applied.change is not None
    return applied.user, applied.change


def test_the_cpu_of_what_was_started_counts_while_it_lives_and_when_it_is_gone() -> None:
    before = tree_cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as burning:
        assert burning.stdout is not None
        burning.stdout.readline()
        assert tree_cpu_seconds(os.getpid()) - before >= 0.15  # it is counted in ticks
    assert tree_cpu_seconds(os.getpid()) - before >= 0.15  # it is counted in ticks
