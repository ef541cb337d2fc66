"""``vastmax compare``: rows and report, kept and repeated runs, signals to it and to its runs."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Outcome, finish, start, vastmax
from tests.corpora import write_corpus

SMALL = ["--dim", "8", "--layers", "1", "--threads", "1", "--held-out", "0.1"]
SHORT = [*SMALL, "--epochs", "0.5"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text") / "text.txt", count=400)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, text: Path) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("comparisons") / "done"
    outcome = vastmax("compare", text, "-o", folder, "--methods", "full", "--seeds", "2", *SHORT)
    assert outcome.code == 0, outcome.err
    return folder, outcome


@pytest.fixture
def copied(finished: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """Copy a finished comparison as a git checkout has it: only its records."""
    folder = tmp_path / "comparison"
    folder.mkdir()
    shutil.copy(finished[0] / "records.jsonl", folder)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_row_a_run_and_a_report(finished: tuple[Path, Outcome]) -> None:
    folder, outcome = finished
    rows = records(folder)
    assert [(row["label"], row["seed"], row["status"]) for row in rows] == [("full", 1, "done"), ("full", 2, "done")]
    assert rows[0]["perplexity"]["test"] != rows[1]["perplexity"]["test"]
    for row in rows:
        assert row["budget"] == "0.5 epochs"
        assert row["epochs"] == pytest.approx(0.5, abs=0.1)
        assert row["brute_force"]["largest_difference"] < 1e-3
        assert 1 < row["perplexity"]["valid"] < 200
        assert sum(band["words"] for band in row["bands"]) == row["corpus"]["test_words"]
        assert "compare" in row["command"]
    assert "full" in (folder / "report.html").read_text(encoding="utf-8")
    assert "full (1 of 2): test perplexity" in outcome.err
    assert outcome.out.startswith("method\t")
    kept = {path.name for path in (folder / "runs" / "full-seed1").iterdir()}
    assert {"model.safetensors", "vocabulary.tsv", "config.json", "metrics.jsonl", "record.json"} <= kept
    assert not {"checkpoint", "errors.log"} & kept


def test_records_alone_are_enough_to_keep_what_is_finished(
    finished: tuple[Path, Outcome], copied: Path, text: Path
) -> None:
    again = vastmax("compare", text, "-o", copied, "--methods", "full", "--seeds", "2", *SHORT, "--json")
    assert again.code == 0, again.err
    assert records(copied) == records(finished[0])
    assert again.json["records"] == records(copied)
    assert again.err.count("of an earlier call") == 2
    assert (copied / "report.html").exists()
    assert not (copied / "runs").exists()


def test_a_text_that_marks_the_ends_of_its_sentences(tmp_path: Path) -> None:
    marked, config, folder = tmp_path / "marked.txt", tmp_path / "comparison.toml", tmp_path / "out"
    marked.write_text("<s> tea with milk </s>\n<s> coffee with sugar </s>\n" * 60, encoding="utf-8")
    flags = ["compare", str(marked), "-o", str(folder), "--methods", "full", *SHORT]
    refused = vastmax(*flags)
    assert refused.code == 1 and "(--end-of-sentence)" in refused.sentence
    config.write_text('end_of_sentence = "<eos>"\n', encoding="utf-8")
    log = folder / "runs" / "full-seed1" / "errors.log"
    for more in (["--config", str(config)], ["--end-of-sentence", "<eos>"]):
        outcome = vastmax(*flags, *more)
        assert outcome.code == 0, outcome.err
        assert not log.exists()
        log.touch()  # as if the command was killed and the run's process finished
    assert "of an earlier call" in outcome.err  # the flag and the file agree
    saved = json.loads((folder / "runs" / "full-seed1" / "config.json").read_text(encoding="utf-8"))
    assert saved["text"]["end_of_sentence"] == "<eos>"


@pytest.mark.parametrize("methods", ["full", "sampled,full"])
def test_other_options_are_refused_before_anything_runs(copied: Path, text: Path, methods: str) -> None:
    outcome = vastmax("compare", text, "-o", copied, "--methods", methods, *SHORT, "--dropout", "0.5")
    assert outcome.code == 1
    assert outcome.sentence == (
        "full-seed1 was made with dropout=0.0, now came dropout=0.5: use those options, or name another folder."
    )
    assert not (copied / "runs").exists()


def test_another_text_is_refused(copied: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other.txt", count=400, seed=1)
    for methods in ("full", "sampled"):  # of which the folder has no runs
        outcome = vastmax("compare", other, "-o", copied, "--methods", methods, *SHORT)
        assert outcome.code == 1
        assert outcome.sentence.startswith(f"{copied} has a comparison on another text or vocabulary")
        assert "--scoring, --minutes-each, --validations, --dim and --layers" in outcome.sentence
        assert outcome.sentence.endswith("name another folder.")


def test_a_method_that_fails_loses_no_other_and_may_be_mended(tmp_path: Path, text: Path) -> None:
    config, folder = tmp_path / "comparison.toml", tmp_path / "out"
    lines = f'train = "{text}"\nmethods = {{ bad = {{ layer = "sampled", num_samples = %s }}, full = {{}} }}\n'
    config.write_text(lines % 0, encoding="utf-8")
    arguments = ["compare", "--config", config, "-o", folder, *SHORT]
    outcome = vastmax(*arguments)
    assert outcome.code == 0, outcome.err
    assert "vastmax: 1 of 2 runs failed: give the same command again to retry them." in outcome.err
    bad, full = sorted(records(folder), key=lambda row: row["label"])
    assert (bad["status"], full["status"]) == ("failed", "done")
    assert "num_samples" in bad["error"]
    assert bad["config"]["method"]["options"] == {"num_samples": 0}
    assert "num_samples" in (folder / "report.html").read_text(encoding="utf-8")

    config.write_text(lines % 5, encoding="utf-8")
    assert vastmax(*arguments).code == 0
    mended, kept = sorted(records(folder), key=lambda row: row["label"])
    assert mended["status"] == "done"
    assert kept == full


def test_a_comparison_that_has_nothing_but_failures_has_failed(tmp_path: Path, text: Path) -> None:
    arguments = ["compare", text, "-o", tmp_path / "out", *SHORT]
    outcome = vastmax(*arguments, "--methods", "full", "--tie", "--embedding-dim", "3")
    assert outcome.code == 1
    assert [row["status"] for row in records(tmp_path / "out")] == ["failed"]


# --- signals ---

LONG = [*SMALL, "--epochs", "5", "--checkpoint-minutes", "0.0005"]


def pid_of(folder: Path) -> int | None:
    """Return the id of the process that runs a folder's job."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"vastmax.comparison.worker" in words and str(folder).encode() in words:
            return int(place.name)
    return None


