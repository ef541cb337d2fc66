"""Series as plotly's traces and axes: what is drawn, for the page's script to draw as it stands here.

Colours are CSS variables, ``var(--ink)``, which the script reads from the theme; it has the fonts and the grid of all
figures, too. A method's trace has the method's label as its ``meta``, so that the script can hide and fade methods.
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

# told apart by people who do not see red and green alike, and never by colour alone
_COLOURS = [f"var(--series-{number})" for number in range(1, 7)]
_DASHES = ["solid", "dash", "dot", "dashdot"]
# plotly's symbols, and the same as paths of an SVG of 14 by 14
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
    """One method's looks; ``dash`` and ``symbol`` are plotly's words."""

    colour: str
    dash: str
    symbol: str
    path: str  # of the symbol, in an SVG of 14 by 14
    width: float = 1.8  # of lines, in pixels
    size: float = 10  # of points that stand alone, in pixels


def method_styles(labels: Iterable[str], reference: str | None) -> dict[str, MethodStyle]:
    """Return a style a label, in the order given; the reference, which others are measured by, stands out in black."""
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
    """One method's points in one view; a ``y`` of None breaks the line, and ``notes`` are told on pointing."""

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
    """Return a line a method; one with breaks, as of several seeds, is thinner."""
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
    """Return a point a method; an arrow at the limit where it lies beyond."""
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
    # plotly reads a little HTML in its texts: labels are to be shown as they are
    name = escape(series.method, quote=False)
    notes = [f"<b>{name}</b><br>{note}" for note in series.notes]
    return {"type": "scatter", "name": name, "meta": series.method, "x": series.x, "y": series.y, "text": notes}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return a logarithmic axis."""
    return {"type": "log", "title": {"text": title}, **more}


def between(values: Iterable[float], limit: float = math.inf) -> dict[str, Any]:
    """Return how far an axis may reach: over the values up to a limit, and a little room."""
    inside = [value for value in values if value <= limit]
    room = max((max(inside) / min(inside)) ** 0.05, 1.02)
    return {"autorangeoptions": {"clipmin": min(inside) / room, "clipmax": max(inside) * room}}


def time_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis of seconds, with marks at round times."""
    return axis(title, tickvals=list(_TIMES.values()), ticktext=list(_TIMES))


def limit_of(values: Iterable[float], keep: float = 0.0) -> float:
    """Return the largest value that is not far off: within 3 interquartile ranges of the others, in logarithms.

    ``keep`` is never far off. Infinity where nothing is.
    """
    logs = sorted(map(math.log, values))
    if len(logs) < 4:
        return math.inf
    lower, _, upper = quantiles(logs, n=4, method="inclusive")
    inside = [value for value in logs if value <= upper + 3 * max(upper - lower, 0.02)]
    limit = 1.001 * max(math.exp(inside[-1]), keep)
    return limit if logs[-1] > math.log(limit) else math.inf


def out_of_sight(series: Sequence[Series], limit: float) -> str:
    """Return a sentence on the methods that lie beyond the limit, each with the least that it has; or nothing."""
    least = {each.method: min(y for _, y in each.known) for each in series if each.known}
    far = [f"{label} ({float(f'{value:.4g}'):,.10g})" for label, value in least.items() if value > limit]
    return f"Above the picture: {', '.join(far)}." if far else ""
