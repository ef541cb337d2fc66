import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

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
    assert_array_equal(loaded.vocabulary.counts, range(10, 0, -1))
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
    monkeypatch.setattr("vastmax.embeddings.formats.word2vec._CHUNK", 1000)
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


@both
def test_classes_without_names_are_written_as_ids(tmp_path: Path, binary: bool) -> None:
    write_word2vec(Embeddings(np.eye(3), Vocabulary(None, [3, 2, 1])), tmp_path / "vectors", binary=binary)
    assert read_word2vec(tmp_path / "vectors").vocabulary.words == ["0", "1", "2"]


@both
def test_one_word_of_one_number(tmp_path: Path, binary: bool) -> None:
    write_word2vec(Embeddings(np.ones((1, 1)), Vocabulary(["a"], [1])), tmp_path / "vectors", binary=binary)
    assert read_word2vec(tmp_path / "vectors").vectors.tolist() == [[1.0]]


def read_text(tmp_path: Path, content: str | bytes, binary: bool | None = False) -> Embeddings:
    (tmp_path / "v.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_word2vec(tmp_path / "v.txt", binary)


def test_text_of_others(tmp_path: Path) -> None:
    loaded = read_text(tmp_path, "3 2\r\nnew york 1 +2 \r\n\r\nb\t3e-1\t-.5\n route 66 1e-50 1E5", None)
    assert loaded.vocabulary.words == ["new york", "b", " route 66"]
    assert_array_equal(loaded.vectors, np.array([[1, 2], [0.3, -0.5], [0, 1e5]], np.float32))


def test_a_very_long_line_is_text_all_the_same(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 20_000)).astype(np.float32)
    write_word2vec(Embeddings(vectors, Vocabulary(["a", "b"], [2, 1])), tmp_path / "long")
    assert_array_equal(read_word2vec(tmp_path / "long").vectors, vectors)


@pytest.mark.parametrize("binary", [None, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1 must be"),
        ("a 1 2\n", "line 1 must be"),
        ("2 x\n", "line 1 must be"),
        ("2 -2\n", "line 1 must be"),
        ("2 2", "line 1 must be"),
        ("0 2\n", "promises 0 words of 2"),
        ("2 0\n", "promises 2 words of 0"),
        ("2 2\na 1 2\nb 1\n", "line 3 has a word and 1 numbers, not 2"),
        ("2 2\na 1 2\n1 2\n", "line 3 has a word and 1 numbers, not 2"),
        ("2 2\na 1 2\nb 1 2,5\n", "line 3 has '2,5' for a finite number"),
        ("2 2\na 1 2\nb 1 nan\n", "line 3 has 'nan' for a finite number"),
        ("2 2\na 1 2\nb 1 1e99\n", "line 3 has '1e99' for a finite number"),
        ("2 2\na 1 2\nb 0.5 1.5 2.5\n", "line 3 has more than 2 numbers"),
        ("2 2\na 1 2\nb 1 2\n\nc 1 2\n", "line 5 is one word more than promised"),
        ("3 2\na 1 2\nb 1 2\n", "ends after 2 of the 3 words"),
        ("3 2\n", "ends after 0 of the 3 words"),
        ("99999999999999 9999\na 1 2\n", "does not fit into memory"),
    ],
)
def test_wrong_text(tmp_path: Path, content: str, message: str, binary: bool | None) -> None:
    if content == "3 2\n" and binary is None:
        message = "ends"
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, content, binary)


def test_words_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"word 2, .* is not UTF-8"):
        read_text(tmp_path, b"2 1\na 1\n\xff\xfe 1\n")
    with pytest.raises(FormatError, match="line 2"):
        read_text(tmp_path, b"1 1\na \xff\xfe\n")


@both
def test_the_first_of_equal_words_is_kept(tmp_path: Path, binary: bool) -> None:
    content = b"3 1\nb 1\na 2\nb 3\n"
    if binary:
        content = b"3 1\n" + b"".join(w + b" " + np.float32(i + 1).tobytes() for i, w in enumerate((b"b", b"a", b"b")))
    with pytest.warns(UserWarning, match="1 words come twice"):
        loaded = read_text(tmp_path, content, binary)
    assert loaded.vocabulary.words == ["b", "a"]
    assert_array_equal(loaded.vectors, [[1], [2]])
    assert_array_equal(loaded.vocabulary.counts, [2, 1])


@both
def test_truncated_anywhere(tmp_path: Path, binary: bool) -> None:
    vectors = np.array([[0.25, -1.5], [3.25, 4.125], [5, 6]], np.float32)
    write_word2vec(Embeddings(vectors, Vocabulary(["a", "bb", "c"], [3, 2, 1])), tmp_path / "whole", binary=binary)
    content = (tmp_path / "whole").read_bytes()
    for length in range(len(content) - 1):  # the newline at the end means nothing
        with pytest.raises(FormatError):
            read_text(tmp_path, content[:length], binary)
    assert_array_equal(read_text(tmp_path, content[:-1], binary).vectors, vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 1\n", "ends at byte 0 after line 1, in word 1 of 1"),
        (b"2 1\na \0\0\x80\x3f\nb \0\0", "ends at byte 11 after line 1, in word 2 of 2"),
        (b"1 1\na \0\0\x80\x3fb \0\0\x80\x3f", "goes on at byte 6"),
        (b"1 1\n \0\0\x80\x3f", "no word stands at byte 0"),
        (b"2 1\na \0\0\x80\x3fb\nc \0\0\x80\x3f", "no word stands at byte 6"),
        (b"2 1\na \0\0\x80\x3fb \0\0\xc0\x7f", "word 2 has a number that is not finite"),
        (b"1 1\n" + b"x" * 100_000, "no word ends within"),
    ],
)
def test_wrong_binary(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_text(tmp_path, content, True)


def test_places(small: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_word2vec(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot read"):
        read_word2vec(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_word2vec(small, tmp_path / "no" / "folder")
