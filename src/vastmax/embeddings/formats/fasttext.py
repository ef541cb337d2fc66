"""Models of fastText (.bin and .ftz) and of floret (.bin)."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats import fasttext_parts as parts
from vastmax.embeddings.formats.fasttext_parts import Arguments, Dictionary
from vastmax.embeddings.formats.floret import blocks_of_buckets, check_hashed
from vastmax.embeddings.formats.rows import RowSource
from vastmax.embeddings.formats.stream import ByteStream
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import FormatError, InputError
from vastmax.files import opened, replacing
from vastmax.machine import available_memory
from vastmax.sentences import counted, visible
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

__all__ = ["read_fasttext", "write_fasttext"]

_ROWS = 8192
_MODELS = {parts.CBOW: "cbow", parts.SKIPGRAM: "skipgram", parts.SUPERVISED: "supervised"}
_LOSSES = {1: "hierarchical", 2: "negative-sampling", 3: "softmax", 4: "one-vs-all"}

Matrix = NDArray[np.float32]


def read_fasttext(path: str | os.PathLike[str], *, limit: int | None = None) -> Embeddings:
    """Read a model of fastText (.bin or quantised .ftz) or of floret (.bin): words, n-grams and output vectors.

    The vectors are those that fastText computes, also for out-of-vocabulary words; all n-grams are kept, whatever the
    limit. The labels of a supervised model are not read. Output vectors of words are kept, except with a limit; those
    of a tree are not, because fastText's tree differs from ours. Words that are not UTF-8 are left out, and only the
    first of repeated words is kept, both with a warning. The training options of the model are in
    ``config["options"]``.

    Reading needs ``4 d (V + buckets + output vectors)`` bytes of memory; a limit lowers V. If less is available, it
    raises InputError before allocating any.

    See Also:
        Bojanowski, Grave, Joulin, Mikolov, *Enriching Word Vectors with Subword Information*, 2017,
        https://arxiv.org/abs/1607.04606.

    Args:
        path: plain or .gz, recognised by content.
        limit: read only the vectors of this many words, from the first; None for all.

    Returns:
        The embeddings, vectors (V, d) float32.

    Raises:
        InputError: if the file cannot be opened, or does not fit into memory.
        FormatError: if it is truncated, damaged or not a fastText file, or most of its words are not UTF-8.
    """
    limit = None if limit is None else whole("limit", limit, 1, other="None for all words")
    with opened(path) as file:
        data = ByteStream(RowSource(file, os.fspath(path)))
        try:
            return _read(data, limit)
        except MemoryError:
            raise InputError(f"{data.source.name} does not fit into memory: read fewer words (limit).") from None


def _read(data: ByteStream, limit: int | None) -> Embeddings:
    arguments, sizes, floret = parts.read_arguments(data)
    dim, buckets = arguments.dim, arguments.buckets
    wanted = sizes.words if limit is None else min(limit, sizes.words)
    dictionary = parts.read_dictionary(data, sizes, buckets, wanted)
    rows_of_ngrams = buckets if dictionary.held is None else len(dictionary.held)
    rule = _rule(arguments, floret, rows_of_ngrams)
    ngrams = 0 if rule is None else rows_of_ngrams
    labels = arguments.model == parts.SUPERVISED
    outputs = 0 if labels or arguments.loss == parts.HIERARCHICAL or wanted < sizes.words else sizes.words
    _check_memory(data, 4 * dim * (wanted + ngrams + outputs))
    (quantized,) = data.unpack("<?", "input matrix")
    layout = ((sizes.words, wanted), (rows_of_ngrams, ngrams))
    vectors, rows = parts.read_rows(data, quantized, layout, dim, "input matrix")
    (quantized_too,) = data.unpack("<?", "output matrix")
    of_output = ((sizes.labels if labels else sizes.words, outputs),)
    (output_vectors,) = parts.read_rows(data, quantized and quantized_too, of_output, dim, "output matrix")
    data.end()
    words, kept = _words(dictionary, data.source)
    counts = dictionary.counts
    if len(words) < wanted:
        vectors, counts, output_vectors = (
            vectors[kept],
            counts[kept],
            output_vectors[kept] if outputs else output_vectors,
        )
    try:
        pruned = dictionary.held is not None
        subwords = None if rule is None else SubwordVectors(rule, rows, dictionary.held, pruned=pruned)
        if subwords is not None:
            _finish(vectors, words, subwords)
        about = {"options": _options(arguments, rule, labels)}
        return Embeddings(
            vectors, Vocabulary(words, counts), output_vectors if outputs else None, about, subwords=subwords
        )
    except InputError as error:
        why = str(error).rstrip(".")
        raise FormatError(f"{data.source.name} is damaged ({why}): fetch or write it again.") from error


def _rule(arguments: Arguments, floret: bool, rows: int) -> Subwords | None:
    shortest, longest = max(1, arguments.shortest), arguments.longest
    if shortest > longest:
        shortest, longest = 0, 0
    if floret and arguments.mode == parts.FLORET:
        return Subwords(shortest, longest, max(1, arguments.buckets), arguments.hashes, floret=True)
    return Subwords(shortest, longest, arguments.buckets) if rows and longest else None


def _check_memory(data: ByteStream, needed: int) -> None:
    free = available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{data.source.name} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: read fewer "
            "words (limit)."
        )


def _words(dictionary: Dictionary, source: RowSource) -> tuple[list[str], list[int]]:
    """Return the distinct words that are UTF-8, and their rows; warn about the others."""
    rows: dict[str, int] = {}
    damaged: list[int] = []
    for row, raw in enumerate(dictionary.words):
        try:
            rows.setdefault(raw.decode(), row)
        except UnicodeDecodeError:
            damaged.append(row)
    if damaged:
        first = f"word {damaged[0] + 1} ({dictionary.words[damaged[0]][:40]!r})"
        if 2 * len(damaged) > len(dictionary.words):
            raise source.error("is not UTF-8, nor are most of its words", part=first)
        others = f", nor are {len(damaged) - 1} others" if len(damaged) > 1 else ""
        warnings.warn(
            f"{first} of {visible(source.name)} is not UTF-8{others}, and was left out: train on text in UTF-8.",
            stacklevel=5,
        )
    if twice := len(dictionary.words) - len(damaged) - len(rows):
        warnings.warn(
            f"{visible(source.name)} repeats {counted(twice, 'word')}, and only the first of each was kept: give each "
            "word once.",
            stacklevel=5,
        )
    return list(rows), list(rows.values())


def _bags(words: Sequence[str], first: int, subwords: SubwordVectors) -> tuple[Matrix, Matrix, Matrix]:
    """Return sums (n, d) of the n-gram vectors of n words, their numbers (n, 1), and weights (n, 1) of the own rows.

    ``first`` is the row of the first of the words. The vector of a word is the mean of its n-grams and own row. The
    weight is 1; it is 0 if words are hashed, except for row 0, as in floret. The end-of-line word has no n-grams.
    """
    sums, sizes = subwords.sums(words)
    if parts.EOS in words:
        row = words.index(parts.EOS)
        sums[row], sizes[row] = 0, 0
    own = np.full((len(words), 1), not subwords.rule.floret, np.float32)
    own[: first == 0] = 1
    return sums, sizes[:, None].astype(np.float32), own


def _finish(vectors: Matrix, words: Sequence[str], subwords: SubwordVectors) -> None:
    """Replace each word's own row by the mean of it and its n-grams, in place."""
    for start in range(0, len(words), _ROWS):
        block = vectors[start : start + _ROWS]
        sums, sizes, own = _bags(words[start : start + _ROWS], start, subwords)
        block *= own
        block += sums
        block /= np.maximum(1, sizes + own)


