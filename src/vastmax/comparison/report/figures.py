"""The pictures of a comparison as plain data: what is drawn, not how, which is the page's script to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any, TypeGuard

from vastmax.comparison.report.summary import (
    Estimate,
    SummaryRow,
    latest,
    pareto_front,
    reference_label,
    summary_rows,
    target_perplexity,
)
from vastmax.comparison.report.formats import number, seconds, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.views import Axis, ComparisonFigure, Point, Series, View

__all__ = ["comparison_figures"]


def comparison_figures(records: Iterable[RunRecord]) -> list[ComparisonFigure]:
    """Return the pictures that the records have data for.

    Example:
        >>> run = RunRecord(label="full", layer="full", perplexity={"test": 114.5}, training_words_per_second=3900.0)
        >>> [figure.name for figure in comparison_figures([run])]
        ['tradeoff']
    """
    runs = [record for record in latest(records) if record.status == "done"]
    rows = [row for row in summary_rows(runs) if row.status == "done"]
    by_label = {row.label: [run for run in runs if run.label == row.label] for row in rows}
    figures = [
        _tradeoff(rows, reference_label(runs)),
        _progress(by_label, target_perplexity(runs)),
        _bands(by_label, reference_label(runs)),
        _gradients(by_label),
    ]
    return [figure for figure in figures if figure.views]


def _tradeoff(rows: Sequence[SummaryRow], reference: str | None) -> ComparisonFigure:
    views = [
        _costs(
            rows,
            reference,
            "Training speed",
            Axis("words a second in training"),
            lambda row: row.training_speed,
            whole,
            -1,
        ),
        _costs(
            rows,
            reference,
            "Test speed",
            Axis("words of the test text a second"),
            lambda row: row.evaluation_speed,
            whole,
            -1,
        ),
        _costs(
            rows,
            reference,
            "Time to full +\N{NO-BREAK SPACE}5\N{NO-BREAK SPACE}%",
            Axis("training time to full softmax + 5 %", unit="seconds"),
            lambda row: row.seconds_to_full,
            seconds,
            1,
        ),
    ]
    return ComparisonFigure(
        "tradeoff",
        "Speed against perplexity",
        "Right and down is better. Methods on the line, the Pareto front, are those that no other one beats in both.",
        "points",
        [view for view in views if view.series],
    )


def _costs(
    rows: Sequence[SummaryRow],
    reference: str | None,
    name: str,
    axis: Axis,
    cost: Callable[[SummaryRow], Estimate | None],
    text: Callable[[float], str],
    sign: int,
) -> View:
    """Test perplexity against a cost (sign 1), or against a speed (-1)."""
    found = [(row, each.mean, row.test.mean) for row in rows if (each := cost(row)) and each.mean > 0 and row.test]
    series = [
        Series(row.label, [x], [y], [f"perplexity {number(y)}<br>{text(x)}{' words/s' if sign < 0 else ''}"])
        for row, x, y in found
    ]
    # what others are measured by is always within the picture
    full = next((y for row, _, y in found if row.label == reference), 0.0)
    front = pareto_front([(sign * x, y) for _, x, y in found])
    missing = [row.label for row in rows if row.label not in {each.method for each in series}]
    note = f"Never got there: {', '.join(missing)}." if missing and sign > 0 and series else ""
    return View(
        name,
        axis,
        Axis("test perplexity", limit=_limit((y for *_, y in found), full)),
        series,
        [found[index][0].label for index in front],
        note=note,
    )


def _progress(by_label: Mapping[str, list[RunRecord]], target: float | None) -> ComparisonFigure:
    views = []
    for name, key, axis in (
        ("Over time", "seconds", Axis("time spent training", unit="seconds")),
        ("Over words", "words", Axis("words trained on")),
    ):
        series = [_curves(label, runs, key) for label, runs in by_label.items()]
        drawn = [each for each in series if each.x]
        if drawn:
            level = (target, "full + 5 %") if target else None
            finals = [next(y for y in reversed(each.y) if y) for each in drawn]
            # the way down is steep: the end of it, where methods differ, gets the most of the height
            limit = max(2 * min(finals), _limit(finals) or 1.1 * max(finals), 1.1 * (target or 0))
            views.append(View(name, axis, Axis("validation perplexity", limit=limit), drawn, level=level))
    return ComparisonFigure(
        "progress",
        "Perplexity over time",
        "One point an evaluation. Who is lowest at the time that you have is who to take.",
        "lines",
        views,
    )


def _curves(label: str, runs: Sequence[RunRecord], key: str) -> Series:
    """The curves of all seeds in one series, apart from each other by a break."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    notes: list[str] = []
    for run in runs:
        for point in run.curve:
            x, y = point.get(key), point.get("valid_perplexity")
            if not (_positive(x) and _positive(y)):
                continue
            xs.append(x)
            ys.append(y)
            epoch = f"epoch {point['epoch']:g}, " if _positive(point.get("epoch")) else ""
            notes.append(f"perplexity {number(y)}<br>{epoch}{seconds(x) if key == 'seconds' else whole(x) + ' words'}")
        if run is not runs[-1] and xs:
            xs.append(None)
            ys.append(None)
            notes.append("")
    return Series(label, xs, ys, notes)


