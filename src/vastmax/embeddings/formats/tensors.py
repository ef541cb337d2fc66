"""Safetensors written from rows that need not be contiguous, and read as maps of the file.

The library writes only contiguous arrays and reads by copying. A trainer's rows are padded, so its way would cost a
second copy of the model at the moment of saving, when memory is fullest; and looking up ten neighbours would read the
output vectors. The library still checks every file before it is mapped.

Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import FormatError

__all__ = ["map_tensors", "read_state", "write_state", "write_tensors"]

_ROWS = 8192


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 matrices, row strides of any kind, holding a few thousand rows at a time."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + 4 * tensor.size
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            for start in range(0, len(tensor), _ROWS):
                file.write(np.ascontiguousarray(tensor[start : start + _ROWS], "<f4").data)


def map_tensors(path: Path, required: Iterable[str], optional: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return float32 matrices of a checked file, mapped read-only; FormatError for anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            names = set(file.keys())
            kinds = {name: file.get_slice(name).get_dtype() for name in names}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is no safetensors file: {error}.") from error
    with path.open("rb") as raw:
        size = int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(size))
    tensors = {}
    for name in [*required, *(name for name in optional if name in names)]:
        shape = header[name]["shape"] if name in names else None
        if shape is None or kinds[name] != "F32" or len(shape) != 2 or 0 in shape:
            raise FormatError(f"{path} has no matrix {name!r} of 32-bit floats.")
        start = 8 + size + header[name]["data_offsets"][0]
        tensors[name] = np.memmap(path, "<f4", "r", offset=start, shape=tuple(shape)).view(np.ndarray)
    return tensors


def write_state(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of any shape and type, as the library does."""
    from safetensors.numpy import save_file

    save_file({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, path)


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Return what :func:`write_state` wrote; FormatError for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is no safetensors file: {error}.") from error
