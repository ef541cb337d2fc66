"""Modules of which the state stays in double precision whatever the model around them is cast to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import Self

__all__ = ["DoublesModule"]


class DoublesModule(nn.Module):
    """A module that moves between devices, and of which buffers in float64 are not cast."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # a model is cast to half precision as a whole, and probabilities of rare classes would be lost
        before = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            cast = self._buffers[name]
            if buffer.dtype == torch.float64 and cast is not None and cast.dtype != torch.float64:
                self._buffers[name] = buffer.to(cast.device)
        return self
