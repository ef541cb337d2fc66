"""Which backend computes an op: the last registered that takes such tensors, or the one that is asked for by name.

"torch" takes any device, others are faster on some. The "reference" runs where it is asked for, and under the
transforms of torch.func, which need plain PyTorch.
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
# For the whole process, not a thread: a backward pass may compute an op again in a thread of autograd's.
_asked: dict[str, str] = {}
_notes: list[dict[str, Counter[str]]] = []


def register(
    op: str, backend: str, function: Callable[..., Any], takes: Callable[[Tensor], bool] = lambda tensor: True
) -> None:
    """Add a backend, for tensors of the devices and dtypes that it takes, to an op, before all registered earlier."""
    _ops.setdefault(op, {})[backend] = _Backend(function, takes)


def register_for_tables(kind: type[Tensor], op: str, function: Callable[..., Any]) -> None:
    """Let this function compute an op wherever its table is a tensor of this kind, such as one spread over machines."""
    _of_tables.setdefault(kind, {})[op] = function


def for_table(op: str, table: Tensor | None) -> Callable[..., Any] | None:
    """Return the function that was registered for an op on tables of this kind; None for tables of the usual kind."""
    if (own := _of_tables.get(type(table))) is None:
        return None
    if op not in own:
        raise InputError(f"{op} does not support a table that is a {type(table).__name__}: give a tensor.")
    return own[op]


def backend_of(op: str, tensor: Tensor) -> str:
    """Return the name of the backend that computes an op of tensors like this one: of its device and dtype.

    Raises:
        InputError: where there is no such op, or :func:`using` asks for a backend that does not take the tensor.

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
    """Return the function of the backend that computes an op of tensors like this one; ``outside`` all transforms.

    Of a table of a kind of its own, the function that is registered for that.
    """
    if (own := for_table(op, table)) is not None:
        return own
    backend = _backend_of(op, tensor) if outside else backend_of(op, tensor)
    for note in _notes:
        note.setdefault(op, Counter())[backend] += 1
    return _ops[op][backend].function


def in_pytorch(op: str) -> Callable[..., Any]:
    """Return PyTorch's function of an op, for tables of a kind of their own: what it calls of other ops knows them."""
    return _ops[op]["torch"].function


def instead(op: str, backend: str = "compiled") -> Callable[..., Any]:
    """Return PyTorch's function, for a backend that was asked for an op and finds that it is not for these tensors."""
    for note in _notes:
        note.setdefault(op, Counter()).update({backend: -1, "torch": 1})
    return _ops[op]["torch"].function


@contextmanager
def noting_backends() -> Iterator[dict[str, Counter[str]]]:
    """Count by op how often which backend computes it, for records of what ran.

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
    """Return whether this runs under a transform of torch.func: grad, vmap, jvp and what is made of them."""
    return torch._C._are_functorch_transforms_active()


def is_batched(tensor: Tensor) -> bool:
    """Return whether vmap hides a dimension of a tensor, so that no value of it can be looked at."""
    return _unwrapped(tensor) is None


def plain(tensor: Tensor) -> Tensor:
    """Return the values that the transforms of torch.func wrap, to look at :func:`outside_transforms`.

    Raises:
        InputError: under vmap over this tensor, where there are no single ones.
    """
    if (found := _unwrapped(tensor)) is None:
        raise InputError("this layer reads values, which vmap hides: loop over them instead.")
    return found


def outside_transforms() -> AbstractContextManager[Any]:
    """Return a context for what is not to be transformed: state of a module, calls of other libraries."""
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
    """Compute ops by these backends and no others, for the whole process: for tests and benchmarks.

    Raises:
        InputError: where there is no such op, or it has no such backend.

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
