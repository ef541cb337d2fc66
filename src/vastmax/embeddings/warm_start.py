"""Warm starts: initialise a training run from existing vectors, some of which may stay frozen."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.exchange import import_vectors
from vastmax.embeddings.formats.floret import unlike_their_ngrams
from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import InputError
from vastmax.vocabulary import WORD_END, Vocabulary

__all__ = ["WarmStart"]

_ROWS = 8192  # rows checked at once
_GENTLER = 8  # divides the default learning rate; docs/training.md shows how the rate affects existing vectors


class WarmStart:
    """The embeddings that training starts from, with V words, vectors (V, d) and perhaps R vectors of n-grams (R, d).

    Args:
        start: embeddings, or a folder or file of them, as `import_vectors` reads it.
        frozen: words whose vectors do not change; ``"all"`` for all words of ``start``.

    Raises:
        InputError: for embeddings without words, NaN or infinity in them, a frozen word that they lack, or a ``frozen``
            that is neither a list of words nor ``"all"``.
    """

    def __init__(self, start: Embeddings | str | os.PathLike[str], frozen: Iterable[str] | str = ()) -> None:
        self.embeddings = start if isinstance(start, Embeddings) else import_vectors(start)
        words = self.embeddings.vocabulary.words
        if words is None:
            raise InputError("start has no words, only ids: give embeddings with words.")
        if isinstance(frozen, (str, bytes)) or not isinstance(frozen, Iterable):
            if not isinstance(frozen, str) or frozen != "all":
                raise refused("frozen", frozen, "a list of words, or 'all'")
            frozen = words
        given = list(frozen)
        if not all(isinstance(word, str) for word in given):
            raise refused("frozen", given, "a list of words, or 'all'")
        self.frozen = frozenset(given)
        for word in sorted(self.frozen):
            if word not in self.embeddings.vocabulary:
                raise InputError(f"frozen contains the word {word!r}, which start lacks: give words of start.")
        self.embeddings.check_finite()
        ngrams = self.embeddings.subwords
        for name, array in (
            ("output vectors", self.embeddings.output_vectors),
            ("vectors of n-grams", None if ngrams is None else ngrams.vectors),
        ):
            blocks = range(0, 0 if array is None else len(array), _ROWS)
            if array is not None and not all(np.isfinite(array[start : start + _ROWS]).all() for start in blocks):
                raise InputError(f"the {name} of start contain NaN or infinity: give finite numbers.")

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the start embeddings."""
        return self.embeddings.vocabulary

    def checked(self, options: EmbeddingOptions) -> EmbeddingOptions:
        """Return the options with the subword options of the start embeddings.

        Warn about words of floret models whose vectors are not the mean of their n-grams: they
        start from that mean.

        Raises:
            InputError: if the options do not match the start embeddings, or floret's hashing (``hashes`` of 2 or more)
                is combined with frozen words, a start without n-grams, or a floret start with 1 hash.
        """
        there = self.embeddings
        if options.dim != there.dim:
            raise InputError(f"dim is {options.dim}, and start has vectors of dim {there.dim}: give dim {there.dim}.")
        if there.subwords is not None and (there.subwords.rule.longest or there.subwords.rule.floret):
            rule = there.subwords.rule
            if rule.floret and rule.hashes == 1:
                raise InputError(
                    "start hashes words with 1 hash, as floret's models may: give one of 2 hashes or more."
                )
            lengths = f"{rule.shortest}-{rule.longest}"
            if options.subwords is None:
                options = replace(options, subwords=lengths, buckets=rule.buckets, hashes=rule.hashes)
            if options.subword_rule != rule:
                kind = f"subwords {lengths}, buckets {rule.buckets} and hashes {rule.hashes}"
                raise InputError(
                    f"start has {kind}{' as floret' * rule.floret}, and this run has others: give the same."
                )
        rule = options.subword_rule
        if rule is not None and rule.floret and (there.subwords is None or self.frozen):
            what, todo = (
                ("start has no n-grams", "give hashes 1")
                if there.subwords is None
                else ("words are frozen", "leave out frozen")
            )
            raise InputError(f"hashes is {rule.hashes}, which hashes words like n-grams, and {what}: {todo}.")
        if rule is not None and rule.floret and (lost := unlike_their_ngrams(there)):
            warnings.warn(
                f"{len(lost):,} words of start, such as {there.word_of(lost[0])!r}, have vectors that are not the "
                "mean of their n-grams, and start from that mean: give start without subwords to keep them.",
                stacklevel=4,
            )
        return options

    def for_corpus(self, options: EmbeddingOptions, words: int) -> EmbeddingOptions:
        """Return the options with the default learning rate for a corpus of so many words, unless a rate is given.

        It is an eighth of that for training from scratch, so that training does not destroy the vectors.
        """
        usual = replace(options, min_learning_rate=0).for_corpus(words).initial_learning_rate
        if options.learning_rate is not None:
            return options
        return replace(options, learning_rate=float(f"{usual / _GENTLER:.2g}"))

    def fingerprint(self) -> str:
        """Return a digest (32 hex digits) of all arrays, words and frozen words; a checkpoint resumes only with it."""
        digest = hashlib.blake2b(digest_size=16)
        there = self.embeddings
        subwords = there.subwords
        arrays = [there.vectors, there.output_vectors, *((subwords.held, subwords.vectors) if subwords else ())]
        for array in arrays:
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        if subwords is not None and subwords.pruned:
            digest.update(b"pruned")
        if there.vocabulary.counted:
            digest.update(there.vocabulary.counts.tobytes())
        for words in (there.vocabulary.words or [], sorted(self.frozen)):
            digest.update(WORD_END.join(words).encode() + b"\0")
        return digest.hexdigest()

    def rows_in(self, vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Return the ids (n,) int64 of the n start words in a vocabulary that contains them all."""
        return np.fromiter(map(vocabulary.index.__getitem__, self.vocabulary.words or []), np.int64)

    def frozen_in(self, vocabulary: Vocabulary) -> NDArray[np.uint8] | None:
        """Return flags (V,) uint8 that are 1 for the frozen words of a vocabulary, or None if no word is frozen."""
        if not self.frozen:
            return None
        flags = np.zeros(len(vocabulary), np.uint8)
        flags[[vocabulary.index[word] for word in self.frozen]] = 1
        return flags

    def total_counts(self, vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Return the word counts (V,) int64 of the new text plus those of the start embeddings, if they have counts.

        Raises:
            InputError: if a sum overflows int64.
        """
        counts = vocabulary.counts.copy()
        if self.vocabulary.counted:
            counts[self.rows_in(vocabulary)] += self.vocabulary.counts
        if (counts < 0).any():
            raise InputError("the counts of start and of the text add up to more than 2^63: give smaller ones.")
        return counts

    def keep_frozen(self, vocabulary: Vocabulary, vectors: NDArray[np.float32]) -> None:
        """Copy the frozen words' vectors into ``vectors`` (V, d), in place: a mean loses the sign of a zero."""
        words = sorted(self.frozen)
        if words:
            vectors[[vocabulary.index[word] for word in words]] = self.embeddings[words]

    @property
    def kept_buckets(self) -> NDArray[np.uint32] | None:
        """The buckets (R,) uint32 to which pruned start embeddings restrict n-grams; None if they are not pruned."""
        there = self.embeddings.subwords
        return there.held if there is not None and there.pruned else None

    def _ngrams_beside(self, held: NDArray[Any]) -> NDArray[np.bool_]:
        """Return flags (R,) bool of the start's n-gram vectors whose buckets are not in ``held``; (0,) without any."""
        there = self.embeddings.subwords
        return np.zeros(0, bool) if there is None else ~np.isin(there.held, held)

    def num_ngrams_with(self, held: NDArray[Any]) -> int:
        """Return the number of rows of the n-gram vectors (rows, d) that `with_ngrams_kept` allocates.

        0 if the start embeddings have no n-gram vectors beyond the buckets of the run: nothing is then allocated.

        Args:
            held: (n,) the buckets that have vectors in the run.
        """
        beside = int(self._ngrams_beside(held).sum())
        return beside and beside + len(held)

    def with_ngrams_kept(self, found: SubwordVectors) -> SubwordVectors:
        """Return the n-gram vectors of a run (rows, d) followed by those of the start that its corpus does not use."""
        there = self.embeddings.subwords
        if there is None:
            return found
        beside = self._ngrams_beside(found.held)
        vectors, held = found.vectors, found.held
        if beside.any():
            vectors = np.concatenate([vectors, there.vectors[beside]])
            held = np.concatenate([held, there.held[beside]])
        return SubwordVectors(found.rule, vectors, held, pruned=there.pruned)

    def ngram_rows(self, subwords: SubwordVectors, held: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Match the n-gram vectors (rows, d) of a new run to existing ones (R, d) of the same buckets.

        Args:
            subwords: the existing vectors, (R, d).
            held: (rows,) the distinct buckets that have vectors in the new run.

        Returns:
            For the n buckets in common, (n,) int64 their rows in the new run, which are indices into ``held``, and (n,)
            int64 their rows in ``subwords.vectors``.
        """
        _, there, here = np.intersect1d(held, subwords.held, assume_unique=True, return_indices=True)
        return there, here
