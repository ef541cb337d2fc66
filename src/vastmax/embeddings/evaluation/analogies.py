"""Evaluation on analogies: "Athens is to Greece as Oslo is to ?"."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import flag, one_of, whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.evaluation.lines import rows_by_spelling, spelling
from vastmax.embeddings.evaluation.questions import Question, read_questions
from vastmax.embeddings.search import analogy_objective

__all__ = ["AnalogyReport", "AnalogyScore", "Answer", "evaluate_analogies"]

_ROWS = 32_768  # rows scored at once
_SYNTACTIC = re.compile(r"gram|[ID]\d\d\b|[A-Z]+_[A-Z]+$")

IntArray = NDArray[np.int64]
Rows = dict[str, list[int]]


class Answer(NamedTuple):
    """A question "a is to b as c is to ?" and its answer.

    Attributes:
        a: the word in the file.
        b: the word in the file; if there are several, the first known one, which was used.
        c: the word in the file.
        expected: the accepted answers.
        answer: the model's answer, in the spelling of its vocabulary; None if it has none.
        right: whether the answer is right.
    """

    a: str
    b: str
    c: str
    expected: tuple[str, ...]
    answer: str | None
    right: bool


@dataclass(frozen=True)
class AnalogyScore:
    """The number of right answers among the questions asked in a section, or in several.

    Attributes:
        name: name of the section, or "semantic", "syntactic", "total".
        correct: number of right answers.
        total: number of questions asked.
        skipped: number of questions skipped because a word is not in the vocabulary or its restriction.
        answers: all questions asked, with ``keep_answers`` of `evaluate_analogies`; otherwise None.
    """

    name: str
    correct: int
    total: int
    skipped: int
    answers: tuple[Answer, ...] | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1; None if no questions were asked."""
        return self.correct / self.total if self.total else None

    @property
    def out_of_vocabulary(self) -> float | None:
        """Share of questions skipped, 0 to 1; None if there are no questions."""
        return self.skipped / (self.total + self.skipped) if self.total + self.skipped else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the shares by name as JSON values; answers, if kept, as lists "right" and "wrong"."""
        found = {**asdict(self), "accuracy": self.accuracy, "out_of_vocabulary": self.out_of_vocabulary}
        del found["answers"]
        if self.answers is not None:
            for name, right in (("right", True), ("wrong", False)):
                kept = (answer._asdict() for answer in self.answers if answer.right == right)
                found[name] = [{key: value for key, value in each.items() if key != "right"} for each in kept]
        return found


@dataclass(frozen=True)
class AnalogyReport:
    """The scores of all sections or relations, in file order, and their sums."""

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
        """Sum of the syntactic sections: Google's "gram…", BATS's "I…" and "D…" (morphology), MSR's, as "JJ_JJR"."""
        return _sum("syntactic", [section for section in self.sections if _is_syntactic(section)])

    @property
    def total(self) -> AnalogyScore:
        """Sum of all sections."""
        return _sum("total", list(self.sections))

    @property
    def accuracy(self) -> float | None:
        """Share of right answers over all sections, 0 to 1; None if no questions were asked."""
        return self.total.accuracy

    @property
    def skipped(self) -> int:
        """Number of questions skipped in all sections."""
        return self.total.skipped

    def to_dict(self) -> dict[str, Any]:
        """Return sections, sums and settings by name, as JSON values."""
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
    keep_answers: bool = False,
) -> AnalogyReport:
    """Evaluate embeddings on a gold standard of analogy questions "a is to b as c is to d".

    The published formats are read:

    - Google: lines ``a b c d``, optionally in sections that begin with a line ``: section``.
    - MSR: lines ``a b c`` in a file ``….questions`` and "relation d" in ``….answers`` beside it, or lines
      ``a b c relation d`` in one file.
    - BATS: a folder of folders of .txt files, or a zip archive of it. Each file is a relation and each line
      ``word<TAB>answer/answer/…``. Each ordered pair of lines is a question: b is the first known answer of one line,
      d any answer of the other.

    An answer is right if d is the best of all words but a, b and c. Questions with a word outside the (restricted)
    vocabulary are skipped and counted. The rules, and so the scores, are those of gensim's ``evaluate_word_analogies``.

    See Also:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781; Mikolov, Yih, Zweig, *Linguistic Regularities in Continuous Space Word
        Representations*, 2013, https://aclanthology.org/N13-1090 (MSR); Levy, Goldberg, *Linguistic Regularities in
        Sparse and Explicit Word Representations*, 2014, https://aclanthology.org/W14-1618; Gladkova, Drozd, Matsuoka,
        *Analogy-based Detection of Morphological and Semantic Relations with Word Embeddings: What Works and What
        Doesn't*, 2016, https://aclanthology.org/N16-2002 (BATS).

    Args:
        embeddings: vectors with words.
        path: the file of questions, the folder or the archive.
        restrict_vocabulary: use only this many of the most frequent words in questions and answers; None for all.
        lowercase: ignore case when words are compared; the most frequent of several spellings is used.
        method: "3cosadd" or "3cosmul", see `analogy_objective`.
        keep_answers: keep every question and its answer in the sections' scores.

    Raises:
        InputError: for an unknown method, a missing file, or embeddings without words.
        FormatError: for a line that is not a question, with its number.
    """
    if restrict_vocabulary is not None:
        whole("restrict_vocabulary", restrict_vocabulary, 1, other="None")
    one_of("method", method, ("3cosadd", "3cosmul"))
    flag("lowercase", lowercase)
    flag("keep_answers", keep_answers)
    rows = rows_by_spelling(embeddings, restrict_vocabulary, lowercase)
    sections = [
        _score(embeddings, name, questions, rows, lowercase, method, keep_answers)
        for name, questions in read_questions(path)
    ]
    return AnalogyReport(tuple(sections), method, restrict_vocabulary, lowercase)


