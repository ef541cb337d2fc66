"""The training loop of embeddings in several processes, each on its part of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vastmax.embeddings.exchange import Exchange, Schedule
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.embeddings.trainers.trainer import Trainer
from vastmax.runs import Processes, TrainingProgress
from vastmax.text import EncodedCorpus

__all__ = ["GroupLoop"]


class GroupLoop(EmbeddingLoop):
    """The training loop of one of several processes; its arguments are those of `EmbeddingLoop`.

    A step is a round: each process trains on the same share of its part of the corpus, then the processes exchange the
    rows that are due. Learning rates therefore decay alike everywhere, and with one thread per process the run is
    reproducible bit for bit. Checkpoints are written only after an exchange of all rows, which a stop forces at once.
    """

    def __init__(
        self,
        trainer: Trainer,
        corpus: EncodedCorpus,
        options: Mapping[str, Any],
        checkpoint: Path | None,
        checkpoint_minutes: float,
        progress: bool | Callable[[TrainingProgress], None] | None,
        processes: Processes,
    ) -> None:
        super().__init__(trainer, corpus, options, checkpoint, checkpoint_minutes, progress, processes)
        whole = corpus.whole or corpus
        between = trainer.options.exchange_words
        self._whole_words = whole.num_words * trainer.options.epochs
        rows = sum(map(len, trainer.tensors().values())) // 2
        self._schedule = Schedule(self._whole_words, processes.size, rows, between)
        self._exchange: Exchange | None = None
        self._round = 0

    def begin(self) -> None:
        """Copy the tables, as the base from which changes are computed."""
        self._begun_exchange()

    def _begun_exchange(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(self.processes, list(self._trainer.tensors().values()))
        return self._exchange

    def end(self) -> None:
        """Free the copies of the tables."""
        self._sent_before, self._exchange = self.bytes_sent, None

    def step(self) -> None:
        """Train one round, then exchange the rows that are due."""
        exchange = self._begun_exchange()
        self._round += 1
        trainer, stop = self._trainer, self._chunk(self._round)
        done = [0, 0, 0.0]
        if stop > trainer.position:
            statistics = trainer.run(stop - trainer.position)
            done = [statistics.words, statistics.examples, statistics.loss_sum]
        for words, examples, loss in self.processes.gather(done):
            self.words += words
            self.losses.add(loss, examples)
        exchange(self._schedule.share(self._round))

    def due(self, stop: bool, checkpoint: bool) -> tuple[bool, bool]:
        """Exchange all rows before a stop; allow a regular checkpoint only after a scheduled exchange of all rows."""
        whole = self._schedule.share(self._round) == 1
        stop, checkpoint = super().due(stop, checkpoint)
        if stop and not whole and self._exchange is not None:
            self._exchange()
        return stop, checkpoint and whole

    @property
    def position(self) -> int:
        """The number of rounds done; set it to resume from there."""
        return self._round

    @position.setter
    def position(self, position: int) -> None:
        self._round = position
        self._trainer.position = self._chunk(position)

    @property
    def num_positions(self) -> int:
        """The number of rounds in the run."""
        return self._schedule.rounds

    def _chunk(self, number: int) -> int:
        """Return the number of chunks of this process's part that are done when a round ends."""
        return self._trainer.num_chunks * number // self._schedule.rounds

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return self._round == self._schedule.rounds

    @property
    def share(self) -> float:
        """Share of the rounds done, 0 to 1."""
        return self._round / self._schedule.rounds

    @property
    def words_total(self) -> int:
        """Words that all processes train on in the whole run."""
        return self._whole_words

    @property
    def learning_rate(self) -> float:
        """The current learning rate, the same in all processes."""
        options = self._trainer.options
        start, end = options.initial_learning_rate, options.min_learning_rate
        return start + (end - start) * self.share

    @property
    def bytes_sent(self) -> int:
        """Bytes that all processes have sent since the run began, including before a resume."""
        return self._sent_before + (0 if self._exchange is None else self._exchange.bytes_sent)

    @property
    def bytes_per_word(self) -> float:
        """Bytes sent per word trained."""
        return self.bytes_sent / max(1, self.words)

    def report(self, progress: TrainingProgress) -> None:
        """Record a report with the bytes sent per word, and pass it on."""
        super().report(replace(progress, bytes_per_word=self.bytes_per_word))
