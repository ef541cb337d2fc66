"""The figures of a comparison, as data and layout for plotly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeGuard, TypeVar

from vastmax.comparison.report.formats import number, seconds, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import (
    SummaryRow,
    latest,
    pareto_front,
    reference_label,
    summary_rows,
    target_perplexity,
)
from vastmax.comparison.report.traces import (
    MethodStyle,
    Series,
    axis,
    between,
    limit_of,
    line_traces,
    method_styles,
    out_of_sight,
    point_traces,
    time_axis,
)

__all__ = ["Figure", "View", "comparison_figures"]

Styles = Mapping[str, MethodStyle]
Key = TypeVar("Key")
_LINE = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}


@dataclass(frozen=True)
class View:
    """One view of a figure: its name on the view switch, plotly's traces and layout, and a caption."""

    name: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure with one or more views; ``name`` is its identifier in the page, ``text`` explains how to read it."""

    name: str
    title: str
    text: str
    views: list[View]


def comparison_figures(records: Iterable[RunRecord]) -> list[Figure]:
    """Return the figures for which the records have data.

    Example:
        >>> run = RunRecord(label="full", layer="full", perplexity={"test": 114.5}, training_words_per_second=3900.0)
        >>> [figure.name for figure in comparison_figures([run])]
        ['tradeoff']
    """
    runs = [record for record in latest(records) if record.status == "done"]
    rows = summary_rows(runs)
    by_label = {row.label: [run for run in runs if run.label == row.label] for row in rows}
    reference = reference_label(runs)
    styles = method_styles(by_label, reference)
    figures = [
        _tradeoff(rows, styles, reference),
        _progress(by_label, styles, target_perplexity(runs)),
        _bands(by_label, styles, reference),
        _gradients(by_label, styles),
    ]
    return [figure for figure in figures if figure.views]


def _tradeoff(rows: Sequence[SummaryRow], styles: Styles, reference: str | None) -> Figure:
    views = []
    for name, across, cost, is_speed in (
        ("Training speed", _counts("training words per second"), lambda row: row.training_speed, True),
        ("Test speed", _counts("test words per second"), lambda row: row.evaluation_speed, True),
        (
            "Time to full +\N{NO-BREAK SPACE}5\N{NO-BREAK SPACE}%",
            time_axis("training time to full softmax + 5 %"),
            lambda row: row.seconds_to_full,
            False,
        ),
    ):
        costs = {row.label: each.mean for row in rows if (each := cost(row)) and each.mean > 0}
        found = {row.label: (costs[row.label], row.test.mean) for row in rows if row.test and row.label in costs}
        if not found:
            continue
        # the reference is always within the visible range
        limit = limit_of((y for _, y in found.values()), found[reference][1] if reference in found else 0.0)
        places = pareto_front([(-x if is_speed else x, y) for x, y in found.values()])
        front = [list(found)[place] for place in places]
        series = []
        # labels are placed in the order of the traces, as far as there is room
        for label in sorted(found, key=lambda label: (label != reference, label not in front)):
            x, y = found[label]
            note = f"{whole(x)} words/s" if is_speed else seconds(x)
            series.append(Series(label, [x], [y], [f"perplexity {number(y)}<br>{note}"]))
        missing = [row.label for row in rows if row.label not in found and not is_speed]
        never = f"Never reached: {', '.join(missing)}. " if missing else ""
        views.append(
            View(
                name,
                [_front([(label, *found[label]) for label in front], limit), *point_traces(series, styles, limit)],
                {"xaxis": across, "yaxis": axis("test perplexity", tickformat=",~r"), "margin": {"r": 30}},
                (never + out_of_sight(series, limit)).rstrip(),
            )
        )
    return Figure(
        "tradeoff",
        "Speed against perplexity",
        "Lower right is better (lower left for times). The line is the Pareto front: no other method is at least as "
        "good in both and better in one.",
        views,
    )


def _front(points: Sequence[tuple[str, float, float]], limit: float) -> dict[str, Any]:
    """Return the line through the Pareto front; the script uses ``ids`` to leave out hidden methods."""
    labels, xs, ys = zip(*points, strict=True)
    line = {"color": "var(--accent)", "width": 6}
    return {**_LINE, "ids": labels, "x": xs, "y": [min(y, limit) for y in ys], "line": line, "opacity": 0.25}


def _progress(by_label: Mapping[str, list[RunRecord]], styles: Styles, target: float | None) -> Figure:
    views = []
    for name, key, across in (
        ("Over time", "seconds", time_axis("training time")),
        ("Over words", "words", _counts("words trained on")),
    ):
        series = [each for label, runs in by_label.items() if (each := _curves(label, runs, key)).known]
        if not series:
            continue
        finals = [each.known[-1][1] for each in series]
        # curves fall steeply at first: give most of the height to their ends, where methods differ
        marks = []
        sizes = {run.corpus.get("train_words") for runs in by_label.values() for run in runs}
        epoch = sizes.pop() if len(sizes) == 1 else None
        if key == "words" and _positive(epoch):
            across = _counts(f"words trained on (epoch: {_rank(epoch)})")
            reached = [x for each in series for x, _ in each.known]
            if min(reached) < epoch < max(reached):
                marks = [{"type": "line", "yref": "paper", "x0": epoch, "x1": epoch, "y0": 0, "y1": 1}]
        limit = max(2 * min(finals), min(limit_of(finals), 1.1 * max(finals)), 1.1 * (target or 0))
        points = [(x, y) for each in series for x, y in each.known if y <= limit]
        levels = [target] if target else []
        layout = {
            "xaxis": across | between(x for x, _ in points),
            "yaxis": axis("validation perplexity", tickformat=",~r", **between([y for _, y in points] + levels)),
            "shapes": [_level(level, "full + 5 %") for level in levels] + marks,
        }
        views.append(View(name, line_traces(series, styles), layout, out_of_sight(series, limit)))
    return Figure(
        "progress",
        "Perplexity over time",
        "One point per evaluation. At the training time you can afford, choose the lowest curve.",
        views,
    )


def _curves(label: str, runs: Sequence[RunRecord], key: str) -> Series:
    """Return the curves of all seeds as one series, separated by breaks."""
    found = Series(label)
    for run in runs:
        if found.x:
            found.add(None, None)
        for point in run.curve:
            x, y = point.get(key), point.get("valid_perplexity")
            if _positive(x) and _positive(y):
                epoch = f"epoch {point['epoch']:g}, " if _positive(point.get("epoch")) else ""
                reached = seconds(x) if key == "seconds" else f"{whole(x)} words"
                found.add(x, y, f"perplexity {number(y)}<br>{epoch}{reached}")
    return found


def _bands(by_label: Mapping[str, list[RunRecord]], styles: Styles, reference: str | None) -> Figure:
    values = {label: bands for label, runs in by_label.items() if (bands := _band_means(runs))}
    order = sorted({band for bands in values.values() for band in bands})
    across = axis(
        "word rank, frequent to rare",
        type="linear",
        range=[-0.3, len(order) - 0.7],
        tickvals=list(range(len(order))),
        ticktext=["–".join(map(_rank, band)) for band in order],
    )
    full = values.get(reference or "", {})
    views = []
    if full and len(values) > 1:
        series = [_band_series(label, bands, order, full) for label, bands in values.items()]
        ratios = [y for each in series for _, y in each.known]
        limit = limit_of(ratios)
        layout = {
            "xaxis": across,
            "yaxis": axis("perplexity relative to full softmax", tickformat=",~r", **between(ratios, limit)),
            "shapes": [_level(1.0)],
        }
        views.append(View("Relative to full", line_traces(series, styles), layout, out_of_sight(series, limit)))
    if values:
        series = [_band_series(label, bands, order, None) for label, bands in values.items()]
        layout = {"xaxis": across, "yaxis": axis("test perplexity", tickformat=",~r")}
        views.append(View("Perplexity", line_traces(series, styles), layout))
    return Figure(
        "bands",
        "Perplexity by word frequency",
        "Approximations rarely affect all words equally: check the rare words at the right.",
        views,
    )


def _band_means(runs: Sequence[RunRecord]) -> dict[tuple[int, int], float]:
    bands = (band for run in runs for band in run.bands)
    known = ((band.get("lowest_rank"), band.get("highest_rank"), band.get("perplexity")) for band in bands)
    return _means(((int(low), int(high)), value) for low, high, value in known if _positive(low) and _positive(high))


def _means(points: Iterable[tuple[Key, Any]]) -> dict[Key, float]:
    """Return the mean of the positive values of each key."""
    found: dict[Key, list[float]] = {}
    for key, value in points:
        if _positive(value):
            found.setdefault(key, []).append(value)
    return {key: fmean(values) for key, values in found.items()}


def _band_series(
    label: str,
    bands: Mapping[tuple[int, int], float],
    order: Sequence[tuple[int, int]],
    full: Mapping[tuple[int, int], float] | None,
) -> Series:
    found = Series(label)
    for place, (lowest, highest) in enumerate(order):
        value = bands.get((lowest, highest))
        base = 1.0 if full is None else full.get((lowest, highest))
        times = f", {value / base:.3f} × full" if full and value and base else ""
        note = f"words {lowest:,}–{highest:,}<br>perplexity {number(value)}{times}" if value else ""
        found.add(place, value / base if value and base else None, note)
    return found


def _rank(rank: float) -> str:
    """Return a rank or a count in few characters: 1,000 and 1,001 are both 1k."""
    if rank >= 999_500:
        return f"{rank / 1e6:.3g}M"
    return f"{rank / 1000:.3g}k" if rank >= 1000 else f"{rank:g}"


def _gradients(by_label: Mapping[str, list[RunRecord]], styles: Styles) -> Figure:
    views = []
    for name, key, title, power, rate in (
        ("Error", "gradient_rmse", "relative gradient error", 0.5, "1/√k"),
        ("Bias", "gradient_bias", "relative gradient bias", 1.0, "1/k"),
    ):
        series = [each for label, runs in by_label.items() if (each := _gradient_series(label, runs, key)).known]
        if series:
            data = _guides(series, power) + line_traces(series, styles)
            errors = [y for each in series for _, y in each.known]
            layout = {
                "xaxis": axis("samples k", tickformat=",~r"),
                "yaxis": axis(title, tickformat=",~r", **between(errors)),
            }
            note = f"Dotted: proportional to {rate}, the theoretical rate of estimators."
            views.append(View(name, data, layout, note))
    return Figure(
        "gradients",
        "Gradient error against samples",
        "Measured on the trained model of each method. An error of 1 is as large as the gradient itself; exact methods "
        "have no error.",
        views,
    )


def _gradient_series(label: str, runs: Sequence[RunRecord], key: str) -> Series:
    points = ((point.get("samples"), point.get(key)) for run in runs for point in run.gradient_error)
    found = Series(label)
    for samples, error in sorted(_means((samples, error) for samples, error in points if _positive(samples)).items()):
        found.add(samples, error, f"{whole(samples)} samples<br>{error:.3g}")
    return found


def _guides(series: Sequence[Series], power: float) -> list[dict[str, Any]]:
    """Return lines of the expected rate below and above the data."""
    points = [point for each in series for point in each.known]
    first, last = min(points)[0], max(points)[0]
    if first == last:
        return []
    scaled = sorted(y * x**power for x, y in points)
    line = {"color": "var(--soft)", "width": 1, "dash": "dot"}
    return [
        {**_LINE, "x": [first, last], "y": [level * x**-power for x in (first, last)], "line": line, "opacity": 0.6}
        for level in (scaled[0] * 0.8, scaled[-1] * 1.25)
    ]


def _counts(title: str) -> dict[str, Any]:
    return axis(title, tickformat="~s")


def _level(value: float, text: str = "") -> dict[str, Any]:
    """Return a horizontal line across the whole figure, with a label."""
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "label": {"text": text}}


def _positive(value: Any) -> TypeGuard[float]:
    """Return whether a value is finite and positive, so that a logarithmic axis can show it."""
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0
