"""Corpus path arguments, and the error for each mistake."""

import errno
import glob
import gzip
import io
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.text.oracle import decoded
from vastmax.errors import CorpusError, InputError
from vastmax.text import encode_corpus, expand_paths, read_sentences, sources


def test_folders_patterns_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a/z.txt", "a/.hidden", ".git/x.txt", "c.md", "a/b/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(Path(name).stem)

    def words(sources: Any) -> str:
        return " ".join(word for sentence in read_sentences(sources) for word in sentence)

    assert words(tmp_path) == "b c z d"
    assert words(str(tmp_path / "*.txt")) == "b"
    assert words(str(tmp_path / "**" / "*.txt")) == "d z b"
    assert words(str(tmp_path / "**")) == "b c z d"
    assert words(str(tmp_path / "[ac]*")) == "z d c"
    assert words([tmp_path / "c.md", str(tmp_path / "a")]) == "c z d"
    assert words((tmp_path / "c.md", tmp_path / "c.md")) == "c c"
    (tmp_path / "w[1].txt").write_text("brackets")
    assert words(tmp_path / "w[1].txt") == "brackets"
    monkeypatch.chdir(tmp_path)
    assert words("b.txt") == "b"


def test_a_link_that_leads_back_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "text").write_text("a b")
    (tmp_path / "deeper" / "up").symlink_to(tmp_path)
    (tmp_path / "here").symlink_to(tmp_path)
    for name in (tmp_path, tmp_path / "**", tmp_path / "**" / "text", tmp_path / "*", tmp_path / "*" / "*" / "text"):
        assert list(read_sentences(name)) == [["a", "b"]], name


def test_two_names_of_a_folder_are_one_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "text").write_text("a b")
    (tmp_path / "x").symlink_to(tmp_path / "a")
    (tmp_path / "y").symlink_to(tmp_path / "a" / "b")
    for pattern in ("*", "**", "*/b", "*/b/text", "*/*/t*", "*/**", "*/**/text", "**/text", "[ax]/b/*", "?"):
        assert list(read_sentences(str(tmp_path / pattern))) == [["a", "b"]], pattern
    assert len(list(read_sentences([tmp_path / "a", tmp_path / "x"]))) == 2  # both are named explicitly


@pytest.mark.parametrize("pattern", ["*", "**", "**/*", "t*", "b/*", "*/t*", "**/t*"])
def test_a_pipe_is_waited_for_only_where_it_is_named(tmp_path: Path, pattern: str) -> None:
    for folder in (tmp_path, tmp_path / "b"):
        folder.mkdir(exist_ok=True)
        (folder / "text").write_text("a b")
        os.mkfifo(folder / "there")  # opening it would hang
    assert set(expand_paths(str(tmp_path / pattern))) <= {str(tmp_path / "text"), str(tmp_path / "b" / "text")}
    assert expand_paths(tmp_path / "there") == [str(tmp_path / "there")]
    assert f"no file matches {tmp_path}/ther*" in failing(f"{tmp_path}/ther*")


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", f"echo a b > '{pipe}'"]):
        assert list(read_sentences(pipe)) == [["a", "b"]]


def test_patterns_match_as_those_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/b/c.txt", "a/c.txt", "b/.h/c.txt", "b/d[1].txt", "c.txt", ".h.txt", "B/x/y/z.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a b")
    monkeypatch.chdir(tmp_path)
    patterns = (
        *(
            "*.txt",
            "**/*.txt",
            "*/*.txt",
            "a/**/c.txt",
            "a/**/**/*.txt",
            "?/*",
            "**/b/*",
            ".*.txt",
            "b/.h/*",
            "b/.*/c.txt",
        ),
        *("b/.*/c.txt", "[!a]/*[[]1]*", "**/[xy]/**/*.md", "a/*/nothing*", "c.txt/*", "none/*.txt"),
    )
    for start in ("", f"{tmp_path}/", "./", f"a/../../{tmp_path.name}/"):
        for rest in patterns:
            matched = sorted(set(glob.glob(start + rest, recursive=True)))
            expected = [path for path in matched if os.path.isfile(path)]
            found = sources._files_matching(start + rest)
            below = {os.path.dirname(path) for path in expected}
            assert [path for path in found if os.path.dirname(path) in below] == expected, start + rest


def test_folders_alone_match_a_pattern_that_ends_as_they_do(tmp_path: Path) -> None:
    for name in ("a/b/c.txt", "a/c.txt", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a b")
    assert expand_paths(f"{tmp_path}/*/") == [str(tmp_path / "a" / "c.txt"), str(tmp_path / "a" / "b" / "c.txt")]
    assert f"no file matches {tmp_path}/*.txt/" in failing(f"{tmp_path}/*.txt/")


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: Any) -> Any:  # permissions would not stop root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    for function in ("listdir", "scandir"):
        monkeypatch.setattr(os, function, refuse)
    for name in (tmp_path, tmp_path / "*.txt", tmp_path / "**"):
        assert f"folder {tmp_path} cannot be read (Permission denied): check its permissions." in failing(name)


