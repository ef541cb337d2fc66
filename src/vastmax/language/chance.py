"""Seed, save and restore torch's random generators, for each of the processes that train together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["chance_of_all", "put_back_chance", "seed_chance"]


def seed_chance(rank: int, seed: int, *more: int) -> None:
    """Seed a process's generators: rank 0 with the seed itself, others with a hash of seed, rank and ``more``."""
    mixed = int(np.random.SeedSequence([seed, rank, *more]).generate_state(1, np.uint64)[0]) if rank else seed
    torch.manual_seed(mixed)


def chance_of_all(device: torch.device, size: int) -> dict[str, Tensor]:
    """Return the generator states of all ``size`` processes, by the names that :func:`put_back_chance` reads."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    if size == 1:
        return own
    from vastmax.distributed import from_each

    states = {name: from_each(each[None], [1] * size) for name, each in own.items()}
    return {_name(kind, rank): of[0] for kind, each in states.items() for rank, of in enumerate(each)}


def put_back_chance(states: Mapping[str, Tensor], rank: int, device: torch.device) -> bool:
    """Restore a process's generators; False if there is no state for its rank (KeyError for rank 0)."""
    if rank and _name("cpu", rank) not in states:
        return False
    torch.set_rng_state(states[_name("cpu", rank)])
    if device.type == "cuda" and _name("cuda", rank) in states:
        torch.cuda.set_rng_state(states[_name("cuda", rank)], device)
    return True


def _name(kind: str, rank: int) -> str:
    return f"{kind}.{rank}" if rank else kind
