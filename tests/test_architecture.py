"""The house rules that no other tool checks: floors, purity, documentation that says what the code does.

`lint-imports` (pyproject.toml) holds the same floors in more detail; here they are read from the source alone.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import typer.main

from userfold.api import wire
from userfold.api.clerk import errors as clerk_errors
from userfold.api.clerk import routes as clerk
from userfold.api.milana import errors as milana_errors
from userfold.api.milana import routes as milana
from userfold.api.native import errors as native_errors
from userfold.api.native import routes as native
from userfold.cli import cli
from userfold.core.errors import DomainError
from userfold.engine import Busy
from userfold.storage.port import StoreError

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "userfold"
REFERENCE = ROOT / "docs" / "reference"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted((PACKAGE / "core").rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports_of(path: Path) -> Iterator[str]:
    """The full names that a file imports, wherever in it; a name of a module of ours is that module's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports by dots are not used"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


# The core.

IMPURE = {
    "asyncio",
    "datetime",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sys",
    "threading",
    "time",
}


@pytest.mark.parametrize("path", CORE, ids=shown)
def test_the_core_imports_nothing_that_knows_the_world(path: Path) -> None:
    imported = {name.partition(".")[0] for name in imports_of(path)}
    assert not imported & IMPURE
    assert {name for name in imports_of(path) if name.startswith("userfold")} <= {
        name for name in MODULES if name.startswith("userfold.core")
    }


@pytest.mark.parametrize("path", CORE, ids=shown)
def test_the_core_opens_prints_and_evaluates_nothing(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "eval", "exec", "__import__", "hash", "id"}


@pytest.mark.parametrize("path", CORE, ids=shown)
def test_the_core_has_no_words_of_http(path: Path) -> None:
    words = r"status codes?|headers?|cookies?|content-type|bearer|404|409|412|422|url path"
    assert not re.findall(rf"\b({words})\b", path.read_text(), re.IGNORECASE)


# The floors.


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {name: {i for i in imports_of(path) if i in MODULES} - {name} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 50
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' → '.join(error.args[1])}")


def test_nobody_counts_with_the_library_of_metrics() -> None:
    users = {name for name, path in MODULES.items() if any(i.startswith("prometheus_client") for i in imports_of(path))}
    assert users == {"userfold.metrics"}


def test_apis_do_not_know_each_other() -> None:
    apis = {path.name for path in (PACKAGE / "api").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert apis >= {"native", "clerk", "milana"}
    for name, path in MODULES.items():
        if name.startswith("userfold.api."):
            api = name.split(".")[2]
            others = {i.split(".")[2] for i in imports_of(path) if i.startswith("userfold.api.")} & (apis - {api})
            assert not others, f"{name} imports {others}"


# Style.

# An honest long function is a table. One that was short may not become long unnoticed.
LINES_MAX = 60
LONG: set[str] = set()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_is_long_but_those_that_are_known_to_be() -> None:
    long = {
        f"{name}.{function.name}"
        for name, path in MODULES.items()
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= LINES_MAX
    }
    assert long == LONG


def test_nothing_is_printed_past_the_one_who_asked() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "print"), shown(path)


