"""What tests of layers watch: the largest tensor that is made, and what a proposal is told."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vastmax.proposals import UniformProposal


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


class Watched(UniformProposal):
    """Notes what it is told about the table."""

    context = "hidden"

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.told: list[list[int] | None] = []

    def update(self, weight: Tensor, bias: Tensor | None = None, ids: Tensor | None = None) -> None:
        self.told.append(None if ids is None else ids.tolist())
