"""Warm starts from vectors: what is kept, added and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.corpora import sentences
from tests.embeddings.stopping import stop_at
from tests.runs.threads import train_together
from vastmax.cli.app import app
from vastmax.embeddings import EmbeddingOptions, Embeddings, export, import_vectors, train
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.warm_start import WarmStart
from vastmax.errors import CheckpointError, CorpusError, InputError
from vastmax.runs import TrainingInterrupted
from vastmax.text import Subwords, encode_corpus
from vastmax.vocabulary import Vocabulary

PEERS = Path(__file__).parent / "formats" / "peers"
SMALL: dict[str, Any] = {"dim": 12, "epochs": 2, "threads": 1, "keep_output_vectors": True}
STILL: dict[str, Any] = {**SMALL, "epochs": 1, "learning_rate": 1e-9, "min_learning_rate": 0}
KINDS = [{}, {"subwords": "2-4", "buckets": 500}, {"subwords": "2-4", "buckets": 500, "hashes": 2}]

MORE = [["g0w1", "g0w2", "new", "g0w3", "g1w1"], ["newer", "g1w1", "new", "g1w2"]] * 40


@pytest.fixture(scope="module", params=KINDS, ids=["plain", "fasttext", "floret"])
def start(request: pytest.FixtureRequest) -> Embeddings:
    return train(sentences(), **SMALL, **request.param)


def cosines(one: Embeddings, other: Embeddings, words: list[str]) -> np.ndarray:
    a, b = (each[words].astype(np.float64) for each in (one, other))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_a_run_without_a_step_leaves_everything(start: Embeddings) -> None:
    went_on = train(MORE, start=start, **STILL)
    words, more = start.vocabulary.words, went_on.vocabulary
    assert words is not None and set(more.words or []) == {*words, "new", "newer"}
    np.testing.assert_allclose(went_on[words], start[words], atol=3e-6)
    assert start.output_vectors is not None and went_on.output_vectors is not None
    rows = [more[word] for word in words]
    np.testing.assert_allclose(went_on.output_vectors[rows], start.output_vectors, atol=1e-6)
    assert np.abs(went_on.output_vectors[more["new"]]).max() < 1e-6
    if start.subwords is not None:
        assert went_on.subwords is not None and went_on.subwords.rule == start.subwords.rule
        # an n-gram found only in new words is new too
        np.testing.assert_allclose(went_on["g3w3g3w1"], start["g3w3g3w1"], atol=3e-6)


def with_ngrams(start: Embeddings, *, held: int | None = None, pruned: bool = False, **rule: Any) -> Embeddings:
    """Return `start` with random n-grams in all buckets, or in `held` of them; its vectors stay as they are."""
    made = Subwords(**{"shortest": 2, "longest": 4, "buckets": 500, **rule})
    generator = np.random.default_rng(7)
    buckets = np.sort(generator.permutation(made.buckets)[:held])
    ngrams = generator.normal(size=(len(buckets), start.dim)).astype(np.float32)
    subwords = SubwordVectors(made, ngrams, buckets, pruned=pruned)
    return Embeddings(start.vectors, start.vocabulary, start.output_vectors, subwords=subwords)


@pytest.mark.parametrize("frozen", [None, "all"])
@pytest.mark.parametrize("held", [500, 200])
def test_ngrams_that_no_word_of_the_new_text_meets_are_kept(frozen: Any, held: int) -> None:
    start = with_ngrams(train(sentences(), **SMALL), held=held)
    went_on = train(MORE, start=start, frozen=frozen, **STILL)
    assert went_on.subwords is not None and start.subwords is not None
    rows = dict(zip(went_on.subwords.held.tolist(), went_on.subwords.vectors, strict=True))
    kept = np.array([rows[bucket] for bucket in start.subwords.held.tolist()])
    np.testing.assert_allclose(kept, start.subwords.vectors, atol=1e-5)
    words = start.vocabulary.words or []
    np.testing.assert_allclose(went_on[words], start[words], atol=1e-5)


def test_pruned_ngrams_stay_so() -> None:
    start = with_ngrams(train(sentences(), **SMALL), held=200, pruned=True)
    went_on = train(MORE, start=start, **STILL)
    assert went_on.subwords is not None and went_on.subwords.pruned and start.subwords is not None
    assert set(went_on.subwords.held.tolist()) == set(start.subwords.held.tolist())
    for words in (start.vocabulary.words or [], ["xyzzy", "g3w3g3w1"]):
        np.testing.assert_allclose(went_on[words], start[words], atol=1e-5)


def test_the_default_rate_is_an_eighth_of_the_usual_one_for_as_many_words() -> None:
    warm = WarmStart(train(sentences(), **SMALL))
    for words, usual in ((0, 0.085), (10**9, 0.023)):
        options = EmbeddingOptions(dim=12, epochs=1)
        assert options.for_corpus(words).learning_rate == usual
        assert warm.for_corpus(options, words).learning_rate == pytest.approx(usual / 8, rel=0.05)
    assert warm.for_corpus(EmbeddingOptions(learning_rate=0.5), 10**9).learning_rate == 0.5


def test_a_start_with_other_ngrams_is_another() -> None:
    start = train(sentences(), **SMALL)
    made = {pruned: with_ngrams(start, held=200, pruned=pruned) for pruned in (False, True)}
    assert WarmStart(made[True]).fingerprint() != WarmStart(made[False]).fingerprint()


def test_hashed_words_that_are_no_means_are_told() -> None:
    floret = {"hashes": 2, "floret": True}
    start = with_ngrams(train(sentences()[:300], **SMALL), **floret)
    with pytest.warns(UserWarning, match="words of start, such as 'g.*', have vectors that are not the mean"):
        train(MORE, start=start, **STILL)


@pytest.mark.parametrize("name", ["skipgram.bin", "quantized.ftz", "pruned.ftz", "floret.floret"])
@pytest.mark.filterwarnings("ignore:.*not the mean of their n-grams")
def test_models_of_other_programs_are_a_start(name: str) -> None:
    start = import_vectors(PEERS / name)
    options = {**STILL, "dim": start.dim, "frozen": None, "min_count": 1}
    went_on = train([["tea", "with", "milk"]] * 20, start=start, **options)
    words = [*(start.vocabulary.words or [])[1:20], "xyzzy", "unsene", "theirs"]  # after floret's </s>
    np.testing.assert_allclose(went_on[words], start[words], atol=2e-5)


def test_counts_are_those_of_both_texts_in_falling_frequency(start: Embeddings) -> None:
    went_on = train(MORE, start=start, **STILL).vocabulary
    before = start.vocabulary
    counts = {word: int(before.counts[before[word]]) for word in before.words or []}
    for sentence in MORE:
        for word in sentence:
            counts[word] = counts.get(word, 0) + 1
    assert dict(zip(went_on.words or [], went_on.counts.tolist(), strict=True)) == counts
    assert (np.diff(went_on.counts) <= 0).all()


def test_a_small_run_moves_what_it_reads_a_little_and_plain_words_it_lacks_not_at_all(start: Embeddings) -> None:
    went_on = train(MORE, start=start, **{**SMALL, "learning_rate": 0.01, "epochs": 1})
    read, words = {word for sentence in MORE for word in sentence}, start.vocabulary.words or []
    absent = [word for word in words if word not in read]
    assert (cosines(start, went_on, words) > 0.98).all()
    met = [word for word in words if word in read]
    assert (went_on[met] != start[met]).any(1).all()
    if start.subwords is None:
        np.testing.assert_array_equal(went_on[absent], start[absent])


@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("kind", KINDS[:2], ids=["plain", "fasttext"])
def test_frozen_words_end_bit_for_bit_as_they_were(model: Any, objective: Any, kind: Any) -> None:
    start = train(sentences(), **SMALL, **kind)
    words = start.vocabulary.words or []
    some = words[::3]
    options = {**SMALL, "model": model, "objective": objective, "threads": 2, **kind}
    for frozen in (some, "all"):
        went_on = train([*MORE, *sentences()[:500]], start=start, frozen=frozen, **options)
        kept = words if frozen == "all" else some
        np.testing.assert_array_equal(went_on[kept], start[kept])
        if frozen != "all":
            free = [word for word in words if word not in some]
            assert (went_on[free] != start[free]).any(1).mean() > 0.9
        assert np.abs(went_on["new"]).max() > 0


def test_words_get_ngrams_and_keep_their_vectors() -> None:
    start = train(sentences(), **SMALL)
    went_on = train(MORE, start=start, **STILL, subwords="3-4", buckets=300)
    words = start.vocabulary.words or []
    np.testing.assert_allclose(went_on[words], start[words], atol=3e-6)
    assert went_on["neverseen"].shape == (12,)


def test_the_same_tree_keeps_its_nodes_and_another_begins_anew() -> None:
    options = {**SMALL, "objective": "hierarchical"}
    start = train(sentences(), **options)
    words, counts = start.vocabulary.words or [], start.vocabulary.counts
    corpus = encode_corpus(sentences(), known=Vocabulary(words, counts))
    same = train(corpus, start=start, **{**STILL, "objective": "hierarchical"})
    assert start.output_vectors is not None and same.output_vectors is not None
    np.testing.assert_allclose(same.output_vectors, start.output_vectors, atol=1e-6)
    other = train(MORE, start=start, **{**STILL, "objective": "hierarchical"})
    assert other.output_vectors is not None and np.abs(other.output_vectors).max() < 1e-6


def test_vectors_of_a_file_are_a_start(tmp_path: Path) -> None:
    start = train(sentences(), **SMALL)
    export(start, tmp_path / "vectors.txt")
    start.save(tmp_path / "model")
    for place in (tmp_path / "vectors.txt", str(tmp_path / "model")):
        went_on = train(MORE, start=place, **STILL)
        words = start.vocabulary.words or []
        np.testing.assert_allclose(went_on[words], start[words], atol=1e-6)


def test_processes_start_alike(tmp_path: Path) -> None:
    start = train(sentences(), **SMALL, **KINDS[1])
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(sentence) + "\n" for sentence in MORE))
    both = train_together(3, str(path), start=start, frozen=["g0w1"], **SMALL)
    for each in both:
        np.testing.assert_array_equal(each.vectors, both[0].vectors)
        np.testing.assert_array_equal(each["g0w1"], start["g0w1"])
        assert "new" in each and (cosines(start, each, start.vocabulary.words or []) > 0.7).all()


def test_processes_resume_a_finished_model_with_pruned_ngrams(tmp_path: Path) -> None:
    start = with_ngrams(train(sentences()[:400], **SMALL), held=200, pruned=True)
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(sentence) + "\n" for sentence in MORE))
    options = {**SMALL, "start": start, "output": tmp_path / "model"}
    both = train_together(2, str(path), **options)
    again = [*train_together(2, str(path), resume=True, **options), Embeddings.load(tmp_path / "model")]
    for each in again:
        assert each.subwords is not None and each.subwords.pruned
        np.testing.assert_array_equal(each[["xyzzy", "g3w3g3w1"]], both[0][["xyzzy", "g3w3g3w1"]])
    export(again[-1], tmp_path / "vectors.txt")


def test_a_stopped_run_goes_on_from_the_same_start_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report_seconds", "report_share"):
        monkeypatch.setattr(EmbeddingLoop, name, 0)
    monkeypatch.setattr(EmbeddingLoop, "step_seconds", 1e-9)
    start = train(sentences()[:800], **SMALL, **KINDS[1])
    whole = train(sentences(), start=start, frozen=["g1w1"], **SMALL)
    with pytest.raises(TrainingInterrupted):
        train(sentences(), start=start, frozen=["g1w1"], output=tmp_path, progress=stop_at(5), **SMALL)
    with pytest.raises(CheckpointError, match="start"):
        train(sentences(), start=start, output=tmp_path, resume=True, **SMALL)
    resumed = train(sentences(), start=start, frozen=["g1w1"], output=tmp_path, resume=True, **SMALL)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert resumed.subwords is not None and whole.subwords is not None
    np.testing.assert_array_equal(resumed.subwords.vectors, whole.subwords.vectors)


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        (0, {"dim": 9}, "dim is 9, and start has vectors of dim 12: give dim 12"),
        (0, {"frozen": ["nobody"]}, "frozen contains the word 'nobody', which start lacks"),
        (0, {"frozen": "g0w1"}, "frozen is 'g0w1'"),
        (0, {"engine": "torch", "objective": "nce"}, "engine 'torch' does not support start"),
        (0, {"subwords": "3-6", "hashes": 2}, "hashes is 2, which hashes words like n-grams, and start has no n-grams"),
        (1, {"subwords": "3-6"}, "start has subwords 2-4, buckets 500 and hashes 1, and this run has others"),
        (2, {"frozen": "all"}, "hashes is 2, which hashes words like n-grams, and words are frozen"),
        (0, {"frozen": 5}, "frozen is 5: give a list of words, or 'all'"),
        (0, {"frozen": [["g0w1"]]}, r"frozen is \[\['g0w1'\]\]: give a list of words"),
        (0, {"buckets": 50}, "buckets is 50, and subwords is not given: give subwords, for example 3-6"),
    ],
)
def test_a_start_that_is_refused(kind: int, options: dict[str, Any], complaint: str) -> None:
    start = train(sentences()[:300], **SMALL, **KINDS[kind])
    with pytest.raises(InputError, match=complaint):
        train(MORE, start=start, **{**{k: v for k, v in SMALL.items() if k != "keep_output_vectors"}, **options})


def test_starts_that_hold_what_nobody_can_go_on_from() -> None:
    plain = train(sentences()[:300], **SMALL)
    assert plain.output_vectors is not None
    outputs = plain.output_vectors.copy()
    outputs[3, 2] = np.nan
    with pytest.raises(InputError, match="the output vectors of start contain NaN"):
        train(MORE, start=Embeddings(plain.vectors, plain.vocabulary, outputs), **SMALL)
    damaged = with_ngrams(plain)
    assert damaged.subwords is not None
    damaged.subwords.vectors[1, 1] = np.inf
    with pytest.raises(InputError, match="the vectors of n-grams of start contain NaN or infinity"):
        train(MORE, start=damaged, **SMALL)
    with pytest.raises(InputError, match="start hashes words with 1 hash"):
        train(MORE, start=with_ngrams(plain, floret=True), **SMALL)
    words, counts = plain.vocabulary.words, plain.vocabulary.counts.copy()
    counts[0] = 2**63 - 2
    often = Embeddings(plain.vectors, Vocabulary(words, counts))
    with pytest.raises(InputError, match="counts of start and of the text add up to more than"):
        train([*MORE, [str((words or [])[0])] * 9], start=often, **SMALL)


def test_starts_without_counts_and_with_rules_of_no_ngrams_go_on() -> None:
    plain = train(sentences(), **SMALL, objective="hierarchical")
    uncounted = Embeddings(plain.vectors, Vocabulary(plain.vocabulary.words, None), plain.output_vectors)
    ruled = with_ngrams(plain, shortest=0, longest=0)
    for start in (uncounted, ruled):
        went_on = train(MORE, start=start, objective="hierarchical", **STILL)
        words = plain.vocabulary.words or []
        np.testing.assert_allclose(went_on[words], plain[words], atol=3e-6)


def test_a_frozen_zero_keeps_its_sign() -> None:
    start = with_ngrams(train(sentences(), **SMALL))
    start.vectors[0, :2] = -0.0, 0.0
    went_on = train(MORE, start=start, frozen="all", **SMALL)
    words = start.vocabulary.words or []
    assert went_on[words].tobytes() == start[words].tobytes()


def test_a_text_without_a_word_to_learn_says_so() -> None:
    start = train(sentences()[:300], **SMALL)
    with pytest.raises(CorpusError, match="no word that occurs 5 times or more"):
        train([["nobody", "knows"]], start=start, **SMALL)


def test_frozen_words_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(sentences(), **SMALL, output="model")
    Path("more.txt").write_text("".join(" ".join(sentence) + "\n" for sentence in MORE))
    Path("words.txt").write_text("g0w1\n\n g0w2 \n")
    Path("empty.txt").write_text("\n")
    verb = ["train", "more.txt", "-o", "new", "--start", "model", "--dim", "12", "--threads", "1"]
    for frozen, complaint in (("empty.txt", "--frozen empty.txt is empty"), ("none.txt", "cannot be read")):
        refused = CliRunner().invoke(app, [*verb, "--frozen", frozen])
        assert isinstance(refused.exception, InputError) and complaint in str(refused.exception)
        assert not Path("new").exists()
    assert CliRunner().invoke(app, [*verb, "--frozen", "words.txt"]).exit_code == 0
    before, after = Embeddings.load("model"), Embeddings.load("new")
    np.testing.assert_array_equal(after[["g0w1", "g0w2"]], before[["g0w1", "g0w2"]])
    assert (after["g0w3"] != before["g0w3"]).any()


def test_starts_that_are_none() -> None:
    with pytest.raises(InputError, match="frozen is given without start"):
        train(MORE, frozen=["new"], **SMALL)
    nameless = Embeddings(np.eye(12), Vocabulary(None, np.arange(12, 0, -1)))
    with pytest.raises(InputError, match="start has no words"):
        train(MORE, start=nameless, **SMALL)
    start = train(sentences()[:300], **SMALL)
    with encode_corpus(MORE) as corpus, pytest.raises(InputError, match=r"known=start\.vocabulary"):
        train(corpus, start=start, **SMALL)
    with encode_corpus(MORE, known=start.vocabulary) as corpus:
        went_on = train(corpus, start=start, **STILL)
    assert len(went_on) == len(start) + 2
