"""Phrases: words that often occur together, joined into one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal, TypeAlias, get_args

from vastmax.checks import refused
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, replacing
from vastmax.text.streams import words_of
from vastmax.vocabulary import escape, unescape

__all__ = ["Phrase", "PhraseScoring", "Phrases"]

TITLE = "#vastmax phrases 1"

PhraseScoring: TypeAlias = Literal["word2vec", "npmi"]


@dataclass(frozen=True)
class Phrase:
    """The evidence for a phrase.

    Attributes:
        score: How strongly its words are associated; see :class:`Phrases`.
        count: How often they occurred together when the phrases were learned.
    """

    score: float
    count: int


class Phrases:
    r"""Phrases learned from a corpus in passes; each pass joins what the passes before it have produced.

    A pair is two neighbouring words of a sentence. With :math:`c` the counts, :math:`\delta` `min_count` and
    :math:`N` the number of words in the corpus, connector words included, a pair is a phrase if its score exceeds
    the threshold:

    - ``word2vec``: :math:`\mathrm{score}(a, b) = N\,(c(ab) - \delta)\,/\,(c(a)\,c(b))`, as in the published
      ``word2phrase``. (The paper leaves :math:`N` out. gensim's ``"default"`` uses the number of distinct words and
      pairs instead: its threshold :math:`t` is :math:`t N / |\text{vocab}|` here.)
    - ``npmi``: :math:`\ln\frac{p(ab)}{p(a)\,p(b)} / {-\ln p(ab)}` with :math:`p = c / N`, between -1 and 1, for
      pairs with :math:`c(ab) \ge \delta`, as in gensim.

    Each pass halves the threshold of the one before, so later passes build longer phrases. Sentences are joined from
    left to right; in a pass, a word becomes part of at most one phrase.

    Connector words (``of``, ``the``, …) may stand inside a phrase but not at its ends, and only its ends are scored:
    ``state of the art`` is the pair (state, art) with two connectors between.

    See Also:
        :func:`learn_phrases`, which returns them; :func:`encode_corpus`, whose argument `phrases` learns and joins
        them in the same pass over the files.

    References:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546, section 4.
        Bouma, *Normalized (Pointwise) Mutual Information in Collocation Extraction*, 2009,
        https://svn.spraakdata.gu.se/repos/gerlof/pub/www/Docs/npmi-pfd.pdf.

    Args:
        passes: For each pass, a mapping from the words of a phrase, connectors included, to its :class:`Phrase`.
        thresholds: The threshold of each pass.
        scoring: ``"word2vec"`` or ``"npmi"``.
        min_count: :math:`\delta`.
        connector_words: Words that may stand inside a phrase, but not at its ends.
        delimiter: Text that joins the words.

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
        """Score of every phrase, by its spelling in the text; the first score if several passes produce it."""
        found: dict[str, float] = {}
        for phrases in self.passes:
            for words, phrase in phrases.items():
                found.setdefault(self.delimiter.join(words), phrase.score)
        return found

    def apply(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[str]]:
        """Yield the sentences, one at a time, with phrases joined and empty tokens dropped.

        Raises:
            InputError: A sentence is not a list of words.
        """
        if isinstance(sentences, (str, PathLike)):
            raise refused("sentences", sentences, "lists of words, for example read_sentences(path)")
        for sentence in words_of(sentences):
            words = [word for word in sentence if word]
            for phrases in self.passes:
                words = self._join(words, phrases)
            yield words

    def _join(self, sentence: list[str], phrases: dict[tuple[str, ...], Phrase]) -> list[str]:
        joined: list[str] = []
        held: list[str] = []  # a word that may begin a phrase, and the connectors after it
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
        """Write the phrases as lines ``pass<TAB>score<TAB>count<TAB>word<TAB>word…`` after a header of ``#`` lines.

        Raises:
            InputError: The file cannot be written.
        """
        head = {
            "scoring": [self.scoring],
            "min_count": [str(self.min_count)],
            "delimiter": [self.delimiter],
            "threshold": [repr(threshold) for threshold in self.thresholds],
            "connector": sorted(self.connector_words),
        }
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(TITLE + "\n")
            for name, values in head.items():
                file.writelines(f"#{name}\t{escape(value)}\n" for value in values)
            for place, phrases in enumerate(self.passes, 1):
                for words, phrase in phrases.items():
                    fields = [str(place), repr(phrase.score), str(phrase.count), *map(escape, words)]
                    file.write("\t".join(fields) + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Phrases:
        """Read a file that :meth:`save` wrote.

        Raises:
            FormatError: The file is not one of phrases; the message names the line.
            InputError: The file cannot be read.
        """
        path = as_path(path)
        head: dict[str, list[str]] = {"scoring": [], "min_count": [], "delimiter": [], "threshold": [], "connector": []}
        passes: list[dict[tuple[str, ...], Phrase]] = []
        at = 1  # line number, for errors
        try:
            with open(path, encoding="utf-8", newline="\n") as file:
                if file.readline().rstrip("\r\n") != TITLE:
                    raise FormatError(
                        f"{path} does not begin with the line {TITLE!r}: give a file that Phrases.save wrote."
                    )
                for at, line in enumerate(file, 2):  # noqa: B007 (the error below names it)
                    first, *fields = [unescape(field) for field in line.rstrip("\r\n").split("\t")]
                    if not line.startswith("#"):
                        place, words, phrase = _phrase(first, *fields)
                        if not 1 <= place <= len(passes):
                            raise ValueError(f"pass {place} has no threshold in the header")
                        passes[place - 1][words] = phrase
                        continue
                    if first[1:] not in head:
                        raise ValueError(f"entry {first!r} is unknown")
                    if len(fields) != 1:
                        raise ValueError("a name and one value are expected")
                    head[first[1:]] += fields
                    if first == "#threshold":
                        passes.append({})
            at = 1
            _check_head(head)
            return cls(
                passes,
                thresholds=[float(threshold) for threshold in head["threshold"]],
                scoring="npmi" if head["scoring"] == ["npmi"] else "word2vec",
                min_count=int(head["min_count"][0]),
                connector_words=head["connector"],
                delimiter=head["delimiter"][0],
            )
        except ValueError as error:  # UnicodeDecodeError is a ValueError
            raise FormatError(
                f"line {at} of {path} is not valid ({error}): give a file that Phrases.save wrote."
            ) from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}): give a file of phrases.") from error

    def __len__(self) -> int:
        return sum(len(phrases) for phrases in self.passes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phrases) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Phrases: {len(self):,} in {len(self.passes)} {'pass' if len(self.passes) == 1 else 'passes'}>"


def _phrase(*fields: str) -> tuple[int, tuple[str, ...], Phrase]:
    """Parse the fields of a line into the pass (from 1), the words and the phrase."""
    if len(fields) < 5:
        raise ValueError("pass, score, count and two or more words are expected")
    place, score, count, words = int(fields[0]), float(fields[1]), int(fields[2]), fields[3:]
    if count < 0 or math.isnan(score) or not all(words):
        raise ValueError("a count of 0 or more, a score and words that are not empty are expected")
    return place, words, Phrase(score, count)


def _check_head(head: dict[str, list[str]]) -> None:
    for name in ("scoring", "min_count", "delimiter"):
        if len(head[name]) != 1:
            raise ValueError(f"the header has {len(head[name])} lines '#{name}' instead of one")
    if head["scoring"][0] not in get_args(PhraseScoring):
        raise ValueError(f"scoring {head['scoring'][0]!r} is unknown")
    if not head["delimiter"][0]:
        raise ValueError("the delimiter is empty")
