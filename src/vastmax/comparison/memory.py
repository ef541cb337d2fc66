"""Check before training whether a run fits into memory."""

from __future__ import annotations

import torch

from vastmax.errors import InputError
from vastmax.language import LanguageModel
from vastmax.machine import available_memory
from vastmax.optimizers import OPTIMIZERS

__all__ = ["check_memory", "memory_needed", "numbers_kept"]


def numbers_kept(optimizer: str) -> int:
    """Return how many numbers are stored per parameter: the parameter itself and its optimiser state."""
    return 1 + sum(name != "step" for name in OPTIMIZERS[optimizer])


def memory_needed(model: LanguageModel, optimizer: str) -> int:
    """Return the minimum memory to train a model, in bytes: parameters, optimiser state and dense gradients."""
    kept = numbers_kept(optimizer) * sum(each.numel() for each in model.parameters())
    return 4 * (kept + (model.output.num_parameters if model.output.touches_all_classes else 0))


def check_memory(needed: int, num_classes: int, device: torch.device, taken: int = 0) -> None:
    """Raise InputError if training a model over V classes needs more bytes than the device has free.

    Logits and sparse gradients are not counted. Each run is its own process, so if the system kills it for them, the
    other runs go on. ``taken`` is the bytes that the model already occupies in CPU memory.
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
