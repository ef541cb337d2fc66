"""One writer per folder."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vastmax.embeddings import Embeddings
from vastmax.errors import InputError
from vastmax.files import replacing_members
from vastmax.locks import locked
from vastmax.runs import Checkpoint, OutputFolder
from vastmax.vocabulary import Vocabulary

HOLD = """
import sys, time
from pathlib import Path
from vastmax.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def embeddings() -> Embeddings:
    return Embeddings(np.ones((2, 3), np.float32), Vocabulary(["a", "b"], [2, 1]))


def test_the_sentence_says_whose_it_is(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    with pytest.raises(InputError, match=f"being written by process {other.pid} on .* since 20.*: wait until"):
        locked(tmp_path).__enter__()
    with pytest.raises(InputError, match=f"process {other.pid}"):
        OutputFolder(tmp_path).__enter__()
    assert sorted(each.name for each in tmp_path.iterdir()) == [".writer"]


def test_nothing_is_left_of_a_lock_whose_process_was_killed(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait()
    with locked(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / ".writer").read_text()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "save",
    [
        lambda folder: embeddings().save(folder),
        lambda folder: Checkpoint("a test", {}, {}, {}).save(folder),
    ],
    ids=["embeddings", "checkpoint"],
)
def test_what_is_soon_saved_waits_a_little(save, tmp_path: Path, other: "subprocess.Popen[str]", monkeypatch) -> None:
    monkeypatch.setattr("vastmax.files.PATIENCE", 0.2)
    with pytest.raises(InputError, match=f"process {other.pid}"):
        save(tmp_path)
    monkeypatch.setattr("vastmax.files.PATIENCE", 30.0)
    threading.Timer(0.3, other.kill).start()
    save(tmp_path)
    assert not any(each.name.startswith(".") for each in tmp_path.iterdir())


def test_another_thread_is_another_writer_and_the_same_is_not(tmp_path: Path) -> None:
    refusals: list[Exception] = []

    def write() -> None:
        try:
            with locked(tmp_path):
                pass
        except InputError as error:
            refusals.append(error)

    with locked(tmp_path):
        with locked(tmp_path), replacing_members(tmp_path) as staging:
            (staging / "file").write_text("new")
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(refusals) == 1 and (tmp_path / "file").read_text() == "new"
    write()
    assert len(refusals) == 1


def test_many_threads_that_save_at_once(tmp_path: Path) -> None:
    def save(number: int) -> None:
        vectors = np.full((2, 3), number, np.float32)
        for _ in range(5):
            Embeddings(vectors, Vocabulary([f"{number}a", f"{number}b"], [2, 1])).save(tmp_path)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        if (tmp_path / "config.json").exists():
            found = Embeddings.load(tmp_path)
            del found
    for thread in threads:
        thread.join()
    found = Embeddings.load(tmp_path)
    number = int(found.vectors[0, 0])
    assert found.vocabulary.words == [f"{number}a", f"{number}b"] and (found.vectors == number).all()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", "vectors.safetensors", "vocabulary.tsv"]


def test_where_there_are_no_locks_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with locked(tmp_path):
        assert (tmp_path / ".writer").exists()
