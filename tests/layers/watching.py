"""Recorders for tests of layers: the largest tensor allocated, and the updates that a proposal receives."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vastmax.proposals import UniformProposal


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


class Watched(UniformProposal):
    """A proposal that records the updates it receives about the table."""

    context = "hidden"

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.told: list[list[int] | None] = []

    def update(self, weight: Tensor, bias: Tensor | None = None, ids: Tensor | None = None) -> None:
        self.told.append(None if ids is None else ids.tolist())
