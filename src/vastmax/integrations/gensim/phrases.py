"""gensim's `Phrases`, counted in the compiled core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import shown
from vastmax.errors import FormatError, InputError
from vastmax.integrations.gensim import peer
from vastmax.integrations.gensim.corpora import Text
from vastmax.integrations.gensim.pair_counts import PairCounts, count_text
from vastmax.integrations.gensim.saved import checked, matrix, read_model, words_in, write_model
from vastmax.machine import default_threads

__all__ = ["ENGLISH_CONNECTOR_WORDS", "FrozenPhrases", "Phraser", "Phrases"]

ENGLISH_CONNECTOR_WORDS = peer.phrases.ENGLISH_CONNECTOR_WORDS
Scorer = Callable[..., float]

_SCORERS: dict[str, Scorer] = {"default": peer.phrases.original_scorer, "npmi": peer.phrases.npmi_scorer}
_ARGUMENTS = ("worda_count", "wordb_count", "bigram_count", "len_vocab", "min_count", "corpus_word_count")
_TIMES = 4  # at most this many times max_vocab_size pairs are counted


class Phrases(peer.phrases.Phrases):
    """gensim's `Phrases`; the compiled core counts words and pairs.

    Counts are exact, even of rare pairs, unless there are more words and pairs than ``max_vocab_size``; then the
    rarest are dropped after counting, not during it.

    Args:
        sentences: lists of words, or None to count them later with `add_vocab`.
        min_count: minimum count of a phrase, above 0.
        threshold: minimum score of a phrase, exclusive; above 0 for ``"default"``, from -1 to 1 for ``"npmi"``.
        max_vocab_size: maximum number of words and pairs to keep.
        delimiter: string that joins the words of a phrase.
        progress_per: unused.
        scoring: ``"default"``, ``"npmi"`` or a function of ``worda_count``, ``wordb_count``, ``bigram_count``,
            ``len_vocab``, ``min_count`` and ``corpus_word_count``; ``len_vocab`` is the number of words and pairs.
        connector_words: words that may occur inside a phrase, but neither begin nor end one.

    Raises:
        InputError: an invalid argument, or sentences that are not lists of words; a ValueError.
        CorpusError: a corpus that cannot be read.

    Example:
        >>> phrases = Phrases([["new", "york"], ["new", "york", "city"], ["a", "city"]], min_count=1, threshold=1)
        >>> phrases[["in", "new", "york"]], phrases.export_phrases()
        (['in', 'new_york'], {'new_york': 1.75})
    """

    def __init__(
        self,
        sentences: Iterable[Any] | None = None,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40000000,
        delimiter: str = "_",
        progress_per: int = 10000,
        scoring: str | Scorer = "default",
        connector_words: Iterable[str] = frozenset(),
    ) -> None:
        peer.phrases._PhrasesTransformation.__init__(self, connector_words)
        if not min_count > 0:
            raise InputError(f"min_count is {shown(min_count)}: give 1 or more.")
        if scoring == "default" and not threshold > 0:
            raise InputError(f"threshold is {threshold!r}: give a number above 0 for scoring 'default'.")
        if scoring == "npmi" and not -1 <= threshold <= 1:
            raise InputError(f"threshold is {threshold!r}: give a number from -1 to 1 for scoring 'npmi'.")
        self.scoring = _scorer(scoring)
        self.min_count, self.threshold, self.max_vocab_size = min_count, threshold, max_vocab_size
        self.delimiter, self.progress_per = delimiter, progress_per
        self.corpus_word_count, self.min_reduce = 0, 1
        self._counts = PairCounts.nothing()
        self._phrases: tuple[Any, dict[tuple[str, ...], float]] | None = None
        if sentences is not None:
            self.add_vocab(sentences)

    def add_vocab(self, sentences: Iterable[Any]) -> None:
        """Count more sentences.

        Raises:
            InputError: sentences that are not lists of words.
            CorpusError: a corpus that cannot be read.
        """
        threads = default_threads()
        with Text(sentences, None, threads) as text:
            # bounds the number of pairs, whatever the length of the text
            least = 1 + text.num_words // (_TIMES * max(1, self.max_vocab_size))
            counted = count_text(text, self.connector_words, least, threads)
            self.corpus_word_count += text.num_words
        if self._counts.words:
            counted = self._counts.merged(counted)
        self._counts, pruned = counted.most(self.max_vocab_size)
        self.min_reduce, self._phrases = max(self.min_reduce, least, pruned), None

    @property
    def vocab(self) -> dict[str, int]:
        """The counts of words, and of pairs by their joined spelling; computed at each access."""
        counts = self._counts
        found = dict(zip(counts.words, counts.counts.tolist(), strict=True))
        for pair, together in enumerate(counts.together.tolist()):
            name = self.delimiter.join(counts.spelt(pair))
            found[name] = found.get(name, 0) + together
        return found

    @property
    def _size(self) -> int:
        return len(self._counts.words) + len(self._counts.together)

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}<{self._size} vocab, min_count={self.min_count}, threshold={self.threshold}, "
            f"max_vocab_size={self.max_vocab_size}>"
        )

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str]
    ) -> tuple[str, float] | tuple[None, None]:
        """Return a pair's spelling as a phrase and its score, or (None, None) if it is not a phrase."""
        words = (word_a, *in_between, word_b)
        score = self._found().get(words)
        return (None, None) if score is None else (self.delimiter.join(words), score)

    def export_phrases(self) -> dict[str, float]:
        """Return the score of every phrase, in falling order."""
        return {self.delimiter.join(words): score for words, score in self._found().items()}

    def freeze(self) -> FrozenPhrases:
        """Return the phrases without the counts that further counting needs."""
        return FrozenPhrases(self)

    def _found(self) -> dict[tuple[str, ...], float]:
        """Return the phrases under the current options, cached until these change."""
        options = (self.min_count, self.threshold, self.scoring)
        if self._phrases is None or self._phrases[0] != options:
            scores = self._scores()
            rows = np.flatnonzero(~(scores <= self.threshold))
            found = [(self._counts.spelt(row), float(scores[row])) for row in rows.tolist()]
            self._phrases = options, dict(sorted(found, key=lambda each: (-each[1], each[0])))
        return self._phrases[1]

    def _scores(self) -> NDArray[np.float64]:
        """Return the scores (P,) of all pairs; gensim's own two scorers are vectorised."""
        counts, together = self._counts, self._counts.together
        a, b = (counts.counts[ends] for ends in counts.pairs[:2])
        if self.scoring is _SCORERS["default"]:
            return (together - self.min_count) / (a.astype(np.float64) * b) * self._size
        if self.scoring is _SCORERS["npmi"]:
            with np.errstate(divide="ignore", invalid="ignore"):
                pa, pb, pab = (number / self.corpus_word_count for number in (a, b, together))
                scores = np.log(pab / (pa * pb)) / -np.log(pab)
            return np.where((together >= self.min_count) & np.isfinite(scores), scores, -np.inf)
        fixed = {"len_vocab": self._size, "min_count": self.min_count, "corpus_word_count": self.corpus_word_count}
        each = zip(a.tolist(), b.tolist(), together.tolist(), strict=True)
        scores = (self.scoring(worda_count=a, wordb_count=b, bigram_count=ab, **fixed) for a, b, ab in each)
        return np.fromiter(scores, np.float64, len(together))

    def save(self, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> None:
        """Write all counts to one safetensors file; a custom scoring function is not saved.

        Raises:
            InputError: a file that cannot be written.
        """
        counts = self._counts
        document = {
            **_options(self),
            "corpus_word_count": self.corpus_word_count,
            "min_reduce": self.min_reduce,
            "max_vocab_size": self.max_vocab_size,
            "num_words": len(counts.words),
            "runs": [list(run) for run in counts.runs],
        }
        tensors = {"counts": counts.counts, "pairs": counts.pairs, "together": counts.together}
        write_model(fname, type(self).__name__, document, counts.words, tensors)

    @classmethod
    def load(
        cls, fname: str | os.PathLike[str], *unused: Any, scoring: Scorer | None = None, **unused_too: Any
    ) -> Phrases:
        """Load phrases that `save` wrote.

        Args:
            fname: the file.
            unused: for compatibility with gensim.
            scoring: the custom scoring function of the saved phrases, which a file cannot contain.
            unused_too: for compatibility with gensim.

        Raises:
            InputError: a file that cannot be read, or a custom scoring function that is not given.
            FormatError: a file of another kind, or a damaged one.
        """
        document, tensors = read_model(fname, cls.__name__)
        numbers = dict.fromkeys(("corpus_word_count", "min_reduce", "max_vocab_size", "num_words"), int)
        about = checked(fname, document, {**_HINTS, **numbers, "runs": list[list[str]]})
        words = words_in(fname, tensors, about["num_words"])
        scorer = _scorer_of(fname, about, scoring)
        try:
            model = cls(
                min_count=about["min_count"],
                threshold=about["threshold"],
                max_vocab_size=about["max_vocab_size"],
                delimiter=about["delimiter"],
                scoring=scorer,
                connector_words=about["connector_words"],
            )
        except ValueError as error:
            raise FormatError(f"{fname} is damaged ({str(error).rstrip('.')}): save it again.") from error
        counts = matrix(fname, tensors, "counts", (len(words),), np.int64)
        together = matrix(fname, tensors, "together", (None,), np.int64)
        pairs = matrix(fname, tensors, "pairs", (3, len(together)), np.uint32)
        runs = [tuple(run) for run in about["runs"]]
        if pairs.size and (pairs.max(1) >= [len(words), len(words), len(runs)]).any():
            raise FormatError(f"{fname} is damaged, a pair has a word outside its vocabulary: save it again.")
        model._counts = PairCounts(words, counts, runs, pairs, together)
        model.corpus_word_count, model.min_reduce = about["corpus_word_count"], about["min_reduce"]
        return model


class FrozenPhrases(peer.phrases.FrozenPhrases):
    """gensim's `FrozenPhrases`: phrases and their scores, without the counts for further counting.

    Args:
        phrases_model: the `Phrases` to take them from.
    """

    def save(self, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> None:
        """Write the phrases to one safetensors file; InputError if it cannot be written."""
        document = {**_options(self), "num_words": len(self.phrasegrams)}
        scores = np.fromiter(self.phrasegrams.values(), np.float64, len(self.phrasegrams))
        write_model(fname, type(self).__name__, document, list(self.phrasegrams), {"scores": scores})

    @classmethod
    def load(
        cls, fname: str | os.PathLike[str], *unused: Any, scoring: Scorer | None = None, **unused_too: Any
    ) -> FrozenPhrases:
        """Load phrases that `save` wrote; ``scoring`` is their custom scoring function, which a file cannot contain.

        Raises:
            InputError: a file that cannot be read.
            FormatError: a file of another kind, or a damaged one.
        """
        document, tensors = read_model(fname, cls.__name__)
        about = checked(fname, document, {**_HINTS, "num_words": int})
        words = words_in(fname, tensors, about["num_words"])
        scores = matrix(fname, tensors, "scores", (len(words),), np.float64)
        model = cls.__new__(cls)
        peer.phrases._PhrasesTransformation.__init__(model, about["connector_words"])
        model.min_count, model.threshold = about["min_count"], about["threshold"]
        model.delimiter, model.scoring = about["delimiter"], _SCORERS.get(about["scoring"], scoring)
        model.phrasegrams = dict(zip(words, scores.tolist(), strict=True))
        return model


Phraser = FrozenPhrases

_HINTS = {
    "min_count": float,
    "threshold": float,
    "delimiter": str,
    "scoring": str,
    "connector_words": list[str],
}


def _options(model: Any) -> dict[str, Any]:
    """Return the options that both classes save."""
    names = {scorer: name for name, scorer in _SCORERS.items()}
    return {
        "min_count": model.min_count,
        "threshold": model.threshold,
        "delimiter": model.delimiter,
        "scoring": names.get(model.scoring, "own"),
        "connector_words": sorted(model.connector_words),
    }


def _scorer(scoring: Any) -> Scorer:
    """Return the named or given scoring function; InputError if it lacks an argument of scorers."""
    if isinstance(scoring, str):
        if scoring not in _SCORERS:
            raise InputError(f"scoring is {shown(scoring)}: give 'default', 'npmi' or a function.")
        return _SCORERS[scoring]
    if not callable(scoring):
        raise InputError(f"scoring is {shown(scoring)}: give 'default', 'npmi' or a function.")
    taken = signature(scoring).parameters
    missing = [name for name in _ARGUMENTS if name not in taken]
    if missing and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        raise InputError(f"scoring lacks the arguments {', '.join(missing)}: give a function that takes them.")
    return scoring  # type: ignore[return-value]  # its return type is unknown until it is called


def _scorer_of(fname: Any, about: dict[str, Any], scoring: Scorer | None) -> str | Scorer:
    if about["scoring"] in _SCORERS:
        return about["scoring"]
    if scoring is None:
        raise InputError(f"{fname} was saved with a scoring function, which a file cannot contain: give it as scoring.")
    return _scorer(scoring)
