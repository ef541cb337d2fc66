"""The word-embedding benchmark: the pairs that trainers are evaluated on, and how runs are grouped."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TEXT = "Tea milk teapot sun\n" * 6 + "tea Milk\n" * 3 + "seldom tea\n"
PAIRS = "tea\tmilk\t9\nTEAPOT\tsun\t2\nseldom\ttea\t5\nnever\tmilk\t1\na\ttea\t3\nmoon-n\tsun-n\t7\n"
SIMLEX = "word1\tword2\tPOS\tSimLex999\tconc(w1)\ntea\tmilk\tN\t1.58\t2.7\nteapot\tsun\tA\t9.2\t3\n"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def written(folder: Path, load: Any, text: str, subwords: str | None, every: int | None = None) -> tuple[Any, dict]:
    (folder / "t.txt").write_text(TEXT)
    (folder / "p.txt").write_text(text)
    (folder / "made").mkdir()
    found = load("judged_pairs").judge(folder / "t.txt", [folder / "p.txt"], folder / "made", 3, subwords, every)
    return found, {file.stem: [line.split("\t")[:2] for line in file.read_text().splitlines()] for file in found.files}


def test_pairs_of_words_in_the_vocabulary_and_apart_the_others(tmp_path: Path, load: Any) -> None:
    found, pairs = written(tmp_path, load, PAIRS, "4-5")
    assert pairs == {
        "p": [["tea", "milk"], ["teapot", "sun"]],
        "p unseen": [["seldom", "tea"], ["never", "milk"], ["moon", "sun"]],  # <a> is too short
    }
    assert found.unseen == ["moon", "never", "seldom"] and found.corpus == tmp_path / "t.txt" and not found.held_out


def test_without_ngrams_there_are_no_pairs_apart(tmp_path: Path, load: Any) -> None:
    found, pairs = written(tmp_path, load, PAIRS, None)
    assert list(pairs) == ["p"] and not found.unseen


def test_words_held_out_are_taken_from_the_text_in_whatever_case(tmp_path: Path, load: Any) -> None:
    found, pairs = written(tmp_path, load, PAIRS, "2", 4)  # milk and teapot of milk, seldom, sun, tea, teapot
    assert "milk" not in found.corpus.read_text().lower() and "teapot" not in found.corpus.read_text()
    assert found.corpus.read_text().lower().split().count("tea") == 10
    assert pairs == {"p unseen": [["tea", "milk"], ["teapot", "sun"]]}
    assert found.unseen == ["milk", "teapot"] and found.held_out == 2


def test_simlex_is_read_as_published(tmp_path: Path, load: Any) -> None:
    assert written(tmp_path, load, SIMLEX, None)[1] == {"p": [["tea", "milk"], ["teapot", "sun"]]}


def record(**more: Any) -> dict[str, Any]:
    kind = {"corpus": "t.txt", "model": "skipgram-ns", "dim": 9, "threads": 1, "vastmax_options": {}}
    speeds = {"trainer": "gensim", "task": "run", "words_per_second": 1e3, "train_seconds": 2.0}
    return {**kind, **speeds, "raw_words": 60, "vocabulary_saved": 5, **more}


def test_runs_on_other_texts_are_not_taken_together(load: Any) -> None:
    benchmark: ModuleType = load("embeddings")
    runs = [record(), record(held_out=0), record(held_out=7)]
    assert [len(group) for group in benchmark.repeats(runs)] == [2, 1]
    assert len(benchmark.table(runs).rows) == 2


def test_runs_judged_by_other_pairs_are_faults(load: Any) -> None:
    runs = [record(pairs={"p": 2}), record(pairs={"p": 2}), record(pairs={"p": 3})]
    load("embeddings").check(runs)
    assert ["fault" in run for run in runs] == [False, False, True]


def test_the_mean_is_of_words_that_were_seen(load: Any) -> None:
    scores = {"p": {"spearman": 0.5, "pairs": 40}, "p unseen": {"spearman": 0.1, "pairs": 40}}
    assert load("embeddings").mean_score({"similarity": scores}) == 0.5


@pytest.mark.parametrize("subwords", ["5", "3-6"])
def test_lengths_of_ngrams_for_the_peers(load: Any, subwords: str) -> None:
    runs = load("embedding_runs")
    assert runs.lengths_of_ngrams(subwords) == {"5": (5, 5), "3-6": (3, 6)}[subwords]


@pytest.mark.slow
@pytest.mark.parametrize("task", [[], ["--whole-command"]])
def test_all_trainers_answer_the_same_pairs(tmp_path: Path, task: list[str]) -> None:
    for name in ("gensim", "fasttext"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install vastmax[dev]")
    (tmp_path / "t.txt").write_text(TEXT * 50)
    (tmp_path / "p.txt").write_text(PAIRS)
    (tmp_path / "q.txt").write_text("tea milk seldom never\nmilk tea sun teapot\ntea moon sun milk\n")
    command = [sys.executable, BENCHMARKS / "embeddings.py", tmp_path / "t.txt", "--subwords", "4", "--dims", "9"]
    command += ["--similarity", tmp_path / "p.txt", "--analogies", tmp_path / "q.txt", "--models", "skipgram-ns"]
    command += ["--min-count", "60", "--epochs", "1", "--out", tmp_path / "out.jsonl", *task]
    subprocess.run(command, check=True, capture_output=True)
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {each["trainer"] for each in records} == {"vastmax", "gensim", "fasttext"}
    for each in records:
        assert each["pairs"] == {"p": 2, "p unseen": 3} and each["unseen"] == 3
        assert (each["analogies"]["total"]["total"], each["analogies"]["total"]["skipped"]) == (1, 2)
