"""Help in 80 columns: nothing wraps or is truncated, and copied commands work."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.cli.program import vastmax
from vastmax.cli.app import app


def commands(above: tuple[str, ...] = (), command: Any = None) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or typer.main.get_command(app)
    yield above, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands((*above, name), each)


COMMANDS = dict(commands())


def shown(*verb: str) -> str:
    outcome = vastmax(*verb, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


@pytest.mark.parametrize("columns", [60, 80, 110])
@pytest.mark.parametrize("verb", COMMANDS, ids=lambda verb: " ".join(verb) or "vastmax")
def test_help_fits_and_tears_no_value_in_two(
    verb: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    help = shown(*verb)
    assert [line for line in help.splitlines() if len(line) > columns] == []
    assert [line for line in help.splitlines() if re.search(r"\w-$", line)] == []
    for parameter in COMMANDS[verb].params:
        if isinstance(parameter.default, str) and parameter.default and parameter.show_default is True:
            assert parameter.default in help, parameter.name


@pytest.mark.parametrize("verb", COMMANDS, ids=lambda verb: " ".join(verb) or "vastmax")
def test_examples_that_are_copied_are_the_examples(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(help: str) -> list[list[str]]:
        joined = help.replace("\\\n", "")
        return [shlex.split(line) for line in re.findall(r"^ +(?:[a-z].* \| )?vastmax .*$", joined, re.MULTILINE)]

    monkeypatch.setenv("COLUMNS", "80")
    examples = lines(COMMANDS[verb].help)
    assert lines(shown(*verb))[: len(examples)] == examples
    assert examples or not verb


def test_summaries_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for verb, command in COMMANDS.items():
        if verb:
            listed = " ".join(shown(*verb[:-1]).split("Commands:")[1].split())
            assert " ".join(re.split(r"(?<=\.)\s*\n", command.help)[0].split()) in listed


def test_non_breaking_hyphens_are_not_shown() -> None:
    assert all("\N{NON-BREAKING HYPHEN}" not in shown(*verb) for verb in COMMANDS)
