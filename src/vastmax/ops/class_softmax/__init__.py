"""A softmax over the words of each row's class."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.class_softmax import pytorch, reference
from vastmax.ops.dispatch import implementation, register
from vastmax.ops.values import WordClasses

__all__ = ["class_softmax"]

register("class_softmax", "reference", reference.class_softmax)
register("class_softmax", "torch", pytorch.class_softmax)


def class_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> Tensor:
    """Return the log-probability (N,) of each row's word among the words of its class, in float32 or wider.

    For hidden (N, d), weight (V, d), bias (V,) or None, and words (N,) int64. ``sparse`` makes the gradients of weight
    and bias sparse tensors of the words of the touched classes.
    """
    return implementation("class_softmax", hidden, weight)(hidden, weight, bias, classes, words, sparse=sparse)
