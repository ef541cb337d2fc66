"""Any output layer, its classes spread over processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from vastmax.checks import refused, whole
from vastmax.distributed.batch import Batch, comes_from_below, current, gathered_rows, working_on
from vastmax.distributed.building import lay_out
from vastmax.distributed.exchange import completes
from vastmax.distributed.replicas import average_over
from vastmax.distributed.tables import own_part, spread_like
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

__all__ = ["shard_classes", "unshard"]


def shard_classes(layer: OutputLayer, mesh: DeviceMesh, dim: str | None = None) -> OutputLayer:
    """Spread a layer's classes over processes, in place, and return it: same contract, same numbers.

    Every process calls it, and every method of the layer afterwards, with rows of its own: as many as it likes, none
    included. A table's rows lie on one process each, as ``torch.chunk`` cuts them, in a DTensor with ``Shard(0)``;
    what is not cut is taken from the first process. Draws come from a seed of the first process's, all alike.

    A layer on the meta device is made where it is spread, so that no process has room for more than its part:
    parameters start as :meth:`reset_parameters` has them, the same values on any number of processes. A large unigram
    proposal (2 million classes or more) is spread as well, for one more small collective operation a draw.

    A process's loss counts its own rows, and the mean over the processes is the loss of all rows: for the reduction
    "mean" it is its rows' sum times the number of processes, over the factors of all rows. Gradients of what lies below
    are its own loss's, to be averaged over processes as ``DistributedDataParallel`` and FSDP do; the layer's own
    are of the mean already.

    Args:
        layer: of any kind whose :meth:`~vastmax.layers.OutputLayer.shard_plan` is known.
        mesh: of the processes.
        dim: the name of its dimension over which classes are spread, where it has several. Processes apart in the
            others have the same classes: the layer lets them learn the mean of their gradients, after each backward
            pass. Given a slice such as ``mesh["classes"]`` it knows of no others, whose gradients are the caller's.

    Raises:
        InputError: where the layer cannot be cut, or the mesh has no such dimension.
    """
    if not isinstance(layer, OutputLayer):
        raise refused("layer", layer, "one of vastmax.layers")
    if (within := layer._within()) is not layer:
        shard_classes(within, mesh, dim)
        for name, each in layer.named_buffers(recurse=False):
            layer._buffers[name] = torch.empty_like(each, device=mesh.device_type) if each.is_meta else each
        layer._restore()
        return layer
    if isinstance(layer, _Sharded):
        raise InputError("the layer's classes are spread already: unshard it first.")
    mesh, others = _dimensions(mesh, dim)
    if layer._shares_table:
        raise InputError("the layer shares its table with an embedding: spread one without")
    plan = layer.shard_plan()
    if plan is None:
        raise InputError(f"{type(layer).__name__} does not say how its classes may be spread: define shard_plan in it.")
    if any(isinstance(each, DTensor) for each in (*layer.parameters(), *layer.buffers())):
        raise InputError("the layer holds what is spread already, as another layer's proposal: give each one its own.")
    lay_out(layer, plan, mesh, others)
    layer.__class__ = _sharded_kind(type(layer))
    sharded = cast(_Sharded, layer)
    sharded._mesh, sharded._others, sharded._capacity = mesh, others, 0
    sharded._cutting = sharded.register_load_state_dict_pre_hook(_take_own_rows)
    return layer


def unshard(layer: OutputLayer) -> OutputLayer:
    """Bring all of a layer's classes to every process, in place, and return it as it was before :func:`shard_classes`.

    Raises:
        InputError: where it is not spread.
    """
    if isinstance(layer, OutputLayer) and (within := layer._within()) is not layer:
        unshard(within)
        return layer
    if not isinstance(layer, _Sharded):
        raise refused("layer", layer, "one whose classes shard_classes spread")
    layer._cutting.remove()
    del layer._mesh, layer._others, layer._capacity, layer._cutting
    layer.__class__ = type(layer).__mro__[2]
    for module in layer.modules():
        tables: Any = module._parameters, module._buffers
        for tensors in tables:
            for name, each in tensors.items():
                if isinstance(table := each, DTensor):
                    whole = table.full_tensor().detach()
                    parameter = isinstance(each, nn.Parameter)
                    tensors[name] = nn.Parameter(whole, requires_grad=each.requires_grad) if parameter else whole
    return layer


class _Sharded(OutputLayer):
    """What a layer does before and after, when its tables are spread."""

    _mesh: DeviceMesh
    _others: list[Any]  # the groups of processes that have the same classes
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
        """Let all work on the rows of all, once each process has checked its own."""
        refusal, rows, ids = None, hidden.new_empty((0, self.in_features)), []
        try:
            rows, ids = check()
        except Exception as error:  # the others are not to wait for this process
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
        except Exception as error:  # the others are not to wait for this process
            nothing = next(self.parameters()).new_empty(0)
            rows = torch.empty((0, self.in_features), dtype=nothing.dtype, device=nothing.device)
            gathered_rows(self._mesh.get_group(), rows, [], self._capacity, error)
            raise

    def _learning(self, result: Tensor) -> Tensor:
        """Return the result, after whose backward pass the parameters that are on all processes have the mean of
        their gradients, of those that no exchange has seen to; and all of them, of processes that have the same
        classes.
        """
        reached = _reached_alone(result)
        learnt = [each for each in self.parameters() if each.requires_grad]
        whole = [each for each in learnt if id(each) in reached and not isinstance(each, DTensor)]

        def average() -> None:
            if whole and self._mesh.size() > 1:
                _average(whole, self._mesh)
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
        raise InputError("the layer's classes are spread: no embedding in one place shares their table.")

    def input_embedding(self) -> NoReturn:
        raise InputError("the layer's classes are spread: no embedding in one place shares their table.")

    def sampling_report(self, *_: Any, **__: Any) -> NoReturn:
        raise InputError("the layer's classes are spread: unshard it for a report of its samples.")

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


def _dimensions(mesh: DeviceMesh, dim: str | None) -> tuple[DeviceMesh, list[Any]]:
    """Return the dimension of a mesh over which classes are spread, and the groups of all others."""
    if not isinstance(mesh, DeviceMesh):
        raise refused("mesh", mesh, "a DeviceMesh, as of init_device_mesh('cpu', (4,))")
    names = mesh.mesh_dim_names or ()
    if dim is None and mesh.ndim == 1:
        return mesh, []
    if dim is None or dim not in names:
        wanted = " or ".join(map(repr, names)) or "mesh_dim_names to init_device_mesh, and one of them here"
        raise refused("dim", dim, f"{wanted}: classes are spread over one of the mesh's {mesh.ndim} dimensions")
    return mesh[dim], [mesh.get_group(each) for each in names if each != dim]


def _reached_alone(result: Tensor) -> set[int]:
    """Return the ids of the leaves that get a gradient of this process's loss alone, by some way from the result."""
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


