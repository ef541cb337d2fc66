"""Atomic file replacement, and file errors."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.limits import few_files
from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity, export, import_vectors, train
from vastmax.errors import CorpusError, InputError, VastmaxError
from vastmax.files import is_file, replacing, tidy, write_array
from vastmax.language import LanguageCorpus, load_language_model, read_language_corpus
from vastmax.runs import Checkpoint
from vastmax.text import Phrases, encode_corpus, learn_phrases
from vastmax.trees import Classes, Tree, huffman_tree
from vastmax.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["a", "b"], [2, 1])
EMBEDDINGS = Embeddings(np.eye(2), VOCABULARY)
WRITERS: dict[str, Callable[[Path], None]] = {
    "vocabulary": VOCABULARY.save,
    "phrases": lambda path: Phrases([], thresholds=[]).save(path),
    "tree": lambda path: huffman_tree([2, 1]).save(path),
    "classes": lambda path: Classes([0, 1]).save(path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_is_read_while_it_is_replaced_is_whole(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write(path)
        assert reader.read() == b"old"  # the open handle still refers to the replaced file
    assert path.read_bytes() != b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_place_that_cannot_be_written(write: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written .No such file"):
        write(tmp_path / "none" / "file")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_is_flushed_to_the_disk_is_the_file_that_was_written(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a file that a library has since replaced with another under a temporary name that is never cleaned up."""
    flushed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.fsync", lambda each: flushed.append((os.fstat(each).st_ino, os.fstat(each).st_size)))
    write(tmp_path / "file")
    status = (tmp_path / "file").stat()
    assert flushed == [(status.st_ino, status.st_size)]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as given:
        given.write_text("through")
    assert os.read(reader, 100) == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


def test_what_went_wrong_is_told_where_nothing_can_be_deleted_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with (
        pytest.raises(
            InputError, match=r"words.tsv cannot be written .Read-only file system.: make room, or name another"
        ),
        replacing(tmp_path / "words.tsv") as temporary,
    ):
        temporary.write_text("a")


def test_temporary_names_are_met_by_nobody(tmp_path: Path) -> None:
    """Neither another thread writing the same file nor a planted symbolic link interferes."""
    path, outside = tmp_path / "file", tmp_path / "outside"
    outside.write_text("mine")
    with replacing(path) as one, replacing(path) as other:
        assert one != other and one.exists() and other.exists()
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to(outside)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), outside.read_text()) == ("new", "mine")


def test_the_leftover_of_a_killed_writer_goes_and_that_of_one_at_work_stays(tmp_path: Path) -> None:
    path = tmp_path / "a [file]"
    kill = f"""
import os, signal
from vastmax.files import is_file, replacing, tidy, write_array
with replacing({str(path)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", kill]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with replacing(path) as at_work:
        assert not left.exists()
        with replacing(path) as other:
            other.write_text("first")
        assert at_work.exists()
        at_work.write_text("second")
    assert path.read_text() == "second" and [each.name for each in tmp_path.iterdir()] == ["a [file]"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_permissions_are_those_of_the_file_replaced(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "other") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("limit", [0, 100, 128, 4096, 4227])
def test_an_array_that_the_disk_has_no_room_for_is_an_error(limit: int, tmp_path: Path) -> None:
    """Even if the error appears only when the buffer is flushed at the end."""
    code = f"""
import resource
import numpy as np
from vastmax.files import replacing, write_array
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
with replacing({str(tmp_path / "file")!r}) as temporary:
    write_array(temporary, np.arange(1025, dtype=np.float32))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "cannot be written" in done.stderr
    assert not any(tmp_path.iterdir())


