from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from vastmax.errors import FormatError, InputError
from vastmax.vocabulary import Vocabulary

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
word_counts = st.dictionaries(words, st.integers(1, 2**50), min_size=1)


def test_members() -> None:
    vocabulary = Vocabulary.from_counts({"cat": 2, "the": 10, "ant": 2})
    assert vocabulary.words == ["the", "ant", "cat"]
    assert vocabulary.counts.tolist() == [10, 2, 2]
    assert vocabulary.counts.dtype == np.int64
    assert not vocabulary.counts.flags.writeable
    assert (len(vocabulary), vocabulary.total, vocabulary["cat"]) == (3, 14, 2)
    assert "ant" in vocabulary
    assert "dog" not in vocabulary
    assert 3 not in vocabulary
    assert repr(vocabulary) == "<Vocabulary of 3 words: the, ant, cat>"
    for kind in (KeyError, InputError):
        with pytest.raises(kind) as caught:
            vocabulary["dog"]
        assert str(caught.value) == "'dog' is not in the vocabulary: give a word that it contains."


@given(word_counts, st.integers(1, 5), st.integers(1, 20))
def test_dict_is_ranked(counts: dict[str, int], min_count: int, max_size: int) -> None:
    counts["sure"] = 9
    vocabulary = Vocabulary.from_counts(counts, min_count=min_count, max_size=max_size)
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)[:max_size]
    assert vocabulary.words == [word for _, word in kept]
    assert vocabulary.counts.tolist() == [-count for count, _ in kept]


@given(strategies.counts())
def test_array_keeps_its_order(counts: np.ndarray) -> None:
    vocabulary = Vocabulary.from_counts(counts)
    assert vocabulary.words is None
    assert np.array_equal(vocabulary.counts, counts)
    assert "a" not in vocabulary
    with pytest.raises(InputError, match="no words"):
        vocabulary["a"]


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"a": -1}, r"counts\[0\] is -1: give a whole number"),
        ([3, -2], r"counts\[1\] is -2"),
        ([0.5], r"counts\[0\] is 0.5: give a whole number"),
        ([float("nan")], r"counts\[0\] is nan"),
        ([1, float("inf")], r"counts\[1\] is inf"),
        (["a"], "counts is <U1 of shape"),
        ([[1]], r"shape \(1, 1\)"),
        ({"a": 0}, "1 time or more"),
        ({}, "give one whole number per word"),
    ],
)
def test_counts_that_are_none(counts: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Vocabulary.from_counts(counts)  # type: ignore[arg-type]


def test_limits_are_for_words() -> None:
    with pytest.raises(InputError, match="min_count and max_size need words"):
        Vocabulary.from_counts([1, 2], min_count=2)
    with pytest.raises(InputError, match="min_count is 0"):
        Vocabulary.from_counts({"a": 1}, min_count=0)
    with pytest.raises(InputError, match="max_size is 0"):
        Vocabulary.from_counts({"a": 1}, max_size=0)


def test_words_and_counts_must_match() -> None:
    with pytest.raises(InputError, match="words are 2 and counts 1: give one count per word"):
        Vocabulary(["a", "b"], [1])
    with pytest.raises(InputError, match="contains the word 'a' twice"):
        Vocabulary(["a", "a"], [1, 2])["a"]


@given(word_counts)
def test_file_brings_back_every_word(tmp_path_factory: pytest.TempPathFactory, counts: dict[str, int]) -> None:
    path = tmp_path_factory.getbasetemp() / "vocabulary.tsv"
    vocabulary = Vocabulary.from_counts(counts)
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert path.read_bytes().count(b"\n") == len(counts)


def test_file_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "v.tsv"
    Vocabulary.from_counts({"a\tb\\c": 3, "line\nend\r": 2, "\x85": 1}).save(path)
    assert path.read_text(encoding="utf-8") == "a\\tb\\\\c\t3\nline\\nend\\r\t2\n\x85\t1\n"


def test_classes_without_names_have_files_too(tmp_path: Path) -> None:
    path = tmp_path / "v.tsv"
    vocabulary = Vocabulary.from_counts([3, 0, 7])
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary


@pytest.mark.parametrize("names", [["a", "b"], ["", "b"], [""], ["a\tb", "\n"]])
def test_counts_may_be_unknown(tmp_path: Path, names: list[str]) -> None:
    vocabulary = Vocabulary(names, None)
    assert (len(vocabulary), vocabulary.words, vocabulary.index[names[-1]]) == (len(names), names, len(names) - 1)
    assert not vocabulary.counted
    assert vocabulary != Vocabulary(names, range(len(names)))
    for ask in (lambda: vocabulary.counts, lambda: vocabulary.total):
        with pytest.raises(
            InputError, match=r"has words but no counts: give counts too, as Vocabulary\(words, counts\)"
        ):
            ask()
    vocabulary.save(tmp_path / "v.tsv")
    assert Vocabulary.load(tmp_path / "v.tsv") == vocabulary
    assert repr(vocabulary).startswith(f"<Vocabulary of {len(names)} words")


def test_neither_words_nor_counts() -> None:
    for words in (None, []):
        with pytest.raises(InputError, match="neither words nor counts are given"):
            Vocabulary(words, None)


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "v.tsv"
    path.write_bytes(b"a\t2\r\nb\t1\r\n")
    assert Vocabulary.load(path).counts.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"a\t2\nb\n", "line 2 .* is not 'word<TAB>count'"),
        (b"a\t2\nb\t-1\n", "line 2"),
        (b"a\t2\nb\t1.5\n", "line 2"),
        (b"a\t2\nb\t\xd9\xa3\n", "line 2"),
        (b"a\t99999999999999999999\n", "line 1"),
        (b"a\t2\n\\x\t1\n", r"line 2 .* unknown escape"),
        (b"a\t2\nb\t2\na\t1\n", "line 3 .* repeats the word 'a' of line 1"),
        (b"\xff\t2\n", "line 1 .* not UTF-8"),
        (b"a 2\n", "line 1"),
        (b"5\n", "line 1"),
        (b"a\t\nb\t2\n", "line 2"),
        (b"a\t2\nb\t\n", "line 2"),
        (b"a\t\nb\t\na\t\n", "line 3 .* repeats the word 'a' of line 1"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "v.tsv"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        Vocabulary.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"cannot be written .No such file"):
        Vocabulary.from_counts({"a": 1}).save(tmp_path / "none" / "v.tsv")


def test_a_total_beyond_64_bits_is_exact() -> None:
    assert Vocabulary(None, [2**62 + 1] * 5 + [3]).total == 5 * (2**62 + 1) + 3


WRONG_WORDS: dict[str, Any] = {
    "numbers": [1, 2],
    "none": ["a", None],
    "bytes": ["a", b"b"],
    "a set": {"a", "b"},
    "a text": "ab",
    "a table": {"a": 1, "b": 2},
    "a number": 5,
    "surrogates": ["a\ud800", "b"],
    "twice": ["a", "a"],
}


@pytest.mark.parametrize("words", WRONG_WORDS.values(), ids=WRONG_WORDS)
def test_what_are_no_words(words: Any) -> None:
    """The error is raised at construction, not when a model is saved or cannot be loaded."""
    with pytest.raises(InputError, match=r"words? is .*: give|contains the word 'a' twice"):
        Vocabulary(words, [2, 1])


@pytest.mark.parametrize("word", [1, None, b"a", "a\ud800", ("a",)])
def test_what_are_no_words_of_counts(word: Any) -> None:
    with pytest.raises(InputError, match=r"a word is .*: give text"):
        Vocabulary.from_counts({word: 1, "b": 1})
