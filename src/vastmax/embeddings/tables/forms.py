"""Conversion of tables between forms, and from the arrays of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import one_of
from vastmax.embeddings.tables.half import HalfRows
from vastmax.embeddings.tables.int8 import Int8Rows
from vastmax.embeddings.tables.product import ProductRows
from vastmax.embeddings.tables.stored import StoredRows, Table, unsearched
from vastmax.errors import FormatError, InputError

__all__ = ["in_form", "is_compressed", "read_table"]

_FORMS = ("float32", "float16", "int8")


def in_form(table: Table, dtype: str | None, bytes_per_word: int | None, word_of: Callable[[int], object]) -> Table:
    """Return a table in a form, unchanged if it has it already; InputError if a vector cannot be converted."""
    table = unsearched(table)
    if bytes_per_word is not None:
        if dtype is not None:
            raise InputError("bytes_per_word and dtype exclude each other: give one of them.")
        if isinstance(table, ProductRows) and table.bytes_per_word == bytes_per_word:
            return table
        return ProductRows.encode(table, word_of, bytes_per_word)
    if dtype is None:
        return table
    one_of("dtype", dtype, _FORMS)
    if dtype == (table.form if isinstance(table, StoredRows) else "float32"):
        return table
    if dtype == "float32":
        return np.array(table.decoded) if isinstance(table, StoredRows) else table
    return (HalfRows if dtype == "float16" else Int8Rows).encode(table, word_of)


def is_compressed(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a file's arrays hold vectors in a form other than float32."""
    return "vector_codes" in tensors or ("vectors" in tensors and tensors["vectors"].dtype == np.float16)


def read_table(tensors: Mapping[str, NDArray[Any]], path: Path) -> StoredRows:
    """Return the compressed table stored in a file's arrays; FormatError if they do not match."""
    if "vectors" in tensors:
        if tensors["vectors"].ndim != 2 or not tensors["vectors"].size:
            raise FormatError(f"{path} is damaged, its vectors are not a matrix: train it again, or restore a copy.")
        return HalfRows(tensors["vectors"])
    codes = _array(tensors, path, "vector_codes", ("int8", "uint8"), (None, None))
    if codes.dtype == np.int8:
        scales = _array(tensors, path, "vector_scales", ("float32",), (len(codes),))
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(scales * np.float32(128)).all() or (scales < 0).any():
                raise FormatError(
                    f"{path} is damaged, a scale is negative, NaN or infinite: train it again, or restore a copy."
                )
        return Int8Rows(codes, scales)
    written = _array(tensors, path, "vector_lengths", ("uint8",), (len(codes),))
    ends = _array(tensors, path, "length_range", ("float32",), (2,))
    codebooks = _array(tensors, path, "codebooks", ("float32",), (256, None))
    dim = codebooks.shape[1]
    rotation = _array(tensors, path, "rotation", ("float32",), (dim, dim))
    if codes.shape[1] > dim or not all(np.isfinite(each).all() for each in (ends, codebooks, rotation)):
        raise FormatError(
            f"{path} is damaged, its codebooks have too few columns, or contain NaN or infinity: train it again, or "
            "restore a copy."
        )
    return ProductRows(codes, written, ends, codebooks, rotation)


def _array(
    tensors: Mapping[str, NDArray[Any]], path: Path, name: str, types: tuple[str, ...], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    found = tensors.get(name)
    fits = found is not None and found.dtype.name in types and found.ndim == len(shape) and bool(found.size)
    if found is None or not fits or any(b is not None and a != b for a, b in zip(found.shape, shape, strict=True)):
        wanted = " × ".join("any" if each is None else str(each) for each in shape)
        raise FormatError(
            f"{path} is damaged, its {name} is not {' or '.join(types)} of shape {wanted}: train it again, or "
            "restore a copy."
        )
    return found
