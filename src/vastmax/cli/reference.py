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
        below = getattr(command, "commands", None)
        yield _section(above + name, command) if below is None else _overview(above + name, command)
        yield from _sections(f"{above}{name} ", below or {})


def _overview(name: str, group: Any) -> str:
    text, examples = _help(group)
    usage = f"vastmax {name} {'|'.join(group.commands)} ..."
    return f"\n## {name}\n\n```\n{usage}\n```\n\n{text}\n\n```\n{examples}\n```\n"


def _help(command: Any) -> tuple[str, str]:
    """The explanation and the examples of a command."""
    text, _, examples = command.help.partition("\b")
    lines = inspect.cleandoc(examples).splitlines()[1:]
    return inspect.cleandoc(text), inspect.cleandoc("\n".join(lines))


def _section(name: str, command: Any) -> str:
    text, examples = _help(command)
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    required = [f"{option.opts[-1]} {option.metavar}" for option in options if option.required]
    usage = " ".join(["vastmax", name, *(argument.metavar for argument in arguments), *required, "[OPTIONS]"])
    rows = [f"| `{argument.metavar}` | {_cell(argument.help)} | |" for argument in arguments]
    rows += [f"| {_flags(option)} | {_cell(option.help)} | {_default(option)} |" for option in options]
    table = "\n".join(["| | | default |", "|---|---|---|", *rows])
    return f"\n## {name}\n\n```\n{usage}\n```\n\n{text}\n\n```\n{examples}\n```\n\n{table}\n"


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
