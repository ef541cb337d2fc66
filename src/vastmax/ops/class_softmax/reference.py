"""One row after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.values import WordClasses


def class_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> Tensor:
    """As :func:`vastmax.ops.class_softmax`; gradients are dense."""
    found = [hidden.new_empty(0)]
    for row, word in zip(hidden, words.tolist(), strict=True):
        start, size = classes.starts[classes.class_of[word]], classes.sizes[classes.class_of[word]]
        members = classes.words[start : start + size]
        logits = (weight[members] * row).sum(1)
        logits = logits if bias is None else logits + bias[members]
        found.append(logits.log_softmax(0)[classes.place[word]][None])
    return torch.cat(found)