def _options(arguments: Arguments, rule: Subwords | None, labels: bool) -> dict[str, Any]:
    """Return the arguments under the names of `EmbeddingOptions`."""
    ngrams = {} if rule is None else {"subwords": f"{rule.shortest}-{rule.longest}", "buckets": rule.buckets}
    return {
        "model": _MODELS[arguments.model],
        "objective": _LOSSES[arguments.loss],
        **{name: getattr(arguments, name) for name in ("dim", "window", "negatives", "epochs", "min_count")},
        "subsample": arguments.subsample,
        **ngrams,
        **({"hashes": rule.hashes} if rule is not None and rule.floret else {}),
    }


def write_fasttext(embeddings: Embeddings, path: str | os.PathLike[str], *, floret: bool = False) -> None:
    """Write a model that fastText and gensim, or floret, load. The file is replaced atomically.

    Words keep their vectors, and out-of-vocabulary words get the same vectors as here: each word's own row is written
    so that the mean of it and the n-grams is the word's vector, and buckets without a vector are zero rows. Output
    vectors of words are written, and zeros instead of missing ones or those of a tree. Unknown counts are written as 1.
    If the vocabulary has no words, ids are written.

    Args:
        embeddings: vectors (V, d), with or without subwords.
        path: the file.
        floret: write the format of floret's ``load_model``, with a longer header. Only this format supports models
            whose words are hashed like their n-grams. Of these, only the first word may have an arbitrary vector, as in
            floret; the vector of a later ``</s>`` becomes zeros, with a warning.

    Raises:
        InputError: if the file cannot be written, the format does not support these embeddings, or a number is NaN or
            infinite.
    """
    subwords = embeddings.subwords
    hashed = subwords is not None and subwords.rule.floret
    if hashed and not floret:
        raise InputError(
            "the words are hashed, which fastText's format does not support: write floret's (format floret)."
        )
    if subwords is not None and subwords.pruned:
        raise InputError("the n-grams are pruned, which fastText supports only in quantised files: export .vec.")
    embeddings.check_finite()
    if hashed:
        check_hashed(embeddings, "floret's format")
    names = embeddings.vocabulary.words or [str(row) for row in range(len(embeddings))]
    if with_nul := next((name for name in names if "\0" in name), None):
        raise InputError(f"the word {with_nul!r} contains a NUL, which ends words in fastText's format: remove it.")
    if hashed and parts.EOS in embeddings and embeddings.id_of(parts.EOS) and embeddings[parts.EOS].any():
        warnings.warn(
            f"the vector of {parts.EOS!r} becomes zeros, as floret stores no vector for the "
            "end-of-line word: export .vec to keep it.",
            stacklevel=2,
        )
    arguments = _arguments(embeddings)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<2i", parts.MAGIC, parts.VERSION) + arguments.pack(floret))
        _write_dictionary(file, embeddings.vocabulary, names)
        file.write(struct.pack("<?2q", False, len(names) + arguments.buckets, embeddings.dim))
        for block in _input_blocks(embeddings, names):
            if not np.isfinite(block).all():
                raise InputError(
                    "the vectors of n-grams contain NaN, infinity or numbers too large: give smaller ones."
                )
            file.write(np.ascontiguousarray(block, "<f4").data)
        file.write(struct.pack("<?2q", False, len(names), embeddings.dim))
        for start in range(0, len(names), _ROWS):
            file.write(np.ascontiguousarray(_outputs(embeddings, start, min(start + _ROWS, len(names))), "<f4").data)


