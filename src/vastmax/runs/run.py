"""The base of all long runs: steps, reports, checkpoints, a polite stop."""

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
    """Whether a checkpoint may hold this: of its kind, and a number of 0 or more where it is one."""
    return conforms(value, kind) and (not isinstance(value, (int, float)) or 0 <= value <= _MOST)


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, and stopped after a step with everything saved that there is a place for.

    Args:
        checkpoint: The folder that ``resume=True`` continues from, or None where no output folder was given.
        share: Share of the run that is done, from 0 to 1.
    """

    def __init__(self, checkpoint: Path | None, share: float) -> None:
        super().__init__(f"training stopped at {share:.1%}")
        self.checkpoint = checkpoint
        self.share = share


class _Stopped(Exception):  # noqa: N818 (it is no error)
    """A stop was requested, and the run can be left where it is."""


class Run(ABC):
    """A run that goes on step by step until it is finished, and from its checkpoint where it was stopped.

    A subclass says what a step is and what its state is; the clock, the reports and the checkpoints are here.

    Args:
        checkpoint: Folder of the checkpoint; None for none.
        checkpoint_minutes: Time between two checkpoints; 0 for none but when stopped.
        progress: Called about every second, after the first step and after the last; or True for a bar on a terminal or
            in a notebook, and lines on stderr elsewhere.
        processes: Those that run it together: each makes its steps, and the leader reports and writes.
    """

    kind: ClassVar[str]  # what is trained, as a sentence names it
    facts: ClassVar[Mapping[str, Any]] = {}  # of what a checkpoint says where the run stands, the types by name
    report_seconds: ClassVar[float] = 1.0
    report_share: ClassVar[float] = 0.0  # between two reports lie at least so many seconds and this share of the run

    def __init__(
        self,
        checkpoint: Path | None,
        checkpoint_minutes: float,
        progress: bool | Callable[[TrainingProgress], None] | None,
        processes: Processes = ALONE,
    ) -> None:
        self.processes = processes
        self.words = 0  # passed, which a step counts up
        self.losses = LossSums()  # to which a step adds its losses
        self.seconds = 0.0  # of the steps; validation, reports and saving are not counted
        self._checkpoint = checkpoint
        self._checkpoint_seconds = 60 * number("checkpoint_minutes", checkpoint_minutes, 0, 1e6) or math.inf
        self._progress = progress if processes.leads else None
        self._told: Callable[[TrainingProgress], None] | None = None
        self._begun = (0, 0.0, 0.0)  # words, share and seconds when this process began
        self._stop: StopRequest | None = None
        self._reported = -math.inf  # when

    # --- what a subclass says ---

    @abstractmethod
    def step(self) -> None:
        """Train a little: at most for the time that somebody waits after Ctrl-C."""

    @property
    @abstractmethod
    def share(self) -> float:
        """Share of the run that is done, from 0 to 1."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The learning rate now."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the run is, as JSON; a checkpoint resumes only under the same."""

    @abstractmethod
    def state(self) -> tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]]:
        """Return where the run stands, as JSON, and its tensors."""

    @abstractmethod
    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` returned; CheckpointError, KeyError or TypeError where it does not fit."""

    def own_part(self, name: str, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return what this process, of several, is to have for :meth:`restore` of a tensor of a checkpoint: all."""
        return tensor

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.share >= 1

    @property
    def words_total(self) -> int:
        """Words to pass in the whole run."""
        return round(self.words / max(self.share, 1e-9))

    def begin(self) -> None:  # noqa: B027 (may be left as it is)
        """Make ready for the steps of this process."""

    def between_steps(self) -> None:  # noqa: B027 (may be left as it is)
        """Do after a step what is no training, as validation."""

    def end(self) -> None:  # noqa: B027 (may be left as it is)
        """Do what is left to do after the last step."""

    def report(self, progress: TrainingProgress) -> None:
        """Tell how far it is."""
        if self._told is not None:
            self._told(progress)

    def due(self, stop: bool, checkpoint: bool) -> tuple[bool, bool]:
        """Return, behind a step, whether to stop and whether to write a checkpoint: for one process, for all."""
        return self.processes.anywhere(stop, checkpoint and self.processes.leads)  # type: ignore[return-value]

    def meanwhile(self, doing: str) -> None:
        """Tell what is done beside training, about every second; leave it there where a stop is requested.

        All processes call it, and as often.
        """
        self._leave_if_asked()
        if self._told is not None and time.perf_counter() - self._reported >= self.report_seconds:
            self._reported = time.perf_counter()
            self._told(replace(self._stand(self.losses.mean), doing=doing))

    def _leave_if_asked(self) -> None:
        if self._stop is not None and self.processes.anywhere(self._stop.requested) == (True,):
            raise _Stopped

    def beside(self, folder: Path) -> None:  # noqa: B027 (may be left as it is)
        """Write into a checkpoint's folder what its readers want besides the state."""

    # --- the run ---

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until a stop is requested.

        At the end a checkpoint of what is finished is left, which :meth:`conclude` takes away: judging and saving a
        model may fail, too. TrainingInterrupted says that a stop was requested, and a checkpoint written if there is a
        folder for it; DivergedError that the loss became NaN or infinite, and the last checkpoint is kept.
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
        """Save what was trained, then drop the checkpoint: a kill in between leaves both.

        VastmaxError where it cannot be saved; the sentence says whether a checkpoint is kept.
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
        """Whether there is anything to resume from."""
        return self._checkpoint is not None and holds_checkpoint(self._checkpoint)

    def save(self) -> None:
        """Write a checkpoint in place of the last one, which is kept where an InputError says that none is written.

        All processes call it, and the leader writes.
        """
        facts, tensors = self.state()
        if not self.processes.leads:
            return
        common = {"words": self.words, "seconds": self.seconds, "losses": self.losses.facts()}
        Checkpoint(self.kind, self.identity, {**common, **facts}, tensors).save(self._folder(), self.beside)

    def resume(self) -> None:
        """Set the run to where the checkpoint left it; CheckpointError where it is another run's, or damaged.

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
        """Save, if there is a folder; a disk that is full just now is no reason to throw hours of training away."""
        if self._checkpoint is None:
            return
        try:
            self.save()
        except InputError as error:
            kept = ", the one before it is kept" if self.has_checkpoint else ""
            warnings.warn(f"no checkpoint was written{kept}: {error}", stacklevel=2)
