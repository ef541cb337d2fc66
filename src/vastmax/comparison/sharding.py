"""The output layer of a run with several processes: build it once, and shard or replicate its classes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Literal, get_args

import torch

from vastmax.checks import one_of
from vastmax.errors import InputError
from vastmax.language import ModelOptions
from vastmax.layers import LayerSpec, OutputLayer
from vastmax.runs import Processes, arrays_of, tensors_of
from vastmax.vocabulary import Vocabulary

__all__ = [
    "OutputSharding",
    "built_by_leader",
    "check_sharding",
    "gather_classes",
    "processes_here",
    "spread_classes",
    "spreads",
]

OutputSharding = Literal["classes", "none"]

_FEWEST = 4_000_000  # parameters from which a layer is sharded by default


def check_sharding(asked: OutputSharding | None, model: ModelOptions) -> None:
    """Raise InputError if the requested sharding of the output layer is impossible for every layer."""
    if asked is not None:
        one_of("output_sharding", asked, get_args(OutputSharding))
    if asked == "classes" and model.tie:
        raise InputError(
            "output_sharding is 'classes', and tie shares the output layer's table with the input, which needs it "
            "whole: leave out one of the two."
        )


def spreads(asked: OutputSharding | None, layer: OutputLayer, model: ModelOptions, processes: Processes) -> bool:
    """Return whether to shard a layer's classes over the processes.

    A single process always holds all classes. By default a layer is sharded if it has a shard plan and at least
    4 million parameters, whose gradient may be 16 MB to send, and its table is not tied to the input.

    Raises:
        InputError: "classes" is requested for a layer that cannot be sharded.
    """
    if processes.size == 1 or asked == "none":
        return False
    if asked is None and (model.tie or layer.num_parameters < _FEWEST):
        return False
    try:
        plan = layer.shard_plan()
    except InputError:
        if asked is None:
            return False
        raise
    if plan is None and asked is not None:
        raise InputError(
            f"output_sharding is 'classes', and {type(layer).__name__} does not define how its classes are sharded: "
            "give 'none'."
        )
    return plan is not None


def spread_classes(layer: OutputLayer, device: torch.device, processes: Processes) -> None:
    """Shard a layer's classes over the processes and their devices, in place."""
    from torch.distributed.device_mesh import init_device_mesh

    from vastmax.distributed import shard_classes

    shard_classes(layer, init_device_mesh(device.type, (processes.size,)))


def gather_classes(layer: OutputLayer) -> None:
    """Gather all of a layer's classes on every process, in place: the reverse of :func:`spread_classes`."""
    from vastmax.distributed import unshard

    unshard(layer)


def built_by_leader(
    processes: Processes, build: Callable[[], OutputLayer], spec: LayerSpec, in_features: int, vocabulary: Vocabulary
) -> OutputLayer:
    """Return on all processes the layer that the leader builds, as multi-threaded building is not deterministic."""
    with processes.together():
        built = build() if processes.leads else None
    if built is not None and processes.size == 1:
        return built
    sent = processes.from_leader(None if built is None else arrays_of(built.state_dict()))
    if built is not None:
        return built
    state = tensors_of(sent, copy=False)
    layer = spec.rebuild(in_features, vocabulary, state)
    layer.load_state_dict(state)
    return layer


def processes_here(processes: Processes) -> int:
    """Return the number of processes on this machine."""
    return processes.gather(socket.gethostname()).count(socket.gethostname())
