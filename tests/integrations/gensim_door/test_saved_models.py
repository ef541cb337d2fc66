"""User changes to a model survive saving and further training: added words, locks, attributes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vastmax.errors import FormatError, InputError

pytest.importorskip("gensim")

from gensim.models.callbacks import CallbackAny2Vec

from tests.integrations.gensim_door.models import (
    MORE,
    NGRAMS,
    SMALL,
    TEXT,
    assert_equal,
    both,
    objectives,
    train_more,
)
from vastmax.integrations.gensim import FastText, Word2Vec

ADDED = np.linspace(-1, 1, 12, dtype=np.float32)
ways = pytest.mark.parametrize("way", ["add_vectors", "add_vector", "item"])


def with_a_word(kind: Any, way: str = "add_vectors", **settings: Any) -> Any:
    model = kind(TEXT, **settings)
    if way == "add_vectors":
        model.wv.add_vectors(["moon"], [ADDED])
    elif way == "item":
        model.wv["moon"] = ADDED
    else:
        with pytest.warns(UserWarning, match="Adding single vectors"):
            model.wv.add_vector("moon", ADDED)
    return model


@both
@objectives
@ways
def test_an_added_word_is_saved(kind: Any, small: Any, objective: Any, way: str, tmp_path: Path) -> None:
    model = with_a_word(kind, way, **small, **objective)
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert_allclose(again.wv["moon"], ADDED, atol=1e-5)
    assert again.wv.get_vecattr("moon", "count") == 0
    assert_equal(again, model)


@both
@objectives
@ways
def test_an_added_word_is_trained(kind: Any, small: Any, objective: Any, way: str) -> None:
    model = with_a_word(kind, way, **small, **objective)
    train_more(model)
    if kind is Word2Vec:
        assert_array_equal(model.wv["moon"], ADDED)  # not in the text
    before = model.wv["moon"].copy()
    train_more(model, [["moon", "cat", "sat"]] * 50)
    assert not np.array_equal(model.wv["moon"], before)


@both
@objectives
@ways
def test_an_added_word_stays_before_those_of_an_update(kind: Any, small: Any, objective: Any, way: str) -> None:
    model = with_a_word(kind, way, **small, **objective)
    words = list(model.wv.index_to_key)
    model.build_vocab([*MORE, ["moon"]], update=True)
    assert model.wv.index_to_key == [*words, "bird"]
    assert [model.wv.get_vecattr(word, "count") for word in ("moon", "bird")] == [1, 60]
    train_more(model, MORE)
    assert np.isfinite(model.wv.vectors).all()


@both
def test_words_that_a_callback_adds_are_refused_and_kept(kind: Any, small: Any) -> None:
    class Adds(CallbackAny2Vec):
        def on_epoch_end(self, model: Any) -> None:
            model.wv.add_vectors(["moon"], [ADDED])

    model = kind(TEXT, **small)
    with pytest.raises(InputError, match="on_epoch_end of a callback added words: add them before training"):
        train_more(model, callbacks=[Adds()])
    assert_allclose(model.wv["moon"], ADDED, atol=1e-5)
    train_more(model)


@both
@ways
def test_an_added_word_has_a_place_in_the_tree(
    kind: Any, small: Any, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = with_a_word(kind, way, **small, hs=1, negative=0)
    assert np.isfinite(model.score([["moon", "cat"]])).all()
    assert caplog.text.count("changes the tree of hierarchical softmax") == 1
    model.save(tmp_path / "model")
    assert_array_equal(kind.load(tmp_path / "model").score(TEXT), model.score(TEXT))
    assert caplog.text.count("changes the tree of hierarchical softmax") == 1


def test_vectors_that_do_not_fit_the_words_are_a_sentence(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    model.wv.vectors = model.wv.vectors[:3]
    for call in (train_more, lambda model: model.save(tmp_path / "model")):
        with pytest.raises(InputError, match=r"wv\.vectors is float32 of shape \(3, 12\): give .* shape \(7, 12\)"):
            call(model)
    model = Word2Vec(TEXT, **SMALL)
    model.syn1neg = model.syn1neg[:, :5]
    with pytest.raises(InputError, match=r"syn1neg is float32 of shape \(7, 5\)"):
        train_more(model)

    class Cuts(CallbackAny2Vec):
        def on_epoch_begin(self, model: Any) -> None:
            model.wv.vectors = model.wv.vectors[:3]

    model = Word2Vec(TEXT, **SMALL)
    with pytest.raises(InputError, match=r"vectors is float32 of shape \(3, 12\): give an array of shape \(7, 12\)"):
        train_more(model, callbacks=[Cuts()])


@both
def test_locks_are_saved(kind: Any, small: Any, tmp_path: Path) -> None:
    model = kind(TEXT, **small)
    name = "vectors_lockf" if kind is Word2Vec else "vectors_vocab_lockf"
    setattr(model.wv, name, np.array([1, 0, 1, 1, 0, 1, 1], np.float32))
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert_array_equal(getattr(again.wv, name), getattr(model.wv, name))
    if kind is Word2Vec:
        before = again.wv.vectors.copy()
        train_more(again)
        assert_array_equal(np.flatnonzero((again.wv.vectors == before).all(1)), [1, 4])


@both
def test_attributes_of_words_are_saved(kind: Any, small: Any, tmp_path: Path) -> None:
    model = kind(TEXT, **small)
    given = {"weight": 0.25, "rank": 3, "kind": "animal", "sure": True, "senses": ["pet", {"law": "Felis"}]}
    for name, value in given.items():
        model.wv.set_vecattr("cat", name, value) if name != "senses" else model.wv.allocate_vecattrs([name], [object])
    model.wv.expandos["senses"][model.wv.key_to_index["cat"]] = given["senses"]
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert {name: again.wv.get_vecattr("cat", name) for name in given} == given
    for name, array in model.wv.expandos.items():
        assert again.wv.expandos[name].dtype == array.dtype
        assert_array_equal(again.wv.expandos[name], array)
    model.wv.expandos["senses"][0] = object()
    with pytest.raises(InputError, match=r"the attribute 'senses' of words contains .*, which cannot be saved: give"):
        model.save(tmp_path / "model")
    assert kind.load(tmp_path / "model").wv.get_vecattr("cat", "rank") == 3
    model.wv.expandos["senses"] = np.zeros(2)  # too few
    model.save(tmp_path / "model")
    with pytest.raises(FormatError, match="the attribute 'senses' is not one value for each of 7 words"):
        kind.load(tmp_path / "model")


def test_ngrams_of_zero_stay_zero(tmp_path: Path) -> None:
    model = FastText(TEXT, **NGRAMS)
    model.wv.vectors_ngrams[:] = 0
    model.save(tmp_path / "model")
    again = FastText.load(tmp_path / "model")
    assert not again.wv.vectors_ngrams.any()
    again.build_vocab(MORE, update=True)
    old = np.unique(np.concatenate(again.wv.buckets_word[:7]))
    assert not again.wv.vectors_ngrams[old].any() and again.wv.vectors_ngrams.any()


def test_ngrams_of_an_update_begin_otherwise_than_the_first() -> None:
    model = FastText(**{**NGRAMS, "bucket": 100_000})
    rows = []
    for words in (["cat"], ["zebra"], ["horses"]):
        met = model.wv.vectors_ngrams.any(1) if rows else np.zeros(100_000, bool)
        model.build_vocab([words] * 3, update=bool(rows))
        rows.append(model.wv.vectors_ngrams[model.wv.vectors_ngrams.any(1) & ~met])
    all_rows = np.concatenate(rows)
    assert len(rows[2]) > 5 and len(np.unique(all_rows, axis=0)) == len(all_rows)


class Mine(Word2Vec):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)


def test_a_class_of_ones_own_keeps_its_settings(tmp_path: Path) -> None:
    model = Mine(TEXT, **SMALL)
    model.save(tmp_path / "model")
    again = Mine.load(tmp_path / "model")
    assert (again.vector_size, again.epochs) == (12, 2)
    assert_equal(again, model)


def test_time_is_summed_up_and_saved(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    once = model.total_train_time
    assert train_more(model).total_train_time > once > 0
    model.save(tmp_path / "model")
    assert Word2Vec.load(tmp_path / "model").total_train_time == model.total_train_time


@both
@objectives
def test_a_callback_may_save_and_changes_nothing(kind: Any, small: Any, objective: Any, tmp_path: Path) -> None:
    class Saves(CallbackAny2Vec):
        def on_epoch_begin(self, model: Any) -> None:
            model.save(tmp_path / "model")

        on_train_begin = on_epoch_end = on_epoch_begin

    model = train_more(kind(TEXT, **small, **objective), callbacks=[Saves()])
    assert_equal(model, train_more(kind(TEXT, **small, **objective)))
    assert_equal(kind.load(tmp_path / "model"), model)
