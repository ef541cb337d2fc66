"""Which dtype is used where: products in the parameters' or autocast's, sums over classes in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["matmul_operands", "wide"]


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that sums over classes are taken in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def matmul_operands(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the operands as autocast would hand them to a product; without autocast as they are.

    For products inside our own autograd functions, whose backward autocast does not reach.
    """
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors)
