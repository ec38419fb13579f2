"""Commands run in this process, which is quick, over a database that has never seen a server."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import URL_VARIABLE
from userfold.cli import main
from userfold.clock import clock_ms
from userfold.engine import Engine
from userfold.first_start import first_keys, make_project
from userfold.settings import read_settings
from userfold.storage.sqlite.store import SQLiteStore


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def table(self) -> list[str]:
        """The lines below the head."""
        return self.out.splitlines()[1:]


class Inside:
    """Runs commands on the data in `data`."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        """A command as it was given."""
        with self._monkeypatch.context() as patch:
            patch.delenv(URL_VARIABLE, raising=False)  # doctor would wonder about it
            for name, value in {"USERFOLD_DATA": str(self.data), **settings}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["userfold", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape"))))
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        said = self._capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    def ok(self, *arguments: str, stdin: str = "") -> Done:
        """A command that must do what it was asked, and complain of nothing."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.status, done.err) == (0, "")
        return done

    def refused(self, *arguments: str, stdin: str = "", **settings: str) -> tuple[int, str]:
        """The status of a command that must fail, and the one line that says why."""
        done = self.run(*arguments, stdin=stdin, **settings)
        assert done.status != 0
        assert done.out == ""
        assert done.err.startswith("userfold: ")
        assert done.err.count("\n") == 1
        return done.status, done.err.removeprefix("userfold: ").strip()


def with_store(data: Path, work: Callable[[SQLiteStore], Any]) -> Any:
    """What `work` (a coroutine function) comes to on the migrated store of a data folder."""

    async def run() -> Any:
        store = SQLiteStore(data / "userfold.db")
        try:
            await store.migrate()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def add_project(data: Path, name: str = "default") -> str:
    """The id of a new project in the database of a data folder, which is made if it is missing."""
    data.mkdir(mode=0o700, exist_ok=True)

    async def work(store: SQLiteStore) -> str:
        engine = Engine(store, clock_ms=clock_ms)
        return (await make_project(engine, name, first_keys(read_settings({}), engine.now()))).id

    id_: str = with_store(data, work)
    return id_


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """A database with one project."""
    add_project(tmp_path / "data")
    return Inside(tmp_path / "data", monkeypatch, capsys)
