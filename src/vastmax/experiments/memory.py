"""Whether a run fits the machine, told before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from vastmax.errors import InputError
from vastmax.experiments.config import RunConfig

__all__ = ["STATES", "available_memory", "check_memory", "memory_needed"]

STATES = {"sgd": 0, "adagrad": 1, "adam": 2}
"""Numbers that an optimiser keeps for each parameter."""

# Layers whose steps touch every class: their tables get dense gradients, and each row of a batch V logits.
_TOUCH_ALL = {"full", "differentiated", "cnn", "self-normalized", "infrequent-normalized"}
_NARROW = {"adaptive", "differentiated", "cnn"}  # tables that hold less than V·d numbers
_BLOCK = 2**24  # logits that the blocked layers hold at a time


def memory_needed(config: RunConfig, num_classes: int) -> int:
    """Return roughly how many bytes a run takes: tables with gradients and the optimiser's state, and logits."""
    layer, model, training = config.method.layer, config.model, config.loop_options
    states = STATES[training.optimizer]
    table = 4 * num_classes
    width = model.embedding_dim or model.dim
    inputs = 0 if model.tie else table * width * (1 + states)
    dense = layer in _TOUCH_ALL
    outputs = table * model.dim * (1 + states + dense)
    if layer in _NARROW:
        outputs //= 2
    rows = model.rows * model.length
    logits = 3 * table * rows if dense else 0
    return inputs + outputs + logits


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
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        rest = int(limit) - int(used)
    except (OSError, ValueError):
        return found
    return rest if found is None else min(found, rest)


def check_memory(config: RunConfig, num_classes: int) -> None:
    """Raise InputError where a run needs more memory than there is."""
    needed, there = memory_needed(config, num_classes), available_memory()
    if config.device == "cpu" and there is not None and needed > there:
        raise InputError(
            f"{config.method.label} over {num_classes:,} words needs about {needed / 1e9:.1f} GB and {there / 1e9:.1f} "
            "GB are free: keep fewer words (--max-vocabulary, --min-count), or lower --dim, --rows or --length."
        )
