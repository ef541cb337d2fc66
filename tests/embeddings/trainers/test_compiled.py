"""The trainer against the papers' losses: same rows, weights and gradient at every SIMD level and sharing."""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tests.embeddings.trainers.core import COUNTS, LEVELS, NOISE_WORD, make_core, windows
from tests.oracles import word2vec_gradients
from vastmax import _core
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer
from vastmax.embeddings.trainers.compiled import BLOCK_CENTRES, DRAWN_PER_NEGATIVE, keep_thresholds
from vastmax.errors import DivergedError, InputError
from vastmax.text import END_OF_SENTENCE, EncodedCorpus, encode_corpus
from vastmax.trees import huffman_tree


def expected_after(vectors, outputs, blocks, rate=1.0, **options):
    """Return both matrices after one gradient step per block of examples, and the total loss."""
    vectors, outputs, total = vectors.astype(np.float64), outputs.astype(np.float64), 0.0
    for block in blocks:
        loss, vector_gradient, output_gradient = word2vec_gradients(vectors, outputs, block, **options)
        vectors, outputs, total = vectors - rate * vector_gradient, outputs - rate * output_gradient, total + loss
    return vectors, outputs, total


SENTENCES = {
    "four words": [0, 1, 2, 3],
    "a word twice": [1, 0, 1, 2],
    "the noise word is a centre": [0, NOISE_WORD, 2, 3],
    "the noise word is two centres": [NOISE_WORD, 4, NOISE_WORD, 1],
    "one word, which predicts nothing": [4],
    "longer than a block": [0, 1, 2, 3, 4, 5, 6, 1, 0, 2, 5],
}


@pytest.mark.numerics
@pytest.mark.filterwarnings("ignore:Output seems independent")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES.keys())
@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("combine", [None, "mean", "sum"])
@pytest.mark.parametrize("block", [1, 4])
def test_the_update_at_rate_one_is_the_gradient(level, sentence, objective, combine, block):
    if objective == "hierarchical":
        block = 1
    tree = huffman_tree(COUNTS) if objective == "hierarchical" else None
    rate = 1.0 if len(sentence) <= block else 0.1  # several steps at rate 1 would magnify rounding errors
    core, vectors, outputs = make_core(
        [*sentence, END_OF_SENTENCE],
        tree=tree,
        rate=rate,
        level=level,
        cbow=combine is not None,
        cbow_mean=combine == "mean",
        cbow_divides=combine == "mean",
        block=block,
        drawn=8 if block == 4 else 5,
    )
    examples = windows(sentence, 5)
    blocks = [examples[i : i + block] for i in range(0, len(examples), block)]
    negatives = None if tree else {NOISE_WORD: 5.0}
    vectors, outputs, loss = expected_after(
        vectors, outputs, blocks, rate, combine=combine, tree=tree, negatives=negatives
    )
    statistics = core.run(0, 1, 1)
    assert statistics.words == len(sentence)
    predicted = sum(len(context) if combine is None else bool(context) for _, context in examples)
    assert statistics.examples == predicted
    assert statistics.loss_sum == pytest.approx(loss, rel=1e-5, abs=1e-9)
    np.testing.assert_allclose(core.vectors, vectors, atol=2e-5)
    np.testing.assert_allclose(core.outputs, outputs, atol=2e-5)


