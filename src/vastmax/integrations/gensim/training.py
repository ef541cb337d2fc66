"""The training of a model's vectors: gensim's calls and callbacks around vastmax's trainer."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import number, whole
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer
from vastmax.errors import InputError
from vastmax.integrations.gensim.counting import CountingModel
from vastmax.integrations.gensim.vocabularies import sample_threshold
from vastmax.options import options_of
from vastmax.text import END_OF_SENTENCE, EncodedCorpus

__all__ = ["LIMITS", "TrainingModel", "own", "share"]

logger = logging.getLogger(__name__)

LIMITS = {option.name: option.flag for option in options_of(EmbeddingOptions)}
"""What vastmax's options accept."""
_CHUNKS_AT_ONCE = 16  # a thread, about a second's: then Ctrl-C is heard


class TrainingModel(CountingModel):
    """Has a trainer train.

    While a call of ``train`` runs, callbacks included, the model's arrays are the trainer's own: what a callback reads
    is as trained so far, and what it writes is trained on. Afterwards they are arrays of the model's own.
    """

    def train(
        self,
        corpus_iterable: Any = None,
        corpus_file: Any = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
        **kwargs: Any,
    ) -> tuple[int, int]:
        """Train on a corpus, which is read once, whatever the number of epochs.

        The learning rate falls in proportion to the text itself, so that neither ``total_examples`` nor ``total_words``
        has to be right; one of them must be given, as gensim demands. ``word_count``, ``queue_factor`` and
        ``report_delay`` have nothing to say here.

        Args:
            corpus_iterable: lists of words.
            corpus_file: a file, one sentence a line, in place of them.
            total_examples: as many sentences as there are.
            total_words: as many words.
            epochs: passes over the text.
            start_alpha: where the learning rate starts; by default, and from then on, at ``alpha``.
            end_alpha: where it ends; by default, and from then on, at ``min_alpha``.
            word_count: unused.
            queue_factor: unused.
            report_delay: unused.
            compute_loss: sum up the loss, for `get_latest_training_loss`.
            callbacks: gensim's `CallbackAny2Vec`.
            kwargs: unused.

        Returns:
            The words of the vocabulary and all words that were passed, over all epochs.

        Raises:
            RuntimeError: no vocabulary was built.
            ValueError: no epochs, no totals, or neither ``hs`` nor ``negative``.
            CorpusError: a corpus without words of the vocabulary.
            DivergedError: the loss grows without end; lower ``alpha``.
        """
        self.alpha, self.min_alpha = start_alpha or self.alpha, end_alpha or self.min_alpha
        self._check_training_sanity(epochs=epochs or 0, total_examples=total_examples, total_words=total_words)
        self._check_corpus_sanity(corpus_iterable, corpus_file)
        self.epochs, self.compute_loss, self.running_training_loss = whole("epochs", epochs, 1), compute_loss, 0.0
        callbacks = list(callbacks)
        counts = self.wv.expandos.get("count")
        if counts is None:
            raise InputError("the words of this model have no counts: build a vocabulary with build_vocab.")
        with (
            self._read(corpus_iterable, corpus_file) as text,
            text.encode(self.wv.index_to_key, counts) as corpus,
        ):
            trainer = self._make_trainer(corpus, self._options(corpus, counts))
            self._lend(trainer)
            try:
                for callback in callbacks:
                    callback.on_train_begin(self)
                for epoch in range(self.epochs):
                    self._train_epoch_of(trainer, epoch, callbacks)
                self.min_alpha_yet_reached = trainer.learning_rate
            finally:
                self._take_back(trainer)
                self.wv.norms = None
            passed = trainer.words_done, corpus.num_raw_words * self.epochs
        self.train_count += 1
        for callback in callbacks:
            callback.on_train_end(self)
        return passed

    def _train_epoch_of(self, trainer: EmbeddingTrainer, epoch: int, callbacks: Sequence[Any]) -> None:
        for callback in callbacks:
            callback.on_epoch_begin(self)
        self._lend(trainer)  # a callback may have put another array in the place of one
        end, began, words = (epoch + 1) * trainer.num_chunks // self.epochs, time.perf_counter(), trainer.words_done
        while trainer.position < end:
            done = trainer.run(min(_CHUNKS_AT_ONCE * trainer.options.num_threads, end - trainer.position))
            if self.compute_loss:
                self.running_training_loss += done.loss_sum
        self._show(trainer)
        self.wv.norms = None
        seconds = max(time.perf_counter() - began, 1e-9)
        words = trainer.words_done - words
        logger.info("EPOCH %i: %i words of the vocabulary, %.0f a second", epoch, words, words / seconds)
        for callback in callbacks:
            callback.on_epoch_end(self)

    def _options(self, corpus: EncodedCorpus, counts: NDArray[np.int64], **more: Any) -> EmbeddingOptions:
        """What gensim's arguments are among vastmax's options; InputError for those that have no place there."""
        rate, least = number("alpha", self.alpha, 0, 10, above=True), number("min_alpha", self.min_alpha, 0, 10)
        total = int(counts.sum())
        return EmbeddingOptions(
            model="skipgram" if self.sg else "cbow",
            objective="hierarchical" if self.hs else "negative-sampling",
            dim=self.vector_size,
            window=self._window(corpus),
            shrink_window=bool(self.shrink_windows),
            **({} if self.hs else {"negatives": self.negative}),
            negative_exponent=self.ns_exponent,
            cbow_combine="mean" if self.cbow_mean else "sum",
            cbow_gradient="published",
            subsample=min(1.0, sample_threshold(self.sample, total) / total) if self.sample else 0,
            epochs=self.epochs,
            learning_rate=max(rate, least),  # gensim's stays at min_alpha where that is the higher
            min_learning_rate=least,
            seed=self.seed,
            threads=self.workers,
            **more,
        )

    def _window(self, corpus: EncodedCorpus) -> int:
        """The window: what reaches beyond the longest sentence can as well end there, if it is not drawn."""
        most = int(LIMITS["window"].high)
        if self.window <= most:
            return self.window
        ends = np.flatnonzero(corpus.ids == END_OF_SENTENCE)
        longest = int(np.diff(ends, prepend=-1).max()) - 1
        if self.shrink_windows or longest > most + 1:
            instead = f"at most {most}"
            if longest <= most + 1:
                instead += ", or shrink_windows=False, with which it ends where the sentence does"
            raise InputError(f"window is {self.window}, and the longest sentence has {longest} words: give {instead}.")
        return max(1, longest - 1)

    def _make_trainer(self, corpus: EncodedCorpus, options: EmbeddingOptions) -> EmbeddingTrainer:
        return EmbeddingTrainer(corpus, options, stream=self.train_count)  # another call draws other chance

    @property
    def _outputs(self) -> str:
        """What gensim calls the matrix of output vectors."""
        return "syn1" if self.hs else "syn1neg"

    @abstractmethod
    def _lend(self, trainer: EmbeddingTrainer) -> None:
        """Write the model's arrays into the trainer's, and put those in their place."""

    @abstractmethod
    def _show(self, trainer: EmbeddingTrainer) -> None:
        """Bring up to date what is not shared with the trainer."""

    @abstractmethod
    def _take_back(self, trainer: EmbeddingTrainer) -> None:
        """Give the model arrays of its own again, with what the trainer has made."""


def share(holder: Any, name: str, array: NDArray[np.float32]) -> None:
    """Write the array that a holder has into another, and put that in its place; rows that it lacks are dropped."""
    given = getattr(holder, name)
    if not np.may_share_memory(given, array):
        array[...] = given[: len(array)]
        setattr(holder, name, array)


def own(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Return a copy of an array with so many rows, those that it lacks zero."""
    copy = np.zeros((rows, array.shape[1]), np.float32)
    copy[: len(array)] = array
    return copy
