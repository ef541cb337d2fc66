"""Checkpoints: stopping anywhere loses nothing, and a checkpoint of another run is refused with one sentence."""

import errno
import json
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.corpora import sentences
from tests.embeddings.stopping import stop_at
from vastmax.embeddings import Embeddings, train
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.errors import CheckpointError, InputError
from vastmax.runs import StopRequest, TrainingInterrupted, signals_held
from vastmax.text import Phrases

OPTIONS: dict[str, Any] = {"dim": 12, "epochs": 2, "threads": 1, "keep_output_vectors": True}


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingLoop, "report_seconds", 0)
    monkeypatch.setattr(EmbeddingLoop, "report_share", 0)
    monkeypatch.setattr(EmbeddingLoop, "step_seconds", 1e-9)  # one chunk per step


def interrupt(output: Path, step: int = 3, number: int = signal.SIGINT, **options: Any) -> TrainingInterrupted:
    with pytest.raises(TrainingInterrupted) as caught:
        train(sentences(), output=output, progress=stop_at(step, number), **{**OPTIONS, **options})
    return caught.value


@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("step", [1, 7, 40])
def test_resumed_run_equals_uninterrupted_one(tmp_path: Path, model: Any, objective: Any, step: int) -> None:
    options = {**OPTIONS, "model": model, "objective": objective}
    whole = train(sentences(), **options)
    stopped = interrupt(tmp_path, step, **options)
    assert stopped.checkpoint == tmp_path / "checkpoint"
    assert 0 < stopped.share < 1
    resumed = train(sentences(), output=tmp_path, resume=True, **options)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    np.testing.assert_array_equal(resumed.output_vectors, whole.output_vectors)
    assert resumed.config["training"]["loss"] == pytest.approx(whole.config["training"]["loss"], rel=1e-12)
    assert not (tmp_path / "checkpoint").exists()


def test_resumed_again_and_again(tmp_path: Path) -> None:
    whole = train(sentences(), **OPTIONS)
    interrupt(tmp_path, 5)
    for _ in range(3):
        interrupt(tmp_path, 5, resume=True)
    resumed = train(sentences(), output=tmp_path, resume=True, **OPTIONS)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    words = [json.loads(line)["words"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert words == sorted(set(words))
    assert words[-1] == 48_000


def test_times_add_up_over_processes(tmp_path: Path) -> None:
    interrupt(tmp_path)
    before = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["facts"]["seconds"]
    about = train(sentences(), output=tmp_path, resume=True, **OPTIONS).config["training"]
    assert about["seconds_before_resuming"] == before > 0
    assert about["seconds"] > before
    assert about["words_per_second"] * about["seconds"] == pytest.approx(48_000)
    assert train(sentences(), **OPTIONS).config["training"]["seconds_before_resuming"] == 0


def test_phrases_lie_in_the_checkpoint_and_in_the_resumed_model(tmp_path: Path) -> None:
    options = {"phrases": 1, "phrase_threshold": 0.5, "phrase_min_count": 1}
    whole = train(sentences(), output=tmp_path / "whole", **OPTIONS, **options)
    interrupt(tmp_path / "model", **options)
    learnt = Phrases.load(tmp_path / "model" / "checkpoint" / "phrases.tsv")
    resumed = train(sentences(), output=tmp_path / "model", resume=True, **OPTIONS, **options)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert len(learnt) and learnt == Phrases.load(tmp_path / "model" / "phrases.tsv")
    assert learnt == Phrases.load(tmp_path / "whole" / "phrases.tsv")


def test_sigterm_is_as_polite(tmp_path: Path) -> None:
    interrupt(tmp_path, number=signal.SIGTERM)
    assert (tmp_path / "checkpoint").is_dir()


def test_checkpoint_is_a_folder_of_embeddings(tmp_path: Path) -> None:
    interrupt(tmp_path)
    embeddings = Embeddings.load(tmp_path / "checkpoint")
    assert len(embeddings.nearest("g1w1", 3)) == 3


def test_without_output_an_interrupt_is_only_an_interrupt() -> None:
    with pytest.raises(TrainingInterrupted) as caught:
        train(sentences(), progress=stop_at(2), **OPTIONS)
    assert caught.value.checkpoint is None
    assert isinstance(caught.value, KeyboardInterrupt)


def test_checkpoints_are_written_by_the_clock(tmp_path: Path) -> None:
    seen = []

    def progress(report: Any) -> None:
        seen.append((tmp_path / "checkpoint" / "state.json").exists())

    train(sentences(), output=tmp_path, progress=progress, checkpoint_minutes=1e-9, **OPTIONS)
    assert any(seen)
    assert not (tmp_path / "checkpoint").exists()
    seen.clear()
    train(sentences(), output=tmp_path, overwrite=True, progress=progress, checkpoint_minutes=0, **OPTIONS)
    assert not any(seen)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dim": 13}, "dim=12, now came dim=13"),
        ({"seed": 2}, "seed=1, now came seed=2"),
        ({"model": "cbow"}, "model='skipgram', now came model='cbow'"),
        ({"learning_rate": 0.01}, "learning_rate=0.067, now came learning_rate=0.01"),
        ({"min_count": 6}, "min_count=5, now came min_count=6"),
        ({"lowercase": True}, "lowercase=False"),
    ],
)
def test_other_options_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    interrupt(tmp_path)
    with pytest.raises(CheckpointError, match="go back to it, or delete it to start again") as caught:
        train(sentences(), output=tmp_path, resume=True, **{**OPTIONS, **change})
    assert told in str(caught.value)
    assert (tmp_path / "checkpoint").is_dir()


