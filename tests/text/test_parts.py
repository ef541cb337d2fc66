"""A corpus read in parts by several processes equals the corpus read by one."""

import bz2
import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.corpora import sentences
from tests.data import data_path
from tests.runs.threads import Threads, together
from vastmax.errors import CorpusError, VastmaxError
from vastmax.text import END_OF_SENTENCE, EncodedCorpus, encode_corpus, encode_part

BYTES = [b"a", b"b b", b"caf\xc3\xa9", b"\xe2\x82", b"\xff", b"\xed\x95\x9c", b" ", b"\t", b"\r\n", b"\n", b"\xc2\xa0"]
BYTES += [b"\n\n", b"\x1c", b"\r", b"\xe2\x80\xa8", b"long" * 9, b"\xef\xbb\xbf"]


def parts_of(corpus: Any, size: int, **options: Any) -> list[EncodedCorpus]:
    return together(size, lambda peers: encode_part(corpus, peers, threads=1, **options))


def assert_together_equal(corpus: Any, size: int, *, within_lines: bool = False, **options: Any) -> None:
    """Check that parts equal the whole, or raise its error; parts cut within lines may lack sentence ends."""
    try:
        whole = encode_corpus(corpus, threads=1, **options)
    except VastmaxError as error:
        with pytest.raises(type(error)) as caught:
            parts_of(corpus, size, **options)
        assert str(caught.value) == str(error)
        return
    parts = parts_of(corpus, size, **options)
    ids, expected = np.concatenate([each.ids for each in parts]), whole.ids
    if within_lines:
        ids, expected = ids[ids != END_OF_SENTENCE], expected[expected != END_OF_SENTENCE]
    np.testing.assert_array_equal(ids, expected)
    for part in parts:
        assert part.vocabulary.words == whole.vocabulary.words
        np.testing.assert_array_equal(part.vocabulary.counts, whole.vocabulary.counts)
        about = part.whole
        assert about is not None and about == parts[0].whole
        assert (about.num_words, about.num_raw_words) == (whole.num_words, whole.num_raw_words)
        assert about.invalid_utf8 == whole.invalid_utf8
        if not within_lines:
            assert (about.num_sentences, about.fingerprint) == (whole.num_sentences, whole.fingerprint)
    assert sum(each.num_words for each in parts) == whole.num_words
    for each in (whole, *parts):
        each.close()


@given(
    texts=st.lists(st.lists(st.sampled_from(BYTES), max_size=60).map(b"".join), min_size=1, max_size=3),
    size=st.integers(1, 6),
    min_count=st.integers(1, 3),
    options=st.sampled_from([{}, {"lowercase": True}, {"tokenizer": "words"}, {"max_vocabulary": 3}]),
    packed=st.integers(-1, 2),
    long_line=st.sampled_from([1 << 20, 4]),
)
@example(texts=[b"aaab b"], size=4, min_count=1, options={}, packed=-1, long_line=4)
def test_any_text(
    texts: list[bytes], size: int, min_count: int, options: dict[str, Any], packed: int, long_line: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch("vastmax.text.parts.LONG_LINE", long_line):
        for place, text in enumerate(texts):
            Path(folder, f"{place}").write_bytes(gzip.compress(text) if place == packed else text)
        within_lines = long_line < 1 << 20 and "tokenizer" not in options
        assert_together_equal(folder, size, within_lines=within_lines, min_count=min_count, **options)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_real_text(size: int) -> None:
    assert_together_equal(str(data_path("brown/brown.txt")), size)


def test_a_single_long_line_is_shared(tmp_path: Path) -> None:
    """Like text8, one long line: each process gets its share of the words."""
    path = tmp_path / "text"
    path.write_text(" ".join(f"w{i % 1000}é" for i in range(900_000)))
    assert path.stat().st_size > 5 * 2**20
    assert_together_equal(str(path), 3, within_lines=True)
    assert [round(each.num_words / 900_000, 1) for each in parts_of(str(path), 3)] == [0.3, 0.3, 0.3]


def test_compressed_files_are_read_by_one_each(tmp_path: Path) -> None:
    lines = [" ".join(each) for each in sentences()]
    files = [str(tmp_path / f"{place}.bz2") for place in range(4)]
    for place, file in enumerate(files):
        Path(file).write_bytes(bz2.compress("\n".join(lines[place::4]).encode()))
    assert_together_equal(files, 3)
    assert all(each.num_words for each in parts_of(files, 3))
    assert_together_equal([*files, files[0]], 2)  # the same file twice


def test_more_than_there_are_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a b\nb a")
    assert_together_equal(str(tmp_path / "text"), 9, min_count=1)


def test_a_corpus_that_one_sees_otherwise(tmp_path: Path) -> None:
    for rank, text in enumerate(("a b c\n", "a b\n")):
        (tmp_path / f"{rank}").mkdir()
        (tmp_path / f"{rank}" / "text").write_text(text)

    def read(peers: Threads) -> Any:
        with patch.object(peers, "gather", lambda value: [[[value[0][0], size, False]] for size in (6, 4)]):
            return encode_part(str(tmp_path / "0" / "text"), peers)

    with pytest.raises(CorpusError) as caught:
        together(2, read)
    place = tmp_path / "0" / "text"
    assert str(caught.value) == (
        f"{place} differs between processes (6 bytes on rank 0, 4 bytes on rank 1): give all of them the same files."
    )


@pytest.mark.parametrize("corpus", ["-", "/dev/stdin"])
def test_what_can_be_read_once_is_refused(corpus: str) -> None:
    with pytest.raises(CorpusError, match=r"(standard input|/dev/stdin) can be read by one process only: give files"):
        parts_of(corpus, 2)


def test_parts_of_a_corpus_in_memory() -> None:
    with encode_corpus(sentences(), threads=1) as whole:
        parts = [whole.part(rank, 3) for rank in range(3)]
        np.testing.assert_array_equal(np.concatenate([each.ids for each in parts]), whole.ids)
        assert sum(each.num_words for each in parts) == whole.num_words
        for part in parts:
            assert part.whole is not None and part.whole.fingerprint == whole.fingerprint
            assert part.whole.num_words == whole.num_words


def test_checksums_of_parts_add_up_and_tell_places_apart() -> None:
    with encode_corpus(sentences(), threads=1) as whole:
        total, ids = whole.checksum(0), whole.ids
        places: Sequence[int] = (0, 1, len(ids) // 3, len(ids))
        for first in places:
            whole.ids = ids[:first]
            before = whole.checksum(0)
            whole.ids = ids[first:]
            assert (before + whole.checksum(first)) % 2**64 == total
        whole.ids = ids[np.r_[1, 0, 2 : len(ids)]]
        assert whole.checksum(0) != total
