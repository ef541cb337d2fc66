"""Kill or signal training at random moments, then repeat the command until it is done: the result must be the same.

With one thread it is bit-identical however often reading, training or saving was interrupted. For a comparison, the
process of a run is hit as often as the comparison itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaign.figures import Figures, memory_disk
from tests.corpora import write_corpus

__all__ = ["kills"]

_SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
_MOST = 4  # maximum number of interruptions of one training
_PATIENCE = 120.0  # seconds that a process may take, whether signalled or not
_SMALL = ["--dim", "16", "--threads", "1", "--min-count", "1", "--checkpoint-minutes", "0.0003"]
_LM = [*_SMALL, "--rows", "8", "--length", "10", "--epochs", "1", "--held-out", "0.1", "--layers", "1"]
_COMMANDS: dict[str, tuple[list[str], int]] = {
    "train": (["train", "TEXT", "-o", "OUT", "--resume", *_SMALL, "--epochs", "300"], 6),
    "train, torch": (
        ["train", "TEXT", "-o", "OUT", "--resume", *_SMALL, "--epochs", "3", "--engine", "torch", "--objective", "nce"],
        2,
    ),
    "lm train": (["lm", "train", "TEXT", "-o", "OUT", "--resume", *_LM], 2),
    "compare": (["compare", "TEXT", "-o", "OUT", "--methods", "full,sampled", *_LM], 1),
}
"""The commands, and how often each runs in a round."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended, and whether the signal reached it."""

    code: int
    error: str
    hit: bool


def kills(seed: int, seconds: float) -> Figures:
    """Interrupt every command in turn until the time is over."""
    figures, chance, until = Figures(), Random(f"{seed}/kills"), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
        text = write_corpus(Path(scratch) / "text.txt", count=150)
        whole = {name: Whole(name, command, text, Path(scratch)) for name, (command, _) in _COMMANDS.items()}
        while time.monotonic() < until or not figures.cases:  # at least one round, however slow the reference runs
            for name, (_, times) in _COMMANDS.items():
                for _ in range(times):
                    if time.monotonic() < until or not figures.cases:
                        whole[name].interrupted(chance, figures)
    return figures


def _hear() -> None:
    """Restore the default handlers of signals that a shell's background jobs (SIGINT) and nohup (SIGHUP) ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Whole:
    """A command run without interruption for reference, then interrupted."""

    def __init__(self, name: str, command: list[str], text: Path, scratch: Path) -> None:
        self.name = name
        self._folder = scratch / f"{name} interrupted"
        folder = scratch / name
        self._command = [str(text) if each == "TEXT" else each for each in command]
        began = time.monotonic()
        outcome = self._run(folder, None)
        if outcome.code:
            raise RuntimeError(f"{name} does not run: {outcome.error}")
        self._duration = time.monotonic() - began
        self._result, self._names = _result(folder), _names(folder)

    def interrupted(self, chance: Random, figures: Figures) -> None:
        """Interrupt it a few times, let it finish, and check the result."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for _ in range(chance.randint(1, _MOST)):
            which = chance.choice(_SIGNALS)
            began = time.monotonic()
            outcome = self._run(self._folder, which, chance.uniform(0, 1.1 * self._duration), chance.random() < 0.5)
            if outcome.hit:
                figures.add(f"{self.name}, {which.name}", _fault(outcome, which), time.monotonic() - began)
            if outcome.code == 0:
                break
        for _ in range(3):  # a run whose process was killed counts as failed and is retried
            outcome = self._run(self._folder, None)
        if outcome.code:
            figures.add(f"{self.name}, resumed", f"exit code {outcome.code}: {outcome.error.strip()[-200:]}")
        elif _result(self._folder) != self._result:
            figures.add(f"{self.name}, resumed", "another result than without interruption")
        elif _names(self._folder) != self._names:
            odd = min(set(_names(self._folder)) ^ set(self._names))
            figures.add(f"{self.name}, resumed", f"leaves, or lacks, {odd}")
        else:
            figures.add(f"{self.name}, resumed")

    def _run(self, folder: Path, which: signal.Signals | None, after: float = 0, below: bool = False) -> Outcome:
        command = [str(folder) if each == "OUT" else each for each in self._command]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "vastmax", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=_hear,
        )
        hit = False
        if which is not None:
            try:
                _, error = process.communicate(timeout=after)
                return Outcome(process.returncode, error, hit=False)
            except subprocess.TimeoutExpired:
                target = next(iter(_children(process.pid)), process.pid) if below else process.pid
                os.kill(target, which)
                hit = True
        _, error = process.communicate(timeout=_PATIENCE)
        return Outcome(process.returncode, error, hit)


def _fault(outcome: Outcome, which: signal.Signals) -> str:
    """Return what is wrong with the end of a signalled process; before our code runs, any Python exit is valid."""
    # CPython ends by SIGINT, as shells expect, even if the KeyboardInterrupt passed through an `exec`
    accepted = (0, 1, 130, -which, -signal.SIGINT)
    if outcome.code not in accepted:
        return f"exit code {outcome.code}: {outcome.error.strip()[-200:]}"
    if "Traceback" in outcome.error:
        interrupted = outcome.error.strip().splitlines()[-1] == "KeyboardInterrupt"
        begun = "in main" in outcome.error or not any(each in outcome.error for each in ("<module>", "<frozen runpy>"))
        if interrupted and not begun:
            return ""  # Python was still importing, before any code of ours that could catch it
        return f"a traceback: {' / '.join(line.strip() for line in outcome.error.splitlines()[-3:])}"
    return ""


def _children(pid: int) -> Sequence[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _result(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


def _names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))
