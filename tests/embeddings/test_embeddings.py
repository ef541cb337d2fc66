import sys
from subprocess import run

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.oracles import analogy_scores, cosine
from vastmax.embeddings import Embeddings
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary


def test_shapes_must_fit() -> None:
    vocabulary = Vocabulary(["a", "b"], [2, 1])
    with pytest.raises(InputError, match="3 rows and the vocabulary has 2"):
        Embeddings(np.ones((3, 2)), vocabulary)
    with pytest.raises(InputError, match="output_vectors has 3 columns and vectors has 2"):
        Embeddings(np.ones((2, 2)), vocabulary, np.ones((5, 3)))
    with pytest.raises(InputError, match="vectors contains numbers beyond 3e38, the largest of float32"):
        Embeddings(np.array([[1e39, 0], [1, 1]]), vocabulary)
    for wrong in (np.ones(2), np.ones((2, 0)), np.array([["x"], ["y"]])):
        with pytest.raises(InputError, match=r"vectors is .*: give numbers"):
            Embeddings(wrong, vocabulary)


def test_float32_is_not_copied() -> None:
    padded = np.zeros((2, 16), np.float32)
    view = padded[:, :10]
    assert np.shares_memory(Embeddings(view, Vocabulary(["a", "b"], [2, 1])).vectors, padded)
    assert Embeddings(np.ones((1, 2)), Vocabulary(["a"], [1])).vectors.dtype == np.float32


def test_words_and_ids(small: Embeddings) -> None:
    assert_array_equal(small["the"], small.vectors[0])
    assert_array_equal(small[3], small.vectors[3])
    assert_array_equal(small[["42", 0]], small.vectors[[6, 0]])
    assert "the" in small
    assert "The" not in small
    assert 9 in small
    assert 10 not in small
    assert -1 not in small
    assert None not in small
    for wrong in (3.0, None, b"\x01\x02", slice(1, 3)):
        with pytest.raises(KeyError, match=r"the word .* is unknown: give an id from 0 to 9"):
            small[wrong]  # type: ignore[index]
    assert len(small) == 10
    assert repr(small) == "Embeddings(words=10, dim=7)"


def test_classes_without_names() -> None:
    items = Embeddings(np.eye(4), Vocabulary(None, [4, 3, 2, 1]))
    assert items.nearest(2, k=1)[0].word == 0
    assert items.similarity(1, 1) == 1
    with pytest.raises(InputError, match="give an id from 0 to 3"):
        items.nearest("apple")


def test_unknown_word_comes_with_its_likes() -> None:
    words = ["Berlin", "coffee", "tea", "USA", "coffees"]
    embeddings = Embeddings(np.eye(5), Vocabulary(words, range(5, 0, -1)))
    for asked, meant in (("berlin", "Berlin"), ("usa", "USA"), ("cofee", "coffee or coffees"), ("TEA", "tea")):
        with pytest.raises(InputError, match=rf"'{asked}' is not in the vocabulary: give .*, perhaps {meant}\.$"):
            embeddings[asked]
    with pytest.raises(InputError, match=r"'zzzzzz' is not in the vocabulary: give a word that it contains\.$"):
        embeddings.nearest("zzzzzz")
    with pytest.raises(InputError, match="the word 7 is unknown: give an id from 0 to 4"):
        embeddings.similarity("tea", 7)


def test_an_unknown_word_is_a_key_error_that_reads_as_a_sentence(random: Embeddings) -> None:
    for unknown, sentence in (
        ("zzz", "'zzz' is not in the vocabulary: give a word that it contains."),
        (2000, "the word 2000 is unknown: give an id from 0 to 1999."),
    ):
        for ask in (
            lambda word: random[word],
            lambda word: random[["word1", word]],
            random.id_of,
            random.nearest,
            lambda word: random.similarity("word1", word),
            lambda word: random.analogy("word1", "word2", word),
        ):
            for kind in (KeyError, InputError):
                with pytest.raises(kind) as caught:
                    ask(unknown)
                assert str(caught.value) == sentence


