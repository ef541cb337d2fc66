"""Perplexity per character: words measured in characters, and the cost of spelling unknown ones."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vastmax.errors import FormatError
from vastmax.language import LanguageCorpus, read_language_corpus
from vastmax.language.spelling import Speller

TRAIN = ["the cat sat", "the dog sat", "the cat ran", "a bird"]
TEST = ["the dög sat", "a cat"]


def write(place: Path, lines: list[str]) -> Path:
    place.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return place


def corpus(tmp_path: Path, **options: int) -> LanguageCorpus:
    texts = [write(tmp_path / "train.txt", TRAIN), write(tmp_path / "valid.txt", TRAIN[:2])]
    return read_language_corpus(*texts, write(tmp_path / "test.txt", TEST), **options)


def by_hand(word: str) -> float:
    """Compute nats from the definition: shares of characters and ends among the distinct words, plus one unseen."""
    words = sorted({word for line in TRAIN for word in line.split()})
    total = sum(len(each) + 1 for each in words) + 1
    found = len(words) / total
    for character in word:
        count = sum(each.count(character) for each in words)
        found *= count / total if count else 1 / total / 1_112_064
    return -math.log(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("min_count", [1, 2])
def test_every_token_has_its_characters_and_unknown_ones_their_spelling(tmp_path: Path, min_count: int) -> None:
    found = corpus(tmp_path, min_count=min_count)
    assert found.spelling is not None and found.spelling.dtype == np.float32
    words = ["the", "dög", "sat", None, "a", "cat", None]  # None: the end of a sentence
    assert found.spelling[:, 0].tolist() == [0 if word is None else len(word) + 1 for word in words]
    assert found.spelling[:, 0].sum() == len("the dög sat\na cat\n")
    unknown = {"dög"} if min_count == 1 else {"dög", "a"}
    expected = [by_hand(word) if word in unknown else 0 for word in words]
    np.testing.assert_allclose(found.spelling[:, 1], expected, rtol=1e-6)
    assert ((found.test == found.unknown) == (found.spelling[:, 1] > 0)).all()


@pytest.mark.filterwarnings("ignore")
def test_a_text_that_is_cut_off_is_spelt_as_one_that_is_given(tmp_path: Path) -> None:
    lines = [*TRAIN * 5, *TEST]
    cut = read_language_corpus(write(tmp_path / "all.txt", lines), split=(50, 2), min_count=2)
    test = lines[-4:] if len(cut.test) > 7 else TEST
    texts = [write(tmp_path / name, part) for name, part in (("a", lines[: -len(test)]), ("b", TEST), ("c", test))]
    given = read_language_corpus(*texts, min_count=2)
    assert cut.spelling is not None and given.spelling is not None
    assert cut.spelling[-3:, 0].tolist() == given.spelling[-3:, 0].tolist() == [2, 4, 0]
    assert len(cut.spelling) == len(cut.test)


def test_probabilities_of_all_words_sum_to_1() -> None:
    speller = Speller(["ab", "b"])
    a, b = (math.exp(speller.nats("") - speller.nats(character)) for character in "ab")
    end = math.exp(-speller.nats(""))
    new = math.exp(-speller.nats("z") + speller.nats(""))
    # these are all possible continuations: a character or the end
    assert a + b + end + new * 1_112_064 == pytest.approx(1)


@pytest.mark.filterwarnings("ignore")
def test_it_is_kept_with_the_corpus(tmp_path: Path) -> None:
    found = corpus(tmp_path)
    found.save(tmp_path / "c")
    loaded = LanguageCorpus.load(tmp_path / "c")
    np.testing.assert_array_equal(loaded.spelling, found.spelling)
    assert loaded.fingerprint == found.fingerprint
    np.save(tmp_path / "c" / "spelling.npy", np.ones((2, 2), np.float32))
    with pytest.raises(FormatError, match="spelling of another text"):
        LanguageCorpus.load(tmp_path / "c")
    replace(found, spelling=None).save(tmp_path / "c")  # the old file remains but is not read
    assert LanguageCorpus.load(tmp_path / "c").spelling is None
