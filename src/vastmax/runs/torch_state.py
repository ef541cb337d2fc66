"""A torch run's state on disk: tensors as safetensors, all else as JSON, replaced together or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vastmax.errors import CheckpointError
from vastmax.files import member, replacing_members
from vastmax.runs.output import TORCH_STATE

__all__ = ["holds_state", "load_model_tensors", "load_state", "model_tensors", "save_state", "tensors_under"]

_TENSORS, _FACTS = "state.safetensors", TORCH_STATE
_FORMAT = 1


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the module's state, each tensor once: tables that are shared come under the first of their names."""
    met: set[tuple[int, torch.Size]] = set()
    found = {}
    for name, tensor in module.state_dict().items():
        place = tensor.data_ptr(), tensor.shape
        if not tensor.numel() or place not in met:
            found[name] = tensor.contiguous()
        met.add(place)
    return found


def load_model_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set the module's state to what :func:`model_tensors` returned of one like it.

    Raises:
        CheckpointError: where the tensors are those of another model.
    """
    try:
        missing, unexpected = module.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"the saved tensors are those of another model: {str(error).splitlines()[-1]}") from error
    lacking = set(missing) & set(model_tensors(module))
    if lacking or unexpected:
        wrong = sorted(lacking)[:1] or unexpected[:1]
        raise CheckpointError(f"the saved tensors are those of another model: {wrong[0]} fits nothing.")


def tensors_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix.``, by the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)}


def save_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Let a new state take the place of the last at one moment: a kill leaves the one or the other.

    Raises:
        InputError: where the folder cannot be written or the disk is full; the last state stands as it was.
    """
    with replacing_members(folder) as staging:
        # copies: safetensors refuses tensors that share memory, as carried states may
        save_file({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, staging / _TENSORS)
        (staging / _FACTS).write_text(json.dumps({"format": _FORMAT, **facts}), encoding="utf-8")


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_state` wrote.

    Raises:
        CheckpointError: where there is none, another version wrote it, or it is damaged.
    """
    try:
        facts = json.loads(member(folder, _FACTS).read_text(encoding="utf-8"))
        tensors = load_file(member(folder, _TENSORS))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"the checkpoint in {folder} cannot be read ({error}): start again.") from error
    if not isinstance(facts, dict) or facts.pop("format", None) != _FORMAT:
        raise CheckpointError(f"the checkpoint in {folder} is of another version: start again.")
    return tensors, facts


def holds_state(folder: Path) -> bool:
    """Whether a folder holds what :func:`save_state` wrote, whole or damaged."""
    return member(folder, _FACTS).is_file()
