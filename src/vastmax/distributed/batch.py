"""The rows of all processes as one batch, for which each process computes the part of its own classes.

An op returns 0 for rows of other processes, and gives 0 as the gradient of their hidden vectors; the results and
gradients of a process's own rows are complete. If a batch is ``everywhere``, all processes get the results of all rows,
without gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, distributed

from vastmax.errors import InputError

__all__ = [
    "Batch",
    "all_from_all",
    "apart",
    "comes_from_below",
    "current",
    "from_all",
    "from_each",
    "gathered_rows",
    "working_on",
]

_gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor  # before torch 2.13
_UNEQUAL = (
    "the processes give different arguments: give all of them context, group and the same number of targets, and "
    "require gradients on all or none."
)


@dataclass(frozen=True)
class Batch:
    """N rows, of which each process has a contiguous range.

    Attributes:
        group: the process group that shares the classes.
        bounds: the first row of each process and, last, N.
        everywhere: whether all processes get the results of all rows.
        classes: (N, …) int64, the rows' targets, if any.
        locals: a cache for the duration of the batch: local rows by the ids of their tables, and other values.
        layouts: by a table's id, whether its gradient is sparse, whatever its uses give.
    """

    group: Any
    bounds: tuple[int, ...]
    everywhere: bool = False
    classes: Tensor | None = None
    locals: dict[Any, Any] = field(default_factory=dict)
    layouts: dict[int, bool] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """The rank of this process in the group."""
        return distributed.get_rank(self.group)

    @property
    def size(self) -> int:
        """The number of processes."""
        return len(self.bounds) - 1

    @property
    def num_rows(self) -> int:
        """N."""
        return self.bounds[-1]

    @property
    def counts(self) -> list[int]:
        """The number of rows of each process."""
        return [stop - start for start, stop in pairwise(self.bounds)]

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return self.rows_of(self.rank)

    def rows_of(self, rank: int) -> slice:
        """Return the rows of a process."""
        return slice(self.bounds[rank], self.bounds[rank + 1])

    def wanted_by(self, rank: int) -> slice:
        """Return the rows whose results a process gets."""
        return slice(0, self.num_rows) if self.everywhere else self.rows_of(rank)

    def some(self, places: Tensor) -> Batch:
        """Return the batch of the rows at positions (M,), ascending."""
        bounds = torch.searchsorted(places, torch.tensor(self.bounds, device=places.device))
        return replace(self, bounds=tuple(bounds.tolist()))

    def spread(self, own: Tensor) -> Tensor:
        """Return (N, …) with ``own`` at the rows whose results this process gets, and 0 elsewhere."""
        span = self.wanted_by(self.rank)
        if span.start == 0 and span.stop == self.num_rows:
            return own
        others = span.start, self.num_rows - span.stop
        before, after = (own.new_zeros((rows, *own.shape[1:])) for rows in others)
        return torch.cat([before, own, after])

    def exchange(self, parts: Sequence[Sequence[Tensor]], sizes: Sequence[int]) -> list[Tensor]:
        """Send each process its flat tensors, all of one dtype; return what each sent, given the sizes."""
        sent = torch.cat([each for of_process in parts for each in of_process])
        received = sent.new_empty(sum(sizes))
        splits = [sum(len(each) for each in of_process) for of_process in parts]
        distributed.all_to_all_single(received, sent, list(sizes), splits, group=self.group)
        return list(received.split(list(sizes)))


_current: ContextVar[Batch | None] = ContextVar("batch", default=None)


def current() -> Batch:
    """Return the current batch; InputError if a sharded table is used outside of its layer."""
    batch = _current.get()
    if batch is None:
        raise InputError(
            "a table is sharded over processes, and cannot be used directly: call the methods of its layer."
        )
    return batch


@contextmanager
def working_on(batch: Batch) -> Iterator[None]:
    """Make this batch the current one for ops."""
    token = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(token)


def from_all(mine: Tensor, group: Any) -> Tensor:
    """Return the tensors of all processes of a group, all of one shape (…), stacked as (W, …)."""
    size = distributed.get_world_size(group)
    found = mine.new_empty(size * mine.numel())
    _gather(found, mine.contiguous().view(-1), group=group)
    return found.view(size, *mine.shape)


def from_each(own: Tensor, counts: Sequence[int], group: Any = None) -> list[Tensor]:
    """Return the rows of each process of a group, which may differ in number.

    Args:
        own: (n, …), this process's rows; the same dtype and row shape on all processes.
        counts: n for each of the W processes.
        group: the process group; None for the default group.

    Returns:
        W tensors (counts[rank], …), in the order of ranks.
    """
    padded = own.new_zeros((max(counts), *own.shape[1:]))
    padded[: len(own)] = own
    found = from_all(padded, group) if padded.numel() else padded.expand(len(counts), *padded.shape)
    return [of_process[:count] for of_process, count in zip(found, counts, strict=True)]


def all_from_all(mine: Sequence[Tensor], group: Any) -> list[Tensor]:
    """Return each of several tensors (…) from all processes, stacked as (W, …), in one collective."""
    found = from_all(torch.cat([each.contiguous().view(-1).view(torch.uint8) for each in mine]), group)
    parts = found.split([each.numel() * each.element_size() for each in mine], 1)
    shapes = [(len(found), *each.shape) for each in mine]
    return [
        apart(of_all).view(each.dtype).view(shape) if each.numel() else each.new_empty(shape)
        for of_all, each, shape in zip(parts, mine, shapes, strict=True)
    ]


def gathered_rows(
    group: Any,
    hidden: Tensor,
    ids: Sequence[Tensor | None],
    capacity: int,
    refusal: Exception | None,
    generator: torch.Generator | None = None,
    draws: bool = True,
) -> tuple[Batch, Tensor, list[Tensor | None], int, int]:
    """Return the batch of all processes' rows, their hidden vectors and ids, the new capacity and a common seed.

    One collective if no process has more bytes of rows than last time, else two.

    Args:
        group: the process group.
        hidden: (N_own, d), this process's rows.
        ids: (N_own, …) int64, several per row, each a tensor or None; the same ones on all processes.
        capacity: the most bytes that a process's rows had last time.
        refusal: the error if this process rejects its rows; it raises this error, all others InputError.
        generator: the source of the seed; None for PyTorch's default on the CPU.
        draws: whether a seed is needed; if not, no generator advances.
    """
    rows = len(hidden)
    given = [each.flatten(1) if each.dim() > 1 else each[:, None] for each in ids if each is not None]
    columns = [each.shape[1] for each in given]
    brings = 2 * sum(2**place for place, each in enumerate(ids) if each is not None) + torch.is_grad_enabled()
    packed = torch.cat([_bytes(hidden.detach()), *(_bytes(each) for each in given)], 1)
    width, device = packed.shape[1], "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**31, (), generator=generator, device=device)) if draws else 0
    learns = int(hidden.requires_grad)
    header = torch.tensor([-1 if refusal else rows, sum(columns), brings, width, seed, learns]).view(torch.uint8)
    start = len(header)
    while True:
        sent = packed.new_zeros(start + capacity)
        sent[:start] = header.to(sent.device)
        fits = min(packed.numel(), capacity)
        sent[start : start + fits] = packed.flatten()[:fits]
        found = from_all(sent, group)
        headers = apart(found[:, :start]).cpu().view(torch.int64)
        counts = headers[:, 0].tolist()
        if min(counts) < 0:
            raise refusal or InputError(f"process {counts.index(-1)} refused its rows: see its own error.")
        if len({tuple(each) for each in headers[:, 1:4].tolist()}) > 1:
            raise InputError(_UNEQUAL)
        if max(counts) * width <= capacity:
            break
        capacity = max(counts) * width
    if torch.is_grad_enabled() and not learns and headers[:, 5].any():  # all take part in each other's backward pass
        hidden = hidden.detach().requires_grad_()
    batch = Batch(group, tuple(accumulate(counts, initial=0)))
    everything = torch.cat(
        [each[start : start + n * width].view(n, width) for each, n in zip(found, counts, strict=True)]
    )
    of_hidden, *of_ids = everything.split([_width(hidden), *(8 * each for each in columns)], 1)
    others = apart(of_hidden).view(hidden.dtype)
    found_ids = (apart(each).view(torch.int64) for each in of_ids)
    all_ids = [None if each is None else next(found_ids).view(batch.num_rows, *each.shape[1:]) for each in ids]
    return batch, _AllRows.apply(hidden, others, batch), all_ids, capacity, int(headers[0, 4])  # type: ignore[return-value]


def comes_from_below(node: Any) -> bool:
    """Return whether a node of autograd's graph is the source of a layer's hidden vectors."""
    return getattr(node, "comes_from_below", False)


def apart(columns: Tensor) -> Tensor:
    """Return a contiguous copy of columns: ``contiguous`` would return a view of a single row, whatever its stride."""
    return columns.clone(memory_format=torch.contiguous_format)


def _width(tensor: Tensor) -> int:
    return tensor.shape[1] * tensor.element_size()


def _bytes(rows: Tensor) -> Tensor:
    """Return the bytes (N, bytes) uint8 of rows (N, …)."""
    flat = rows.contiguous()
    if not flat.numel():
        return flat.new_empty((len(flat), _width(flat)), dtype=torch.uint8)
    return flat.view(torch.uint8).view(len(flat), -1)


class _AllRows(torch.autograd.Function):
    """The hidden vectors of all processes; the gradient of this process's rows is complete as it is."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, everything: Tensor, batch: Batch) -> Tensor:
        ctx.own, ctx.comes_from_below = batch.own, True
        return everything.view_as(everything)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return grad[ctx.own], None, None
