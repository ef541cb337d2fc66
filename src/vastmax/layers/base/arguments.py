"""Helpers for layer constructors: check vocabularies, ids, states and devices; initialise tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary

__all__ = ["as_vocabulary", "class_ids", "draw_uniformly", "from_state", "tensor_options"]


def draw_uniformly(tables: Iterable[Tensor], biases: Iterable[Tensor | None]) -> None:
    """Fill the tables (n, width) in place, uniformly in ±1/√width, and set the biases to 0."""
    for table in tables:
        bound = 1 / math.sqrt(table.shape[1])
        nn.init.uniform_(table, -bound, bound)
    for bias in biases:
        if bias is not None:
            nn.init.zeros_(bias)


def as_vocabulary(vocabulary: Vocabulary | ArrayLike) -> Vocabulary:
    """Return the vocabulary, or one made from counts (V,); InputError if it is empty."""
    vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.from_counts(vocabulary)
    if not len(vocabulary):
        raise InputError("the vocabulary is empty: give one class or more.")
    return vocabulary


def class_ids(name: str, ids: ArrayLike | Tensor) -> NDArray[np.int64]:
    """Return class ids as an int64 array of the same shape; InputError for a scalar or anything but integers."""
    try:
        found = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
    except ValueError:  # ragged lists
        found = np.empty((), object)
    if not found.ndim or (found.size and found.dtype.kind not in "iu"):
        raise refused(name, ids, "class ids, an array of whole numbers")
    return found.astype(np.int64)


def from_state(state: Mapping[str, Tensor], *names: str) -> tuple[Any, ...]:
    """Return the named tensors of a layer's state as NumPy arrays; InputError if one is missing."""
    for name in names:
        if name not in state:
            raise InputError(f"the state lacks {name}: give one of this kind of layer.")
    return tuple(state[name].cpu().numpy() for name in names)


def tensor_options(device: torch.device | str | None, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return the keyword arguments ``device`` and ``dtype``.

    InputError if the dtype is not floating-point, or the device is not available.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise refused("dtype", dtype, "a floating-point torch dtype, such as torch.float32, or None")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):
        raise refused("device", device, "a device that torch finds here, such as 'cpu', or None") from None
    return {"device": device, "dtype": dtype}
