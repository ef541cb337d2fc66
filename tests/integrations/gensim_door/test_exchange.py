"""A full model converts to embeddings with counts and output vectors, so they predict as the model does."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from vastmax.errors import InputError

gensim_models = pytest.importorskip("gensim.models")

from tests.integrations.gensim_door.models import SMALL, TEXT, both  # noqa: E402
from vastmax.integrations.gensim import FastText, Word2Vec, from_gensim  # noqa: E402


@both
@pytest.mark.parametrize("sg", [0, 1])
def test_hierarchical_softmax_predicts_what_the_model_scores(kind: Any, small: Any, sg: int) -> None:
    model = kind(TEXT, **small, sg=sg, hs=1, negative=0, window=1)
    embeddings = from_gensim(model)
    assert embeddings.output_vectors is not None and embeddings.output_vectors.shape == (6, 12)
    found = {answer.word: answer.score for answer in embeddings.predict(["the"], k=7)}
    assert sum(found.values()) == pytest.approx(1)
    for word in model.wv.index_to_key:
        points, codes = (model.wv.get_vecattr(word, name) for name in ("point", "code"))
        scores = (1.0 - 2.0 * codes) * (model.syn1[points].astype(float) @ model.wv["the"].astype(float))
        assert found[word] == pytest.approx(float(np.exp(-np.logaddexp(0, -scores).sum())), rel=1e-5)


@both
@pytest.mark.parametrize("cbow_mean", [0, 1])
def test_negative_sampling_predicts_as_gensim(kind: Any, small: Any, cbow_mean: int) -> None:
    model = kind(TEXT, **small, cbow_mean=cbow_mean)
    theirs = model.predict_output_word(["the", "cat"], topn=7)
    ours = from_gensim(model).predict(["the", "cat"], k=7)
    assert [answer.word for answer in ours] == [word for word, _ in theirs]
    assert_allclose([answer.score for answer in ours], [score for _, score in theirs], rtol=1e-4)


def test_counts_of_a_model_are_known_whatever_they_are() -> None:
    model = Word2Vec([["a", "a", "b"]], **SMALL)
    assert from_gensim(model).vocabulary.counted and not from_gensim(model.wv).vocabulary.counted


def test_outputs_of_gensims_own_tree_stay_behind() -> None:
    theirs = gensim_models.Word2Vec(TEXT, **SMALL, hs=1, negative=0)
    assert from_gensim(theirs).output_vectors is None
    with pytest.raises(InputError, match="no output vectors"):
        from_gensim(theirs).predict(["the"])
    assert len(from_gensim(gensim_models.Word2Vec(TEXT, **SMALL)).output_vectors) == 7


def test_a_model_of_ngrams_brings_them() -> None:
    model = FastText(TEXT, **SMALL, bucket=500)
    assert_allclose(from_gensim(model)["catlike"], model.wv["catlike"], atol=1e-6)


@both
def test_added_words_are_exchanged_and_have_no_count(kind: Any, small: Any) -> None:
    for whole in (False, True):
        model = kind(TEXT, **small)
        model.wv.add_vectors(["moon"], [np.ones(12, np.float32)])
        embeddings = from_gensim(model if whole else model.wv)
        assert_allclose(embeddings["moon"], 1, atol=1e-5)
        assert embeddings.vocabulary.counts[-1] == 0
        if embeddings.output_vectors is not None:
            assert not embeddings.output_vectors[-1].any()
        assert (embeddings.output_vectors is not None) == whole


@pytest.mark.parametrize(
    ("lengths", "shortest"), [((0, 0), None), ((3, 0), None), ((5, 2), None), ((0, 2), 1), ((2, 3), 2)]
)
def test_lengths_of_ngrams_are_those_that_there_are(lengths: Any, shortest: int | None) -> None:
    for kind in (FastText, gensim_models.FastText):
        model = kind(TEXT, **SMALL, bucket=500, min_n=lengths[0], max_n=lengths[1])
        subwords = from_gensim(model.wv).subwords
        assert (None if subwords is None else subwords.rule.shortest) == shortest