def wait_for_checkpoint(process: "subprocess.Popen[str]", run: Path) -> int:
    while process.poll() is None:
        if (run / "checkpoint" / "state.json").exists() and (pid := pid_of(run)):
            return pid
        time.sleep(0.01)
    raise AssertionError(process.communicate())


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes by /proc")


@needs_proc
def test_an_interrupt_prints_the_command_that_goes_on(tmp_path: Path, text: Path) -> None:
    folder = tmp_path / "a comparison"
    run = folder / "runs" / "full-seed1"
    process = start("compare", text, "-o", folder, "--methods", "full", *LONG)
    worker = wait_for_checkpoint(process, run)
    process.send_signal(signal.SIGTERM)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    said, command = outcome.err.splitlines()[-2:]
    assert said == f"vastmax: interrupted: finished runs are in {folder}. Continue with:"
    assert not Path(f"/proc/{worker}").exists()
    assert not (run / "record.json").exists()
    words = json.loads((run / "checkpoint" / "state.json").read_text(encoding="utf-8"))["facts"]["words"]
    assert words > 0
    other = vastmax("compare", text, "-o", folder, "--methods", "full", *LONG, "--epochs", "20")
    assert other.code == 1
    assert "full-seed1 was started with epochs=5.0, now came epochs=20.0: use those options" in other.sentence
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    (record,) = records(folder)
    assert record["status"] == "done"
    assert record["words"] == 5 * record["corpus"]["train_words"]
    assert [point["epoch"] for point in record["curve"]] == list(range(1, 6))