@pytest.mark.filterwarnings("ignore:Output seems independent")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("combine", [None, "mean", "sum"])
@pytest.mark.parametrize("negatives", [1, 5, 60])
def test_the_blocks_that_ship_step_by_the_gradient(level, combine, negatives):
    """Use one full block of the default size with distinct words, as in nearly every step of a real run."""
    centres = BLOCK_CENTRES["skipgram" if combine is None else "cbow"]
    drawn, vocabulary = DRAWN_PER_NEGATIVE * negatives, 200_000
    noise = np.ones(vocabulary)
    noise[:centres] = 0
    core, vectors, outputs = make_core(
        [*range(centres), END_OF_SENTENCE],
        noise=noise,
        vocabulary=vocabulary,
        level=level,
        cbow=combine is not None,
        cbow_mean=combine == "mean",
        cbow_divides=combine == "mean",
        window=2,
        negatives=negatives,
        drawn=drawn,
        block=centres,
    )
    loss = core.run(0, 1, 1).loss_sum
    changed = np.flatnonzero((core.outputs != outputs).any(axis=1)).tolist()
    assert len(changed) == centres + drawn  # the draws are distinct; the changed rows identify them
    expected_vectors, expected_outputs, expected_loss = expected_after(
        vectors[:centres],
        outputs[changed],
        [windows(list(range(centres)), 2)],
        combine=combine,
        negatives=dict.fromkeys(range(centres, centres + drawn), negatives / drawn),
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(core.vectors[:centres], expected_vectors, atol=2e-5)
    np.testing.assert_allclose(core.outputs[changed], expected_outputs, atol=2e-5)


@pytest.mark.numerics
@pytest.mark.parametrize("level", LEVELS)
def test_pairs_are_stepped_one_after_the_other(level):
    sentence = [0, 1, 2, 3, 4]
    core, vectors, outputs = make_core(
        [*sentence, END_OF_SENTENCE], level=level, rate=0.1, sharing="pair", block=1, drawn=5
    )
    blocks = [[(centre, [word])] for centre, context in windows(sentence, 5) for word in context]
    vectors, outputs, loss = expected_after(vectors, outputs, blocks, 0.1, negatives={NOISE_WORD: 5.0})
    assert core.run(0, 1, 1).loss_sum == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(core.vectors, vectors, atol=2e-5)
    np.testing.assert_allclose(core.outputs, outputs, atol=2e-5)


@pytest.mark.numerics
def test_the_published_gradient_of_cbow_is_the_corrected_one_times_the_window():
    sentence = [0, 1, 2, 3]
    corrected, before, _ = make_core([*sentence, END_OF_SENTENCE], cbow=True, rate=1e-3)
    published, _, _ = make_core([*sentence, END_OF_SENTENCE], cbow=True, rate=1e-3, cbow_divides=False)
    for core in (corrected, published):
        core.run(0, 1, 1)
    np.testing.assert_allclose(published.vectors - before, 3 * (corrected.vectors - before), rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(published.outputs, corrected.outputs, rtol=1e-5, atol=1e-7)


@pytest.mark.numerics
def test_windows_end_with_the_sentence():
    sentences = [[0, 1], [2, 3, 4], [5]]
    ids = [i for sentence in sentences for i in [*sentence, END_OF_SENTENCE]]
    core, vectors, outputs = make_core(ids)
    examples = [example for sentence in sentences for example in windows(sentence, 5)]
    blocks = [examples[:4], examples[4:]]
    vectors, outputs, _ = expected_after(vectors, outputs, blocks, negatives={NOISE_WORD: 5.0})
    core.run(0, 1, 1)
    np.testing.assert_allclose(core.vectors, vectors, atol=2e-5)


@pytest.mark.parametrize("window", [1, 2, 29, 70, 250])
@pytest.mark.parametrize("block", [1, 4])
def test_any_window_counts_its_pairs(window, block):
    """Predict every pair exactly once."""
    sentence = np.random.default_rng(0).integers(0, 7, 300).tolist()
    core, _, _ = make_core([*sentence, END_OF_SENTENCE], window=window, block=block, rate=1e-3)
    assert core.run(0, 1, 1).examples == sum(len(context) for _, context in windows(sentence, window))


@pytest.mark.parametrize(
    ("sharing", "block", "drawn"), [("pair", 1, 5), ("window", 1, 5), ("block", 4, 10), ("block", 6, 10)]
)
@pytest.mark.parametrize("combine", [None, "mean"])
def test_shared_negatives_are_unbiased(sharing, block, drawn, combine):
    """The mean step over many draws is the gradient of the published loss, in which each example draws its own."""
    noise = COUNTS**0.75
    sentence, rounds = [3, 0, 5, 2] if sharing == "block" else [3, 0], 1500
    expected_negatives = {word: 5 * p for word, p in enumerate(noise / noise.sum())}
    steps = []
    for seed in range(rounds):
        core, vectors, outputs = make_core(
            [*sentence, END_OF_SENTENCE],
            noise=noise,
            sharing=sharing,
            block=block,
            drawn=drawn,
            dim=2,
            seed=seed,
            rate=1e-3,
            cbow=combine is not None,
        )
        core.run(0, 1, 1)
        steps.append(np.concatenate([(vectors - core.vectors).ravel(), (outputs - core.outputs).ravel()]) / 1e-3)
    _, *gradients = word2vec_gradients(
        vectors, outputs, windows(sentence, 5), combine=combine, negatives=expected_negatives
    )
    expected = np.concatenate([gradient.ravel() for gradient in gradients])
    mean, spread = np.mean(steps, 0), np.std(steps, 0) / np.sqrt(rounds)
    assert np.abs(mean - expected).max() > 0  # the negatives are random
    assert np.all(np.abs(mean - expected) <= 5 * spread + 5e-3)


@pytest.mark.numerics
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 100_000])
def test_noise_is_drawn_in_proportion_to_its_weights(size):
    weights = 1 / np.arange(1.0, size + 1) ** 0.75
    weights[1::3] = 0
    draws = 2_000_000
    drawn = np.bincount(_core.draw_noise(weights, 1, 0, 0, draws), minlength=size)
    assert drawn[weights == 0].sum() == 0
    expected = (weights / weights.sum() * draws)[weights > 0]
    if len(expected) > 1:
        assert stats.chisquare(drawn[weights > 0], expected).pvalue > 1e-4


