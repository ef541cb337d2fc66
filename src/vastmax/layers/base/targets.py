"""Targets as callers pass them: several per row, ignored, or probabilities; and ids excluded from top-k."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.layers.base.compiled import opaque_loss
from vastmax.ops import is_batched, sparse_uses

__all__ = ["check_probabilities", "excluded_ids", "loss_of_probabilities", "losses_of_classes"]

_Layer = Any  # an OutputLayer, whose file imports this one


def losses_of_classes(
    layer: _Layer, rows: Tensor, classes: Tensor, kept: Tensor, context: Tensor | None, group: Tensor | None
) -> Tensor:
    """Return (N, T) losses of classes (N, T), 0 where not ``kept`` (N, T); other arguments have one entry per row."""
    target, taken = classes.flatten(), kept.flatten()
    row = chosen = of_rows = None
    if classes.shape[1] != 1:
        row = torch.arange(len(rows), device=rows.device).repeat_interleave(classes.shape[1])
    # Dropping ignored rows costs a synchronisation off the CPU: there they are computed, unless shapes depend on the
    # data anyway.
    sifts = rows.device.type == "cpu" or (layer.opaque_to_compiler and not rows.is_meta)
    sifts = sifts and not torch.compiler.is_compiling() and not is_batched(taken)
    if sifts and not bool(taken.all()):
        chosen = taken.nonzero().squeeze(1)
        target, taken = target[chosen], taken[chosen]
        if row is None:
            of_rows = chosen
        else:
            of_rows, row = row[chosen].unique_consecutive(return_inverse=True)
        context, group = (None if each is None else each[of_rows] for each in (context, group))
    if layer.opaque_to_compiler and torch.compiler.is_compiling():
        loss = opaque_loss(layer, rows, torch.where(taken, target, -1), context, group, row)
    elif of_rows is None:
        loss = layer._loss_of_targets(rows, target, context, group, row)
    else:
        with layer._some_rows(rows, of_rows) as some:
            loss = layer._loss_of_targets(some, target, context, group, row)
    if chosen is None:
        return torch.where(kept, loss.view(classes.shape), 0)
    return loss.new_zeros(classes.numel()).index_copy(0, chosen, loss).view(classes.shape)


def loss_of_probabilities(
    layer: _Layer,
    hidden: Tensor,
    target: Tensor,
    reduction: str,
    ignore_index: int,
    weight: Tensor | None,
    smoothing: float,
) -> Tensor:
    """Return the cross-entropy to the distributions ``target`` (…, V), reduced as in the layer's ``forward``."""
    rows = layer._rows(hidden)
    check_probabilities(layer, hidden, target, ignore_index)
    loss = losses_of_probabilities(layer, rows, target, weight, smoothing)
    return layer._reduced(loss, torch.ones_like(loss), reduction, hidden)


def losses_of_probabilities(
    layer: _Layer, rows: Tensor, target: Tensor, weight: Tensor | None, smoothing: float
) -> Tensor:
    """Return (N,) cross-entropies to the distributions ``target`` (…, V) of N rows."""
    alike = layer._alike() if layer.sparse_parameters else layer
    for name in layer.sparse_parameters:  # gradients of all rows, yet sparse tensors
        alike._parameters[name] = sparse_uses(getattr(layer, name), 1)[0]
    log_prob = alike._log_prob(rows)
    probability = target.reshape(log_prob.shape).to(log_prob.dtype)
    if smoothing:
        probability = (1 - smoothing) * probability + smoothing / layer.num_classes
    if weight is not None:
        probability = probability * weight.to(log_prob.dtype)
    return -(log_prob * probability).sum(1)


def check_probabilities(layer: _Layer, hidden: Tensor, target: Tensor, ignore_index: int) -> None:
    """Raise InputError if the layer does not take probabilities as targets, or these do not fit."""
    shape = (*hidden.shape[:-1], layer.num_classes)
    if layer.kind != "exact":
        raise refused("target", target, "class ids, for example drawn from probabilities by torch.multinomial")
    if target.shape != shape:
        raise refused("target", target, f"class ids, whole numbers, or probabilities of shape {shape}")
    if ignore_index >= 0:
        raise refused("ignore_index", ignore_index, "a negative number, such as -100, with probabilities")


def excluded_ids(exclude: Tensor, shape: tuple[int, ...], num_classes: int, k: int) -> tuple[Tensor, int]:
    """Return (N, E+1) excluded ids per row, ascending after negative padding, and the most distinct ids in a row.

    InputError if ``exclude`` is not int64 ids in (E,) or (…, E), or leaves fewer than k classes in a row.
    """
    if not isinstance(exclude, Tensor):
        raise refused("exclude", exclude, "a tensor of ids, int64")
    if exclude.dim() == 1:
        exclude = exclude.expand(*shape, -1)
    if exclude.shape[:-1] != shape or exclude.dtype != torch.int64:
        raise refused("exclude", exclude, f"ids, int64 of shape (E,) or {(*shape, 'E')}")
    left_out = F.pad(exclude, (1, 0), value=-1).reshape(-1, exclude.shape[-1] + 1).sort(1).values
    if (left_out >= num_classes).any():
        raise InputError(f"exclude contains {int(left_out.max())}: give class ids from 0 to {num_classes - 1}.")
    different = (left_out[:, 1:] != left_out[:, :-1]) & (left_out[:, 1:] >= 0)
    most = int(different.sum(1).max()) if len(left_out) else 0
    if k > num_classes - most:
        raise refused("k", k, f"at most {num_classes - most}, the number of classes that exclude leaves in every row")
    return left_out, most
