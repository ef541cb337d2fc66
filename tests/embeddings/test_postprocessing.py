"""w + c and all-but-the-top, against the formula and numpy's SVD."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from vastmax.embeddings import Embeddings, add_output_vectors, all_but_the_top, train
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary


def test_words_and_their_output_vectors_add_up(random: Embeddings) -> None:
    outputs = np.random.default_rng(1).normal(size=(2000, 20)).astype(np.float32)
    embeddings = Embeddings(random.vectors, random.vocabulary, outputs, {"note": 1})
    total = add_output_vectors(embeddings)
    assert_array_equal(total.vectors, random.vectors + outputs)
    assert (total.output_vectors, total.vocabulary) == (None, random.vocabulary)
    assert total.config == {"note": 1, "processing": [{"name": "add_output_vectors"}]}
    assert embeddings.config == {"note": 1}


def test_output_vectors_that_are_not_of_words_are_refused(random: Embeddings) -> None:
    with pytest.raises(InputError, match=r"^these embeddings have no output vectors: train with keep_output_vectors"):
        add_output_vectors(random)
    embeddings = train(
        [["a", "b", "c"]] * 20, objective="hierarchical", dim=4, epochs=1, threads=1, keep_output_vectors=True
    )
    uncounted = Embeddings(embeddings.vectors, Vocabulary(list("abc"), None), embeddings.output_vectors)
    for of_a_tree in (embeddings, uncounted):
        with pytest.raises(InputError, match="not to words: train with objective 'negative-sampling'"):
            add_output_vectors(of_a_tree)
    one_too_many = np.ones((3, 4), np.float32)  # as word2vec and gensim store them
    theirs = Embeddings(embeddings.vectors, embeddings.vocabulary, one_too_many, embeddings.config)
    with pytest.raises(InputError, match=r"^output_vectors has 3 rows, and objective is 'hierarchical' in config"):
        add_output_vectors(theirs)
    with pytest.raises(InputError, match=r"^output_vectors has 5 rows"):
        add_output_vectors(Embeddings(random.vectors, random.vocabulary, random.vectors[:5]))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_mean_and_the_first_components_are_gone(data: st.DataObject) -> None:
    rows, dim = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 12))
    removed = data.draw(st.integers(0, dim))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = (generator.normal(size=(rows, dim)) @ np.diag(3.0 ** np.arange(dim)) + 5).astype(np.float32)
    embeddings = Embeddings(vectors, Vocabulary(None, np.ones(rows)))
    found = all_but_the_top(embeddings, removed).vectors.astype(np.float64)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=True)
    scales = np.append(scales, np.zeros(dim))
    size = np.abs(centred).max() + 1
    assert_allclose(found.mean(axis=0), 0, atol=1e-5 * size)
    if removed in (0, dim) or scales[removed - 1] > 1.01 * scales[removed] + 1e-6 * size:  # else not unique
        expected = sum((np.outer(centred @ each, each) for each in directions[removed:]), np.zeros((rows, dim)))
        assert_allclose(found, expected, atol=2e-5 * size)


def test_how_many_components(random: Embeddings) -> None:
    wide = Embeddings(np.random.default_rng(2).normal(size=(400, 250)), Vocabulary(None, np.ones(400)))
    for embeddings, removed in ((random, 1), (wide, 2)):
        found = all_but_the_top(embeddings)
        assert np.linalg.matrix_rank(found.vectors.astype(np.float64), tol=1e-3) == embeddings.dim - removed
        assert found.config["processing"] == [{"name": "all_but_the_top", "components": removed}]
    twice = all_but_the_top(all_but_the_top(random), 2)
    assert [step["components"] for step in twice.config["processing"]] == [1, 2]
    for wrong in (-1, 21, 1.5, True):
        with pytest.raises(InputError, match=r"^components is .*: give a whole number from 0 to 20"):
            all_but_the_top(random, wrong)  # type: ignore[arg-type]
    damaged = Embeddings(np.array([[1, np.nan]]), Vocabulary(["a"], None))
    with pytest.raises(InputError, match="the vector of 'a' contains NaN"):
        all_but_the_top(damaged)


def test_the_given_vectors_stay(random: Embeddings) -> None:
    before: Any = random.vectors.copy()
    assert all_but_the_top(random).vectors is not random.vectors
    assert_array_equal(random.vectors, before)


def test_sums_that_have_no_place_in_float32_are_told() -> None:
    vectors = np.array([[1, 2], [3e38, 1]], np.float32)
    with pytest.raises(InputError, match=r"^the sums have numbers beyond 3e38, .*: scale the vectors down"):
        add_output_vectors(Embeddings(vectors, Vocabulary(["a", "b"], None), vectors))
    vectors = np.repeat(np.array([[3e38], [-3e38]], np.float32), [9, 1], axis=0)
    with pytest.raises(InputError, match=r"^the results have numbers beyond 3e38"):
        all_but_the_top(Embeddings(vectors, Vocabulary(None, np.ones(10))), 0)


@pytest.mark.parametrize("before", [None, {}, "scaled", [{"name": "scaled"}], ({"name": "scaled"},)])
def test_a_config_may_hold_anything(random: Embeddings, before: Any) -> None:
    step = {"name": "all_but_the_top", "components": 1}
    found = all_but_the_top(Embeddings(random.vectors, random.vocabulary, config={"processing": before}))
    kept = [] if before is None else [before] if isinstance(before, (str, dict)) else list(before)
    assert found.config["processing"] == [*kept, step]
