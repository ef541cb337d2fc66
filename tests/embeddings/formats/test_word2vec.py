import bz2
import gzip
import locale
import lzma
import os
import pickle
import shutil
import subprocess
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.numpy import save

from vastmax.embeddings import Embeddings, read_word2vec, write_word2vec
from vastmax.errors import FormatError, InputError
from vastmax.integrations import to_gensim
from vastmax.vocabulary import Vocabulary

both = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@both
@pytest.mark.parametrize("told", [True, False])
def test_round_trip(small: Embeddings, tmp_path: Path, binary: bool, told: bool) -> None:
    write_word2vec(small, tmp_path / "vectors", binary=binary)
    loaded = read_word2vec(tmp_path / "vectors", binary if told else None)
    assert_array_equal(loaded.vectors, small.vectors)
    assert loaded.vocabulary.words == small.vocabulary.words
    assert not loaded.vocabulary.counted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors"]


@both
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(floats, min_size=3, max_size=3), min_size=1, max_size=20))
def test_every_float_comes_back(tmp_path: Path, binary: bool, rows: list[list[float]]) -> None:
    embeddings = Embeddings(
        np.array(rows, np.float32), Vocabulary([f"w{i}" for i in range(len(rows))], [1] * len(rows))
    )
    write_word2vec(embeddings, tmp_path / "vectors", binary=binary)
    loaded = read_word2vec(tmp_path / "vectors", binary).vectors
    assert_array_equal(loaded.view(np.uint32), embeddings.vectors.view(np.uint32))


@both
def test_many_chunks(tmp_path: Path, binary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    embeddings = Embeddings(vectors, Vocabulary([f"word{i}" for i in range(20_000)], np.ones(20_000)))
    write_word2vec(embeddings, tmp_path / "vectors", binary=binary)
    monkeypatch.setattr("vastmax.embeddings.formats.rows._CHUNK", 1000)
    loaded = read_word2vec(tmp_path / "vectors")
    assert_array_equal(loaded.vectors, vectors)
    assert loaded.vocabulary.words == embeddings.vocabulary.words


@both
def test_packed(small: Embeddings, tmp_path: Path, binary: bool) -> None:
    write_word2vec(small, tmp_path / "vectors", binary=binary)
    content = (tmp_path / "vectors").read_bytes()
    (tmp_path / "vectors.gz").write_bytes(gzip.compress(content))
    assert_array_equal(read_word2vec(tmp_path / "vectors.gz").vectors, small.vectors)
    (tmp_path / "vectors.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(FormatError, match="truncated gzip"):
        read_word2vec(tmp_path / "vectors.gz")


@both
def test_gensim_reads_ours(random: Embeddings, tmp_path: Path, binary: bool) -> None:
    models = pytest.importorskip("gensim.models")
    write_word2vec(random, tmp_path / "vectors", binary=binary)
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "vectors"), binary=binary)
    assert theirs.index_to_key == random.vocabulary.words
    assert_array_equal(theirs.vectors, random.vectors)


@both
def test_we_read_gensims(random: Embeddings, tmp_path: Path, binary: bool) -> None:
    pytest.importorskip("gensim")
    theirs = to_gensim(random)
    theirs.save_word2vec_format(str(tmp_path / "vectors"), binary=binary)
    loaded = read_word2vec(tmp_path / "vectors")
    assert loaded.vocabulary.words == theirs.index_to_key
    assert_array_equal(loaded.vectors, theirs.vectors)