def _score(
    embeddings: Embeddings,
    name: str,
    questions: list[Question],
    rows: Rows,
    lowercase: bool,
    method: str,
    keep_answers: bool,
) -> AnalogyScore:
    def known(words: Iterable[str]) -> list[int]:
        return [rows[form][0] for word in words if (form := spelling(word, lowercase)) in rows]

    asked: list[tuple[int, int, int]] = []
    answers: list[list[int]] = []
    kept: list[Question] = []
    for question in questions:
        a, b, c, expected = question
        known_a, known_b, known_c, known_answers = known([a]), known(b), known([c]), known(expected)
        if known_a and known_b and known_c and known_answers:
            asked.append((known_a[0], known_b[0], known_c[0]))
            answers.append(known_answers)
            kept.append(question)
    best = _best_answers(embeddings, np.array(asked, np.int64).reshape(-1, 3), rows, method).tolist()
    right = [answer in expected for answer, expected in zip(best, answers, strict=True)]
    told = None
    if keep_answers:
        told = tuple(
            Answer(
                question.a,
                next(word for word in question.b if known([word])),
                question.c,
                question.answers,
                str(embeddings.word_of(row)) if row >= 0 else None,
                good,
            )
            for question, row, good in zip(kept, best, right, strict=True)
        )
    return AnalogyScore(name, sum(right), len(asked), len(questions) - len(asked), told)


def _best_answers(embeddings: Embeddings, asked: IntArray, rows: Rows, method: str) -> IntArray:
    """Return the best answer (n,) to each question (n, 3) of rows, or -1; rows of one spelling count as one word.

    Questions share words, so cosines are computed once per word, in blocks of rows to limit memory.
    """
    num_rows = sum(map(len, rows.values()))
    several = {same[0]: same for same in rows.values() if len(same) > 1}
    words, places = np.unique(asked, return_inverse=True)
    best_score, best_row = np.full(len(asked), -np.inf), np.full(len(asked), -1)
    for start in range(0, num_rows, _ROWS):
        end = min(start + _ROWS, num_rows)
        to_words = embeddings.cosines(words.tolist(), slice(start, end))
        for question, (a, b, c) in enumerate(places.reshape(-1, 3).tolist()):
            scores = analogy_objective(method, to_words[a], to_words[b], to_words[c])
            for word in asked[question].tolist():
                for row in several.get(word, (word,)):
                    if start <= row < end:
                        scores[row - start] = -np.inf
            best = scores.argmax()
            if scores[best] > best_score[question]:
                best_score[question], best_row[question] = scores[best], start + best
    first = np.arange(num_rows)
    for same in several.values():
        first[same] = same[0]
    return np.where(best_row >= 0, first[best_row], -1)


def _is_syntactic(section: AnalogyScore) -> bool:
    return _SYNTACTIC.match(section.name) is not None


def _sum(name: str, sections: list[AnalogyScore]) -> AnalogyScore:
    correct, total, skipped = (
        sum(getattr(section, field) for section in sections) for field in ("correct", "total", "skipped")
    )
    return AnalogyScore(name, correct, total, skipped)
