"""Windows against a plain loop over the words with the same draws, and the distribution of the draws."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vastmax.embeddings.trainers.windows import find_windows
from vastmax.text import END_OF_SENTENCE

V = 6


class Scripted:
    """A generator that records its draws: one number per word, then one width per kept word."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.uniform = self.widths = np.empty(0)

    def random(self, size: int, dtype: Any) -> Any:
        self.uniform = self.generator.random(size, dtype)
        return self.uniform

    def integers(self, low: int, high: int, size: int) -> Any:
        self.widths = self.generator.integers(low, high, size)
        return self.widths


def walked(ids: list[int], keep: Any, window: int, uniform: Any, widths: Any) -> list[tuple[int, list[int]]]:
    """Return (centre, context) of each kept word, from left to right."""
    sentences: list[list[int]] = [[]]
    number = 0
    for id_ in ids:
        if id_ == END_OF_SENTENCE:
            sentences.append([])
            continue
        if uniform[number] < keep[id_]:
            sentences[-1].append(id_)
        number += 1
    found = []
    for sentence in sentences:
        for at, word in enumerate(sentence):
            width = widths[len(found)] if len(widths) else window
            around = [other for place, other in enumerate(sentence) if 0 < abs(place - at) <= width]
            found.append((word, around))
    return found


@given(
    st.lists(st.one_of(st.integers(0, V - 1), st.just(END_OF_SENTENCE)), max_size=40),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
    st.integers(0, 100),
)
def test_windows_are_those_of_a_walk(ids: list[int], window: int, shrink: bool, drops: bool, seed: int) -> None:
    keep = np.linspace(0.3, 1, V, dtype=np.float32) if drops else np.ones(V, np.float32)
    chance: Any = Scripted(seed)
    windows = find_windows(np.array(ids, np.uint32), keep, window, shrink, chance)
    expected = walked(ids, keep, window, chance.uniform, chance.widths)
    assert windows.centre.tolist() == [centre for centre, _ in expected]
    assert [row[row >= 0].tolist() for row in windows.context] == [context for _, context in expected]
    words, target = windows.pairs()
    pairs = [(word, centre) for centre, context in expected for word in context]
    assert list(zip(words.tolist(), target.tolist(), strict=True)) == pairs
    filled = windows.filled()
    assert filled.centre.tolist() == [centre for centre, context in expected if context]
    assert len(filled.context) == len(filled.centre)


def test_widths_are_uniform_and_words_stay_as_often_as_they_should() -> None:
    """The seed is fixed; with random seeds each check would fail once in 10,000."""
    ids = np.tile(np.array([0, 1], np.uint32), 20_000)
    keep = np.array([0.3, 1.0], np.float32)
    windows = find_windows(ids, keep, 4, True, np.random.default_rng(5))
    stayed = int((windows.centre == 0).sum())
    assert stats.binomtest(stayed, 20_000, 0.3).pvalue > 1e-4
    assert (windows.centre == 1).sum() == 20_000
    inner = windows.context[10:-10]
    widths = (inner >= 0).sum(1)
    assert stats.chisquare(np.bincount(widths, minlength=9)[2:9:2]).pvalue > 1e-4
    assert widths.max() == 8


@pytest.mark.parametrize("ids", [[], [END_OF_SENTENCE], [3], [3, END_OF_SENTENCE, 3]])
def test_nothing_to_predict(ids: list[int]) -> None:
    windows = find_windows(np.array(ids, np.uint32), np.ones(V, np.float32), 5, True, np.random.default_rng(0))
    words, target = windows.pairs()
    assert len(words) == len(target) == len(windows.filled().centre) == 0
