"""Words that are means of bags of rows, and frozen words: changes of the rows against the formula."""

import numpy as np
import pytest

from tests.embeddings.trainers.core import COUNTS, LEVELS, NOISE_WORD, make_core, windows
from tests.oracles import word2vec_gradients
from vastmax.text import END_OF_SENTENCE
from vastmax.trees import huffman_tree

ROWS = 13
BAGS = [[0, 8, 9], [1, 9], [2], [3, 10, 11, 12, 8], [4, 12, 12], [5], [6, 8], [7, 9, 10]]
SENTENCES = {
    "four words": [0, 1, 2, 3],
    "a word twice": [1, 0, 1, 2],
    "a row twice in a bag": [4, 3, 0],
    "the noise word is a centre": [0, NOISE_WORD, 2, 3],
    "one word, which predicts nothing": [4],
}


def arrays(bags):
    """Return the bags as the core's (offsets, rows) arrays."""
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int64)
    return offsets, np.concatenate(bags).astype(np.uint32)


def means(rows, bags):
    return np.array([np.asarray(rows, np.float64)[bag].mean(0) for bag in bags])


@pytest.mark.numerics
@pytest.mark.filterwarnings("ignore:Output seems independent")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES.keys())
@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("combine", [None, "mean", "sum"])
def test_each_row_of_a_bag_moves_as_the_word_would(level, sentence, objective, combine):
    tree = huffman_tree(COUNTS) if objective == "hierarchical" else None
    block = 1 if tree else 4
    rate = 1.0 if block == 4 else 0.05
    core, rows, outputs = make_core(
        [*sentence, END_OF_SENTENCE],
        tree=tree,
        rate=rate,
        level=level,
        cbow=combine is not None,
        cbow_mean=combine == "mean",
        cbow_divides=combine == "mean",
        block=block,
        inputs={"inputs": ROWS, "bags": arrays(BAGS)},
    )
    examples = windows(sentence, 5)
    start = means(rows, BAGS)
    vectors, outputs, loss = start.copy(), outputs.astype(np.float64), 0.0
    for first in range(0, len(examples), block):  # in so short a sentence words stay in the windows to the end
        each, vector_gradient, output_gradient = word2vec_gradients(
            vectors,
            outputs,
            examples[first : first + block],
            combine=combine,
            tree=tree,
            negatives=None if tree else {NOISE_WORD: 5.0},
        )
        vectors, outputs, loss = vectors - rate * vector_gradient, outputs - rate * output_gradient, loss + each
    expected = rows.astype(np.float64)
    for word, bag in enumerate(BAGS):
        for row in bag:
            expected[row] += vectors[word] - start[word]
    statistics = core.run(0, 1, 1)
    assert statistics.loss_sum == pytest.approx(loss, rel=1e-5, abs=1e-9)
    np.testing.assert_allclose(core.vectors, expected, atol=2e-5)
    np.testing.assert_allclose(core.outputs, outputs, atol=2e-5)


OPTIONS = {"vocabulary": 900, "rate": 0.05, "dim": 11, "window": 4, "shrink_window": True, "chunk": 1024}


def text(size=6000, vocabulary=900, seed=1):
    """Return sentences of words drawn from a Pareto distribution, so that low ids are the most frequent."""
    ids = (np.random.default_rng(seed).pareto(0.7, size) * 3).astype(np.uint32) % vocabulary
    ids[::17] = END_OF_SENTENCE
    return ids


@pytest.mark.parametrize("dim", [1, 16, 100, 300])
@pytest.mark.parametrize("cbow", [False, True])
def test_bags_that_share_no_row_train_as_plain_words(cbow, dim):
    """Means of three rows change as plain words do, over many windows and with frequent words."""
    own = np.arange(900)
    bags = arrays([[word, 900 + word, 1800 + word] for word in own])
    noise = np.ones(900)
    options = {**OPTIONS, "cbow": cbow, "noise": noise, "dim": dim}
    core, rows, _ = make_core(text(), inputs={"inputs": 2700, "bags": bags}, **options)
    plain, _, _ = make_core(text(), **options)
    plain.vectors[:] = rows.reshape(3, 900, dim).mean(0)
    plain.outputs[:] = core.outputs
    before = plain.vectors.copy()
    chunks = core.chunks_an_epoch
    assert chunks > 4
    assert core.run(0, chunks, 1).loss_sum == pytest.approx(plain.run(0, chunks, 1).loss_sum, rel=1e-4)
    moved = plain.vectors - before
    assert np.abs(moved).max() > 0.1
    for part in range(3):
        change = core.vectors[part * 900 : (part + 1) * 900] - rows[part * 900 : (part + 1) * 900]
        np.testing.assert_allclose(change, moved, atol=1e-3)
    np.testing.assert_allclose(core.outputs, plain.outputs, atol=1e-3)


