"""Whether a run fits the machine, told before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import torch

from vastmax.comparison.config import RunConfig
from vastmax.errors import InputError
from vastmax.optimizers import OPTIMIZERS

__all__ = ["available_memory", "check_memory", "memory_needed", "numbers_kept"]

# Layers whose steps touch every class: their tables get dense gradients, and each row of a batch V logits.
_TOUCH_ALL = {"full", "differentiated", "cnn", "self-normalized", "infrequent-normalized"}
_NARROW = {"adaptive": 8, "differentiated": 2, "cnn": 2}  # how often their tables go into one of V·d numbers
_BESIDES = 100_000_000  # what torch and a run's small things take, as measured
_COPIES = 11  # of the output's table while a trained model is diagnosed: gradients, their sums, float64

_GROUP = Path("/sys/fs/cgroup")
_CACHES = ("inactive_file", "active_file")


def numbers_kept(optimizer: str) -> int:
    """Return how many numbers each parameter takes: itself, and those that its optimiser keeps for it."""
    return 1 + sum(name != "step" for name in OPTIMIZERS[optimizer])


def memory_needed(config: RunConfig, num_classes: int, output_parameters: int | None = None) -> int:
    """Return roughly how many bytes a run takes: tables with the optimiser's state, and the larger of two more.

    Those are gradients and logits while it trains, and the copies that diagnosing the trained layer makes. Beside
    measured peaks this came out between 0.9 and 1.3 times as large, for 50,000 to 200,000 words. How many parameters
    the output layer has is guessed where it is not said: a tree's depends on the tree.
    """
    layer, model, training = config.method.layer, config.model, config.loop_options
    kept = numbers_kept(training.optimizer)
    table = 4 * num_classes
    inputs = 0 if model.tie else table * (model.embedding_dim or model.dim)
    outputs = table * model.dim // _NARROW.get(layer, 1) if output_parameters is None else 4 * output_parameters
    dense = layer in _TOUCH_ALL
    training_peak = outputs + 3 * table * model.rows * model.length if dense else 0
    return _BESIDES + kept * (inputs + outputs) + max(training_peak, _COPIES * outputs)


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


def check_memory(config: RunConfig, num_classes: int, output_parameters: int | None = None) -> None:
    """Raise InputError where a run needs more memory than there is."""
    needed = memory_needed(config, num_classes, output_parameters)
    if torch.device(config.device).type == "cuda":
        kept = torch.cuda.memory_reserved(config.device) - torch.cuda.memory_allocated(config.device)
        there = torch.cuda.mem_get_info(config.device)[0] + kept  # torch keeps what it freed, for us
    elif (there := available_memory()) is not None:
        there += 4 * (output_parameters or 0)  # which the layer has taken already
    if there is not None and needed > there:
        raise InputError(
            f"{config.method.label} over {num_classes:,} words needs about {needed / 1e9:.1f} GB and {there / 1e9:.1f} "
            "GB are free: keep fewer words (--max-vocabulary, --min-count), or lower --dim, --rows or --length."
        )
