"""Fit the constants of vastmax.trees.StepCost, the cost of a training step of a softmax, to measured steps.

    python benchmarks/step_cost.py

Times forward, backward and plain SGD of a full softmax in one thread, for a few shapes (rows, classes, width) dominated
by different terms. Times are the minimum of many steps, in CPU time of that thread, which other programs on the machine
do not affect. The constants minimise the sum of squared relative errors and are not negative.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray

from vastmax.layers import FullSoftmax
from vastmax.machine import machine, versions
from vastmax.trees import StepCost

SHAPES = ((1, 1, 1), (512, 1024, 128), (512, 2048, 16), (512, 512, 256), (8, 65536, 8), (2, 65536, 32))


def seconds(rows: int, classes: int, width: int, repeats: int) -> float:
    """Return the minimum CPU time of a step, in seconds."""
    layer = FullSoftmax(width, classes, bias=False)
    hidden = torch.zeros((rows, width), requires_grad=True)
    target = torch.zeros(rows, dtype=torch.int64)
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        _, gradient = torch.autograd.grad(layer(hidden, target, reduction="sum"), [hidden, layer.weight])
        layer.weight.data.add_(gradient, alpha=-0.1)
        times.append(time.thread_time() - start)
    return min(times)


def not_negative_fit(relative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return non-negative factors x that minimise the squared error of relative @ x against ones."""
    factors, free = np.zeros(relative.shape[1]), np.ones(relative.shape[1], bool)
    while free.any():
        found = np.linalg.lstsq(relative[:, free], np.ones(len(relative)), rcond=None)[0]
        if (found >= 0).all():
            factors[free] = found
            break
        free[np.flatnonzero(free)[found.argmin()]] = False
    return factors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=200, metavar="N", help="steps a shape")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shapes = np.array(SHAPES, np.float64)
    logits, parameters = shapes[:, 0] * shapes[:, 1], shapes[:, 1] * shapes[:, 2]
    terms = np.stack([np.ones(len(shapes)), logits, logits * shapes[:, 2], parameters], axis=1)
    measured = np.array([seconds(*shape, arguments.repeat) for shape in SHAPES])
    cost = StepCost(*not_negative_fit(terms / measured[:, None]).tolist())
    print(f"{machine()}; {versions()}")
    print(cost)
    for shape, each in zip(SHAPES, measured, strict=True):
        print(f"{shape!s:>20}: {each:.3g} s, fitted {float(cost.step(*shape)):.3g} s")


if __name__ == "__main__":
    main()
