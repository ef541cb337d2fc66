"""Our Word2Vec and FastText where gensim's tests do not check: arguments, further training, files, callbacks."""

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vastmax.errors import FormatError, InputError

gensim_models = pytest.importorskip("gensim.models")

from gensim.models.callbacks import CallbackAny2Vec  # noqa: E402

from tests.integrations.gensim_door.models import (  # noqa: E402
    MORE,
    NGRAMS,
    SMALL,
    TEXT,
    arrays,
    assert_equal,
    both,
    objectives,
    train_more,
)
from vastmax.integrations.gensim import FastText, Word2Vec, from_gensim, to_gensim  # noqa: E402


@pytest.mark.parametrize("kind", [Word2Vec, FastText])
def test_every_argument_is_gensims_with_its_default(kind: type) -> None:
    theirs = inspect.signature(getattr(gensim_models, kind.__name__)).parameters
    ours = inspect.signature(kind).parameters
    assert [(name, each.default) for name, each in ours.items()] == [
        (name, each.default) for name, each in theirs.items()
    ]
    taken = set(inspect.signature(getattr(gensim_models, kind.__name__).train).parameters)
    assert taken - {"kwargs"} <= set(inspect.signature(kind.train).parameters)


def test_it_is_gensims_model_with_gensims_vectors() -> None:
    model = Word2Vec(TEXT, **SMALL)
    assert isinstance(model, gensim_models.Word2Vec)
    assert type(model.wv) is gensim_models.KeyedVectors
    assert type(FastText(TEXT, **NGRAMS).wv) is gensim_models.fasttext.FastTextKeyedVectors
    assert model.wv.vectors.flags.c_contiguous and model.wv.vectors.flags.owndata


def test_counts_and_order_are_those_of_the_text() -> None:
    model = Word2Vec(TEXT, **SMALL)
    counts = {word: sum(sentence.count(word) for sentence in TEXT) for sentence in TEXT for word in sentence}
    assert model.wv.index_to_key == sorted(counts, key=lambda word: (-counts[word], word))
    assert {word: model.wv.get_vecattr(word, "count") for word in counts} == counts
    assert (model.corpus_count, model.corpus_total_words) == (len(TEXT), sum(map(len, TEXT)))


@both
@objectives
def test_building_and_training_is_what_the_constructor_does(kind: Any, small: Any, objective: Any) -> None:
    model = kind(**small, **objective)
    model.build_vocab(TEXT)
    model.train(TEXT, total_examples=model.corpus_count, epochs=model.epochs)
    assert_equal(model, kind(TEXT, **small, **objective))


@both
@objectives
def test_a_model_read_again_trains_on_bit_for_bit(kind: Any, small: Any, objective: Any, tmp_path: Path) -> None:
    model = kind(TEXT, **small, **objective)
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert_equal(again, model)
    for each in (model, again):
        each.build_vocab(MORE, update=True)
        train_more(each, MORE)
    assert_equal(again, model)
    assert again.train_count == 2


def test_another_call_draws_other_chance() -> None:
    once = Word2Vec(TEXT, **SMALL, sample=0, alpha=0.01, min_alpha=0.01)
    zeroed = Word2Vec(TEXT, **SMALL, sample=0, alpha=0.01, min_alpha=0.01)
    fresh = Word2Vec(**SMALL)
    fresh.build_vocab(TEXT)
    zeroed.wv.vectors, zeroed.syn1neg = fresh.wv.vectors, fresh.syn1neg  # the second call starts where the first did
    train_more(zeroed)
    assert not np.array_equal(once.wv.vectors, zeroed.wv.vectors)
    assert_allclose(once.wv.vectors, zeroed.wv.vectors, atol=0.05)


@both
@objectives
def test_an_update_keeps_old_rows_and_adds_new(kind: Any, small: Any, objective: Any) -> None:
    model = kind(TEXT, **small, **objective)
    before, words, cat = arrays(model), list(model.wv.index_to_key), model.wv.get_vecattr("cat", "count")
    model.build_vocab(MORE, update=True)
    after = arrays(model)
    assert model.wv.index_to_key == [*words, "bird"]
    assert model.wv.get_vecattr("cat", "count") == cat + 30
    for name in before.keys() - ({"vectors", "vectors_ngrams"} if kind is FastText else set()):
        assert_array_equal(after[name][: len(words)], before[name], err_msg=name)
    assert after["vectors"][-1].any() and not after["outputs"][-1].any()
    train_more(model, MORE)
    assert model.wv.most_similar("bird", topn=1)


