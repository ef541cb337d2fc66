"""Output layers whose classes are sharded over processes: their methods work on the rows of all."""

# ruff: noqa: D102  (OutputLayer documents its methods)

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from vastmax.checks import whole
from vastmax.distributed.batch import Batch, comes_from_below, current, gathered_rows, working_on
from vastmax.distributed.exchange import completes
from vastmax.distributed.replicas import average_over, average_whole
from vastmax.errors import InputError
from vastmax.layers import OutputLayer
from vastmax.layers.base import (
    Reduction,
    SamplesUsed,
    after_backward,
    check_probabilities,
    drawing_from,
    excluded_ids,
    losses_of_probabilities,
)

__all__ = ["Sharded"]


class Sharded(OutputLayer):
    """An output layer with sharded tables: gathers the rows of all processes, and returns the results of its own."""

    _mesh: DeviceMesh
    _others: list[Any]  # process groups that hold the same classes
    _capacity: int
    _cutting: Any
    _batch: Batch

    def forward(
        self,
        hidden: Tensor,
        target: Tensor,
        *,
        reduction: Reduction = "mean",
        ignore_index: int = -100,
        weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        context: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Tensor:
        if target.is_floating_point():
            return self._loss_of_probabilities(hidden, target, reduction, ignore_index, weight, label_smoothing)
        several = target.dim() == hidden.dim()

        def check() -> tuple[Tensor, list[Tensor | None]]:
            self._check_options(reduction, weight, label_smoothing)
            rows, classes = self._flat(hidden, target, several)
            self._check_of_rows("context", hidden, context)
            self._check_of_rows("group", hidden, group)
            kept = classes != ignore_index
            self._check_range(torch.where(kept, classes, 0))
            classes = classes.view(len(rows), target.shape[-1]) if several else classes
            return rows, [classes, *(None if each is None else each.reshape(-1).long() for each in (context, group))]

        with self._gathered(check, hidden, draws=True) as (rows, (classes, before, of_group), seed):
            with drawing_from(seed, hidden.device):
                loss = super().forward(
                    rows,
                    classes,
                    reduction=reduction,
                    ignore_index=ignore_index,
                    weight=weight,
                    label_smoothing=label_smoothing,
                    context=before,
                    group=of_group,
                )
                if self.used is not None:
                    self.used = SamplesUsed(*(self._own(each) for each in self.used))
            return self._learning(loss.view(hidden.shape[:-1]) if reduction == "none" else loss)

    def _loss_of_probabilities(
        self,
        hidden: Tensor,
        target: Tensor,
        reduction: Reduction,
        ignore_index: int,
        weight: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        def check() -> tuple[Tensor, list[Tensor | None]]:
            rows = self._rows(hidden)
            check_probabilities(self, hidden, target, ignore_index)
            self._check_options(reduction, weight, smoothing)
            return rows, []

        with self._gathered(check, hidden) as (rows, _, _):
            everyone = self._batch.spread(target.reshape(-1, self.num_classes))
            loss = losses_of_probabilities(self, rows, everyone, weight, smoothing)
            found = self._reduced(loss, torch.ones_like(loss), reduction, hidden)
            return self._learning(found.view(hidden.shape[:-1]) if reduction == "none" else found)

    @torch.no_grad()
    def sample(self, hidden: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        options: Any = {"everywhere": True, "generator": generator, "draws": True}
        with (
            self._gathered(lambda: (self._rows(hidden), []), hidden, **options) as found,
            drawing_from(found[2], hidden.device),
        ):
            return self._own(super().sample(found[0], n)).view(*hidden.shape[:-1], n)

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        def check() -> tuple[Tensor, list[Tensor | None]]:
            rows, classes = self._flat(hidden, target)
            self._check_range(classes)
            return rows, [classes]

        with self._gathered(check, hidden) as (rows, (classes,), _):
            return self._learning(self._own(super().target_log_prob(rows, classes)).view(target.shape))

    def log_prob(self, hidden: Tensor) -> Tensor:
        with self._gathered(lambda: (self._rows(hidden), []), hidden) as (rows, _, _):
            found = self._own(super().log_prob(rows)).view(*hidden.shape[:-1], self.num_classes)
            return self._learning(found)

    def log_partition(self, hidden: Tensor) -> Tensor:
        with self._gathered(lambda: (self._rows(hidden), []), hidden) as (rows, _, _):
            return self._learning(self._own(super().log_partition(rows)).view(hidden.shape[:-1]))

    def topk(self, hidden: Tensor, k: int, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        def check() -> tuple[Tensor, list[Tensor | None]]:
            rows = self._rows(hidden)
            if exclude is None:
                return rows, [None]
            left_out, _ = excluded_ids(exclude, hidden.shape[:-1], self.num_classes, whole("k", k, 1, self.num_classes))
            return rows, [left_out]

        with torch.no_grad(), self._gathered(check, hidden, everywhere=True) as (rows, (left_out,), _):
            values, classes = super().topk(rows, k, exclude=left_out)
            shape = (*hidden.shape[:-1], k)
            return self._own(values).view(shape), self._own(classes).view(shape)

    @contextmanager
    def _gathered(
        self,
        check: Any,
        hidden: Tensor,
        *,
        everywhere: bool = False,
        generator: torch.Generator | None = None,
        draws: bool = False,
    ) -> Iterator[Any]:
        """Make the rows of all processes the current batch, once each process has checked its own."""
        refusal, rows, ids = None, hidden.new_empty((0, self.in_features)), []
        try:
            rows, ids = check()
        except Exception as error:  # the other processes must not wait for this one
            refusal = error
        found = gathered_rows(self._mesh.get_group(), rows, ids, self._capacity, refusal, generator, draws)
        batch, rows, ids, self._capacity, seed = found  # type: ignore[misc]
        self._batch = batch = replace(batch, everywhere=everywhere, classes=ids[0] if ids else None)
        try:
            with working_on(batch):
                yield rows, ids, seed
        finally:
            batch.locals.clear()
            del self._batch

    def _checked(self, check: Callable[[], Any]) -> Any:
        try:
            return check()
        except Exception as error:  # the other processes must not wait for this one
            nothing = next(self.parameters()).new_empty(0)
            rows = torch.empty((0, self.in_features), dtype=nothing.dtype, device=nothing.device)
            gathered_rows(self._mesh.get_group(), rows, [], self._capacity, error)
            raise

    def _learning(self, result: Tensor) -> Tensor:
        """Return the result, with a hook that averages gradients after its backward pass.

        Replicated parameters are averaged over the shards, unless an exchange has done so; then all parameters over the
        processes that hold the same classes.
        """
        reached = _reached_alone(result)
        learnt = [each for each in self.parameters() if each.requires_grad]
        whole = [each for each in learnt if id(each) in reached and not isinstance(each, DTensor)]

        def average() -> None:
            if whole and self._mesh.size() > 1:
                average_whole(whole, self._mesh.get_group())
            for group in self._others:
                average_over(learnt, group)

        if learnt and (whole or self._others):
            after_backward(result, average)
        return result

    @contextmanager
    def _for_everyone(self) -> Iterator[None]:
        with working_on(replace(current(), everywhere=True)):
            yield

    def tie_weights(self, embedding: Any) -> NoReturn:
        raise InputError(
            "the layer's classes are sharded, and no embedding in one place can share their table: unshard it first."
        )

    def input_embedding(self) -> NoReturn:
        raise InputError(
            "the layer's classes are sharded, and no embedding in one place can share their table: unshard it first."
        )

    def sampling_report(self, *_: Any, **__: Any) -> NoReturn:
        raise InputError("the layer's classes are sharded: unshard it for a report of its samples.")

    def _own(self, of_all: Tensor) -> Tensor:
        return of_all[self._batch.own]

    def _reduced(self, loss: Tensor, factor: Tensor, reduction: Reduction, hidden: Tensor) -> Tensor:
        own = self._own(loss)
        if reduction == "none":
            return own
        return own.sum() if reduction == "sum" else own.sum() * self._batch.size / factor.sum()

    @contextmanager
    def _some_rows(self, rows: Tensor, places: Tensor) -> Iterator[Tensor]:
        with working_on(current().some(places)):
            yield rows[places]


def _reached_alone(result: Tensor) -> set[int]:
    """Return the ids of leaves that get a gradient of this process's loss alone, on some path from the result."""
    found: set[int] = set()
    seen, nodes = {result.grad_fn}, [result.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or comes_from_below(node):
            continue
        for following, _ in node.next_functions:
            if (leaf := getattr(following, "variable", None)) is not None:
                if not completes(node):
                    found.add(id(leaf))
            elif following not in seen:
                seen.add(following)
                nodes.append(following)
    return found
