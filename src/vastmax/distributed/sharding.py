"""Sharding of an output layer's classes over processes."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from vastmax.checks import refused
from vastmax.distributed.building import lay_out
from vastmax.distributed.contract import Sharded
from vastmax.distributed.tables import own_part, spread_like
from vastmax.errors import InputError
from vastmax.layers import OutputLayer

__all__ = ["shard_classes", "unshard"]


def shard_classes(layer: OutputLayer, mesh: DeviceMesh, dim: str | None = None) -> OutputLayer:
    """Shard a layer's classes over processes, in place, and return the layer: same interface, same results.

    All processes call it, and afterwards every method of the layer, each with its own rows: any number, none included.
    Each process holds a range of a table's rows, split as by ``torch.chunk``, in a DTensor with ``Shard(0)``; all other
    tensors are copied from the first process. All processes draw the same samples, from the first process's seed.

    A layer on the meta device is created shard by shard, so that no process needs memory for more than its part:
    parameters are initialised as by :meth:`reset_parameters`, to the same values on any number of processes. A unigram
    proposal over 2**21 (2.1 million) or more classes is sharded as well, at the cost of one small collective per draw.

    A process's loss covers its own rows. With the reduction "mean", it is the sum over its rows times the number of
    processes, divided by the total weight of all rows, so that the mean over processes is the loss of all rows; with
    "sum", that mean is the sum over all rows divided by the number of processes. Gradients of the network below are
    those of the process's own loss: average them over processes, as ``DistributedDataParallel`` and FSDP do. The
    layer's own gradients are already those of the mean.

    Args:
        layer: any layer with a :meth:`~vastmax.layers.OutputLayer.shard_plan`.
        mesh: the processes.
        dim: name of the mesh dimension to shard over; required if the mesh has several. Processes along the others hold
            the same classes: the layer averages their gradients after each backward pass. Given a slice such as
            ``mesh["classes"]``, it knows no other dimensions, and averaging over them is up to the caller.

    Raises:
        InputError: if the layer cannot be sharded, or the mesh has no such dimension.
    """
    if not isinstance(layer, OutputLayer):
        raise refused("layer", layer, "one of vastmax.layers")
    if (within := layer._within()) is not layer:
        shard_classes(within, mesh, dim)
        for name, each in layer.named_buffers(recurse=False):
            layer._buffers[name] = torch.empty_like(each, device=mesh.device_type) if each.is_meta else each
        layer._restore()
        return layer
    if isinstance(layer, Sharded):
        raise InputError("the layer's classes are sharded already: unshard it first.")
    mesh, others = _dimensions(mesh, dim)
    if layer._shares_table:
        raise InputError("the layer shares its table with an embedding: shard a layer without one.")
    plan = layer.shard_plan()
    if plan is None:
        raise InputError(
            f"{type(layer).__name__} does not define how its classes are sharded: define shard_plan in it."
        )
    if any(isinstance(each, DTensor) for each in (*layer.parameters(), *layer.buffers())):
        raise InputError(
            "the layer contains a part that is sharded already, for example another layer's proposal: give each its "
            "own."
        )
    lay_out(layer, plan, mesh, others)
    layer.__class__ = _sharded_kind(type(layer))
    sharded = cast(Sharded, layer)
    sharded._mesh, sharded._others, sharded._capacity = mesh, others, 0
    sharded._cutting = sharded.register_load_state_dict_pre_hook(_take_own_rows)
    return layer


def unshard(layer: OutputLayer) -> OutputLayer:
    """Gather all of a layer's classes on every process, in place, and return it as before :func:`shard_classes`.

    Raises:
        InputError: if the layer is not sharded.
    """
    if isinstance(layer, OutputLayer) and (within := layer._within()) is not layer:
        unshard(within)
        return layer
    if not isinstance(layer, Sharded):
        raise refused("layer", layer, "a layer sharded by shard_classes")
    layer._cutting.remove()
    del layer._mesh, layer._others, layer._capacity, layer._cutting
    layer.__class__ = type(layer).__mro__[2]
    for module in layer.modules():
        tables: Any = module._parameters, module._buffers
        for tensors in tables:
            for name, each in tensors.items():
                if isinstance(table := each, DTensor):
                    whole = table.full_tensor().detach()
                    parameter = isinstance(each, nn.Parameter)
                    tensors[name] = nn.Parameter(whole, requires_grad=each.requires_grad) if parameter else whole
    return layer


def _dimensions(mesh: DeviceMesh, dim: str | None) -> tuple[DeviceMesh, list[Any]]:
    """Return the mesh dimension to shard over, and the process groups of all others."""
    if not isinstance(mesh, DeviceMesh):
        raise refused("mesh", mesh, "a DeviceMesh, for example init_device_mesh('cpu', (4,))")
    names = mesh.mesh_dim_names or ()
    if dim is None and mesh.ndim == 1:
        return mesh, []
    if dim is None or dim not in names:
        wanted = " or ".join(map(repr, names)) or "mesh_dim_names to init_device_mesh, and one of them here"
        raise refused(
            "dim", dim, f"{wanted}, as classes are sharded over one of the {mesh.ndim} dimensions of the mesh"
        )
    return mesh[dim], [mesh.get_group(each) for each in names if each != dim]


def _take_own_rows(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Replace the whole tables of a plain state dict by this process's rows."""
    for name, table in (*layer.named_parameters(), *layer.named_buffers()):
        whole: Any = state.get(prefix + name)
        if not isinstance(table, DTensor) or not isinstance(whole, Tensor) or isinstance(whole, DTensor):
            continue
        if whole.shape == table.shape:  # otherwise PyTorch reports the mismatch
            state[prefix + name] = spread_like(table, own_part(table, whole).to(table.dtype))


_kinds: dict[type, type] = {}


def _sharded_kind(kind: type[OutputLayer]) -> type:
    """Return the sharded subclass of a layer class."""
    if kind not in _kinds:
        _kinds[kind] = type(f"Sharded{kind.__name__}", (Sharded, kind), {"__module__": kind.__module__})
    return _kinds[kind]
