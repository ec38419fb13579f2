"""The help of every command teaches: what it does, an example, what it prints, how it exits."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main

from tests.cli.inside import Inside
from userfold.cli import cli


def commands(group: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """{how it is called: the command}, without groups."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        here = (*words, name)
        found |= commands(command, here) if hasattr(command, "commands") else {here: command}
    return found


COMMANDS = commands(typer.main.get_command(cli))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_has_an_example_what_it_prints_and_how_it_exits(
    inside: Inside, words: tuple[str, ...]
) -> None:
    lines = [line.strip() for line in inside.ok(*words, "--help").out.splitlines()]
    assert f"Usage: userfold {' '.join(words)}" in lines[0]
    (example,) = [line for line in lines if line.startswith("Example:")]
    assert f"userfold {' '.join(words)}" in example
    assert [line for line in lines if line.startswith("Prints:   ")]
    (exits,) = [line for line in lines if line.startswith("Exits:    0 ")]
    assert "1 " in " ".join(lines[lines.index(exits) :])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_for(words: tuple[str, ...]) -> None:
    unexplained = [each.name for each in COMMANDS[words].params if not getattr(each, "help", None)]
    assert unexplained == []


@pytest.mark.parametrize("group", [(), ("users",), ("keys",), ("projects",), ("encryption",)], ids=" ".join)
def test_a_group_alone_shows_what_there_is_and_is_wrong_use(inside: Inside, group: tuple[str, ...]) -> None:
    done = inside.run(*group)
    assert (done.status, done.out) == (2, "")
    assert "Commands:" in done.err


def test_wrong_use_is_one_line_that_names_the_help(inside: Inside) -> None:
    assert inside.refused("nope") == (2, "No such command 'nope'. `userfold --help` shows how it is used.")
    status, reason = inside.refused("users", "\x1b[2J")
    assert status == 2
    assert "\\x1b[2J" in reason
    assert reason.endswith("`userfold users --help` shows how it is used.")
