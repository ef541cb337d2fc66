"""gensim's results and ours on the same vectors."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vastmax.embeddings import Embeddings, SubwordVectors, import_vectors, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.integrations import from_gensim, to_gensim
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

gensim_models = pytest.importorskip("gensim.models")


def assert_same(ours: list, theirs: list) -> None:
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    assert_allclose([score for _, score in ours], [score for _, score in theirs], rtol=1e-4)


def test_there_and_back(random: Embeddings) -> None:
    random = Embeddings(random.vectors, Vocabulary(random.vocabulary.words, range(4000, 2000, -1)))
    theirs = to_gensim(random)
    assert theirs.get_vecattr("word3", "count") == 3997
    assert not np.shares_memory(theirs.vectors, random.vectors)
    back = from_gensim(theirs)
    assert_array_equal(back.vectors, random.vectors)
    assert back.vocabulary == random.vocabulary


def test_without_counts_order_is_kept() -> None:
    theirs = gensim_models.KeyedVectors(2)
    theirs.add_vectors(["b", "a"], np.eye(2, dtype=np.float32))
    back = from_gensim(theirs)
    assert back.vocabulary.words == ["b", "a"]
    assert not back.vocabulary.counted
    assert "count" not in to_gensim(back).expandos


def test_counts_that_gensim_makes_up_are_unknown(random: Embeddings, tmp_path: Path) -> None:
    write_word2vec(random, tmp_path / "v.txt")
    theirs = gensim_models.KeyedVectors.load_word2vec_format(str(tmp_path / "v.txt"))
    assert theirs.get_vecattr("word0", "count") == 2000  # made up: the file has no counts
    assert not from_gensim(theirs).vocabulary.counted


def test_gensims_own_files_are_named(random: Embeddings, tmp_path: Path) -> None:
    for name in ("v.kv", "v.bin", "v.model"):
        to_gensim(random).save(str(tmp_path / name))
        with pytest.raises(FormatError, match=r"is saved by gensim: load it there .*from_gensim"):
            import_vectors(tmp_path / name)


def test_classes_without_names() -> None:
    assert to_gensim(Embeddings(np.eye(2), Vocabulary(None, [2, 1]))).index_to_key == ["0", "1"]


def test_nothing_in_it() -> None:
    with pytest.raises(InputError, match="contains no words"):
        from_gensim(gensim_models.KeyedVectors(2))


def test_nearest(random: Embeddings) -> None:
    theirs = to_gensim(random)
    for word in ("word0", "word77", "word1999"):
        assert_same(random.nearest(word, k=15), theirs.most_similar(word, topn=15))
    vector = random["word1"] + random["word2"]
    assert_same(random.nearest(vector, k=5), theirs.similar_by_vector(vector, topn=5))
    assert random.similarity("word1", "word2") == pytest.approx(theirs.similarity("word1", "word2"), abs=1e-6)


@pytest.mark.filterwarnings("ignore:Call to deprecated")
def test_analogies(random: Embeddings) -> None:
    theirs = to_gensim(random)
    for a, b, c in (("word1", "word2", "word3"), ("word50", "word60", "word50")):
        ours = random.analogy(a, b, c, k=10)
        assert_same(ours, theirs.most_similar(positive=[b, c], negative=[a], topn=10))
        multiplied = random.analogy(a, b, c, k=10, method="3cosmul")
        assert_same(multiplied, theirs.most_similar_cosmul(positive=[b, c], negative=[a], topn=10))


def test_what_is_not_finite_stays_here() -> None:
    with pytest.raises(InputError, match="the vector of 'b' contains NaN or infinity"):
        to_gensim(Embeddings(np.array([[1.0, 2], [np.nan, 1]]), Vocabulary(["a", "b"], None)))


@pytest.mark.parametrize("rule", [Subwords(2, 3, 50, 1, True), Subwords(2, 3, 50)])
def test_ngrams_that_gensim_has_no_place_for_are_told(rule: Subwords) -> None:
    held = np.arange(20)
    subwords = SubwordVectors(rule, np.ones((20, 2), np.float32), held, pruned=not rule.floret)
    with pytest.warns(UserWarning, match=r"gensim does not support (floret's|pruned) n-grams"):
        theirs = to_gensim(Embeddings(np.eye(2), Vocabulary(["a", "b"], [2, 1]), subwords=subwords))
    assert type(theirs) is gensim_models.KeyedVectors
