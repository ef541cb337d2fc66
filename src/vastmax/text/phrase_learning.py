"""Learn phrases from an encoded corpus, and join them in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from vastmax._core import Lexicon, count_pairs, join_pairs
from vastmax.checks import number, one_of, refused, whole
from vastmax.text.phrases import Phrase, Phrases, PhraseScoring
from vastmax.text.scan import ScannedText
from vastmax.text.sources import Sources
from vastmax.text.spool import NO_WORD
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import SENTENCE_END, WORD_END, join_words, split_words

__all__ = ["PhraseOptions", "apply_pass", "learn_passes", "learn_phrases"]


DEFAULT_THRESHOLDS: dict[str, float] = {"word2vec": 100.0, "npmi": 0.5}
"""Default threshold of the first pass; for ``word2vec``, that of the published code."""


@dataclass(frozen=True)
class PhraseOptions:
    """Options for learning phrases; :class:`Phrases` defines the scores.

    Args:
        passes: Number of passes, which find phrases of up to ``2**passes`` words; 0 for none.
        threshold: Threshold of the first pass; each later pass halves it. Default: 100 for ``"word2vec"``, 0.5 for
            ``"npmi"``.
        scoring: ``"word2vec"``, or ``"npmi"`` for normalised pointwise mutual information.
        min_count: Do not join pairs that occur fewer times.
        connector_words: Words that may stand inside a phrase, but not at its ends.
        delimiter: Text that joins the words.

    Raises:
        InputError: An option is not accepted.
    """

    passes: int = 2
    threshold: float | None = None
    scoring: PhraseScoring = "word2vec"
    min_count: int = 5
    connector_words: Iterable[str] = ()
    delimiter: str = "_"

    def __post_init__(self) -> None:
        one_of("scoring of phrases", self.scoring, get_args(PhraseScoring))
        low, high = (0.0, math.inf) if self.scoring == "word2vec" else (-1.0, 1.0)
        if self.threshold is not None:
            number("threshold of phrases", self.threshold, low, high)
        whole("passes of phrases", self.passes, 0)
        whole("min_count of phrases", self.min_count, 1)
        if isinstance(self.connector_words, str):
            raise refused("connector_words", self.connector_words, "a list of words")
        object.__setattr__(self, "connector_words", frozenset(self.connector_words))
        if not self.delimiter or set(self.delimiter) & {SENTENCE_END, WORD_END}:
            raise refused("delimiter of phrases", self.delimiter, "a character such as '_'")

    @property
    def thresholds(self) -> list[float]:
        """The threshold of each pass, half that of the pass before."""
        first = DEFAULT_THRESHOLDS[self.scoring] if self.threshold is None else self.threshold
        return [first / 2**halvings for halvings in range(self.passes)]


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

    Memory holds the words, the pairs that reach `min_count`, and a table of about 2 bytes per word of text, at most
    256 MB.

    Args:
        sources: As for :func:`encode_corpus`, like the arguments after `options`.
        options: How phrases are learned, in at least one pass; by default two.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words), or a function from a line to its words.
        lowercase: Lower-case the words before counting.
        threads: Default: ``OMP_NUM_THREADS``, or all available processors.
        directory: Folder for the temporary file.

    Raises:
        CorpusError: A source cannot be read or holds no words, or the disk is full.
        InputError: An argument is not accepted.

    Warns:
        UserWarning: Invalid UTF-8 was replaced.
    """
    options = options or PhraseOptions()
    whole("passes of phrases", options.passes, 1)
    text = ScannedText(sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads, directory=directory)
    try:
        if text.invalid_utf8:
            warnings.warn(
                f"{text.invalid_utf8:,} invalid UTF-8 sequences were replaced by U+FFFD: check its encoding.",
                stacklevel=2,
            )
        text.settle()
        return learn_passes(text, options, join_last=False)
    finally:
        text.spool.close()


def learn_passes(text: ScannedText, options: PhraseOptions, *, join_last: bool) -> Phrases:
    """Learn phrases pass by pass in a settled text, joining each; the last is joined only with `join_last`."""
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
            apply_pass(text, learnt, learnt.passes[-1])
        with text.spool.guard():
            learnt.passes.append(_learn_pass(text, learnt, threshold))
    if join_last:
        apply_pass(text, learnt, learnt.passes[-1])
    return learnt


def _learn_pass(text: ScannedText, options: Phrases, threshold: float) -> dict[tuple[str, ...], Phrase]:
    """Return the phrases of the corpus in its present state, by falling score."""
    counts = text.lexicon.counts()
    connectors = _connector_flags(text.lexicon, options)
    first, last, offsets, between, together = count_pairs(
        text.spool.core, counts, connectors, options.min_count, text.threads
    )
    scores = pair_scores(counts[first], counts[last], together, int(counts.sum()), options.min_count, options.scoring)
    chosen = scores > threshold
    lengths = np.diff(offsets)  # connectors between the two words of each pair
    inner = iter(split_words(text.lexicon.joined(between[np.repeat(chosen, lengths)])))
    ends = (split_words(text.lexicon.joined(ids[chosen])) for ids in (first, last))
    words = [(a, *islice(inner, length), b) for a, b, length in zip(*ends, lengths[chosen].tolist(), strict=True)]
    found = zip(words, scores[chosen].tolist(), together[chosen].tolist(), strict=True)
    ranked = sorted(found, key=lambda entry: (-entry[1], entry[0]))
    return {words: Phrase(score, count) for words, score, count in ranked}


def apply_pass(text: ScannedText, options: Phrases, phrases: dict[tuple[str, ...], Phrase]) -> None:
    """Join the phrases of a pass in a settled text; its lexicon gets their names and the new counts."""
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
    """Return the scores (n,) of pairs, see :class:`Phrases`, from counts (n,) of first words, last words and pairs."""
    a, b, ab = (counts.astype(np.float64) for counts in (first, last, together))
    if scoring == "word2vec":
        return (ab - min_count) / (a * b) * total
    with np.errstate(divide="ignore", invalid="ignore"):
        pa, pb, pab = a / total, b / total, ab / total
        scores = np.log(pab / (pa * pb)) / -np.log(pab)
    # In a corpus that consists of one pair, p(ab) = 1 and -ln p(ab) = 0: the score is undefined, so it is no phrase.
    return np.where((together >= min_count) & np.isfinite(scores), scores, -np.inf)


def _connector_flags(lexicon: Lexicon, options: Phrases) -> NDArray[np.uint8]:
    flags = np.zeros(len(lexicon), np.uint8)
    ids = np.array(list(_find(lexicon, sorted(options.connector_words)).values()), np.uint32)
    flags[ids[ids != NO_WORD]] = 1
    return flags


def _find(lexicon: Lexicon, words: list[str]) -> dict[str, int]:
    return dict(zip(words, lexicon.find(join_words(words)).tolist(), strict=True))
