"""Alignment of two models: Procrustes against scipy, CSLS against double-precision brute force."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.oracles import cosine, csls_scores
from vastmax.embeddings import (
    Embeddings,
    SubwordVectors,
    align,
    alignment,
    evaluate_translation,
    train,
    translate,
)
from vastmax.errors import FormatError, InputError, UnknownWordError
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary


def named(vectors: Any, prefix: str, outputs: Any = None) -> Embeddings:
    return Embeddings(vectors, Vocabulary([f"{prefix}{row}" for row in range(len(vectors))], None), outputs)


def rotation(dim: int, seed: int = 3) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


@pytest.fixture
def spaces() -> tuple[Embeddings, Embeddings]:
    """300 vectors of varied norms, and the same vectors rotated, with noise."""
    generator = np.random.default_rng(2)
    vectors = generator.normal(size=(300, 10)) * generator.uniform(0.1, 10, (300, 1))
    other = (vectors + generator.normal(scale=0.3, size=(300, 10))) @ rotation(10)
    return named(vectors, "a", vectors * 2), named(other, "b")


def test_procrustes_equals_scipy(spaces: tuple[Embeddings, Embeddings], monkeypatch: pytest.MonkeyPatch) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    monkeypatch.setattr(alignment, "_ROWS", 7)
    source, target = spaces
    pairs = [(f"a{row}", f"b{row}") for row in range(0, 300, 4)]
    x, y = (each.vectors[::4].astype(np.float64) for each in spaces)
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
    turned = align(source, target, pairs)
    expected = source.vectors.astype(np.float64) @ linalg.orthogonal_procrustes(x, y)[0]
    assert_allclose(turned.vectors, expected, rtol=1e-5, atol=1e-5)
    assert_allclose(turned.output_vectors, 2 * turned.vectors, rtol=1e-4, atol=1e-5)
    assert turned.config["processing"] == [{"name": "align", "pairs": 75}]
    assert turned.vocabulary == source.vocabulary
    assert_allclose(turned.similarity("a1", "a2"), source.similarity("a1", "a2"), atol=1e-6)
    assert np.mean([cosine(turned[f"a{row}"], target[f"b{row}"]) for row in range(300)]) > 0.9


def test_an_exact_rotation_is_found_from_shared_words(random: Embeddings) -> None:
    turn = rotation(20)
    target = Embeddings(random.vectors[1000:] @ turn, Vocabulary([f"word{row}" for row in range(1000, 2000)], None))
    turned = align(random, target)
    assert_allclose(turned.vectors[1000:], target.vectors, atol=1e-5)
    assert turned.config["processing"][0]["pairs"] == 1000
    assert_array_equal(align(random, target).vectors, turned.vectors)


def test_n_grams_are_turned_with_their_words() -> None:
    text = [["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 40
    options: dict[str, Any] = {"dim": 6, "epochs": 3, "threads": 1, "subwords": "3-4", "buckets": 500}
    source = train(text, **options)
    target = Embeddings(source.vectors @ rotation(6), source.vocabulary)
    turned = align(source, target)
    before, after = source["teapot"], turned["teapot"]
    assert_allclose(after @ turned["milk"], before @ source["milk"], rtol=1e-4, atol=1e-7)
    assert not np.allclose(before, after)


def test_n_grams_that_were_pruned_stay_left_out(random: Embeddings) -> None:
    rule = Subwords(3, 3, 1000)
    _, buckets = rule.buckets_of(["teapot"])
    held = np.unique(buckets)[:2]
    ngrams = SubwordVectors(rule, random.vectors[: len(held)], held, pruned=True)
    source = Embeddings(random.vectors, random.vocabulary, subwords=ngrams)
    turned = align(source, Embeddings(random.vectors @ rotation(20), random.vocabulary))
    assert turned.subwords is not None and turned.subwords.pruned
    assert_allclose(np.linalg.norm(turned["teapot"]), np.linalg.norm(source["teapot"]), rtol=1e-5)
    assert_allclose(turned["teapot"], source["teapot"] @ rotation(20), atol=1e-5)


def test_turned_vectors_that_have_no_place_in_float32_are_told(random: Embeddings) -> None:
    turn = np.eye(20)
    turn[:2, :2] = [[0.6, 0.8], [-0.8, 0.6]]
    target = Embeddings(random.vectors @ turn, random.vocabulary)
    large = random.vectors.copy()
    large[7, :2] = 3e38
    for vectors, outputs in ((large, None), (random.vectors, large)):
        source = Embeddings(vectors, random.vocabulary, outputs)
        pairs = [(row, row) for row in range(100, 2000)]
        with pytest.raises(
            InputError, match=r"^the rotated vectors have numbers beyond 3e38, .*: scale the vectors down"
        ):
            align(source, target, pairs)


def test_what_cannot_be_aligned(random: Embeddings, spaces: tuple[Embeddings, Embeddings]) -> None:
    source, target = spaces
    with pytest.raises(InputError, match=r"^the source has dim 20 and the target has 10: give models of the same dim"):
        align(random, target)
    for pairs in (None, []):
        with pytest.raises(InputError, match="the two models share no words: give pairs of words that correspond"):
            align(source, target, pairs)
    for wrong in ("ab", ("a1",), 3):
        with pytest.raises(InputError, match=r"^a pair is .*: give \(word of the source, word of the target\)"):
            align(source, target, [("a1", "b1"), wrong])  # type: ignore[list-item]
    for wrong in (5, "ab"):
        with pytest.raises(InputError, match=r"^pairs is .*: give pairs \(word of the source, word of the target\)"):
            align(source, target, wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownWordError, match="'a1' is not in the vocabulary"):
        align(source, target, [("b1", "a1")])
    damaged = Embeddings(np.where(np.arange(300)[:, None] == 7, np.nan, source.vectors), source.vocabulary)
    with pytest.raises(InputError, match="NaN or infinity"):
        align(damaged, target, [("a7", "b7")])
    with pytest.raises(InputError, match="the vector of 'a7' contains NaN or infinity"):
        translate(["a1"], damaged, target)


@pytest.mark.parametrize("method", ["csls", "cosine"])
@pytest.mark.parametrize("near", [1, 4, 99])
def test_translations_equal_brute_force(method: Any, near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "_SCORES", 70)  # blocks of one or two rows
    generator = np.random.default_rng(6)
    source, target = named(generator.normal(size=(25, 4)), "a"), named(generator.normal(size=(33, 4)), "b")
    for limit, rows in ((None, 99), (20, 20)):
        ours, theirs = (each.vectors[:rows].astype(np.float64) for each in (source, target))
        words = ["a3", 17, "a24"]
        found = translate(words, source, target, 6, method=method, neighbourhood=near, restrict_vocabulary=limit)
        for row, answers in zip((3, 17, 24), found, strict=True):
            x = source.vectors[row].astype(np.float64)
            scores = csls_scores(x, ours, theirs, near) if method == "csls" else [cosine(x, y) for y in theirs]
            best = sorted(range(len(theirs)), key=lambda each: -scores[each])[:6]
            assert [word for word, _ in answers] == [f"b{each}" for each in best]
            assert_allclose([score for _, score in answers], [scores[each] for each in best], atol=1e-6)


def test_equal_translations_by_id() -> None:
    source, target = named(np.eye(2), "a"), named([[0, 1], [1, 0], [1, 0], [2, 0]], "b")
    assert [word for word, _ in translate(["a0"], source, target, 3, method="cosine")[0]] == ["b1", "b2", "b3"]
    assert translate([], source, target) == []
    assert len(translate(["a0"], source, target, 99)[0]) == 4


def test_csls_passes_over_a_hub() -> None:
    """b0 is a hub, near every source word; b1 is near a0 alone, and almost as near as b0."""
    source = named([[1, 0.2, 0.2], [0.2, 1, 0.2], [0.2, 0.2, 1]], "a")
    target = named([[1, 1, 1], [1, -0.35, -0.35], [-1, 0, 0]], "b")
    assert translate(["a0"], source, target, 1, method="cosine")[0][0].word == "b0"
    assert translate(["a0"], source, target, 1, neighbourhood=2)[0][0].word == "b1"


def test_precision_over_a_dictionary(spaces: tuple[Embeddings, Embeddings]) -> None:
    source, target = spaces
    turned = align(source, target, [(f"a{row}", f"b{row}") for row in range(0, 300, 4)])
    right = [(f"a{row}", f"b{row}") for row in range(1, 300, 4)]
    dictionary = [*right, ("a1", "b200"), ("a2", "b7"), ("a5", "nowhere"), ("nowhere", "b5"), ("a9", "b9")]
    dictionary += [("a6", "nowhere"), ("a6", "elsewhere")]
    for method in ("csls", "cosine"):
        report = evaluate_translation(turned, target, dictionary, ks=(1, 3, 300), method=method)  # type: ignore[arg-type]
        asked = {**{f"a{row}": {f"b{row}"} for row in range(1, 300, 4)}, "a2": {"b7"}}
        asked["a1"] |= {"b200"}
        answers = translate(list(asked), turned, target, 3, method=method)  # type: ignore[arg-type]
        for k in (1, 3):
            good = [
                any(each.word in asked[word] for each in found[:k]) for word, found in zip(asked, answers, strict=True)
            ]
            assert report.precision[k] == pytest.approx(sum(good) / 76)
        assert 0.5 < report.precision[1] <= report.precision[3] < report.precision[300] == 1  # type: ignore[operator]
        assert (report.words, report.left_out, report.method) == (76, 2, method)
        assert report.out_of_vocabulary == pytest.approx(2 / 78)
    few = evaluate_translation(turned, target, dictionary, restrict_vocabulary=5)
    assert (few.words, few.left_out) == (1, 77)  # only a1
    assert evaluate_translation(turned, target, [("x", "y")]).to_dict() == {
        "precision": {1: None, 5: None, 10: None},
        "words": 0,
        "left_out": 1,
        "method": "csls",
        "out_of_vocabulary": 1.0,
    }


def test_dictionaries_from_files(spaces: tuple[Embeddings, Embeddings], tmp_path: Any) -> None:
    source, target = spaces
    path = tmp_path / "pairs.txt"
    path.write_text("a1 b1\n\na2\tb2\na3   b3\r\n")
    expected = evaluate_translation(source, target, [("a1", "b1"), ("a2", "b2"), ("a3", "b3")])
    assert evaluate_translation(source, target, path) == expected
    path.write_text("a1 b1\na2 b2 b3\n")
    with pytest.raises(FormatError, match=r"line 2 of .* has 3 words: give 2"):
        evaluate_translation(source, target, path)
    path.write_text("")
    for empty in (path, []):
        with pytest.raises(InputError, match=r"^the dictionary contains no pairs: give words and their translations"):
            evaluate_translation(source, target, empty)
    with pytest.raises(InputError, match="does not exist"):
        evaluate_translation(source, target, tmp_path / "nowhere")
    for options, sentence in (
        ({"ks": ()}, r"^ks is \(\): give a list of one whole number or more"),
        ({"ks": 5}, "^ks is 5: give a list of one whole number or more"),
        ({"ks": "5"}, "^ks is '5': give a list of one whole number or more"),
        ({"ks": [0]}, "^a member of ks is 0: give a whole number of 1 or more"),
        ({"method": "dot"}, "^method is 'dot': give 'csls' or 'cosine'"),
        ({"restrict_vocabulary": 0}, "^restrict_vocabulary is 0: give a whole number of 1 or more, or None"),
        ({"restrict_vocabulary": "9"}, "^restrict_vocabulary is '9': give a whole number of 1 or more, or None"),
    ):
        with pytest.raises(InputError, match=sentence):
            evaluate_translation(source, target, [("a1", "b1")], **options)
    for wrong, sentence in (
        (5, r"^dictionary is 5: give pairs \(word of the source"),
        ([("a1", "b1", "b2")], r"^a pair is \('a1', 'b1', 'b2'\): give \(word of the source"),
        (["ab"], r"^a pair is 'ab': give \(word of the source"),
        ([("a1", ["b1"])], r"^a pair is \('a1', \['b1'\]\): give \(word of the source"),
    ):
        with pytest.raises(InputError, match=sentence):
            evaluate_translation(source, target, wrong)  # type: ignore[arg-type]