def test_an_array_is_numpys_own(tmp_path: Path) -> None:
    for array in (np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(12).reshape(3, 4).T[1:], np.zeros((0, 4))):
        write_array(tmp_path / "ours.npy", array)
        np.save(tmp_path / "numpys.npy", array)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_what_a_kill_left_is_tidied(tmp_path: Path) -> None:
    for name in (".incoming", ".incoming.1.tmp", ".dropped-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"file of {name}").write_text("left")
    (tmp_path / ".writer").write_text("process 1 on a host since 2026-01-01 00:00")
    tidy(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["file of .incoming"]  # saved completely, moved partly
    tidy(tmp_path / "none")
    assert not (tmp_path / "none").exists()


NO_PATHS = [None, 5, True, 1.5, b"x", [], ["m"], {}, "a\0b", "x" * 5000, object(), np.array([1])]
PLACES: dict[str, Callable[[Any], object]] = {
    "Vocabulary.load": Vocabulary.load,
    "Vocabulary.save": VOCABULARY.save,
    "Phrases.load": Phrases.load,
    "Tree.load": Tree.load,
    "Classes.load": Classes.load,
    "Embeddings.load": Embeddings.load,
    "Embeddings.save": EMBEDDINGS.save,
    "import": import_vectors,
    "export": lambda path: export(EMBEDDINGS, path),
    "LanguageCorpus.load": LanguageCorpus.load,
    "load_language_model": load_language_model,
    "similarity": lambda path: evaluate_similarity(EMBEDDINGS, path),
    "analogies": lambda path: evaluate_analogies(EMBEDDINGS, path),
    "output": lambda path: train(SENTENCES, dim=4, epochs=1, min_count=1, output=path),
    "directory": lambda path: encode_corpus(SENTENCES, min_count=1, directory=path),
}


@pytest.mark.parametrize("call", PLACES.values(), ids=PLACES)
def test_what_can_be_no_path(call: Callable[[Any], object], request: pytest.FixtureRequest) -> None:
    """Not even an open file descriptor, which reading would close."""
    for path in NO_PATHS:
        if path is None and request.node.callspec.id in ("output", "directory"):
            continue  # None is valid: no output, or the system's temporary folder
        with pytest.raises(InputError, match=r"a path is .*: give text or a Path|a path is .*: give another path"):
            call(path)


SENTENCES = [["a", "rose", "is", "a", "rose"], ["a", "thorn"]]
READERS: dict[str, Callable[[], object]] = {
    "vocabulary": lambda: Vocabulary.load("vocabulary.tsv"),
    "phrases": lambda: Phrases.load("phrases.tsv"),
    "tree": lambda: Tree.load("tree"),
    "classes": lambda: Classes.load("classes"),
    "embeddings": lambda: Embeddings.load("model"),
    "text": lambda: import_vectors("vectors.txt"),
    "numpy": lambda: import_vectors("vectors.npy"),
    "checkpoint": lambda: Checkpoint.load(Path("checkpoint"), "nothing"),
    "saved corpus": lambda: LanguageCorpus.load("corpus"),
    "corpus": lambda: encode_corpus("corpus.txt", min_count=1),
    "token lists": lambda: encode_corpus(SENTENCES, min_count=1),
    "language corpus": lambda: read_language_corpus("corpus.txt", SENTENCES, SENTENCES[:1], min_count=1),
    "learning phrases": lambda: learn_phrases("corpus.txt"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that `READERS` read."""
    folder = tmp_path_factory.mktemp("written")
    for name, kind in {"vocabulary.tsv": "vocabulary", "phrases.tsv": "phrases"}.items():
        WRITERS[kind](folder / name)
    WRITERS["tree"](folder / "tree")
    WRITERS["classes"](folder / "classes")
    embeddings = Embeddings(np.eye(2, dtype=np.float32), Vocabulary(["a", "b"], [2, 1]))
    embeddings.save(folder / "model")
    export(embeddings, folder / "vectors.txt")
    export(embeddings, folder / "vectors.npy")
    Checkpoint("nothing", {}, {}, {"a": np.eye(2)}).save(folder / "checkpoint")
    read_language_corpus(SENTENCES, SENTENCES[:1], SENTENCES[1:], min_count=1).save(folder / "corpus")
    (folder / "corpus.txt").write_text("a rose is a rose\na thorn\n" * 20)
    return folder


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_too_many_open_files(read: Callable[[], object], written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Report this at whichever file the limit is reached, not a missing or damaged file."""
    monkeypatch.chdir(written)
    read()  # do the lazy imports first
    sentences = []
    for number in range(6):
        with few_files(number):
            try:
                read()
            except VastmaxError as error:
                assert isinstance(error, (InputError, CorpusError))
                sentences.append(str(error))
    assert sentences and all("Too many open files" in each and "delete" not in each for each in sentences)


def test_what_may_not_be_looked_up_is_not_taken_for_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    assert is_file(tmp_path / "file")
    for missing in ("none", "none/file", "file/below", "a\0b", ""):
        assert not is_file(tmp_path / missing)
    with pytest.raises(InputError, match=r"loop/file cannot be read .Too many levels"):
        is_file(tmp_path / "loop" / "file")


def test_a_checkpoint_that_may_not_be_read_is_not_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").symlink_to("checkpoint")
    options: dict[str, Any] = {"output": tmp_path, "dim": 4, "epochs": 1, "min_count": 1}
    for more in ({}, {"resume": True}):
        with pytest.raises(InputError, match="cannot be read"):
            train(SENTENCES, **options, **more)
    assert os.listdir(tmp_path) == ["checkpoint"]
