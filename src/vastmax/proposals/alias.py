"""Draws from a fixed distribution in constant time: the alias method, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vastmax.checks import refused
from vastmax.ops import ALIAS_BITS, Derived, alias_draws, alias_masses, alias_tables, for_table
from vastmax.proposals.proposal import Float64Module
from vastmax.vocabulary import as_weights

__all__ = ["AliasTable"]


class AliasTable(Float64Module):
    """A distribution over V classes that gives a draw for one memory access, whatever V is.

    Probabilities are kept as whole numbers that add up to 2**62, and a draw takes 62 random bits once: what is drawn is
    what is stated, to the last bit, for any V. A class of weight 0 is never drawn. Built in O(V), in one sweep.

    The lowest s bits of a draw choose one of 2**s slots, the others, a level, decide between the slot's own class and
    its alias: its own at levels below a threshold. An entry holds the threshold above the s bits of the alias. So the
    smaller of draw and entry ends in the class that is drawn; where the levels are equal that is the smaller class,
    which the threshold allows for.

    References:
        Walker, *An Efficient Method for Generating Discrete Random Variables with General Distributions*, 1977,
        https://doi.org/10.1145/355744.355749; the sweep that needs no queues: Hübschle-Schneider, Sanders, *Parallel
        Weighted Random Sampling*, 2019, https://arxiv.org/abs/1903.00227.

    Args:
        weights: (V,) finite and non-negative, not all zero; need not sum to one. InputError for others.

    Example:
        >>> table = AliasTable([3, 0, 1])
        >>> table.log_prob(torch.tensor([0, 1, 2])).exp()
        tensor([0.7500, 0.0000, 0.2500], dtype=torch.float64)
    """

    mass: Tensor  # (V,) int64, the probability in units of 2**-62; all else follows from it

    def __init__(self, weights: ArrayLike, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        given = as_weights(weights)
        if not given.any():
            raise refused("weights", given, "one number a class, not all 0")
        self._initial: NDArray[np.int64] | None = _masses(given, 2**ALIAS_BITS)
        self.num_classes = len(given)
        self.register_buffer("mass", torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self._derived = Derived(alias_tables)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the masses to those of the weights, where these are still known."""
        if self._initial is None:
            return
        if (fill := for_table("alias_fill", self.mass)) is None:
            self.mass.copy_(torch.from_numpy(self._initial))
            return
        fill(self.mass, self._initial)
        self._initial = None  # no process is to hold those of all classes
        self._derived.forget()
        self._derived(self.mass)  # now, before the layer's table takes its memory

    @property
    def entry(self) -> Tensor:
        """(2**s,) int64, the threshold of each slot above its alias."""
        return self._derived(self.mass).entry

    @property
    def support(self) -> int:
        """How many classes can be drawn at all."""
        if self.mass.is_meta and self._initial is not None:
            return int(np.count_nonzero(self._initial))
        return self._derived(self.mass).support

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._derived.forget()
        if not self.mass.is_meta:
            self._derived(self.mass)  # or it is refused now

    def draw(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Return ids (shape) int64, drawn independently and with replacement."""
        # of 2**62 torch takes the lowest of 64 random bits; a number that is no power of two it would draw unevenly
        entry = self.entry
        chance = torch.randint(2**ALIAS_BITS, (math.prod(shape),), device=entry.device, generator=generator)
        return alias_draws(self.mass, entry, chance).view(shape)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return the log-probabilities of ids, float64 in their shape; -inf for classes that are never drawn."""
        masses = alias_masses(self.mass, ids.flatten())
        return masses.double().log_().sub_(ALIAS_BITS * math.log(2)).view_as(ids)


def _masses(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return whole numbers in proportion to the weights that add up to total, 1 or more where a weight is positive."""
    share = weights / weights.max()
    mass = np.floor(share * (total / share.sum())).astype(np.int64)
    mass = np.maximum(mass, weights > 0)
    mass[weights.argmax()] += total - mass.sum()  # what rounding leaves: about V of 2**62 at most
    return mass