@both
def test_words_with_blanks(tmp_path: Path, binary: bool) -> None:
    embeddings = Embeddings(np.eye(2), Vocabulary(["new york", "a\tb\nc"], [2, 1]))
    write_word2vec(embeddings, tmp_path / "vectors", binary=binary)
    assert read_word2vec(tmp_path / "vectors").vocabulary.words == ["new_york", "a_b_c"]
    with pytest.raises(InputError, match="both be written as 'a_b'"):
        write_word2vec(Embeddings(np.eye(2), Vocabulary(["a b", "a_b"], [2, 1])), tmp_path / "twice", binary=binary)
    assert not (tmp_path / "twice").exists()
    write_word2vec(Embeddings(np.eye(2), Vocabulary(["", "b"], None)), tmp_path / "empty", binary=binary)
    assert read_word2vec(tmp_path / "empty").vocabulary.words == ["_", "b"]


@both
def test_classes_without_names_are_written_as_ids(tmp_path: Path, binary: bool) -> None:
    write_word2vec(Embeddings(np.eye(3), Vocabulary(None, [3, 2, 1])), tmp_path / "vectors", binary=binary)
    assert read_word2vec(tmp_path / "vectors").vocabulary.words == ["0", "1", "2"]


@both
def test_one_word_of_one_number(tmp_path: Path, binary: bool) -> None:
    write_word2vec(Embeddings(np.ones((1, 1)), Vocabulary(["a"], [1])), tmp_path / "vectors", binary=binary)
    assert read_word2vec(tmp_path / "vectors").vectors.tolist() == [[1.0]]


def read_text(
    tmp_path: Path, content: str | bytes, binary: bool | None = False, limit: int | None = None
) -> Embeddings:
    (tmp_path / "v.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_word2vec(tmp_path / "v.txt", binary, limit=limit)


def test_text_of_others(tmp_path: Path) -> None:
    loaded = read_text(tmp_path, "3 2\r\nnew york 1 +2 \r\n\r\nb\t3e-1\t-.5\n route 66 1e-50 1E5", None)
    assert loaded.vocabulary.words == ["new york", "b", "route 66"]
    assert_array_equal(loaded.vectors, np.array([[1, 2], [0.3, -0.5], [0, 1e5]], np.float32))


def test_a_very_long_line_is_text_all_the_same(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 20_000)).astype(np.float32)
    write_word2vec(Embeddings(vectors, Vocabulary(["a", "b"], [2, 1])), tmp_path / "long")
    assert_array_equal(read_word2vec(tmp_path / "long").vectors, vectors)


@pytest.mark.parametrize("binary", [None, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "give one whose line 1 is"),
        ("a cat\nsat on\n", "give one whose line 1 is"),
        ("2 x\n", "give one whose line 1 is"),
        ("2 -2\n", "give one whose line 1 is"),
        ("2 2", "give one whose line 1 is"),
        (f"{'9' * 5000} 2\na 1 2\n", "line 1 of .* has 1 of 2 numbers after the word"),
        ("0 2\n", "promises 0 words of 2"),
        ("2 0\n", "promises 2 words of 0"),
        ("2 2\na 1 2\nb 1\n", "line 3 of .* has 1 of 2 numbers after the word"),
        ("2 2\na 1 2\n1 2\n", "line 3 of .* has 1 of 2 numbers after the word"),
        ("2 2\na 1 2\nb 1 2,5\n", "line 3 of .* has '2,5' instead of a finite number: write decimals with a point"),
        ("2 2\na 1 2\nb 1 nan\n", "line 3 of .* has 'nan' instead of a finite number"),
        ("2 2\na 1 2\nb 1 1e99\n", "line 3 of .* has '1e99' instead of a finite number"),
        ("2 2\na 0.5 1.5 2.5\nb 0.5 1.5 2.5\n", "most lines of .* have more than the 2 numbers that line 1 promises"),
        ("3 2\na 1 2\nb 1 2", "is truncated after 2 of the 3 words"),
        ("3 2\n", "is truncated after 0 of the 3 words"),
        ("99999999999999 9999\na 1 2\n", "line 2 of .* has 2 of 9999 numbers after the word"),
        ("1 99999999999999\na 1 2\n", "vectors of 99999999999999 numbers, more than 1048576"),
    ],
)
def test_wrong_text(tmp_path: Path, content: str, message: str, binary: bool | None) -> None:
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, content, binary)


