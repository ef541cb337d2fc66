"""Layout of a layer over processes: existing tensors are split, those on the meta device created as shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode

from vastmax.distributed.tables import bounds_of, own_rows, spread_table
from vastmax.layers import OutputLayer, ShardPlan

__all__ = ["lay_out"]

_ROWS = 2**14  # drawn at a time, so that a table's values do not depend on where it is split


@torch.no_grad()
def lay_out(layer: OutputLayer, plan: ShardPlan, mesh: DeviceMesh, others: Sequence[Any]) -> None:
    """Give each process its rows of the tensors that a plan cuts, and the first process's copy of all others.

    If any tensor is on the meta device, the layer is initialised anew, on the mesh's device. Processes of the groups
    ``others`` get the same rows.
    """
    made = any(each.is_meta for each in (*layer.parameters(), *layer.buffers()))
    if made:
        for name in sorted(plan.replicated):
            _put(layer, name, torch.empty_like(_get(layer, name), device=mesh.device_type))
    for name in sorted(plan.cut):
        table = _get(layer, name)
        bounds, rank = bounds_of(len(table), mesh.size()), mesh.get_local_rank()
        first, stop = bounds[rank], bounds[rank + 1]
        if made:
            own = torch.empty((stop - first, *table.shape[1:]), dtype=table.dtype, device=mesh.device_type)
        else:
            own = _from_first(table.detach()[first:stop], others)
        _put(layer, name, spread_table(own, mesh, table.shape))
    everyone = [mesh.get_group(), *others]
    if made:
        with _Making(int(_from_first(torch.randint(2**31, (), device=mesh.device_type), everyone))):
            layer.reset_parameters()  # type: ignore[operator]
    for name in sorted(plan.replicated):
        found = _get(layer, name)
        found.copy_(_from_first(found.detach(), everyone))  # in place, so that derived values are recomputed


def _from_first(tensor: Tensor, groups: Sequence[Any]) -> Tensor:
    """Return the tensor of the first process of each group."""
    found = tensor.clone()
    for group in groups:
        distributed.broadcast(found, distributed.get_global_rank(group, 0), group=group)
    return found


class _Making(TorchFunctionMode):
    """Redirects values drawn for or copied into a sharded table to this process's rows."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed, self._tables = seed, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (nn.init.uniform_, nn.init.normal_) and isinstance(kwargs.get("tensor"), DTensor):
            return self._draw(func, **kwargs)
        if func is Tensor.copy_ and isinstance(args[0], DTensor) and not isinstance(args[1], DTensor):
            first, stop = own_rows(args[0])
            args = args[0], spread_table(args[1][first:stop].to(args[0].dtype), args[0].device_mesh, args[0].shape)
        return func(*args, **kwargs)

    def _draw(self, func: Any, tensor: Any, **options: Any) -> Tensor:
        first, stop = own_rows(tensor)
        self._tables += 1
        for chunk in range(first // _ROWS, -(-stop // _ROWS) if stop > first else 0):
            start = chunk * _ROWS
            size = min(_ROWS, tensor.shape[0] - start)
            (seed,) = np.random.SeedSequence([self._seed, self._tables, chunk]).generate_state(1, np.uint64)
            options["generator"] = torch.Generator(tensor.device).manual_seed(int(seed >> 1))
            drawn = func(torch.empty((size, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device), **options)
            own = slice(max(first, start), min(stop, start + size))
            tensor._local_tensor[own.start - first : own.stop - first] = drawn[own.start - start : own.stop - start]
        return tensor


def _owner(layer: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, last = name.rpartition(".")
    return layer.get_submodule(path), last


def _get(layer: nn.Module, name: str) -> Tensor:
    owner, last = _owner(layer, name)
    return getattr(owner, last)


def _put(layer: nn.Module, name: str, tensor: Tensor) -> None:
    """Replace a parameter or buffer."""
    owner, last = _owner(layer, name)
    if (before := owner._parameters.get(last)) is None:
        owner._buffers[last] = tensor
    else:
        owner._parameters[last] = nn.Parameter(tensor, requires_grad=before.requires_grad)
