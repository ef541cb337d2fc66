"""Whether an approximation is any good: a layer's loss and gradient, many times over, beside the exact softmax's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from statistics import fmean, stdev

import torch
from torch import Tensor

from vastmax.checks import whole
from vastmax.errors import InputError
from vastmax.layers.base.compiled import drawing_from
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.ops import wide

__all__ = ["Diagnostics", "diagnose"]


@dataclass(frozen=True)
class Diagnostics:
    """How a layer's training loss and gradient stand to the exact softmax's on one batch, over repeated draws.

    With R repeats, ``g_r`` the gradient of the mean training loss in repeat r, ``ḡ`` their mean and ``g`` the gradient
    of the mean of ``-log P(t)``::

        std²  = Σ_r ‖g_r - ḡ‖² / (R - 1) / ‖g‖²
        bias² = ‖ḡ - g‖² / ‖g‖² - std² / R      (0 where that is negative)
        rmse² = mean_r ‖g_r - g‖² / ‖g‖²

    The second term of the bias is what chance alone adds to the first; a bias well below ``std / √R`` cannot be told
    from none. All are relative: a gradient error of 1 is as large as the gradient.

    Attributes:
        rows: N, rows that counted.
        repeats: R.
        loss: the exact loss, mean ``-log P(t)`` over the rows, in nats.
        loss_bias: mean training loss less the exact loss, in nats; its standard error is ``loss_std / √R``.
        loss_std: standard deviation of the batch's training loss from repeat to repeat, in nats.
        gradient_bias: bias of the gradient of all parameters of the layer, relative.
        gradient_std: its standard deviation, relative.
        gradient_rmse: its error, relative.
        hidden_gradient_bias: the same of the gradient to the hidden vectors: what the rest of a model learns from.
        hidden_gradient_std: its standard deviation, relative.
        hidden_gradient_rmse: its error, relative.
        samples: k, classes that were drawn for a row, mean over rows and repeats where it varies; None where the layer
            does not draw from a proposal, as below.
        effective_sample_size: ``(Σr)² / Σr²`` with ``r = exp(s(w)) / Q(w)`` over a row's samples, mean over rows and
            repeats: with how many draws from P itself they compare.
        kl_divergence: ``KL(P‖Q)`` in nats, mean over rows; infinite where Q never draws a class. Where rows share
            their samples, Q is what those are drawn from.
        hit_rate: share of the samples that are their row's target.
        log_partition_mean: mean of log Z over the rows; None where the layer has no Z.
        log_partition_std: standard deviation of log Z from row to row.
    """

    rows: int
    repeats: int
    loss: float
    loss_bias: float
    loss_std: float
    gradient_bias: float
    gradient_std: float
    gradient_rmse: float
    hidden_gradient_bias: float
    hidden_gradient_std: float
    hidden_gradient_rmse: float
    samples: float | None = None
    effective_sample_size: float | None = None
    kl_divergence: float | None = None
    hit_rate: float | None = None
    log_partition_mean: float | None = None
    log_partition_std: float | None = None

    def as_record(self) -> dict[str, float | int | None]:
        """Return the fields by name, flat: a part of a line of JSON (in which Python writes ``Infinity``)."""
        return asdict(self)

    def __str__(self) -> str:
        """One number a line; what the layer has not got is left out."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        lines = {name.replace("_", " "): value for name, value in found.items() if value is not None}
        width = max(len(name) for name in lines)
        return "\n".join(
            f"{name:{width}}  {value}" if isinstance(value, int) else f"{name:{width}}  {value:.4g}"
            for name, value in lines.items()
        )


