"""Alias draws from sharded masses: the process that has a chance's slot reports the drawn id to all.

A slot is on the process that has the class with the same number. Each draw is reported with its mass, and with the
masses of the batch's targets, since samplers ask for these next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from vastmax.distributed.batch import current, from_all
from vastmax.distributed.tables import bounds_of, own_rows
from vastmax.ops import AliasTables, alias_choice, alias_entries, register_for_tables

__all__: list[str] = []


def _tables(mass: Any) -> AliasTables:
    """Return the entries (n, 2) of this process's slots, each beside the mass of its alias."""
    local, group = mass._local_tensor, mass.device_mesh.get_group()
    share = -(-mass.shape[0] // mass.device_mesh.size())
    padded = local.new_zeros(share)
    padded[: len(local)] = local
    whole = from_all(padded, group).view(-1)[: mass.shape[0]].cpu().numpy()
    stretches = _own_slots(mass)
    found, start = np.empty((sum(stop - first for first, stop in stretches), 2), np.int64), 0
    for first, stop in stretches:
        of_stretch = found[start : (start := start + stop - first)]
        of_stretch[:, 0] = alias_entries(whole, first, stop)
        np.take(whole, of_stretch[:, 0] & (_slots(mass) - 1), out=of_stretch[:, 1])
    return AliasTables(torch.from_numpy(found).to(local.device), int(np.count_nonzero(whole)))


def _fill(mass: Any, whole: NDArray[np.int64]) -> None:
    """Copy this process's masses from those of all classes (V,)."""
    mass._local_tensor.copy_(torch.from_numpy(whole[slice(*own_rows(mass))]))


def _slots(mass: Any) -> int:
    return 2 ** (mass.shape[0] - 1).bit_length()


def _own_slots(mass: Any) -> list[tuple[int, int]]:
    """Return this process's two ranges of slots: those of its classes, and its part of those beyond the last class."""
    classes, rank = mass.shape[0], mass.device_mesh.get_local_rank()
    more = bounds_of(_slots(mass) - classes, mass.device_mesh.size())
    return [own_rows(mass), (classes + more[rank], classes + more[rank + 1])]


def _draws(mass: Any, entry: Tensor, chance: Tensor) -> Tensor:
    """Return the ids (n,) drawn by chances (n,), which are the same on all processes."""
    batch, last_slot = current(), _slots(mass) - 1
    (first, stop), (more, end) = _own_slots(mass)
    slot = chance & last_slot
    of_class, of_none = (slot >= first) & (slot < stop), (slot >= more) & (slot < end)
    here = (of_class | of_none).nonzero().squeeze(1)
    place = torch.where(of_class, slot - first, slot - more + stop - first)[here]
    ids = alias_choice(entry[place, 0], chance[here], last_slot)
    masses = torch.where(ids == slot[here], _own_masses(mass, ids), entry[place, 1])
    told = torch.zeros((2, len(chance)), dtype=torch.int64, device=chance.device)
    told[0, here], told[1, here] = ids, masses
    targets = chance[:0] if batch.classes is None else batch.classes.flatten()
    total = torch.cat([told.flatten(), _own_masses(mass, targets)])
    distributed.all_reduce(total, group=batch.group)
    ids, masses, of_targets = total.split([len(chance), len(chance), len(targets)])
    _note(mass, torch.cat([ids, targets]), torch.cat([masses, of_targets]))
    return ids


def _masses(mass: Any, ids: Tensor) -> Tensor:
    """Return the masses (n,) of ids (n,), which are the same on all processes."""
    batch = current()
    known, masses = batch.locals.get((id(mass), "masses"), (ids[:0], ids[:0]))
    if len(known):
        place = torch.searchsorted(known, ids).clamp(max=len(known) - 1)
        if bool((known[place] == ids).all()):
            return masses[place]
    found = _own_masses(mass, ids)
    distributed.all_reduce(found, group=batch.group)
    _note(mass, ids, found)
    return found


def _own_masses(mass: Any, ids: Tensor) -> Tensor:
    """Return the masses (n,) of ids (n,); 0 for classes of other processes."""
    (first, stop), local = own_rows(mass), mass._local_tensor
    inside = (ids >= first) & (ids < stop)
    return torch.where(inside, local[torch.where(inside, ids - first, 0)], 0) if len(local) else torch.zeros_like(ids)


def _note(mass: Any, ids: Tensor, masses: Tensor) -> None:
    """Cache masses for the duration of the batch, besides those already known."""
    key = id(mass), "masses"
    before = current().locals.get(key, (ids[:0], masses[:0]))
    every = torch.cat([before[0], ids])
    known, order = every.unique(return_inverse=True)
    of_known = torch.empty_like(known).scatter_(0, order, torch.cat([before[1], masses]))
    current().locals[key] = known, of_known


register_for_tables(DTensor, "alias_fill", _fill)
register_for_tables(DTensor, "alias_tables", _tables)
register_for_tables(DTensor, "alias_draws", _draws)
register_for_tables(DTensor, "alias_masses", _masses)