def test_the_test_of_noise_can_fail():
    weights = 1 / np.arange(1.0, 1001) ** 0.75
    drawn = np.bincount(_core.draw_noise(weights, 1, 0, 0, 2_000_000), minlength=1000)
    wrong = 1 / np.arange(1.0, 1001) ** 0.74
    assert stats.chisquare(drawn, wrong / wrong.sum() * 2_000_000).pvalue < 1e-6


def test_streams_of_chunks_epochs_and_seeds_differ():
    weights = np.ones(1 << 20)
    coordinates = list(itertools.product([1, 2, 3], [0, 1, 2], [0, 1, 2, 1000]))
    streams = [_core.draw_noise(weights, *at, 2000) for at in coordinates]
    for one, other in itertools.combinations(streams, 2):
        assert len(np.intersect1d(one, other)) < 40  # independent streams share about 4


def test_subsampling_keeps_each_word_at_its_rate():
    keep = np.array([1.0, 0.5, 0.1, 0.01], np.float32)
    ids = np.tile(np.array([0, 1, 2, 3], np.uint32), 100_000)
    core, _, _ = make_core(
        ids, vocabulary=4, noise=np.ones(4), keep=keep_thresholds(keep), window=1, chunk=1 << 20, rate=1e-6, dim=1
    )
    kept = core.run(0, 1, 1).examples / 2  # with a window of one, two pairs per kept word
    expected, deviation = 1e5 * keep.sum(), np.sqrt(1e5 * (keep * (1 - keep)).sum())
    assert abs(kept - expected) < 5 * deviation + 2


def test_windows_shrink_uniformly():
    core, _, _ = make_core(np.zeros(200_000, np.uint32), shrink_window=True, chunk=1 << 20, rate=1e-6, dim=1, block=1)
    pairs = core.run(0, 1, 1).examples / 200_000  # pairs per word: twice the mean of 1..5
    assert pairs == pytest.approx(6, abs=5 * 2 * np.sqrt(2) / np.sqrt(200_000))


def test_thresholds_keep_everything_at_one_and_nearly_nothing_at_zero():
    assert keep_thresholds(np.array([1.0, 0.5, 0.0], np.float32)).tolist() == [2**32 - 1, 2**31 - 1, 0]


# --- EmbeddingTrainer ---


@pytest.fixture(scope="module")
def corpus():
    generator = np.random.default_rng(5)
    ranks = np.minimum(generator.zipf(1.3, 40_000), 500)
    sentences = [[f"w{rank}" for rank in row] for row in ranks.reshape(-1, 20)]
    with encode_corpus(sentences, min_count=2) as encoded:
        yield encoded


MODELS = list(itertools.product(["skipgram", "cbow"], ["negative-sampling", "hierarchical"]))


