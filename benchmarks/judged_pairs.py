"""Select the word pairs on which all trainers are evaluated, and separately those with out-of-vocabulary words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from embedding_runs import lengths_of_ngrams
from vastmax.embeddings.evaluation.lines import spelling
from vastmax.embeddings.evaluation.similarity import PART_OF_SPEECH, read_pairs

UNSEEN = " unseen"
"""Suffix of the names of files whose pairs contain an out-of-vocabulary word."""


class Judged(NamedTuple):
    """The training text, the files of pairs, the judged words not in the vocabulary, and the number held out."""

    corpus: Path
    files: list[Path]
    unseen: list[str]
    held_out: int


def judge(
    corpus: Path, similarity: list[Path], folder: Path, min_count: int, subwords: str | None, every: int | None
) -> Judged:
    """Write the pairs of each file whose words are in the vocabulary and, with ``subwords``, the others separately.

    Case is ignored, as in the evaluation, and words without an n-gram are left out. With ``every``, every N-th judged
    word in alphabetical order is held out of the text; the separate pairs are then those whose rarer word is held out
    and whose other word is in the vocabulary.
    """
    if not similarity:
        return Judged(corpus, [], [], 0)
    forms = _forms(corpus)
    counts: Counter[str] = Counter()
    for form, count in forms.items():
        counts[spelling(form, True)] += count

    def count_of(word: str) -> int:
        return counts[spelling(word, True)]

    def found(word: str) -> str:
        return word.lower() if count_of(word) else PART_OF_SPEECH.sub("", word.lower())

    pairs = {path: [(found(a), found(b), score) for a, b, score in read_pairs(path)] for path in similarity}
    held: set[str] = set()
    if every:
        words = {word for each in pairs.values() for pair in each for word in pair[:2] if count_of(word)}
        held = {spelling(word, True) for word in sorted(words)[::every]}
        corpus = _without(held, corpus, folder)
    known = {spelling(form, True) for form, count in forms.items() if count >= min_count} - held
    shortest = lengths_of_ngrams(subwords)[0] if subwords else None

    def apart(pair: tuple[str, str], new: set[str]) -> bool:
        if shortest is None or any(len(word) + 2 < shortest or word.split() != [word] for word in new):
            return False
        return not every or (new == {min(pair, key=count_of)} and held.issuperset(spelling(word, True) for word in new))

    files: list[Path] = []
    unseen: set[str] = set()
    for path, each in pairs.items():
        kept: dict[str, list[str]] = {"": [], UNSEEN: []}
        for a, b, score in each:
            new = {word for word in (a, b) if spelling(word, True) not in known}
            if not new or apart((a, b), new):
                kept[UNSEEN if new else ""].append(f"{a}\t{b}\t{score!r}\n")
                unseen |= new
        for ending, lines in kept.items():
            if lines:
                files.append(folder / f"{path.stem}{ending}.txt")
                files[-1].write_text("".join(lines), encoding="utf-8")
    return Judged(corpus, files, sorted(unseen), len(held))


def _forms(corpus: Path) -> Counter[str]:
    """Count every spelling of every word, by case."""
    forms: Counter[str] = Counter()
    with corpus.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            forms.update(line.split())
    return forms


def _without(held: set[str], corpus: Path, folder: Path) -> Path:
    """Write the text without some words, ignoring case, and return its path."""
    text = folder / corpus.name
    with corpus.open(encoding="utf-8", errors="replace") as lines, text.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(" ".join(word for word in line.split() if spelling(word, True) not in held) + "\n")
    return text
