"""The command line: flags to a config, one call, a print. Nothing is computed here."""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 bad input, 2 usage, 130 interrupted."""
    from vastmax.cli.app import run

    raise SystemExit(run(arguments))
