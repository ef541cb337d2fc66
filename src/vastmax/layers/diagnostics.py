"""Measure an approximation: a layer's loss and gradient over repeated draws, against the exact softmax's."""

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
    """Error of a layer's training loss and gradient on one batch, against the exact softmax's, over repeated draws.

    With R repeats, ``g_r`` the gradient of the mean training loss in repeat r, ``ḡ`` their mean and ``g`` the gradient
    of the mean of ``-log P(t)``::

        std²  = Σ_r ‖g_r - ḡ‖² / (R - 1) / ‖g‖²
        bias² = ‖ḡ - g‖² / ‖g‖² - std² / R      (0 if negative)
        rmse² = mean_r ‖g_r - g‖² / ‖g‖²

    The second term of the bias removes what the variance adds to the first. A bias well below ``std / √R`` cannot be
    distinguished from 0. All three are relative: a gradient error of 1 is as large as the gradient.

    Attributes:
        rows: N, rows that are not ignored.
        repeats: R.
        loss: exact loss, the mean ``-log P(t)`` over the rows, in nats.
        loss_bias: mean training loss minus the exact loss, in nats; its standard error is ``loss_std / √R``.
        loss_std: standard deviation of the batch's training loss over the repeats, in nats.
        gradient_bias: relative bias of the gradient of all parameters of the layer.
        gradient_std: its relative standard deviation.
        gradient_rmse: its relative root-mean-square error.
        hidden_gradient_bias: relative bias of the gradient with respect to the hidden vectors, which trains the rest of
            a model.
        hidden_gradient_std: its relative standard deviation.
        hidden_gradient_rmse: its relative root-mean-square error.
        samples: k, classes drawn per row, the mean over rows and repeats if it varies; this and the next three are None
            if the layer does not draw from a proposal.
        effective_sample_size: ``(Σr)² / Σr²`` with ``r = exp(s(w)) / Q(w)`` over a row's samples, mean over rows and
            repeats: the number of draws from P itself that they are worth.
        kl_divergence: ``KL(P‖Q)`` in nats, mean over rows; infinite if Q never draws a class. If rows share their
            samples, Q is the distribution that these are drawn from.
        hit_rate: share of the samples that equal their row's target.
        log_partition_mean: mean of log Z over the rows; this and the next are None if the layer has no Z.
        log_partition_std: standard deviation of log Z over the rows.
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
        """Return the fields by name as a flat dictionary for JSON, in which Python writes infinity as ``Infinity``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return one figure per line, without those that are None."""
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
    """Measure the error of a layer's training loss and gradient on a batch, against the exact softmax's.

    Computes the loss and its gradient ``repeats`` times on a copy of the layer in eval mode, in which proposals do not
    adapt. The layer's gradients and mode and the random state do not change. Needs memory for the copy, three
    gradients, and the loss itself.

    Args:
        layer: any output layer.
        hidden: (…, d) hidden vectors.
        target: (…) classes, integers in 0..V-1, or ``ignore_index``.
        context: (…) the class before each target, as the layer's ``forward`` takes it.
        ignore_index: rows with this target are ignored.
        repeats: number of repeats, 2 or more.
        seed: seed of the draws.

    Raises:
        InputError: if shapes do not fit, a target is out of range, every row is ignored, or repeats is below 2.
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
        rows, classes = rows.detach().clone().requires_grad_(), classes.clone()  # clones are not inference tensors
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
            if used:  # from the draws of the losses themselves, as many as each row needed
                samples, effective = (fmean(each) for each in zip(*used, strict=True))
                about |= {"samples": samples, "effective_sample_size": effective}
            with suppress(InputError):  # if normalised by construction
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
    """Running errors of estimates of some tensors: the mean error and sums of squares, without storing estimates."""

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
            mean += error / self._count  # Welford's algorithm: exact if all are equal
            self._deviations += _square(error) * (self._count - 1) / self._count

    def relative(self, name: str) -> dict[str, float]:
        """Return the bias, standard deviation and RMS error relative to the truth, under names with this prefix."""
        variance = self._deviations / (self._count - 1)
        bias = max(0.0, sum(_square(each) for each in self._mean) - variance / self._count)
        squared = {f"{name}_bias": bias, f"{name}_std": variance, f"{name}_rmse": self._squares / self._count}
        whole = sum(_square(each) for each in self._truth)
        if whole == 0:  # with one class, say, the gradient is 0
            return {key: 0.0 if value == 0 else float("inf") for key, value in squared.items()}
        return {key: (value / whole) ** 0.5 for key, value in squared.items()}


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
