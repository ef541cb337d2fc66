"""Every argument is accepted and saved, or refused with one sentence before any text is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vastmax.errors import InputError

gensim_models = pytest.importorskip("gensim.models")

from tests.integrations.gensim_door.models import NGRAMS, SMALL, TEXT, assert_equal, both, train_more  # noqa: E402
from vastmax.integrations.gensim import FastText, Word2Vec  # noqa: E402


def no_text() -> Any:
    raise AssertionError("the text is read")
    yield []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"workers": -1}, "workers is -1: give a whole number from 1"),
        ({"negative": 100}, "negative is 100: give a whole number from 0 to 60"),
        ({"vector_size": 0}, "vector_size is 0: give"),
        ({"window": 0}, "window is 0: give"),
        ({"window": "wide"}, "window is 'wide': give a whole number"),
        ({"sample": -1}, "sample is -1: give a number of 0 or more"),
        ({"sample": "1e-3"}, "sample is '1e-3': give a number"),
        ({"min_count": "5"}, "min_count is '5': give a whole number"),
        ({"min_count": 1.5}, "min_count is 1.5: give a whole number"),
        ({"ns_exponent": "x"}, "ns_exponent is 'x': give a number"),
        ({"max_final_vocab": "x"}, "max_final_vocab is 'x': give a whole number or none"),
        ({"max_final_vocab": -2}, "max_final_vocab is -2: give a whole number of 1 or more"),
        ({"epochs": "3"}, "epochs is '3': give a whole number"),
        ({"alpha": "x"}, "alpha is 'x': give a number"),
        ({"sg": None}, "sg is None: give a whole number"),
        ({"shrink_windows": "no"}, "shrink_windows is 'no': give true or false"),
    ],
)
@both
def test_an_argument_that_has_no_place_is_a_sentence(kind: Any, small: Any, wrong: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        kind(no_text(), **{**small, **wrong})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"min_n": -1}, "min_n is -1: give a whole number of 0 or more"),
        ({"max_n": 100}, "max_n is 100: give a whole number from 0 to 99"),
        ({"bucket": -1}, "bucket is -1: give a whole number from 0"),
    ],
)
def test_an_argument_of_ngrams_that_has_no_place_is_a_sentence(wrong: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FastText(no_text(), **{**NGRAMS, **wrong})


def test_a_rate_of_0_is_a_sentence() -> None:
    with pytest.raises(InputError, match=r"alpha is 0.0: give a number above 0"):
        Word2Vec(TEXT, **SMALL, alpha=0, min_alpha=0)


@pytest.mark.parametrize(
    "taken",
    [
        {"min_count": 1.0, "batch_words": 1e4, "max_vocab_size": 1e6, "max_final_vocab": 7.0, "vector_size": 12.0},
        {"min_count": np.int64(1), "alpha": np.float32(0.05), "sample": 0, "null_word": True, "sorted_vocab": True},
        {"shrink_windows": 0, "cbow_mean": False, "sg": True},
    ],
)
@both
def test_what_is_trained_with_is_saved(kind: Any, small: Any, taken: Any, tmp_path: Path) -> None:
    model = kind(TEXT, **{**small, **taken})
    model.save(tmp_path / "model")
    assert_equal(train_more(kind.load(tmp_path / "model")), train_more(model))


def test_what_train_and_build_vocab_take_is_saved(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    model.build_vocab(TEXT, min_count=1.0)
    model.train(TEXT, total_words=1, epochs=np.int64(2), compute_loss=1, start_alpha=np.float32(0.05))
    assert model.get_latest_training_loss() > 0
    model.save(tmp_path / "model")
    assert Word2Vec.load(tmp_path / "model").compute_loss is True
    for wrong in ({"epochs": "2"}, {"epochs": None}, {"epochs": 0}, {"start_alpha": "x"}, {"end_alpha": "x"}):
        (value,) = wrong.values()
        with pytest.raises(InputError, match=f"(epochs|alpha|min_alpha) is {value!r}: give"):
            model.train(no_text(), total_words=1, **{"epochs": 1, **wrong})
    with pytest.raises(InputError, match="min_count is '5': give"):
        model.build_vocab(TEXT, min_count="5")
    with pytest.raises(InputError, match="sample is -1: give"):
        model.build_vocab(TEXT, sample=-1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [([[7, 8]], "among whole numbers"), ([["a", "b\x1fc"]], r"U\+001E or U\+001F")],
)
def test_words_that_no_model_holds_change_nothing(text: Any, sentence: str, tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    words, counts = list(model.wv.index_to_key), model.wv.expandos["count"].copy()
    with pytest.raises(InputError, match=sentence):
        model.build_vocab(text, update=True)
    assert (model.wv.index_to_key, list(model.wv.key_to_index)) == (words, words)
    assert_array_equal(model.wv.expandos["count"], counts)
    train_more(model).save(tmp_path / "model")


@pytest.mark.parametrize("counts", [{"a": 3, 1: 3}, {"a": 3, "b\x1fc": 3}, {"a": 3, "\ud800": 3}])
@pytest.mark.parametrize("update", [False, True])
def test_frequencies_of_what_is_no_word_change_nothing(counts: Any, update: bool, tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    with pytest.raises(InputError):
        model.build_vocab_from_freq(counts, update=update)
    train_more(model).save(tmp_path / "model")


@pytest.mark.parametrize("lengths", [{"min_n": 0, "max_n": 0}, {"max_n": 0}, {"min_n": 5, "max_n": 2}])
def test_there_may_be_no_ngrams(lengths: Any, tmp_path: Path) -> None:
    model = FastText(TEXT, **NGRAMS, **lengths)
    assert_array_equal(model.wv.vectors, model.wv.vectors_vocab)
    model.save(tmp_path / "model")
    again = FastText.load(tmp_path / "model")
    assert_equal(again, model)
    assert_equal(train_more(again), train_more(model))
    theirs = gensim_models.FastText(TEXT, **NGRAMS, **lengths)
    assert ("unheard" in model.wv) == ("unheard" in theirs.wv)
    assert_array_equal(FastText.adopt(theirs).wv.vectors, theirs.wv.vectors)


def test_the_shortest_ngrams_have_a_character() -> None:
    model = FastText(TEXT, **NGRAMS, min_n=0, max_n=2)
    assert_equal(model, FastText(TEXT, **NGRAMS, min_n=1, max_n=2))
    theirs = gensim_models.fasttext.ft_ngram_hashes("cat", 0, 2, 500)
    assert sorted(model.wv.buckets_word[model.wv.key_to_index["cat"]].tolist()) == sorted(theirs)
    train_more(FastText.adopt(gensim_models.FastText(TEXT, **NGRAMS, min_n=0, max_n=2)))


def test_what_cannot_be_adopted_is_a_sentence() -> None:
    theirs = gensim_models.Word2Vec(TEXT, **SMALL)
    for odd in (theirs.wv, None, gensim_models.FastText(TEXT, **NGRAMS), gensim_models.Doc2Vec()):
        with pytest.raises(InputError, match=r"model is .*: give a Word2Vec of gensim"):
            Word2Vec.adopt(odd)
    with pytest.raises(InputError, match=r"model is .*: give a FastText of gensim"):
        FastText.adopt(theirs)
    del theirs.wv.expandos["count"]
    with pytest.raises(InputError, match="the words of this model have no counts"):
        Word2Vec.adopt(theirs)


@pytest.mark.parametrize("kind", ["Word2Vec", "FastText"])
def test_a_model_without_words_is_adopted(kind: str) -> None:
    ours = {"Word2Vec": Word2Vec, "FastText": FastText}[kind]
    small = {"Word2Vec": SMALL, "FastText": NGRAMS}[kind]
    model = ours.adopt(getattr(gensim_models, kind)(**small))
    model.build_vocab(TEXT)
    assert_equal(train_more(model), ours(TEXT, **small))


def test_words_without_counts_are_a_sentence(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    del model.wv.expandos["count"]
    for call in (
        train_more,
        lambda model: model.save(tmp_path / "model"),
        lambda model: model.build_vocab(TEXT, update=True),
    ):
        with pytest.raises(InputError, match="the words of this model have no counts"):
            call(model)