def _bands(by_label: Mapping[str, list[RunRecord]], reference: str | None) -> ComparisonFigure:
    values = {label: _band_means(runs) for label, runs in by_label.items()}
    values = {label: bands for label, bands in values.items() if bands}
    order = sorted({band for bands in values.values() for band in bands})
    axis = Axis("rank of the word, frequent to rare", False, ["–".join(map(_rank, band)) for band in order])
    whole_view = View(
        "Perplexity",
        axis,
        Axis("test perplexity"),
        [_band_series(label, bands, order, None) for label, bands in values.items()],
    )
    full = values.get(reference or "", {})
    ratios = [_band_series(label, bands, order, full) for label, bands in values.items()]
    limit = _limit(y for each in ratios for y in each.y if y)
    relative = View(
        "Against full softmax", axis, Axis("perplexity ÷ full softmax's", limit=limit), ratios, level=(1.0, "")
    )
    views = ([relative] if full and len(values) > 1 else []) + [whole_view] if values else []
    return ComparisonFigure(
        "bands",
        "Perplexity by word frequency",
        "Approximations rarely cost all words alike: look at the right, where the rare ones are.",
        "lines",
        views,
    )


def _band_means(runs: Sequence[RunRecord]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        for band in run.bands:
            if _positive(band.get("perplexity")) and "lowest_rank" in band and "highest_rank" in band:
                found.setdefault((band["lowest_rank"], band["highest_rank"]), []).append(band["perplexity"])
    return {band: fmean(each) for band, each in found.items()}


def _band_series(
    label: str,
    bands: Mapping[tuple[int, int], float],
    order: Sequence[tuple[int, int]],
    full: Mapping[tuple[int, int], float] | None,
) -> Series:
    xs: list[float | None] = []
    ys: list[float | None] = []
    notes = []
    for place, band in enumerate(order):
        value = bands.get(band)
        base = 1.0 if full is None else full.get(band)
        xs.append(float(place))
        ys.append(value / base if value and base else None)
        times = f", {value / base:.3f} × full" if full and value and base else ""
        notes.append(f"words {_band_name(*band)}<br>perplexity {number(value)}{times}" if value else "")
    return Series(label, xs, ys, notes)


def _band_name(lowest: int, highest: int) -> str:
    return f"{lowest:,}–{highest:,}"


def _rank(rank: int) -> str:
    """A rank in few characters: 1,001 and 1,000 are 1k."""
    return f"{rank / 1000:.3g}k" if rank >= 1000 else str(rank)


def _gradients(by_label: Mapping[str, list[RunRecord]]) -> ComparisonFigure:
    views = []
    for name, key, title, power in (
        ("Error", "gradient_rmse", "error of the gradient, relative", 0.5),
        ("Bias", "gradient_bias", "bias of the gradient, relative", 1.0),
    ):
        series = [each for label, runs in by_label.items() if (each := _gradient_series(label, runs, key)).x]
        if series:
            note = f"Dotted: falling as {'1/√k' if power == 0.5 else '1/k'}, the rate that estimators promise."
            views.append(View(name, Axis("samples k"), Axis(title), series, guides=_guides(series, power), note=note))
    return ComparisonFigure(
        "gradients",
        "Gradient error against samples",
        "Measured on each method's trained model. An error of 1 is as large as the gradient itself; exact methods have "
        "none.",
        "lines",
        views,
    )


def _gradient_series(label: str, runs: Sequence[RunRecord], key: str) -> Series:
    found: dict[float, list[float]] = {}
    for run in runs:
        for point in run.gradient_error:
            if _positive(point.get("samples")) and _positive(point.get(key)):
                found.setdefault(point["samples"], []).append(point[key])
    points = [(samples, fmean(errors)) for samples, errors in sorted(found.items())]
    return Series(
        label, [x for x, _ in points], [y for _, y in points], [f"{whole(x)} samples<br>{y:.3g}" for x, y in points]
    )


def _guides(series: Sequence[Series], power: float) -> list[list[Point]]:
    """Lines of the promised rate along the lower and the upper side of what is drawn."""
    points = [(x, y) for each in series for x, y in zip(each.x, each.y, strict=True) if x and y]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    if first == last:
        return []
    scaled = sorted(y * x**power for x, y in points)
    return [[(x, level * x**-power) for x in (first, last)] for level in (scaled[0] * 0.8, scaled[-1] * 1.25)]


def _limit(values: Iterable[float], keep: float = 0.0) -> float | None:
    """The largest value that is not far off: within 3 interquartile ranges of the others, in logarithms, or to keep."""
    logs = sorted(map(math.log, values))
    if len(logs) < 4:
        return None
    lower, _, upper = quantiles(logs, n=4, method="inclusive")
    inside = [value for value in logs if value <= upper + 3 * max(upper - lower, 0.02)]
    limit = 1.001 * max(math.exp(inside[-1]), keep)
    return limit if logs[-1] > math.log(limit) else None


def _positive(value: Any) -> TypeGuard[float]:
    """Whether a value has a place on a logarithmic axis."""
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0
