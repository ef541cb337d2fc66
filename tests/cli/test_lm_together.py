"""``vastmax lm train`` under torchrun: one model, one record, one message for all processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import Outcome, vastmax, wait_for_checkpoint
from tests.corpora import write_corpus
from tests.runs.ranks import start
from vastmax.comparison.report import read_records

FLAGS = ["--dim", "8", "--layers", "1", "--epochs", "1", "--held-out", "300", "--rows", "7", "--threads", "1"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt", 300)


def together(size: int, *arguments: str | Path, restarts: int = 0) -> list[Outcome]:
    call = [sys.executable, "-m", "vastmax", *map(str, arguments)]
    return [Outcome(*each) for each in start(size, call, restarts=restarts)]


def test_two_processes_leave_what_one_does(text: Path, tmp_path: Path) -> None:
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    wanted = vastmax("lm", "train", text, "-o", alone, *FLAGS, "--json").json
    first, second = together(2, "lm", "train", text, "-o", spread, *FLAGS, "--output-sharding", "classes", "--json")
    assert (first.code, second.code, second.out, second.err) == (0, 0, "", ""), (first.err, second.err)
    found = first.json
    assert (found["processes"], found["output_sharding"], found["words"]) == (2, "classes", wanted["words"])
    assert found["command"].startswith("torchrun ... -m vastmax lm train ")
    for name in ("train", "valid", "test"):
        assert found["perplexity"][name] == pytest.approx(wanted["perplexity"][name], rel=1e-5)
    assert found["test_losses"] == pytest.approx(wanted["test_losses"], rel=1e-5)
    assert {each.name for each in spread.iterdir()} == {each.name for each in alone.iterdir()}
    assert read_records(spread / "record.json")[0].diagnostics is not None
    scored = [vastmax("lm", "score", folder, text, "--json").json["perplexity"] for folder in (alone, spread)]
    assert scored[0] == pytest.approx(scored[1], rel=1e-5)


def test_an_error_of_all_is_told_once(text: Path, tmp_path: Path) -> None:
    flags = ["--output-layer", "target-sampling", "--output-sharding", "classes"]
    first, second = together(2, "lm", "train", text, "-o", tmp_path / "m", *FLAGS, *flags)
    assert (first.code, second.code, second.err) == (1, 1, "")
    assert (
        first.sentence
        == "target sampling does not support sharded classes, as its candidates are of one text: use another layer."
    )
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--output-sharding", "rows"], "output_sharding is 'rows': give 'classes' or 'none'."),
        (["--output-sharding", "classes", "--tie"], "leave out one of the two."),
    ],
)
def test_a_layer_that_cannot_be_so_is_refused_before_text_is_read(flags: list[str], sentence: str) -> None:
    outcome = vastmax("lm", "train", "no-such-file", *flags)
    assert outcome.code == 1 and outcome.sentence.endswith(sentence)


def test_one_process_has_all_classes_whatever_is_asked_for(text: Path) -> None:
    outcome = vastmax("lm", "train", text, *FLAGS, "--output-sharding", "classes", "--json")
    assert outcome.code == 0 and outcome.json["output_sharding"] == "none"


@pytest.mark.parametrize("verb", [["compare", "x", "-o", "y"], ["nearest", "m", "w"], ["lm", "sample", "m"], ["demo"]])
def test_a_verb_of_one_process_refuses_several(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "LOCAL_RANK": "0"}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    outcome = vastmax(*verb)
    name = " ".join(["vastmax", *verb[: 2 if verb[0] == "lm" else 1]])
    assert outcome.code == 1 and outcome.sentence.startswith(f"{name} runs in one process, unlike ")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert vastmax(*verb).err == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_launcher_is_interrupted_and_others_go_on(text: Path, tmp_path: Path, number: int) -> None:
    folder, flags = tmp_path / "m", [*FLAGS, "--checkpoint-minutes", "0.0001", "--dropout", "0.1", "--epochs", "9"]
    call = [*LAUNCH, "2", "-m", "vastmax", "lm", "train", str(text), "-o", str(folder), *flags]
    process = subprocess.Popen(
        [*call, "--output-sharding", "classes"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_checkpoint(process, folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    told = [line for line in said.splitlines() if line.startswith("vastmax: ")]
    assert len(told) == 1 and told[0].startswith("vastmax: interrupted at "), said
    assert told[0].endswith(f"checkpoint in {folder / 'checkpoint'}. Resume with:")
    assert "torchrun ... -m vastmax lm train --resume " in said
    stood = json.loads((folder / "checkpoint" / "state.json").read_text())["facts"]["words"]
    (done,) = [
        each for each in together(3, "lm", "train", text, "-o", folder, *flags, "--resume", "--json") if each.out
    ]
    assert done.code == 0 and done.json["words"] > stood and done.json["processes"] == 3
    assert vastmax("lm", "sample", folder, "--words", "5").code == 0


@pytest.mark.slow
def test_a_process_that_is_killed_costs_no_more_than_what_is_behind_the_checkpoint(text: Path, tmp_path: Path) -> None:
    folder, flags = tmp_path / "m", [*FLAGS, "--checkpoint-minutes", "0.0001", "--epochs", "9"]
    call = [*LAUNCH[:-1], "--max-restarts", "3", "--nproc-per-node", "2", "-m", "vastmax", "lm", "train", str(text)]
    process = subprocess.Popen(
        [*call, "-o", str(folder), *flags, "--overwrite"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_checkpoint(process, folder)
    os.kill(_children_of(process.pid)[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said[-3000:]
    alone = vastmax("lm", "train", text, *flags, "--json").json
    (found,) = read_records(folder / "record.json")
    assert found.words == alone["words"] and found.perplexity["test"] == pytest.approx(
        alone["perplexity"]["test"], rel=1e-3
    )


def _children_of(parent: int) -> list[int]:
    time.sleep(0.1)
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