@pytest.mark.parametrize(
    ("content", "words", "vectors"),
    [
        ("the 0.5 -1 2\nof 1 2 3\n", ["the", "of"], [[0.5, -1, 2], [1, 2, 3]]),
        ("\ufeffthe 0.5 -1\r\n\r\nof 1 2", ["the", "of"], [[0.5, -1], [1, 2]]),
        ("3 1 2\n1 3 4\n", ["3", "1"], [[1, 2], [3, 4]]),
        ("Windows 3.1 1 2\nb 5 6\n", ["Windows 3.1", "b"], [[1, 2], [5, 6]]),
        (". . . 1 2\nb 5 6\nat name@domain.com 3 4\n", [". . .", "b", "at name@domain.com"], [[1, 2], [5, 6], [3, 4]]),
        ("a 1 2\n  3 4\nb 5 6\n", ["a", " ", "b"], [[1, 2], [3, 4], [5, 6]]),
    ],
)
def test_without_a_header(tmp_path: Path, content: str, words: list[str], vectors: list[list[float]]) -> None:
    for binary in (None, False):
        loaded = read_text(tmp_path, content, binary)
        assert loaded.vocabulary.words == words
        assert_array_equal(loaded.vectors, vectors)
    with pytest.raises(FormatError, match="give one whose line 1 is"):
        read_text(tmp_path, content, True)


def test_without_a_header_a_bad_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line 2 of .* has '2,5' instead of a finite number: write decimals"):
        read_text(tmp_path, "a 1 2\nb 1 2,5\n")
    with pytest.raises(FormatError, match=r"line 1 of .* has '2,5' instead of a number: write decimals with a point"):
        read_text(tmp_path, "a 1,5 2,5\nb 1,5 2,5\n")


def test_blanks_around_and_within_words(tmp_path: Path) -> None:
    content = "6 2\na 1 2\n  3 4\nb 5 6\n \t lead 7 8\nWindows 3.1 1 2\nx\u00a0y\u3000 3 4\n"
    loaded = read_text(tmp_path, content, None)
    assert loaded.vocabulary.words == ["a", " ", "b", "lead", "Windows 3.1", "x\u00a0y\u3000"]
    assert_array_equal(loaded.vectors, [[1, 2], [3, 4], [5, 6], [7, 8], [1, 2], [3, 4]])
    assert read_text(tmp_path, "2 1\n 3\na 4\n").vocabulary.words == [" ", "a"]
    assert read_text(tmp_path, "1 2\nWindows 3.1 1 2\n").vocabulary.words == ["Windows 3.1"]
    assert read_text(tmp_path, content.replace("6 2", "99 2"), limit=5).vocabulary.words[4:] == ["Windows 3.1"]


@both
@pytest.mark.parametrize("promised", [1, 2, 4, 1000])
def test_another_number_of_words_than_promised(tmp_path: Path, binary: bool, promised: int) -> None:
    vectors = np.array([[0.25, -1.5], [3.25, 4.125], [5, 6]], np.float32)
    write_word2vec(Embeddings(vectors, Vocabulary(["a", "bb", "c"], None)), tmp_path / "whole", binary=binary)
    content = f"{promised}".encode() + (tmp_path / "whole").read_bytes()[1:]
    if binary and promised < 3:  # what follows may be anything
        with pytest.raises(FormatError, match="words that line 1 promises"):
            read_text(tmp_path, content, binary)
        return
    for packed in (content, gzip.compress(content)):
        with pytest.warns(UserWarning, match=f"promises {promised} words, and 3 were read"):
            loaded = read_text(tmp_path, packed, binary)
        assert loaded.vocabulary.words == ["a", "bb", "c"]
        assert_array_equal(loaded.vectors, vectors)


