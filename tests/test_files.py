"""Files that are either the old or the new."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from vastmax.errors import InputError
from vastmax.files import replacing
from vastmax.text import Phrases
from vastmax.trees import Classes, huffman_tree
from vastmax.vocabulary import Vocabulary

WRITERS: dict[str, Callable[[Path], None]] = {
    "vocabulary": lambda path: Vocabulary(["a", "b"], [2, 1]).save(path),
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
        assert reader.read() == b"old"  # another file stands in its place now
    assert path.read_bytes() != b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_place_that_cannot_be_written(write: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*No such file"):
        write(tmp_path / "none" / "file")


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
        pytest.raises(InputError, match=r"cannot write .*words.tsv: Read-only file system; make room or name another"),
        replacing(tmp_path / "words.tsv") as temporary,
    ):
        temporary.write_text("a")
