"""Draw docs/images/STUDY.svg from the committed records of every study.

    python -m studies.pictures [RECORDS SVG]

Left: test perplexity against training speed, with the Pareto front, the methods than which none is both faster and
better. Right: validation perplexity over training time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from adjustText import adjust_text
from benchmarks.drawing.figures import COLOURS, INK, MARKERS, label_lines, new_panels, save_figure

from vastmax.comparison.report import RunRecord, SummaryRow, pareto_front, read_records, summary_rows
from vastmax.comparison.report.summary import latest

ROOT = Path(__file__).parents[1]
KINDS = {"exact": 0, "estimator": 1, "surrogate": 2}
FARTHEST = 1.3  # perplexities above this multiple of the third quartile are drawn at the edge


def draw(records: Iterable[RunRecord], picture: Path) -> None:
    """Draw a study's figure as an SVG file."""
    runs = latest(records)
    rows = [row for row in summary_rows(runs) if row.test is not None and row.training_speed is not None]
    figure, (trade, fall) = new_panels(12, max(4.5, 0.24 * len(rows) + 1.2), 2)
    _trade(trade, rows)
    _fall(fall, [run for run in runs if run.curve and run.curve[-1]["valid_perplexity"]])
    save_figure(figure, picture)
    picture.with_suffix(".png").unlink()


def value(row: SummaryRow) -> tuple[float, float]:
    """Return words per second in training, and test perplexity."""
    assert row.training_speed is not None and row.test is not None
    return row.training_speed.mean, row.test.mean


def _edge(perplexities: Iterable[float]) -> float:
    return FARTHEST * float(np.quantile(list(perplexities), 0.75))


def _trade(axes: Any, rows: Sequence[SummaryRow]) -> None:
    values = [value(row) for row in rows]
    limit = _edge(perplexity for _, perplexity in values)
    front = pareto_front([(-speed, perplexity) for speed, perplexity in values])
    steps = sorted((values[row][0], min(values[row][1], limit)) for row in front)
    axes.plot(*zip(*steps, strict=True), color="#B5B5B5", lw=1.5, drawstyle="steps-pre", zorder=1)
    texts = []
    for row, (speed, perplexity) in zip(rows, values, strict=True):
        kind = KINDS[row.kind or "exact"]
        far = perplexity > limit
        axes.plot(speed, min(perplexity, limit), MARKERS[kind], color=COLOURS[kind], ms=6, zorder=2, clip_on=False)
        name = f"{row.label} ({perplexity:,.0f})" if far else row.label
        texts.append(axes.text(speed, min(perplexity, limit), name, fontsize=8.5, color=INK))
    for name, kind in KINDS.items():
        axes.plot([], [], MARKERS[kind], color=COLOURS[kind], label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain(axes, "xy")
    axes.set_xlabel("words a second in training")
    axes.set_ylabel("perplexity of the test text")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    # limited by iterations, not seconds, so that the figure is reproducible
    adjust_text(
        texts, ax=axes, expand=(1.1, 1.3), iter_lim=300, arrowprops={"arrowstyle": "-", "color": "#B5B5B5", "lw": 0.6}
    )


def _fall(axes: Any, runs: Sequence[RunRecord]) -> None:
    """Draw the curve of the full softmax, and those that end below the limit."""
    ends = {run.label: run.curve[-1]["valid_perplexity"] for run in runs}
    limit = _edge(ends.values())
    shown = [run for run in runs if run.layer == "full" or ends[run.label] <= limit]
    for number, run in enumerate(shown):
        curve = [(point["seconds"] / 60, point["valid_perplexity"]) for point in run.curve]
        style = ("-", "--", ":")[number // len(COLOURS) % 3]
        axes.plot(*zip(*curve, strict=True), style, color=COLOURS[number % len(COLOURS)], lw=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=min(axes.get_ylim()[1], 2 * limit))
    _plain(axes, "xy")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("perplexity of the validation text")
    label_lines(axes, [run.label for run in shown], apart=0.95 / max(len(shown), 12))


def _plain(axes: Any, which: str) -> None:
    """Label logarithmic axes with plain numbers, not powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for each in which:
        axis = getattr(axes, f"{each}axis")
        lowest, highest = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1,) if highest > 100 * lowest else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))
        axis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    if given := sys.argv[1:]:
        draw(read_records(given[0]), Path(given[1]))
    else:
        for file in sorted((ROOT / "studies").glob("*/records.jsonl")):
            draw(read_records(file), ROOT / "docs" / "images" / f"{file.parent.name}.svg")
