"""How results reach people and machines: tables for a terminal, tabs for a pipe, one JSON document on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["complain", "is_terminal", "note", "print_json", "print_table", "say"]


def complain(message: str) -> None:
    """Print one sentence of complaint on stderr."""
    print(f"vastmax: {message}", file=sys.stderr)


def note(message: str) -> None:
    """Print on stderr what is neither result nor complaint."""
    print(message, file=sys.stderr, flush=True)


def say(message: str = "") -> None:
    """Print a line of the result for people."""
    print(message)


def is_terminal(stream: Any) -> bool:
    """Whether someone is looking."""
    return bool(getattr(stream, "isatty", lambda: False)())


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; numpy's numbers become plain ones."""
    print(json.dumps(document, ensure_ascii=False, default=lambda value: value.item()))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table, aligned on a terminal, tab-separated elsewhere so that `cut` and spreadsheets can read it."""
    texts = [[_text(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        for row in [list(columns), *texts]:
            print("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in texts) and bool(texts)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _text(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").strip().isdigit()
