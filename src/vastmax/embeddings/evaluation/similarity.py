"""Evaluation on word similarity: correlation of cosines with human scores of word pairs."""

from __future__ import annotations

import csv
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vastmax.checks import flag, shown
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.evaluation.correlation import p_value, pearson, spearman
from vastmax.embeddings.evaluation.lines import numbered_lines, rows_by_spelling, spelling
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, opened

__all__ = ["PART_OF_SPEECH", "SimilarityReport", "evaluate_similarity", "read_pairs"]

PART_OF_SPEECH = re.compile(r"(?<=.)-[nvja]$")  # as in the lemmas of MEN, for example "sun-n"
_NEARLY_A_NUMBER = re.compile(r"[-+]?([.,]?\d|(nan|inf(inity)?)$)", re.IGNORECASE)  # a malformed score, not a title
_DECIMAL_COMMA = re.compile(r"\s\S+\s+[-+]?\d*,\d+(\s|$)")  # in the third of three fields separated by blanks


@dataclass(frozen=True)
class SimilarityReport:
    """The correlation of cosines with human scores of pairs.

    Attributes:
        name: name of the file, without its extension.
        spearman: Spearman's rank correlation, -1 to 1; None for fewer than two pairs, or if the cosines or the scores
            are constant.
        pairs: number of pairs compared.
        left_out: number of pairs skipped, with an out-of-vocabulary word that has no n-grams.
        pearson: Pearson's correlation, -1 to 1; None in the same cases.
        spearman_p: two-sided p-value of Spearman's correlation; None for fewer than three pairs, or without it.
        pearson_p: the same for Pearson's.
    """

    name: str
    spearman: float | None
    pairs: int
    left_out: int
    pearson: float | None = None
    spearman_p: float | None = None
    pearson_p: float | None = None

    @property
    def out_of_vocabulary(self) -> float:
        """Share of pairs skipped, 0 to 1."""
        return self.left_out / (self.pairs + self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the share of pairs skipped by name, as JSON values."""
        return {**asdict(self), "out_of_vocabulary": self.out_of_vocabulary}


def evaluate_similarity(
    embeddings: Embeddings, path: str | os.PathLike[str], *, lowercase: bool = True
) -> SimilarityReport:
    """Correlate cosines with the human scores in a file of word pairs, by Spearman's rank correlation and Pearson's.

    The published files of WordSim-353, SimLex-999, SimVerb-3500, MEN (natural form and lemmas), Stanford's rare words,
    RG-65 and MTurk-771 are read as they are. A line has two words, optionally their part of speech as one letter, the
    score, and further columns that are ignored. It is split at tabs, else at semicolons, else at commas, else at
    spaces. Lines that start with ``#`` and column titles in the first line are skipped. A word such as "sun-n" is
    looked up as "sun" if the model does not have it. Pairs with out-of-vocabulary words without n-grams are skipped
    and counted.

    See Also:
        Finkelstein et al., *Placing Search in Context: The Concept Revisited*, 2002,
        https://doi.org/10.1145/503104.503110 (WordSim-353); Hill, Reichart, Korhonen, *SimLex-999*, 2015,
        https://arxiv.org/abs/1408.3456; Gerz et al., *SimVerb-3500*, 2016, https://arxiv.org/abs/1608.00869; Bruni,
        Tran, Baroni, *Multimodal Distributional Semantics*, 2014, https://doi.org/10.1613/jair.4135 (MEN); Luong,
        Socher, Manning, *Better Word Representations with Recursive Neural Networks for Morphology*, 2013,
        https://aclanthology.org/W13-3512 (rare words).

    Args:
        embeddings: vectors with words.
        path: the file of pairs.
        lowercase: ignore case when words are compared; the most frequent of several spellings is used.

    Raises:
        InputError: for a missing file, or embeddings without words.
        FormatError: for a line that is not a pair with a score, with its number.
    """
    flag("lowercase", lowercase)
    rows = rows_by_spelling(embeddings, None, lowercase)

    def known(word: str) -> str | int | None:
        for form in (word, PART_OF_SPEECH.sub("", word)):
            if found := rows.get(spelling(form, lowercase)):
                return embeddings.word_of(found[0])
        if embeddings.subwords is None:
            return None
        form = word.lower() if lowercase else word
        try:
            embeddings[form]
        except InputError:  # too short for an n-gram
            return None
        return form

    gold, cosines, left_out = [], [], 0
    for a, b, score in read_pairs(path):
        one, other = known(a), known(b)
        if one is None or other is None:
            left_out += 1
            continue
        gold.append(score)
        cosines.append(embeddings.similarity(one, other))
    ranks, values, pairs = spearman(gold, cosines), pearson(gold, cosines), len(gold)
    return SimilarityReport(
        Path(path).stem, ranks, pairs, left_out, values, p_value(ranks, pairs), p_value(values, pairs)
    )


def read_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str, float]]:
    """Return the (word, word, score) of a file in a format of `evaluate_similarity`; raises the same errors."""
    name = os.fspath(as_path(path))
    pairs: list[tuple[str, str, float]] = []
    title_may_come = True
    with opened(path) as file:
        for number, line in numbered_lines(file, name):
            if line.startswith("#"):
                continue
            fields = _fields(line)
            if len(fields) > 3 and len(fields[2]) == 1 and fields[2].isalpha():
                del fields[2]  # the part of speech
            if len(fields) < 3 or not fields[0] or not fields[1]:
                raise FormatError(f"line {number} of {name} is not two words and a score: give 'word word score'.")
            score = _number(fields[2])
            if score is not None:
                pairs.append((fields[0], fields[1], score))
            elif not title_may_come or _NEARLY_A_NUMBER.match(fields[2]):
                todo = "write decimals with a point" if "," in fields[2] else "give a number"
                raise FormatError(f"line {number} of {name} has the score {shown(fields[2])}: {todo}.")
            title_may_come = False
    if not pairs:
        raise FormatError(f"{name} contains no pairs: give lines 'word word score'.")
    return pairs


def _fields(line: str) -> list[str]:
    if "\t" in line:
        fields = line.split("\t")
    elif ";" in line or ("," in line and not _DECIMAL_COMMA.search(line)):
        try:
            fields = next(csv.reader([line], delimiter=";" if ";" in line else ","))
        except csv.Error:
            return []
    else:
        fields = line.split()
    return [field.strip() for field in fields]


def _number(field: str) -> float | None:
    try:
        score = float(field) if field.isascii() and "_" not in field else math.nan
    except ValueError:
        return None
    return score if math.isfinite(score) else None
