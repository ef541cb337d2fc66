"""The run of embedding trainers in several processes, each over its part of the corpus."""

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
    """Drives one of several trainers from exchange to exchange; the arguments are those of `EmbeddingLoop`.

    A step is a round: each process trains the same share of its part of the corpus, then rows that are due are
    exchanged. So learning rates fall alike everywhere, and with one thread a process the run repeats bit for bit. A
    checkpoint is taken where all rows have been exchanged; a stop exchanges them at once.
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
        """Remember where the tables are, which changes are counted from."""
        self._begun_exchange()

    def _begun_exchange(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(self.processes, list(self._trainer.tensors().values()))
        return self._exchange

    def end(self) -> None:
        """Let go of where the tables were."""
        self._sent_before, self._exchange = self.bytes_sent, None

    def step(self) -> None:
        """Train a round, and exchange what is due."""
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
        """Stop at once, after an exchange of all rows; write a checkpoint where there has been one."""
        whole = self._schedule.share(self._round) == 1
        stop, checkpoint = super().due(stop, checkpoint)
        if stop and not whole and self._exchange is not None:
            self._exchange()
        return stop, checkpoint and whole

    @property
    def position(self) -> int:
        """Rounds done; set it to go on from there."""
        return self._round

    @position.setter
    def position(self, position: int) -> None:
        self._round = position
        self._trainer.position = self._chunk(position)

    @property
    def num_positions(self) -> int:
        """How many rounds there are."""
        return self._schedule.rounds

    def _chunk(self, number: int) -> int:
        """The chunk of this process's part before which a round ends."""
        return self._trainer.num_chunks * number // self._schedule.rounds

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return self._round == self._schedule.rounds

    @property
    def share(self) -> float:
        """Share of the rounds that are done."""
        return self._round / self._schedule.rounds

    @property
    def words_total(self) -> int:
        """Words that all processes pass in the whole run."""
        return self._whole_words

    @property
    def learning_rate(self) -> float:
        """The learning rate now: here, as everywhere."""
        options = self._trainer.options
        start, end = options.initial_learning_rate, options.min_learning_rate
        return start + (end - start) * self.share

    @property
    def bytes_sent(self) -> int:
        """By all processes, since the run began."""
        return self._sent_before + (0 if self._exchange is None else self._exchange.bytes_sent)

    @property
    def bytes_per_word(self) -> float:
        """What a process sends for a word that it trains."""
        return self.bytes_sent / max(1, self.words)

    def report(self, progress: TrainingProgress) -> None:
        """Keep a report, and pass it on, with what was sent."""
        super().report(replace(progress, bytes_per_word=self.bytes_per_word))
