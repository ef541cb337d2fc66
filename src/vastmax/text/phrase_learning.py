"""Phrases learnt from, and applied to, a corpus of ids."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax._core import Lexicon, count_pairs, join_pairs
from vastmax.checks import whole
from vastmax.text.phrases import Phrase, PhraseOptions, Phrases, PhraseScoring
from vastmax.text.scanned import ScannedText
from vastmax.text.sources import Sources
from vastmax.text.spool import NO_WORD
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import join_words, split_words

__all__ = ["apply_passes", "learn_passes", "learn_phrases", "pair_scores"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of ids; the words between the ends of pair i are ``between[offsets[i]:offsets[i + 1]]``."""

    first: NDArray[np.uint32]
    last: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    between: NDArray[np.uint32]

    def words(self, lexicon: Lexicon) -> list[tuple[str, ...]]:
        """The spelling of each."""
        first = split_words(lexicon.joined(self.first))
        last = split_words(lexicon.joined(self.last))
        between = split_words(lexicon.joined(self.between))
        bounds = self.offsets.tolist()
        return [
            (a, *between[start:stop], b) for a, start, stop, b in zip(first, bounds[:-1], bounds[1:], last, strict=True)
        ]


def learn_phrases(
    sources: Sources,
    options: PhraseOptions | None = None,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    threads: int | None = None,
    directory: str | PathLike[str] | None = None,
) -> Phrases:
    """Learn phrases from a corpus, counted in parallel in the compiled core.

    Memory goes to the words, to the pairs that reach `min_count`, and to a table of about 2 bytes a word of text,
    256 MB at most.

    Args:
        sources: As for :func:`encode_corpus`, and so are those that follow `options`.
        options: How they are learnt; by default in two passes.
        tokenizer: ``"whitespace"``, ``"words"`` or a function from a line to its words.
        lowercase: Lower-case the words.
        threads: Default: all processors.
        directory: Folder of the temporary file.

    Raises:
        CorpusError: A source that cannot be read, or a full disk.
        InputError: An argument that cannot be used.

    Warns:
        UserWarning: Invalid UTF-8 was replaced.
    """
    options = options or PhraseOptions()
    whole("passes of phrases", options.passes, 1)
    text = ScannedText(sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads, directory=directory)
    try:
        if text.invalid_utf8:
            warnings.warn(f"{text.invalid_utf8:,} ill-formed parts of UTF-8 were replaced by U+FFFD.", stacklevel=2)
        text.settle()
        return learn_passes(text, options, join_last=False)
    finally:
        text.spool.close()


def learn_passes(text: ScannedText, options: PhraseOptions, *, join_last: bool) -> Phrases:
    """Learn and join pass by pass in a settled text. Without `join_last` the last pass is learnt but not joined."""
    learnt = Phrases(
        [],
        thresholds=options.thresholds,
        scoring=options.scoring,
        min_count=options.min_count,
        connector_words=options.connector_words,
        delimiter=options.delimiter,
    )
    for threshold in learnt.thresholds:
        if learnt.passes:
            _apply_pass(text, learnt, learnt.passes[-1])
        with text.spool.guard():
            learnt.passes.append(_learn_pass(text, learnt, threshold))
    if join_last:
        _apply_pass(text, learnt, learnt.passes[-1])
    return learnt


def apply_passes(text: ScannedText, phrases: Phrases) -> None:
    """Join all phrases in a settled text; its lexicon gains their names and has the new counts."""
    for one_pass in phrases.passes:
        _apply_pass(text, phrases, one_pass)


def _learn_pass(text: ScannedText, options: Phrases, threshold: float) -> dict[tuple[str, ...], Phrase]:
    """The phrases of the corpus as it stands, the strongest first."""
    counts = text.lexicon.counts()
    connectors = _connector_flags(text.lexicon, options)
    first, last, offsets, between, pair_counts = count_pairs(
        text.spool.core, counts, connectors, options.min_count, text.threads
    )
    pairs = Pairs(first, last, offsets, between)
    scores = pair_scores(
        counts[pairs.first], counts[pairs.last], pair_counts, int(counts.sum()), options.min_count, options.scoring
    )
    chosen = np.flatnonzero(scores > threshold)
    words = _take(pairs, chosen).words(text.lexicon)
    found = zip(words, scores[chosen].tolist(), pair_counts[chosen].tolist(), strict=True)
    ranked = sorted(found, key=lambda entry: (-entry[1], entry[0]))
    return {words: Phrase(score, count) for words, score, count in ranked}


def _apply_pass(text: ScannedText, options: Phrases, phrases: dict[tuple[str, ...], Phrase]) -> None:
    lexicon = text.lexicon
    known = _find(lexicon, sorted({word for words in phrases for word in words}))
    spellings = [words for words in phrases if all(known[word] != NO_WORD for word in words)]
    if not spellings:
        return
    ids = [[known[word] for word in words] for words in spellings]
    offsets = np.cumsum([0, *(len(words) - 2 for words in ids)], dtype=np.int64)
    between = np.array([word for words in ids for word in words[1:-1]], np.uint32)
    first = np.array([words[0] for words in ids], np.uint32)
    last = np.array([words[-1] for words in ids], np.uint32)
    joined = lexicon.intern(join_words(options.delimiter.join(words) for words in spellings))
    connectors = _connector_flags(lexicon, options)
    with text.spool.guard():
        lexicon.set_counts(join_pairs(text.spool.core, first, last, offsets, between, joined, connectors))


def pair_scores(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    together: NDArray[np.int64],
    total: int,
    min_count: int,
    scoring: PhraseScoring,
) -> NDArray[np.float64]:
    """Scores by the formulas of :class:`Phrases`, from the counts of the two words and of the pair, each (n,)."""
    a, b, ab = (counts.astype(np.float64) for counts in (first, last, together))
    if scoring == "word2vec":
        return (ab - min_count) / (a * b) * total
    with np.errstate(divide="ignore", invalid="ignore"):
        pa, pb, pab = a / total, b / total, ab / total
        scores = np.log(pab / (pa * pb)) / -np.log(pab)
    # A corpus that is nothing but one pair has p(ab) = 1 and no information: such a pair is no phrase.
    return np.where((together >= min_count) & np.isfinite(scores), scores, -np.inf)


def _take(pairs: Pairs, places: NDArray[np.intp]) -> Pairs:
    lengths = np.diff(pairs.offsets)[places]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = pairs.offsets[places]
    steps = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    between = pairs.between[np.repeat(starts, lengths) + steps]
    return Pairs(pairs.first[places], pairs.last[places], offsets, between)


def _connector_flags(lexicon: Lexicon, options: Phrases) -> NDArray[np.uint8]:
    flags = np.zeros(len(lexicon), np.uint8)
    ids = np.array(list(_find(lexicon, sorted(options.connector_words)).values()), np.uint32)
    flags[ids[ids != NO_WORD]] = 1
    return flags


def _find(lexicon: Lexicon, words: list[str]) -> dict[str, int]:
    return dict(zip(words, lexicon.find(join_words(words)).tolist(), strict=True))