@both
def test_limit(random: Embeddings, tmp_path: Path, binary: bool) -> None:
    write_word2vec(random, tmp_path / "vectors", binary=binary)
    for limit in (1, 3, 2000, 2001):
        loaded = read_word2vec(tmp_path / "vectors", binary, limit=limit)
        assert loaded.vocabulary.words == (random.vocabulary.words or [])[:limit]
        assert_array_equal(loaded.vectors, random.vectors[:limit])
    cut = (tmp_path / "vectors").read_bytes()[:-50] + b"\xff\xff no vector at all"
    assert len(read_text(tmp_path, cut, binary, limit=1990)) == 1990
    with pytest.raises(InputError, match="limit is 0: give a whole number of 1 or more, or None for all words"):
        read_word2vec(tmp_path / "vectors", binary, limit=0)


def test_limit_without_a_header(tmp_path: Path) -> None:
    loaded = read_text(tmp_path, "a 1 2\nb 3 4\nnothing here\n", limit=2)
    assert loaded.vocabulary.words == ["a", "b"]


def test_words_that_are_no_text(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"word 2 \(b'\\xffz'\) of .* is not UTF-8, and invalid bytes are replaced"):
        loaded = read_text(tmp_path, b"2 1\na 1\n\xffz 2\n")
    assert loaded.vocabulary.words == ["a", "\ufffdz"]
    assert_array_equal(loaded.vectors, [[1], [2]])
    with pytest.raises(FormatError, match=r"word 1 .* is not UTF-8, nor are most of its words"):
        read_text(tmp_path, b"3 1\n\xe9t\xe9 1\n\xe0 1\na 1\n")
    with pytest.raises(FormatError, match="line 2"):
        read_text(tmp_path, b"1 1\na \xff\xfe\n")


