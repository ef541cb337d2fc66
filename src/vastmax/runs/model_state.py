"""The state of torch modules: each tensor once, and as the NumPy arrays that checkpoints hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import CheckpointError, FormatError
from vastmax.runs.tensors import BFLOAT16

if TYPE_CHECKING:  # a caller with a module has loaded torch; others do not need it
    import torch
    from torch import Tensor, nn

__all__ = ["arrays_of", "built_of_at_most", "load_model_tensors", "model_tensors", "tensors_of", "tensors_under"]

_T = TypeVar("_T")


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module with each tensor once: shared tables are listed under their first name."""
    met: set[tuple[int, torch.Size]] = set()
    found = {}
    for name, tensor in module.state_dict().items():
        if hasattr(tensor, "to_local"):  # a DTensor, sharded over processes: not tied to another
            found[name] = tensor
            continue
        place = tensor.data_ptr(), tensor.shape
        if not tensor.numel() or place not in met:
            found[name] = tensor.contiguous()
        met.add(place)
    return found


def load_model_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the state that :func:`model_tensors` returned into a module of the same structure.

    CheckpointError if the tensors do not fit the module.
    """
    try:
        missing, unexpected = module.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip().rstrip(".")
        raise CheckpointError(
            f"the saved tensors belong to another model ({why}): build the model that was saved."
        ) from error
    lacking = set(missing) & set(model_tensors(module))
    if lacking or unexpected:
        wrong = sorted(lacking)[:1] or unexpected[:1]
        raise CheckpointError(
            f"the saved tensors belong to another model ({wrong[0]} does not match): build the model that was saved."
        )


@contextmanager
def built_of_at_most(most: int) -> Iterator[None]:
    """Raise FormatError if modules built inside hold more numbers than ``most``, those in the file to load.

    Tensors are counted as they are registered, before anything is written to them.
    """
    from torch.nn.modules import module

    thread, met, count = threading.get_ident(), set(), 0

    def add(_: nn.Module, __: str, tensor: Tensor | None) -> None:
        nonlocal count
        if tensor is None or threading.get_ident() != thread or id(tensor) in met:
            return
        met.add(id(tensor))
        count += tensor.numel()
        if count > most or len(met) > most:
            raise FormatError(f"its sizes ask for more than {most:,} numbers, and its tensors have fewer")

    hooks = [
        module.register_module_parameter_registration_hook(add),
        module.register_module_buffer_registration_hook(add),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return tensors as arrays, bit for bit; those of CPU tensors share their memory."""
    import torch

    here = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    return {
        name: each.view(torch.int16).numpy().view(BFLOAT16) if each.dtype == torch.bfloat16 else each.numpy()
        for name, each in here.items()
    }


def tensors_of(arrays: Mapping[str, NDArray[Any]], *, copy: bool = True) -> dict[str, Tensor]:
    """Return arrays from :func:`arrays_of` as CPU tensors, copied or sharing the memory."""
    import torch

    found = {}
    for name, array in arrays.items():
        wide = array.dtype == BFLOAT16
        plain = array.view(np.int16) if wide else array
        tensor = torch.from_numpy(np.array(plain) if copy else plain)
        found[name] = tensor.view(torch.bfloat16) if wide else tensor
    return found


def tensors_under(prefix: str, tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Return the tensors whose names begin with ``prefix.``, by name without that prefix."""
    start = f"{prefix}."
    return {name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)}
