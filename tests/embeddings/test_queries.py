"""Queries of several words and comparisons of words, against double-precision brute force and gensim."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tests.oracles import cosine, signed_scores
from vastmax.embeddings import Embeddings, train
from vastmax.errors import InputError, UnknownWordError
from vastmax.integrations import to_gensim
from vastmax.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def theirs(random: Embeddings) -> Any:
    """The same words as gensim KeyedVectors."""
    pytest.importorskip("gensim")
    return to_gensim(random)


def best(scores: list[float], out: set[int], k: int) -> list[int]:
    return sorted((row for row in range(len(scores)) if row not in out), key=lambda row: -scores[row])[:k]


def words_of(rows: list[int]) -> list[str]:
    return [f"word{row}" for row in rows]


@settings(max_examples=30)
@given(st.data())
def test_signed_words_equal_brute_force(random: Embeddings, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, 1999), min_size=1, max_size=8, unique=True))  # with repeats they may cancel
    place = data.draw(st.integers(0, len(ids)))
    positive, negative = ids[:place], ids[place:]
    weights = [data.draw(st.floats(0.1, 10)) for _ in positive]
    scores = signed_scores(
        random.vectors,
        [*((random.vectors[row], weight) for row, weight in zip(positive, weights, strict=True))]
        + [(random.vectors[row], -1) for row in negative],
    )
    found = random.nearest(
        positive=[(f"word{row}", weight) for row, weight in zip(positive, weights, strict=True)],
        negative=[row if row % 2 else f"word{row}" for row in negative],
        k=8,
    )
    rows = [random.id_of(word) for word, _ in found]
    assert not {*rows} & {*positive, *negative}
    assert_allclose([score for _, score in found], [scores[row] for row in rows], atol=1e-6)
    kept = np.delete(scores, [*positive, *negative])
    assert_allclose([score for _, score in found], np.sort(kept)[::-1][:8], atol=1e-6)


def test_vectors_count_by_their_direction_and_words_in_them_are_answers(random: Embeddings) -> None:
    found = random.nearest(positive=[random["word5"] * 1e6, "word9"], negative=random["word7"] * 1e-6, k=9)
    scores = signed_scores(random.vectors, [(random["word5"], 1), (random["word9"], 1), (random["word7"], -1)])
    assert [word for word, _ in found] == words_of(best(scores, {9}, 9))
    assert random.nearest(positive=[(random["word5"], 9)], negative="word7", k=1)[0].word == "word5"
    assert random.nearest(positive=random.vectors[5:8], k=4) == random.nearest(positive=[*random.vectors[5:8]], k=4)
    assert random.nearest(positive=[random["word5"].tolist()], k=1)[0].word == "word5"


def test_a_single_word_is_what_it_always_was(random: Embeddings) -> None:
    plain = random.nearest("word5", k=7)
    for word in ("word5", 5, np.int64(5)):
        found = random.nearest(positive=word, k=7)
        assert [word for word, _ in found] == [word for word, _ in plain]
        assert_allclose([score for _, score in found], [score for _, score in plain], atol=1e-6)
    assert random.nearest(positive="word5", negative="word5", k=2) == [("word0", 0.0), ("word1", 0.0)]
    assert random.nearest(negative="word5", k=1)[0].score > 0
    analogy = random.analogy("word4", "word9", "word2", k=5)
    found = random.nearest(positive=["word9", "word2"], negative=["word4"], k=5)
    assert [word for word, _ in found] == [word for word, _ in analogy]
    assert_allclose([score for _, score in found], [score for _, score in analogy], atol=1e-6)


def test_signed_words_equal_gensim(random: Embeddings, theirs: Any) -> None:
    generator = np.random.default_rng(1)
    for size in (1, 2, 3, 6):
        words = words_of(generator.choice(2000, 2 * size, replace=False).tolist())
        for positive, negative in (
            (words[:size], words[size:]),
            (words, []),
            ([(word, 0.5 + place) for place, word in enumerate(words[:size])], [(word, -2.5) for word in words[size:]]),
        ):
            for limit in (None, 300):
                expected = theirs.most_similar(positive, negative, topn=12, restrict_vocab=limit)
                found = random.nearest(positive=positive, negative=negative, k=12, among=limit)
                assert [word for word, _ in found] == [word for word, _ in expected]
                assert_allclose([score for _, score in found], [score for _, score in expected], atol=2e-6)


def test_among(random: Embeddings) -> None:
    scores = [cosine(random["word17"], row) for row in random.vectors]
    some = [1900, 3, 44, 44, 17, 800, 2]
    for among in (some, words_of(some), np.array(some), iter(some)):
        found = random.nearest("word17", k=4, among=among)
        assert [word for word, _ in found] == words_of(best(scores, {*range(2000)} - {1900, 3, 44, 800, 2}, 4))
    assert len(random.nearest("word17", among=some)) == 5
    assert [word for word, _ in random.nearest(random["word17"], k=1, among=some)] == ["word17"]
    assert random.nearest("word17", among=[]) == []
    assert random.nearest("word17", among="word3")[0].word == "word3"
    first = random.nearest("word17", k=9, among=100)
    assert [word for word, _ in first] == words_of(best(scores, {17, *range(100, 2000)}, 9))
    assert random.nearest("word17", k=9, among=range(100)) == first
    assert random.nearest("word17", among=10**9) == random.nearest("word17")
    together = random.nearest(["word17", "word3"], k=3, among=some)
    assert [[word for word, _ in row] for row in together] == [
        [word for word, _ in random.nearest(each, k=3, among=some)] for each in ("word17", "word3")
    ]


def test_equal_scores_by_id_among_words(random: Embeddings) -> None:
    twins = Embeddings(np.repeat(random.vectors[:5], 400, axis=0), random.vocabulary)
    rows = [1999, 3, 1601, 1700, 40, 0]
    assert [word for word, _ in twins.nearest("word1650", k=6, among=rows)][:3] == ["word1601", "word1700", "word1999"]
    assert [word for word, _ in twins.nearest(twins["word0"], k=3, among=rows)] == ["word0", "word3", "word40"]


def test_exclude(random: Embeddings) -> None:
    plain = [word for word, _ in random.nearest("word17", k=12)]
    found = random.nearest("word17", k=10, exclude=[plain[0], random.id_of(plain[3])])
    assert [word for word, _ in found] == [word for place, word in enumerate(plain) if place not in (0, 3)]
    assert random.nearest("word17", k=1, exclude=plain[0])[0].word == plain[1]
    assert random.nearest(["word17"], k=1, exclude=plain[0])[0][0].word == plain[1]
    assert random.nearest(random["word17"], k=1, exclude="word17")[0].word == plain[0]
    assert random.nearest(positive="word17", k=1, exclude=plain[0], among=[*plain])[0].word == plain[1]


def test_wrong_queries(random: Embeddings) -> None:
    for wrong, sentence in (
        ({"positive": "nothing"}, "'nothing' is not in the vocabulary"),
        ({"positive": "word1", "among": ["nothing"]}, "'nothing' is not in the vocabulary"),
        ({"positive": "word1", "exclude": ["nothing"]}, "'nothing' is not in the vocabulary"),
    ):
        with pytest.raises(UnknownWordError, match=sentence):
            random.nearest(**wrong)  # type: ignore[call-overload]
    for wrong, sentence in (
        ({}, r"^the query is .*: give words, or vectors of shape \(20,\)"),
        ({"positive": [], "negative": []}, r"^the query is .*: give words, or vectors"),
        (
            {"query": "word1", "negative": "word2"},
            "^the query is 'word1': give either a query, or positive and negative",
        ),
        (
            {"positive": [np.ones(3)]},
            r"^positive is float64 of shape \(3,\): give words, ids, or vectors of shape",
        ),
        ({"negative": [1.5]}, "^negative is 1.5: give words, ids, or vectors"),
        ({"negative": [["word1"]]}, r"^negative is \['word1'\]: give words, ids, or vectors"),
        ({"negative": 1.5}, "^negative is 1.5: give words, ids or vectors"),
        ({"positive": b"word1"}, "^positive is b'word1': give words, ids or vectors"),
        ({"positive": [np.full(20, np.nan)]}, "^positive contains NaN or infinity: give finite numbers"),
        ({"positive": [("word1", "2")]}, "^a weight in positive is '2': give a finite number of 0 or more"),
        ({"positive": [("word1", np.inf)]}, "^a weight in positive is inf: give a finite number of 0 or more"),
        ({"positive": [("word1", -1)]}, "^a weight in positive is -1: give a finite number of 0 or more"),
        ({"negative": [("word1", 1)]}, "^a weight in negative is 1: give a finite number of 0 or less, as weights"),
        ({"query": "word1", "among": 0}, "^among is 0: give a whole number of 1 or more, or words"),
        ({"query": "word1", "among": 2.5}, "^among is 2.5: give words, ids or vectors"),
        ({"query": "word1", "exclude": None}, "^exclude is None: give words, ids or vectors"),
        ({"positive": "word1", "k": 0}, "^k is 0: give a whole number of 1 or more"),
    ):
        with pytest.raises(InputError, match=sentence):
            random.nearest(**wrong)  # type: ignore[call-overload]


def test_whole_numbers_are_ids_and_floats_a_vector(random: Embeddings) -> None:
    ids = np.arange(20)  # as many as there are dimensions
    answers = random.nearest(ids, 3)
    assert answers == random.nearest(ids.tolist(), 3) == random.nearest(ids.astype(np.uint8), 3)
    assert [len(each) for each in answers] == [3] * 20
    assert random.nearest(positive=ids, k=3) == random.nearest(positive=ids.tolist(), k=3)
    assert np.shape(random.similarity(ids, "word1")) == (20,)
    assert random.nearest(ids.astype(np.float32), 3) == random.nearest(ids.astype(float).tolist(), 3)
    for wrong in (
        lambda: random.nearest(random.vectors[:2].astype(int)),
        lambda: random.nearest(positive=[ids]),
        lambda: random.nearest(positive=[ids.tolist()]),
        lambda: random.similarity([ids], "word1"),
        lambda: random.rank(ids, "word1"),
        lambda: random.rank("word1", ids.tolist()),
    ):
        with pytest.raises(InputError, match=r" is int64 of shape .*: give words.* of floats"):
            wrong()


def test_a_vector_may_be_a_list(random: Embeddings) -> None:
    vector = random["word17"]
    assert random.rank(vector.tolist(), "word3") == random.rank(vector, "word3")  # type: ignore[arg-type]
    assert random.rank("word3", vector.tolist()) == random.rank("word3", vector)  # type: ignore[arg-type]


def test_true_and_false_are_no_words(random: Embeddings) -> None:
    mask = np.arange(2000) < 5
    assert True not in random
    assert np.True_ not in random
    for wrong, sentence in (
        ({"query": "word1", "among": mask}, r"^among is bool of shape \(2000,\): give words, ids or vectors"),
        ({"query": "word1", "exclude": mask}, r"^exclude is bool of shape \(2000,\): give words, ids or vectors"),
        ({"query": "word1", "among": mask.tolist()}, "^among is True: give words or ids"),
        ({"query": "word1", "among": True}, "^among is True: give a whole number of 1 or more, or words"),
        ({"query": "word1", "exclude": [True]}, "^exclude is True: give words or ids"),
        ({"query": "word1", "among": random["word3"]}, r"^among is float32 of shape \(20,\): give words or ids"),
        ({"query": "word1", "exclude": [random["word3"]]}, r"^exclude is float32 of shape \(20,\): give words or ids"),
        ({"query": mask[:20]}, r"^the query is bool of shape \(20,\): give words, or vectors"),
        ({"query": True}, "^the query is True: give words, or vectors"),
        ({"positive": mask}, r"^positive is bool of shape \(2000,\): give words, ids or vectors"),
        ({"positive": [True]}, "^positive is True: give words, ids, or vectors"),
    ):
        with pytest.raises(InputError, match=sentence):
            random.nearest(**wrong)
    with pytest.raises(UnknownWordError, match=r"^the word True is unknown: give an id from 0 to 1999"):
        random[True]
    with pytest.raises(UnknownWordError, match=r"^the word float32 of shape \(20,\) is unknown: give an id from"):
        random.id_of(random["word3"])  # type: ignore[arg-type]


def test_very_large_weights(random: Embeddings) -> None:
    plain = random.nearest(positive=["word1", "word2"], negative=["word3"], k=3)
    huge = [(f"word{row}", 1.7e308) for row in (1, 2)]
    assert random.nearest(positive=huge, negative=[("word3", -1.7e308)], k=3) == plain


def test_similarity_of_several(random: Embeddings) -> None:
    a, b = [3, "word8", random["word9"]], ["word1", random["word3"].astype(np.float64) * 1e200]
    matrix = random.similarity(a, b)
    expected = [[cosine(random.vectors[x], random.vectors[y]) for y in (1, 3)] for x in (3, 8, 9)]
    assert_allclose(matrix, expected, atol=1e-14)
    assert isinstance(matrix, np.ndarray)
    assert matrix.dtype == np.float64
    assert_allclose(random.similarity(3, b), expected[0], atol=1e-14)
    assert_allclose(random.similarity(a, "word1"), [row[0] for row in expected], atol=1e-14)
    assert random.similarity(random["word3"], "word1") == random.similarity("word3", "word1")
    assert random.similarity(random["word3"], random["word3"]) == 1
    assert_allclose(random.similarity(random.vectors[:4], [1]), random.similarity([0, 1, 2, 3], [1]), atol=0)
    assert np.shape(random.similarity([], a)) == (0, 3)
    zeros = Embeddings(np.array([[0, 0], [1, 0]]), Vocabulary(["a", "b"], [2, 1]))
    assert zeros.similarity(["a", "b"], ["a", "b"]).tolist() == [[0, 0], [0, 1]]  # type: ignore[union-attr]
    for wrong in ([None], [1.5, 2.5], np.ones((2, 3)), None, [np.full(20, np.inf)]):
        with pytest.raises(InputError, match=r"^[ab] (is|contains) .*: give "):
            random.similarity(wrong, "word1")


def test_rank(random: Embeddings, theirs: Any) -> None:
    scores = np.array([cosine(random["word17"], row) for row in random.vectors])
    order = [row for row in np.argsort(-scores).tolist() if row != 17]
    for place in (0, 1, 700, 1998):
        assert random.rank("word17", f"word{order[place]}") == place + 1
        assert theirs.rank("word17", f"word{order[place]}") == place + 1
    assert random.rank(17, 17) == 1
    assert random.rank(random["word17"], f"word{order[0]}") == 2  # a vector excludes no word: word17 is nearer
    for unknown in ("nothing", 2000):
        with pytest.raises(UnknownWordError):
            random.rank("word17", unknown)
    damaged = Embeddings(np.where(np.arange(2000)[:, None] == 7, np.nan, random.vectors), random.vocabulary)
    with pytest.raises(InputError, match="the vector of 'word7' contains NaN"):
        damaged.rank("word1", "word2")


def test_equal_vectors_share_a_rank(random: Embeddings) -> None:
    factors = 2.0 ** np.random.default_rng(2).integers(-40, 40, (2000, 1))  # powers of two: exact in every precision
    twins = Embeddings(np.repeat(random.vectors[:5], 400, axis=0) * factors, random.vocabulary)
    expected = sorted((-cosine(twins.vectors[0], twins.vectors[row]), row) for row in range(0, 2000, 400))
    for place, (_, row) in enumerate(expected):
        ranks = {twins.rank(0, other) for other in (row + 1, row + 7, row + 399)}
        assert ranks == {1 if place == 0 else 400 * place}


def test_doesnt_match(random: Embeddings, theirs: Any) -> None:
    generator = np.random.default_rng(3)
    for size in (3, 4, 9):
        words = words_of(generator.choice(2000, size, replace=False).tolist())
        assert random.doesnt_match(words) == theirs.doesnt_match(words)
        ids = [random.id_of(word) for word in words]
        assert random.word_of(int(random.doesnt_match(ids))) == theirs.doesnt_match(words)
        scores = signed_scores([random[word] for word in words], [(random[word], 1) for word in words])
        assert random.doesnt_match(words) == words[int(np.argmin(scores))]
    assert random.doesnt_match(["word1", "word2", "word2", "word1"]) == "word1"  # the first of tied words
    for wrong in ([], ["word1", "word2"], "word1"):
        with pytest.raises(InputError, match=r"^words is .*: give a list of three words or more"):
            random.doesnt_match(wrong)
    with pytest.raises(UnknownWordError, match="'nothing'"):
        random.doesnt_match(["word1", "word2", "nothing"])


def test_words_that_were_never_seen() -> None:
    text = [["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 40
    options: dict[str, Any] = {"dim": 6, "epochs": 3, "threads": 1, "subwords": "3-4", "buckets": 500}
    embeddings = train(text, keep_output_vectors=True, **options)
    unseen = embeddings["teas"]
    assert "teas" not in embeddings
    found = embeddings.nearest(positive=["teas", "milk"], negative=["sugars"], exclude=["coffees"], k=5)
    scores = signed_scores(embeddings.vectors, [(unseen, 1), (embeddings["milk"], 1), (embeddings["sugars"], -1)])
    ids = [embeddings.id_of(word) for word, _ in found]
    assert ids == best(scores, {embeddings.id_of("milk")}, 5)
    matrix = embeddings.similarity(["teas", "milk"], ["sugar"])
    assert_allclose(matrix[0, 0], cosine(unseen, embeddings["sugar"]), atol=1e-12)  # type: ignore[index]
    by_cosine = [word for word, _ in embeddings.nearest("teas")]
    assert [embeddings.rank("teas", word) for word in by_cosine] == [1, 2, 3, 4, 5]
    assert embeddings.doesnt_match(["teas", "tea", "sugar"]) == "sugar"
    assert embeddings.predict(["teas"]) == embeddings.predict([unseen])  # type: ignore[list-item]
    with pytest.raises(UnknownWordError):
        embeddings.nearest("tea", among=["teas"])  # it has no row