def test_each_file_ends_its_sentence(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").write_text("a b" + "\n" * (number % 2))
    with encode_corpus(tmp_path, min_count=1) as corpus:
        assert decoded(corpus) == [["a", "b"]] * 5


def test_standard_input() -> None:
    program = "from vastmax.text import *; c = encode_corpus('-', min_count=1); print(c.vocabulary.words, c.ids[3])"

    def run(data: bytes) -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=False)
        return done.stdout.decode(), done.stderr.decode()

    expected = ("['a', 'b', 'c'] 4294967295\n", "")
    assert run(b"a b a\nc\n") == expected
    assert run(gzip.compress(b"a b a\nc\n")) == expected
    assert run(b"")[1].endswith("CorpusError: standard input is empty: give a text with words in it.\n")


def test_standard_input_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="named twice"):
        encode_corpus(["-", "-"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CorpusError, match="standard input is closed: pipe"):
        encode_corpus("-")


def failing(sources: Any, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        encode_corpus(sources, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", ")"))
    return message


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"file {tmp_path / 'none.txt'} does not exist: check the path" in failing(tmp_path / "none.txt")
    assert f"no file matches {tmp_path}/*.txt: check the pattern" in failing(f"{tmp_path}/*.txt")
    assert f"folder {tmp_path} contains no files" in failing(tmp_path)
    (tmp_path / ".hidden").write_text("a b c")
    assert "contains no files" in failing(tmp_path)
    assert "no corpus is given" in failing([])
    path = tmp_path / "text"
    path.write_text("a b")

    plain_open = os.open

    def refuse(name: Any, *arguments: Any, **options: Any) -> int:
        if name == str(path):  # permissions would not stop root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return plain_open(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert f"{path} cannot be read (Permission denied): check" in failing([path])


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"a b")
    assert f"{path} looks like a binary file" in failing(path)
    path.write_bytes(bytes(range(128, 256)) * 10)
    assert f"{path} looks like a binary file or text in another encoding" in failing(path)
    path.write_bytes("Съешь же ещё этих мягких французских булок, да выпей чаю. Съешь ещё.".encode("cp1251"))
    assert "another encoding" in failing(path)
    path.write_bytes("some text".encode("utf-16"))
    assert f"{path} is UTF-16 text: convert it to UTF-8" in failing(path)


def test_texts_with_nothing_to_learn(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("")
    assert failing(path).startswith(f"{path} is empty")
    path.write_text(" \n\n \t\n")
    assert failing(path).startswith(f"{path} contains no words")
    path.write_text("word word\nword")
    assert failing(path, min_count=1).startswith(f"{path} has only one word to learn, 'word': give more text")
    path.write_text("a b b c")
    assert "no word that occurs 5 times or more (the most frequent, 'b', occurs 2 times): lower min_count" in failing(
        path
    )
    assert "(the most frequent, 'a', occurs 1 time)" in failing([["a", "b"]])
    assert failing([path, path], min_count=50).startswith(f"the corpus ({path} and 1 more) has no word")
    assert failing(path, min_count=1, max_vocabulary=1).startswith(f"{path} has only one word to learn")


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        (7, "the corpus is 7: give lists of words, for example .text.split.*, or a path"),
        (["a b", ["c"]], "sentence 1 of the corpus is 'a b': give a list of words"),
        ([["a"], 3], "sentence 2 of the corpus is 3: give a list"),
        ([["a"], ["b", 3]], "sentence 2 of the corpus contains 3 .int., and words are strings"),
        ([["a\x1fb"]], "control character"),
        ([["a"], ["b\x1e"]], "sentence 2 .* control character"),
        ([["\ud800"]], "surrogate"),
        ((line for line in ["a b"]), "is 'a b': give a list of words"),
    ],
)
def test_iterables_that_hold_no_tokens(sources: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        encode_corpus(sources, min_count=1)


def test_errors_of_the_users_own_iterable_pass_through() -> None:
    def sentences() -> Any:
        yield ["a"]
        raise FileNotFoundError(errno.ENOENT, "mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        encode_corpus(sentences())
    with pytest.raises(TypeError, match="can only concatenate"):
        encode_corpus([("a" + number for number in [1])])  # type: ignore[operator]


def test_folder_for_the_temporary_file(tmp_path: Path) -> None:
    message = failing([["a", "b"]], directory=tmp_path / "none")
    assert f"cannot be written to folder {tmp_path / 'none'} (No such file or directory): name another" in message


def test_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
    message = failing([["a", "b"]] * 9, directory=tmp_path)
    assert f"folder {tmp_path} has no room for the encoded corpus" in message
    assert "(No space left on device): free some" in message


def test_disk_that_fills_up_in_the_middle(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    text = tmp_path / "text"
    text.write_text("a b c d e f g h\n" * 200_000)
    program = f"from vastmax.text import *; encode_corpus({str(text)!r})"
    run = subprocess.run([sys.executable, "-c", program], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "has no room for the encoded corpus, 4 bytes per word (File too large)" in run.stderr.splitlines()[-1]
    assert run.stderr.endswith("free some, or name another folder in the environment variable TMPDIR.\n")
