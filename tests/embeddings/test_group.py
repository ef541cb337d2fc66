"""``vastmax.train`` in several processes: one model, reproducible, reported once.

Most tests use threads that communicate as processes do; `test_processes_train_one_model` and the tests after it start
real processes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.corpora import sentences, write_corpus
from tests.runs.ranks import start
from tests.runs.threads import Threads, together, train_together
from vastmax.embeddings import Embeddings, train
from vastmax.embeddings.exchange import Exchange, Schedule
from vastmax.embeddings.group_loop import GroupLoop
from vastmax.errors import CheckpointError, CorpusError, DivergedError, InputError
from vastmax.runs import TrainingInterrupted, TrainingProgress
from vastmax.text import encode_corpus

OPTIONS: dict[str, Any] = {"dim": 12, "epochs": 2, "threads": 1}
FLAGS = [text for name, value in OPTIONS.items() for text in (f"--{name}", str(value))]
TRAIN = [sys.executable, "-m", "vastmax", "train"]


def is_learnt(embeddings: Embeddings) -> bool:
    """Return whether the neighbours of each w0 word belong to its own group of `sentences`."""
    words = [f"g{group}w0" for group in range(10)]
    return all(near.startswith(word[:-1]) for word in words for near, _ in embeddings.nearest(word, k=3))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of several word groups that ends in one byte of invalid UTF-8."""
    path = write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt")
    path.write_bytes(path.read_bytes() + b"\xff")
    return path


# --- the exchange ---


def exchanged(changes: list[list[float]], share: float = 1.0) -> tuple[list[float], int]:
    """Return a row of ones after the exchange of each process's change to it, and the bytes sent by all."""

    def work(processes: Threads) -> tuple[list[float], int]:
        table = np.ones((4, 2), np.float32)
        exchange = Exchange(processes, [table])
        table[0] += changes[processes.rank]
        table[3] += 1
        exchange(share)
        assert table[3].tolist() == ([2, 2] if share < 1 else [pytest.approx(2)] * 2)
        return table[0].tolist(), exchange.bytes_sent

    found = together(len(changes), work)
    assert found == [found[0]] * len(changes)
    return found[0]


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ([[1, 0], [0, 2]], [2, 3]),  # orthogonal: the sum
        ([[1, 3], [1, 3], [1, 3]], [2, 4]),  # equal: the mean
        ([[0, 0], [0, 0], [5, 1], [0, 0]], [6, 2]),  # one process alone: all of it
        ([[1, 0], [-1, 0]], [1, 1]),  # opposite: nothing
        ([[3, 0], [0, 0], [1, 0]], [1 + 4 * (1 - 0.6 / 3), 1]),  # q = 16 / 10
        ([[0, 0], [0, 0]], [1, 1]),
    ],
)
def test_changes_are_added_as_far_as_they_differ(changes: list[list[float]], row: list[float]) -> None:
    assert exchanged(changes)[0] == pytest.approx(row)


def test_bytes_are_those_of_the_rows_that_are_due() -> None:
    every, some = (exchanged([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], share)[1] for share in (1.0, 0.5))
    assert every == 2 * 2 * 4 * 3 * 4 and some == every / 2  # each of three sends 2/3 of 4 rows of 3 floats, twice


