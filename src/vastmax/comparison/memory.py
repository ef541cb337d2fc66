"""Whether a run fits the machine, told before it trains."""

from __future__ import annotations

import torch

from vastmax.errors import InputError
from vastmax.language import LanguageModel
from vastmax.machine import available_memory
from vastmax.optimizers import OPTIMIZERS

__all__ = ["check_memory", "memory_needed", "numbers_kept"]


def numbers_kept(optimizer: str) -> int:
    """Return how many numbers each parameter takes: itself, and those that its optimiser keeps for it."""
    return 1 + sum(name != "step" for name in OPTIMIZERS[optimizer])


def memory_needed(model: LanguageModel, optimizer: str) -> int:
    """Return the least bytes that training a model takes: its parameters, what the optimiser keeps, dense gradients."""
    kept = numbers_kept(optimizer) * sum(each.numel() for each in model.parameters())
    return 4 * (kept + (model.output.num_parameters if model.output.touches_all_classes else 0))


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
