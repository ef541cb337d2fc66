"""Phrases: words that belong together become one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal, TypeAlias, get_args

from vastmax.checks import number, one_of, refused, whole
from vastmax.errors import InputError
from vastmax.text.phrase_files import read_phrases, write_phrases
from vastmax.vocabulary import SENTENCE_END, WORD_END

__all__ = ["DEFAULT_THRESHOLDS", "Phrase", "PhraseOptions", "PhraseScoring", "Phrases"]

PhraseScoring: TypeAlias = Literal["word2vec", "npmi"]

DEFAULT_THRESHOLDS: dict[str, float] = {"word2vec": 100.0, "npmi": 0.5}
"""Threshold of the first pass: for ``word2vec`` the published code's."""


@dataclass(frozen=True)
class Phrase:
    """Why some words are one phrase.

    Attributes:
        score: How much they belong together.
        count: How often they stood together when the phrases were learnt.
    """

    score: float
    count: int


@dataclass(frozen=True)
class PhraseOptions:
    """How phrases are learnt; the scores are those of :class:`Phrases`.

    Args:
        passes: Phrases of up to ``2**passes`` words are found; none where it is 0.
        threshold: Of the first pass. Default: 100 for ``"word2vec"``, 0.5 for ``"npmi"``.
        scoring: ``"word2vec"`` or ``"npmi"``.
        min_count: Pairs rarer than this are no phrases.
        connector_words: Words that may stand inside a phrase.
        delimiter: What joins the words.

    Raises:
        InputError: An option that cannot be used.
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
        """The threshold of each pass, half of that before."""
        first = DEFAULT_THRESHOLDS[self.scoring] if self.threshold is None else self.threshold
        return [first / 2**halvings for halvings in range(self.passes)]


class Phrases:
    r"""Phrases learnt from a corpus, pass by pass: each joins what the passes before it have made.

    A pair is two neighbouring words of a sentence. With :math:`c` the counts, :math:`\delta` `min_count` and :math:`N`
    the number of words in the corpus (connector words among them), it is a phrase if its score is above the threshold:

    - ``word2vec``: :math:`\mathrm{score}(a, b) = N\,(c(ab) - \delta)\,/\,(c(a)\,c(b))`, as in the published
      ``word2phrase``. (The paper leaves :math:`N` out. gensim's ``"default"`` puts the number of different words and
      pairs in its place: its threshold :math:`t` is :math:`t N / |\text{vocab}|` here.)
    - ``npmi``: :math:`\ln\frac{p(ab)}{p(a)\,p(b)} / {-\ln p(ab)}` with :math:`p = c / N`, between -1 and 1, for pairs
      with :math:`c(ab) \ge \delta`; the same as gensim's.

    Each pass halves the threshold of the one before, so later passes build longer phrases. Sentences are joined from
    left to right; a word becomes part of one phrase at most in a pass.

    Connector words (``of``, ``the``, …) may stand inside a phrase but not at its ends, and do not count in its score:
    ``state of the art`` is the pair (state, art) with two connectors between.

    See Also:
        :func:`learn_phrases`, which makes them; :func:`encode_corpus`, whose argument `phrases` learns and applies them
        on the way.

    References:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546, section 4.
        Bouma, *Normalized (Pointwise) Mutual Information in Collocation Extraction*, 2009,
        https://svn.spraakdata.gu.se/repos/gerlof/pub/www/Docs/npmi-pfd.pdf.

    Args:
        passes: For each pass its phrases: the words, connectors among them, and their score.
        thresholds: The threshold of each pass.
        scoring: ``"word2vec"`` or ``"npmi"``.
        min_count: :math:`\delta`.
        connector_words: Words that may stand inside phrases.
        delimiter: What joins the words.

    Example:
        >>> from vastmax.text import PhraseOptions, learn_phrases
        >>> corpus = [["new", "york", "is", "big"], ["new", "york", "is", "old"], ["is", "old", "big"]]
        >>> phrases = learn_phrases(corpus, PhraseOptions(passes=1, threshold=2, min_count=1))
        >>> list(phrases.apply([["in", "new", "york"]])), phrases.scores
        ([['in', 'new_york']], {'new_york': 2.75})
    """

    def __init__(
        self,
        passes: Sequence[dict[tuple[str, ...], Phrase]],
        *,
        thresholds: Sequence[float],
        scoring: PhraseScoring = "word2vec",
        min_count: int = 5,
        connector_words: Iterable[str] = (),
        delimiter: str = "_",
    ) -> None:
        self.passes = list(passes)
        self.thresholds = list(thresholds)
        self.scoring: PhraseScoring = scoring
        self.min_count = min_count
        self.connector_words = frozenset(connector_words)
        self.delimiter = delimiter

    @property
    def scores(self) -> dict[str, float]:
        """Score of every phrase, as it is spelt in the text; one that several passes make has its first score."""
        found: dict[str, float] = {}
        for phrases in self.passes:
            for words, phrase in phrases.items():
                found.setdefault(self.delimiter.join(words), phrase.score)
        return found

    def apply(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[str]]:
        """The same sentences with phrases joined, one at a time; empty tokens are left out.

        Raises:
            InputError: A sentence that is a string.
        """
        for sentence in sentences:
            if isinstance(sentence, str):
                raise InputError("a sentence is a string: give lists of words, for example text.split().")
            words = [word for word in sentence if word]
            for phrases in self.passes:
                words = self._join(words, phrases)
            yield words

    def _join(self, sentence: list[str], phrases: dict[tuple[str, ...], Phrase]) -> list[str]:
        joined: list[str] = []
        held: list[str] = []  # a word that may begin a phrase, and the connectors behind it
        for word in sentence:
            if word in self.connector_words:
                (held if held else joined).append(word)
            elif held and (*held, word) in phrases:
                joined.append(self.delimiter.join([*held, word]))
                held = []
            else:
                joined += held
                held = [word]
        return joined + held

    def save(self, path: str | PathLike[str]) -> None:
        """Write the phrases as lines ``pass<TAB>score<TAB>count<TAB>word<TAB>word…`` below a head of ``#`` lines.

        Raises:
            InputError: A place that cannot be written.
        """
        lines = [
            (place, phrase.score, phrase.count, words)
            for place, phrases in enumerate(self.passes, 1)
            for words, phrase in phrases.items()
        ]
        head = {
            "scoring": [self.scoring],
            "min_count": [str(self.min_count)],
            "delimiter": [self.delimiter],
            "threshold": [repr(threshold) for threshold in self.thresholds],
            "connector": sorted(self.connector_words),
        }
        write_phrases(path, head, lines)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Phrases:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: A file that holds no phrases, with the number of the line.
            InputError: A file that cannot be read.
        """
        head, lines = read_phrases(path)
        passes: list[dict[tuple[str, ...], Phrase]] = [{} for _ in head["threshold"]]
        for place, score, count, words in lines:
            passes[place - 1][words] = Phrase(score, count)
        return cls(
            passes,
            thresholds=[float(threshold) for threshold in head["threshold"]],
            scoring="npmi" if head["scoring"] == ["npmi"] else "word2vec",
            min_count=int(head["min_count"][0]),
            connector_words=head["connector"],
            delimiter=head["delimiter"][0],
        )

    def __len__(self) -> int:
        return sum(len(phrases) for phrases in self.passes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phrases) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Phrases: {len(self):,} in {len(self.passes)} {'pass' if len(self.passes) == 1 else 'passes'}>"
