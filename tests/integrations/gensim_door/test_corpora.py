"""Texts as gensim users pass them: generators, files, sets, and texts that cannot be trained on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vastmax.errors import InputError

gensim_models = pytest.importorskip("gensim.models")

from gensim.models.word2vec import LineSentence, PathLineSentences  # noqa: E402

from tests.integrations.gensim_door.models import NGRAMS, SMALL, TEXT, arrays, assert_equal, both, train_more  # noqa: E402
from tests.integrations.gensim_door.test_word2vec import Recorder  # noqa: E402
from vastmax.integrations.gensim import Phrases, Word2Vec  # noqa: E402


def sentences() -> Iterator[list[str]]:
    yield from TEXT


def with_rare_words() -> Iterator[list[str]]:
    """Yield a text from which gensim, too, prunes the rarest words while reading, and no others."""
    for number in range(0, 300, 3):
        yield from (["the", "cat", "sat"], ["the", "dog", "sat"], ["the", f"a{number}"])


@both
def test_a_generator_of_which_the_rarest_are_dropped_is_read_once(kind: Any, small: Any) -> None:
    model, text = kind(with_rare_words(), **small, max_vocab_size=40), list(with_rare_words())
    theirs = getattr(gensim_models, kind.__name__)(**small, max_vocab_size=40)
    theirs.build_vocab(text)
    assert {"the", "cat", "sat", "dog"} < set(model.wv.index_to_key) == set(theirs.wv.index_to_key)
    assert len(model.wv) <= 40 and model.train_count == 1 and model.corpus_count == len(text)
    assert_equal(model, kind(text, **small, max_vocab_size=40))


def test_a_file_and_numbers_of_which_the_rarest_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(map(" ".join, with_rare_words())))
    assert_equal(
        Word2Vec(corpus_file=str(path), **SMALL, max_vocab_size=40),
        Word2Vec(with_rare_words(), **SMALL, max_vocab_size=40),
    )
    walks = ([number, 1, 2] for number in range(3, 200))
    assert set(Word2Vec(walks, **SMALL, max_vocab_size=8).wv.index_to_key[:2]) == {1, 2}


def test_lines_are_cut_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(line) for line in TEXT))
    for reader, source in ((LineSentence, path), (PathLineSentences, tmp_path)):
        cut = reader(str(source), max_sentence_length=2)
        model = Word2Vec(**SMALL)
        model.build_vocab(cut)
        assert model.corpus_count == len(list(cut)) > len(TEXT)
        assert_equal(Word2Vec(cut, **SMALL), Word2Vec(list(cut), **SMALL))
        assert_equal(Word2Vec(reader(str(source)), **SMALL), Word2Vec(TEXT, **SMALL))


@pytest.mark.parametrize("nothing", [[], [[]], [["unheard"]], [["unheard", "word"], []]])
@both
def test_a_batch_without_known_words_teaches_nothing(
    kind: Any, small: Any, nothing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model, recorder = kind(TEXT, **small), Recorder()
    before = {name: array.copy() for name, array in arrays(model).items()}
    passed = model.train(nothing, total_examples=1, epochs=2, callbacks=[recorder])
    assert passed == (0, 2 * sum(map(len, nothing)))
    assert "nothing is learned" in caplog.text
    assert recorder.calls == ["train begins", *["epoch begins", "epoch ends"] * 2, "train ends"]
    for name, array in arrays(model).items():
        assert_array_equal(array, before[name])
    theirs = gensim_models.Word2Vec(TEXT, **SMALL)
    assert theirs.train(nothing, total_examples=1, epochs=2) == passed
    train_more(model)


@both
def test_one_word_is_a_model_too(kind: Any, small: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    model = kind([["cat", "cat"]] * 5, **small)
    assert "nothing is learned" in caplog.text
    assert model.wv["cat"].any()
    model.save(tmp_path / "model")
    assert_equal(kind.load(tmp_path / "model"), model)
    model.build_vocab(TEXT, update=True)
    train_more(model)


@pytest.mark.parametrize("kind", [set, frozenset, tuple, iter, np.array, dict.fromkeys(()).fromkeys])
def test_sentences_of_any_kind(kind: Any) -> None:
    listed = [list(kind(sentence)) for sentence in TEXT]
    if kind == dict.fromkeys(()).fromkeys:
        with pytest.raises(InputError, match=r"sentence 1 of the corpus is \{'the'"):
            Word2Vec([kind(sentence) for sentence in TEXT], **SMALL)
    else:
        assert_equal(Word2Vec([kind(sentence) for sentence in TEXT], **SMALL), Word2Vec(listed, **SMALL))
        counted = Phrases([kind(sentence) for sentence in TEXT], min_count=1)
        assert counted.vocab == Phrases(listed, min_count=1).vocab


def test_walks_of_any_kind() -> None:
    walks = [[3, 1, 2], [2, 30, 3]] * 20
    for kind in (tuple, iter, np.array):
        assert_equal(Word2Vec(map(kind, walks), **SMALL), Word2Vec(walks, **SMALL))


@pytest.mark.parametrize("later", [["a", "b"], [1, "b"]])
def test_strings_behind_numbers_are_a_sentence(later: Any) -> None:
    with pytest.raises(InputError, match="among whole numbers: give only strings, or only whole numbers"):
        Word2Vec([[1, 2], later] * 9, **SMALL)


@pytest.mark.parametrize("later", ["12", b"12", {1: 2}])
def test_a_string_behind_numbers_is_a_sentence(later: Any) -> None:
    with pytest.raises(InputError, match="sentence 2 of the corpus is"):
        Word2Vec([[1, 2], later] * 9, **SMALL)


def test_what_is_no_sentence_is_told_with_its_place() -> None:
    with pytest.raises(TypeError, match="sentence 2 of the corpus is 7: give a list of words"):
        Word2Vec([["a", "b"], 7], **SMALL)


def test_a_loop_that_lowers_the_rate_below_0_ends_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = Word2Vec(TEXT, **{**SMALL, "alpha": 0.005})
    for step in range(5):
        model.alpha -= 0.002
        model.min_alpha = model.alpha
        before = model.wv.vectors.copy()
        assert train_more(model).alpha == pytest.approx(0.003 - 0.002 * step)
        assert np.array_equal(model.wv.vectors, before) == (step > 1)
    assert "with which nothing is learned: call train once, for all epochs" in caplog.text


def test_a_rate_below_min_alpha_stays_there() -> None:
    model = Word2Vec(TEXT, **SMALL)
    model.alpha = -0.001
    before = model.wv.vectors.copy()
    assert not np.array_equal(train_more(model).wv.vectors, before)


def test_ngrams_of_an_unused_bucket_are_zero() -> None:
    model = gensim_models.FastText(TEXT, **NGRAMS)  # gensim's are random and stay so
    from vastmax.integrations.gensim import FastText

    assert FastText.adopt(model).wv["qqqq"].any()
    assert not FastText(TEXT, **{**NGRAMS, "bucket": 100_000}).wv["qqqq"].any()