@pytest.mark.numerics
@pytest.mark.parametrize(("model", "objective"), MODELS)
def test_one_thread_repeats_itself_bit_for_bit_also_when_stopped_and_resumed(corpus, model, objective):
    options = EmbeddingOptions(model=model, objective=objective, dim=20, epochs=2, threads=1)
    whole, pieces, resumed = (EmbeddingTrainer(corpus, options) for _ in range(3))
    whole.run(whole.num_chunks)
    while pieces.position < pieces.num_chunks // 2 + 1:
        pieces.run(3)
    resumed.vectors[:], resumed.output_vectors[:] = pieces.vectors, pieces.output_vectors
    resumed.position = pieces.position
    assert resumed.words_done == pieces.words_done
    assert resumed.learning_rate == pieces.learning_rate
    resumed.run(resumed.num_chunks)
    assert np.array_equal(whole.vectors, resumed.vectors)
    assert np.array_equal(whole.output_vectors, resumed.output_vectors)
    assert resumed.words_done == resumed.words_total == whole.words_done


@pytest.mark.numerics
@pytest.mark.parametrize(("model", "objective"), MODELS)
def test_training_lowers_the_loss_on_every_level_alike(corpus, model, objective):
    losses = []
    for level in LEVELS:
        options = EmbeddingOptions(model=model, objective=objective, dim=20, epochs=4, threads=1, learning_rate=0.05)
        trainer = EmbeddingTrainer(corpus, options, simd_level=level)
        assert trainer.simd_level == level
        records = [trainer.run(trainer.num_chunks // 4) for _ in range(4)]
        losses.append([record.loss_sum / record.examples for record in records])
        assert losses[-1][-1] < losses[-1][0]
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-3)


# --- SIMD level ---


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_picks_the_simd_level(level):
    program = (
        "from tests.embeddings.trainers.test_compiled import make_core, LEVELS\n"
        "print(make_core([0, 1])[0].level, make_core([0, 1], level=LEVELS[-1])[0].level)"
    )
    environment = {**os.environ, "VASTMAX_SIMD": level}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [level, LEVELS[-1]]  # the caller's choice wins


def test_without_the_environment_the_best_level_is_taken(monkeypatch):
    monkeypatch.delenv("VASTMAX_SIMD", raising=False)
    assert make_core([0, 1])[0].level == LEVELS[0]


@pytest.mark.parametrize("bad", ["mmx", "", "AVX2", *(level for level in ("avx512", "avx2") if level not in LEVELS)])
def test_a_simd_level_this_processor_lacks_is_refused(corpus, monkeypatch, bad):
    choices = LEVELS[0] if len(LEVELS) == 1 else f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}"
    monkeypatch.setenv("VASTMAX_SIMD", bad)
    with pytest.raises(InputError, match=f"^VASTMAX_SIMD is '{bad}': give {choices}, which this processor supports.$"):
        EmbeddingTrainer(corpus, EmbeddingOptions(dim=4))
    monkeypatch.delenv("VASTMAX_SIMD")
    with pytest.raises(InputError, match=f"^simd_level is '{bad}': give {choices}, which"):
        EmbeddingTrainer(corpus, EmbeddingOptions(dim=4), simd_level=bad)


SHARINGS = [{"sharing": "block"}, {"sharing": "window"}, {"sharing": "pair"}, {"objective": "hierarchical"}]


@pytest.mark.numerics
@pytest.mark.parametrize("options", SHARINGS, ids=lambda options: next(iter(options.values())))
def test_threads_reach_the_same_loss(corpus, options):
    losses = []
    for threads in (1, 2):
        trainer = EmbeddingTrainer(corpus, EmbeddingOptions(dim=20, epochs=2, threads=threads, **options))
        statistics = trainer.run(trainer.num_chunks)
        losses.append(statistics.loss_sum / statistics.examples)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize("words", range(64, 97, 4))
def test_nothing_is_lost_between_the_copies_of_the_hot_nodes(threads, words):
    """One chunk runs on one thread however many there are, so copies of the tree's top nodes change nothing."""
    ids = [*np.random.default_rng(words).integers(0, 8, words).tolist(), END_OF_SENTENCE]
    alone, many = (make_core(ids, tree=huffman_tree(COUNTS), rate=0.05, block=1)[0] for _ in range(2))
    alone.run(0, 1, 1)
    many.run(0, 1, threads)
    np.testing.assert_allclose(many.outputs, alone.outputs, atol=1e-5)
    np.testing.assert_allclose(many.vectors, alone.vectors, atol=1e-5)


