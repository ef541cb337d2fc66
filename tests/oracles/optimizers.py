"""Optimisers, one number at a time."""

from collections.abc import Mapping, Sequence

import numpy as np

from tests.oracles.common import Float64


def lazy_adam(
    table: Float64, steps: Sequence[Mapping[int, Float64]], rate: float, beta1: float, beta2: float, epsilon: float
) -> Float64:
    """Return a table (V, d) after steps of Adam from step 1 on, each with the gradients of some rows.

    Algorithm 1 of Kingma & Ba, with bias-corrected moments m̂ and v̂, on the given rows only; its epsilon is ε̂ of the
    end of section 2 over √(1 - β₂ᵗ).
    """
    table = np.array(table, np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for t, gradients in enumerate(steps, 1):
        for row, gradient in gradients.items():
            for i, g in enumerate(gradient):
                m[row, i] = beta1 * m[row, i] + (1 - beta1) * g
                v[row, i] = beta2 * v[row, i] + (1 - beta2) * g**2
                m_hat, v_hat = m[row, i] / (1 - beta1**t), v[row, i] / (1 - beta2**t)
                table[row, i] -= rate * m_hat / (np.sqrt(v_hat) + epsilon / np.sqrt(1 - beta2**t))
    return table
