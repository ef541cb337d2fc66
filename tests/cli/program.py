"""Run the command line: in this process for speed, in a subprocess where signals, limits or terminals matter."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vastmax.cli.app import run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The single error message."""
        lines = [line for line in self.err.splitlines() if line.startswith("vastmax: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("vastmax: ")


def vastmax(*arguments: str | Path) -> Outcome:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    show = warnings.showwarning
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("always")
            code = run([str(argument) for argument in arguments])
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        warnings.showwarning = show
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*arguments: str | Path, **options: Any) -> "subprocess.Popen[str]":
    """Start a command line in a subprocess."""
    command = [sys.executable, "-m", "vastmax", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a shell's background jobs ignore Ctrl-C and those under nohup SIGHUP; children of tests run that way would inherit
    # this
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    heard = {each: signal.signal(each, handler) for each, handler in usual.items()}
    try:
        return subprocess.Popen(command, text=True, env=environment, **{**pipes, **options})
    finally:
        for each, handler in heard.items():
            signal.signal(each, handler)


def finish(process: "subprocess.Popen[str]") -> Outcome:
    """Wait for the process and return its outcome."""
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def on_terminal(*command: str, environment: Mapping[str, str] | None = None, **options: Any) -> str:
    """Return what a successful program prints on a terminal, control sequences included."""
    main, terminal = os.openpty()
    given = {**os.environ, "TERM": "xterm", **(environment or {})}
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=given, **options)
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # raised once the other end is closed
        while part := os.read(main, 4096):
            seen += part
    os.close(main)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def wait_for_checkpoint(process: "subprocess.Popen[str]", folder: Path) -> None:
    while process.poll() is None and not (folder / "checkpoint" / "state.json").exists():
        time.sleep(0.005)
