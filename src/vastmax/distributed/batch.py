"""The rows of all processes as one batch, which every process computes its classes' part of.

What an op returns for rows of other processes is 0, and so is the gradient that it gives to their hidden vectors: what
is of a process's own rows is complete. Where a batch is ``everywhere``, all processes have what is of all rows; then
nothing has a gradient.
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

_gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor  # of torch < 2.13
_UNEQUAL = (
    "the processes give different arguments: give all of them context, group and the same number of targets, and "
    "require gradients on all or none."
)


@dataclass(frozen=True)
class Batch:
    """N rows, of which each process has a stretch.

    Attributes:
        group: the processes that share the classes.
        bounds: of each process its first row, and N at last.
        everywhere: whether all of them are to have what is of all rows.
        classes: the rows' targets, where there are any.
        locals: what stands for tables in the ops of this batch, by the tables' ids, and what else is known of them.
        layouts: whether a table's gradient is to be sparse, whatever its uses give, by the table's id.
    """

    group: Any
    bounds: tuple[int, ...]
    everywhere: bool = False
    classes: Tensor | None = None
    locals: dict[Any, Any] = field(default_factory=dict)
    layouts: dict[int, bool] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Which of the processes this one is."""
        return distributed.get_rank(self.group)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return len(self.bounds) - 1

    @property
    def num_rows(self) -> int:
        """N."""
        return self.bounds[-1]

    @property
    def counts(self) -> list[int]:
        """The rows of each process."""
        return [stop - start for start, stop in pairwise(self.bounds)]

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return self.rows_of(self.rank)

    def rows_of(self, rank: int) -> slice:
        """Return the rows of a process."""
        return slice(self.bounds[rank], self.bounds[rank + 1])

    def wanted_by(self, rank: int) -> slice:
        """Return the rows that a process is to have the results of."""
        return slice(0, self.num_rows) if self.everywhere else self.rows_of(rank)

    def some(self, places: Tensor) -> Batch:
        """Return the batch of the rows at places (M,), rising."""
        bounds = torch.searchsorted(places, torch.tensor(self.bounds, device=places.device))
        return replace(self, bounds=tuple(bounds.tolist()))

    def spread(self, own: Tensor) -> Tensor:
        """Return (N, …) what this process has of the rows that it wants, and 0 for others."""
        span = self.wanted_by(self.rank)
        if span.start == 0 and span.stop == self.num_rows:
            return own
        others = span.start, self.num_rows - span.stop
        before, after = (own.new_zeros((rows, *own.shape[1:])) for rows in others)
        return torch.cat([before, own, after])

    def exchange(self, parts: Sequence[Sequence[Tensor]], sizes: Sequence[int]) -> list[Tensor]:
        """Send each process its flat tensors of one dtype, and return what each of the others sent, of these sizes."""
        sent = torch.cat([each for of_process in parts for each in of_process])
        received = sent.new_empty(sum(sizes))
        splits = [sum(len(each) for each in of_process) for of_process in parts]
        distributed.all_to_all_single(received, sent, list(sizes), splits, group=self.group)
        return list(received.split(list(sizes)))


_current: ContextVar[Batch | None] = ContextVar("batch", default=None)


def current() -> Batch:
    """Return the batch that is being worked on; InputError where a spread table is used outside of its layer."""
    batch = _current.get()
    if batch is None:
        raise InputError(
            "a table is spread over processes, and cannot be used directly: call the methods of its layer."
        )
    return batch


@contextmanager
def working_on(batch: Batch) -> Iterator[None]:
    """Let ops work on this batch."""
    token = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(token)


def from_all(mine: Tensor, group: Any) -> Tensor:
    """Return (W, …) what each process of a group has, all of one shape."""
    size = distributed.get_world_size(group)
    found = mine.new_empty(size * mine.numel())
    _gather(found, mine.contiguous().view(-1), group=group)
    return found.view(size, *mine.shape)


def from_each(own: Tensor, counts: Sequence[int], group: Any = None) -> list[Tensor]:
    """Return what each process of a group has, (n, …), of which ``counts`` says how many."""
    padded = own.new_zeros((max(counts), *own.shape[1:]))
    padded[: len(own)] = own
    found = from_all(padded, group) if padded.numel() else padded.expand(len(counts), *padded.shape)
    return [of_process[:count] for of_process, count in zip(found, counts, strict=True)]


def all_from_all(mine: Sequence[Tensor], group: Any) -> list[Tensor]:
    """Return (W, …) of several tensors what each process of a group has, all of one shape; one collective."""
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
    """Return the batch of all processes' rows, and of all of them hidden vectors, ids and a seed that they share.

    One collective, where no process has more rows than last time; else two.

    Args:
        group: of processes.
        hidden: (N_own, d) of this process.
        ids: (N_own, …) int64 of its rows, or None; the same on all processes.
        capacity: the most bytes that a process's rows had last time.
        refusal: why this process does not take its rows: all raise then, this one that.
        generator: that the seed comes from; None for PyTorch's own on the CPU.
        draws: whether a seed is wanted; without, no generator moves.
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
    if torch.is_grad_enabled() and not learns and headers[:, 5].any():  # all take part in the others' backward pass
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
    """Return whether a node of autograd's graph is where a layer's hidden vectors come from."""
    return getattr(node, "comes_from_below", False)


def apart(columns: Tensor) -> Tensor:
    """Return columns in memory of their own: of a single row ``contiguous`` would be a view, whatever its stride."""
    return columns.clone(memory_format=torch.contiguous_format)


def _width(tensor: Tensor) -> int:
    return tensor.shape[1] * tensor.element_size()


def _bytes(rows: Tensor) -> Tensor:
    """Return (N, bytes) uint8 of rows (N, …)."""
    flat = rows.contiguous()
    if not flat.numel():
        return flat.new_empty((len(flat), _width(flat)), dtype=torch.uint8)
    return flat.view(torch.uint8).view(len(flat), -1)


class _AllRows(torch.autograd.Function):
    """The hidden vectors of all processes; what comes back to those of this one is complete."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, everything: Tensor, batch: Batch) -> Tensor:
        ctx.own, ctx.comes_from_below = batch.own, True
        return everything.view_as(everything)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return grad[ctx.own], None, None