def test_nothing_is_left_to_be_done_in_a_comment() -> None:
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    files = [*SRC.rglob("*.py"), *SRC.rglob("*.sql"), *SRC.rglob("*.md"), *(ROOT / "tests").rglob("*.py")]
    files += [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").rglob("*.py")]
    assert [shown(file) for file in files if words.search(file.read_text())] == []


# Documentation.

APIS: dict[str, tuple[wire.Route, ...]] = {"native": native.ROUTES, "clerk": clerk.ROUTES, "milana": milana.ROUTES}


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table in Markdown."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("api", APIS)
def test_a_readme_lists_exactly_the_routes_there_are_and_says_which_are_not_built(api: str) -> None:
    readme = (PACKAGE / "api" / api / "README.md").read_text()
    listed = {
        (row[0], code(row[1])[0]): row[-1]
        for row in rows(readme)
        if row[0] in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    assert set(listed) == {(route.method, route.path) for route in APIS[api]}
    not_built = {(route.method, route.path) for route in APIS[api] if route.handler is None}
    assert {at for at, state in listed.items() if state == "501"} == not_built


VENDORS_CODES = {
    "clerk": {(status, name) for status, name, _ in clerk_errors.TABLE.values()}
    | {(422, name) for name in clerk_errors.OF_ONE_PARAMETER.values()},
    "milana": {(status, name) for status, name, _ in milana_errors.TABLE.values()},
}


@pytest.mark.parametrize("api", VENDORS_CODES)
def test_the_readme_of_a_vendors_api_lists_its_codes_with_their_status(api: str) -> None:
    readme = (PACKAGE / "api" / api / "README.md").read_text()
    listed = {
        (int(status), name)
        for row in rows(readme)
        for status in re.findall(r"\d{3}", row[0])
        for name in code(row[1])
        if re.fullmatch(r"[\d, ]+", row[0])
    }
    assert VENDORS_CODES[api] <= listed


def below(kind: type[Exception]) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def test_every_code_of_a_refusal_is_documented_with_its_status() -> None:
    kinds = {k for root in (DomainError, StoreError, Busy) for k in (root, *below(root)) if "code" in vars(k)}
    kinds -= {DomainError}
    listed = {
        (name, int(row[1]))
        for row in rows((REFERENCE / "errors.md").read_text())
        if re.fullmatch(r"\d{3}", row[1])
        for name in code(row[0])
    }
    assert len(kinds) > 30
    assert {(kind.code, wire.row_of(native_errors.STATUS, kind.__new__(kind))) for kind in kinds} == listed


def commands(group: Any, words: tuple[str, ...] = ("userfold",)) -> Iterator[tuple[str, Any]]:
    """(how it is called, the command) for every command of the program."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def test_every_command_and_option_is_documented() -> None:
    reference = (REFERENCE / "cli.md").read_text()
    settings = (REFERENCE / "settings.md").read_text()
    called = dict(commands(typer.main.get_command(cli)))
    assert set(called) >= {"userfold serve", "userfold keys list"}
    for words, command in called.items():
        assert f"`{words}" in reference, words
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert any(f"`{option}" in reference + settings for option in parameter.opts), (words, parameter.opts)


def test_every_documented_command_exists() -> None:
    reference = (REFERENCE / "cli.md").read_text()
    named = {name for row in rows(reference) for name in code(row[0]) if name.startswith("userfold ")}
    called = set(dict(commands(typer.main.get_command(cli))))
    assert {re.sub(r"( [A-Z]+| --.*)+$", "", name) for name in named} - {"userfold"} == called


def test_the_documented_variables_are_those_that_are_read() -> None:
    pattern = re.compile(r"USERFOLD_[A-Z_]+")
    read = {name for path in SOURCES for name in pattern.findall(path.read_text())}
    listed = {name for row in rows((REFERENCE / "settings.md").read_text()) for name in code(row[0])}
    assert set(pattern.findall((PACKAGE / "settings.py").read_text())) <= listed
    assert read == {name for name in listed if name.startswith("USERFOLD_")}


def test_what_shows_a_guarantee_exists() -> None:
    named = code((REFERENCE / "guarantees.md").read_text())
    shows = [name for name in named if name.startswith("tests/")]
    assert shows
    assert [name for name in shows if not (ROOT / name).exists()] == []


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{shown(file)}: {target}"
        for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *SRC.rglob("*.md")]
        for target in LINK.findall(file.read_text())
        if "://" not in target and not (file.parent / target).exists()
    ]
    assert broken == []


def test_a_short_command_imports_neither_the_server_nor_a_driver() -> None:
    """Half of the time that it takes would go into that."""
    unwanted = {"uvicorn", "asyncpg", "apsw", "PIL", "userfold.app"}
    code = f"import sys, userfold.cli; print(*({unwanted} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
