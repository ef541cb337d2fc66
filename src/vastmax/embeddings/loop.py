"""The loop over an embedding trainer: steps, reports, checkpoints, a polite stop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from vastmax.embeddings.checkpoint import RunIdentity, RunState, load_checkpoint, save_checkpoint
from vastmax.embeddings.trainers.trainer import Trainer
from vastmax.errors import InputError
from vastmax.runs import OutputFolder, StopRequest, TrainingInterrupted, TrainingProgress
from vastmax.text import EncodedCorpus

__all__ = ["EmbeddingLoop"]

_STEP_SECONDS = 0.4
_REPORT_SECONDS = 1.0
_REPORT_SHARE = 1e-3


class EmbeddingLoop:
    """Drives a trainer from where it stands to the end.

    Chance in the trainer depends on seed, epoch and chunk alone, so neither the length of a step nor a stop and a
    resumption between two steps changes what is learnt: with one thread, not by a bit.

    Args:
        trainer: The trainer to drive.
        corpus: What it trains on.
        options: Whatever shapes the result; a checkpoint resumes only under the same.
        output: Where checkpoints go; None for none.
        checkpoint_minutes: Time between two checkpoints; 0 for none but when stopped.
        progress: Called with every report.
    """

    def __init__(
        self,
        trainer: Trainer,
        corpus: EncodedCorpus,
        options: dict[str, Any],
        output: OutputFolder | None,
        checkpoint_minutes: float,
        progress: Callable[[TrainingProgress], None] | None,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._trainer = trainer
        self._corpus = corpus
        self._options = options
        self._output = output
        self._checkpoint_seconds = 60 * checkpoint_minutes if checkpoint_minutes else float("inf")
        self._progress = progress
        self._identity: RunIdentity | None = None
        self._examples = 0
        self._loss_sum = 0.0
        self._reported = (0, 0.0)
        self._begun = (0, 0.0)

    def resume(self) -> None:
        """Set trainer and sums to where the checkpoint left them.

        Raises:
            CheckpointError: It belongs to another corpus, other options or another version, or is damaged.
        """
        if self._output is None:
            return
        checkpoint = load_checkpoint(self._output.checkpoint)
        checkpoint.identity.check(self.identity, self._output.checkpoint)
        self._trainer.restore(checkpoint.tensors)
        state = checkpoint.state
        self._trainer.position = state.position
        self._examples, self._loss_sum, self.seconds = state.examples, state.loss_sum, state.seconds
        self.records = checkpoint.records

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until a stop is requested.

        Raises:
            TrainingInterrupted: A stop was requested; a checkpoint was written if there is an output folder.
            DivergedError: The vectors left the range of numbers; the last checkpoint is kept.
        """
        trainer = self._trainer
        self._reported = (self._examples, self._loss_sum)
        self._begun = (trainer.words_done, self.seconds)
        chunks = 1
        clock = checkpointed = time.perf_counter()
        reported, reported_words = clock - _REPORT_SECONDS, -trainer.words_total
        while trainer.position < trainer.num_chunks:
            chunks = min(chunks, trainer.num_chunks - trainer.position)
            statistics = trainer.run(chunks)
            now = time.perf_counter()
            elapsed, clock = now - clock, now
            self.seconds += elapsed
            self._examples += statistics.examples
            self._loss_sum += statistics.loss_sum
            # Aim at steps short enough to answer a Ctrl-C and long enough to hide the threads' start.
            chunks = max(1, min(4 * chunks, round(chunks * _STEP_SECONDS / max(elapsed, 1e-6))))
            done = trainer.position == trainer.num_chunks
            enough = trainer.words_done - reported_words >= _REPORT_SHARE * trainer.words_total
            if done or (enough and now - reported >= _REPORT_SECONDS):
                reported, reported_words = now, trainer.words_done
                self._report()
            if done:
                return
            if stop.requested:
                self._stop()
            if now - checkpointed >= self._checkpoint_seconds:
                self._save_or_warn()
                checkpointed = clock = time.perf_counter()

    @property
    def identity(self) -> RunIdentity:
        """What a checkpoint of this run belongs to; fingerprints the corpus on first use."""
        if self._identity is None:
            self._identity = RunIdentity.of(self._options, self._corpus)
        return self._identity

    def save(self) -> None:
        """Write a checkpoint; InputError if that fails, with the one before it untouched."""
        if self._output is not None:
            trainer = self._trainer
            state = RunState(trainer.position, self._examples, self._loss_sum, self.seconds)
            save_checkpoint(
                self._output.checkpoint,
                trainer.tensors(),
                self._corpus.vocabulary,
                self.identity,
                state,
                self.records,
            )

    def _save_or_warn(self) -> None:
        """Save; a disk that is full just now is no reason to throw hours of training away."""
        try:
            self.save()
        except InputError as error:
            kept = "; the one before it is kept" if self._output and self._output.has_checkpoint else ""
            warnings.warn(f"no checkpoint was written{kept}: {error}", stacklevel=2)

    def _stop(self) -> None:
        share = self._trainer.words_done / max(1, self._trainer.words_total)
        if self._output is not None:
            self._save_or_warn()
            if self._output.has_checkpoint:
                raise TrainingInterrupted(self._output.checkpoint, share)
        raise TrainingInterrupted(None, share)

    def _report(self) -> None:
        trainer = self._trainer
        words, seconds = trainer.words_done, self.seconds
        examples, loss_sum = self._examples - self._reported[0], self._loss_sum - self._reported[1]
        speed = (words - self._begun[0]) / max(seconds - self._begun[1], 1e-9)
        report = TrainingProgress(
            words=words,
            words_total=trainer.words_total,
            words_per_second=speed,
            loss=self._loss_sum / max(1, self._examples),
            recent_loss=loss_sum / max(1, examples),
            learning_rate=trainer.learning_rate,
            seconds=seconds,
            seconds_left=(trainer.words_total - words) / max(speed, 1e-9),
        )
        self._reported = (self._examples, self._loss_sum)
        self.records.append(report.to_record())
        if self._progress is not None:
            self._progress(report)
