"""Convert series to plotly traces and axes, which the page's script draws.

Colours are CSS variables such as ``var(--ink)``, which the script reads from the theme; it also sets the fonts and the
grid of all figures. A method's trace has the label of the method as ``meta``, so that the script can hide and fade it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import quantiles
from typing import Any

__all__ = [
    "MethodStyle",
    "Series",
    "axis",
    "between",
    "limit_of",
    "line_traces",
    "method_styles",
    "out_of_sight",
    "point_traces",
    "time_axis",
]

# colour-blind safe; methods never differ by colour alone
_COLOURS = [f"var(--series-{number})" for number in range(1, 7)]
_DASHES = ["solid", "dash", "dot", "dashdot"]
# plotly's symbols, and their paths in a 14 × 14 SVG
_SYMBOLS = {
    "circle": "M7 2.5a4.5 4.5 0 1 0 .01 0z",
    "square": "M3 3h8v8H3z",
    "diamond": "M7 1.5L12.5 7 7 12.5 1.5 7z",
    "triangle-up": "M7 2l5.5 9.5h-11z",
    "triangle-down": "M7 12L1.5 2.5h11z",
    "cross": "M5.3 2h3.4v3.3H12v3.4H8.7V12H5.3V8.7H2V5.3h3.3z",
    "x": "M3.8 1.8L7 5l3.2-3.2 2 2L9 7l3.2 3.2-2 2L7 9l-3.2 3.2-2-2L5 7 1.8 3.8z",
}
_STAR = "M7 .8l1.8 4 4.4.5-3.3 3 .9 4.3L7 10.4l-3.8 2.2.9-4.3-3.3-3 4.4-.5z"
_TIMES = {
    f"{count} {unit}": count * size
    for unit, size, counts in (
        ("s", 1, (1, 2, 5, 10, 20)),
        ("min", 60, (1, 2, 5, 10, 20)),
        ("h", 3600, (1, 2, 5, 10)),
        ("d", 86_400, (1, 2, 5, 10)),
    )
    for count in counts
}


@dataclass(frozen=True)
class MethodStyle:
    """The style of a method; ``dash`` and ``symbol`` are plotly names."""

    colour: str
    dash: str
    symbol: str
    path: str  # the symbol as a path in a 14 × 14 SVG
    width: float = 1.8  # of lines, in pixels
    size: float = 10  # of single points, in pixels


def method_styles(labels: Iterable[str], reference: str | None) -> dict[str, MethodStyle]:
    """Return a style for each label, assigned in the order given; the reference stands out in black."""
    others = (label for label in labels if label != reference)
    symbols = list(_SYMBOLS.items())
    styles = {
        label: MethodStyle(_COLOURS[place % 6], _DASHES[place // 6 % 4], *symbols[place % 7])
        for place, label in enumerate(others)
    }
    if reference is not None:
        styles[reference] = MethodStyle("var(--ink)", "solid", "star", _STAR, width=3, size=13)
    return styles


@dataclass(frozen=True)
class Series:
    """The points of one method in one view; a ``y`` of None breaks the line, and ``notes`` are tooltips."""

    method: str
    x: list[float | None] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, x: float | None, y: float | None, note: str = "") -> None:
        """Add a point, or a break."""
        self.x.append(x)
        self.y.append(y)
        self.notes.append(note)

    @property
    def known(self) -> list[tuple[float, float]]:
        """The points without the breaks."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if x is not None and y is not None]


def line_traces(series: Iterable[Series], styles: Mapping[str, MethodStyle]) -> list[dict[str, Any]]:
    """Return one line per method; a line with breaks, such as those of several seeds, is thinner."""
    return [
        {
            **_trace(each),
            "mode": "lines+markers",
            "line": {"color": style.colour, "dash": style.dash, "width": style.width * (0.65 if None in each.y else 1)},
            "marker": {"color": style.colour, "symbol": style.symbol, "size": 0.55 * style.size},
        }
        for each in series
        for style in [styles[each.method]]
    ]


def point_traces(series: Iterable[Series], styles: Mapping[str, MethodStyle], limit: float) -> list[dict[str, Any]]:
    """Return one point per method; a point beyond the limit becomes an arrow at the limit."""
    return [
        {
            **_trace(each),
            "y": [min(y, limit)],
            "mode": "markers",
            "cliponaxis": False,
            "marker": {
                "color": style.colour,
                "symbol": style.symbol if y <= limit else "arrow-up",
                "size": style.size,
                "line": {"color": "var(--card)", "width": 1},
            },
        }
        for each in series
        for style, ((_, y),) in [(styles[each.method], each.known)]
    ]


def _trace(series: Series) -> dict[str, Any]:
    # plotly interprets some HTML in texts, but labels must be shown literally
    name = escape(series.method, quote=False)
    notes = [f"<b>{name}</b><br>{note}" for note in series.notes]
    return {"type": "scatter", "name": name, "meta": series.method, "x": series.x, "y": series.y, "text": notes}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return a logarithmic axis."""
    return {"type": "log", "title": {"text": title}, **more}


def between(values: Iterable[float], limit: float = math.inf) -> dict[str, Any]:
    """Return the range of an axis: the values up to a limit, with a small margin."""
    inside = [value for value in values if value <= limit]
    room = max((max(inside) / min(inside)) ** 0.05, 1.02)
    return {"autorangeoptions": {"clipmin": min(inside) / room, "clipmax": max(inside) * room}}


def time_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis of seconds, with ticks at round durations."""
    return axis(title, tickvals=list(_TIMES.values()), ticktext=list(_TIMES))


def limit_of(values: Iterable[float], keep: float = 0.0) -> float:
    """Return the largest value that is not an outlier: at most 3 interquartile ranges above the upper quartile.

    Ranges are of the logarithms of the values. ``keep`` is never an outlier. Infinity if there are none.
    """
    logs = sorted(map(math.log, values))
    if len(logs) < 4:
        return math.inf
    lower, _, upper = quantiles(logs, n=4, method="inclusive")
    inside = [value for value in logs if value <= upper + 3 * max(upper - lower, 0.02)]
    limit = 1.001 * max(math.exp(inside[-1]), keep)
    return limit if logs[-1] > math.log(limit) else math.inf


def out_of_sight(series: Sequence[Series], limit: float) -> str:
    """Return a sentence naming the methods beyond the limit, each with its smallest value; or an empty string."""
    least = {each.method: min(y for _, y in each.known) for each in series if each.known}
    far = [f"{label} ({float(f'{value:.4g}'):,.10g})" for label, value in least.items() if value > limit]
    return f"Above the plotted range: {', '.join(far)}." if far else ""
