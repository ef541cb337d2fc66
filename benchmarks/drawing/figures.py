"""Helpers for figures: lazy import of matplotlib, colours, labels beside lines, saving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vastmax.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "MARKERS", "label_lines", "new_figure", "new_panels", "save_figure"]

# Colour-blind safe, after Okabe, Ito, *Color Universal Design*, 2008, https://jfly.uni-koeln.de/color/, without yellow
# and with the light colours darkened for text on white. Lines also differ by marker.
COLOURS = ("#0072B2", "#D55E00", "#00805E", "#B3478F", "#B07A00", "#2E93C9", "#5B5B5B")
MARKERS = "osD^vP*"
INK = "#3A3A3A"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches with one pair of axes; it needs no display.

    Raises:
        InputError: if matplotlib is not installed.
    """
    figure, panels = new_panels(width, height, 1)
    return figure, panels[0]


def new_panels(width: float, height: float, number: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of a size in inches with several pairs of axes side by side, as :func:`new_figure`."""
    try:
        figure: Figure = import_module("matplotlib.figure").Figure((width, height), layout="constrained", facecolor="w")
    except ImportError:
        raise InputError("plots need matplotlib: pip install matplotlib") from None
    panels = figure.subplots(1, number, squeeze=False)[0].tolist()
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#9A9A9A")
        axes.tick_params(which="both", color="#9A9A9A", labelcolor=INK)
    return figure, panels


def label_lines(axes: Axes, names: Sequence[str], *, apart: float) -> None:
    """Write the name of each line beside its end, in its colour, at least ``apart`` of the height apart."""
    lines = axes.get_lines()[: len(names)]
    place = (axes.transData + axes.transAxes.inverted()).transform
    ends = [place((line.get_xdata()[-1], line.get_ydata()[-1]))[1] for line in lines]  # type: ignore[index]
    order = sorted(range(len(ends)), key=ends.__getitem__)
    # stack upwards from the line ends, then move down those pushed out at the top
    heights: dict[int, float] = {}
    lowest = float("-inf")
    for index in order:
        heights[index] = lowest = max(ends[index], lowest + apart)
    highest = 1.0
    for index in reversed(order):
        heights[index] = highest = min(heights[index], highest)
        highest -= apart
    for index, (line, name) in enumerate(zip(lines, names, strict=True)):
        end = float(line.get_xdata()[-1]), float(line.get_ydata()[-1])  # type: ignore[index]
        axes.annotate(
            name,
            end,
            xytext=(1.03, heights[index]),
            textcoords="axes fraction",
            va="center",
            color=line.get_color(),
            fontsize=9.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "lw": 0.6, "alpha": 0.5, "relpos": (0, 0.5)},
        )


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> list[Path]:
    """Save a figure as SVG and PNG in the same folder, and return both paths.

    The output is deterministic: no date, no random ids.

    Args:
        figure: a matplotlib figure.
        path: path of either file; its suffix is ignored.

    Raises:
        InputError: if the folder does not exist.
    """
    stem = Path(path).with_suffix("")
    if not stem.parent.is_dir():
        raise InputError(f"the folder {stem.parent} does not exist: make it first.")
    svg, png = stem.with_suffix(".svg"), stem.with_suffix(".png")
    with import_module("matplotlib").rc_context({"svg.hashsalt": "vastmax"}):
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=160)
    return [svg, png]
