"""The embedding trainer over the compiled core, which trains a corpus chunk by chunk."""

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

# A block of centres draws 10 negatives for 5, shared by its windows and weighted 5/10. What that saves is fetching and
# multiplying the rows of 30; that it costs no quality was measured: docs/benchmarks.md has the figures.
BLOCK_CENTRES = {"skipgram": 6, "cbow": 4}
DRAWN_PER_NEGATIVE = 2

# Work is handed out in chunks of ids; 64 or more an epoch keep all threads busy to the end and a checkpoint near.
# Several processes exchange rows every few chunks. Smaller chunks keep many threads busy until then, but were seen to
# cost 1.5 points of WS-353, so processes of few threads keep the large ones.
SMALLEST_CHUNK, LARGEST_CHUNK, CHUNKS_AN_EPOCH = 1024, 65536, 64

ROW_BYTES = 64  # that the core pads rows to
_BETWEEN_STREAMS = 0x9E3779B97F4A7C15  # seeds that nobody gives: of 63 bits, a user's would be next to each other
_ABSURD = 10  # times the loss of scores that are all 0: only scores that grow without end cost so much


class EmbeddingTrainer(Trainer):
    """Skip-gram or CBOW with negative sampling or hierarchical softmax, on all cores (Hogwild).

    The random draws of a chunk of the corpus depend only on (seed, epoch, chunk), and the learning rate only on the
    position. So the state of training is :attr:`vectors`, :attr:`output_vectors` and :attr:`position`: a trainer with
    these three continues as if it had never stopped, with one thread bit for bit.

    See Also:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546; Recht, Re, Wright, Niu, *Hogwild!*, 2011,
        https://arxiv.org/abs/1106.5730; Ji, Satish, Li, Dubey, *Parallelizing Word2Vec in Shared and Distributed
        Memory*, 2016, https://arxiv.org/abs/1604.04661 (shared negatives).

    Args:
        corpus: The encoded corpus; it must stay open while training runs.
        options: The options of training.
        stream: Number of this trainer among several with the same options; each has its own random draws.
        simd_level: ``avx512``, ``avx2`` or ``plain``; by default that of the environment variable ``VASTMAX_SIMD``, or
            the best this processor has.
        note: Is called with a sentence on the memory that training needs, before it is allocated.
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
        initialise(self._core.vectors, options.seed, options.num_threads)  # output vectors are zero
        if start is not None:
            self._begin_with(start)

    @property
    def _memory_needed(self) -> int:
        """Bytes of both matrices, or at the end of the first and of what is made of it."""
        row, padded = 4 * self.options.dim, -(-4 * self.options.dim // ROW_BYTES) * ROW_BYTES
        words, inputs, made = len(self._keep), len(self._keep), 0
        if self._bags is not None:
            inputs, made = self._bags.num_rows, words * row
            if self._start is not None:
                made += row * self._start.num_ngrams_with(self._bags.held)
        return padded * inputs + max(padded * words, made)

    def _begin_with(self, start: WarmStart) -> None:
        """Write the vectors of words that are there, and of n-grams and outputs."""
        there, vocabulary, inputs = start.embeddings, self._corpus.vocabulary, self._core.vectors
        rows, bags = start.rows_in(vocabulary), self._bags
        if bags is not None and there.subwords is not None:
            new, old = start.ngram_rows(there.subwords, bags.held)
            inputs[bags.num_own + new] = there.subwords.vectors[old]
        if bags is None or bags.num_own:
            own = there.vectors
            if bags is not None:  # what is left of the word's vector, the mean, when its n-grams are taken out
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
            # Published code adds the undivided gradient of a mean to every word of the context; a sum's needs none.
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
        self._first_loss = (1 + options.negatives) * math.log(2)  # an example's, where all scores are 0
        if (tree := self._tree) is not None:
            self._first_loss = float(np.diff(tree.offsets).max()) * math.log(2)
            # One centre a block: centres share few nodes, and a larger block would multiply the rest in vain.
            settings.sharing, settings.block, settings.negatives, settings.drawn = "window", 1, 0, 0
            return make(outputs=tree.num_inner_nodes, paths=(tree.offsets, tree.nodes, tree.signs))
        blocks = options.sharing == "block"
        settings.sharing, settings.negatives = options.sharing, options.negatives
        settings.drawn = options.negatives * (DRAWN_PER_NEGATIVE if blocks else 1)
        settings.block = BLOCK_CENTRES[options.model] if blocks else 1
        seen = counts > 0  # a word of a given vocabulary may never occur: it is no noise, whatever the exponent
        noise = np.power(counts.astype(np.float64), options.negative_exponent, where=seen, out=np.zeros(len(counts)))
        return make(outputs=len(counts), noise=noise)

    @property
    def simd_level(self) -> str:
        """The level of the kernels in use."""
        return self._core.level

    @property
    def bytes_needed(self) -> int:
        """Bytes of both matrices, which a checkpoint contains too."""
        inputs = len(self._keep) if self._bags is None else self._bags.num_rows
        return 4 * self.options.dim * (inputs + len(self._keep))

    @property
    def facts(self) -> dict[str, Any]:
        """What computed, for the model's config."""
        return {"simd_level": self.simd_level}

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(V, d) float32, the word vectors: a view, which training changes and which may be written to for resuming.

        With subwords a copy, as the vectors are means.
        """
        if self._bags is None:
            return self._core.vectors
        means = np.empty((len(self._keep), self.options.dim), np.float32)
        bag_means(self._core.vectors, (self._bags.offsets, self._bags.rows), means, self.options.num_threads)
        return means

    @property
    def held_buckets(self) -> NDArray[np.uint32] | None:
        """(R,) uint32, the buckets of the n-grams that have rows, as the rows lie; None without subwords."""
        return None if self._bags is None else self._bags.held

    @property
    def output_vectors(self) -> NDArray[np.float32]:
        """(V, d) float32 for negative sampling, (V - 1, d) for the inner nodes of the Huffman tree; a view."""
        return self._core.outputs

    @property
    def learning_rate(self) -> float:
        """The learning rate at the present position."""
        return self._core.learning_rate(self._ids_passed)

    def run(self, chunks: int) -> ChunkStatistics:
        """Train the next chunks on all threads; the interpreter is free meanwhile."""
        last = min(self._position + chunks, self.num_chunks)
        rate = self.learning_rate
        statistics = self._core.run(self._position, last, self.options.num_threads)
        if not statistics.loss_sum <= _ABSURD * self._first_loss * statistics.examples:
            loss = statistics.loss_sum / max(1, statistics.examples)
            raise diverged(self.options, rate, self.words_done, loss)
        self._position = last
        self.words_done += statistics.words
        self._corpus.release()
        return statistics

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Both matrices; with subwords that of the words' own rows, if they have such, apart from that of n-grams."""
        if self._bags is None:
            return {"vectors": self._core.vectors, "output_vectors": self.output_vectors}
        own, ngrams = np.split(self._core.vectors, [self._bags.num_own])
        words = {"word_rows": own} if len(own) else {}
        return {**words, "ngram_vectors": ngrams, "output_vectors": self.output_vectors}

    def restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`tensors` returned; CheckpointError where one is missing, or of another shape."""
        for name, array in self.tensors().items():
            array[...] = checked_tensor(tensors, name, array.shape)

    def finish(self, *, output_vectors: bool) -> Trained:
        """Return the word vectors and, on request, a copy of the output vectors; the trainer is spent.

        Views would keep both padded matrices, and the map of the corpus, alive as long as the result.
        """
        outputs = self.output_vectors.copy() if output_vectors else None
        self._core.discard_outputs()  # makes room for the means of bags
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
    """(V,) uint32 thresholds: a word is kept where 32 random bits are at most its threshold."""
    scaled = np.ceil(probability.astype(np.float64) * 2.0**32) - 1
    return np.clip(scaled, 0, 2**32 - 1).astype(np.uint32)
