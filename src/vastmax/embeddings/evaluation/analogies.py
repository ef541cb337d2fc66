"""Analogies: "Athens is to Greece as Oslo is to ?"."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.evaluation.lines import numbered_lines, rows_by_spelling, spelling
from vastmax.embeddings.search import analogy_objective
from vastmax.errors import FormatError, InputError

__all__ = ["AnalogyReport", "AnalogyScore", "evaluate_analogies"]

_ROWS = 32_768  # scored at once

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class AnalogyScore:
    """Right answers out of the questions asked, in one section or several.

    Attributes:
        name: of the section, or "semantic", "syntactic", "total".
        correct: right answers.
        total: questions asked.
        skipped: questions left out because a word of theirs is not among the words asked about.
    """

    name: str
    correct: int
    total: int
    skipped: int

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1; None where nothing was asked."""
        return self.correct / self.total if self.total else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the accuracy by name, ready for JSON."""
        return {**asdict(self), "accuracy": self.accuracy}


@dataclass(frozen=True)
class AnalogyReport:
    """The score of every section, in the order of the file, and their sums."""

    sections: tuple[AnalogyScore, ...]
    method: str
    restrict_vocabulary: int | None
    lowercase: bool

    @property
    def semantic(self) -> AnalogyScore:
        """Sum of the sections that are not syntactic."""
        return _sum("semantic", [section for section in self.sections if not _is_syntactic(section)])

    @property
    def syntactic(self) -> AnalogyScore:
        """Sum of the sections whose names start with "gram"."""
        return _sum("syntactic", [section for section in self.sections if _is_syntactic(section)])

    @property
    def total(self) -> AnalogyScore:
        """Sum of all sections."""
        return _sum("total", list(self.sections))

    @property
    def accuracy(self) -> float | None:
        """Share of right answers over all sections, 0 to 1."""
        return self.total.accuracy

    @property
    def skipped(self) -> int:
        """Questions left out in all sections."""
        return self.total.skipped

    def to_dict(self) -> dict[str, Any]:
        """Return sections, sums and settings by name, ready for JSON."""
        return {
            "sections": [section.to_dict() for section in self.sections],
            "semantic": self.semantic.to_dict(),
            "syntactic": self.syntactic.to_dict(),
            "total": self.total.to_dict(),
            "method": self.method,
            "restrict_vocabulary": self.restrict_vocabulary,
            "lowercase": self.lowercase,
        }


def evaluate_analogies(
    embeddings: Embeddings,
    path: str | os.PathLike[str],
    *,
    restrict_vocabulary: int | None = 30_000,
    lowercase: bool = True,
    method: Literal["3cosadd", "3cosmul"] = "3cosadd",
) -> AnalogyReport:
    """Ask every question of a file in Google's format, ``: section`` lines and ``a b c d`` lines.

    An answer is right if d is the best of all words but a, b and c. Questions with a word outside the vocabulary asked
    about are left out and counted. The rules, and so the scores, are those of gensim's ``evaluate_word_analogies``.

    See Also:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781; Levy, Goldberg, *Linguistic Regularities in Sparse and Explicit Word
        Representations*, 2014, https://aclanthology.org/W14-1618.

    Args:
        embeddings: vectors with words.
        path: the file of questions.
        restrict_vocabulary: ask about, and answer with, only so many of the most frequent words; None for all.
        lowercase: compare words without regard to case; of several spellings the most frequent stands for all.
        method: "3cosadd" or "3cosmul".

    Raises:
        InputError: for an unknown method, a missing file, or embeddings without words.
        FormatError: for a line that is no question, with its number.
    """
    if restrict_vocabulary is not None and restrict_vocabulary < 1:
        raise InputError(f"restrict_vocabulary is {restrict_vocabulary}: ask about at least 1 word, or None for all.")
    rows = rows_by_spelling(embeddings, restrict_vocabulary, lowercase)
    sections: list[AnalogyScore] = []
    for name, questions in _read_questions(path, lowercase).items():
        known = [question for question in questions if all(word in rows for word in question)]
        asked = np.array([[rows[word][0] for word in question] for question in known], np.int64).reshape(-1, 4)
        right = _ask(embeddings, asked, rows, method)
        sections.append(AnalogyScore(name, int(right.sum()), len(known), len(questions) - len(known)))
    return AnalogyReport(tuple(sections), method, restrict_vocabulary, lowercase)


def _ask(embeddings: Embeddings, asked: IntArray, rows: dict[str, list[int]], method: str) -> NDArray[np.bool_]:
    """Return for each (a, b, c, d) of rows whether d is the best answer; rows of one spelling are one word.

    Questions share their words, so cosines are computed once a word, by blocks of rows that bound the memory.
    """
    num_rows = sum(map(len, rows.values()))
    several = {same[0]: same for same in rows.values() if len(same) > 1}
    words, places = np.unique(asked[:, :3], return_inverse=True)
    best_score, best_row = np.full(len(asked), -np.inf), np.full(len(asked), -1)
    for start in range(0, num_rows, _ROWS):
        end = min(start + _ROWS, num_rows)
        to_words = embeddings.cosines(words.tolist(), slice(start, end))
        for question, (a, b, c) in enumerate(places.reshape(-1, 3).tolist()):
            scores = analogy_objective(method, to_words[a], to_words[b], to_words[c])
            for word in asked[question, :3].tolist():
                for row in several.get(word, (word,)):
                    if start <= row < end:
                        scores[row - start] = -np.inf
            best = scores.argmax()
            if scores[best] > best_score[question]:
                best_score[question], best_row[question] = scores[best], start + best
    first = np.arange(num_rows)
    for same in several.values():
        first[same] = same[0]
    return (best_row >= 0) & (first[best_row] == asked[:, 3])


def _read_questions(path: str | os.PathLike[str], lowercase: bool) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    questions: list[list[str]] | None = None
    for number, line in numbered_lines(path):
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
            continue
        words = [spelling(word, lowercase) for word in line.split()]
        if questions is None:
            raise FormatError(f"{os.fspath(path)}: line {number} comes before any ': section' line.")
        if len(words) != 4:
            raise FormatError(f"{os.fspath(path)}: line {number} has {len(words)} words, and a question has 4.")
        questions.append(words)
    if not sections:
        raise FormatError(f"{os.fspath(path)} is empty: it holds no questions.")
    return sections


def _is_syntactic(section: AnalogyScore) -> bool:
    return section.name.startswith("gram")


def _sum(name: str, sections: list[AnalogyScore]) -> AnalogyScore:
    fields = ("correct", "total", "skipped")
    return AnalogyScore(name, *(sum(getattr(section, field) for section in sections) for field in fields))
