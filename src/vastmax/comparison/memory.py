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
    found = None
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found = 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return _within_the_group(found)


def _within_the_group(found: int | None) -> int | None:
    """The same, or less where a container has a limit of its own."""
    try:
        limit, used, facts = (
            (_GROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current", "stat")
        )
        # files that were read count as used, and are let go where memory is wanted
        cached = sum(int(size) for name, size in map(str.split, facts.splitlines()) if name in _CACHES)
        rest = int(limit) - int(used) + cached
    except (OSError, ValueError):
        return found
    return rest if found is None else min(found, rest)


def check_memory(model: LanguageModel, optimizer: str, device: torch.device) -> None:
    """Raise InputError where training a model that is still on the processor needs more memory than there is.

    What a run takes besides, logits and sparse gradients, is not foreseen: it is a process of its own, so that the
    system may end it and the other runs go on.
    """
    needed = memory_needed(model, optimizer)
    if device.type == "cuda":
        there: int | None = torch.cuda.mem_get_info(device)[0]
    elif (there := available_memory()) is not None:
        there += 4 * sum(each.numel() for each in model.parameters())  # which the model has taken already
    if there is not None and needed > there:
        raise InputError(
            f"{type(model.output).__name__} over {model.output.num_classes:,} words needs {needed / 1e9:.1f} GB or "
            f"more, and {there / 1e9:.1f} GB are free: keep fewer words (--max-vocabulary, --min-count), or "
            "lower --dim."
        )
