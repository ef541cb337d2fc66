"""The command line: it turns flags into one call and prints the result, and computes nothing itself."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 bad input, 2 usage error, 130 interrupted."""
    try:
        from vastmax.cli.app import run

        code = run(arguments)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # only Python's exit is left to interrupt
            signal.signal(each, signal.SIG_IGN)
    except KeyboardInterrupt:  # while modules are loaded; later `run` reports it
        print("vastmax: interrupted", file=sys.stderr)
        code = 130
    raise SystemExit(code)
