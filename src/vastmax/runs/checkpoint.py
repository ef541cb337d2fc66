"""The state of a run on disk: tensors as safetensors, the rest as JSON, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.documents import read_json
from vastmax.errors import CheckpointError, FormatError
from vastmax.files import is_file, member, reading, replacing_members
from vastmax.runs.tensors import map_tensors, write_tensors

__all__ = ["CHECKPOINT_TENSORS", "Checkpoint", "differences", "holds_checkpoint", "plain"]

CHECKPOINT_TENSORS = "state.safetensors"
_STATE, _STATE_OF_FORMAT_1 = "state.json", "config.json"
_FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """The identity and the state of a run.

    The tensors are the run's parameters and the states of its optimisers and random generators.
    """

    kind: str  # what is trained, for messages: "embeddings", "a language model"
    identity: Mapping[str, Any]  # JSON; a run resumes only with the same identity
    facts: Mapping[str, Any]  # JSON: the position of the run
    tensors: Mapping[str, NDArray[Any]]

    def save(self, folder: Path, beside: Callable[[Path], None] | None = None) -> None:
        """Replace the checkpoint of a folder atomically: a kill leaves the old one or the new one.

        The files that ``beside`` writes into the folder it receives are put in place in the same step. InputError if
        the folder cannot be written or the disk is full; the old checkpoint then stays as it was.
        """
        about = {"format": _FORMAT, "kind": self.kind, "identity": self.identity, "facts": self.facts}
        with replacing_members(folder) as staging:
            write_tensors(staging / CHECKPOINT_TENSORS, self.tensors)
            (staging / _STATE).write_text(json.dumps(about), encoding="utf-8")
            if beside is not None:
                beside(staging)

    @classmethod
    def load(cls, folder: Path, kind: str) -> Checkpoint:
        """Read the checkpoint of a folder, with its tensors memory-mapped.

        CheckpointError if there is none, or it is damaged, of another kind or of another format version; InputError
        if it cannot be read.
        """
        with reading(folder):
            try:
                about = read_json(_state_of(folder))
                if about["format"] != _FORMAT:
                    raise CheckpointError(
                        f"the checkpoint in {folder} was written by another version of vastmax: finish it with that "
                        "one, or delete it to start again."
                    )
                if about["kind"] != kind:
                    raise CheckpointError(
                        f"the checkpoint in {folder} belongs to {about['kind']}, not to {kind}: resume that, or name "
                        "another folder."
                    )
                if not all(isinstance(about[each], dict) for each in ("identity", "facts")):
                    raise FormatError(f"{_state_of(folder)} lacks identity or facts")
                tensors = map_tensors(member(folder, CHECKPOINT_TENSORS))
                return cls(kind, about["identity"], about["facts"], tensors)
            except (FileNotFoundError, ValueError, KeyError, TypeError, FormatError) as error:
                raise CheckpointError(
                    f"the checkpoint in {folder} cannot be read ({str(error).rstrip('.')}): delete it to start again."
                ) from error

    def check(self, identity: Mapping[str, Any], folder: Path) -> None:
        """Raise CheckpointError, naming the difference, unless a run of this identity wrote the checkpoint."""
        if differs := differences(self.identity, identity):
            raise CheckpointError(
                f"the checkpoint in {folder} was made with {differs}: go back to it, or delete it to start again."
            )


def holds_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of any kind and version, even a damaged one."""
    return is_file(_state_of(folder))


def _state_of(folder: Path) -> Path:
    old = member(folder, _STATE_OF_FORMAT_1)
    present = member(folder, _STATE)
    return old if is_file(old) and not is_file(present) else present


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options after a JSON round trip, so that they compare equal to those in a checkpoint."""
    return json.loads(json.dumps(options, default=_plain))


def differences(was: Any, came: Any, free: Container[str] = (), name: str = "") -> str | None:
    """Describe the first difference between two JSON values, ignoring the keys in ``free``; None if there is none.

    Example:
        >>> differences({"dim": 100, "layer": {"bias": True}}, {"dim": 100, "layer": {"bias": False}})
        'bias=True, now came bias=False'
    """
    if isinstance(was, dict) and isinstance(came, dict):
        found = (differences(was.get(key), came.get(key), free, key) for key in {**came, **was} if key not in free)
        return next((each for each in found if each), None)
    return None if was == came else f"{name}={was!r}, now came {name}={came!r}"


def _plain(value: Any) -> Any:
    """Convert to JSON: NumPy scalars to numbers, sets to lists, callables to their names, others to their type."""
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return sorted(value) if isinstance(value, (set, frozenset)) else f"a given {type(value).__name__}"
