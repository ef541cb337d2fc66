"""What the loop asks of a trainer of embeddings, and what the trainers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.trainers import TRAINERS
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.text import END_OF_SENTENCE, EncodedCorpus

__all__ = ["Statistics", "Trainer", "check_corpus", "checked_tensor", "count_words", "diverged", "initialise"]

INITIALISATION_ROWS = 4096
IDS_AT_ONCE = 1 << 20


class Statistics(Protocol):
    """What a few steps did."""

    @property
    def words(self) -> int:
        """Words of the corpus passed."""
        ...

    @property
    def examples(self) -> int:
        """Predictions made."""
        ...

    @property
    def loss_sum(self) -> float:
        """Sum of their losses, in nats."""
        ...


class Trainer(Protocol):
    """A corpus that is passed chunk by chunk.

    Chance depends on the seed and the position alone, so :meth:`tensors` and ``position`` are all there is to a
    trainer's state.

    Attributes:
        num_chunks: Chunks of all epochs.
        words_done: Words passed.
    """

    num_chunks: int
    words_done: int

    @property
    def position(self) -> int:
        """Chunks done, over all epochs; to be set, after :meth:`restore`, to go on from a checkpoint."""
        ...

    @position.setter
    def position(self, position: int) -> None: ...

    @property
    def output_vectors(self) -> NDArray[np.float32] | None:
        """(any, d) the output layer's vectors, where it has one table of them; a view."""
        ...

    @property
    def words_total(self) -> int:
        """Words to pass in all epochs, those included that subsampling passes over."""
        ...

    @property
    def learning_rate(self) -> float:
        """The learning rate at the present position."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What computed, for the model's config."""
        ...

    def run(self, chunks: int) -> Statistics:
        """Train the next chunks; DivergedError where the loss is no longer finite."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that training changes but the position, by name; ``vectors`` among it."""
        ...

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`tensors` returned; CheckpointError where it does not fit."""
        ...

    def finish(self, *, output_vectors: bool) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return copies of the word vectors and, on request, of the output vectors; the trainer is spent."""
        ...


def check_corpus(corpus: EncodedCorpus) -> NDArray[np.uint32]:
    """Return the corpus's ids.

    Raises:
        InputError: where there is nothing to learn from, or an id names no word, which `encode_corpus` makes none of.
    """
    words = len(corpus.vocabulary)
    if corpus.num_words == 0 or words < 2:
        raise InputError("the corpus holds fewer than two different words: there is nothing to learn from.")
    ids = np.ascontiguousarray(corpus.ids, np.uint32)
    if isinstance(corpus.ids, np.memmap):
        return ids
    for start in range(0, len(ids), IDS_AT_ONCE):
        block = ids[start : start + IDS_AT_ONCE]
        wrong = block[(block >= words) & (block != END_OF_SENTENCE)]
        if len(wrong):
            raise InputError(f"the corpus holds the id {wrong[0]}, but its vocabulary ends at {words - 1}.")
    return ids


def checked_tensor(tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor of a checkpoint; CheckpointError where it is missing or of another shape."""
    found = tensors.get(name)
    if found is None or found.shape != shape:
        has = "lacks" if found is None else f"has, of shape {found.shape},"
        raise CheckpointError(
            f"the checkpoint {has} {name!r}, which this run needs of shape {shape}: delete it to start again."
        )
    return found


def initialise(vectors: NDArray[np.float32], seed: int) -> None:
    """Fill word vectors (V, d) uniformly from [-1/2d, 1/2d), as the published code does."""
    generator = np.random.default_rng(seed)
    rows, dim = vectors.shape
    for start in range(0, rows, INITIALISATION_ROWS):
        block = generator.random((min(INITIALISATION_ROWS, rows - start), dim), np.float32)
        vectors[start : start + len(block)] = (block - np.float32(0.5)) / np.float32(dim)


def count_words(ids: NDArray[np.uint32], end: int, start: int = 0) -> int:
    """Return how many of ``ids[start:end]`` are words, and not ends of sentences."""
    blocks = (ids[at : min(at + IDS_AT_ONCE, end)] for at in range(start, end, IDS_AT_ONCE))
    return sum(int(np.count_nonzero(block != END_OF_SENTENCE)) for block in blocks)


def diverged(options: EmbeddingOptions, rate: float, words: int) -> DivergedError:
    """Return the error of a loss that is no longer finite, with a learning rate to try."""
    usual, start = TRAINERS[options.engine].learning_rates[options.model], options.initial_learning_rate
    return DivergedError(
        f"Training met NaN or infinity at learning rate {rate:.3g}, after {words:,} words: "
        f"try again with learning_rate {usual if start > 2 * usual else start / 4:.3g}."
    )
