"""The command line as a page of the documentation: ``python -m vastmax.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from vastmax.cli.app import app

__all__ = ["reference"]

_HEAD = """# Command line

One verb a job. Every verb takes `--json`: one JSON document on stdout, everything else on stderr. On a terminal results
are tables and progress is a bar; elsewhere results are separated by tabs and progress is a line every few seconds, on
stderr.

Exit codes: 0 done; 1 a value or an input is not accepted, and one sentence on stderr says what, where, and what to do;
2 the command line cannot be read (an unknown flag, a missing argument, text where a number belongs); 130 interrupted,
with the command that resumes.

This page is written by `make reference` from the program itself.
"""


def reference() -> str:
    """Return the page in Markdown."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return _HEAD + "".join(_sections("", commands))


def _sections(above: str, commands: dict[str, Any]) -> Iterator[str]:
    """A section for each verb; behind one that has sub-commands, a section for each of those."""
    for name, command in commands.items():
        below = getattr(command, "commands", {})
        usage, table = _overview(command)
        text, _, examples = command.help.partition("\b")
        lines = inspect.cleandoc(examples).splitlines()[1:]
        examples = inspect.cleandoc("\n".join(lines))
        yield f"\n## {above}{name}\n\n```\nvastmax {above}{name} {usage}\n```\n\n{inspect.cleandoc(text)}\n\n"
        yield f"```\n{examples}\n```\n{table}"
        yield from _sections(f"{above}{name} ", below)


def _overview(command: Any) -> tuple[str, str]:
    """How a command is called, and the table of what it takes, where that are not sub-commands."""
    if hasattr(command, "commands"):
        return f"{'|'.join(command.commands)} ...", ""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    required = [f"{option.opts[-1]} {option.metavar}" for option in options if option.required]
    usage = " ".join([*(argument.metavar for argument in arguments), *required, "[OPTIONS]"])
    rows = [f"| `{argument.metavar}` | {_cell(argument.help)} | |" for argument in arguments]
    rows += [f"| {_flags(option)} | {_cell(option.help)} | {_default(option)} |" for option in options]
    return usage, "\n".join(["", "| | | default |", "|---|---|---|", *rows, ""])


def _flags(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return f"{names} {_cell(option.metavar)}" if option.metavar else names


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default is None or not option.show_default:
        return ""
    if isinstance(option.default, bool):
        return "yes" if option.default else "no"
    return f"`{option.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "&#124;")


if __name__ == "__main__":
    print(reference(), end="")
