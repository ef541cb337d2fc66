"""One pass over the rows in the compiled core: half precision is widened on the way, and summed in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.dispatch import instead
from vastmax.ops.gathered_logits import pytorch
from vastmax.ops.tensors import wide

__all__ = ["GATHERS", "array", "ragged_logits", "takes"]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def takes(tensor: Tensor) -> bool:
    """Return whether a tensor is supported: plain, on the CPU, float32, float64 or bfloat16, not in torch.compile."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu" and tensor.dtype in _DTYPES
    return plain and not torch.compiler.is_compiling()


def ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    sparse: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    """See :func:`vastmax.ops.ragged_logits`."""
    if not takes(weight) or (bias is not None and (not takes(bias) or bias.dtype != weight.dtype)):
        return instead("ragged_logits")(hidden, weight, bias, ids, rows, sparse, known)
    return pytorch.ragged_logits(hidden, weight, bias, ids.contiguous(), rows.contiguous(), sparse, known, GATHERS)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, rows: Tensor) -> Tensor:
    logits = torch.empty(len(ids), dtype=wide(weight.dtype))
    biases = None if bias is None else array(bias)
    given = array(hidden), array(weight), biases, ids.numpy(), rows.numpy(), logits.numpy()
    _core.ragged_logits(*given, torch.get_num_threads())
    return logits


def _of_hidden(weight: Tensor, ids: Tensor, rows: Tensor, grad: Tensor, num_rows: int) -> Tensor:
    found = torch.empty(num_rows, weight.shape[1], dtype=weight.dtype)
    factors = array(grad.to(wide(weight.dtype)))
    _core.gradient_of_rows(array(weight), ids.numpy(), rows.numpy(), factors, array(found), torch.get_num_threads())
    return found


def _of_table(
    hidden: Tensor, ids: Tensor, rows: Tensor, grad: Tensor, num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    met, starts, order = _core.group_ids(ids.numpy(), num_classes)
    values = torch.empty(len(met), hidden.shape[1], dtype=hidden.dtype)
    sums = torch.empty(len(met), dtype=wide(hidden.dtype))
    given = array(hidden), rows.numpy(), array(grad.to(sums.dtype)), starts, order, array(values), sums.numpy()
    _core.gradient_of_table(*given, torch.get_num_threads())
    return torch.tensor(met), values, sums


def array(tensor: Tensor) -> Any:
    """Return a tensor as a NumPy array; bfloat16, which NumPy lacks, as its bits."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


GATHERS = pytorch.Gathers(_logits, _of_hidden, _of_table)
