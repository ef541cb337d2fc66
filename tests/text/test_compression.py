import bz2
import gzip
import lzma
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vastmax.errors import CorpusError, InputError
from vastmax.text import encode_corpus, read_sentences
from vastmax.text.compression import PIECE

TEXT = "".join(f"line {number} of the text {number % 97}\n" for number in range(60_000))


def zstd(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
packers = pytest.mark.parametrize("ending", PACKERS)


@pytest.fixture(scope="module")
def plain() -> str:
    with encode_corpus([line.split() for line in TEXT.splitlines()]) as corpus:
        return corpus.fingerprint


@packers
@pytest.mark.parametrize("name", ["text", "text.txt", "text.gz"])
def test_content_tells_the_compression(tmp_path: Path, plain: str, ending: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACKERS[ending](TEXT.encode()))
    with encode_corpus(path) as corpus:
        assert corpus.fingerprint == plain


@packers
def test_several_streams_in_one_file(tmp_path: Path, plain: str, ending: str) -> None:
    pack, half = PACKERS[ending], len(TEXT) // 2 + 3  # mid-line
    path = tmp_path / f"text{ending}"
    path.write_bytes(pack(TEXT[:half].encode()) + pack(b"") + pack(TEXT[half:].encode()))
    with encode_corpus(path) as corpus:
        assert corpus.fingerprint == plain


@packers
@pytest.mark.parametrize("kept", [0.5, 0.999, 3])
def test_truncated(tmp_path: Path, ending: str, kept: float) -> None:
    packed = PACKERS[ending](TEXT.encode())
    path = tmp_path / f"text{ending}"
    path.write_bytes(packed[: kept if kept == 3 else int(len(packed) * kept)])
    with pytest.raises(CorpusError, match=f"is (a )?truncated.*{ending}.*: fetch or write it again") as caught:
        encode_corpus(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@packers
def test_damaged(tmp_path: Path, ending: str) -> None:
    packed = bytearray(PACKERS[ending](TEXT.encode()))
    middle = len(packed) // 2
    packed[middle : middle + 200] = bytes(byte ^ 0x5A for byte in packed[middle : middle + 200])
    path = tmp_path / f"text{ending}"
    path.write_bytes(packed)
    with pytest.raises(CorpusError, match=f"(is damaged|truncated).*{ending}"):
        encode_corpus(path)


@packers
def test_other_bytes_behind_the_end(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"text{ending}"
    path.write_bytes(PACKERS[ending](TEXT.encode()) + b"and more of it, unpacked")
    with pytest.raises(CorpusError, match="is damaged"):
        encode_corpus(path)


def test_padding_behind_the_end_is_nothing(tmp_path: Path, plain: str) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(TEXT.encode()) + bytes(512))
    with encode_corpus(path) as corpus:
        assert corpus.fingerprint == plain


def test_plain_text_called_gz(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_text("BZh is how bzip2 begins\nBZh9 too\n")
    assert len(list(read_sentences(path))) == 2
    path.write_text("BZh9 also")
    assert list(read_sentences(path)) == [["BZh9", "also"]]


@packers
def test_empty_text_packed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"text{ending}"
    path.write_bytes(PACKERS[ending](b""))
    with pytest.raises(CorpusError, match="contains no words"):
        encode_corpus(path)


def test_huge_text_in_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "text.bz2"
    path.write_bytes(bz2.compress(b"again and again\n" * 200_000))
    assert path.stat().st_size < 10_000
    with encode_corpus(path) as corpus:
        assert corpus.vocabulary.words == ["again", "and"]
        assert corpus.vocabulary.counts.tolist() == [400_000, 200_000]


@packers
@pytest.mark.parametrize("beyond", [-4, 0, 4, 3 << 20])
def test_streams_that_unpack_to_more_than_a_piece_follow_one_another(tmp_path: Path, ending: str, beyond: int) -> None:
    path, pack = tmp_path / f"text{ending}", PACKERS[ending]
    path.write_bytes(pack(b"a b\n" * ((PIECE + beyond) // 4)) + pack(b"c d\n") + pack(b"a c\n"))
    with encode_corpus(path, min_count=1) as corpus:
        found = dict(zip(corpus.vocabulary.words or [], corpus.vocabulary.counts.tolist(), strict=True))
    assert found == {"a": (PIECE + beyond) // 4 + 1, "b": (PIECE + beyond) // 4, "c": 2, "d": 1}


def test_stopping_early_stops_the_thread(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(TEXT.encode() * 5))
    sentences = read_sentences(path)
    assert next(sentences) == ["line", "0", "of", "the", "text", "0"]
    sentences.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name == "vastmax-unpack":
            thread.join(5)
            assert not thread.is_alive()


def test_zstd_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("Python brings it itself")
    path = tmp_path / "text.zst"
    path.write_bytes(zstd(b"a b"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InputError, match=r"needs the package zstandard: pip install 'vastmax\[zstd\]'"):
        encode_corpus(path)
