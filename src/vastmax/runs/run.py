"""The base class of all long runs: steps, reports, checkpoints, graceful stop."""

from __future__ import annotations

import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from vastmax.checks import conforms, number, shown
from vastmax.display import reporting
from vastmax.errors import CheckpointError, InputError, VastmaxError
from vastmax.files import drop
from vastmax.runs.checkpoint import Checkpoint, holds_checkpoint
from vastmax.runs.processes import ALONE, Processes
from vastmax.runs.progress import LossSums, TrainingProgress
from vastmax.runs.stop import StopRequest

__all__ = ["Run", "TrainingInterrupted"]

_MOST = 2.0**62
_FACTS: dict[str, Any] = {"words": int, "seconds": float, "losses": dict[str, float]}
_UNFIT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, VastmaxError)
_ANEW = "delete it to start again."


def _is_fact(value: Any, kind: Any) -> bool:
    """Whether a value of a checkpoint has the expected type and, if it is a number, lies in 0 to 2**62."""
    return conforms(value, kind) and (not isinstance(value, (int, float)) or 0 <= value <= _MOST)


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped on request after a step, with a checkpoint if there is a folder for it.

    Args:
        checkpoint: Folder that ``resume=True`` continues from, or None if there is no checkpoint.
        share: Share of the run that is done, from 0 to 1.
    """

    def __init__(self, checkpoint: Path | None, share: float) -> None:
        super().__init__(f"training stopped at {share:.1%}")
        self.checkpoint = checkpoint
        self.share = share


class _Stopped(Exception):  # noqa: N818 (not an error)
    """A stop was requested, and the run has reached a point where it can stop."""


class Run(ABC):
    """A run that proceeds in steps until it is finished, and resumes from its checkpoint after a stop.

    Subclasses define the step and the state; this class handles the clock, reports and checkpoints.

    Args:
        checkpoint: Folder of the checkpoint; None for no checkpoints.
        checkpoint_minutes: Minutes between two checkpoints; 0 for none except when stopped.
        progress: Function that is called about every second, after the first and after the last step; or True for a
            bar on a terminal or in a notebook, and lines on stderr elsewhere.
        processes: The processes of the run: each makes its own steps; the leader reports and writes.
    """

    kind: ClassVar[str]  # what is trained, for messages
    facts: ClassVar[Mapping[str, Any]] = {}  # types of the facts in a checkpoint, by name
    report_seconds: ClassVar[float] = 1.0
    report_share: ClassVar[float] = 0.0  # reports are this share and report_seconds apart, at least

    def __init__(
        self,
        checkpoint: Path | None,
        checkpoint_minutes: float,
        progress: bool | Callable[[TrainingProgress], None] | None,
        processes: Processes = ALONE,
    ) -> None:
        self.processes = processes
        self.words = 0  # processed so far; incremented by steps
        self.losses = LossSums()  # steps add their losses to it
        self.seconds = 0.0  # in steps, without validation, reports and saving
        self._checkpoint = checkpoint
        self._checkpoint_seconds = 60 * number("checkpoint_minutes", checkpoint_minutes, 0, 1e6) or math.inf
        self._progress = progress if processes.leads else None
        self._told: Callable[[TrainingProgress], None] | None = None
        self._begun = (0, 0.0, 0.0)  # words, share and seconds at the start of this process
        self._stop: StopRequest | None = None
        self._reported = -math.inf  # time of the last report

    # --- defined by subclasses ---

    @abstractmethod
    def step(self) -> None:
        """Train for a short time: at most as long as a user waits after Ctrl-C."""

    @property
    @abstractmethod
    def share(self) -> float:
        """Share of the run that is done, from 0 to 1."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The current learning rate."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """The identity of the run, as JSON; a checkpoint resumes only with the same identity."""

    @abstractmethod
    def state(self) -> tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]]:
        """Return the position of the run, as JSON, and its tensors."""

    @abstractmethod
    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state` returned; CheckpointError, KeyError or TypeError if it does not fit."""

    def own_part(self, name: str, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return the part of a checkpoint's tensor that this process of several keeps for :meth:`restore`: all."""
        return tensor

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.share >= 1

    @property
    def words_total(self) -> int:
        """Words to process in the whole run."""
        return round(self.words / max(self.share, 1e-9))

    def begin(self) -> None:  # noqa: B027 (overriding is optional)
        """Prepare for the steps of this process."""

    def between_steps(self) -> None:  # noqa: B027 (overriding is optional)
        """Do work other than training after a step, such as validation."""

    def end(self) -> None:  # noqa: B027 (overriding is optional)
        """Do the remaining work after the last step."""

    def report(self, progress: TrainingProgress) -> None:
        """Report progress."""
        if self._told is not None:
            self._told(progress)

    def due(self, stop: bool, checkpoint: bool) -> tuple[bool, bool]:
        """Return, after a step, whether to stop and whether to save; the same on all processes."""
        return self.processes.anywhere(stop, checkpoint and self.processes.leads)  # type: ignore[return-value]

    def meanwhile(self, doing: str) -> None:
        """Report work other than training, about every second; stop there if a stop is requested.

        All processes call it equally often.
        """
        self._leave_if_asked()
        if self._told is not None and time.perf_counter() - self._reported >= self.report_seconds:
            self._reported = time.perf_counter()
            self._told(replace(self._stand(self.losses.mean), doing=doing))

    def _leave_if_asked(self) -> None:
        if self._stop is not None and self.processes.anywhere(self._stop.requested) == (True,):
            raise _Stopped

    def beside(self, folder: Path) -> None:  # noqa: B027 (overriding is optional)
        """Write additional files into the folder of a checkpoint, for its readers."""

    # --- the run ---

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until a stop is requested.

        At the end, a checkpoint of the finished state is left, which :meth:`conclude` deletes, as evaluating and
        saving a model may fail too. TrainingInterrupted after a stop, with a checkpoint if there is a folder for it;
        DivergedError if the loss is NaN or infinite, and the last checkpoint is kept.
        """
        self._stop = stop
        try:
            with reporting(self._progress) as self._told:
                self._work()
        except _Stopped:
            self._save_or_warn()
            kept = self.processes.anywhere(self.processes.leads and self.has_checkpoint) == (True,)
            raise TrainingInterrupted(self._checkpoint if kept else None, self.share) from None
        finally:
            self._stop = None

    def _work(self) -> None:
        self.begin()
        self._begun = self.words, self.share, self.seconds
        clock = saved = time.perf_counter()
        reported_share = -math.inf
        worked = False
        while not self.finished:
            self.step()
            worked = True
            now = time.perf_counter()
            self.seconds += now - clock
            enough = now - self._reported >= self.report_seconds and self.share - reported_share >= self.report_share
            if enough or self.finished:
                self._reported, reported_share = now, self.share
                self.report(self._stand(self.losses.recent()))
            self.between_steps()
            stop = self._stop is not None and self._stop.requested
            stop, save = self.due(stop, time.perf_counter() - saved >= self._checkpoint_seconds)
            if stop:
                raise _Stopped
            if save:
                self._save_or_warn()
                saved = time.perf_counter()
            clock = time.perf_counter()
        self.end()
        if worked and math.isfinite(self._checkpoint_seconds):
            self._save_or_warn()

    def conclude(self, save: Callable[[], None]) -> None:
        """Save the trained model, then delete the checkpoint: a kill in between leaves both.

        VastmaxError if it cannot be saved; the message says whether a checkpoint is kept.
        """
        try:
            save()
        except InputError as error:
            where = f" The checkpoint in {self._checkpoint} is kept: resume it (--resume) to save again."
            kept = where if self.has_checkpoint else ""
            raise VastmaxError(f"the model was trained but not saved: {error}{kept}") from error
        if self._checkpoint is not None:
            drop(self._checkpoint)

    def _stand(self, recent_loss: float) -> TrainingProgress:
        words, share, seconds = self._begun
        spent = max(self.seconds - seconds, 1e-9)
        return TrainingProgress(
            words=self.words,
            words_total=self.words_total,
            words_per_second=(self.words - words) / spent,
            loss=self.losses.mean,
            recent_loss=recent_loss,
            learning_rate=self.learning_rate,
            seconds=self.seconds,
            seconds_left=(1 - self.share) * spent / max(self.share - share, 1e-9),
        )

    # --- checkpoints ---

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self._checkpoint is not None and holds_checkpoint(self._checkpoint)

    def save(self) -> None:
        """Write a checkpoint; InputError if it cannot be written, and the last one is kept.

        All processes call it, and the leader writes.
        """
        facts, tensors = self.state()
        if not self.processes.leads:
            return
        common = {"words": self.words, "seconds": self.seconds, "losses": self.losses.facts()}
        Checkpoint(self.kind, self.identity, {**common, **facts}, tensors).save(self._folder(), self.beside)

    def resume(self) -> None:
        """Restore the state of the checkpoint; CheckpointError if it belongs to another run or is damaged.

        All processes call it, and the leader reads for all.
        """
        folder = self._folder()
        checkpoint = self._load(folder)
        checkpoint.check(self.identity, folder)
        facts = checkpoint.facts
        for name, kind in {**_FACTS, **self.facts}.items():
            if name not in facts:
                raise CheckpointError(f"the checkpoint in {folder} lacks {name!r}: delete it to start again.")
            if not _is_fact(facts[name], kind):
                raise CheckpointError(f"{name} in the checkpoint in {folder} is {shown(facts[name])}: {_ANEW}")
        try:
            self.words, self.seconds, self.losses = facts["words"], facts["seconds"], LossSums(**facts["losses"])
            self.restore(facts, checkpoint.tensors)
        except CheckpointError:
            raise
        except KeyError as error:
            raise CheckpointError(f"the checkpoint in {folder} lacks {error}: {_ANEW}") from error
        except _UNFIT as error:
            why = str(error).splitlines() or [type(error).__name__]
            raise CheckpointError(
                f"the checkpoint in {folder} does not fit this run ({why[0].rstrip('.')}): {_ANEW}"
            ) from error

    def _load(self, folder: Path) -> Checkpoint:
        if self.processes.size == 1:
            return Checkpoint.load(folder, self.kind)
        with self.processes.together():
            found = Checkpoint.load(folder, self.kind) if self.processes.leads else None
        identity, facts = self.processes.gather(found and [found.identity, found.facts])[0]
        tensors = self.processes.from_leader(found and found.tensors, self.own_part)
        return Checkpoint(self.kind, identity, facts, tensors)

    def _folder(self) -> Path:
        if self._checkpoint is None:
            raise InputError("this run has no folder for a checkpoint: give one.")
        return self._checkpoint

    def _save_or_warn(self) -> None:
        """Save if there is a folder; if the disk is full, warn rather than lose hours of training."""
        if self._checkpoint is None:
            return
        try:
            self.save()
        except InputError as error:
            kept = ", the one before it is kept" if self.has_checkpoint else ""
            warnings.warn(f"no checkpoint was written{kept}: {error}", stacklevel=2)
