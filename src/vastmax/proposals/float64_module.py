"""Modules whose state stays in float64 whatever the model around them is cast to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import Self

__all__ = ["Float64Module"]


class Float64Module(nn.Module):
    """A module that moves between devices with the model around it, and whose float64 buffers are not cast."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # a model is cast to half precision as a whole, and probabilities of rare classes would be lost
        before = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            cast = self._buffers[name]
            if buffer.dtype == torch.float64 and cast is not None and cast.dtype != torch.float64:
                self._buffers[name] = buffer.to(cast.device)
        return self