def diagnose(
    layer: OutputLayer,
    hidden: Tensor,
    target: Tensor,
    *,
    context: Tensor | None = None,
    ignore_index: int = -100,
    repeats: int = 32,
    seed: int = 0,
) -> Diagnostics:
    """Return how a layer's training loss and its gradient stand to the exact softmax's on this batch.

    Draws the loss and its gradient ``repeats`` times. Changes nothing: a copy of the layer is looked at, in eval mode,
    so that a proposal that adapts itself does not; gradients, the state of chance and the mode stay. Memory beside that
    copy: three gradients, and what the loss itself takes.

    Args:
        layer: any output layer.
        hidden: (…, d) hidden vectors.
        target: (…) classes, integers in 0..V-1, or ``ignore_index``.
        context: (…) the class before each target, as the layer's ``forward`` takes it.
        ignore_index: rows with this target count for nothing.
        repeats: how often, 2 or more.
        seed: of the draws.

    Raises:
        InputError: where shapes do not fit, a target is out of range, every row is ignored, or repeats is below 2.
    """
    rows, classes = layer._flat(hidden, target)
    kept = (classes != ignore_index).nonzero().squeeze(1)
    rows, classes = rows[kept], classes[kept]
    layer._check_range(classes)
    layer._check_of_rows("context", hidden, context)
    before = None if context is None else context.reshape(-1)[kept]
    repeats = whole("repeats", repeats, 2)
    if not len(rows):
        raise InputError("target has only ignored rows: give 1 row or more that is not ignored.")
    with torch.inference_mode(False), torch.enable_grad(), drawing_from(seed, hidden.device):
        twin = copy.deepcopy(layer).eval().requires_grad_()
        rows, classes = rows.detach().clone().requires_grad_(), classes.clone()  # clones are no inference tensors
        before = None if before is None else before.clone()
        parameters = list(twin.parameters())

        def gradients(loss: Tensor) -> tuple[float, Tensor, list[Tensor]]:
            to_rows, *others = torch.autograd.grad(loss, [rows, *parameters], materialize_grads=True)
            return loss.item(), to_rows, others

        exact, to_hidden, to_parameters = gradients(-twin.target_log_prob(rows, classes).mean())
        of_hidden, of_parameters = _Errors([to_hidden]), _Errors(to_parameters)
        losses, used = [], []
        for _ in range(repeats):
            loss, to_hidden, to_parameters = gradients(twin(rows, classes, context=before))
            losses.append(loss)
            if twin.used is not None:
                used.append([each.double().mean().item() for each in twin.used[:2]])
            of_hidden.add([to_hidden])
            of_parameters.add(to_parameters)
        del to_parameters
        with torch.no_grad():
            about = twin.sampling_report(rows, classes, before, repeats=repeats)
            if used:  # of the very draws that the losses are made of, as many as each row needed
                samples, effective = (fmean(each) for each in zip(*used, strict=True))
                about |= {"samples": samples, "effective_sample_size": effective}
            with suppress(InputError):  # of a distribution that is normalised by its construction
                log_z = twin.log_partition(rows).double()
                mean, std = float(log_z.mean()), float(log_z.std(correction=0))
                about |= {"log_partition_mean": mean, "log_partition_std": std}
    return Diagnostics(
        rows=len(rows),
        repeats=repeats,
        loss=exact,
        loss_bias=fmean(loss - exact for loss in losses),
        loss_std=stdev(losses),
        **of_parameters.relative("gradient"),
        **of_hidden.relative("hidden_gradient"),
        **about,
    )


class _Errors:
    """Estimates of some tensors beside the truth: carries the mean error and sums of squares, and keeps no estimate."""

    def __init__(self, truth: Sequence[Tensor]) -> None:
        self._truth = [each.to_dense().to(wide(each.dtype)) for each in truth]
        self._mean = [torch.zeros_like(each) for each in self._truth]
        self._deviations = self._squares = 0.0  # from the mean, and of the error itself
        self._count = 0

    def add(self, estimates: Sequence[Tensor]) -> None:
        self._count += 1
        for truth, mean, estimate in zip(self._truth, self._mean, estimates, strict=True):
            error = truth.neg().add_(estimate.to(truth.dtype))  # sparse estimates are added row by row
            self._squares += _square(error)
            error -= mean
            mean += error / self._count  # Welford's: exact where all are alike
            self._deviations += _square(error) * (self._count - 1) / self._count

    def relative(self, name: str) -> dict[str, float]:
        """Return bias, standard deviation and error beside the truth, under names that begin so."""
        variance = self._deviations / (self._count - 1)
        bias = max(0.0, sum(_square(each) for each in self._mean) - variance / self._count)
        squared = {f"{name}_bias": bias, f"{name}_std": variance, f"{name}_rmse": self._squares / self._count}
        whole = sum(_square(each) for each in self._truth)
        if whole == 0:  # one class, say: there is nothing to learn, and nothing to miss
            return {key: 0.0 if value == 0 else float("inf") for key, value in squared.items()}
        return {key: (value / whole) ** 0.5 for key, value in squared.items()}


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
