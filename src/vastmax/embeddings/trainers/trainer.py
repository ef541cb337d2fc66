"""The base class of embedding trainers, and functions that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import whole
from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.trainers.windows import keep_probability
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.text import END_OF_SENTENCE, EncodedCorpus, count_words

if TYPE_CHECKING:
    from vastmax._core import ChunkStatistics

__all__ = ["Statistics", "Trained", "Trainer", "checked_tensor", "diverged", "initialise"]

INITIALISATION_ROWS = 4096
IDS_AT_ONCE = 1 << 20


class Statistics(NamedTuple):
    """Statistics of some training steps.

    Attributes:
        words: Number of words of the corpus processed.
        examples: Number of predictions: pairs for skip-gram, windows for CBOW.
        loss_sum: Sum of their losses, in nats.
    """

    words: int
    examples: int
    loss_sum: float


class Trained(NamedTuple):
    """The result of a trainer, in memory of its own.

    Attributes:
        vectors: (V, d) float32, the word vectors.
        output_vectors: (any, d) float32, if requested.
        subwords: The vectors of n-grams, if there are any.
    """

    vectors: NDArray[np.float32]
    output_vectors: NDArray[np.float32] | None = None
    subwords: SubwordVectors | None = None


class Trainer(ABC):
    """Base class of trainers, which process a corpus chunk by chunk.

    Random draws depend only on the seed and the position, so :meth:`tensors` and ``position`` are the whole training
    state.

    Args:
        corpus: The encoded corpus; it must stay open while training runs.
        options: The options of training.
        chunk: Number of ids per chunk.

    Attributes:
        num_chunks: Number of chunks in all epochs.
        words_done: Number of words processed.

    Raises:
        InputError: A corpus with fewer than two different words, or with ids outside its vocabulary.
    """

    objectives: ClassVar[Collection[str]]

    def __init__(self, corpus: EncodedCorpus, options: EmbeddingOptions, chunk: int) -> None:
        self.options = options.for_corpus((corpus.whole or corpus).num_words)
        self._corpus, self._ids, self._chunk = corpus, check_corpus(corpus), chunk
        self._keep = keep_probability(corpus.vocabulary.counts, options.subsample, options.subsample_formula)
        self._chunks_an_epoch = -(-len(self._ids) // chunk)
        self.num_chunks = self._chunks_an_epoch * options.epochs
        self._position = self.words_done = 0

    @property
    def words_total(self) -> int:
        """Words to process in all epochs, including those that subsampling skips."""
        return self._corpus.num_words * self.options.epochs

    @property
    def position(self) -> int:
        """Number of chunks done, over all epochs; set it after :meth:`restore` to resume from a checkpoint."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        whole("position", position, 0, self.num_chunks)
        if not self.num_chunks:  # this process's part of the corpus is empty
            return
        epoch, chunk = divmod(position, self._chunks_an_epoch)
        passed = count_words(self._ids, min(chunk * self._chunk, len(self._ids)))
        self.words_done = epoch * self._corpus.num_words + passed
        self._position = position

    @property
    def _ids_passed(self) -> int:
        epoch, chunk = divmod(self._position, self._chunks_an_epoch)
        return epoch * len(self._ids) + min(chunk * self._chunk, len(self._ids))

    @property
    def bytes_needed(self) -> int:
        """Bytes of both matrices, which a checkpoint contains too."""
        return 2 * 4 * len(self._keep) * self.options.dim

    @property
    @abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """The word vectors (V, d) float32: a view, which training changes and which may be written to when resuming.

        With subwords a copy, because the vectors are means.
        """

    @property
    @abstractmethod
    def output_vectors(self) -> NDArray[np.float32] | None:
        """The output layer's vectors (any, d) float32, a view; None if it has no single table."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The learning rate at the current position."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Facts about the engine, for the model's config."""

    @abstractmethod
    def run(self, chunks: int) -> Statistics | ChunkStatistics:
        """Train on the next chunks.

        Raises:
            DivergedError: The loss is NaN or infinite, or has grown out of bounds. The vectors are useless; an earlier
                checkpoint is not.
        """

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the training state, except the position, by name; checkpoints store it, and processes exchange it.

        Rows are in order of decreasing frequency of use. ``vectors`` are included, except with subwords.
        """

    @abstractmethod
    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`tensors` returned; CheckpointError if it does not match."""

    @abstractmethod
    def finish(self, *, output_vectors: bool) -> Trained:
        """Return copies of the word vectors and, on request, output vectors; the trainer cannot be used afterwards."""


def check_corpus(corpus: EncodedCorpus) -> NDArray[np.uint32]:
    """Return the ids of a corpus; InputError if it has fewer than two different words, or an id is out of range."""
    words = len(corpus.vocabulary)
    if (corpus.whole or corpus).num_words == 0 or words < 2:
        raise InputError("the corpus has fewer than two different words: give more text, or lower min_count.")
    ids = np.ascontiguousarray(corpus.ids, np.uint32)
    for start in range(0, len(ids), IDS_AT_ONCE):
        block = ids[start : start + IDS_AT_ONCE]
        wrong = block[(block >= words) & (block != END_OF_SENTENCE)]
        if len(wrong):
            raise InputError(
                f"the corpus contains the id {wrong[0]}, and its vocabulary ends at {words - 1}: encode it again."
            )
        corpus.release()
    return ids


def checked_tensor(tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor of a checkpoint; CheckpointError if it is missing or has another shape."""
    found = tensors.get(name)
    if found is None or found.shape != shape:
        has = f"lacks {name!r}" if found is None else f"has {name!r} of shape {found.shape}"
        raise CheckpointError(f"the checkpoint {has}, and this run needs shape {shape}: delete it to start again.")
    return found


def initialise(vectors: NDArray[np.float32], seed: int, threads: int) -> None:
    """Fill word vectors (V, d) uniformly from [-1/(2d), 1/(2d)), as the published code does.

    The result does not depend on the number of threads.
    """
    rows, dim = vectors.shape

    def fill(start: int) -> None:  # every block has its own generator, so threads do not matter
        block = vectors[start : start + INITIALISATION_ROWS]
        drawn = np.random.default_rng((seed, start)).random(block.shape, np.float32)
        drawn -= np.float32(0.5)
        np.divide(drawn, np.float32(dim), out=block)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(0, rows, INITIALISATION_ROWS)))


def diverged(options: EmbeddingOptions, corpus: EncodedCorpus, rate: float, words: int, loss: float) -> DivergedError:
    """Return the error for a mean loss (in nats) that is NaN, infinite or absurd; it suggests a learning rate."""
    default = replace(options, learning_rate=None, min_learning_rate=0).for_corpus((corpus.whole or corpus).num_words)
    usual, start = default.initial_learning_rate, options.initial_learning_rate
    return DivergedError(
        f"training diverged to a loss of {loss:.3g} nats after {words:,} words, at learning rate {rate:.3g}: "
        f"give learning_rate {usual if start > 2 * usual else start / 4:.3g}."
    )
