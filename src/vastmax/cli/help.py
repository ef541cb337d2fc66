"""Help that fits into 80 columns, truncates nothing, and can be copied."""

from __future__ import annotations

import re
from typing import Any

import typer.core

from vastmax.errors import InputError

__all__ = ["Verb", "Verbs"]

_Context: Any = typer.core.TyperCommand.context_class  # from click, or typer's own copy of it
_Formatter: Any = _Context.formatter_class
_HYPHEN = "\N{NON-BREAKING HYPHEN}"  # replaces "-" while lines are wrapped, so that no value is split
_LONGEST_SUMMARY = 1000
_TOGETHER = ("vastmax train", "vastmax lm train")  # commands that several processes can run


class _Help(_Formatter):
    def write_text(self, text: str) -> None:
        width = self.width - self.current_indent
        lines = [_folded(line, width) if re.match(r" +\S.*--?[a-z]", line) else line for line in text.splitlines()]
        super().write_text("\n".join(lines).replace("-", _HYPHEN))

    def write_dl(self, rows: Any, *arguments: Any, **options: Any) -> None:
        kept = [(first, second.replace("-", _HYPHEN)) for first, second in rows]
        super().write_dl(kept, *arguments, **options)

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-")


def _folded(example: str, width: int) -> str:
    """Split a command line before options into continued lines, which a shell reads as one."""
    first, *options = re.split(r" (?=--?[a-zA-Z])", example)
    lines = [first]
    for option in options:
        if len(lines[-1]) + 1 + len(option) + len(" \\") <= width:
            lines[-1] += f" {option}"
        else:
            lines[-1] += " \\"
            lines.append(f"{' ' * (len(example) - len(example.lstrip()) + 4)}{option}")
    return "\n".join(lines)


class _HelpContext(_Context):
    formatter_class = _Help


class Verb(typer.core.TyperCommand):
    """A command with this module's help layout."""

    context_class = _HelpContext

    def invoke(self, ctx: Any) -> Any:
        """Run the command; InputError if several processes were started for a command that runs in one."""
        from vastmax.runs import started_in_group

        if ctx.command_path not in _TOGETHER and started_in_group():
            raise InputError(
                f"{ctx.command_path} runs in one process, unlike {' and '.join(_TOGETHER)}: "
                "start it without torchrun (or unset WORLD_SIZE)."
            )
        return super().invoke(ctx)

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the whole first sentence, to be wrapped and not truncated."""
        return super().get_short_help_str(_LONGEST_SUMMARY)


class Verbs(typer.core.TyperGroup):
    """A command group with this module's help layout."""

    context_class = _HelpContext

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the whole first sentence."""
        return super().get_short_help_str(_LONGEST_SUMMARY)