def test_other_threads_are_welcome(tmp_path: Path) -> None:
    interrupt(tmp_path)
    train(sentences(), output=tmp_path, resume=True, **{**OPTIONS, "threads": 2})


@pytest.mark.parametrize("other", [sentences(seed=1), sentences()[::-1]])
def test_another_corpus_is_refused(tmp_path: Path, other: list[list[str]]) -> None:
    interrupt(tmp_path)
    with pytest.raises(CheckpointError, match=r"made with corpus='24,000 words, \w+', now came corpus='24,000 words, "):
        train(other, output=tmp_path, resume=True, **OPTIONS)


def test_checkpoint_is_not_passed_over_unasked(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with pytest.raises(InputError, match=r"checkpoint of an unfinished run: add --resume to continue, --overwrite"):
        train(sentences(), output=tmp_path, **OPTIONS)
    train(sentences(), output=tmp_path, overwrite=True, **OPTIONS)
    assert not (tmp_path / "checkpoint").exists()


def test_resume_begins_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    train(sentences(), output=tmp_path, resume=True, **OPTIONS)
    assert (tmp_path / "vectors.safetensors").exists()


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_damage_is_one_sentence(tmp_path: Path, name: str) -> None:
    interrupt(tmp_path)
    path = tmp_path / "checkpoint" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"cannot be read .* delete it to start again") as caught:
        train(sentences(), output=tmp_path, resume=True, **OPTIONS)
    assert "\n" not in str(caught.value)


def test_full_disk_keeps_the_last_checkpoint_and_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vastmax.runs import checkpoint

    whole = train(sentences(), **OPTIONS)
    interrupt(tmp_path, 5)
    good = tmp_path / "good"
    shutil.copytree(tmp_path / "checkpoint", good)

    def full(path: Path, tensors: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", full)
        with pytest.warns(UserWarning, match="no checkpoint was written, the one before it is kept: .*No space left"):
            interrupt(tmp_path, 5, resume=True)
    for path in good.iterdir():
        assert (tmp_path / "checkpoint" / path.name).read_bytes() == path.read_bytes()
    resumed = train(sentences(), output=tmp_path, resume=True, **OPTIONS)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)


def test_handlers_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # a second signal kills
    assert {number: signal.getsignal(number) for number in before} == before


def test_signals_are_held_to_the_end_of_what_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGTERM)
        done.append(1)
    assert done
    with signals_held():
        done.append(2)
    assert len(done) == 2


def test_training_works_in_any_thread() -> None:
    results: list[Any] = []
    worker = threading.Thread(target=lambda: results.append(train(sentences(), **OPTIONS)))
    worker.start()
    worker.join()
    np.testing.assert_array_equal(results[0].vectors, train(sentences(), **OPTIONS).vectors)


def test_interrupt_while_saving_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vastmax.embeddings.formats import folder

    original = folder.write_tensors

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        original(*arguments)

    monkeypatch.setattr(folder, "write_tensors", interrupted)
    embeddings = train(sentences(), output=tmp_path, **OPTIONS)
    np.testing.assert_array_equal(Embeddings.load(tmp_path).vectors, embeddings.vectors)
