"""Safetensors written from rows that need not be contiguous, and read as maps of the file.

The library writes only contiguous arrays and reads by copying. A trainer's rows are padded, so its way would cost a
second copy of the model at the moment of saving, when memory is fullest; and looking up ten neighbours would read the
output vectors. The library still checks every file before it is mapped.

Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import FormatError
from vastmax.files import check_opens

__all__ = ["BFLOAT16", "map_tensors", "write_tensors"]

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # the bits of one, which numpy lacks, under a type of their own
_DTYPES = {
    **{f"{kind.upper()}{8 * size}": np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "BF16": BFLOAT16,
    "BOOL": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ROWS = 8192


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of any shape and stride, holding a few thousand rows at a time."""
    # wide types first, as the library has it: then every tensor begins at a multiple of its item's size
    ordered = dict(sorted(tensors.items(), key=lambda each: -each[1].dtype.itemsize))
    header, end = {}, 0
    for name, tensor in ordered.items():
        start, end = end, end + tensor.nbytes
        kind = _NAMES[tensor.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in map(np.atleast_1d, ordered.values()):
            for start in range(0, len(tensor), _ROWS):
                rows = tensor[start : start + _ROWS]
                file.write(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).data)


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checked file, mapped; FormatError for anything else, OSError where it cannot be read.

    They may be written to, as PyTorch expects of every array that it wraps: what is written stays in memory, and the
    file as it is.
    """
    from safetensors import SafetensorError, safe_open

    check_opens(path)
    try:
        with safe_open(str(path), framework="numpy"):
            pass
    except SafetensorError as error:
        raise FormatError(f"{path} is not a safetensors file ({error}): give one, or write it again.") from error
    with path.open("rb") as raw:
        begin = 8 + int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(begin - 8))
    content = np.memmap(path, np.uint8, "c", offset=0).view(np.ndarray)[begin:]
    return {
        name: content[slice(*about["data_offsets"])].view(_DTYPES[about["dtype"]]).reshape(about["shape"])
        for name, about in header.items()
        if about.get("dtype") in _DTYPES
    }
