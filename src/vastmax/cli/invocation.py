"""How this program was called, for the commands it tells people to type next, and what it says when interrupted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

import typer

from vastmax.cli.console import complain, note

__all__ = ["command_line", "interrupted", "program", "resume_command"]


def program() -> str:
    """Return what calls this program again, quoted for the shell: ``vastmax`` where the shell finds it by that name.

    From an environment that is not activated, as after ``make demo``, that is the path to it.
    """
    called = sys.argv[0]
    folder, name = os.path.split(called)
    if name == "__main__.py" and os.path.basename(folder) == "vastmax":
        return shlex.join([sys.executable, "-m", "vastmax"])
    found = shutil.which("vastmax")
    elsewhere = name != "vastmax"  # a program of someone else's that calls ours as a function
    if elsewhere or (found and os.path.realpath(found) == os.path.realpath(called)):
        return "vastmax"
    return shlex.quote(called)


def command_line(context: typer.Context) -> str:
    """The command line as it was typed, quoted for the shell."""
    return f"{program()} {shlex.join(context.find_root().obj['arguments'])}"


def resume_command(context: typer.Context) -> str:
    """The command line that goes on where this one was stopped, quoted for the shell."""
    kept = [
        argument for argument in context.find_root().obj["arguments"] if argument not in ("--overwrite", "--resume")
    ]
    # After a `--` everything is a corpus, so the flag goes right behind the verb.
    verb = kept.index("train") + 1
    return f"{program()} {shlex.join([*kept[:verb], '--resume', *kept[verb:]])}"


def interrupted(context: typer.Context, sentence: str, command: str | None = None) -> typer.Exit:
    """Say that a verb was interrupted, and how to go on; return what it raises then."""
    said = context.find_root().obj
    complain(sentence)
    if command is not None:
        note(command)
    said["interrupted"] = True
    return typer.Exit(130)
