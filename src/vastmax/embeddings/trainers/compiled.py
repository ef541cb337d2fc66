"""The embedding trainer of the compiled core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax._core import ChunkStatistics, Settings, bag_means
from vastmax._core import Trainer as CoreTrainer
from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.subwords import SubwordVectors, make_bags
from vastmax.embeddings.trainers import TRAINERS
from vastmax.embeddings.trainers.trainer import Trained, Trainer, checked_tensor, diverged, initialise
from vastmax.embeddings.warm_start import WarmStart
from vastmax.errors import InputError
from vastmax.text import EncodedCorpus
from vastmax.trees import huffman_tree

__all__ = ["EmbeddingTrainer"]

# For 5 negatives, a block of centre words draws 10 that its windows share, each weighted 5/10. A block of 6 thus
# fetches and multiplies 10 rows instead of 30, at no measured loss of quality: docs/benchmarks.md has the figures.
BLOCK_CENTRES = {"skipgram": 6, "cbow": 4}
DRAWN_PER_NEGATIVE = 2

# Threads take chunks of ids; 64 or more per epoch keep all threads busy to the end and a checkpoint near. Several
# processes exchange rows every few chunks. Smaller chunks keep many threads busy until then, but cost 1.5 points of
# WS-353 in a measurement, so processes with few threads keep large chunks.
SMALLEST_CHUNK, LARGEST_CHUNK, CHUNKS_AN_EPOCH = 1024, 65536, 64

ROW_BYTES = 64  # the core pads rows to a multiple of this
_BETWEEN_STREAMS = 0x9E3779B97F4A7C15  # between the seeds of streams; users' seeds, of 63 bits, are often consecutive
_ABSURD = 10  # a loss this many times that of all-zero scores means that scores grow without bound


class EmbeddingTrainer(Trainer):
    """Trainer of skip-gram or CBOW with negative sampling or hierarchical softmax, on all cores (Hogwild).

    The random draws of a chunk of the corpus depend only on (seed, epoch, chunk), and the learning rate only on the
    position. The whole training state is therefore :meth:`tensors` (without subwords, :attr:`vectors` and
    :attr:`output_vectors`) and :attr:`position`: a trainer with the same state continues as if it had never stopped,
    with one thread bit for bit.

    See Also:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546; Recht, Re, Wright, Niu, *Hogwild!*, 2011,
        https://arxiv.org/abs/1106.5730; Ji, Satish, Li, Dubey, *Parallelizing Word2Vec in Shared and Distributed
        Memory*, 2016, https://arxiv.org/abs/1604.04661 (shared negatives).

    Args:
        corpus: The encoded corpus; it must stay open while training runs.
        options: The options of training.
        stream: Index of this trainer among several with the same options; each has its own random draws.
        simd_level: ``avx512``, ``avx2`` or ``plain``; by default the environment variable ``VASTMAX_SIMD``, or else the
            best level of this processor.
        note: Called with a sentence on the memory that training needs, before it is allocated.
        start: The vectors to start from; the vocabulary of the corpus must contain all their words.

    Raises:
        InputError: An empty corpus, matrices larger than memory, or a SIMD level this processor lacks.
    """

    objectives = TRAINERS["compiled"].objectives

    def __init__(
        self,
        corpus: EncodedCorpus,
        options: EmbeddingOptions,
        *,
        stream: int = 0,
        simd_level: str | None = None,
        note: Callable[[str], None] | None = None,
        start: WarmStart | None = None,
    ) -> None:
        self._seed = (options.seed + stream * _BETWEEN_STREAMS) % 2**64
        counts = corpus.vocabulary.counts
        largest = LARGEST_CHUNK if corpus.whole is None else 2 * LARGEST_CHUNK // max(2, options.num_threads)
        chunk = max(min(len(corpus.ids) // CHUNKS_AN_EPOCH, largest), SMALLEST_CHUNK)
        super().__init__(corpus, options, chunk)
        rule = options.subword_rule
        frozen = None if start is None else start.frozen_in(corpus.vocabulary)
        self._start = start
        known = counts if start is None else start.total_counts(corpus.vocabulary)
        self._tree = huffman_tree(known) if options.objective == "hierarchical" else None
        self._bags, needs = None, f"{len(counts):,} words"
        try:
            if rule is not None:
                kept = None if start is None else start.kept_buckets
                self._bags = make_bags(corpus.vocabulary, rule, frozen, kept)
                needs += f" and {len(self._bags.held):,} rows of n-grams"
            needs += f" of dim {options.dim} need {self._memory_needed / 1e6:,.1f} MB of memory"
            if note is not None:
                note(needs)
            self._core = self._make_core(counts, simd_level, frozen)
        except MemoryError as error:
            raise InputError(
                f"{needs}, more than the system has: lower dim, max_vocabulary or buckets, or raise min_count."
            ) from error
        initialise(self._core.vectors, options.seed, options.num_threads)  # output vectors start as zeros
        if start is not None:
            self._begin_with(start)

    @property
    def _memory_needed(self) -> int:
        """Peak memory in bytes: both matrices, or, if larger, the input matrix and the results of `finish`."""
        row, padded = 4 * self.options.dim, -(-4 * self.options.dim // ROW_BYTES) * ROW_BYTES
        words, inputs, made = len(self._keep), len(self._keep), 0
        if self._bags is not None:
            inputs, made = self._bags.num_rows, words * row
            if self._start is not None:
                made += row * self._start.num_ngrams_with(self._bags.held)
        return padded * inputs + max(padded * words, made)

    def _begin_with(self, start: WarmStart) -> None:
        """Initialise words, n-grams and output vectors from the start embeddings, where they have them."""
        there, vocabulary, inputs = start.embeddings, self._corpus.vocabulary, self._core.vectors
        rows, bags = start.rows_in(vocabulary), self._bags
        if bags is not None and there.subwords is not None:
            new, old = start.ngram_rows(there.subwords, bags.held)
            inputs[bags.num_own + new] = there.subwords.vectors[old]
        if bags is None or bags.num_own:
            own = there.vectors
            if bags is not None:  # the word's own row makes the mean of its bag equal its start vector
                inputs[rows] = 0
                sizes = np.diff(bags.offsets)[rows, None].astype(np.float32)
                own = sizes * (own - self.vectors[rows])
            inputs[rows] = own
        outputs = there.output_vectors
        if outputs is None:
            return
        if self._tree is None and len(outputs) == len(there):
            self.output_vectors[rows] = outputs
        elif (
            self._tree is not None
            and there.vocabulary.counted
            and len(outputs) == len(there) - 1
            and np.array_equal(rows, np.arange(len(there)))
        ):
            before = huffman_tree(there.vocabulary.counts)
            if len(vocabulary) == len(there) and np.array_equal(before.nodes, self._tree.nodes):
                self.output_vectors[...] = outputs

    def _make_core(
        self, counts: NDArray[np.int64], simd_level: str | None, frozen: NDArray[np.uint8] | None
    ) -> CoreTrainer:
        options = self.options
        settings = Settings(
            window=options.window,
            shrink_window=options.shrink_window,
            cbow=options.model == "cbow",
            cbow_mean=options.cbow_combine == "mean",
            # The published code adds the undivided gradient of a mean to each context word; a sum needs no division.
            cbow_divides=options.cbow_combine == "mean" and options.cbow_gradient == "corrected",
            learning_rate=options.initial_learning_rate,
            min_learning_rate=options.min_learning_rate,
            epochs=options.epochs,
            seed=self._seed,
            chunk=self._chunk,
        )
        keep = keep_thresholds(self._keep)
        bags = self._bags
        inputs: dict[str, Any] = {"frozen": frozen}
        if bags is not None:
            inputs |= {"inputs": bags.num_rows, "bags": (bags.offsets, bags.rows)}
        make = partial(
            CoreTrainer, ids=self._ids, keep=keep, settings=settings, dim=options.dim, level=simd_level, **inputs
        )
        self._first_loss = (1 + options.negatives) * math.log(2)  # loss of an example if all scores are 0
        if (tree := self._tree) is not None:
            self._first_loss = float(np.diff(tree.offsets).max()) * math.log(2)
            # One centre per block: centres share few nodes, and a larger block would multiply the others in vain.
            settings.sharing, settings.block, settings.negatives, settings.drawn = "window", 1, 0, 0
            return make(outputs=tree.num_inner_nodes, paths=(tree.offsets, tree.nodes, tree.signs))
        blocks = options.sharing == "block"
        settings.sharing, settings.negatives = options.sharing, options.negatives
        settings.drawn = options.negatives * (DRAWN_PER_NEGATIVE if blocks else 1)
        settings.block = BLOCK_CENTRES[options.model] if blocks else 1
        seen = counts > 0  # words of a given vocabulary that never occur are never negatives, whatever the exponent
        noise = np.power(counts.astype(np.float64), options.negative_exponent, where=seen, out=np.zeros(len(counts)))
        return make(outputs=len(counts), noise=noise)

    @property
    def simd_level(self) -> str:
        """The SIMD level of the kernels in use."""
        return self._core.level

    @property
    def bytes_needed(self) -> int:
        """Bytes of both matrices without padding, which a checkpoint contains too."""
        inputs = len(self._keep) if self._bags is None else self._bags.num_rows
        return 4 * self.options.dim * (inputs + len(self._keep))

    @property
    def facts(self) -> dict[str, Any]:
        """The SIMD level, for the model's config."""
        return {"simd_level": self.simd_level}

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The word vectors (V, d) float32: a view, which training changes and which may be written to when resuming.

        With subwords a copy, because the vectors are means.
        """
        if self._bags is None:
            return self._core.vectors
        means = np.empty((len(self._keep), self.options.dim), np.float32)
        bag_means(self._core.vectors, (self._bags.offsets, self._bags.rows), means, self.options.num_threads)
        return means

    @property
    def held_buckets(self) -> NDArray[np.uint32] | None:
        """The buckets (R,) uint32 of the n-grams that have rows, in the order of the rows; None without subwords."""
        return None if self._bags is None else self._bags.held

    @property
    def output_vectors(self) -> NDArray[np.float32]:
        """The output vectors, float32: (V, d) for negative sampling, (V - 1, d) for hierarchical softmax; a view."""
        return self._core.outputs

    @property
    def learning_rate(self) -> float:
        """The learning rate at the current position."""
        return self._core.learning_rate(self._ids_passed)

    def run(self, chunks: int) -> ChunkStatistics:
        """Train on the next chunks with all threads, without holding the GIL.

        Raises:
            DivergedError: The mean loss is NaN, infinite or more than 10 times that of all-zero scores.
        """
        last = min(self._position + chunks, self.num_chunks)
        rate = self.learning_rate
        statistics = self._core.run(self._position, last, self.options.num_threads)
        if not statistics.loss_sum <= _ABSURD * self._first_loss * statistics.examples:
            loss = statistics.loss_sum / max(1, statistics.examples)
            raise diverged(self.options, self._corpus, rate, self.words_done, loss)
        self._position = last
        self.words_done += statistics.words
        self._corpus.release()
        return statistics

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return both matrices by name; with subwords, the rows of words (if any) and of n-grams separately."""
        if self._bags is None:
            return {"vectors": self._core.vectors, "output_vectors": self.output_vectors}
        own, ngrams = np.split(self._core.vectors, [self._bags.num_own])
        words = {"word_rows": own} if len(own) else {}
        return {**words, "ngram_vectors": ngrams, "output_vectors": self.output_vectors}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`tensors` returned; CheckpointError if one is missing or has another shape."""
        for name, array in self.tensors().items():
            array[...] = checked_tensor(tensors, name, array.shape)

    def finish(self, *, output_vectors: bool) -> Trained:
        """Return the word vectors and, on request, a copy of the output vectors; the trainer cannot be used afterwards.

        Views would keep both padded matrices and the memory-mapped corpus alive as long as the result.
        """
        outputs = self.output_vectors.copy() if output_vectors else None
        self._core.discard_outputs()  # frees memory for the means of bags
        rule, bags, start = self.options.subword_rule, self._bags, self._start
        if rule is None or bags is None:
            return Trained(self._core.take_vectors(0), outputs)
        vectors = self.vectors
        ngrams = SubwordVectors(rule, self._core.take_vectors(bags.num_own), bags.held)
        if start is not None:
            start.keep_frozen(self._corpus.vocabulary, vectors)
            ngrams = start.with_ngrams_kept(ngrams)
        return Trained(vectors, outputs, ngrams)


def keep_thresholds(probability: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return thresholds (V,) uint32: a word is kept if 32 random bits are at most its threshold."""
    scaled = np.ceil(probability.astype(np.float64) * 2.0**32) - 1
    return np.clip(scaled, 0, 2**32 - 1).astype(np.uint32)
