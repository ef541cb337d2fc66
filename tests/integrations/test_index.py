"""Approximate indexes: those that win are used, and the exact scan where none does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from vastmax.embeddings import Embeddings
from vastmax.errors import InputError
from vastmax.integrations import index, tune_index
from vastmax.vocabulary import Vocabulary


def clustered(size: int) -> Embeddings:
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(20, 16))
    rows = centres[generator.integers(0, 20, size)] + 0.3 * generator.normal(size=(size, 16))
    return Embeddings(rows, Vocabulary([f"word{i}" for i in range(size)], range(size, 0, -1)))


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[bool, float]:
    """Queries a second that are measured of the scan (True) and of indexes (False)."""
    given = {True: 100.0, False: 1000.0}
    measured = index._measured

    def pretended(embeddings: Embeddings, asked: list[int], k: int) -> tuple[list[set[int]], float]:
        return measured(embeddings, asked, k)[0], given[not isinstance(embeddings.table, index._Approximate)]

    monkeypatch.setattr(index, "_measured", pretended)
    return given


def test_the_index_that_wins_is_used(speeds: dict[bool, float]) -> None:
    pytest.importorskip("faiss")
    embeddings = clustered(4000)
    tuned = tune_index(embeddings, 0.95, queries=200)
    assert tuned.chosen.effort is not None
    assert tuned.chosen.recall >= 0.95
    assert tuned.chosen == max(tuned.trials, key=lambda trial: (trial.recall >= 0.95, trial.queries_per_second))
    assert str(tuned).startswith("faiss IVF") and "exact scan: 100" in str(tuned)
    words = [f"word{i}" for i in range(100)]
    plain, found = embeddings.nearest(words, 10), tuned.embeddings.nearest(words, 10)
    shared = [len({w for w, _ in a} & {w for w, _ in b}) / 10 for a, b in zip(plain, found, strict=True)]
    assert np.mean(shared) > 0.9
    cosines = {word: score for word, score in plain[0]}
    right = [(score, cosines[word]) for word, score in found[0] if word in cosines]
    assert_allclose(*zip(*right, strict=True), atol=1e-6)
    assert [w for w, _ in tuned.embeddings.nearest("word3", 5, among=200)] == [
        w for w, _ in embeddings.nearest("word3", 5, among=200)
    ]
    assert "word3" not in {w for w, _ in tuned.embeddings.nearest("word3", 5, exclude=["word9"])}


def test_the_scan_is_used_where_it_wins(speeds: dict[bool, float]) -> None:
    speeds[False] = 99.0
    tuned = tune_index(clustered(500), queries=50)
    assert tuned.chosen.effort is None
    assert "the exact scan is used, nothing that finds enough is faster" in str(tuned)
    assert not isinstance(tuned.embeddings.table, index._Approximate)


def test_without_libraries_there_is_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("faiss", "usearch", "usearch.index"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    tuned = tune_index(clustered(100), k=3)
    assert [trial.name for trial in tuned.trials] == ["exact scan"]
    assert tuned.embeddings.nearest("word1", 3) == clustered(100).indexed().nearest("word1", 3)


@pytest.mark.parametrize("wrong", [{"recall": 0}, {"recall": 1.5}, {"k": 0}, {"queries": 0}])
def test_wrong_values(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*: give"):
        tune_index(clustered(10), **wrong)
