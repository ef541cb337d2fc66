"""Draw how the time and the memory of a training step grow with the number of classes.

    python -m benchmarks.drawing.steps_against_classes RECORDS SVG

RECORDS are lines that ``benchmarks/layers.py -o`` wrote, with one shape and several V.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vastmax.errors import InputError

from .figures import COLOURS, INK, MARKERS, label_lines, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["steps_against_classes"]

_PANELS = {
    "step_seconds": ("a training step, ms", 1e3),
    "peak_extra_bytes": ("memory of a step beside parameters and gradients, MB", 1e-6),
}
_NAMES = {"torch-full": "torch's full softmax", "full:block_size=8192": "full, block_size=8192"}


def steps_against_classes(records: Iterable[Mapping[str, Any]]) -> Figure:
    """Return two logarithmic plots against V: milliseconds and megabytes of a training step, one line a layer.

    Args:
        records: those of ``benchmarks/layers.py``; faulty ones are left out, and of a repeated one the last counts.

    Raises:
        InputError: if no layer was measured at two V, or matplotlib is missing.
    """
    layers: dict[str, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        if not record.get("fault"):
            layers.setdefault(record["contender"], {})[record["vocabulary"]] = record
    layers = {name: dict(sorted(each.items())) for name, each in layers.items() if len(each) > 1}
    if not layers:
        raise InputError("no layer was measured at two V: give records of one shape with several --vocabulary.")
    ticker = import_module("matplotlib.ticker")
    figure, panels = new_panels(11, 4.2, len(_PANELS))
    for axes, (field, (title, factor)) in zip(panels, _PANELS.items(), strict=True):
        for number, each in enumerate(layers.values()):
            values = [factor * record[field] for record in each.values()]
            axes.plot(list(each), values, color=COLOURS[number], marker=MARKERS[number], markersize=5, linewidth=1.7)
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log")
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axes.set_xticks(sorted({size for each in layers.values() for size in each}))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set_xlabel("classes, V", color=INK)
        axes.set_title(title, loc="left", color=INK, fontsize=11)
        axes.grid(True, which="major", color="#E4E4E4", linewidth=0.7)
        figure.draw_without_rendering()  # settles where lines end, which the labels need
        label_lines(axes, [_NAMES.get(name, name.partition(":")[0]) for name in layers], apart=0.065)
    return figure


def main() -> None:
    """Draw the records that the arguments name."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    records = map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    *_, png = save_figure(steps_against_classes(records), sys.argv[2])
    png.unlink()


if __name__ == "__main__":
    main()
