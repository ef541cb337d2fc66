"""Whether a run fits the machine, told before it trains."""

from __future__ import annotations

from pathlib import Path

import torch

from vastmax.errors import InputError
from vastmax.language import LanguageModel
from vastmax.optimizers import OPTIMIZERS

__all__ = ["available_memory", "check_memory", "memory_needed", "numbers_kept"]

_GROUP = Path("/sys/fs/cgroup")
_CACHES = ("inactive_file", "active_file")


def numbers_kept(optimizer: str) -> int:
    """Return how many numbers each parameter takes: itself, and those that its optimiser keeps for it."""
    return 1 + sum(name != "step" for name in OPTIMIZERS[optimizer])


def memory_needed(model: LanguageModel, optimizer: str) -> int:
    """Return the least bytes that training a model takes: its parameters, what the optimiser keeps, dense gradients."""
    kept = numbers_kept(optimizer) * sum(each.numel() for each in model.parameters())
    return 4 * (kept + (model.output.num_parameters if model.output.touches_all_classes else 0))


def available_memory() -> int | None:
    """Return the bytes that this process may still take, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None
    try:  # less where a container has a limit of its own
        limit, used, facts = (
            (_GROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current", "stat")
        )
        # files that were read count as used, and are let go where memory is wanted
        cached = sum(int(size) for name, size in map(str.split, facts.splitlines()) if name in _CACHES)
        rest = int(limit) - int(used) + cached
    except (OSError, ValueError):
        return found
    return rest if found is None else min(found, rest)


def check_memory(needed: int, num_classes: int, device: torch.device, taken: int = 0) -> None:
    """Raise InputError where training a model over V classes needs more bytes than a device has free.

    What a run takes besides, logits and sparse gradients, is not foreseen: it is a process of its own, so that the
    system may end it and the other runs go on. ``taken`` bytes the model has on the processor already.
    """
    if device.type == "cuda":
        there: int | None = torch.cuda.mem_get_info(device)[0]
    elif (there := available_memory()) is not None:
        there += taken
    if there is not None and needed > there:
        raise InputError(
            f"a model over {num_classes:,} words needs {needed / 1e9:.1f} GB or more, and {there / 1e9:.1f} GB are "
            "free: keep fewer words (--max-vocabulary, --min-count), or lower --dim."
        )
