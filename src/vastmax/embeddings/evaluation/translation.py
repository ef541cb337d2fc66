"""Evaluation of translation between two aligned models: precision at k on a dictionary of word pairs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vastmax.checks import refused, whole
from vastmax.embeddings.alignment import checked_pairs, translate
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.evaluation.lines import numbered_lines
from vastmax.embeddings.queries import Word
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, opened
from vastmax.sentences import counted

__all__ = ["TranslationReport", "evaluate_translation", "read_pairs"]


@dataclass(frozen=True)
class TranslationReport:
    """Precision at k: the share of words with a right translation among their first k answers.

    Attributes:
        precision: the share, 0 to 1, by k; None if no word was translated.
        words: number of words translated; a word with several translations counts once.
        left_out: number of words skipped because the source lacks them, or the target lacks all their translations.
        method: "csls" or "cosine".
    """

    precision: dict[int, float | None]
    words: int
    left_out: int
    method: str

    @property
    def out_of_vocabulary(self) -> float:
        """Share of words skipped, 0 to 1."""
        return self.left_out / (self.words + self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the share of words skipped by name, as JSON values."""
        return {**asdict(self), "out_of_vocabulary": self.out_of_vocabulary}


def evaluate_translation(
    source: Embeddings,
    target: Embeddings,
    dictionary: str | os.PathLike[str] | Iterable[tuple[Word, Word]],
    *,
    ks: Sequence[int] = (1, 5, 10),
    method: Literal["csls", "cosine"] = "csls",
    restrict_vocabulary: int | None = 30_000,
) -> TranslationReport:
    """Translate the words of a dictionary with `translate`, and return the precision at each k.

    A word with several translations is translated once, and any of them is right. Words that the source lacks, or
    whose translations the target lacks altogether, are skipped and counted. These are the rules of MUSE.

    See Also:
        Conneau, Lample, Ranzato, Denoyer, Jégou, *Word Translation Without Parallel Data*, 2018,
        https://arxiv.org/abs/1710.04087, section 4.

    Args:
        source: in the space of the target, as `align` returns it.
        target: embeddings to search for translations.
        dictionary: pairs (word of the source, word of the target), or a file of them, two words per line.
        ks: the values of k, each at least 1.
        method: "csls" or "cosine", as in `translate`.
        restrict_vocabulary: search only this many of the first words of the target, as in `translate`; None for all.

    Raises:
        InputError: for a missing file, an empty dictionary, or a value that is not accepted.
        FormatError: for a line that is not two words, with its number.
    """
    several = isinstance(ks, Iterable) and not isinstance(ks, str)
    numbers = [whole("a member of ks", k, 1) for k in ks] if several else []
    if not numbers:
        raise refused("ks", ks, "a list of one whole number or more")
    if restrict_vocabulary is not None:
        whole("restrict_vocabulary", restrict_vocabulary, 1, other="None")
    named = isinstance(dictionary, (str, os.PathLike))
    right: dict[Word, set[Word]] = {}
    for word, translation in checked_pairs("dictionary", read_pairs(dictionary) if named else dictionary):
        right.setdefault(word, set()).add(translation)
    if not right:
        raise InputError("the dictionary contains no pairs: give words and their translations.")
    limit = len(target) if restrict_vocabulary is None else restrict_vocabulary

    def reachable(word: Word) -> bool:
        return word in target and target.id_of(word) < limit

    asked = [word for word, found in right.items() if word in source and any(map(reachable, found))]
    answers = translate(asked, source, target, max(numbers), method=method, restrict_vocabulary=restrict_vocabulary)
    places = [
        next((place for place, each in enumerate(found) if each.word in right[word]), max(numbers))
        for word, found in zip(asked, answers, strict=True)
    ]
    precision = {k: sum(place < k for place in places) / len(asked) if asked else None for k in numbers}
    return TranslationReport(precision, len(asked), len(right) - len(asked), method)


def read_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Return the word pairs of a file in MUSE's format: two words per line, separated by a tab or blanks.

    Raises:
        InputError: for a missing file.
        FormatError: for a line that is not two words, with its number.
    """
    name = os.fspath(as_path(path))
    pairs: list[tuple[str, str]] = []
    with opened(path) as file:
        for number, line in numbered_lines(file, name):
            words = [word.strip() for word in line.split("\t")] if "\t" in line else line.split()
            if len(words) != 2:
                raise FormatError(
                    f"line {number} of {name} has {counted(len(words), 'word')}: give 2, a word and its translation."
                )
            pairs.append((words[0], words[1]))
    return pairs
