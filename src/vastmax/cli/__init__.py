"""The command line: flags to a config, one call, a print. Nothing is computed here."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 bad input, 2 usage, 130 interrupted."""
    try:
        from vastmax.cli.app import run

        code = run(arguments)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # nothing is left to interrupt but Python's exit
            signal.signal(each, signal.SIG_IGN)
    except KeyboardInterrupt:  # while modules are being loaded; `run` says it otherwise
        print("vastmax: interrupted", file=sys.stderr)
        code = 130
    raise SystemExit(code)