def _average(parameters: list[nn.Parameter], mesh: DeviceMesh) -> None:
    """Give all processes the mean of their gradients, in one collective; what was averaged before stays.

    Where no process has a gradient of a parameter there is none afterwards.
    """
    with torch.no_grad():
        dtype = functools.reduce(torch.promote_types, (each.dtype for each in parameters))
        grads = [torch.zeros_like(each) if each.grad is None else each.grad.to_dense() for each in parameters]
        there = grads[0].new_tensor([each.grad is not None for each in parameters], dtype=dtype)
        total = torch.cat([there, *(each.flatten().to(dtype) for each in grads)])
        distributed.all_reduce(total, group=mesh.get_group())
        there, *means = total.split([len(parameters), *(each.numel() for each in parameters)])
        for parameter, found, mean in zip(parameters, there, means, strict=True):
            if parameter.grad is not None or bool(found):
                parameter.grad = (mean / mesh.size()).view_as(parameter).to(parameter.dtype)


def _take_own_rows(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Cut what a plain state has whole."""
    for name, table in (*layer.named_parameters(), *layer.named_buffers()):
        whole: Any = state.get(prefix + name)
        if not isinstance(table, DTensor) or not isinstance(whole, Tensor) or isinstance(whole, DTensor):
            continue
        if whole.shape == table.shape:  # else PyTorch says so
            state[prefix + name] = spread_like(table, own_part(table, whole).to(table.dtype))


_kinds: dict[type, type] = {}


def _sharded_kind(kind: type[OutputLayer]) -> type:
    """Return the class of layers of this kind whose classes are spread."""
    if kind not in _kinds:
        _kinds[kind] = type(f"Sharded{kind.__name__}", (_Sharded, kind), {"__module__": kind.__module__})
    return _kinds[kind]
