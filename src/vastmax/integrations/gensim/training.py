"""Train a model's vectors with vastmax's trainer behind gensim's methods and callbacks."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import number, refused, whole
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer
from vastmax.errors import InputError
from vastmax.integrations.gensim.corpora import Text
from vastmax.integrations.gensim.counting import CountingModel
from vastmax.integrations.gensim.settings import LIMITS
from vastmax.integrations.gensim.vocabularies import sample_threshold
from vastmax.sentences import counted
from vastmax.text import END_OF_SENTENCE, EncodedCorpus

__all__ = ["TrainingModel", "own", "share"]

logger = logging.getLogger(__name__)

_NO_RATE = 1e-30  # too small to change a float32
_CHUNKS_AT_ONCE = 16  # per thread, about a second of work, between checks for Ctrl-C


class TrainingModel(CountingModel):
    """The training methods of a model.

    During ``train``, including callbacks, the model's arrays are the trainer's: a callback reads the vectors trained so
    far, and training continues from what it writes. Afterwards the model has its own arrays again.
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

        The learning rate falls in proportion to the text read, so ``total_examples`` and ``total_words`` need not be
        right; one of them must be given, as in gensim. A corpus without words of the vocabulary, or a vocabulary of one
        word, gives a warning and leaves the vectors unchanged.

        Args:
            corpus_iterable: lists of words.
            corpus_file: a file with one sentence per line, instead of ``corpus_iterable``.
            total_examples: number of sentences.
            total_words: number of words.
            epochs: passes over the text.
            start_alpha: the initial learning rate, which replaces ``alpha``.
            end_alpha: the final learning rate, which replaces ``min_alpha``.
            word_count: unused.
            queue_factor: unused.
            report_delay: unused.
            compute_loss: sum the loss, for `get_latest_training_loss`.
            callbacks: gensim's `CallbackAny2Vec`.
            kwargs: unused.

        Returns:
            The number of words of the vocabulary, and of all words, trained on in all epochs.

        Raises:
            RuntimeError: no vocabulary was built.
            ValueError: no epochs, no totals, or neither ``hs`` nor ``negative``.
            InputError: an invalid argument, arrays of the model that do not match its words, or a callback that added
                words.
            TypeError: no corpus, two, or one that is neither iterable nor a file.
            CorpusError: a corpus that cannot be read.
            DivergedError: the loss overflowed or is NaN; lower ``alpha``.
        """
        self.alpha = number("alpha", start_alpha or self.alpha, -10, 10)
        self.min_alpha = number("min_alpha", end_alpha or self.min_alpha, -10, 10)
        self._check_training_sanity(epochs=1, total_examples=total_examples, total_words=total_words)
        self._check_corpus_sanity(corpus_iterable, corpus_file)
        self.epochs, self.compute_loss = whole("epochs", epochs, 1), bool(compute_loss)
        self.running_training_loss, began, callbacks = 0.0, time.perf_counter(), list(callbacks)
        self._settle_words()
        with self._read(corpus_iterable, corpus_file) as text:
            passed = self._train_on(text, callbacks), text.num_words * self.epochs
        self.train_count += 1
        self.total_train_time += time.perf_counter() - began
        for callback in callbacks:
            callback.on_train_end(self)
        return passed

    def _train_on(self, text: Text, callbacks: Sequence[Any]) -> int:
        """Train and run callbacks; return the number of in-vocabulary words trained on."""
        counts = self._counts()
        corpus = text.encode(self.wv.index_to_key, counts)
        if corpus is None:
            logger.warning(
                "the corpus has fewer than two words of the vocabulary, and nothing is learned: give other text."
            )
            for called in ("on_train_begin", *("on_epoch_begin", "on_epoch_end") * self.epochs):
                self._call(callbacks, called)
            return 0
        with corpus:
            trainer = self._make_trainer(corpus, self._options(corpus, counts))
            self._lend(trainer)
            try:
                self._call(callbacks, "on_train_begin")
                for epoch in range(self.epochs):
                    self._train_epoch_of(trainer, epoch, callbacks)
                self.min_alpha_yet_reached = trainer.learning_rate
            finally:
                self._take_back(trainer)
                self.wv.norms = None
            return trainer.words_done

    def _train_epoch_of(self, trainer: EmbeddingTrainer, epoch: int, callbacks: Sequence[Any]) -> None:
        self._call(callbacks, "on_epoch_begin")
        self._lend(trainer)  # a callback may have replaced an array
        end, began, words = (epoch + 1) * trainer.num_chunks // self.epochs, time.perf_counter(), trainer.words_done
        while trainer.position < end:
            done = trainer.run(min(_CHUNKS_AT_ONCE * trainer.options.num_threads, end - trainer.position))
            if self.compute_loss:
                self.running_training_loss += done.loss_sum
        self._show(trainer)
        self.wv.norms = None
        seconds = max(time.perf_counter() - began, 1e-9)
        words = trainer.words_done - words
        logger.info("EPOCH %i: %i words of the vocabulary, %.0f per second", epoch, words, words / seconds)
        self._call(callbacks, "on_epoch_end")

    def _call(self, callbacks: Sequence[Any], name: str) -> None:
        """Run callbacks; InputError if one added words, which the model keeps, untrained."""
        before = len(self.wv)
        for callback in callbacks:
            getattr(callback, name)(self)
        if len(self.wv) != before:
            self._settle_words()
            raise InputError(f"{name} of a callback added words: add them before training, or after it.")

    def _settle_words(self) -> None:
        super()._settle_words()
        outputs, size = getattr(self, self._outputs, None), (len(self.wv), self.vector_size)
        if outputs is not None:
            if len(outputs) > size[0] or outputs.shape[1:] != size[1:]:
                raise refused(self._outputs, outputs, f"an array of shape {size}, one vector per word")
            setattr(self, self._outputs, outputs if len(outputs) == size[0] else own(outputs, size[0]))

    def _options(self, corpus: EncodedCorpus, counts: NDArray[np.int64], **more: Any) -> EmbeddingOptions:
        """Return gensim's arguments as vastmax's options; InputError for unsupported ones."""
        rate, least = self._rates()
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
            learning_rate=rate,
            min_learning_rate=least,
            seed=self.seed,
            threads=self.workers,
            **more,
        )

    def _rates(self) -> tuple[float, float]:
        """Return the initial and final learning rates; if ``min_alpha`` is the higher, it is both, as in gensim.

        In old code that lowers both in a loop around ``train``, they may end below 0.
        """
        if self.train_count and max(self.alpha, self.min_alpha) <= 0:
            logger.warning("alpha is %g, with which nothing is learned: call train once, for all epochs.", self.alpha)
            return _NO_RATE, _NO_RATE
        least = number("min_alpha", self.min_alpha, 0, 10)
        return number("alpha", max(self.alpha, least), 0, 10, above=True), least

    def _window(self, corpus: EncodedCorpus) -> int:
        """Return the window, a fixed one cut to the longest sentence if necessary; InputError if it is too large."""
        most = int(LIMITS["window"].high)
        if self.window <= most:
            return self.window
        ends = np.flatnonzero(corpus.ids == END_OF_SENTENCE)
        longest = int(np.diff(ends, prepend=-1).max()) - 1
        if self.shrink_windows or longest > most + 1:
            instead = f"at most {most}"
            if longest <= most + 1:
                instead += ", or shrink_windows=False, with which it ends at the ends of sentences"
            raise InputError(
                f"window is {self.window}, and the longest sentence has {counted(longest, 'word')}: give {instead}."
            )
        return max(1, longest - 1)

    def _make_trainer(self, corpus: EncodedCorpus, options: EmbeddingOptions) -> EmbeddingTrainer:
        return EmbeddingTrainer(corpus, options, stream=self.train_count)  # each call has its own random stream

    @property
    def _outputs(self) -> str:
        """The name of the matrix of output vectors in gensim."""
        return "syn1" if self.hs else "syn1neg"

    @abstractmethod
    def _lend(self, trainer: EmbeddingTrainer) -> None:
        """Copy the model's arrays into the trainer's, and share the trainer's with the model."""

    @abstractmethod
    def _show(self, trainer: EmbeddingTrainer) -> None:
        """Update the model's arrays that are not shared with the trainer."""

    @abstractmethod
    def _take_back(self, trainer: EmbeddingTrainer) -> None:
        """Give the model its own arrays again, with the trained values."""


def share(holder: Any, name: str, array: NDArray[np.float32]) -> None:
    """Copy a holder's array into ``array``, without a possible extra last row, and replace it by ``array``.

    InputError if the shapes differ otherwise.
    """
    given = getattr(holder, name)
    if given.ctypes.data != array.ctypes.data or (given.shape, given.strides) != (array.shape, array.strides):
        if given.shape[1:] != array.shape[1:] or len(given) - len(array) not in (0, 1):
            raise refused(name, given, f"an array of shape {array.shape}")
        array[...] = given[: len(array)]
        setattr(holder, name, array)


def own(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Return a float32 copy of an array, padded to ``rows`` with zeros."""
    copy = np.zeros((rows, array.shape[1]), np.float32)
    copy[: len(array)] = array
    return copy