def test_ngrams_of_new_words_begin_at_random_and_old_ones_stay() -> None:
    model = FastText(TEXT, **NGRAMS)
    before = model.wv.vectors_ngrams.copy()
    model.build_vocab([["zebra"]] * 3, update=True)
    held = before.any(1)
    assert_array_equal(model.wv.vectors_ngrams[held], before[held])
    assert model.wv.vectors_ngrams.any(1).sum() > held.sum()


class Recorder(CallbackAny2Vec):
    """Records the callbacks, with the loss and a vector at each epoch's end."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.losses: list[float] = []
        self.vectors: list[np.ndarray] = []

    def on_train_begin(self, model: Any) -> None:
        self.calls.append("train begins")

    def on_epoch_begin(self, model: Any) -> None:
        self.calls.append("epoch begins")

    def on_epoch_end(self, model: Any) -> None:
        self.calls.append("epoch ends")
        self.losses.append(model.get_latest_training_loss())
        self.vectors.append(model.wv["cat"].copy())

    def on_train_end(self, model: Any) -> None:
        self.calls.append("train ends")


@both
def test_callbacks_come_in_order_and_see_each_epoch(kind: Any, small: Any) -> None:
    recorder = Recorder()
    model = train_more(kind(TEXT, **small), compute_loss=True, callbacks=[recorder])
    assert recorder.calls == ["train begins", *["epoch begins", "epoch ends"] * 2, "train ends"]
    assert 0 < recorder.losses[0] < recorder.losses[1] == model.get_latest_training_loss()
    assert not np.array_equal(recorder.vectors[0], recorder.vectors[1])
    assert_array_equal(recorder.vectors[1], model.wv["cat"])


def test_the_loss_of_one_epoch_is_that_of_scores_near_zero() -> None:
    model = Word2Vec(**SMALL, sg=1, sample=0, window=1, negative=5, alpha=1e-9, min_alpha=1e-9)
    model.build_vocab(TEXT)
    model.train(TEXT, total_examples=1, epochs=1, compute_loss=True)
    pairs = sum(2 * (len(sentence) - 1) for sentence in TEXT)
    words = model.wv.expandos["count"].astype(float) ** 0.75
    noise = words / words.sum()
    # negatives equal to the target are skipped, so fewer than five per pair are expected
    targets = [
        sentence[place + step]
        for sentence in TEXT
        for place in range(len(sentence))
        for step in (-1, 1)
        if 0 <= place + step < len(sentence)
    ]
    drawn = sum(1 + 5 * (1 - noise[model.wv.key_to_index[target]]) for target in targets)
    assert len(targets) == pairs
    assert model.get_latest_training_loss() == pytest.approx(drawn * math.log(2), rel=0.02)


def test_no_loss_where_none_is_asked_for() -> None:
    assert train_more(Word2Vec(TEXT, **SMALL)).get_latest_training_loss() == 0


def test_what_a_callback_writes_is_trained_on() -> None:
    class Zero(CallbackAny2Vec):
        def on_epoch_begin(self, model: Any) -> None:
            model.wv.vectors = np.zeros_like(model.wv.vectors)
            model.syn1neg[...] = 0

    model = train_more(Word2Vec(TEXT, **SMALL), callbacks=[Zero()])
    assert not model.wv.vectors.any()  # zero vectors and zero outputs have no gradient


def test_the_learning_rate_is_gensims() -> None:
    rates: list[float] = []
    model = Word2Vec(**SMALL)
    model.build_vocab(TEXT)
    make = model._make_trainer

    def remember(corpus: Any, options: Any) -> Any:
        rates.extend([options.learning_rate, options.min_learning_rate])
        return make(corpus, options)

    model._make_trainer = remember
    train_more(model)
    train_more(model, start_alpha=0.1, end_alpha=0.05)
    train_more(model)
    train_more(model, start_alpha=0.01)  # below min_alpha: gensim stays there
    assert rates == [0.025, 0.0001, 0.1, 0.05, 0.1, 0.05, 0.05, 0.05]


def test_hierarchical_softmax_alone_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = Word2Vec(TEXT, **SMALL, hs=1, sg=1)
    assert "vastmax trains hierarchical softmax alone" in caplog.text
    assert model.negative == 0 and not hasattr(model, "syn1neg")
    assert_equal(model, Word2Vec(TEXT, **SMALL, hs=1, sg=1, negative=0))


@pytest.mark.parametrize("sg", [0, 1])
def test_score_is_the_log_probability_over_the_tree(sg: int) -> None:
    model = Word2Vec(TEXT, **SMALL, hs=1, sg=sg, negative=0, window=2)
    sentence = TEXT[1]
    found = model.score([sentence, ["the", "unheard"]])

    def log_probability(word: str, hidden: np.ndarray) -> float:
        points, codes = (model.wv.get_vecattr(word, name) for name in ("point", "code"))
        scores = (1.0 - 2.0 * codes) * (model.syn1[points].astype(float) @ hidden)
        return float(-np.logaddexp(0, -scores).sum())

    expected = 0.0
    for place, word in enumerate(sentence):
        window = [sentence[at] for at in range(max(0, place - 2), min(len(sentence), place + 3)) if at != place]
        vectors = np.stack([model.wv[other] for other in window]).astype(float)
        hiddens = vectors if sg else [vectors.mean(0)]
        expected += sum(log_probability(word, hidden) for hidden in hiddens)
    assert found[0] == pytest.approx(expected, rel=1e-6)
    theirs = gensim_models.Word2Vec.score(model, [sentence])  # gensim looks up a table with steps of 1/83
    assert found[0] == pytest.approx(theirs[0], rel=0.04)
    total = sum(math.exp(log_probability(word, vectors[0])) for word in model.wv.index_to_key)
    assert total == pytest.approx(1)


def test_score_in_a_callback_is_that_afterwards() -> None:
    scores: list[float] = []

    class Score(CallbackAny2Vec):
        def on_epoch_end(self, model: Any) -> None:
            scores.append(float(model.score(TEXT[:1])[0]))

    model = train_more(Word2Vec(TEXT, **SMALL, hs=1, negative=0), callbacks=[Score()])
    assert scores[-1] == pytest.approx(float(model.score(TEXT[:1])[0]))


def test_locked_vectors_stay() -> None:
    model = Word2Vec(TEXT, **SMALL)
    before = model.wv.vectors.copy()
    model.wv.vectors_lockf = np.ones(len(model.wv), np.float32)
    model.wv.vectors_lockf[[1, 3]] = 0
    train_more(model)
    assert_array_equal(np.flatnonzero((model.wv.vectors == before).all(1)), [1, 3])
    model.wv.vectors_lockf[0] = 0.5
    with pytest.raises(InputError, match=r"vectors_lockf contains 0.5: give 1, or 0"):
        train_more(model)


def test_a_wide_window_ends_with_the_longest_sentence() -> None:
    assert_equal(
        Word2Vec(TEXT, **SMALL, window=9999, shrink_windows=False),
        Word2Vec(TEXT, **SMALL, window=4, shrink_windows=False),
    )
    with pytest.raises(
        InputError, match=r"window is 9999, and the longest sentence has 5 words: .*shrink_windows=False"
    ):
        Word2Vec(TEXT, **SMALL, window=9999)
    with pytest.raises(InputError, match=r"the longest sentence has 300 words: give at most 250\."):
        Word2Vec([["a", "b"] * 150], **SMALL, window=9999, shrink_windows=False)


def test_a_min_count_of_0_keeps_all() -> None:
    assert_equal(Word2Vec(TEXT, **{**SMALL, "min_count": 0}), Word2Vec(TEXT, **SMALL))


def test_max_final_vocab_drops_the_whole_tie() -> None:
    text = [["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d"] * 3 + ["e"]]
    for most in (2, 3, 4, 5, 6):
        theirs = gensim_models.Word2Vec(min_count=1, max_final_vocab=most)
        theirs.build_vocab(text)
        ours = Word2Vec(min_count=1, max_final_vocab=most)
        ours.build_vocab(text)
        assert set(ours.wv.index_to_key) == set(theirs.wv.index_to_key), most


def test_whole_numbers_are_words() -> None:
    walks = [[3, 1, np.int64(2)], [2, 30, 3]] * 20
    model = Word2Vec(walks, **SMALL)
    assert model.wv.index_to_key == [2, 3, 1, 30]
    assert 30 in model.wv and model.wv.most_similar(30, topn=1)[0][0] in (1, 2, 3)
    model.build_vocab([[4, 4, 3]], update=True)
    assert model.wv.index_to_key[-1] == 4


def test_whole_numbers_are_read_again(tmp_path: Path) -> None:
    model = Word2Vec([[3, 1, 2], [2, 30, 3]] * 20, **SMALL)
    model.save(tmp_path / "model")
    assert_equal(Word2Vec.load(tmp_path / "model"), model)


def test_numbers_and_strings_together_are_a_sentence() -> None:
    with pytest.raises(InputError, match="a word is 'a', among whole numbers: give only strings, or only"):
        Word2Vec([[1, "a"]] * 9, **SMALL)
    with pytest.raises(InputError, match=r"contains 1 \(int\), and words are strings"):
        Word2Vec([["a", 1]] * 9, **SMALL)


def test_what_is_no_corpus_is_a_sentence() -> None:
    with pytest.raises(InputError, match=r"sentences is 'text\.txt': give lists of words, or name a file"):
        Word2Vec("text.txt")
    with pytest.raises(InputError, match="sentence 1 of the corpus is 'human': give a list of words"):
        Word2Vec(["human", "machine"])


def test_a_generator_and_a_compressed_file_are_read(tmp_path: Path) -> None:
    import gzip

    def sentences() -> Iterator[list[str]]:
        yield from TEXT

    expected = Word2Vec(TEXT, **SMALL)
    assert_equal(Word2Vec(sentences(), **SMALL), expected)
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress("\n".join(map(" ".join, TEXT)).encode()))
    assert_equal(Word2Vec(corpus_file=str(packed), **SMALL), expected)
    assert_equal(Word2Vec(gensim_models.word2vec.LineSentence(str(packed)), **SMALL), expected)


def test_an_own_rule_chooses_words() -> None:
    def rule(word: str, count: int, min_count: int) -> int:
        from gensim.utils import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP

        return {"the": RULE_DISCARD, "down": RULE_KEEP}.get(word, RULE_DEFAULT)

    model = Word2Vec(TEXT, **{**SMALL, "min_count": 50}, trim_rule=rule)
    assert model.wv.index_to_key == ["a", "cat", "dog", "sat", "down"]


def test_a_model_of_gensims_is_taken_over(tmp_path: Path) -> None:
    theirs = gensim_models.Word2Vec(TEXT, **SMALL, sg=1)
    theirs.save(str(tmp_path / "theirs"))
    with pytest.raises(FormatError, match=r"is a pickle.*Word2Vec\.adopt\(model\)"):
        Word2Vec.load(tmp_path / "theirs")
    ours = Word2Vec.adopt(gensim_models.Word2Vec.load(str(tmp_path / "theirs")))
    assert_array_equal(ours.wv.vectors, theirs.wv.vectors)
    assert_array_equal(ours.syn1neg, theirs.syn1neg)
    before = ours.wv.vectors.copy()
    train_more(ours)
    assert np.abs(ours.wv.vectors - before).max() > 0
    ours.save(tmp_path / "ours")
    assert_equal(Word2Vec.load(tmp_path / "ours"), ours)


def test_files_of_another_kind_and_damaged_ones_are_sentences(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    path = tmp_path / "model"
    model.save(path)
    with pytest.raises(FormatError, match=r"contains 'vastmax gensim Word2Vec 1': give FastText\.load"):
        FastText.load(path)
    whole = path.read_bytes()
    for end in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FormatError):
            Word2Vec.load(path)
    for old, new in ((b'"vector_size": 12', b'"vector_size": 13'), (b'"epochs": 2', b'"epochs": "')):
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(FormatError):
            Word2Vec.load(path)
    with pytest.raises(InputError, match="does not exist"):
        Word2Vec.load(tmp_path / "nothing")


def test_no_file_is_left_and_the_old_one_stays_where_saving_fails(tmp_path: Path) -> None:
    model = Word2Vec(TEXT, **SMALL)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    model.comment = {"not": "text"}
    with pytest.raises(InputError, match="comment is"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


def test_ngrams_go_to_vastmax_and_back() -> None:
    model = FastText(TEXT, **NGRAMS)
    embeddings = from_gensim(model.wv)
    assert_allclose(embeddings["catlike"], model.wv["catlike"], atol=1e-6)
    back = to_gensim(embeddings)
    assert type(back) is type(model.wv)
    for word in ("cat", "catlike"):
        assert_allclose(back[word], model.wv[word], atol=1e-6)
    assert_allclose(back.vectors_vocab, model.wv.vectors_vocab, atol=1e-4)


def test_ngram_buckets_are_gensims() -> None:
    words = ["cat", "größe", "日本語", "a", "teapots"]
    model = FastText([words] * 3, **{**NGRAMS, "min_n": 2, "max_n": 4})
    for row, word in enumerate(model.wv.index_to_key):
        theirs = gensim_models.fasttext.ft_ngram_hashes(word, 2, 4, 500)
        assert sorted(model.wv.buckets_word[row].tolist()) == sorted(theirs)
    before = model.wv.vectors.copy()
    model.wv.adjust_vectors()
    assert_allclose(before, model.wv.vectors, atol=1e-6)


def test_locks_of_ngrams_are_refused() -> None:
    model = FastText(TEXT, **NGRAMS)
    model.wv.vectors_ngrams_lockf = np.zeros(1, np.float32)
    with pytest.raises(InputError, match="vectors_ngrams_lockf contains other numbers than 1"):
        train_more(model)
