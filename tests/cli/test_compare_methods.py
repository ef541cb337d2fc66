"""``vastmax compare``: all methods in one command; what they take from each other, from the machine and from flags."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import vastmax
from tests.corpora import write_corpus
from vastmax.cli import compare as compare_file
from vastmax.comparison import METHODS, ComparisonProgress
from vastmax.comparison.report import RunRecord

SHORT = ["--dim", "16", "--layers", "1", "--threads", "1", "--held-out", "0.1", "--epochs", "0.1"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text") / "text.txt", count=400)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["label"]: row for row in map(json.loads, lines)}


@pytest.mark.slow
def test_every_method_has_a_row_and_none_fails(tmp_path: Path, text: Path) -> None:
    outcome = vastmax("compare", text, "-o", tmp_path / "out", *SHORT)
    assert outcome.code == 0, outcome.err
    rows = records(tmp_path / "out")
    left_out = {label for label, method in METHODS.items() if method.spec.missing}
    assert set(rows) == set(METHODS) - left_out
    assert {row["status"] for row in rows.values()} == {"done"}
    sampled = {label for label, row in rows.items() if row["kind"] == "estimator"} - {"target-sampling"}
    assert {label for label, row in rows.items() if row["gradient_error"]} >= sampled


def test_wordnet_is_left_out_where_it_is_not(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vastmax.layers.hierarchical.Path", lambda folder: tmp_path / "nowhere")
    asked: list[str] = []

    def run(_: object, configs: list[Any], *__: object, **___: object) -> list[Any]:
        asked.extend(config.method.label for config in configs)
        raise KeyboardInterrupt

    monkeypatch.setattr("vastmax.comparison.compare", run)
    outcome = vastmax("compare", text, "-o", tmp_path / "out", *SHORT)
    assert set(METHODS) - set(asked) == {"hierarchical-wordnet"}
    assert "note: hierarchical-wordnet is left out, as WordNet is not in" in outcome.err
    asked.clear()
    vastmax("compare", text, "-o", tmp_path / "out", *SHORT, "--methods", "hierarchical-wordnet")
    assert asked == ["hierarchical-wordnet"]  # named explicitly, it is not left out


@pytest.mark.slow
def test_tables_are_shared_where_there_is_one(tmp_path: Path, text: Path) -> None:
    outcome = vastmax("compare", text, "-o", tmp_path / "out", "--methods", "hierarchical,full", *SHORT, "--tie")
    assert outcome.code == 0, outcome.err
    assert "--tie has no effect on methods without a table of words to share: hierarchical" in outcome.err
    rows = records(tmp_path / "out")
    assert {label: row["config"]["model"]["tie"] for label, row in rows.items()} == {
        "full": True,
        "hierarchical": False,
    }


@pytest.mark.slow
def test_vectors_come_from_a_run_of_an_earlier_call_and_from_nowhere_else(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "parts.toml"
    table = '[methods.full]\n[methods.tree]\nlayer = "hierarchical"\ntree = "clustered"\nvectors = "full"\n'
    config.write_text(f'train = "{text}"\n{table}', encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["compare", "--config", config, "-o", out, *SHORT, "--methods"]
    assert vastmax(*arguments, "full").code == 0
    monkeypatch.chdir(out / "runs" / "full-seed1")  # a model in the working directory is not used
    other = ["compare", "--config", config, "-o", tmp_path / "other", *SHORT, "--methods", "tree"]
    assert "no run of this name is finished" in records_of_failed(other, tmp_path / "other")
    assert vastmax(*arguments, "tree").code == 0
    assert records(out)["tree"]["status"] == "done"
    assert vastmax(*arguments, "tree", "--seed", "2").code == 1  # as full has no run of this seed


def records_of_failed(arguments: list[Any], folder: Path) -> str:
    assert vastmax(*arguments).code == 1
    (row,) = records(folder).values()
    return row["error"]


def test_what_libraries_print_is_not_taken_for_a_run_s_words(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text('import atexit, os\natexit.register(os.write, 1, b"MKL_VERBOSE\\n")\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = vastmax("compare", text, "-o", tmp_path / "out", "--methods", "nce", *SHORT)
    assert outcome.code == 0, outcome.err


def test_a_corpus_that_could_not_be_saved_is_saved_again(tmp_path: Path, text: Path) -> None:
    (tmp_path / "out" / "corpus" / ".staging").mkdir(parents=True)  # as left by a full disk or a kill
    outcome = vastmax("compare", text, "-o", tmp_path / "out", "--methods", "nce", *SHORT)
    assert outcome.code == 0, outcome.err


def test_an_infinite_perplexity_is_told_and_loses_nothing_else(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a layer too slow for the budget after its first steps: its speed is still reported."""
    record = RunRecord(
        label="cnn", layer="cnn", kind="exact", epochs=0.1, perplexity={"test": None}, training_seconds=1.0
    )

    def run(*_: object, progress: Any, **__: object) -> list[RunRecord]:
        progress(ComparisonProgress("cnn", 1, 1, 1, record=record))
        return [record]

    monkeypatch.setattr("vastmax.comparison.compare", run)
    outcome = vastmax("compare", text, "-o", tmp_path / "out", "--methods", "cnn", *SHORT)
    assert outcome.code == 0, outcome.err
    assert "cnn: test perplexity ∞ after 0.1 epochs" in outcome.err


def test_the_default_budget_holds_less_out(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise scoring would take longer than training for large vocabularies."""
    given: list[float] = []

    def read(flags: dict[str, Any], *_: object) -> Any:
        given.append(flags["held_out"])
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_file, "read_corpus", read)
    for flags in ([], ["--epochs", "1"], ["--minutes-each", "1"], ["--held-out", "500"]):
        vastmax("compare", text, "-o", tmp_path / "out", *flags)
    assert given == [8_000, 20_000, 20_000, 500]
