"""Draws from a fixed distribution in constant time: the alias method, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vastmax.errors import InputError

__all__ = ["AliasTable"]

_BITS = 62  # masses add up to less than 2**62, so sums of them are exact in int64


class AliasTable(nn.Module):
    """A distribution over V classes that gives a draw for two memory accesses, whatever V is.

    Probabilities are kept as whole numbers of which the sum is known, ``V * 2**k`` just below 2**62: what is drawn is
    what is stated, to the last bit, for any V, and casts of the module to half precision cannot touch it. A class of
    weight 0 is never drawn. Built in O(V) by sums and merges of sorted arrays, without a loop over classes.

    References:
        Walker, *An Efficient Method for Generating Discrete Random Variables with General Distributions*, 1977,
        https://doi.org/10.1145/355744.355749; the sweep that needs no queues: Hübschle-Schneider, Sanders, *Parallel
        Weighted Random Sampling*, 2019, https://arxiv.org/abs/1903.00227.

    Args:
        weights: (V,) finite and non-negative, not all zero; need not sum to one.
        device: of the tables.

    Raises:
        InputError: where the weights are no such thing.

    Example:
        >>> table = AliasTable([3, 0, 1])
        >>> table.log_prob(torch.tensor([0, 1, 2])).exp()
        tensor([0.7500, 0.0000, 0.2500], dtype=torch.float64)
    """

    mass: Tensor  # (V,) int64, the probability in units of 1 / (V * slot)
    threshold: Tensor  # (V,) int64 in 0..slot: below it a slot answers with its own class
    alias: Tensor  # (V,) int64: else with this one

    def __init__(self, weights: ArrayLike, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self._weights = _checked(weights)
        self.num_classes = len(self._weights)
        self.support = int(np.count_nonzero(self._weights))
        self._slot = 2 ** (_BITS - math.ceil(math.log2(self.num_classes)))
        for name in ("mass", "threshold", "alias"):
            self.register_buffer(name, torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Build the tables from the weights."""
        mass = _masses(self._weights, self.num_classes * self._slot)
        for name, values in zip(("mass", "threshold", "alias"), (mass, *_tables(mass, self._slot)), strict=True):
            getattr(self, name).copy_(torch.from_numpy(values))

    def draw(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Return ids (shape) int64, drawn independently and with replacement."""
        device = self.alias.device
        # 62 random bits for each number: torch takes 32 for a small range, and V does not divide 2**32
        slot = torch.randint(2**_BITS, tuple(shape), device=device, generator=generator) % self.num_classes
        level = torch.randint(self._slot, tuple(shape), device=device, generator=generator)
        return torch.where(level < self.threshold[slot], slot, self.alias[slot])

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return the log-probabilities of ids, float64 in their shape; -inf for classes that are never drawn."""
        return (self.mass[ids].double() / (self.num_classes * self._slot)).log()


def _checked(weights: ArrayLike) -> NDArray[np.float64]:
    given = np.array(weights, np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all() or given.min() < 0 or not given.any():
        raise InputError(
            f"weights must be one number a class, finite, 0 or more and not all 0, got an array of shape {given.shape}"
            + (f" from {given.min()} to {given.max()}." if given.size else ".")
        )
    return given


def _masses(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return whole numbers in proportion to the weights that add up to total, 1 or more where a weight is positive."""
    share = weights / weights.max()
    mass = np.floor(share * (total / share.sum())).astype(np.int64)
    mass = np.maximum(mass, weights > 0)
    mass[weights.argmax()] += total - mass.sum()  # less than one part in 2**50
    return mass


def _tables(mass: NDArray[np.int64], slot: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return thresholds and aliases.

    Heavy classes, in order, fill up the slots of light ones, in order. A heavy class that has given away all beyond its
    own slot, and a part of that, is filled up by the next. Who fills whom follows from sums of what is lacked and of
    what there is to give.
    """
    threshold, alias = np.full(len(mass), slot, np.int64), np.arange(len(mass))
    light, heavy = np.flatnonzero(mass < slot), np.flatnonzero(mass >= slot)
    lacked, spare = np.cumsum(slot - mass[light]), np.cumsum(mass[heavy] - slot)
    threshold[light] = mass[light]
    # a light class is filled by the first heavy one that has something left after the light ones before it
    before = lacked - (slot - mass[light])
    alias[light] = heavy[np.searchsorted(spare, before, side="right")]
    # a heavy class is overdrawn by a light one that takes what is lacked from below what was spare up to here to above
    spare = spare[:-1]
    taker = np.searchsorted(lacked, spare, side="right")
    overdrawn = np.flatnonzero(taker < len(lacked))
    overdrawn = overdrawn[before[taker[overdrawn]] < spare[overdrawn]]
    threshold[heavy[overdrawn]] = slot - (lacked[taker[overdrawn]] - spare[overdrawn])
    alias[heavy[overdrawn]] = heavy[overdrawn + 1]
    return threshold, alias
