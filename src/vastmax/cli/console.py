"""Output: tables for terminals, tabs for pipes, JSON on request, and the command to type next."""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from vastmax.display import is_terminal
from vastmax.sentences import COMMANDS, shortened, visible

__all__ = [
    "command_line",
    "complain",
    "interrupted",
    "interrupted_training",
    "note",
    "print_json",
    "print_table",
    "program",
    "quoted",
    "resume_command",
    "say",
    "say_fields",
]

_SUBSTITUTED = re.compile(r"/(dev|proc/(self|\d+))/fd/\d+")  # what a shell substitutes for <(...)


def complain(message: str) -> None:
    """Print an error in one sentence on stderr."""
    print(f"vastmax: {shortened(visible(message))}", file=sys.stderr)


def note(message: str) -> None:
    """Print on stderr what is neither a result nor an error."""
    print(visible(message, keep="\n"), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print lines of a result on stdout, for human readers."""
    print(visible(text, keep="\n"))


def say_fields(*fields: Any) -> None:
    """Print tab-separated fields on stdout."""
    print("\t".join(visible(_text(field)) for field in fields))


def print_json(document: Any) -> None:
    """Print a JSON document on stdout, with NumPy scalars as numbers and paths as strings."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value.item()

    utf8 = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"  # not so in the locale C
    text = json.dumps(document, ensure_ascii=not utf8, default=plain)
    print(COMMANDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text))  # control characters that JSON does not escape


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table: aligned on a terminal, tab-separated elsewhere, for `cut` and spreadsheets."""
    texts = [[_text(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        for row in [columns, *texts]:
            say_fields(*row)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=None if title is None else Text(visible(title)), box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in texts) and bool(texts)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console().print(table)


def _text(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").strip().isdigit()


def program() -> str:
    """Return the command that runs this program, quoted for the shell: ``vastmax`` if the shell finds it by that name.

    In an environment that is not activated, as after ``make demo``, it is the path of the program.
    """
    called = sys.argv[0]
    folder, name = os.path.split(called)
    if name == "__main__.py" and os.path.basename(folder) == "vastmax":
        return f"{quoted(sys.executable)} -m vastmax"
    found = shutil.which("vastmax")
    elsewhere = name != "vastmax"  # another program calls ours as a function
    if elsewhere or (found and os.path.realpath(found) == os.path.realpath(called)):
        return "vastmax"
    return quoted(called)


def command_line(context: typer.Context) -> str:
    """Return the command line as typed, quoted for the shell."""
    return _command(context.find_root().obj["arguments"])


def resume_command(context: typer.Context) -> str:
    """Return the command line that resumes this run, quoted for the shell."""
    kept = [each for each in context.find_root().obj["arguments"] if each not in ("--overwrite", "--resume")]
    # After `--` everything is a corpus, so the flag goes right after the command's name.
    verb = kept.index("train") + 1
    return _command([*kept[:verb], "--resume", *kept[verb:]])


def _command(arguments: Sequence[str]) -> str:
    """Return arguments quoted for the shell; an expired process substitution becomes the placeholder ``<(...)``."""
    from vastmax.runs import started_in_group

    called = "torchrun ... -m vastmax" if started_in_group() else program()
    return " ".join([called, *map(_typed, arguments)])


def quoted(text: str | Path) -> str:
    """Return a text quoted for the shell, as ``$'…'`` if it holds control characters or undecodable bytes."""
    text = str(text)
    return shlex.quote(text) if visible(text) == text else f"$'{''.join(map(_escaped, text))}'"


def _typed(argument: str) -> str:
    option, value = _option_and_value(argument)
    if _SUBSTITUTED.fullmatch(value):
        return f"{option}<(...)"
    return quoted(argument)


def _escaped(character: str) -> str:
    """Return a character as written in ``$'…'``."""
    if character not in "\\'" and visible(character) == character:
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _option_and_value(argument: str) -> tuple[str, str]:
    option, equals, value = argument.partition("=")
    return (option + equals, value) if equals and option.startswith("--") else ("", argument)


def _is_pipe(name: str) -> bool:
    """Whether this name is of something that can be read only once."""
    if name in ("-", "/dev/stdin") or _SUBSTITUTED.fullmatch(name):
        return True
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode)
    except (OSError, ValueError):
        return False


def interrupted(context: typer.Context, sentence: str, way: str = "", command: str = "") -> typer.Exit:
    """Report an interrupted command and the command to continue; return the exception for the caller to raise."""
    from vastmax.runs import leads

    piped = any(_is_pipe(_option_and_value(each)[1]) for each in context.find_root().obj["arguments"])
    if command:
        sentence += f" Pipe the same text in again, and {way} with:" if piped else f" {way.capitalize()} with:"
    if leads():
        complain(sentence)
        if command:
            note(command)
    context.find_root().obj["interrupted"] = True
    return typer.Exit(130)


def interrupted_training(
    context: typer.Context, checkpoint: Path | None, share: float | None, otherwise: str
) -> typer.Exit:
    """Like `interrupted` for training: name its checkpoint, or say ``otherwise`` if there is none."""
    done = "interrupted" if share is None else f"interrupted at {share:.1%}"
    if checkpoint is None:
        return interrupted(context, f"{done}: {otherwise}")
    return interrupted(context, f"{done}: checkpoint in {checkpoint}.", "resume", resume_command(context))