def test_ids_and_words_that_are_numbers_are_not_taken_for_each_other() -> None:
    graph = Embeddings(np.eye(4), Vocabulary(["3", "1", "0", "x"], None))
    assert_array_equal(graph["3"], graph.vectors[0])
    assert_array_equal(graph[1], graph["1"])  # id and word name the same row
    for row, other in ((3, "x"), (0, "3")):
        for ask in (
            lambda id: graph[id],
            lambda id: graph[["x", id]],
            graph.nearest,
            lambda id: graph.similarity(id, "x"),
        ):
            with pytest.raises(
                InputError, match=f"{row} is ambiguous, the word '{row}' or the id of '{other}': give one"
            ):
                ask(row)
    assert_array_equal(graph[2], graph.vectors[2])  # unambiguous: no word "2"


def test_similarity_is_the_cosine(random: Embeddings) -> None:
    assert random.similarity("word3", "word8") == pytest.approx(cosine(random["word3"], random["word8"]), abs=1e-12)
    assert random.similarity("word3", "word3") == 1


def test_zero_vectors_are_like_nothing() -> None:
    embeddings = Embeddings(np.array([[0, 0], [1, 0], [-1, 0]]), Vocabulary(["zero", "a", "b"], [3, 2, 1]))
    assert embeddings.similarity("zero", "a") == 0
    assert embeddings.nearest("a") == [("zero", 0.0), ("b", -1.0)]
    assert embeddings.nearest("zero") == [("a", 0.0), ("b", 0.0)]
    assert len(embeddings.analogy("zero", "zero", "zero")) == 2


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1e-12, 1e12, 1e20, 1e36])
def test_answers_do_not_depend_on_the_scale(random: Embeddings, scale: float) -> None:
    scaled = Embeddings(random.vectors * np.float32(scale), random.vocabulary)
    for ask in (
        lambda e: e.nearest("word17", k=5),
        lambda e: e.nearest(e["word17"], k=5),
        lambda e: e.nearest(e["word17"].astype(np.float64) * 1e-200, k=5),
        lambda e: e.analogy("word1", "word2", "word3", k=5),
        lambda e: e.analogy("word1", "word2", "word3", k=5, method="3cosmul"),
        lambda e: [("", e.similarity("word1", "word2"))],
    ):
        plain, found = ask(random), ask(scaled)
        assert [word for word, _ in found] == [word for word, _ in plain]
        assert_allclose([score for _, score in found], [score for _, score in plain], atol=2e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_told(random: Embeddings, wrong: float) -> None:
    for query in (np.full(20, wrong), [wrong] * 20, np.where(np.eye(2, 20) > 0, wrong, 1.0)):
        with pytest.raises(InputError, match="the query contains NaN or infinity: give finite numbers"):
            random.nearest(query)
    vectors = random.vectors.copy()
    vectors[7, 3] = wrong
    damaged = Embeddings(vectors, random.vocabulary)
    for ask in (
        lambda: damaged.nearest("word1"),
        lambda: damaged.nearest("word7"),
        lambda: damaged.nearest(vectors[0]),
        lambda: damaged.similarity("word1", "word7"),
        lambda: damaged.analogy("word1", "word2", "word3"),
        lambda: damaged.analogy("word1", "word7", "word3"),
        lambda: damaged.cosines([1]),
    ):
        with pytest.raises(InputError, match="the vector of 'word7' contains NaN or infinity"):
            ask()
    assert damaged.similarity("word1", "word2") == random.similarity("word1", "word2")


def test_searches_follow_vectors_changed_in_place(random: Embeddings) -> None:
    changed = Embeddings(random.vectors.copy(), random.vocabulary)
    changed.nearest("word17")
    changed.vectors[::2] *= 1000
    changed.vectors[5] = changed.vectors[17] * 3
    fresh = Embeddings(changed.vectors.copy(), random.vocabulary)
    assert changed.nearest("word17") == fresh.nearest("word17")
    assert changed.nearest("word17")[0] == ("word5", pytest.approx(1, abs=1e-6))
    assert changed.nearest("word17")[0].score <= 1
    assert changed.analogy("word1", "word2", "word3") == fresh.analogy("word1", "word2", "word3")
    assert_array_equal(changed.cosines([4]), fresh.cosines([4]))


def test_nearest_equals_brute_force(random: Embeddings) -> None:
    cosines = [cosine(random["word17"], row) for row in random.vectors]
    best = sorted((i for i in range(2000) if i != 17), key=lambda i: -cosines[i])[:12]
    found = random.nearest("word17", k=12)
    assert [word for word, _ in found] == [f"word{i}" for i in best]
    assert_allclose([score for _, score in found], [cosines[i] for i in best], atol=1e-6)


def test_other_vectors_in_the_place_of_those_given(random: Embeddings) -> None:
    embeddings = Embeddings(random.vectors, random.vocabulary)
    embeddings.vectors = random.vectors.astype(np.float64)[::-1] * 2
    assert embeddings.vectors.dtype == np.float32
    found = embeddings.indexed().nearest("word5", k=3)
    assert [word for word, _ in found] == [word for word, _ in embeddings.nearest("word5", k=3)]
    own = np.ones((2000, 4), np.float32)
    embeddings.vectors = own
    assert embeddings.vectors is own
    embeddings.vectors = random.compressed("int8").table
    assert embeddings.dim == 20
    for wrong, sentence in (
        (own[:7], "^vectors has 7 rows and the vocabulary has 2,000 words"),
        (np.full((2000, 2), 1e39), "^vectors contains numbers beyond 3e38"),
        (own[0], "^vectors is float32 of shape .*: give numbers of shape"),
    ):
        with pytest.raises(InputError, match=sentence):
            embeddings.vectors = wrong
    assert embeddings.dim == 20


def test_kinds_of_queries(random: Embeddings) -> None:
    one = random.nearest("word5", k=4)
    together = random.nearest(["word5", "word6"], k=4)
    assert [word for word, _ in together[0]] == [word for word, _ in one]
    assert random.nearest([5, 6], k=4) == together
    assert random.nearest(np.int64(5), k=4)[0].word == one[0].word
    assert random.nearest([], k=4) == []
    vector = random.nearest(random["word5"] * 3, k=5)
    assert [word for word, _ in vector] == ["word5"] + [word for word, _ in one]
    rows = random.nearest(random.vectors[5:8], k=2)
    assert [row[0].word for row in rows] == ["word5", "word6", "word7"]
    assert random.nearest(random["word5"].tolist(), k=1)[0].word == "word5"


def test_wrong_queries(random: Embeddings) -> None:
    with pytest.raises(InputError, match=r"shape \(20,\)"):
        random.nearest(np.ones(3))
    for wrong in (None, b"word5", {"word5"}, [None], np.array(["word5"]), 1.5, [["word5"]]):
        with pytest.raises(InputError, match=r"the query is .*: give words, or vectors of shape \(20,\)"):
            random.nearest(wrong)  # type: ignore[call-overload]
    for k in (0, -1, 2.5, "3", True):
        with pytest.raises(InputError, match=r"k is .*: give a whole number of 1 or more"):
            random.nearest("word5", k=k)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="give '3cosadd' or '3cosmul'"):
        random.analogy("word1", "word2", "word3", method="cosine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not in the vocabulary"):
        random.nearest(["word5", "nothing"])


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_analogy_equals_brute_force(random: Embeddings, method: str) -> None:
    scores = analogy_scores(random.vectors, 4, 9, 2, method)
    best = sorted((i for i in range(2000) if i not in (4, 9, 2)), key=lambda i: -scores[i])[:8]
    found = random.analogy("word4", "word9", "word2", k=8, method=method)  # type: ignore[arg-type]
    assert [word for word, _ in found] == [f"word{i}" for i in best]
    assert_allclose([score for _, score in found], [scores[i] for i in best], rtol=1e-4)


def test_import_is_quick_and_light() -> None:
    code = "import sys, vastmax.embeddings; print([m for m in ('gensim', 'safetensors', 'scipy') if m in sys.modules])"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
