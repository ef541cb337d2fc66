"""Softmaxes over sharded classes: each process has the logits of its own classes, for the rows of all processes.

For every row, each process sends log Z over its own classes to the process that has the row, and what the gradient will
need: the expected vector over its classes, and the target's vector if it has it. Once a row's process knows the total
log Z, it also knows the gradient of the hidden vector, and the backward pass sends three numbers per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from typing_extensions import override

from vastmax import ops
from vastmax.distributed.batch import Batch, current
from vastmax.distributed.exchange import Share, register_share
from vastmax.distributed.tables import local_rows, own_rows
from vastmax.ops import Part

__all__ = ["SoftmaxShare", "expects", "own_part", "owners_of", "places_here", "target_vectors"]


@dataclass
class SoftmaxShare(Share):
    """A process's share of a softmax for the rows (N,) of a batch, from its own classes.

    Attributes:
        parts: the parts of the softmax, with the hidden vectors of all rows, and gradients.
        log_z: (N,) over this process's classes; -inf if there are none.
        log_prob: (N,) of the targets among them; -inf for others.
        owners: (N,) int64, the rank of the process that has the target, -1 if none; None without targets.
        expected: (N, w) of each part, the expected vectors, if needed.
        vectors: (n, w) of each part, those of the n targets that this process has, if needed.
        returns: which of the op's two results to return.
    """

    outputs: ClassVar[int] = 2

    batch: Batch
    parts: Sequence[Part]
    log_z: Tensor
    log_prob: Tensor
    owners: Tensor | None
    expected: Sequence[Tensor] = ()
    vectors: Sequence[Tensor] = ()
    returns: Literal["both", "log_z", "log_prob"] = "both"

    def __post_init__(self) -> None:
        of_parts = [each for part in self.parts for each in (part.hidden, part.projection)]
        self.inputs = self.log_z, self.log_prob, *of_parts
        self.own = self.batch.wanted_by(self.batch.rank)
        self.width = sum(_width(part) for part in self.parts)
        self._to_hidden = self._to_target = None
        self.columns = 2 + sum(each.shape[1] for each in self.expected)
        self.from_owners = [0] * self.batch.size
        if len(self.vectors) and self.owners is not None:
            self.from_owners = [int((self.owners[self.own] == rank).sum()) for rank in range(self.batch.size)]

    @override
    def send(self) -> list[list[Tensor]]:
        batch = self.batch
        columns = torch.cat([self.log_z[:, None], self.log_prob[:, None], *self.expected], 1)
        homes = [[columns[batch.wanted_by(rank)].flatten()] for rank in range(batch.size)]
        if not len(self.vectors) or self.owners is None:
            return homes
        here = self.owners == batch.rank
        numbers = [int(here[batch.wanted_by(rank)].sum()) for rank in range(batch.size)]
        of_homes = torch.cat(list(self.vectors), 1).split(numbers)
        return [[*of_rows, each.flatten()] for of_rows, each in zip(homes, of_homes, strict=True)]

    @override
    def sizes(self) -> list[int]:
        rows = self.own.stop - self.own.start
        return [rows * self.columns + number * self.width for number in self.from_owners]

    @override
    def receive(self, found: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        rows = self.own.stop - self.own.start
        numbers = rows * self.columns
        stats = torch.stack([each[:numbers].view(rows, self.columns) for each in found])
        log_z, log_prob = joined(stats[:, :, 0], stats[:, :, 1])
        if len(self.expected):
            share = (stats[:, :, 0] - log_z).exp()
            self._to_hidden = (stats[:, :, 2:] * share[:, :, None]).sum(0)
        if len(self.vectors) and self.owners is not None:
            self._to_target = stats.new_zeros((rows, self.width))
            for rank, each in enumerate(found):
                places = (self.owners[self.own] == rank).nonzero().squeeze(1)
                self._to_target[places] = each[numbers:].view(-1, self.width)
        self._log_z = log_z
        return self.batch.spread(log_z), self.batch.spread(log_prob)

    @override
    def send_back(self, grad: Tensor, target_grad: Tensor) -> list[list[Tensor]]:  # type: ignore[override]
        of_z, of_prob = grad[self.own], target_grad[self.own]
        if self.owners is None:
            of_prob = torch.zeros_like(of_prob)
        gradient = self._log_z.new_zeros((len(of_z), self.width))
        if self._to_hidden is not None:
            gradient = gradient + self._to_hidden * (of_z - of_prob)[:, None]
        if self._to_target is not None:
            gradient = gradient + self._to_target * of_prob[:, None]
        # the gradients of projections are sums over all rows
        self._gradients = gradient.split([_width(part) for part in self.parts], 1)
        sums = [
            each.t() @ part.hidden[self.own].to(each.dtype)
            for part, each in zip(self.parts, self._gradients, strict=True)
            if part.projection is not None
        ]
        mine = [torch.stack([of_z, of_prob, self._log_z], 1).flatten(), *(each.flatten() for each in sums)]
        return [mine] * self.batch.size

    @override
    def sizes_back(self) -> list[int]:
        return [3 * rows + self._in_projections for rows in self.batch.counts]

    @property
    def _in_projections(self) -> int:
        return sum(part.projection.numel() for part in self.parts if part.projection is not None)

    @override
    def receive_back(self, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        rows = self.batch.counts
        everything = torch.cat([each[: 3 * count].view(-1, 3) for each, count in zip(found, rows, strict=True)])
        all_z, all_prob, joint = everything.unbind(1)
        to_z = (all_z - all_prob) * (self.log_z - joint).exp()
        to_prob = torch.zeros_like(to_z)
        if self.owners is not None:
            to_prob = all_prob * (self.owners == self.batch.rank)
            to_z = to_z + to_prob
        # the objective is the mean of the processes' losses
        sums = sum(each[3 * count :] for each, count in zip(found, rows, strict=True)) / self.batch.size
        of_parts: list[Tensor | None] = []
        for part, gradient in zip(self.parts, self._gradients, strict=True):
            projection, to_projection = part.projection, None
            if projection is not None:
                own, sums = sums[: projection.numel()], sums[projection.numel() :]  # type: ignore[index]
                to_projection = own.view_as(projection).to(projection.dtype)
                gradient = gradient @ projection.detach().to(gradient.dtype)
            of_parts += [self.batch.spread(gradient.to(part.hidden.dtype)), to_projection]
        return to_z, to_prob, *of_parts

    @override
    def result(self, log_z: Tensor, log_prob: Tensor) -> Any:  # type: ignore[override]
        both = log_z, None if self.owners is None else log_prob
        return {"both": both, "log_z": log_z, "log_prob": log_prob}[self.returns]


def joined(log_z: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """Return log Z (N,) and log-probabilities (N,) over all classes, given those (W, N) over each process's classes.

    Log-probabilities are shifted by the difference of two log Z: large logits keep precision only in differences.
    """
    largest = log_z.amax(0)
    rest = (log_z - largest).logsumexp(0)
    return largest + rest, (log_prob + (log_z - largest - rest)).amax(0)


def expects(batch: Batch) -> bool:
    """Return whether hidden vectors need a gradient."""
    return torch.is_grad_enabled() and not batch.everywhere


def own_part(part: Part) -> Part:
    """Return the part of this process's classes, with projected hidden vectors; biases may be replicated."""
    hidden, weight, bias, _ = part.projected()
    if bias is None or isinstance(bias, DTensor):
        return Part(hidden, local_rows(weight), local_rows(bias))
    first, stop = own_rows(weight)
    return Part(hidden, local_rows(weight), bias[first:stop])


