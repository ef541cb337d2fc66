"""One class at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.tensors import wide
from vastmax.ops.values import WordClasses


def class_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> Tensor:
    """See :func:`vastmax.ops.class_softmax`; gradients are dense."""
    dtype = wide(hidden.dtype)
    own = classes.class_of[words]
    rows, found = [], []
    with torch.autocast(hidden.device.type, enabled=False):
        for met in own.unique():
            of_class = (own == met).nonzero().squeeze(1)
            members = classes.words[classes.starts[met] : classes.starts[met] + classes.sizes[met]]
            logits = hidden[of_class].to(dtype) @ weight[members].to(dtype).t()
            logits = logits if bias is None else logits + bias[members].to(dtype)
            found.append(logits.log_softmax(1).gather(1, classes.place[words[of_class], None]).squeeze(1))
            rows.append(of_class)
    if not found:
        return hidden.sum(1, dtype=dtype)
    return torch.cat(found)[torch.cat(rows).argsort()]
