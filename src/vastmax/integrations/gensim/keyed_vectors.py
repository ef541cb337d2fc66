"""Convert embeddings to and from gensim's KeyedVectors."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vastmax.checks import refused
from vastmax.embeddings import Embeddings, SubwordVectors, read_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.files import opened
from vastmax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gensim.models import KeyedVectors, Word2Vec

__all__ = ["from_gensim", "load_word2vec_format", "to_gensim"]


def to_gensim(embeddings: Embeddings) -> KeyedVectors:
    """Return a KeyedVectors with the same words, the counts if known, and a copy of the vectors (V, d).

    Embeddings with fastText subwords become a FastTextKeyedVectors; other subwords are dropped with a warning.
    Embeddings without words get their ids as keys.

    Raises:
        InputError: gensim is not installed, or a vector contains NaN or infinity.
    """
    from vastmax.integrations.gensim import peer

    embeddings.check_finite()
    subwords, dim = embeddings.subwords, embeddings.dim
    if subwords is not None and (subwords.rule.floret or subwords.pruned):
        kind = "floret's" if subwords.rule.floret else "pruned"
        warnings.warn(
            f"gensim does not support {kind} n-grams, and only words were converted: keep the original for others.",
            stacklevel=2,
        )
        subwords = None
    if subwords is None:
        vectors: Any = peer.keyedvectors.KeyedVectors(dim)
    else:
        rule = subwords.rule
        vectors = peer.fasttext.FastTextKeyedVectors(dim, rule.shortest, rule.longest, rule.buckets)
    words = embeddings.vocabulary.words
    keys = [str(row) for row in range(len(embeddings))] if words is None else list(words)
    vectors.index_to_key, vectors.next_index = keys, len(keys)
    vectors.key_to_index = {key: row for row, key in enumerate(keys)}
    vectors.vectors = np.array(embeddings.vectors)
    if embeddings.vocabulary.counted:
        vectors.expandos["count"] = np.array(embeddings.vocabulary.counts)
    if subwords is not None:
        sums, sizes = subwords.sums(keys)
        vectors.vectors_vocab = (sizes[:, None] + np.float32(1)) * embeddings.vectors - sums  # the word's own row
        vectors.vectors_ngrams = np.zeros((subwords.rule.buckets, dim), np.float32)
        vectors.vectors_ngrams[subwords.held] = subwords.vectors
        vectors.recalc_char_ngram_buckets()
    return vectors


def from_gensim(keyed_vectors: KeyedVectors | Word2Vec) -> Embeddings:
    """Return embeddings with the words in gensim's order, which is by falling count.

    Counts are unknown if gensim has none, or if they are V, V-1, … 1, which gensim makes up for files without counts;
    a model's counts are always taken as they are. A FastTextKeyedVectors keeps its n-grams. A model keeps its output
    vectors for `Embeddings.predict`, except those of gensim's own tree, which differs from vastmax's.

    Args:
        keyed_vectors: a KeyedVectors, or a model with one, of gensim or of this module.

    Raises:
        InputError: no words.
    """
    model: Any = keyed_vectors if hasattr(keyed_vectors, "wv") else None
    vectors: Any = keyed_vectors if model is None else model.wv
    words = [str(key) for key in vectors.index_to_key]
    if not words:
        raise InputError("keyed_vectors contains no words: give a KeyedVectors with words.")
    outputs, config = (None, None) if model is None else _outputs_of(model)
    counts = vectors.expandos.get("count")
    made_up = counts is None or (model is None and np.array_equal(counts, range(len(counts), 0, -1)))
    if counts is not None:
        counts = np.pad(np.asarray(counts, np.int64), (0, len(words) - len(counts)))  # words that users added have none
    vocabulary, subwords = Vocabulary(words, None if made_up else counts), _subwords_of(vectors)
    return Embeddings(np.asarray(vectors.vectors, np.float32), vocabulary, outputs, config, subwords=subwords)


def _subwords_of(keyed_vectors: Any) -> SubwordVectors | None:
    """Return the n-gram vectors, or None."""
    ngrams = getattr(keyed_vectors, "vectors_ngrams", None)
    if ngrams is None:
        return None
    from vastmax.integrations.gensim.ngrams import rule_of

    rule = rule_of(keyed_vectors)
    if rule is None:
        return None
    held = np.flatnonzero(ngrams.any(1))
    return SubwordVectors(rule, np.asarray(ngrams[held], np.float32), held)


def _outputs_of(model: Any) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
    """Return output vectors of words, or of the inner nodes of vastmax's tree (gensim's matrix has a row too many)."""
    from vastmax.integrations.gensim.model import Model

    ours = isinstance(model, Model)
    if ours:
        model._settle_words()
    found = getattr(model, "syn1neg", None) if not model.hs else getattr(model, "syn1", None) if ours else None
    rows = len(model.wv) - 1 if model.hs else len(model.wv)
    options = {"model": "skipgram" if model.sg else "cbow", "cbow_combine": "mean" if model.cbow_mean else "sum"}
    return None if found is None else np.array(found[:rows], np.float32), {"options": options}


def load_word2vec_format(
    fname: str | os.PathLike[str],
    fvocab: str | os.PathLike[str] | None = None,
    binary: bool = False,
    encoding: str = "utf8",
    unicode_errors: str = "strict",
    limit: int | None = None,
    datatype: DTypeLike = np.float32,
    binary_chunk_size: int = 0,
    no_header: bool = False,
) -> KeyedVectors:
    """Read a word2vec file like gensim's `KeyedVectors.load_word2vec_format`, by `vastmax.embeddings.read_word2vec`.

    Invalid UTF-8 is replaced by U+FFFD with a warning, or removed if ``unicode_errors`` is ``"ignore"``. A missing
    header is recognised without ``no_header``.

    Args:
        fname: the file, plain or .gz.
        fvocab: a file with lines ``word count``; without it, counts are V, V-1, … 1, as in gensim.
        binary: whether the file is in the binary format; otherwise it is text.
        encoding: must be UTF-8.
        unicode_errors: ``"ignore"`` to remove invalid UTF-8; anything else replaces it.
        limit: read only this many words, the first; None or 0 for all.
        datatype: dtype of the vectors.
        binary_chunk_size: unused.
        no_header: unused.

    Raises:
        InputError: a file that cannot be read, or another encoding.
        FormatError: a truncated file or another format (the message names the line or byte), or words that are equal
            without their invalid UTF-8.
    """
    if encoding.lower().replace("-", "") != "utf8":
        raise refused("encoding", encoding, "'utf8', and convert a file in another encoding")
    vectors = to_gensim(read_word2vec(fname, binary, limit=limit or None))
    keys: list[str] = vectors.index_to_key  # type: ignore[assignment]
    if unicode_errors == "ignore":
        keys = [str(key).replace("\ufffd", "") for key in keys]
        vectors.index_to_key, vectors.key_to_index = keys, {key: row for row, key in enumerate(keys)}
        if len(vectors.key_to_index) < len(keys):
            raise FormatError(
                f"{os.fspath(fname)} has words that become equal without their invalid UTF-8: leave out unicode_errors."
            )
    counts: Any = range(len(keys), 0, -1)
    if fvocab is not None:
        known = _counts(fvocab, "ignore" if unicode_errors == "ignore" else "replace")
        counts = [known.get(key, 0) for key in keys]
    vectors.expandos["count"] = np.array(counts, np.int64)
    vectors.vectors = vectors.vectors.astype(datatype, copy=False)
    return vectors


def _counts(path: str | os.PathLike[str], errors: str) -> dict[str, int]:
    """Return the counts in a file with lines ``word count``."""
    found = {}
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            word, _, count = line.decode("utf-8", errors).strip().rpartition(" ")
            if not word or not count.isdecimal():
                raise FormatError(f"line {number} of {os.fspath(path)} is not a word and its count: give 'word count'.")
            found[word] = int(count)
    return found