def _cross_entropy_share(parts: Sequence[Part], target: Tensor | None, block_size: int | None = None) -> SoftmaxShare:
    batch = current()
    with torch.no_grad():
        seen = [part.projected().hidden for part in parts]
    mine = [own_part(part._replace(hidden=each, projection=None)) for part, each in zip(parts, seen, strict=True)]
    places = None if target is None else places_here(parts, target)
    log_z, log_prob, expected = ops.partial_cross_entropy(mine, places, block_size, expects=expects(batch))
    if target is None or places is None or log_prob is None:
        return SoftmaxShare(batch, parts, log_z, torch.full_like(log_z, -torch.inf), None, expected)
    vectors = target_vectors(mine, places) if expected else ()
    return SoftmaxShare(batch, parts, log_z, log_prob, owners_of(parts, target), expected, vectors)


def _log_partition_share(parts: Sequence[Part], block_size: int | None = None) -> SoftmaxShare:
    return replace(_cross_entropy_share(parts, None, block_size), returns="log_z")


def owners_of(parts: Sequence[Part], target: Tensor) -> Tensor:
    """Return the rank of the process that has each target (N,); -1 if none has."""
    owners, start = torch.full_like(target, -1), 0
    for part in parts:
        table: Any = part.weight
        rows, size = table.shape[0], table.device_mesh.size()
        inside = (target >= start) & (target < start + rows)
        owners = torch.where(inside, (target - start) // -(-rows // size), owners)
        start += rows
    return owners


def places_here(parts: Sequence[Part], target: Tensor) -> Tensor:
    """Return the position of each target (N,) among this process's classes; -1 for classes of other processes."""
    places, start, before = torch.full_like(target, -1), 0, 0
    for part in parts:
        first, stop = own_rows(part.weight)
        mine = (target >= start + first) & (target < start + stop)
        places = torch.where(mine, target - start - first + before, places)
        start, before = start + part.weight.shape[0], before + stop - first
    return places


def target_vectors(parts: Sequence[Part], places: Tensor) -> list[Tensor]:
    """Return for each part the vectors (n, w) of the n targets on this process, 0 for those of other parts."""
    here = places[places >= 0]
    vectors, before = [], 0
    for part in parts:
        weight = part.weight
        inside = (here >= before) & (here < before + len(weight))
        of_part = weight.new_zeros((len(here), weight.shape[1]), dtype=ops.wide(weight.dtype))
        of_part[inside] = weight.detach()[here[inside] - before].to(of_part.dtype)
        vectors.append(of_part)
        before += len(weight)
    return vectors


def _width(part: Part) -> int:
    return part.weight.shape[1]


register_share("linear_cross_entropy", _cross_entropy_share)
register_share("linear_log_partition", _log_partition_share)