def test_the_learning_rate_falls_linearly(corpus):
    trainer = EmbeddingTrainer(corpus, EmbeddingOptions(learning_rate=0.1, min_learning_rate=0.02, epochs=2, dim=4))
    assert trainer.learning_rate == pytest.approx(0.1)
    trainer.position = trainer.num_chunks // 2
    assert trainer.learning_rate == pytest.approx(0.06)
    trainer.position = trainer.num_chunks
    assert trainer.learning_rate == pytest.approx(0.02)


def test_another_seed_gives_other_vectors(corpus):
    one, other = (EmbeddingTrainer(corpus, EmbeddingOptions(seed=seed, dim=4, threads=1)) for seed in (1, 2))
    assert not np.array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_stops_with_a_rate_to_try(corpus, bad):
    trainer = EmbeddingTrainer(corpus, EmbeddingOptions(dim=4, learning_rate=2.0))
    trainer.vectors[:, 0] = bad
    with pytest.raises(DivergedError, match=r"a loss of nan nats .*: give learning_rate 0\.05"):
        trainer.run(1)
    assert trainer.position == 0


@pytest.mark.parametrize(
    "options",
    [
        {"negatives": 60, "learning_rate": 3.0},
        {"objective": "hierarchical", "learning_rate": 9.0},
        {"model": "cbow", "cbow_combine": "sum", "learning_rate": 3.0},
    ],
)
def test_a_loss_that_grows_without_end_stops_too(corpus, options):
    """Stop before the loss is infinite: such vectors are meaningless, and would be saved as if they were not."""
    trainer = EmbeddingTrainer(corpus, EmbeddingOptions(dim=16, threads=1, subsample=0, **options))
    with pytest.raises(DivergedError, match=r"training diverged to a loss of .* nats .*: give learning_rate"):
        trainer.run(trainer.num_chunks)


@pytest.mark.parametrize("sharing", ["block", "window", "pair"])
@pytest.mark.parametrize("negatives", [1, 5, 60])
@pytest.mark.parametrize("window", [1, 5, 30])
@pytest.mark.parametrize("epochs", [1, 20])
@pytest.mark.parametrize(
    "options",
    [{}, {"model": "cbow"}, {"model": "cbow", "cbow_gradient": "published"}, {"model": "cbow", "cbow_combine": "sum"}],
    ids=str,
)
def test_default_rates_learn(corpus, options, epochs, window, negatives, sharing):
    chosen = {"dim": 16, "threads": 1, "epochs": epochs, "window": window, "negatives": negatives, "sharing": sharing}
    trainer = EmbeddingTrainer(corpus, EmbeddingOptions(**options, **chosen))
    statistics = trainer.run(trainer.num_chunks // epochs)
    assert statistics.loss_sum / statistics.examples < (1 + negatives) * math.log(2)


def test_bad_arguments_are_named(corpus):
    trainer = EmbeddingTrainer(corpus, EmbeddingOptions(dim=4))
    with pytest.raises(InputError, match=r"position is .*: give a whole number from 0 to"):
        trainer.position = trainer.num_chunks + 1


def test_matrices_larger_than_memory_are_an_error_that_says_so(corpus, monkeypatch):
    def no_memory(**_):
        raise MemoryError

    monkeypatch.setattr("vastmax.embeddings.trainers.compiled.CoreTrainer", no_memory)
    with pytest.raises(InputError, match=r"words of dim 4 need 0\.1 MB of memory.*lower dim"):
        EmbeddingTrainer(corpus, EmbeddingOptions(dim=4))


@pytest.mark.parametrize("mode", [None, "r", "r+", "c"])
def test_an_id_of_no_word_is_refused(mode, corpus, tmp_path):
    ids = np.append(np.arange(len(corpus.vocabulary), dtype=np.uint32), np.uint32(len(corpus.vocabulary)))
    if mode is not None:
        ids.tofile(tmp_path / "ids")
        ids = np.memmap(tmp_path / "ids", np.uint32, mode)
    wrong = EncodedCorpus(ids, corpus.vocabulary, num_words=len(ids), num_raw_words=len(ids), num_sentences=0)
    with pytest.raises(InputError, match="contains the id"):
        EmbeddingTrainer(wrong, EmbeddingOptions(dim=4))
