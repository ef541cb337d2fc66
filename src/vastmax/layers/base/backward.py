"""A hook that runs once per training step, when the gradients are complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vastmax.ops import under_transform

__all__ = ["after_backward"]


def after_backward(loss: Tensor, call: Callable[[], None]) -> None:
    """Run a callback when a backward pass through this loss has ended; never if the loss has no gradient.

    It must not run earlier: activation checkpointing and compiled code compute the loss a second time during backward,
    and must draw and find the same classes then. No backward pass goes through that second loss. The callback never
    runs under the transforms of ``torch.func``, where functions have no side effects.
    """
    engine: Any = torch.autograd.Variable._execution_engine
    if loss.requires_grad and not under_transform():
        loss.register_hook(lambda _: engine.queue_callback(call))
