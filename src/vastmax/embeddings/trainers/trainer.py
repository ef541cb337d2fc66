"""What the loop asks of a trainer of embeddings, and what the trainers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
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
    """What a few steps did.

    Attributes:
        words: Words of the corpus passed.
        examples: Predictions made: pairs for skip-gram, windows for CBOW.
        loss_sum: Sum of their losses, in nats.
    """

    words: int
    examples: int
    loss_sum: float


class Trained(NamedTuple):
    """What a trainer leaves, in memory of its own.

    Attributes:
        vectors: (V, d) float32, the words'.
        output_vectors: (any, d) float32, where they were asked for.
        subwords: The vectors of n-grams, where there are such.
    """

    vectors: NDArray[np.float32]
    output_vectors: NDArray[np.float32] | None = None
    subwords: SubwordVectors | None = None


class Trainer(ABC):
    """A corpus that is passed chunk by chunk.

    Chance depends on the seed and the position alone, so :meth:`tensors` and ``position`` are all there is to a
    trainer's state.

    Args:
        corpus: The encoded corpus; it must stay open while training runs.
        options: What to train and how.
        chunk: Ids of a chunk.

    Attributes:
        num_chunks: Chunks of all epochs.
        words_done: Words passed.
    """

    objectives: ClassVar[Collection[str]]

    def __init__(self, corpus: EncodedCorpus, options: EmbeddingOptions, chunk: int) -> None:
        self.options = options
        self._corpus, self._ids, self._chunk = corpus, check_corpus(corpus), chunk
        self._keep = keep_probability(corpus.vocabulary.counts, options.subsample, options.subsample_formula)
        self._chunks_an_epoch = -(-len(self._ids) // chunk)
        self.num_chunks = self._chunks_an_epoch * options.epochs
        self._position = self.words_done = 0

    @property
    def words_total(self) -> int:
        """Words to pass in all epochs, those included that subsampling passes over."""
        return self._corpus.num_words * self.options.epochs

    @property
    def position(self) -> int:
        """Chunks done, over all epochs; set it, after :meth:`restore`, to go on from a checkpoint."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        whole("position", position, 0, self.num_chunks)
        if not self.num_chunks:  # of a process whose part of the corpus is empty
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
        """Bytes of both matrices, which a checkpoint holds too."""
        return 2 * 4 * len(self._keep) * self.options.dim

    @property
    @abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """(V, d) float32, the word vectors: a view, which training changes and whoever resumes may write to.

        With subwords, whose means they are, a copy.
        """

    @property
    @abstractmethod
    def output_vectors(self) -> NDArray[np.float32] | None:
        """(any, d) float32, the output layer's vectors, where it has one table of them; a view."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """The learning rate at the present position."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What computed, for the model's config."""

    @abstractmethod
    def run(self, chunks: int) -> Statistics | ChunkStatistics:
        """Train the next chunks.

        Raises:
            DivergedError: The loss is no longer finite. The vectors are spoilt; a checkpoint from before is not.
        """

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that training changes but the position, by name: what a checkpoint holds, and processes exchange.

        Rows lie in falling frequency of use. ``vectors`` are among them, but with subwords.
        """

    @abstractmethod
    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`tensors` returned; CheckpointError where it does not fit."""

    @abstractmethod
    def finish(self, *, output_vectors: bool) -> Trained:
        """Return copies of the word vectors and, on request, of the output vectors; the trainer is spent."""


def check_corpus(corpus: EncodedCorpus) -> NDArray[np.uint32]:
    """Return the corpus's ids; InputError where they are nothing to learn from, or one names no word."""
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
    """Return a tensor of a checkpoint; CheckpointError where it is missing or of another shape."""
    found = tensors.get(name)
    if found is None or found.shape != shape:
        has = f"lacks {name!r}" if found is None else f"has {name!r} of shape {found.shape}"
        raise CheckpointError(f"the checkpoint {has}, and this run needs shape {shape}: delete it to start again.")
    return found


def initialise(vectors: NDArray[np.float32], seed: int, threads: int) -> None:
    """Fill word vectors (V, d) uniformly from [-1/2d, 1/2d), as the published code does, on any number of threads."""
    rows, dim = vectors.shape

    def fill(start: int) -> None:  # every block draws from a generator of its own, whoever fills it
        block = vectors[start : start + INITIALISATION_ROWS]
        drawn = np.random.default_rng((seed, start)).random(block.shape, np.float32)
        drawn -= np.float32(0.5)
        np.divide(drawn, np.float32(dim), out=block)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(0, rows, INITIALISATION_ROWS)))


def diverged(options: EmbeddingOptions, rate: float, words: int, loss: float) -> DivergedError:
    """Return the error of a loss (the mean, in nats) that is no number, or absurd, with a learning rate to try."""
    usual, start = options.default_learning_rate, options.initial_learning_rate
    return DivergedError(
        f"training diverged to a loss of {loss:.3g} nats after {words:,} words, at learning rate {rate:.3g}: "
        f"give learning_rate {usual if start > 2 * usual else start / 4:.3g}."
    )
