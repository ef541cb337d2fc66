"""Save and load what users attach to the words of a KeyedVectors: per-word attributes and locks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import shown
from vastmax.errors import FormatError, InputError

__all__ = ["attributes_in", "locks_in", "packed_attributes", "packed_locks"]

_ATTRIBUTE = "attribute "
_LOCKS = ("vectors_lockf", "vectors_vocab_lockf", "vectors_ngrams_lockf")


def packed_attributes(attributes: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], dict[str, list[Any]]]:
    """Return word attributes (V,) as tensors if they are numeric, and all others as JSON lists.

    Raises:
        InputError: an attribute with a value that JSON cannot represent.
    """
    tensors: dict[str, NDArray[Any]] = {}
    lists: dict[str, list[Any]] = {}
    for name, array in attributes.items():
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            tensors[_ATTRIBUTE + name] = array
            continue
        lists[name] = [value.item() if isinstance(value, np.generic) else value for value in array.tolist()]
        for value in lists[name]:
            if not _is_plain(value):
                raise InputError(
                    f"the attribute {name!r} of words contains {shown(value)}, which cannot be saved: give numbers or "
                    "text, or remove it from wv.expandos."
                )
    return tensors, lists


def _is_plain(value: Any) -> bool:
    """Whether a value survives a JSON round trip."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def attributes_in(
    path: Any, tensors: Mapping[str, NDArray[Any]], lists: Mapping[str, list[Any]], rows: int
) -> dict[str, NDArray[Any]]:
    """Return the attributes that `packed_attributes` packed; FormatError unless each has ``rows`` values."""
    found = {
        name.removeprefix(_ATTRIBUTE): np.array(array) for name, array in tensors.items() if name.startswith(_ATTRIBUTE)
    }
    for name, values in lists.items():
        found[name] = np.empty(len(values), object)
        found[name][:] = values
    for name, array in found.items():
        if not array.ndim or len(array) != rows:
            raise FormatError(
                f"{path} is damaged, the attribute {name!r} is not one value for each of {rows} words: save it again."
            )
    return found


def packed_locks(keyed_vectors: Any) -> dict[str, NDArray[np.float32]]:
    """Return the existing locks as float32 tensors."""
    there = {name: getattr(keyed_vectors, name) for name in _LOCKS if hasattr(keyed_vectors, name)}
    return {name: np.atleast_1d(np.asarray(locks, np.float32)) for name, locks in there.items()}


def locks_in(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Return the locks that `packed_locks` packed."""
    return {name: np.array(tensors[name], np.float32) for name in _LOCKS if name in tensors}
