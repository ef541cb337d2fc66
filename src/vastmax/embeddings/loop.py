"""The run of an embedding trainer from where it stands to the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from vastmax.embeddings.trainers.trainer import Trainer
from vastmax.runs import ALONE, RECORDED, Processes, Run, TrainingProgress, plain
from vastmax.text import EncodedCorpus

__all__ = ["PHRASES", "EmbeddingLoop"]

PHRASES = "phrases.tsv"


class EmbeddingLoop(Run):
    """Drives a trainer, and keeps what it reports; the arguments that are not told here are those of `Run`.

    Chance in the trainer depends on seed, epoch and chunk alone, so neither the length of a step nor a stop and a
    resumption between two steps changes what is learnt: with one thread, not by a bit.

    Args:
        trainer: The trainer to drive.
        corpus: What it trains on.
        options: Whatever shapes the result; a checkpoint resumes only under the same.

    Attributes:
        records: All reports, those before a resumed checkpoint included: about a thousand in the longest run.
    """

    kind = "embeddings"
    facts: ClassVar[Mapping[str, Any]] = {"position": int, "records": list[dict[str, float]]}
    report_share = 1e-3
    step_seconds: ClassVar[float] = 0.4
    """Steps short enough to answer a Ctrl-C, and long enough to hide the threads' start."""

    def __init__(
        self,
        trainer: Trainer,
        corpus: EncodedCorpus,
        options: Mapping[str, Any],
        checkpoint: Path | None,
        checkpoint_minutes: float,
        progress: bool | Callable[[TrainingProgress], None] | None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(checkpoint, checkpoint_minutes, progress, processes)
        self.records: list[dict[str, Any]] = []
        self._trainer, self._corpus, self._options = trainer, corpus, options
        self._chunks = 1  # of the next step
        self._sent_before = 0

    def step(self) -> None:
        """Train some chunks."""
        began = time.perf_counter()
        statistics = self._trainer.run(self._chunks)
        elapsed = max(time.perf_counter() - began, 1e-6)
        self._chunks = max(1, min(4 * self._chunks, round(self._chunks * self.step_seconds / elapsed)))
        self.losses.add(statistics.loss_sum, statistics.examples)
        self.words = self._trainer.words_done

    @property
    def finished(self) -> bool:
        """Whether all chunks are done; the last may hold no word."""
        return self._trainer.position == self._trainer.num_chunks

    @property
    def share(self) -> float:
        """Share of the words that are passed."""
        return self.words / max(1, self.words_total)

    @property
    def words_total(self) -> int:
        """Words to pass in the whole run."""
        return self._trainer.words_total

    @property
    def learning_rate(self) -> float:
        """The learning rate now."""
        return self._trainer.learning_rate

    @property
    def identity(self) -> dict[str, Any]:
        """The options, and the corpus by its fingerprint, for which all of it is read at the first use."""
        corpus = self._corpus.whole or self._corpus
        return {**plain(self._options), "corpus": f"{corpus.num_words:,} words, {corpus.fingerprint}"}

    def report(self, progress: TrainingProgress) -> None:
        """Keep a report, and pass it on."""
        self.records.append(progress.to_record())
        super().report(progress)

    @property
    def position(self) -> int:
        """How many of the parts that this run is cut into are done; set it to go on from there."""
        return self._trainer.position

    @position.setter
    def position(self, position: int) -> None:
        self._trainer.position = position

    @property
    def num_positions(self) -> int:
        """How many parts there are."""
        return self._trainer.num_chunks

    @property
    def bytes_sent(self) -> int:
        """By all processes to each other, since the run began: of this one, whatever it was resumed from had sent."""
        return self._sent_before

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return position, reports and bytes sent, and what the trainer has learnt."""
        where = {"position": self.position, "of": self.num_positions}
        return {**where, "records": self.records, "bytes_sent": self.bytes_sent}, self._trainer.tensors()

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` returned, of as many processes or of others: they cut a run otherwise."""
        of = facts.get("of", self.num_positions)
        if facts["position"] > of or any(set(RECORDED) - record.keys() for record in facts["records"]):
            raise ValueError("it is further than the end of this run, or its reports are incomplete")
        self._trainer.restore(tensors)
        self.position = facts["position"] * self.num_positions // of
        self.records, self._sent_before = facts["records"], int(facts.get("bytes_sent", 0))

    def beside(self, folder: Path) -> None:
        """Write vocabulary and phrases: with them a checkpoint's vectors can be used while training goes on."""
        self._corpus.vocabulary.save(folder / "vocabulary.tsv")
        if self._corpus.phrases is not None:
            self._corpus.phrases.save(folder / PHRASES)
