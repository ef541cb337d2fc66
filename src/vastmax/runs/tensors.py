"""Write safetensors from rows that need not be contiguous, and memory-map them for reading.

The safetensors library writes only contiguous arrays and reads by copying. A trainer's rows are padded, so writing
with the library would need a second copy of the model while saving, when memory use peaks; and looking up ten
neighbours would read the output vectors too. The library still checks every file before it is mapped.

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

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # its bits in a structured dtype, as NumPy has no bfloat16
_DTYPES = {
    **{f"{kind.upper()}{8 * size}": np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "BF16": BFLOAT16,
    "BOOL": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ROWS = 8192


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of any shape and stride, copying at most a few thousand rows at a time."""
    # wide types first, as in the library, so that every tensor is aligned to its item size
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
    """Return the arrays of a file, checked and memory-mapped; FormatError if it is invalid, OSError if unreadable.

    The arrays are writable, as PyTorch expects of arrays that it wraps; changes stay in memory and never reach the
    file.
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
