"""What a layer does once a training step, when its gradients are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vastmax.ops import under_transform

__all__ = ["after_backward"]


def after_backward(loss: Tensor, call: Callable[[], None]) -> None:
    """Call something when a backward pass through this loss has ended; never where the loss has no gradient.

    Not before: where activations are checkpointed, or code is compiled, the loss is computed once more on the way, and
    has to draw and find the same classes. No backward pass goes through the loss of that second time. Nor under the
    transforms of ``torch.func``, where functions have no side effects.
    """
    engine: Any = torch.autograd.Variable._execution_engine
    if loss.requires_grad and not under_transform():
        loss.register_hook(lambda _: engine.queue_callback(call))
