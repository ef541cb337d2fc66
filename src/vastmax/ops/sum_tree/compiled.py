"""Draws that descend side by side, in the compiled core; they equal torch's bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.tensors import touch

__all__ = ["takes", "tree_draws", "tree_update"]


def takes(sums: Tensor) -> bool:
    """Return whether a tree is supported: a plain, contiguous CPU tensor of float64."""
    return type(sums) is Tensor and sums.device.type == "cpu" and sums.dtype == torch.float64 and sums.is_contiguous()


def tree_draws(sums: Tensor, start: Tensor | None, stop: Tensor | None, chances: Tensor) -> Tensor:
    """See :func:`vastmax.ops.tree_draws`."""
    ids = torch.empty(chances.shape, dtype=torch.int64)
    first, last = (None if each is None else each.long().contiguous().numpy() for each in (start, stop))
    given = chances.contiguous().numpy()
    _core.tree_draws(sums.numpy(), first, last, given, ids.numpy(), torch.get_num_threads())
    return ids


def tree_update(sums: Tensor, ids: Tensor, weights: Tensor) -> None:
    """See :func:`vastmax.ops.tree_update`."""
    _core.tree_update(sums.numpy(), ids.long().contiguous().numpy(), weights.to(sums).contiguous().numpy())
    touch(sums)
