"""Signals to a real process: Ctrl-C, SIGTERM and kill -9, and the command that resumes."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from tests.cli.program import finish, start, vastmax, wait_for_checkpoint
from vastmax.cli.console import command_line, interrupted_training, program
from vastmax.embeddings import Embeddings

FLAGS = ["--dim", "32", "--epochs", "600", "--threads", "1", "--window", "8", "--checkpoint-minutes", "0.001"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> bytes:
    folder = tmp_path_factory.mktemp("uninterrupted") / "model"
    assert vastmax("train", corpus, "-o", folder, *FLAGS).code == 0
    return (folder / "vectors.safetensors").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupt_prints_the_command_that_resumes(
    corpus: Path, tmp_path: Path, uninterrupted: bytes, number: int
) -> None:
    folder = tmp_path / "a model"
    process = start("train", corpus, "-o", folder, *FLAGS)
    wait_for_checkpoint(process, folder)
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    said, command = outcome.err.splitlines()[-2:]
    assert said.startswith("vastmax: interrupted at ")
    assert said.endswith(f"checkpoint in {folder / 'checkpoint'}. Resume with:")
    assert f"'{folder}'" in command
    assert not (folder / "vectors.safetensors").exists()
    done = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True)
    told = re.search(
        r"in (.*) s \(.*\), (.*) s of them before it was resumed, (.*) s for the whole command", done.stdout
    )
    assert told, done.stdout
    training, before, whole = map(float, told.groups())
    assert 0 < before < training < before + whole + 0.2  # each is rounded to 0.1 s
    assert (folder / "vectors.safetensors").read_bytes() == uninterrupted
    assert not (folder / "checkpoint").exists()


PIPED = {
    "substituted": ("<(cat {corpus})", "<(...)"),
    "standard input": ("- < <(cat {corpus})", "-"),
    "named": ("{pipe}", "{pipe}"),
}


@pytest.mark.parametrize("how", PIPED)
def test_a_text_that_came_by_a_pipe_is_asked_for_again(
    corpus: Path, tmp_path: Path, uninterrupted: bytes, how: str
) -> None:
    """The printed command resumes when given the same text again; it names no vanished file."""
    os.mkfifo(pipe := tmp_path / "pipe")
    typed, named = (text.format(corpus=corpus, pipe=pipe) for text in PIPED[how])
    folder = tmp_path / "model"
    environment = {**os.environ, "PYTHONUTF8": "1"}
    feed = f"cat {corpus} > {pipe} & " if how == "named" else ""
    flags = shlex.join(["-o", str(folder), *FLAGS])
    line = f"{feed}exec {shlex.quote(sys.executable)} -m vastmax train {flags} {typed}"
    process = subprocess.Popen(["bash", "-c", line], text=True, stderr=subprocess.PIPE, env=environment)
    wait_for_checkpoint(process, folder)
    process.send_signal(signal.SIGTERM)  # a shell's background jobs ignore Ctrl-C
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    said, command = outcome.err.splitlines()[-2:]
    assert said.endswith(f"checkpoint in {folder / 'checkpoint'}. Pipe the same text in again, and resume with:")
    assert "--resume" in command and command.endswith(f" {named}") and "/fd/" not in command
    given = command.replace("<(...)", f"<(cat {corpus})") if how == "substituted" else f"cat {corpus} | {command}"
    subprocess.run(["bash", "-c", f"{feed}{given}"], check=True, capture_output=True, env=environment)
    assert (folder / "vectors.safetensors").read_bytes() == uninterrupted


@pytest.mark.parametrize(
    ("typed", "again", "piped"),
    [
        (["lm", "train", "/dev/fd/63", "-o", "m"], "lm train --resume <(...) -o m", True),
        (["lm", "train", "a.txt", "--valid", "/proc/self/fd/12"], "lm train --resume a.txt --valid <(...)", True),
        (["lm", "train", "a.txt", "--test=/dev/fd/3"], "lm train --resume a.txt --test=<(...)", True),
        (["lm", "train", "-", "--overwrite"], "lm train --resume -", True),
        (["train", "/dev/stdin", "-o", "a b"], "train --resume /dev/stdin -o 'a b'", True),
        (["train", "/dev/fd/63", "/dev/fd/62"], "train --resume <(...) <(...)", True),
        (["train", "a.txt", "/dev/fd/x", "fd/63"], "train --resume a.txt /dev/fd/x fd/63", False),
        (["train", "a.txt", "--option", "x=-"], "train --resume a.txt --option x=-", False),
    ],
)
def test_no_dead_name_is_advised(typed: list[str], again: str, piped: bool, capsys: pytest.CaptureFixture[str]) -> None:
    context: Any = SimpleNamespace(find_root=lambda: SimpleNamespace(obj={"arguments": typed}))
    interrupted_training(context, Path("m/checkpoint"), 0.5, "")
    said, command = capsys.readouterr().err.splitlines()
    assert command == f"{program()} {again}"
    assert said.endswith("Pipe the same text in again, and resume with:" if piped else "checkpoint. Resume with:")
    assert command_line(context) == f"{program()} {again.replace('--resume ', '')}" or "--overwrite" in typed


def test_kill_at_any_moment_leaves_the_last_checkpoint(corpus: Path, tmp_path: Path, uninterrupted: bytes) -> None:
    folder = tmp_path / "model"
    killed = 0
    for attempt in range(5):
        process = start("train", corpus, "-o", folder, "--resume", *FLAGS)
        wait_for_checkpoint(process, folder)
        time.sleep(0.1 + 0.07 * attempt)
        process.kill()
        outcome = finish(process)
        killed += outcome.code == -signal.SIGKILL
        assert outcome.code in (0, -signal.SIGKILL), outcome.err
        if (folder / "vectors.safetensors").exists():  # it finished, or was killed while exiting
            break
    else:
        assert vastmax("train", corpus, "-o", folder, "--resume", *FLAGS).code == 0
    assert killed >= 1
    assert (folder / "vectors.safetensors").read_bytes() == uninterrupted


def fill_pipe(pipe: IO[str]) -> None:
    """Write more than a pipe holds: this blocks until the process has begun to read, however slowly it starts."""
    pipe.write("some words\n" * 50_000)
    pipe.flush()
    time.sleep(0.2)


def test_interrupt_while_reading(tmp_path: Path) -> None:
    process = start("train", "-", "-o", tmp_path / "model", stdin=subprocess.PIPE)
    assert process.stdin is not None
    fill_pipe(process.stdin)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert "interrupted while reading: nothing was written" in outcome.err
    assert not (tmp_path / "model").exists()


def test_interrupt_of_another_verb(tmp_path: Path) -> None:
    process = start("vocab", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    fill_pipe(process.stdin)
    process.send_signal(signal.SIGTERM)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.err == "vastmax: interrupted\n"


def test_an_empty_checkpoint_folder_is_no_checkpoint(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "checkpoint").mkdir(parents=True)
    outcome = vastmax("train", corpus, "-o", tmp_path / "model", "--resume", "--epochs", "1", "--dim", "4")
    assert outcome.code == 0
    assert "no checkpoint in" in outcome.err


def test_a_terminal_that_is_closed_leaves_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    flags = ["--dim", "8", "--epochs", "1000000", "--threads", "1", "--checkpoint-minutes", "0"]
    master, slave = os.openpty()
    process = start(
        "train", corpus, "-o", folder, *flags, stdin=slave, stdout=slave, stderr=slave, preexec_fn=os.setsid
    )
    os.close(slave)
    said = b""
    while b"training" not in said:
        said += os.read(master, 4096)
    os.close(master)  # later writes to the terminal fail
    for _ in range(2):
        process.send_signal(signal.SIGHUP)  # once from the kernel to the terminal's session, once from the shell
    assert process.wait(60) == 130
    assert (folder / "checkpoint" / "state.json").exists()


def test_under_nohup_it_goes_on(corpus: Path, tmp_path: Path) -> None:
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = start("train", corpus, "-o", tmp_path / "model", *FLAGS, **ignoring)
    wait_for_checkpoint(process, tmp_path / "model")
    process.send_signal(signal.SIGHUP)
    assert finish(process).code == 0


def test_a_second_run_says_whose_the_folder_is(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    process = start("train", corpus, "-o", folder, *FLAGS)
    wait_for_checkpoint(process, folder)
    for flag in ("--resume", "--overwrite"):
        outcome = vastmax("train", corpus, "-o", folder, flag, *FLAGS)
        assert outcome.code == 1
        assert outcome.sentence.startswith(f"{folder} is being written by process {process.pid} on ")
    assert finish(process).code == 0
    assert not any(each.name.startswith(".") for each in folder.iterdir())


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str, corpus: Path, tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m vastmax"
    kept, model = tmp_path / "vocabulary.tsv", tmp_path / "model"
    verbs = {f"vocab {corpus} -o {kept}": 0, f"train {corpus} -o {model} --epochs 1": 0, "vocab none": 1}
    for verb, code in verbs.items():
        done = subprocess.run(["bash", "-c", f"{command} {verb} {closed}"], capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert kept.read_text().count("\n") > 10 and "word\tcount" not in kept.read_text()
    assert len(Embeddings.load(model)) > 10