@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("cbow", [False, True])
@pytest.mark.parametrize("with_bags", [False, True])
def test_frozen_words_stay_and_the_others_learn_from_them(objective, cbow, with_bags):
    tree = huffman_tree(np.arange(900, 0, -1)) if objective == "hierarchical" else None
    frozen = np.zeros(900, np.uint8)
    frozen[::3] = 1
    inputs = {"frozen": frozen}
    if with_bags:
        inputs |= {"inputs": 1000, "bags": arrays([[w] if frozen[w] else [w, 900 + w % 100] for w in range(900)])}
    options = {**OPTIONS, "cbow": cbow, "tree": tree, "noise": np.ones(900), **({"block": 1} if tree else {})}
    core, before, outputs = make_core(text(), inputs=inputs, **options)
    core.run(0, core.chunks_an_epoch, 2)
    np.testing.assert_array_equal(core.vectors[:900:3], before[:900:3])
    met = np.setdiff1d(np.unique(text()), [END_OF_SENTENCE])
    moved = (core.vectors[:900] != before[:900]).any(1)
    assert moved[met[frozen[met] == 0]].mean() > 0.95 and not moved[frozen == 1].any()
    assert (core.outputs != outputs).any(1).mean() > 0.5  # output vectors learn, including those of frozen words


@pytest.mark.numerics
@pytest.mark.filterwarnings("ignore:Output seems independent")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("combine", [None, "mean"])
def test_every_window_learns_from_frozen_words_as_they_are(level, combine):
    sentence, frozen, rate, block = [0, 1, 2, 3, 4, 5, 6, 1, 0, 2, 5, 3], [0, 2, 5], 0.3, 2
    core, start, outputs = make_core(
        [*sentence, END_OF_SENTENCE],
        rate=rate,
        level=level,
        cbow=combine is not None,
        block=block,
        inputs={"frozen": np.isin(np.arange(8), frozen).astype(np.uint8)},
    )
    vectors, outputs, loss = start.astype(np.float64), outputs.astype(np.float64), 0.0
    examples = windows(sentence, 5)
    for first in range(0, len(examples), block):
        each, vector_gradient, output_gradient = word2vec_gradients(
            vectors, outputs, examples[first : first + block], combine=combine, negatives={NOISE_WORD: 5.0}
        )
        vectors, outputs, loss = vectors - rate * vector_gradient, outputs - rate * output_gradient, loss + each
        vectors[frozen] = start[frozen]
    assert core.run(0, 1, 1).loss_sum == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(core.vectors, vectors, atol=5e-5)
    np.testing.assert_allclose(core.outputs, outputs, atol=5e-5)


@pytest.mark.parametrize("sharing", ["block", "pair"])
def test_the_widest_window_has_room_for_its_words(sharing):
    """All words differ, so the windows hold the most distinct words possible."""
    bags = arrays([[word, 3000] for word in range(3000)])
    options = {
        "vocabulary": 3000,
        "rate": 1e-3,
        "window": 252,
        "sharing": sharing,
        "block": 4 if sharing == "block" else 1,
    }
    core, before, _ = make_core(np.arange(3000), inputs={"inputs": 3001, "bags": bags}, noise=np.ones(3000), **options)
    core.run(0, 1, 1)
    assert (core.vectors != before).any(1).all() and np.isfinite(core.vectors).all()
    with pytest.raises(ValueError, match="no room for working rows"):
        make_core([0, 1], inputs={"inputs": 3001, "bags": bags}, **{**options, "window": 253, "block": 4})


@pytest.mark.parametrize("first", [0, 3, 8])
@pytest.mark.parametrize("dim", [5, 16, 33])
def test_vectors_are_taken_without_padding_and_outlive_the_trainer(first, dim):
    core, vectors, _ = make_core([0, 1], dim=dim)
    taken = core.take_vectors(first)
    assert taken.flags.c_contiguous and core.vectors.shape[0] == 0
    del core
    np.testing.assert_array_equal(taken, vectors[first:])


def test_freezing_nobody_and_bags_of_one_row_change_nothing():
    def trained(**inputs):
        core, *_ = make_core(text(), inputs=inputs, noise=np.ones(900), **OPTIONS)
        core.run(0, core.chunks_an_epoch, 1)
        return core.vectors.copy(), core.outputs.copy()

    plain = trained()
    for same, exact in (
        (trained(frozen=np.zeros(900, np.uint8)), True),
        (trained(bags=arrays([[word] for word in range(900)])), False),
    ):
        for one, other in zip(plain, same, strict=True):
            np.testing.assert_allclose(one, other, atol=0 if exact else 1e-4)


def test_one_thread_repeats_bit_for_bit_from_any_chunk():
    bags = arrays([[word, 900 + word % 50, 950 + word % 7] for word in range(900)])
    whole, *_ = make_core(text(), inputs={"inputs": 957, "bags": bags}, noise=np.ones(900), **OPTIONS)
    parts, *_ = make_core(text(), inputs={"inputs": 957, "bags": bags}, noise=np.ones(900), **OPTIONS)
    whole.run(0, whole.chunks_an_epoch, 1)
    for chunk in range(parts.chunks_an_epoch):
        parts.run(chunk, chunk + 1, 1)
    np.testing.assert_array_equal(whole.vectors, parts.vectors)
    np.testing.assert_array_equal(whole.outputs, parts.outputs)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"inputs": 9, "bags": arrays(BAGS)}, "a row that is not there"),
        ({"inputs": ROWS, "bags": arrays(BAGS[:-1])}, "bags are not one per word"),
        ({"inputs": ROWS, "bags": arrays([*BAGS[:-1], []])}, "a bag is empty"),
        ({"inputs": 9}, "without bags"),
        ({"frozen": np.zeros(7, np.uint8)}, "frozen is not"),
    ],
)
def test_inputs_that_do_not_fit(inputs, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_core([0, 1], inputs=inputs)
