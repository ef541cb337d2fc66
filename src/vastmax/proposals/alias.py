"""The alias method in integer arithmetic: draws from a fixed distribution in constant time."""

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
    """A fixed distribution over V classes with O(1) draws: one random number and one memory access, for any V.

    Probabilities are stored as integers that sum to 2**62, and a draw uses 62 random bits, so classes are drawn with
    exactly the stated probabilities for any V. A class of weight 0 is never drawn. Building takes one O(V) sweep.

    The lowest s bits of a draw select one of 2**s slots. The remaining bits, the level, choose the slot's own class if
    they are below the slot's threshold, and its alias otherwise. An entry stores the threshold above the s bits of the
    alias, so the lowest s bits of min(draw, entry) are the class drawn. If the levels are equal, that is the smaller of
    the two classes, which the threshold accounts for.

    References:
        Walker, *An Efficient Method for Generating Discrete Random Variables with General Distributions*, 1977,
        https://doi.org/10.1145/355744.355749; construction in one sweep without queues: Hübschle-Schneider, Sanders,
        *Parallel Weighted Random Sampling*, 2019, https://arxiv.org/abs/1903.00227.

    Args:
        weights: (V,) finite and non-negative, not all zero; need not sum to one. InputError otherwise.

    Example:
        >>> table = AliasTable([3, 0, 1])
        >>> table.log_prob(torch.tensor([0, 1, 2])).exp()
        tensor([0.7500, 0.0000, 0.2500], dtype=torch.float64)
    """

    mass: Tensor  # (V,) int64, probabilities in units of 2**-62; all else is derived from it

    def __init__(self, weights: ArrayLike, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        given = as_weights(weights)
        if not given.any():
            raise refused("weights", given, "one number per class, not all 0")
        self._initial: NDArray[np.int64] | None = _masses(given, 2**ALIAS_BITS)
        self.num_classes = len(given)
        self.register_buffer("mass", torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self._derived = Derived(alias_tables)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset the masses to those of the initial weights, if these are still known."""
        if self._initial is None:
            return
        if (fill := for_table("alias_fill", self.mass)) is None:
            self.mass.copy_(torch.from_numpy(self._initial))
            return
        fill(self.mass, self._initial)
        self._initial = None  # so that no process keeps the masses of all classes
        self._derived.forget()
        self._derived(self.mass)  # now, before memory is allocated for the layer's table

    @property
    def entry(self) -> Tensor:
        """(2**s,) int64, the threshold of each slot above the s bits of its alias."""
        return self._derived(self.mass).entry

    @property
    def support(self) -> int:
        """The number of classes with positive probability."""
        if self.mass.is_meta and self._initial is not None:
            return int(np.count_nonzero(self._initial))
        return self._derived(self.mass).support

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._derived.forget()
        if not self.mass.is_meta:
            self._derived(self.mass)  # raises InputError now if the masses are invalid

    def draw(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Return int64 ids of the given shape, drawn independently and with replacement."""
        # a power of two: torch reduces 64 random bits modulo the bound, which is biased for any other bound
        entry = self.entry
        chance = torch.randint(2**ALIAS_BITS, (math.prod(shape),), device=entry.device, generator=generator)
        return alias_draws(self.mass, entry, chance).view(shape)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return the float64 log-probabilities of ids, in their shape; -inf for classes that are never drawn."""
        masses = alias_masses(self.mass, ids.flatten())
        return masses.double().log_().sub_(ALIAS_BITS * math.log(2)).view_as(ids)


def _masses(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return integers proportional to the weights that sum to ``total``, at least 1 for each positive weight."""
    share = weights / weights.max()
    mass = np.floor(share * (total / share.sum())).astype(np.int64)
    mass = np.maximum(mass, weights > 0)
    mass[weights.argmax()] += total - mass.sum()  # the rounding remainder: at most about V of 2**62
    return mass