@pytest.mark.parametrize("unit", [b"x", b"0.1 ", b" "])
@pytest.mark.parametrize("header", [b"1 3\n", b""])
def test_packed_files_without_a_line_end_take_linear_time_and_memory(
    tmp_path: Path, header: bytes, unit: bytes
) -> None:
    path = tmp_path / "v.txt.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header + b"a")
        for _ in range(100):
            file.write(unit * (1_000_000 // len(unit)))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"is longer than|is not a file of vectors|has a word longer than"):
            read_word2vec(path)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


@both
def test_memory_follows_the_file_and_not_its_header(tmp_path: Path, binary: bool) -> None:
    record = b"a " + np.ones(100, np.float32).tobytes() if binary else b"a" + b" 1" * 100 + b"\n"
    for packed in (False, True):
        content = b"2000000000 100\n" + record
        (tmp_path / "v").write_bytes(gzip.compress(content) if packed else content)
        tracemalloc.start()
        try:
            with pytest.warns(UserWarning, match="promises 2000000000 words, and 1"):
                read_word2vec(tmp_path / "v", binary)
            assert tracemalloc.get_traced_memory()[1] < 60e6
        finally:
            tracemalloc.stop()


@both
def test_pipes(random: Embeddings, tmp_path: Path, binary: bool) -> None:
    write_word2vec(random, tmp_path / "vectors", binary=binary)
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cp", tmp_path / "vectors", tmp_path / "pipe"]):
        assert_array_equal(read_word2vec(tmp_path / "pipe").vectors, random.vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xba\x16\x4f\x2f" + bytes(20), "fastText model: read it with import_vectors"),
        (pickle.dumps(["gensim.models.keyedvectors"]), "saved by gensim: load it there"),
        (pickle.dumps({"a": 1}), "is a pickle"),
        (b"PK\x03\x04" + bytes(20), "is a zip archive"),
        (save({"a": np.ones((2, 2), np.float32)}), "contains tensors without words"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "a NumPy array: end its name in .npy"),
        (bz2.compress(b"1 2\na 1 2\n"), "compressed by bzip2"),
        (lzma.compress(b"1 2\na 1 2\n"), "compressed by xz"),
        (gzip.compress(gzip.compress(b"1 2\na 1 2\n")), "compressed twice"),
        (gzip.compress(b"x" * 257 + b"ustar" + bytes(500)), "is a tar archive"),
        ("1 2\na 1 2\n".encode("utf-16"), "is UTF-16"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("binary", [None, False, True])
def test_formats_of_others_are_named(tmp_path: Path, content: bytes, message: str, binary: bool | None) -> None:
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, content, binary)


def test_numbers_do_not_depend_on_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    if not _decimal_commas():
        if not (shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").exists()):
            pytest.skip("no locale with decimal commas is installed, nor what makes one")
        subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], check=True)
        monkeypatch.setenv("LOCPATH", str(tmp_path))
        assert _decimal_commas()
    try:
        loaded = read_text(tmp_path, "2 2\na 1.5 1.5e-50\nb -2.25 1e3\n")
        assert_array_equal(loaded.vectors, [[1.5, 0], [-2.25, 1000]])
        write_word2vec(loaded, tmp_path / "again.txt")
        assert (tmp_path / "again.txt").read_text() == "2 2\na 1.5 0\nb -2.25 1000\n"
        for number in ("1.5e99", "1,5"):
            with pytest.raises(FormatError, match=f"'{number}' instead of a finite number"):
                read_text(tmp_path, f"1 1\na {number}\n")
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


def _decimal_commas() -> bool:
    try:
        locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
    except locale.Error:
        return False
    return True


@both
def test_the_first_of_equal_words_is_kept(tmp_path: Path, binary: bool) -> None:
    content = b"3 1\nb 1\na 2\nb 3\n"
    if binary:
        content = b"3 1\n" + b"".join(w + b" " + np.float32(i + 1).tobytes() for i, w in enumerate((b"b", b"a", b"b")))
    with pytest.warns(UserWarning, match="repeats 1 word, and"):
        loaded = read_text(tmp_path, content, binary)
    assert loaded.vocabulary.words == ["b", "a"]
    assert_array_equal(loaded.vectors, [[1], [2]])


@both
def test_truncated_anywhere(tmp_path: Path, binary: bool) -> None:
    vectors = np.array([[0.25, -1.5], [3.25, 4.125], [5, 6]], np.float32)
    write_word2vec(Embeddings(vectors, Vocabulary(["a", "bb", "c"], [3, 2, 1])), tmp_path / "whole", binary=binary)
    content = (tmp_path / "whole").read_bytes()
    whole = 0
    for length in range(len(content) - 1):  # the final newline is optional
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                loaded = read_text(tmp_path, content[:length], binary).vectors
            except FormatError:
                continue
        assert f"promises 3 words, and {len(loaded)} were read" in str(warned[0].message)
        assert_array_equal(loaded, vectors[: len(loaded)])
        whole += 1
    # cut after the first or second word; in binary, also before the newline that follows it
    assert whole == (4 if binary else 2)
    assert_array_equal(read_text(tmp_path, content[:-1], binary).vectors, vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 1\n", "is truncated at byte 0 after line 1, in word 1 of 1"),
        (b"2 1\na \0\0\x80\x3f\nb \0\0", "is truncated at byte 11 after line 1, in word 2 of 2"),
        (b"1 1\na \0\0\x80\x3fb \0\0\x80\x3f", "continues at byte 6"),
        (b"1 1\n \0\0\x80\x3f", "has no word at byte 0"),
        (b"2 1\na \0\0\x80\x3fb\nc \0\0\x80\x3f", "has no word at byte 6"),
        (b"2 1\na \0\0\x80\x3fb \0\0\xc0\x7f", "the vector of word 2 of .* contains NaN or infinity"),
        (b"1 1\n" + b"x" * 100_000, "has a word longer than"),
    ],
)
def test_wrong_binary(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, content, True)


def test_places(small: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_word2vec(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        read_word2vec(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        write_word2vec(small, tmp_path / "no" / "folder")
