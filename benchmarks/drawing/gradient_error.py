"""A plot of the gradient error of estimators by number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any

from vastmax.errors import InputError

from .figures import COLOURS, INK, MARKERS, label_lines, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["gradient_error_plot"]

_WHAT = {"rmse": "error", "std": "standard deviation", "bias": "bias"}
_PLOTTED = [f"{gradient}_{what}" for gradient in ("hidden_gradient", "gradient") for what in _WHAT]

Curve = list[tuple[float, float]]


def gradient_error_plot(
    records: Iterable[Mapping[str, Any]], *, measure: str = "hidden_gradient_rmse", title: str | None = None
) -> Figure:
    """Return a log-log plot of gradient error against samples, with one line per estimator.

    Dotted lines are proportional to ``1/√k`` (for a bias ``1/k``), the theoretical rate of estimators. The median is
    drawn if an estimator has several records with the same number of samples; errors of 0 are left out.

    Args:
        records: dictionaries with the fields ``estimator`` (its name), ``samples`` (k) and the measure, as made from
            ``{"estimator": …, **diagnose(layer, hidden, target).as_record()}``.
        measure: "hidden_gradient_rmse", or a related field of ``Diagnostics``.
        title: title above the plot.

    Raises:
        InputError: if measure is unknown, there is no record with samples and error above 0, a record lacks a field or
            has an invalid number, or matplotlib is missing.

    Example:
        >>> records = [{"estimator": "sampled", "samples": k, "hidden_gradient_rmse": k**-0.5} for k in (16, 64, 256)]
        >>> figure = gradient_error_plot(records)
        >>> [line.get_label() for line in figure.axes[0].get_lines()][0]
        'sampled'
    """
    if measure not in _PLOTTED:
        raise InputError(f"measure is {measure!r}: give one of {', '.join(_PLOTTED)}.")
    curves = _curves(records, measure)
    figure, axes = new_figure(8.2, 4.8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for number, (name, points) in enumerate(curves.items()):
        axes.plot(
            *zip(*points, strict=True),
            label=name,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle=("-", "--", "-.")[number // len(COLOURS) % 3],
            markersize=4.5,
            linewidth=1.7,
        )
    _guides(axes, list(curves.values()), measure)
    _axes(axes, curves, measure)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=12, pad=12)
    figure.draw_without_rendering()  # computes the line ends, which the labels need
    label_lines(axes, list(curves), apart=0.055)
    return figure


def _curves(records: Iterable[Mapping[str, Any]], measure: str) -> dict[str, Curve]:
    """Return points (k, error) of each estimator in increasing order of k, without errors of 0."""
    found: dict[str, dict[float, list[float]]] = {}
    for number, record in enumerate(records):
        for field in ("estimator", "samples", measure):
            value = record.get(field)
            if value is None or (field != "estimator" and not _is_number(value)):
                raise InputError(
                    f"record {number} has {field} {value!r}: every record needs a name in 'estimator', and numbers, "
                    f"0 or more, in 'samples' and {measure!r}."
                )
        found.setdefault(str(record["estimator"]), {}).setdefault(record["samples"], []).append(record[measure])
    medians = {name: [(k, median(errors)) for k, errors in sorted(each.items())] for name, each in found.items()}
    curves = {name: [point for point in points if min(point) > 0] for name, points in medians.items()}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        raise InputError("there is nothing to draw: give records with samples and errors above 0.")
    return curves


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0


def _guides(axes: Axes, curves: Sequence[Curve], measure: str) -> None:
    """Draw dotted lines of the theoretical rate: below, through the middle of and above the data."""
    power, text = (1.0, "1/k") if measure.endswith("bias") else (0.5, "1/√k")
    points = [point for curve in curves for point in curve]
    first, last = min(k for k, _ in points), max(k for k, _ in points)
    if first == last:
        return
    scaled = sorted(error * k**power for k, error in points)
    low, high = axes.get_ylim()
    for level in (scaled[0] * 0.8, median(scaled), scaled[-1] * 1.25):
        axes.plot([first, last], [level * k**-power for k in (first, last)], ":", color="#B8B8B8", lw=1, zorder=0)
    axes.set_ylim(low, high)
    axes.annotate(f"dotted: ∝ {text}", (0.01, 0.02), xycoords="axes fraction", color="#7A7A7A", fontsize=9, va="bottom")


def _axes(axes: Axes, curves: Mapping[str, Curve], measure: str) -> None:
    gradient, _, what = measure.rpartition("_")
    of = "gradient to the hidden vectors" if gradient == "hidden_gradient" else "gradient to the parameters"
    axes.set_xlabel("samples k", color=INK)
    axes.set_ylabel(f"{_WHAT[what]} of the {of},\nrelative to the exact one", color=INK)
    ticks = sorted({k for points in curves.values() for k, _ in points})
    if len(ticks) <= 12:
        axes.set_xticks(ticks, [f"{k:,g}" for k in ticks])
        axes.set_xticks([], minor=True)
    ticker = import_module("matplotlib.ticker")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.grid(True, which="major", color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
