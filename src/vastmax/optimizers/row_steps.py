"""One step of an optimiser on the rows of a table with a gradient, plain or sharded over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vastmax.ops import adagrad_rows, adam_rows, coalesced, row_gradient

__all__ = ["ROW_STEPS", "first_row", "here", "process_groups", "shard_with_gradient", "start_adam"]


def _adagrad_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    state["step"] += 1
    adagrad_rows(here(parameter), here(state["sum"]), rows, gradients, rate)


def start_adam(parameter: Tensor, state: dict[str, Any]) -> None:
    """Create the state of a parameter that has none, in torch.optim.SparseAdam's layout."""
    if not state:
        state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))


def _adam_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    start_adam(parameter, state)
    state["step"] += 1
    moments = here(state["exp_avg"]), here(state["exp_avg_sq"])
    adam_rows(here(parameter), *moments, rows, gradients, state["step"], rate)


def here(tensor: Any) -> Tensor:
    """Return the local shard of a DTensor, or the tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def first_row(tensor: Any) -> int:
    """Return the first row of a DTensor's local shard; 0 for a plain tensor. Shards have equal sizes but for the last.

    PyTorch's own function takes time in proportion to the rows.
    """
    if not hasattr(tensor, "to_local"):
        return 0
    rows, mesh = tensor.shape[0], tensor.device_mesh
    return min(rows, -(-rows // mesh.size()) * mesh.get_local_rank())


def process_groups(tensor: Any) -> tuple[Any, ...]:
    """Return the process groups over which a tensor is sharded: none if each process holds all of it."""
    if not hasattr(tensor, "to_local"):
        return ()
    mesh, placements = tensor.device_mesh, tensor.placements
    return tuple(mesh.get_group(place) for place, each in enumerate(placements) if not each.is_replicate())


def shard_with_gradient(parameter: Any) -> Tensor:
    """Return a DTensor's local shard, whose gradient shares memory with the shard of the DTensor's gradient.

    A plain parameter is returned as it is.
    """
    if not hasattr(parameter, "to_local"):
        return parameter
    own = here(parameter).detach()
    gradient = parameter.grad
    if gradient is None:
        return own
    if gradient.is_sparse:
        parameter.grad = gradient = coalesced(gradient)
        rows = gradient._indices()[0] - first_row(parameter)
        own.grad = row_gradient(rows, gradient._values(), own.shape, sparse=True, rising=True)
    else:
        own.grad = here(gradient)
    return own


def _sgd_step(parameter: Tensor, state: dict[str, Any], rows: Tensor, gradients: Tensor, rate: float) -> None:
    here(parameter).index_add_(0, rows, gradients.to(parameter.dtype), alpha=-rate)


ROW_STEPS = {
    torch.optim.Adagrad: _adagrad_step,
    torch.optim.SparseAdam: _adam_step,
    torch.optim.SGD: _sgd_step,
}
"""torch's optimisers whose step on rows with a gradient is vastmax's; the state is in torch's layout."""