def _arguments(embeddings: Embeddings) -> Arguments:
    """Return the training arguments to write; fastText's defaults stand for unknown ones."""
    options = embeddings.config.get("options")
    given: Mapping[str, Any] = options if isinstance(options, Mapping) else {}

    def number(name: str, default: int) -> int:
        value = given.get(name)
        return value if isinstance(value, int) and 0 <= value < 2**31 else default

    subsample = given.get("subsample")
    rule = None if embeddings.subwords is None else embeddings.subwords.rule
    return Arguments(
        dim=embeddings.dim,
        window=number("window", 5),
        epochs=number("epochs", 5),
        min_count=number("min_count", 1),
        negatives=number("negatives", 5),
        word_ngrams=1,
        loss=parts.HIERARCHICAL if given.get("objective") == "hierarchical" else parts.NEGATIVE_SAMPLING,
        model=parts.CBOW if given.get("model") == "cbow" else parts.SKIPGRAM,
        buckets=0 if rule is None else rule.buckets,
        shortest=0 if rule is None else rule.shortest,
        longest=0 if rule is None else rule.longest,
        mode=parts.FLORET if rule is not None and rule.floret else 1,
        hashes=1 if rule is None else rule.hashes,
        rate_updates=100,
        subsample=float(subsample) if isinstance(subsample, (int, float)) else 1e-4,
    )


def _write_dictionary(file: IO[bytes], vocabulary: Vocabulary, names: Sequence[str]) -> None:
    counts = np.maximum(vocabulary.counts, 1) if vocabulary.counted else np.ones(len(names), np.int64)
    tokens = min(sum(counts.tolist()), 2**63 - 1)
    file.write(struct.pack("<3i2q", len(names), len(names), 0, tokens, -1))
    entry = struct.Struct("<xqb").pack
    file.writelines(name.encode() + entry(count, 0) for name, count in zip(names, counts.tolist(), strict=True))


def _input_blocks(embeddings: Embeddings, names: Sequence[str]) -> Iterator[NDArray[Any]]:
    """Yield blocks of the input matrix: the words' own rows, then those of all buckets."""
    subwords = embeddings.subwords
    for start in range(0, len(names), _ROWS):
        block = embeddings.table[start : start + _ROWS]
        if subwords is not None:
            sums, sizes, own = _bags(names[start : start + _ROWS], start, subwords)
            with np.errstate(over="ignore"):
                block = (own * ((sizes + own) * block.astype(np.float64) - sums)).astype(np.float32)
        yield block
    if subwords is not None:
        yield from blocks_of_buckets(subwords)


def _outputs(embeddings: Embeddings, start: int, stop: int) -> Matrix:
    found = embeddings.output_vectors
    if found is None or len(found) != len(embeddings):
        return np.zeros((stop - start, embeddings.dim), np.float32)
    return found[start:stop]
