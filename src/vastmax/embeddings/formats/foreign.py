"""Detection of files in formats that are not supported here, so that errors can name the format."""

from __future__ import annotations

import re

from vastmax.errors import FormatError

__all__ = ["refuse_foreign"]

_UNPACK = "unpack it and give the file in it"
_TEXT = "give vectors in word2vec's text or binary format"

_BEGINNINGS = {
    b"\xba\x16\x4f\x2f": "is a fastText model: read it with import_vectors, under a name that ends in .bin or .ftz",
    b"PK\x03\x04": f"is a zip archive (as .npz and PyTorch files are too): {_UNPACK}",
    b"\x1f\x8b": f"is compressed twice: {_UNPACK}",
    b"BZh91AY&SY": f"is compressed by bzip2: {_UNPACK}",
    b"\xfd7zXZ\x00": f"is compressed by xz: {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"is compressed by zstd: {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"is a 7z archive: {_UNPACK}",
    b"\x89HDF\r\n\x1a\n": f"is an HDF5 file: {_TEXT}",
    b"\x93NUMPY": "is a NumPy array: end its name in .npy and put its words into a .tsv beside it",
    b"SQLite format 3\x00": f"is an SQLite database: {_TEXT}",
    b"PAR1\x15": f"is a Parquet file: {_TEXT}",
    b"ARROW1\x00\x00": f"is an Arrow file: {_TEXT}",
    b"\xff\xfe": "is UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "is UTF-16 text: convert it to UTF-8",
    b"version https://git-lfs": "is a Git LFS pointer to a file that was not fetched: run git lfs pull",
}
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x00-\xff]")
_SAFETENSORS = re.compile(rb"[\x00-\xff]{4}\x00{4}\{", re.DOTALL)
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|\?xml |html lang=|html>\s*<)", re.IGNORECASE)


def refuse_foreign(start: bytes, name: str) -> None:
    """Raise FormatError if the first bytes of a file are those of an unsupported format, which it names."""
    what = _foreign(start)
    if what is not None:
        raise FormatError(f"{name} {what}.")


def _foreign(start: bytes) -> str | None:
    for beginning, what in _BEGINNINGS.items():
        if start.startswith(beginning):
            return what
    if start[257:262] == b"ustar":
        return f"is a tar archive: {_UNPACK}"
    if _PICKLE.match(start):
        if b"gensim" in start:
            return "is saved by gensim: load it there and give it to vastmax.integrations.from_gensim"
        return f"is a pickle, which can run any program and is not opened: {_TEXT}"
    if _SAFETENSORS.match(start):
        return "contains tensors without words (safetensors): give the folder of a model"
    if _WEB_PAGE.match(start):
        return "is a web page: download the file again"
    return None
