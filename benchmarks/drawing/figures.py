"""What figures have in common: matplotlib when it is needed, colours, labels beside lines, files."""

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

# Told apart by people who do not see red and green alike, and not by colour alone: after Okabe, Ito, *Color Universal
# Design*, 2008, https://jfly.uni-koeln.de/color/, its yellow left out and its light colours darkened for text on white.
COLOURS = ("#0072B2", "#D55E00", "#00805E", "#B3478F", "#B07A00", "#2E93C9", "#5B5B5B")
MARKERS = "osD^vP*"
INK = "#3A3A3A"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches, with one pair of axes, that needs no display.

    Raises:
        InputError: where matplotlib is not installed.
    """
    figure, panels = new_panels(width, height, 1)
    return figure, panels[0]


def new_panels(width: float, height: float, number: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many inches, with so many pairs of axes side by side; else as :func:`new_figure`."""
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
    """Write its name beside the end of each line, in its colour; names stand ``apart`` of the height."""
    lines = axes.get_lines()[: len(names)]
    place = (axes.transData + axes.transAxes.inverted()).transform
    ends = [place((line.get_xdata()[-1], line.get_ydata()[-1]))[1] for line in lines]  # type: ignore[index]
    order = sorted(range(len(ends)), key=ends.__getitem__)
    # as low as the line allows, then all moved down together where they have been pushed out at the top
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
    """Write a figure as SVG and as PNG, side by side, and return both paths.

    The same figure makes the same bytes: no date, no random names.

    Args:
        figure: of matplotlib.
        path: of either file; its ending is not looked at.

    Raises:
        InputError: where the folder does not exist.
    """
    stem = Path(path).with_suffix("")
    if not stem.parent.is_dir():
        raise InputError(f"the folder {stem.parent} does not exist: make it first.")
    svg, png = stem.with_suffix(".svg"), stem.with_suffix(".png")
    with import_module("matplotlib").rc_context({"svg.hashsalt": "vastmax"}):
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=160)
    return [svg, png]
