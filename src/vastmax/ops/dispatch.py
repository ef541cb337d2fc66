"""Backends of ops: the last registered that supports the tensors computes an op, or one selected by name.

"torch" supports any device; others are faster on some. "reference" runs only if selected, and under the transforms of
torch.func, which need plain PyTorch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vastmax.checks import one_of
from vastmax.errors import InputError

__all__ = [
    "REFERENCE",
    "backend_of",
    "for_table",
    "implementation",
    "in_pytorch",
    "instead",
    "is_batched",
    "noting_backends",
    "outside_transforms",
    "plain",
    "register",
    "register_for_tables",
    "under_transform",
    "using",
]

REFERENCE = "reference"


class _Backend(NamedTuple):
    function: Callable[..., Any]
    takes: Callable[[Tensor], bool]


_ops: dict[str, dict[str, _Backend]] = {}
_of_tables: dict[type, dict[str, Callable[..., Any]]] = {}
# For the whole process, not per thread: a backward pass may recompute an op in a thread of autograd.
_asked: dict[str, str] = {}
_notes: list[dict[str, Counter[str]]] = []


def register(
    op: str, backend: str, function: Callable[..., Any], takes: Callable[[Tensor], bool] = lambda tensor: True
) -> None:
    """Register a backend of an op for the tensors that ``takes`` accepts; it overrides those registered earlier."""
    _ops.setdefault(op, {})[backend] = _Backend(function, takes)


def register_for_tables(kind: type[Tensor], op: str, function: Callable[..., Any]) -> None:
    """Register the function that computes an op if its table is of this tensor type, such as a DTensor."""
    _of_tables.setdefault(kind, {})[op] = function


def for_table(op: str, table: Tensor | None) -> Callable[..., Any] | None:
    """Return the function registered for an op on tables of this type; None for tables of an ordinary type.

    InputError if the type has functions for other ops only.
    """
    if (own := _of_tables.get(type(table))) is None:
        return None
    if op not in own:
        raise InputError(f"{op} does not support a table that is a {type(table).__name__}: give a tensor.")
    return own[op]


def backend_of(op: str, tensor: Tensor) -> str:
    """Return the name of the backend that computes an op on tensors of this device and dtype.

    Raises:
        InputError: if there is no such op, or :func:`using` selects a backend that does not support the tensor.

    Example:
        >>> import torch
        >>> backend_of("sampled_loss", torch.zeros(1))
        'compiled'
    """
    return REFERENCE if under_transform() and _known(op) else _backend_of(op, tensor)


def _backend_of(op: str, tensor: Tensor) -> str:
    backends = _known(op)
    if (asked := _asked.get(op)) is None:
        return next(name for name in reversed(backends) if name != REFERENCE and backends[name].takes(tensor))
    if not backends[asked].takes(tensor):
        taking = ", ".join(name for name in backends if backends[name].takes(tensor))
        raise InputError(f"{op} is {asked!r}: for {tensor.dtype} on {tensor.device.type} give one of {taking}.")
    return asked


def implementation(
    op: str, tensor: Tensor, table: Tensor | None = None, *, outside: bool = False
) -> Callable[..., Any]:
    """Return the function of the backend that computes an op on tensors like this one.

    A function registered for the type of the table overrides it. ``outside`` ignores transforms of torch.func.
    """
    if (own := for_table(op, table)) is not None:
        return own
    backend = _backend_of(op, tensor) if outside else backend_of(op, tensor)
    for note in _notes:
        note.setdefault(op, Counter())[backend] += 1
    return _ops[op][backend].function


def in_pytorch(op: str) -> Callable[..., Any]:
    """Return the "torch" function of an op, for tables of a registered type: the ops it calls support them too."""
    return _ops[op]["torch"].function


def instead(op: str, backend: str = "compiled") -> Callable[..., Any]:
    """Return the "torch" function, for a backend that was chosen for an op but does not support these tensors."""
    for note in _notes:
        note.setdefault(op, Counter()).update({backend: -1, "torch": 1})
    return _ops[op]["torch"].function


@contextmanager
def noting_backends() -> Iterator[dict[str, Counter[str]]]:
    """Count by op how often each backend computes it, for records of what ran.

    Example:
        >>> import torch
        >>> from vastmax import ops
        >>> with ops.noting_backends() as ran:
        ...     _ = ops.topk(torch.arange(3.0)[None], 1)
        >>> ran
        {'topk': Counter({'torch': 1})}
    """
    note: dict[str, Counter[str]] = {}
    _notes.append(note)
    try:
        yield note
    finally:
        _notes[:] = [each for each in _notes if each is not note]


def under_transform() -> bool:
    """Return whether a transform of torch.func is active: grad, vmap, jvp or one built on them."""
    return torch._C._are_functorch_transforms_active()


def is_batched(tensor: Tensor) -> bool:
    """Return whether vmap hides a dimension of a tensor, so that its values cannot be read."""
    return _unwrapped(tensor) is None


def plain(tensor: Tensor) -> Tensor:
    """Return the tensor that transforms of torch.func wrap, to read its values :func:`outside_transforms`.

    Raises:
        InputError: if vmap batches this tensor, which then has no single values.
    """
    if (found := _unwrapped(tensor)) is None:
        raise InputError("this layer reads values, which vmap hides: loop over them instead.")
    return found


def outside_transforms() -> AbstractContextManager[Any]:
    """Return a context without transforms of torch.func: for module state and calls of other libraries."""
    return torch._C._DisableFuncTorch()


def _unwrapped(tensor: Tensor) -> Tensor | None:
    functorch: Any = torch._C._functorch  # type: ignore[attr-defined]
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return None
        tensor = functorch.get_unwrapped(tensor)
    return tensor


@contextmanager
def using(**backends: str) -> Iterator[None]:
    """Compute ops with these backends and no others, in the whole process: for tests and benchmarks.

    Raises:
        InputError: if there is no such op, or it has no such backend.

    Example:
        >>> import torch
        >>> from vastmax import ops
        >>> with ops.using(topk="reference"):
        ...     print(ops.backend_of("topk", torch.zeros(1)))
        reference
    """
    for op, backend in backends.items():
        one_of(op, backend, _known(op))
    before = {op: _asked[op] for op in backends if op in _asked}
    _asked.update(backends)
    try:
        yield
    finally:
        for op in backends:
            _asked.pop(op, None)
        _asked.update(before)


def _known(op: str) -> dict[str, _Backend]:
    if op not in _ops:
        raise InputError(f"op is {op!r}: give one of {', '.join(_ops)}.")
    return _ops[op]
