"""The training loop of embeddings in one process."""

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
    """The training loop of an embedding trainer, with a record of its reports; other arguments are those of `Run`.

    The trainer's random draws depend only on the seed and the position in the corpus, so neither the length of a step
    nor stopping and resuming between two steps changes the result; with one thread it is the same bit for bit.

    Args:
        trainer: The trainer to run.
        corpus: The corpus that it trains on.
        options: All options that affect the result; a checkpoint resumes only with the same options.

    Attributes:
        records: All reports, including those before a resume: about a thousand in the longest run.
    """

    kind = "embeddings"
    facts: ClassVar[Mapping[str, Any]] = {"position": int, "records": list[dict[str, float]]}
    report_share = 1e-3
    step_seconds: ClassVar[float] = 0.4
    """Target duration of a step, in seconds: short enough to answer Ctrl-C, long enough to hide thread start-up."""

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
        self._chunks = 1  # in the next step
        self._sent_before = 0

    def step(self) -> None:
        """Train on some chunks, and adapt their number to `step_seconds`."""
        began = time.perf_counter()
        statistics = self._trainer.run(self._chunks)
        elapsed = max(time.perf_counter() - began, 1e-6)
        self._chunks = max(1, min(4 * self._chunks, round(self._chunks * self.step_seconds / elapsed)))
        self.losses.add(statistics.loss_sum, statistics.examples)
        self.words = self._trainer.words_done

    @property
    def finished(self) -> bool:
        """Whether all chunks are done; the last chunk may contain no words, so ``share`` cannot tell."""
        return self._trainer.position == self._trainer.num_chunks

    @property
    def share(self) -> float:
        """Share of the words trained on, 0 to 1."""
        return self.words / max(1, self.words_total)

    @property
    def words_total(self) -> int:
        """Words to train on in the whole run, over all epochs."""
        return self._trainer.words_total

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return self._trainer.learning_rate

    @property
    def identity(self) -> dict[str, Any]:
        """The options and the fingerprint of the corpus, which is read completely on first use."""
        corpus = self._corpus.whole or self._corpus
        return {**plain(self._options), "corpus": f"{corpus.num_words:,} words, {corpus.fingerprint}"}

    def report(self, progress: TrainingProgress) -> None:
        """Record a report and pass it on."""
        self.records.append(progress.to_record())
        super().report(progress)

    @property
    def position(self) -> int:
        """The number of chunks done; set it to resume from there."""
        return self._trainer.position

    @position.setter
    def position(self, position: int) -> None:
        self._trainer.position = position

    @property
    def num_positions(self) -> int:
        """The number of chunks in the run, over all epochs."""
        return self._trainer.num_chunks

    @property
    def bytes_sent(self) -> int:
        """Bytes sent since the run began. One process sends none: this is what the run it resumed from had sent."""
        return self._sent_before

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return position, reports and bytes sent as JSON values, and the trainer's tensors."""
        where = {"position": self.position, "of": self.num_positions}
        return {**where, "records": self.records, "bytes_sent": self.bytes_sent}, self._trainer.tensors()

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`state` returned; a position from another number of processes is rescaled.

        ValueError if the position is beyond the end of this run, or reports are incomplete.
        """
        of = facts.get("of", self.num_positions)
        if facts["position"] > of or any(set(RECORDED) - record.keys() for record in facts["records"]):
            raise ValueError("it is further than the end of this run, or its reports are incomplete")
        self._trainer.restore(tensors)
        self.position = facts["position"] * self.num_positions // of
        self.records, self._sent_before = facts["records"], int(facts.get("bytes_sent", 0))

    def beside(self, folder: Path) -> None:
        """Write vocabulary and phrases beside a checkpoint, so that its vectors can be used while training runs."""
        self._corpus.vocabulary.save(folder / "vocabulary.tsv")
        if self._corpus.phrases is not None:
            self._corpus.phrases.save(folder / PHRASES)
