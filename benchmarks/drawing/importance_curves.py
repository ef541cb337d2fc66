"""Plots of importance sampling over training: divergence of the proposal from the model, and samples per example."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vastmax.errors import InputError

from .figures import COLOURS, INK, MARKERS, label_lines, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["importance_curves"]

_PANELS = {"kl_divergence": "KL(P‖Q), nats", "samples": "samples an example"}
_FIELDS = ("step", "perplexity", *_PANELS)


def importance_curves(records: Iterable[Mapping[str, Any]], *, title: str | None = None) -> Figure:
    """Return two plots against held-out perplexity, decreasing to the right: KL(P‖Q), and samples per example.

    Methods are thus compared at equal perplexity, and training goes from left to right. Each method is one line, in the
    order of steps. A value may be None, as before the first step; that panel then leaves the record out.

    Args:
        records: dictionaries with the fields ``method`` (its name), ``step``, ``perplexity``, ``kl_divergence`` in nats
            and ``samples``, the mean number of samples per example.
        title: title above the plots.

    Raises:
        InputError: if there is no record, a record lacks a field or has an invalid number, or matplotlib is missing.

    Example:
        >>> records = [
        ...     {"method": "adaptive", "step": i, "perplexity": 900 / i, "kl_divergence": 1 / i, "samples": 100 / i}
        ...     for i in (1, 2, 3)
        ... ]
        >>> [line.get_label() for line in importance_curves(records).axes[0].get_lines()]
        ['adaptive']
    """
    methods = _by_method(records)
    figure, panels = new_panels(10.4, 4.2, len(_PANELS))
    for axes, (field, name) in zip(panels, _PANELS.items(), strict=True):
        drawn = _lines(axes, methods, field)
        axes.set_ylabel(name, color=INK)
        figure.draw_without_rendering()  # computes the line ends, which the labels need
        label_lines(axes, drawn, apart=0.065)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=12)
    return figure


def _by_method(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for number, record in enumerate(records):
        for field in ("method", *_FIELDS):
            value = record.get(field, math.nan)
            if field != "method" and value is None and field in _PANELS:
                continue
            wrong = not isinstance(value, str) if field == "method" else not _is_number(value)
            if wrong:
                raise InputError(
                    f"record {number} has {field} {record.get(field)!r}: every record needs a name in 'method', and "
                    f"numbers in {', '.join(map(repr, _FIELDS))}."
                )
        methods.setdefault(record["method"], []).append(record)
    if not methods:
        raise InputError("there is nothing to draw: give one record or more.")
    return {name: sorted(each, key=lambda record: record["step"]) for name, each in methods.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0


def _lines(axes: Axes, methods: Mapping[str, list[Mapping[str, Any]]], field: str) -> list[str]:
    """Draw one panel, and return the names of the methods with a line."""
    drawn = []
    for number, (name, records) in enumerate(methods.items()):
        points = [(record["perplexity"], record[field]) for record in records if record.get(field) is not None]
        if points:
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.plot(*zip(*points, strict=True), label=name, color=colour, marker=marker, markersize=4, linewidth=1.7)
            drawn.append(name)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_ylim(bottom=0)
    ticker = import_module("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("held-out perplexity", color=INK)
    axes.grid(True, which="major", color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    return drawn
