"""Token lists in Python: what is accepted or refused, with which advice, and the same at every entry point."""

import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vastmax.errors import InputError, VastmaxError
from vastmax.text import (
    Phrase,
    PhraseOptions,
    Phrases,
    build_vocabulary,
    encode_corpus,
    learn_phrases,
    read_sentences,
)

SENTENCES = [["tea", "with", "milk"], ["tea", "with", "lemon"]]
DOORS: dict[str, Callable[[Any], Any]] = {
    "encode_corpus": lambda given: encode_corpus(given, min_count=1),
    "build_vocabulary": lambda given: build_vocabulary(given, min_count=1),
    "learn_phrases": lambda given: learn_phrases(given, PhraseOptions(passes=1)),
    "read_sentences": lambda given: list(read_sentences(given)),
    "Phrases.apply": lambda given: list(Phrases([], thresholds=[]).apply(given)),
}


class Column:
    """A stand-in for a table column: iterable, but neither list nor array."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = list(values)

    def __iter__(self) -> Any:
        return iter(self.values)


@pytest.mark.parametrize(
    "given",
    [
        SENTENCES,
        tuple(map(tuple, SENTENCES)),
        np.array(SENTENCES),
        np.array(SENTENCES, object),
        Column(SENTENCES),
        Column(map(np.array, SENTENCES)),
        deque(map(deque, SENTENCES)),
        dict(enumerate(SENTENCES)).values(),
        (row["tokens"] for row in [{"title": "x", "tokens": tokens} for tokens in SENTENCES]),
        iter([(word for word in sentence) for sentence in SENTENCES]),
        [dict.fromkeys(sentence).keys() for sentence in SENTENCES],
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_holds_lists_of_words_is_read_once(given: Any) -> None:
    with encode_corpus(given, min_count=1) as corpus:
        words = corpus.vocabulary.words or []
        assert [words[number] for number in corpus.ids[:3].tolist()] == SENTENCES[0]
        assert (corpus.num_words, corpus.num_sentences) == (6, 2)


WRONG = {
    "rows of a data set": (
        [{"title": "x", "tokens": ["tea"]}],
        r"sentence 1 .* fields one field, for example row\[",
    ),
    "a row behind lists": ([["tea"], {"tokens": ["tea"]}], "sentence 2 of the corpus is {'tokens'"),
    "counts": ([Counter(tea=2)], "sentence 1 .* of rows with fields one field"),
    "a table": ({"tokens": SENTENCES}, "the corpus is {'tokens': .*: give lists of words"),
    "sets": (
        [{"tea"}],
        "sentence 1 of the corpus is {'tea'}: .* in place of a set, whose order differs between processes",
    ),
    "frozen sets": ([frozenset(["tea"])], "whose order differs between processes"),
    "a set": ({("tea", "with")}, "the corpus is {.*whose order differs between processes"),
    "bytes": (b"tea with", "the corpus is b'tea with': give lists of words"),
    "sentences of bytes": ([b"tea with"], "sentence 1 of the corpus is b'tea with': give a list of words"),
    "words of bytes": ([[b"tea"]], r"sentence 1 .* contains b'tea' \(bytes\), and words are strings: .* decode\(\)"),
    "whole numbers": ([["tea"], [1, 2]], r"sentence 2 .* contains 1 \(int\), and words are strings: .* str\(\)"),
    "numbers of numpy": (np.array([[1, 2]]), r"contains 1 \(int64\), and words are strings"),
    "nothing among words": ([["tea", None]], r"contains None \(NoneType\)"),
    "documents of sentences": ([[["tea"]]], r"contains \['tea'\] \(list\)"),
    "a column of text": (
        Column(["tea with"]),
        "sentence 1 .* is 'tea with': give a list of words, for example text",
    ),
    "an array of text": (np.array(["tea with"]), "sentence 1 .*tea with.*: give a list of words"),
    "an array of one": (np.array("tea with"), "the corpus is tea with: give lists of words"),
    "missing values": (Column([float("nan")]), "sentence 1 of the corpus is nan: give a list of words"),
    "paths one by one": (iter([Path("a.txt")]), r"sentence 1 .*a.txt'\): give paths as a list, for example sorted\("),
    "a number": (7, "the corpus is 7: give lists of words"),
    "nothing": (None, "the corpus is None: give lists of words"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", WRONG)
def test_what_would_be_learnt_wrongly_is_refused(what: str, door: str) -> None:
    given, complaint = WRONG[what]
    if what == "paths one by one":
        given = iter([Path("a.txt")])
    with pytest.raises(InputError, match=complaint) as caught:
        DOORS[door](given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("door", [door for door in DOORS if door != "Phrases.apply"])
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("the cat sat", "file the cat sat does not exist: .* as lists of words, for example"),
        (["the cat sat", "on the mat"], "file the cat sat does not exist: .* lists of words"),
        (["tea", "with"], "file tea does not exist: .* lists of words"),
        ("who is it? a cat", "no file matches who is it\\? a cat: .* lists of words"),
        ("tea with\nmilk " * 1000, "file tea with.*… does not exist: .* lists of words"),
        ([], "no corpus is given: .* or give lists of words"),
    ],
)
def test_text_itself_is_no_name_of_a_file(given: Any, complaint: str, door: str) -> None:
    with pytest.raises(VastmaxError, match=f"(?s){complaint}") as caught:
        DOORS[door](given)
    assert len(str(caught.value)) < 600


def test_what_looks_like_a_path_gets_no_lesson() -> None:
    for name in ("corpus.txt", "texts/news", "texts\\news"):
        with pytest.raises(VastmaxError, match="does not exist: check the path") as caught:
            encode_corpus(name)
        assert "lists of words" not in str(caught.value)


def test_an_iterator_that_was_read_already() -> None:
    sentences = iter(SENTENCES)
    build_vocabulary(sentences, min_count=1)
    with pytest.raises(
        VastmaxError, match=r"contains no words: give a text with words in it, or a list in place of an iterator"
    ):
        build_vocabulary(sentences, min_count=1)
    with pytest.raises(VastmaxError, match="contains no words: give a text"):
        build_vocabulary([[]], min_count=1)


def test_phrases_learnt_from_a_generator_in_several_passes() -> None:
    options = PhraseOptions(passes=2, threshold=0.1, min_count=1)
    corpus = [["new", "york", "city", str(number)] for number in range(9)]
    assert learn_phrases(iter(corpus), options) == learn_phrases(corpus, options)
    phrases = Phrases([{("new", "york"): Phrase(9.0, 4)}], thresholds=[1.0])
    assert list(phrases.apply(iter([iter(["new", "york"])]))) == [["new_york"]]


def test_a_corpus_is_the_same_in_every_process() -> None:
    program = "from vastmax.text import *; print(encode_corpus([set('abcdefgh')] * 9).fingerprint)"
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False
        )
        assert (run.returncode, run.stdout) == (1, "") and "whose order differs between processes" in run.stderr
