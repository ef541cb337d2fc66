"""Phrases: words that belong together become one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias

from vastmax.errors import InputError
from vastmax.text.phrase_files import read_phrases, write_phrases

if TYPE_CHECKING:
    from vastmax.text.sources import Sources
    from vastmax.text.tokenizers import Tokenizer

__all__ = ["DEFAULT_THRESHOLDS", "Phrase", "PhraseScoring", "Phrases"]

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
        :func:`encode_corpus`, whose argument `phrases` learns and applies them on the way.

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
        >>> corpus = [["new", "york", "is", "big"], ["new", "york", "is", "old"], ["is", "old", "big"]]
        >>> phrases = Phrases.learn(corpus, passes=1, threshold=2, min_count=1)
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

    @classmethod
    def learn(
        cls,
        sources: Sources,
        *,
        passes: int = 2,
        threshold: float | None = None,
        scoring: PhraseScoring = "word2vec",
        min_count: int = 5,
        connector_words: Iterable[str] = (),
        delimiter: str = "_",
        tokenizer: Tokenizer = "whitespace",
        lowercase: bool = False,
        threads: int | None = None,
        directory: str | PathLike[str] | None = None,
    ) -> Phrases:
        """Learn phrases from a corpus, counted in parallel in the compiled core.

        Memory goes to the words, to the pairs that reach `min_count`, and to a table of about 2 bytes a word of text,
        256 MB at most.

        Args:
            sources: As for :func:`encode_corpus`.
            passes: Phrases of up to ``2**passes`` words are found.
            threshold: Of the first pass. Default: 100 for ``"word2vec"``, 0.5 for ``"npmi"``.
            scoring: ``"word2vec"`` or ``"npmi"``.
            min_count: Pairs rarer than this are no phrases.
            connector_words: Words that may stand inside a phrase.
            delimiter: What joins the words.
            tokenizer: As for :func:`encode_corpus`, like the three that follow.
            lowercase: Lower-case the words.
            threads: Default: all processors.
            directory: Folder of the temporary file.

        Raises:
            CorpusError: A source that cannot be read, or a full disk.
            InputError: An argument that cannot be used.

        Warns:
            UserWarning: Invalid UTF-8 was replaced.
        """
        from vastmax.text.phrase_learning import learn_phrases  # which needs this class

        if hasattr(passes, "__index__") and passes < 1:
            raise InputError(f"The number of passes for phrases is {passes}; give 1 or more.")
        options = cls.to_learn(
            passes,
            threshold=threshold,
            scoring=scoring,
            min_count=min_count,
            connector_words=connector_words,
            delimiter=delimiter,
        )
        return learn_phrases(
            sources, options, tokenizer=tokenizer, lowercase=lowercase, threads=threads, directory=directory
        )

    @classmethod
    def to_learn(
        cls,
        passes: int,
        *,
        threshold: float | None,
        scoring: PhraseScoring,
        min_count: int,
        connector_words: Iterable[str],
        delimiter: str = "_",
    ) -> Phrases:
        """Options of phrases whose passes are still to be learnt.

        Raises:
            InputError: An option that cannot be used.
        """
        if scoring not in DEFAULT_THRESHOLDS:
            known = ", ".join(DEFAULT_THRESHOLDS)
            raise InputError(f"There is no phrase scoring {scoring!r}; known are {known}.")
        first = DEFAULT_THRESHOLDS[scoring] if threshold is None else threshold
        low, high = (0.0, math.inf) if scoring == "word2vec" else (-1.0, 1.0)
        if not low <= first <= high:
            raise InputError(f"The threshold for phrases is {first}; with {scoring} scores give {low:g} to {high:g}.")
        if not hasattr(passes, "__index__") or passes < 0:
            raise InputError(
                f"The number of passes for phrases is {passes!r}; give a whole number, 0 (no phrases) or more, "
                "or Phrases.load of a file."
            )
        if not hasattr(min_count, "__index__") or min_count < 1:
            raise InputError(f"The min_count of phrases is {min_count!r}; give a whole number, 1 or more.")
        if isinstance(connector_words, str):
            raise InputError(f"connector_words is the string {connector_words!r}; give a list of words.")
        if not delimiter or set(delimiter) & {"\x1e", "\x1f"}:
            raise InputError(f"The delimiter of phrases is {delimiter!r}; give a character such as '_'.")
        return cls(
            [],
            thresholds=[first / 2**number for number in range(passes)],
            scoring=scoring,
            min_count=min_count,
            connector_words=connector_words,
            delimiter=delimiter,
        )

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
                raise InputError("A sentence is a string; give lists of words, for example text.split().")
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
            (number, phrase.score, phrase.count, words)
            for number, phrases in enumerate(self.passes, 1)
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
        for number, score, count, words in lines:
            passes[number - 1][words] = Phrase(score, count)
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
