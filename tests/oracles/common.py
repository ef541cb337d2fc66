"""Shared parts of the oracles."""

from collections.abc import Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def log_sum_exp(terms: list[Any]) -> Any:
    return anp.log(sum(anp.exp(term) for term in terms))


def gradients_of(function: Any, *arguments: Any) -> Any:
    """Return the gradients of a scalar function with respect to its (nested) arguments."""
    return autograd.grad(lambda given: function(*given))(arguments)


def table_logits(hidden: Any, weight: Any, bias: Any, classes: Sequence[int]) -> list[Any]:
    """Return s(w) = h·v_w + b_w of these classes, for one hidden vector."""
    return [anp.dot(hidden, weight[w]) + bias[w] for w in classes]
