"""Embeddings with n-grams: unseen words have vectors and work everywhere that words do."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.corpora import sentences
from tests.embeddings.stopping import stop_at
from tests.runs.threads import train_together
from vastmax.embeddings import (
    EmbeddingOptions,
    Embeddings,
    EmbeddingTrainer,
    evaluate_similarity,
    export,
    import_vectors,
    train,
)
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.embeddings.subwords import SubwordVectors, make_bags
from vastmax.errors import FormatError, InputError, UnknownWordError
from vastmax.machine import forget_peak_memory, peak_memory
from vastmax.runs import TrainingInterrupted
from vastmax.text import Subwords, encode_corpus
from vastmax.vocabulary import Vocabulary

SMALL: dict[str, Any] = {"dim": 12, "epochs": 2, "threads": 1}
KINDS = [{"subwords": "2-4", "buckets": 500}, {"subwords": "3", "buckets": 90, "hashes": 2}]


@pytest.fixture(scope="module", params=KINDS, ids=["fasttext", "floret"])
def trained(request: pytest.FixtureRequest) -> Embeddings:
    return train(sentences(), **SMALL, **request.param)


def mean_of_ngrams(embeddings: Embeddings, word: str) -> np.ndarray:
    """Return the mean over all n-grams of a word; those without a row count as zero."""
    held = embeddings.subwords
    assert held is not None
    rows = dict(zip(held.held.tolist(), held.vectors.astype(np.float64), strict=True))
    _, buckets = held.rule.buckets_of([word])
    return np.mean([rows.get(bucket, np.zeros(embeddings.dim)) for bucket in buckets.tolist()], axis=0)


def cosine(a: Any, b: Any) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_word_never_seen_is_the_mean_of_its_ngrams(trained: Embeddings) -> None:
    for word in ("g3w3g3w1", "g0", "zzz"):
        np.testing.assert_allclose(trained[word], mean_of_ngrams(trained, word), atol=1e-6)
    both = trained[["g3w3g3w1", "g0w1", "g0"]]
    np.testing.assert_array_equal(both[1], trained.vectors[trained.id_of("g0w1")])
    np.testing.assert_array_equal(both[[0, 2]], np.stack([trained["g3w3g3w1"], trained["g0"]]))
    assert "g3w3g3w1" not in trained
    with pytest.raises(UnknownWordError):
        trained.id_of("g3w3g3w1")


def test_a_hashed_word_needs_no_row_of_its_own() -> None:
    trained = train(sentences(), **SMALL, **KINDS[1])
    for word in trained.vocabulary.words or []:
        np.testing.assert_allclose(trained[word], mean_of_ngrams(trained, word), atol=1e-6)


def test_whatever_takes_words_takes_those_never_seen(trained: Embeddings) -> None:
    words, unseen = trained.vocabulary.words or [], "g3w3g3w1"
    query = trained[unseen].astype(np.float64)
    expected = sorted(words, key=lambda word: -cosine(query, trained[word]))[:5]
    assert [found.word for found in trained.nearest(unseen, 5)] == expected
    together = trained.nearest([unseen, "g0w1"], 5)
    names = [[found.word for found in answers] for answers in (*together, trained.nearest("g0w1", 5))]
    assert names[0] == expected and names[1] == names[2]
    assert trained.similarity(unseen, "g0w1") == pytest.approx(cosine(query, trained["g0w1"]), abs=1e-6)
    assert trained.similarity(unseen, unseen) == pytest.approx(1)
    answers = [found.word for found in trained.analogy("g0w1", unseen, "g1w1", 3)]
    parts = [each / np.linalg.norm(each) for each in (trained["g0w1"], query, trained["g1w1"])]
    wanted = parts[1] - parts[0] + parts[2]
    free = [word for word in words if word not in ("g0w1", "g1w1")]
    assert answers == sorted(free, key=lambda word: -cosine(wanted, trained[word]))[:3]


def test_similarity_is_judged_on_words_never_seen(trained: Embeddings, tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("g0w1 g0w2 9\ng3w3g3w1 g0w1 5\ng1w1 g2w1 2\n")
    assert evaluate_similarity(trained, file).pairs == 3
    plain = Embeddings(trained.vectors, trained.vocabulary)
    assert (report := evaluate_similarity(plain, file)).pairs == 2 and report.left_out == 1


def test_a_folder_brings_it_all_back(trained: Embeddings, tmp_path: Path) -> None:
    trained.save(tmp_path)
    loaded = Embeddings.load(tmp_path)
    assert loaded.subwords is not None and trained.subwords is not None
    assert loaded.subwords.rule == trained.subwords.rule and loaded.config == trained.config
    np.testing.assert_array_equal(loaded.subwords.vectors, trained.subwords.vectors)
    np.testing.assert_array_equal(loaded["g3w3g3w1"], trained["g3w3g3w1"])
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "again")["g3w3g3w1"], trained["g3w3g3w1"])


@pytest.mark.parametrize(
    "damage",
    [
        {"buckets": 3},
        {"buckets": 0},
        {"hashes": 9},
        {"shortest": "2"},
        {"surprise": 1},
        None,
        [],
        {"shortest": 5, "longest": 2},
    ],
)
def test_a_damaged_rule_is_a_sentence(damage: Any, tmp_path: Path) -> None:
    train(sentences()[:300], **SMALL, **KINDS[0]).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    if isinstance(damage, dict):
        config["subwords"] |= damage
    elif damage is None:
        del config["subwords"]["buckets"]
        config["subwords"]["buckets"] = None
    else:
        config["subwords"] = damage
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="damaged"):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_resumes_bit_for_bit(
    model: Any, objective: Any, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("report_seconds", "report_share"):
        monkeypatch.setattr(EmbeddingLoop, name, 0)
    monkeypatch.setattr(EmbeddingLoop, "step_seconds", 1e-9)
    options = {**SMALL, "model": model, "objective": objective, **kind}
    whole = train(sentences(), **options)
    with pytest.raises(TrainingInterrupted):
        train(sentences(), output=tmp_path, progress=stop_at(7), **options)
    with pytest.raises(FormatError, match="a checkpoint with subwords"):
        Embeddings.load(tmp_path / "checkpoint")
    resumed = train(sentences(), output=tmp_path, resume=True, **options)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert resumed.subwords is not None and whole.subwords is not None
    np.testing.assert_array_equal(resumed.subwords.vectors, whole.subwords.vectors)
    groups = [near.word[:2] == "g3" for near in whole.nearest("g3w2", 3)]  # type: ignore[index]
    assert sum(groups) >= 2


def test_processes_train_one_model(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(sentence) + "\n" for sentence in sentences()))
    options = {**SMALL, **KINDS[0], "output": tmp_path / "model"}
    both = train_together(2, str(path), **options)
    for each in both:
        np.testing.assert_array_equal(each["g3w3g3w1"], both[0]["g3w3g3w1"])
        np.testing.assert_array_equal(each.vectors, both[0].vectors)
    finished = train_together(2, str(path), resume=True, **options)
    for each in finished:
        np.testing.assert_array_equal(each["g3w3g3w1"], both[0]["g3w3g3w1"])


def test_bags_are_the_rows_of_words_and_ngrams_most_used_first() -> None:
    vocabulary = Vocabulary(["tea", "teapot", "pot"], [9, 5, 2])
    bags = make_bags(vocabulary, Subwords(3, 3, 1000))
    _, buckets = Subwords(3, 3, 1000).buckets_of(["tea", "teapot", "pot"])
    assert set(bags.held.tolist()) == set(buckets.tolist()) and bags.num_own == 3
    uses = {bucket: 0 for bucket in bags.held.tolist()}
    for word, count in zip(["tea", "teapot", "pot"], [9, 5, 2], strict=True):
        for bucket in Subwords(3, 3, 1000).buckets_of([word])[1].tolist():
            uses[bucket] += count
    assert [uses[bucket] for bucket in bags.held.tolist()] == sorted(uses.values(), reverse=True)
    for number, word in enumerate(["tea", "teapot", "pot"]):
        rows = bags.rows[bags.offsets[number] : bags.offsets[number + 1]].tolist()
        assert rows[0] == number
        assert [bags.held[row - 3] for row in rows[1:]] == Subwords(3, 3, 1000).buckets_of([word])[1].tolist()


def test_a_model_without_any_ngram_has_zero_vectors_for_longer_words(tmp_path: Path) -> None:
    trained = train([["a", "b"] * 2] * 50, subwords="5-6", min_count=1, **SMALL)
    assert trained.subwords is not None and len(trained.subwords.held) == 0
    assert not trained["abcdef"].any() and trained["abcdef"].shape == (12,)
    export(trained, tmp_path / "model.bin", format="fasttext")
    np.testing.assert_array_equal(import_vectors(tmp_path / "model.bin")[["a", "b"]], trained[["a", "b"]])


def test_a_word_that_shares_no_ngram_has_no_neighbours() -> None:
    trained = train(sentences(), **SMALL, subwords="3-4", buckets=1_000_000)
    strange = ["ÿþÿþ", "-"]
    assert not trained[strange].any()
    told = "shares no n-gram with the words of these embeddings: give another word"
    for ask in (
        lambda: trained.nearest(strange[0]),
        lambda: trained.nearest(["g1w1", strange[0]]),
        lambda: trained.nearest(positive=["g1w1", strange[0]]),
        lambda: trained.analogy("g1w1", "g1w2", strange[0]),
    ):
        with pytest.raises(InputError, match=told):
            ask()
    assert trained.similarity("g1w1", strange[0]) == 0


def test_long_ngrams_have_lengths_too() -> None:
    assert EmbeddingOptions(subwords="3-100").subword_rule == Subwords(3, 100)
    with pytest.raises(InputError, match="longest is 101"):
        EmbeddingOptions(subwords="3-101")


@pytest.mark.skipif("VASTMAX_SANITIZED_CORE" in os.environ, reason="sanitizers take memory of their own")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not count peaks anew")
def test_a_run_takes_the_memory_it_says() -> None:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(word) for word in letters[np.random.default_rng(0).integers(0, 26, (4000, 12))]]
    with encode_corpus([words] * 5) as corpus:
        needs: list[str] = []
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        forget_peak_memory()
        trainer = EmbeddingTrainer(corpus, EmbeddingOptions(subwords="3-6", epochs=1, threads=1), note=needs.append)
        trainer.run(trainer.num_chunks)
        trained = trainer.finish(output_vectors=False)
        peak = peak_memory()
    assert trained.subwords is not None and peak is not None
    said = re.fullmatch(r"4,000 words and ([\d,]+) rows of n-grams of dim 100 need ([\d.]+) MB of memory", needs[0])
    assert said is not None and int(said[1].replace(",", "")) == len(trained.subwords.held)
    assert 0.8 * float(said[2]) < (peak - resident) / 1e6 < float(said[2]) + 30  # 30 MB for temporary memory of hashing


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="subwords is '6-3': give the lengths of n-grams, for example 3-6"):
        EmbeddingOptions(subwords="6-3")
    with pytest.raises(InputError, match="hashes is 5"):
        EmbeddingOptions(subwords="3-6", hashes=5)
    with pytest.raises(InputError, match="engine 'torch' does not support subwords"):
        EmbeddingOptions(engine="torch", objective="nce", subwords="3-6")
    trained = train(sentences()[:300], **SMALL, subwords="4-6", buckets=100)
    with pytest.raises(InputError, match="'a' has no n-gram of 4 characters"):
        trained["a"]
    with pytest.raises(InputError, match="subwords has 12 columns and vectors has 3"):
        Embeddings(np.eye(3), Vocabulary(["a", "b", "c"], None), subwords=trained.subwords)
    with pytest.raises(InputError, match="give one vector per bucket"):
        SubwordVectors(Subwords(buckets=5), np.zeros((4, 2), np.float32))
    with pytest.raises(InputError, match="one outside 0 to 4: give each bucket once"):
        SubwordVectors(Subwords(buckets=5), np.zeros((2, 2), np.float32), np.array([1, 1]))
    with pytest.raises(InputError, match="config has the key 'subwords'"):
        Embeddings(np.eye(2), Vocabulary(["a", "b"], None), config={"subwords": "3-6"}).save(tmp_path)
    export(trained, tmp_path / "vectors.txt")  # writes the words without n-grams