@needs_proc
@pytest.mark.slow
def test_kills_of_a_comparison_and_of_a_run(tmp_path: Path, text: Path) -> None:
    folder = tmp_path / "out"
    arguments = ["compare", text, "-o", folder, "--methods", "full,sampled", *LONG]
    runs = {label: folder / "runs" / f"{label}-seed1" for label in ("full", "sampled")}

    process = start(*arguments)  # the run notices its death at the next report, and stops
    worker = wait_for_checkpoint(process, runs["full"])
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    if not (runs["full"] / "record.json").exists():  # unless it finished before its next report
        process = start(*arguments)
        os.kill(wait_for_checkpoint(process, runs["full"]), signal.SIGKILL)
        outcome = finish(process)
        assert outcome.code == 0, outcome.err
        by_label = {row["label"]: row for row in records(folder)}
        assert by_label["full"]["status"] == "failed"
        assert "SIGKILL, for example because the system ran out of memory" in by_label["full"]["error"]
        assert by_label["sampled"]["status"] == "done"

    outcome = vastmax(*arguments)
    assert outcome.code == 0, outcome.err
    rows = {row["label"]: row for row in records(folder)}
    assert {row["status"] for row in rows.values()} == {"done"}
    assert [point["epoch"] for point in rows["full"]["curve"]] == list(range(1, 6))


# --- output without a run ---


def test_methods_are_listed() -> None:
    outcome = vastmax("compare", "--list-methods")
    assert outcome.code == 0
    assert "hierarchical-wordnet\texact" in outcome.out
    listed = vastmax("compare", "--list-methods", "--json").json
    assert listed["hierarchical-clustered"] == {"layer": "hierarchical", "options": {"tree": "clustered"}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["TEXT"], "compare needs a folder for its results: add -o DIR."),
        (["-o", "OUT"], "compare needs a training text"),
        (["TEXT", "-o", "TEXT"], "is a file: name a folder"),
        (["TEXT", "-o", "OUT", "--methods", "fast"], "method is 'fast': give one of full"),
        (["TEXT", "-o", "OUT", "--methods", ","], "methods is empty"),
        (["TEXT", "-o", "OUT", "--methods", "full,full"], "two runs have the name full-seed1"),
        (["TEXT", "-o", "OUT", "--seeds", "0"], "seeds is 0: give a whole number from 1 to 10000"),
        (["TEXT", "-o", "OUT", "--device", "gpu"], "device is 'gpu': give cpu, cuda"),
        (["TEXT", "-o", "OUT", "--device", "meta"], "device is 'meta': give cpu, cuda"),
        (["TEXT", "-o", "OUT", "--device", "cuda:99"], "device is 'cuda:99', and torch finds"),
        (["TEXT", "-o", "OUT", "--checkpoint-minutes", "-1"], "checkpoint_minutes is -1.0: give a number from 0"),
        (["TEXT", "-o", "OUT", "--checkpoint-minutes", "nan"], "checkpoint_minutes is nan: give a number from 0"),
        (["TEXT", "-o", "OUT", "--dropout", "1"], "dropout is 1.0: give a number from 0 to below 1"),
        (["TEXT", "-o", "OUT", "--split", "many"], "--split is 'many': give two numbers of words"),
        (["TEXT", "-o", "OUT", "--epochs", "-1"], "epochs is -1.0: give a number above 0"),
        (["TEXT", "-o", "OUT", "--epochs", "0"], "epochs is 0.0: give a number above 0"),
        (["TEXT", "-o", "OUT", "--minutes-each", "0"], "minutes is 0.0: give a number above 0"),
        (["TEXT", "-o", "OUT", "--model", "gpt"], "model is 'gpt': give 'lstm' or 'feed-forward'"),
        (["TEXT", "-o", "OUT", "--dim", "0"], "dim is 0: give a whole number from 1"),
        (["TEXT", "-o", "OUT", "--config", "none.toml"], "none.toml cannot be read"),
        (["none.txt", "-o", "OUT"], "none.txt"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, text: Path, tmp_path: Path
) -> None:
    places = {"TEXT": text, "OUT": tmp_path / "out"}
    outcome = vastmax("compare", *(places.get(argument, argument) for argument in arguments))
    assert outcome.code == 1
    assert sentence in outcome.sentence
    assert not (tmp_path / "out").exists()


def test_flags_stand_above_the_file(tmp_path: Path, text: Path) -> None:
    config = tmp_path / "comparison.toml"
    config.write_text(f'train = "{text}"\nseeds = 0\n[methods.full]\n', encoding="utf-8")
    outcome = vastmax("compare", "--config", config, "-o", tmp_path / "out")
    assert outcome.sentence == "seeds is 0: give a whole number from 1 to 10000."
    outcome = vastmax("compare", "--config", config, "-o", tmp_path / "out", "--seeds", "1", "--methods", "nce")
    assert outcome.sentence == "method is 'nce': give one of full, or module:Class."
