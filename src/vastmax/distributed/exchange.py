"""The exchange between processes for ops on sharded tables: one forward and one backward, for any set of ops."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from vastmax.distributed.batch import Batch
from vastmax.ops import register_for_tables

__all__ = ["Share", "completes", "register_share"]


class Share(ABC):
    """This process's share of an op: what it sends, and how it combines what others send.

    Attributes:
        batch: the batch of the op's rows.
        inputs: tensors that get a gradient.
        outputs: the number of tensors received.
    """

    batch: Batch
    inputs: tuple[Tensor | None, ...]
    outputs: ClassVar[int]

    @abstractmethod
    def send(self) -> list[list[Tensor]]:
        """Return for each process flat tensors, sent in this order."""

    @abstractmethod
    def sizes(self) -> list[int]:
        """Return the number of elements received from each process."""

    @abstractmethod
    def receive(self, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return differentiable tensors, combined from what each process sent."""

    @abstractmethod
    def send_back(self, *grads: Tensor) -> list[list[Tensor]]:
        """Return flat tensors for each process, given the gradients of the received tensors."""

    @abstractmethod
    def sizes_back(self) -> list[int]:
        """Return the number of elements that come back from each process."""

    @abstractmethod
    def receive_back(self, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs, combined from what came back from each process."""

    @abstractmethod
    def result(self, *received: Tensor) -> Any:
        """Return the op's result, given the received tensors."""


_shares: dict[str, Callable[..., Share]] = {}


def register_share(op: str, share: Callable[..., Share]) -> None:
    """Compute an op on sharded tables by this share on each process, alone or in one exchange with other ops."""
    _shares[op] = share
    register_for_tables(DTensor, op, lambda *given, **options: exchanged([share(*given, **options)])[0])


class _Together:
    """Ops of one batch whose shares travel in one exchange."""

    def __init__(self) -> None:
        self._asked: list[Share] = []

    def ask(self, op: Callable[..., Any], *given: Any, **options: Any) -> None:
        self._asked.append(_shares[op.__name__](*given, **options))

    def answers(self) -> list[Any]:
        return exchanged(self._asked)


register_for_tables(DTensor, "together", _Together)


def completes(node: Any) -> bool:
    """Return whether a node of autograd's graph gives replicated tensors the gradient of all processes' losses."""
    return getattr(node, "exchanges", False)


def exchanged(shares: Sequence[Share]) -> list[Any]:
    """Return the results of several ops, whose shares travel in one exchange."""
    every = [each for share in shares for each in share.inputs]
    inputs = list({id(each): each for each in every}.values())
    places = {id(each): place for place, each in enumerate(inputs)}
    whose = [places[id(each)] for each in every]
    received = iter(_Exchange.apply(list(shares), whose, *inputs))  # type: ignore[arg-type]
    return [share.result(*(next(received) for _ in range(share.outputs))) for share in shares]


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shares: list[Share], whose: list[int], *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.shares, ctx.whose, ctx.number, ctx.exchanges = shares, whose, len(inputs), True
        found = _sent(shares, [share.send() for share in shares], [share.sizes() for share in shares])
        received = [share.receive(parts) for share, parts in zip(shares, found, strict=True)]
        ctx.outputs = [len(each) for each in received]
        return tuple(each for of_share in received for each in of_share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        ends = [0, *accumulate(ctx.outputs)]
        given = [grads[start:stop] for start, stop in pairwise(ends)]
        back = [share.send_back(*each) for share, each in zip(ctx.shares, given, strict=True)]
        found = _sent(ctx.shares, back, [share.sizes_back() for share in ctx.shares])
        by_share = (share.receive_back(parts) for share, parts in zip(ctx.shares, found, strict=True))
        gradients: list[list[Tensor]] = [[] for _ in range(ctx.number)]
        for place, each in zip(ctx.whose, (each for of_share in by_share for each in of_share), strict=True):
            if each is not None:
                gradients[place].append(each)
        return None, None, *map(_added, gradients)


def _added(gradients: Sequence[Tensor]) -> Tensor | None:
    """Return the sum of the gradients of a tensor, sparse ones concatenated: PyTorch cannot add those of bfloat16."""
    if len(gradients) < 2:
        return gradients[0] if gradients else None
    if not all(each.is_sparse for each in gradients):
        return functools.reduce(torch.add, gradients)
    rows = torch.cat([each._indices() for each in gradients], 1)
    values = torch.cat([each._values() for each in gradients])
    return torch.sparse_coo_tensor(rows, values, gradients[0].shape, check_invariants=False)


def _common(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    return functools.reduce(torch.promote_types, dtypes)


def _sent(shares: Sequence[Share], parts: list[list[list[Tensor]]], sizes: list[list[int]]) -> list[list[Tensor]]:
    """Return for each share what each process sent, in the dtype of the share."""
    batch = shares[0].batch
    dtypes = [_common(each.dtype for each in of_share[0]) for of_share in parts]
    dtype = _common(dtypes)
    homes = [[each.to(dtype) for of_share in parts for each in of_share[rank]] for rank in range(batch.size)]
    received = batch.exchange(homes, [sum(of_share[rank] for of_share in sizes) for rank in range(batch.size)])
    by_rank = [each.split([of_share[rank] for of_share in sizes]) for rank, each in enumerate(received)]
    return [[each[place].to(dtypes[place]) for each in by_rank] for place in range(len(shares))]
