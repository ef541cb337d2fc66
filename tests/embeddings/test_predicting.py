"""Predicting the centre word: against brute force over words and over tree paths, and against gensim."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.corpora import sentences
from tests.oracles import Float64, tree_probabilities
from vastmax.embeddings import Embeddings, train
from vastmax.errors import InputError, UnknownWordError
from vastmax.trees import huffman_tree
from vastmax.vocabulary import Vocabulary

COUNTS = [90, 40, 40, 40, 12, 7, 7, 3, 1, 1, 1]
V = len(COUNTS)


def made(rows: int, config: dict[str, Any], counts: list[int] | None = COUNTS) -> Embeddings:
    generator = np.random.default_rng(4)
    vocabulary = Vocabulary([f"w{word}" for word in range(V)], counts)
    return Embeddings(generator.normal(size=(V, 6)), vocabulary, generator.normal(size=(rows, 6)), {"options": config})


def softmax(logits: Float64) -> Float64:
    weights = np.array([float(np.exp(np.longdouble(logit))) for logit in logits])
    return weights / weights.sum()


def assert_predicts(embeddings: Embeddings, expected: Float64, context: list[Any], **options: Any) -> None:
    found = embeddings.predict(context, V, **options)
    order = sorted(range(V), key=lambda word: -expected[word])
    assert [word for word, _ in found] == [f"w{word}" for word in order]
    assert_allclose([probability for _, probability in found], expected[order], rtol=1e-9)
    assert sum(probability for _, probability in found) == pytest.approx(1, abs=1e-12)
    assert embeddings.predict(context, 3, **options) == found[:3]


@pytest.mark.parametrize(
    "options", [{}, {"model": "skipgram"}, {"model": "cbow"}, {"model": "cbow", "cbow_combine": "sum"}]
)
@pytest.mark.parametrize("combine", [None, "mean", "sum"])
def test_over_the_output_vectors_of_words(options: dict[str, str], combine: Any) -> None:
    embeddings = made(V, options)
    exact, outputs = embeddings.vectors.astype(np.float64), embeddings.output_vectors.astype(np.float64)  # type: ignore[union-attr]
    hidden = exact[2] + exact[7] + exact[7]
    if (combine or options.get("cbow_combine", "mean")) == "mean":
        hidden /= 3
    assert_predicts(embeddings, softmax(outputs @ hidden), ["w2", 7, "w7"], combine=combine)


@pytest.mark.parametrize("combine", [None, "mean", "sum"])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_over_the_tree(model: str, combine: Any) -> None:
    embeddings = made(V - 1, {"model": model, "cbow_combine": "sum"})
    exact, outputs = embeddings.vectors.astype(np.float64), embeddings.output_vectors.astype(np.float64)  # type: ignore[union-attr]
    tree = huffman_tree(COUNTS)
    if model == "cbow":
        hidden = exact[[2, 7, 9]].sum(axis=0) / (3 if combine == "mean" else 1)
        expected = tree_probabilities(tree, hidden, outputs)
    else:
        each = [tree_probabilities(tree, exact[word], outputs) for word in (2, 7, 9)]
        product = np.prod(each, axis=0) ** (1 if combine == "sum" else 1 / 3)
        expected = product / product.sum()
    assert_predicts(embeddings, expected, ["w2", "w7", "w9"], combine=combine)


def test_a_skip_gram_of_one_word_is_the_tree(random: Embeddings) -> None:
    for counts in ([5], [5, 5], [2**40, 2**20, 1, 1, 0]):
        size = len(counts)
        outputs = np.random.default_rng(5).normal(size=(size - 1, 20))
        one = Embeddings(random.vectors[:size], Vocabulary(None, counts), outputs, {"options": {"model": "skipgram"}})
        expected = tree_probabilities(huffman_tree(counts), random.vectors[0].astype(np.float64), one.output_vectors)  # type: ignore[arg-type]
        found = dict(one.predict([0], size))
        assert_allclose([found[word] for word in range(size)], expected, rtol=1e-9)


@pytest.mark.parametrize("cbow_mean", [0, 1])
@pytest.mark.parametrize("sg", [0, 1])
def test_equals_gensim(sg: int, cbow_mean: int) -> None:
    models = pytest.importorskip("gensim.models")
    theirs = models.Word2Vec(
        sentences(300), vector_size=8, sg=sg, cbow_mean=cbow_mean, min_count=1, workers=1, epochs=2
    )
    vocabulary = Vocabulary(theirs.wv.index_to_key, None)
    config = {"options": {"model": "cbow", "cbow_combine": ["sum", "mean"][cbow_mean]}}
    ours = Embeddings(theirs.wv.vectors, vocabulary, theirs.syn1neg, config)
    for context in (["g1w0"], ["g1w0", "g1w1", "g1w0"], ["g2w3", "g1w1", "g4w0", "g7w2", "g3w0"]):
        expected = dict(theirs.predict_output_word(context, topn=len(vocabulary)))
        found = ours.predict(context, len(vocabulary))
        assert_allclose([score for _, score in found], [expected[word] for word, _ in found], rtol=1e-5)


@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_trained_models_find_the_middle(model: Any, objective: Any, tmp_path: Any) -> None:
    text = [[f"l{pair}", f"m{pair}", f"r{pair}"] for pair in range(8) for _ in range(50)]
    options: dict[str, Any] = {"dim": 16, "epochs": 30, "subsample": 0, "window": 1, "threads": 1, "min_count": 1}
    embeddings = train(text, model=model, objective=objective, keep_output_vectors=True, **options)
    for pair in range(8):
        assert embeddings.predict([f"l{pair}", f"r{pair}"], 1)[0].word == f"m{pair}"
    embeddings.save(tmp_path / "model")
    assert Embeddings.load(tmp_path / "model").predict(["l3", "r3"], 4) == embeddings.predict(["l3", "r3"], 4)


def test_equal_ones_by_id() -> None:
    embeddings = Embeddings(np.ones((5, 2)), Vocabulary(list("abcde"), None), [[0, 0], [1, 1], [0, 0], [1, 1], [1, 1]])
    assert [word for word, _ in embeddings.predict("a", 4)] == ["b", "d", "e", "a"]
    assert [word for word, _ in embeddings.predict("a", 2)] == ["b", "d"]


def test_scores_beyond_what_exponentials_hold() -> None:
    embeddings = Embeddings(np.full((3, 2), 1e30), Vocabulary(list("abc"), None), [[-1e30, 0], [1e30, 0], [0, 0]])
    assert embeddings.predict("a") == [("b", 1.0), ("c", 0.0), ("a", 0.0)]


def test_what_cannot_be_predicted(random: Embeddings) -> None:
    with pytest.raises(InputError, match=r"^these embeddings have no output vectors: train with keep_output_vectors"):
        random.predict(["word1"])
    with pytest.raises(InputError, match=r"^output_vectors has 7 rows: give one for each word \(11\), or one for each"):
        made(7, {}).predict(["w1"])
    with pytest.raises(InputError, match=r"Huffman tree of the words' counts, and these are unknown"):
        made(V - 1, {}, None).predict(["w1"])
    with pytest.raises(InputError, match=r"^engine is 'torch', whose biases and trees are not kept: train with engine"):
        made(V, {"engine": "torch"}).predict(["w1"])
    for rows, objective, wanted in ((V, "hierarchical", "inner node"), (V - 1, "negative-sampling", "word")):
        with pytest.raises(InputError, match=rf"^output_vectors has {rows} rows, and .*{objective}.* each {wanted}"):
            made(rows, {"objective": objective}).predict(["w1"])
    embeddings = made(V, {})
    with pytest.raises(UnknownWordError, match="'nothing' is not in the vocabulary"):
        embeddings.predict(["w1", "nothing"])
    for context in ([], ()):
        with pytest.raises(InputError, match=r"^the context is .*: give one word or more"):
            embeddings.predict(context)
    for context in (None, [None], [1.5], 2.5):
        with pytest.raises(InputError, match=r"^the context is .*: give words, ids,? or vectors"):
            embeddings.predict(context)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^combine is 'max': give 'mean' or 'sum'"):
        embeddings.predict(["w1"], combine="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^k is 0: give"):
        embeddings.predict(["w1"], 0)
    assert embeddings.output_vectors is not None
    embeddings.output_vectors[3, 1] = np.nan
    with pytest.raises(InputError, match="the output vectors contain NaN or infinity"):
        embeddings.predict(["w1"])
    embeddings.vectors[1] = np.inf
    with pytest.raises(InputError, match="the vector of 'w1' contains NaN or infinity"):
        embeddings.predict(["w1"])


@pytest.mark.parametrize("options", [None, "cbow", [], {"objective": None}, {"model": 5}])
def test_a_config_may_hold_anything(options: Any) -> None:
    for rows in (V, V - 1):
        assert made(rows, options).predict(["w1"], 3) == made(rows, {}).predict(["w1"], 3)
