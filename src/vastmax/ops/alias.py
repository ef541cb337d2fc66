"""The alias method on masses that sum to 2**62: tables, draws, and masses of classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax import _core
from vastmax.errors import InputError
from vastmax.ops.dispatch import for_table

__all__ = ["ALIAS_BITS", "AliasTables", "alias_choice", "alias_draws", "alias_entries", "alias_masses", "alias_tables"]

ALIAS_BITS = 62  # of a draw; masses sum to 2**62, so that sums of them are exact in int64


class AliasTables(NamedTuple):
    """The alias tables of masses.

    Attributes:
        entry: (2**s,) int64, for each slot the threshold above the s bits of its alias.
        support: the number of masses greater than 0.
    """

    entry: Tensor
    support: int


def alias_tables(mass: Tensor) -> AliasTables:
    """Return the alias tables of masses (V,) int64; InputError if one is negative, or their sum is not 2**62."""
    if (make := for_table("alias_tables", mass)) is not None:
        return make(mass)
    given = mass.cpu().numpy()
    return AliasTables(torch.from_numpy(alias_entries(given).copy()).to(mass.device), int(np.count_nonzero(given)))


def alias_draws(mass: Tensor, entry: Tensor, chance: Tensor) -> Tensor:
    """Return the ids (n,) that chances (n,), 62-bit integers, draw from masses (V,) with these entries."""
    if (draw := for_table("alias_draws", mass)) is not None:
        return draw(mass, entry, chance)
    last_slot = len(entry) - 1
    return alias_choice(entry.index_select(0, chance & last_slot), chance, last_slot)


def alias_masses(mass: Tensor, ids: Tensor) -> Tensor:
    """Return the masses (n,) of ids (n,)."""
    look_up = for_table("alias_masses", mass)
    return mass.index_select(0, ids) if look_up is None else look_up(mass, ids)


def alias_choice(entry: Tensor, chance: Tensor, last_slot: int) -> Tensor:
    """Return the ids (n,) that chances (n,) draw, given the entries (n,) of their slots, their lowest bits."""
    return entry.minimum(chance).bitwise_and_(last_slot)


def alias_entries(mass: NDArray[np.int64], first: int = 0, stop: int | None = None) -> NDArray[np.int64]:
    """Return the entries of a range of slots for masses (V,); InputError as in :func:`alias_tables`."""
    slots = 2 ** (len(mass) - 1).bit_length()
    try:
        return _core.alias_entries(mass, slots, 2**ALIAS_BITS, first, slots if stop is None else stop)
    except ValueError:
        raise InputError("masses in the state do not add up to 2**62: give the state of an alias table.") from None
