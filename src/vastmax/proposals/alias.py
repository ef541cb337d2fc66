"""Draws from a fixed distribution in constant time: the alias method, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.ops import Derived
from vastmax.proposals.proposal import Float64Module
from vastmax.vocabulary import as_weights

__all__ = ["AliasTable"]

_BITS = 62  # masses add up to 2**62, so sums of them are exact in int64


class AliasTable(Float64Module):
    """A distribution over V classes that gives a draw for one memory access, whatever V is.

    Probabilities are kept as whole numbers that add up to 2**62, and a draw takes 62 random bits once: what is drawn is
    what is stated, to the last bit, for any V. A class of weight 0 is never drawn. Built in O(V) by sums and merges of
    sorted arrays, without a loop over classes.

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
        self._weights = as_weights(weights)
        if not self._weights.any():
            raise refused("weights", self._weights, "one number a class, not all 0")
        self.num_classes = len(self._weights)
        self._last_slot = 2 ** (self.num_classes - 1).bit_length() - 1
        self.register_buffer("mass", torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self._derived = Derived(_tables_of)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Build the tables from the weights."""
        self.mass.copy_(torch.from_numpy(_masses(self._weights, 2**_BITS)))

    @property
    def entry(self) -> Tensor:
        """(2**s,) int64, the threshold of each slot above its alias."""
        return self._derived(self.mass).entry

    @property
    def support(self) -> int:
        """How many classes can be drawn at all."""
        return int(np.count_nonzero(self._weights)) if self.mass.is_meta else self._derived(self.mass).support

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._derived.forget()
        if not self.mass.is_meta:
            self._derived(self.mass)  # or it is refused now

    def draw(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Return ids (shape) int64, drawn independently and with replacement."""
        # of 2**62 torch takes the lowest of 64 random bits; a number that is no power of two it would draw unevenly
        entry = self.entry
        chance = torch.randint(2**_BITS, (math.prod(shape),), device=entry.device, generator=generator)
        return entry.index_select(0, chance & self._last_slot).minimum(chance).bitwise_and_(self._last_slot).view(shape)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return the log-probabilities of ids, float64 in their shape; -inf for classes that are never drawn."""
        return self._derived(self.mass).log_mass.index_select(0, ids.flatten()).view_as(ids)


class _Tables(NamedTuple):
    entry: Tensor
    log_mass: Tensor  # (V,) float64, log of the probability
    support: int


def _tables_of(mass: Tensor) -> _Tables:
    """Return what follows from the masses (V,); InputError where they are no distribution."""
    given = mass.cpu().numpy()
    if given.min() < 0 or _total(given) != 2**_BITS:
        raise InputError("the state holds no distribution to draw from: masses that add up to 2**62.")
    slots = 2 ** (len(given) - 1).bit_length()
    in_slots = np.zeros(slots, np.int64)
    in_slots[: len(given)] = given
    entry = torch.from_numpy(_entries(*_tables(in_slots, 2**_BITS // slots)))
    log_mass = torch.from_numpy(given).double().log_().sub_(_BITS * math.log(2))
    return _Tables(entry.to(mass.device), log_mass.to(mass.device), int(np.count_nonzero(given)))


def _total(mass: NDArray[np.int64]) -> int:
    """Return the exact sum, which may be beyond int64."""
    return (int((mass >> 31).sum()) << 31) + int((mass & (2**31 - 1)).sum())


def _masses(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return whole numbers in proportion to the weights that add up to total, 1 or more where a weight is positive."""
    share = weights / weights.max()
    mass = np.floor(share * (total / share.sum())).astype(np.int64)
    mass = np.maximum(mass, weights > 0)
    mass[weights.argmax()] += total - mass.sum()  # what rounding leaves: about V of 2**62 at most
    return mass


def _tables(mass: NDArray[np.int64], slot: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return thresholds and aliases, for masses of which the mean is `slot`.

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


def _entries(threshold: NDArray[np.int64], alias: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return threshold and alias in one number; a threshold of 0 may become -1 there, below every draw."""
    reached = np.arange(len(alias)) < alias  # at the threshold itself the smaller class wins: one level too many
    return (threshold - reached) * len(alias) + alias
