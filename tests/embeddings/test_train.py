"""`train`: its result and files, and the errors it raises before training starts."""

import errno
import inspect
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.corpora import GROUPS, sentences, write_corpus
from vastmax.embeddings import EmbeddingOptions, Embeddings, train
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.errors import CorpusError, InputError, VastmaxError
from vastmax.runs import TrainingProgress
from vastmax.text import Phrases, ScanProgress, encode_corpus

SMALL: dict[str, Any] = {"dim": 16, "epochs": 2, "threads": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


def test_every_option_is_an_argument_with_the_same_default() -> None:
    arguments = inspect.signature(train).parameters
    for field in fields(EmbeddingOptions):
        assert arguments[field.name].default == field.default, field.name


@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_words_of_a_group_find_each_other(model: Any, objective: Any) -> None:
    embeddings = train(sentences(), model=model, objective=objective, dim=20, epochs=10, threads=1, learning_rate=0.05)
    for group in range(GROUPS):
        neighbours = embeddings.nearest(f"g{group}w2", 5)
        assert sum(str(found.word).startswith(f"g{group}w") for found in neighbours) >= 4


def test_sources_of_every_kind_give_the_same_vectors(corpus: Path) -> None:
    from_file = train(corpus, **SMALL)
    from_lists = train(sentences(), **SMALL)
    from_stream = train((sentence for sentence in sentences()), **SMALL)
    with encode_corpus(corpus) as encoded:
        from_ids = train(encoded, **SMALL)
    for other in (from_lists, from_stream, from_ids):
        assert other.vocabulary.words == from_file.vocabulary.words
        np.testing.assert_array_equal(other.vectors, from_file.vectors)


def test_rows_of_a_data_set_and_sets_are_no_sentences(tmp_path: Path) -> None:
    rows = [{"title": "x", "tokens": ["tea", "with"]}] * 40
    with pytest.raises(InputError, match=r"sentence 1 of the corpus is .* one field, for example row"):
        train(rows, output=tmp_path / "model", **SMALL)
    with pytest.raises(InputError, match="whose order differs between processes"):
        train([set(row) for row in rows], output=tmp_path / "model", **SMALL)
    with pytest.raises(CorpusError, match=r"file the cat sat does not exist: .* lists of words"):
        train(["the cat sat"], output=tmp_path / "model", **SMALL)
    assert not list(tmp_path.iterdir())
    assert train([row["tokens"] for row in rows], **SMALL).vocabulary.words == ["tea", "with"]


PAIRS = [["new", "york", "is", "big"], ["new", "york", "is", "old"], ["los", "angeles", "is", "old", "big"]] * 20


def test_phrases_are_saved_with_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    how = {"phrase_threshold": 5.0, "phrase_min_count": 1, "connector_words": ["of"]}
    embeddings = train(PAIRS, output=folder, phrases=1, **how, **SMALL)
    phrases = Phrases.load(folder / "phrases.tsv")
    assert list(phrases.apply([["in", "new", "york", "city"]])) == [["in", "new_york", "city"]]
    assert "new_york" in embeddings and embeddings.config["corpus"]["phrases"] == len(phrases) > 1
    with encode_corpus(PAIRS, phrases=1, **how) as corpus:
        assert corpus.phrases == phrases
        train(corpus, output=tmp_path / "of ids", **SMALL)
    train(PAIRS, output=tmp_path / "given", phrases=folder / "phrases.tsv", **SMALL)
    train(PAIRS, output=tmp_path / "object", phrases=phrases, **SMALL)
    for other in ("of ids", "given", "object"):
        assert Phrases.load(tmp_path / other / "phrases.tsv") == phrases
    train(PAIRS, output=folder, overwrite=True, phrases=folder / "phrases.tsv", **SMALL)
    assert Phrases.load(folder / "phrases.tsv") == phrases


def test_phrases_of_a_model_that_is_replaced_go_with_it(tmp_path: Path) -> None:
    train(PAIRS, output=tmp_path / "model", phrases=1, **SMALL)
    assert (tmp_path / "model" / "phrases.tsv").is_file()
    assert train(PAIRS, output=tmp_path / "model", overwrite=True, **SMALL).config["corpus"]["phrases"] is None
    assert not (tmp_path / "model" / "phrases.tsv").exists()
    mine = tmp_path / "new" / "phrases.tsv"  # a file that belongs to no model
    mine.parent.mkdir()
    mine.write_text("mine")
    train(PAIRS, output=tmp_path / "new", **SMALL)
    assert mine.read_text() == "mine"


def test_numbers_of_numpy_are_numbers(corpus: Path, tmp_path: Path) -> None:
    """A hyper-parameter search may draw NumPy scalars."""
    drawn = {"dim": np.int64(16), "epochs": np.uint8(2), "threads": np.int32(1), "learning_rate": np.float32(0.03125)}
    embeddings = train(corpus, output=tmp_path / "model", min_count=np.int64(5), checkpoint_minutes=1e-9, **drawn)
    np.testing.assert_array_equal(embeddings.vectors, train(corpus, **SMALL, learning_rate=0.03125).vectors)
    assert Embeddings.load(tmp_path / "model").config == embeddings.config


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list what is mapped")
@pytest.mark.parametrize("options", [{"dim": 15}, {"dim": 16}, {"subwords": "3-4"}])
def test_the_result_does_not_hold_the_trainer(corpus: Path, options: dict[str, Any]) -> None:
    def mapped() -> int:  # deleted files still mapped, such as the encoded corpus of a trainer
        return Path("/proc/self/maps").read_text().count("(deleted)")

    before = mapped()
    with encode_corpus(corpus):
        assert mapped() > before
    embeddings = train(corpus, keep_output_vectors=True, **{**SMALL, **options})
    assert mapped() == before
    matrices = [embeddings.vectors, embeddings.output_vectors]
    if embeddings.subwords is not None:
        matrices.append(embeddings.subwords.vectors)
    for matrix in matrices:
        assert matrix is not None and matrix.flags.c_contiguous and matrix.flags.writeable


def test_seed_and_one_thread_repeat_bit_for_bit(corpus: Path) -> None:
    first, again, other = (train(corpus, **SMALL, seed=seed).vectors for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_folder_holds_what_was_returned(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "models" / "first"
    embeddings = train(corpus, output=output, keep_output_vectors=True, **SMALL)
    files = sorted(path.name for path in output.iterdir())
    assert files == ["config.json", "metrics.jsonl", "vectors.safetensors", "vocabulary.tsv"]
    loaded = Embeddings.load(output)
    np.testing.assert_array_equal(loaded.vectors, embeddings.vectors)
    assert loaded.output_vectors is not None
    assert loaded.output_vectors.shape == embeddings.vectors.shape
    assert loaded.config == embeddings.config
    assert loaded.config["options"]["dim"] == 16
    assert loaded.config["options"]["learning_rate"] == 0.067  # the default for two epochs
    assert loaded.config["corpus"]["words_read"] == 24_000


def test_metrics_and_progress_tell_the_truth(corpus: Path, tmp_path: Path) -> None:
    reports: list[ScanProgress | TrainingProgress] = []
    train(corpus, output=tmp_path / "model", progress=reports.append, **SMALL)
    assert isinstance(reports[0], ScanProgress)
    training = [report for report in reports if isinstance(report, TrainingProgress)]
    records = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()]
    assert records == [report.to_record() for report in training]
    last = training[-1]
    assert (last.words, last.words_total, last.share) == (48_000, 48_000, 1.0)
    assert last.seconds_left == 0
    assert last.learning_rate == pytest.approx(2.5e-6)
    assert last.words_per_second == pytest.approx(last.words / last.seconds)
    # Before training, each of the six decisions of a pair costs log 2; afterwards less.
    assert 0 < last.loss < training[0].loss <= 6 * math.log(2) * 1.01


def test_recent_losses_add_up_to_the_loss(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vastmax.embeddings.trainers import compiled as embedding_trainer

    examples: list[int] = []
    original = embedding_trainer.EmbeddingTrainer.run

    def run(self: Any, chunks: int) -> Any:
        statistics = original(self, chunks)
        examples.append(statistics.examples)
        return statistics

    monkeypatch.setattr(embedding_trainer.EmbeddingTrainer, "run", run)
    monkeypatch.setattr(EmbeddingLoop, "report_seconds", 0)
    monkeypatch.setattr(EmbeddingLoop, "report_share", 0)
    reports: list[Any] = []
    train(sentences(), progress=reports.append, **SMALL)
    training = [report for report in reports if isinstance(report, TrainingProgress)]
    assert len(training) == len(examples) > 1
    total = sum(report.recent_loss * count for report, count in zip(training, examples, strict=True))
    assert training[-1].loss == pytest.approx(total / sum(examples), rel=1e-12)


@pytest.mark.parametrize("place", ["file/model", "file"])
def test_unwritable_output_is_found_before_reading(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"):
        train(tmp_path / "there is no corpus", output=tmp_path / place, **SMALL)


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        train(tmp_path / "missing.txt", output=tmp_path / "model", **SMALL)
    assert not (tmp_path / "model").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(CorpusError):
        train(tmp_path / "missing.txt", output=tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine").is_dir()


def test_finished_model_is_not_overwritten_unasked(corpus: Path, tmp_path: Path) -> None:
    first = train(corpus, output=tmp_path, **SMALL)
    for resume in (False, True):
        with pytest.raises(InputError, match=f"{tmp_path} contains a finished model.*--overwrite"):
            train(corpus, output=tmp_path, resume=resume, seed=2, **SMALL)
    np.testing.assert_array_equal(Embeddings.load(tmp_path).vectors, first.vectors)
    again = train(corpus, output=tmp_path, overwrite=True, seed=2, **SMALL)
    assert not np.array_equal(again.vectors, first.vectors)
    np.testing.assert_array_equal(Embeddings.load(tmp_path).vectors, again.vectors)


def test_contradictions_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exclude each other"):
        train(corpus, output=tmp_path / "model", resume=True, overwrite=True)
    with pytest.raises(InputError, match="resume is given without output"):
        train(corpus, resume=True)
    with pytest.raises(InputError, match="checkpoint_minutes"):
        train(corpus, checkpoint_minutes=-1)


def test_a_disk_too_small_is_found_before_training(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vastmax.runs import output

    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="MB free, but the model and its checkpoint need"):
        train(corpus, output=tmp_path / "model", **SMALL)


@pytest.mark.parametrize("minutes", [10, 0])
def test_a_model_that_cannot_be_saved_is_saved_by_resuming(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    from vastmax.embeddings.formats import folder

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    options = {"output": tmp_path / "model", "checkpoint_minutes": minutes, **SMALL}
    monkeypatch.setattr(folder, "write_tensors", full)
    kept = r" The checkpoint in \S*model/checkpoint is kept: resume it \(--resume\) to save again\." if minutes else ""
    with pytest.raises(VastmaxError, match=rf"trained but not saved: .*No space left on device.* place\.{kept}$"):
        train(corpus, **options)
    assert (tmp_path / "model" / "checkpoint").exists() == bool(minutes)
    monkeypatch.undo()
    told: list[Any] = []
    if minutes:
        train(corpus, resume=True, progress=told.append, **options)
        assert not [report for report in told if isinstance(report, TrainingProgress)], "no step was made"
        assert np.array_equal(Embeddings.load(tmp_path / "model").vectors, train(corpus, **SMALL).vectors)
        assert not (tmp_path / "model" / "checkpoint").exists()


@pytest.mark.parametrize("dim", [16, 20])
def test_output_vectors_are_kept_on_request(corpus: Path, dim: int) -> None:
    """Also where rows need no padding, so the result could share the trainer's memory."""
    plain = train(corpus, **{**SMALL, "dim": dim})
    kept = train(corpus, keep_output_vectors=True, **{**SMALL, "dim": dim})
    assert plain.output_vectors is None
    assert kept.output_vectors is not None
    assert np.abs(kept.output_vectors).max() > 0
    assert np.array_equal(plain.vectors, kept.vectors)


def test_invalid_utf8_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"caf\xe9 au lait et caf\xe9 noir\n" * 20)
    with pytest.warns(UserWarning, match="40 invalid UTF-8 sequences") as caught:
        train(path, **SMALL)
    assert len(caught) == 1