@pytest.mark.parametrize(("words", "size", "rows"), [(10**8, 2, 70_000), (1000, 3, 50), (10**11, 8, 10**6), (1, 5, 2)])
def test_frequent_rows_are_exchanged_more_often(words: int, size: int, rows: int) -> None:
    schedule = Schedule(words, size, rows)
    assert schedule.rounds >= 64
    shares = [schedule.share(number) for number in range(1, schedule.rounds + 1)]
    assert shares[-1] == 1 and shares.count(1.0) >= 4
    least = min(shares)
    for twice in (2, 4):  # a share of rows twice as large is exchanged half as often
        if least * twice <= 1:
            often = sum(share >= least * twice for share in shares[: len(shares) // 64 * 64 - 1])
            assert often == (len(shares) // 64 * 64 - 1) // twice
    assert Schedule(words, size, rows, between=words).rounds == 1
    assert Schedule(words, size, rows, between=max(1, words // size // 10)).rounds in (1, 10, 11)


# --- training ---


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@pytest.mark.parametrize("objective", ["negative-sampling", "hierarchical"])
def test_all_train_one_model_that_repeats_bit_for_bit(corpus: Path, size: int, model: Any, objective: Any) -> None:
    options = {**OPTIONS, "model": model, "objective": objective, "keep_output_vectors": True}
    with pytest.warns(UserWarning, match="1 invalid UTF-8 sequences"):
        first, again = (train_together(size, str(corpus), **options) for _ in range(2))
    for each in (*first, *again):
        np.testing.assert_array_equal(each.vectors, first[0].vectors)
        np.testing.assert_array_equal(each.output_vectors, first[0].output_vectors)
        assert each.vocabulary.words == first[0].vocabulary.words
    if objective == "negative-sampling":
        assert is_learnt(first[0])


def test_what_a_run_in_processes_says_of_itself(corpus: Path, tmp_path: Path) -> None:
    reports: list[TrainingProgress] = []
    with pytest.warns(UserWarning):
        made, _ = train_together(2, str(corpus), output=tmp_path, progress=reports.append, **OPTIONS)
        alone = train(str(corpus), **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "vectors.safetensors",
        "vocabulary.tsv",
    ]
    assert made.config["corpus"] == alone.config["corpus"]
    training = made.config["training"]
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["words"] == records[-1]["words_total"] == 48_000
    least = 4 * 2 * 2 * len(made.vocabulary) * 4 * 13  # both tables, four times, from both ranks, d + 1 floats
    assert training["processes"] == 2 and training["bytes_sent"] >= least
    assert training["bytes_per_word"] == training["bytes_sent"] / 48_000 == records[-1]["bytes_per_word"]
    assert reports[-1].bytes_per_word == training["bytes_per_word"]
    assert "processes" not in alone.config["training"]
    assert training["loss"] == pytest.approx(alone.config["training"]["loss"], rel=0.3)


@pytest.mark.filterwarnings("ignore:.*invalid UTF-8 sequences")
@pytest.mark.parametrize("more", [{}, {"phrases": 1, "phrase_threshold": 0.5, "phrase_min_count": 1}])
def test_token_lists_and_phrases_are_shared_too(corpus: Path, more: dict[str, Any]) -> None:
    for source in (sentences(), str(corpus)):
        alone, made = train(source, **OPTIONS, **more), train_together(2, source, **OPTIONS, **more)[1]
        assert made.config["corpus"] == alone.config["corpus"] and made.vocabulary.words == alone.vocabulary.words
        if more:
            assert made.config["corpus"]["phrases"]
    with encode_corpus(sentences(), threads=1) as encoded:
        made = train_together(2, encoded, **OPTIONS)
        assert len(encoded.ids) and made[0].vocabulary.words == encoded.vocabulary.words


def test_more_processes_than_sentences() -> None:
    made = train_together(4, [["a", "b", "a", "c"]], min_count=1, **OPTIONS)
    assert all(np.isfinite(each.vectors).all() for each in made)


def stop_after(monkeypatch: pytest.MonkeyPatch, rounds: int, rank: int = 1) -> None:
    """Ask one process to stop after the given number of rounds, as a signal would."""
    step = GroupLoop.step

    def watched(self: GroupLoop) -> None:
        step(self)
        if self.position == rounds and self.processes.rank == rank:
            assert self._stop is not None
            self._stop.requested = True

    monkeypatch.setattr(GroupLoop, "step", watched)


@pytest.mark.filterwarnings("ignore:.*invalid UTF-8 sequences")
def test_stopped_and_resumed_by_as_many_or_by_others(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_together(2, str(corpus), **OPTIONS)[0]
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted) as caught:
        stop_after(patched, 32)  # all rows have been exchanged by then
        train_together(2, str(corpus), output=tmp_path / "2", **OPTIONS)
    assert (caught.value.checkpoint, caught.value.share) == (tmp_path / "2" / "checkpoint", 0.5)
    for size in (1, 3):
        shutil.copytree(tmp_path / "2", tmp_path / f"{size}")
    made = train_together(2, str(corpus), output=tmp_path / "2", resume=True, **OPTIONS)[1]
    np.testing.assert_array_equal(made.vectors, whole.vectors)
    assert made.config["training"]["bytes_sent"] == whole.config["training"]["bytes_sent"]
    for size in (1, 3):
        made = train_together(size, str(corpus), output=tmp_path / f"{size}", resume=True, **OPTIONS)[0]
        assert is_learnt(made)
        words = [
            json.loads(line)["words"] for line in (tmp_path / f"{size}" / "metrics.jsonl").read_text().splitlines()
        ]
        assert words == sorted(words) and words[-1] == pytest.approx(48_000, rel=0.1)
    finished = train_together(2, str(corpus), output=tmp_path / "1", resume=True, **OPTIONS)
    np.testing.assert_array_equal(finished[1].vectors, Embeddings.load(tmp_path / "1").vectors)
    with pytest.raises(InputError, match="contains a finished model, made with dim=12, now came dim=13"):
        train_together(2, str(corpus), output=tmp_path / "1", resume=True, **{**OPTIONS, "dim": 13})


@pytest.mark.filterwarnings("ignore:.*invalid UTF-8 sequences")
def test_a_run_in_one_process_is_resumed_by_two(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vastmax.embeddings.loop import EmbeddingLoop

    def stop(self: EmbeddingLoop, progress: TrainingProgress) -> None:
        assert self._stop is not None
        self._stop.requested = True

    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted) as caught:
        patched.setattr(EmbeddingLoop, "report", stop)
        train(str(corpus), output=tmp_path, **OPTIONS)
    assert 0 < caught.value.share < 1
    made = train_together(2, str(corpus), output=tmp_path, resume=True, **OPTIONS)
    assert is_learnt(made[1])
    with pytest.raises(CheckpointError, match="now came"), monkeypatch.context() as patched:
        with pytest.raises(TrainingInterrupted):
            stop_after(patched, 3)
            train_together(2, str(corpus), output=tmp_path, overwrite=True, **OPTIONS)
        train_together(2, str(corpus), output=tmp_path, resume=True, **{**OPTIONS, "seed": 2})


@pytest.mark.filterwarnings("ignore:.*invalid UTF-8 sequences")
def test_bytes_sent_outlive_a_process_that_was_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vastmax.embeddings.loop import EmbeddingLoop

    def stop(self: EmbeddingLoop, progress: TrainingProgress) -> None:
        assert self._stop is not None
        self._stop.requested = True

    def sent() -> int:
        return json.loads((tmp_path / "checkpoint" / "state.json").read_text())["facts"]["bytes_sent"]

    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        stop_after(patched, 32)
        train_together(2, str(corpus), output=tmp_path, **OPTIONS)
    before = sent()
    assert before > 0
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        patched.setattr(EmbeddingLoop, "report", stop)
        train(str(corpus), output=tmp_path, resume=True, **OPTIONS)
    assert sent() == before
    made = train_together(2, str(corpus), output=tmp_path, resume=True, **OPTIONS)[0]
    assert made.config["training"]["bytes_sent"] > before


def test_a_stop_between_exchanges_of_all_rows_makes_tables_one(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[Any] = []
    save = GroupLoop.save

    def seen(self: GroupLoop) -> None:
        tables.append(self.state()[1]["vectors"].copy())
        save(self)

    monkeypatch.setattr(GroupLoop, "save", seen)
    stop_after(monkeypatch, 33)
    with pytest.raises(TrainingInterrupted):
        train_together(2, sentences(), output=tmp_path, **OPTIONS)
    np.testing.assert_array_equal(*tables)


def test_checkpoints_are_of_tables_that_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: dict[int, list[Any]] = {}
    save = GroupLoop.save

    def seen(self: GroupLoop) -> None:
        tables.setdefault(self.position, []).append(self.state()[1]["vectors"].copy())
        save(self)

    monkeypatch.setattr(GroupLoop, "save", seen)
    train_together(2, sentences(), output=tmp_path, checkpoint_minutes=1e-9, **OPTIONS)
    assert sorted(tables) == [16, 32, 48, 64]
    for each in tables.values():
        np.testing.assert_array_equal(*each)


# --- errors ---


def test_what_one_finds_wrong_ends_all(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^engine 'torch' trains in one process: give engine 'compiled', or start"):
        train_together(2, str(corpus), engine="torch", dim=4)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^rank 0 on .*: the output folder .*file cannot be written"):
        train_together(2, str(corpus), output=tmp_path / "file", **OPTIONS)
    with pytest.raises(CorpusError, match=r"^file nowhere\.txt does not exist"):
        train_together(2, "nowhere.txt", **OPTIONS)
    with pytest.raises(DivergedError, match="training diverged to a loss of"):
        train_together(2, sentences(), output=tmp_path / "model", learning_rate=10.0, **OPTIONS)
    assert not (tmp_path / "model").exists()


# --- processes ---


def test_processes_train_one_model(corpus: Path, tmp_path: Path) -> None:
    """Match the threads bit for bit, report once, and resume from the checkpoint when the launcher restarts."""
    stopping = (
        "import os, signal, sys\n"
        "from vastmax.cli import main\n"
        "from vastmax.embeddings.group_loop import GroupLoop\n"
        "step = GroupLoop.step\n"
        "def watched(self):\n"
        "    step(self)\n"
        "    if self.position == 32 and self.processes.rank == 1:\n"
        "        signal.raise_signal(signal.SIGTERM), signal.raise_signal(signal.SIGTERM)\n"
        "GroupLoop.step = watched\n"
        "main(sys.argv[1:])\n"
    )
    arguments = [str(corpus), "-o", str(tmp_path / "model"), *FLAGS]
    stopped = start(2, [sys.executable, "-c", stopping, "train", *arguments])
    assert [code for code, _, _ in stopped] == [130, 130]
    assert not stopped[1][2] and f"interrupted at 50.0%: checkpoint in {tmp_path}/model/checkpoint" in stopped[0][2]
    assert f"torchrun ... -m vastmax train --resume {corpus}" in stopped[0][2]
    ended = start(2, [*TRAIN, *arguments, "--json"], restarts=1)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert not ended[1][1] + ended[1][2] and json.loads(ended[0][1])["config"]["training"]["processes"] == 2
    with pytest.warns(UserWarning):
        threads = train_together(2, str(corpus), **OPTIONS)[0]
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "model").vectors, threads.vectors)


def test_an_error_of_one_process_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    here = (
        "import os, sys\n"
        "from vastmax.cli import main\n"
        "os.chdir(sys.argv[1] if os.environ['RANK'] == '0' else '/')\n"
        "main(sys.argv[2:])\n"
    )
    call = [sys.executable, "-c", here, str(corpus.parent), "train", corpus.name, "-o", str(tmp_path / "model")]
    ended = start(2, call)
    assert [code for code, _, _ in ended] == [1, 1]
    lines = [line for _, out, err in ended for line in (out + err).splitlines()]
    assert len(lines) == 1 and lines[0].startswith("vastmax: rank 1 on ") and "file text.txt does not exist" in lines[0]
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_full_disk_on_one_ends_all(corpus: Path, tmp_path: Path) -> None:
    full = (
        "import os, resource, signal, sys\n"
        "from vastmax.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "if os.environ['RANK'] == '1':\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "main(sys.argv[1:])\n"
    )
    ended = start(2, [sys.executable, "-c", full, "train", str(corpus), "-o", str(tmp_path / "model"), *FLAGS])
    assert [code for code, _, _ in ended] == [1, 1]
    lines = [line for _, out, err in ended for line in (out + err).splitlines()]
    assert len(lines) == 1 and lines[0].startswith("vastmax: rank 1 on ") and "has no room for" in lines[0]


KILLS = int(os.environ.get("VASTMAX_KILLS", "5"))


@pytest.mark.slow
def test_a_killed_process_costs_the_time_since_the_last_checkpoint(tmp_path: Path) -> None:
    """Kill ranks at random moments under torchrun: the run ends with the model of an undisturbed run."""
    text = write_corpus(tmp_path / "text.txt", count=60_000)
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call += [f"--max-restarts={KILLS + 3}", "-m", "vastmax", "train", str(text), "--dim", "50", "--threads", "1"]
    call += ["--epochs", "60", "--checkpoint-minutes", "0.0005", "-o"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*call, str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    chance = np.random.default_rng(KILLS)
    killed = subprocess.Popen([*call, str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL)
    for _ in range(KILLS):
        time.sleep(chance.uniform(2, 9))
        if killed.poll() is None and (ranks := _children(killed.pid)):
            os.kill(int(chance.choice(ranks)), signal.SIGKILL)
    assert killed.wait(600) == 0
    whole, other = (Embeddings.load(tmp_path / name) for name in ("whole", "killed"))
    np.testing.assert_array_equal(whole.vectors, other.vectors)
    assert not (tmp_path / "killed" / "checkpoint").exists()


def _children(process: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
