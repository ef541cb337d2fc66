"""Approximate indexes: the fastest that qualifies is used, or else the exact scan."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

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
    """Fake measured queries per second for the scan (True) and the indexes (False)."""
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


@pytest.mark.parametrize("form", [{}, {"dtype": "float16"}, {"dtype": "int8"}, {"bytes_per_word": 9}])
def test_tuned_vectors_have_the_form_that_they_had(speeds: dict[bool, float], tmp_path: Path, form: dict) -> None:
    pytest.importorskip("faiss")
    embeddings = clustered(600).compressed(**form)
    tuned = tune_index(embeddings, 0.5, queries=50).embeddings
    assert isinstance(tuned.table, index._Approximate)
    tuned.save(tmp_path / "kept")
    embeddings.save(tmp_path / "plain")
    for name in ("vectors.safetensors", "config.json"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    tuned.save(tmp_path / "wide", dtype="float32")
    for whole in (Embeddings.load(tmp_path / "wide"), tuned.compressed("float32")):
        assert isinstance(whole.table, np.ndarray)
        assert_array_equal(whole.vectors, embeddings.vectors)
        whole.vectors[0] = 1  # writeable
    if form:
        assert tuned.compressed(**form).table is embeddings.table
    exact = tuned.indexed()
    assert type(exact.table) is type(embeddings.indexed().table)
    assert exact.nearest("word3", 20) == embeddings.indexed().nearest("word3", 20)


@pytest.mark.parametrize("library", ["faiss", "usearch"])
def test_the_scan_answers_where_an_index_finds_too_few(library: str) -> None:
    pytest.importorskip(library)
    embeddings = clustered(900)
    exact = embeddings.indexed()
    candidates = {"faiss": index._faiss, "usearch": index._usearch}[library](exact)(1)
    tried = Embeddings(index._Approximate(exact, candidates), embeddings.vocabulary)
    asked = [f"word{i}" for i in range(40)]
    assert [len(each) for each in tried.nearest(asked, 300)] == [300] * 40
    assert [len(each) for each in tried.nearest(asked[:1], 200, exclude=asked)] == [200]
    assert tried.nearest([], 3) == []


def test_the_scan_answers_only_for_the_queries_that_lack_candidates() -> None:
    embeddings = clustered(100)
    exact = embeddings.indexed()
    near = np.array([[7, 8, 9, 10], [5, -1, -1, 5], [3, 1, 4, 2]])
    tried = Embeddings(index._Approximate(exact, lambda queries, k: near[:, :k]), embeddings.vocabulary)
    first, second, third = tried.nearest(["word0", "word1", "word2"], 3)
    assert {word for word, _ in first} <= {"word7", "word8", "word9", "word10"}
    assert second == exact.nearest("word1", 3)
    assert {word for word, _ in third} == {"word1", "word3", "word4"}


def test_candidates_of_usearch_that_are_not_filled_are_none() -> None:
    pytest.importorskip("usearch")
    embeddings = clustered(5)
    for queries in (1, 3):
        found = index._usearch(embeddings)(8)(embeddings.vectors[:queries], 7)
        assert found.shape == (queries, 7)
        assert_array_equal(np.sort(found)[:, 2:], [range(5)] * queries)
        assert_array_equal(np.sort(found)[:, :2], -1)


def test_the_scan_is_used_where_it_wins(speeds: dict[bool, float]) -> None:
    speeds[False] = 99.0
    tuned = tune_index(clustered(500), queries=50)
    assert tuned.chosen.effort is None
    assert "the exact scan is used, as no index with enough recall is faster" in str(tuned)
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
