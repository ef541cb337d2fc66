"""Small Word2Vec and FastText models, their texts and options."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("gensim")

from vastmax.integrations.gensim import FastText, Word2Vec

TEXT = [["the", "cat", "sat"], ["the", "dog", "sat", "down"], ["a", "cat", "and", "a", "dog"]] * 40
MORE = [["the", "bird", "sat"], ["a", "bird", "and", "the", "cat"]] * 30
SMALL: dict[str, Any] = {"vector_size": 12, "min_count": 1, "workers": 1, "epochs": 2}
NGRAMS: dict[str, Any] = {**SMALL, "bucket": 500}
both = pytest.mark.parametrize(("kind", "small"), [(Word2Vec, SMALL), (FastText, NGRAMS)])
objectives = pytest.mark.parametrize("objective", [{"sg": 1}, {"sg": 0}, {"sg": 1, "hs": 1, "negative": 0}])


def arrays(model: Any) -> dict[str, np.ndarray]:
    names = ("vectors", "vectors_vocab", "vectors_ngrams")
    found = {name: getattr(model.wv, name) for name in names if hasattr(model.wv, name)}
    return found | {"outputs": model.syn1 if model.hs else model.syn1neg}


def assert_equal(a: Any, b: Any) -> None:
    assert a.wv.index_to_key == b.wv.index_to_key
    assert_array_equal(a.wv.expandos["count"], b.wv.expandos["count"])
    for name, array in arrays(a).items():
        assert_array_equal(array, arrays(b)[name], err_msg=name)


def train_more(model: Any, text: Any = TEXT, **more: Any) -> Any:
    model.train(text, total_examples=len(text), epochs=2, **more)
    return model
