"""A comparison as text: one row a method, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vastmax.comparison.report.formats import memory, number, seconds, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import Estimate, SummaryRow, summary_rows

__all__ = ["comparison_table", "deviation_text", "mean_text", "spread_text", "status_text", "to_full_text"]


def comparison_table(records: Iterable[RunRecord]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of text for a terminal, in the order of :func:`summary_rows`.

    A failed run's row ends in its sentence.

    Example:
        >>> columns, rows = comparison_table([RunRecord(label="full", layer="full", perplexity={"test": 114.53})])
        >>> dict(zip(columns, rows[0]))["test"]
        '114.5'
    """
    columns = [
        "method", "kind", "test", "valid", "train", "training", "words/s", "to full + 5 %", "test words/s", "memory",
        "parameters", "status",
    ]  # fmt: skip
    return columns, [_cells(row) for row in summary_rows(records)]


def _cells(row: SummaryRow) -> list[str]:
    return [
        row.label,
        row.kind or "",
        *(spread_text(number, each) for each in (row.test, row.valid, row.train)),
        mean_text(seconds, row.training_seconds),
        mean_text(whole, row.training_speed),
        to_full_text(row),
        mean_text(whole, row.evaluation_speed),
        mean_text(memory, row.peak_memory),
        mean_text(whole, row.parameters),
        status_text(row),
    ]


def status_text(row: SummaryRow) -> str:
    """Return "done", or what failed and why."""
    if not row.failed:
        return row.status
    which = "failed" if not row.done else f"{row.failed} of {row.done + row.failed} seeds failed"
    return f"{which}: {row.error}" if row.error else which


def mean_text(text: Callable[[float], str], value: Estimate | None) -> str:
    """Return a mean in a format, or nothing where there is none."""
    return "" if value is None else text(value.mean)


def spread_text(text: Callable[[float], str], value: Estimate | None) -> str:
    """Return a mean in a format, and over several seeds its standard deviation."""
    if value is None or value.deviation is None:
        return mean_text(text, value)
    return f"{text(value.mean)} ± {deviation_text(value.deviation)}"


def deviation_text(deviation: float) -> str:
    """Return a standard deviation with a decimal, like what it belongs to; with one digit where that would be none."""
    return f"{deviation:.1g}" if 0 < deviation < 0.05 else number(deviation)


def to_full_text(row: SummaryRow) -> str:
    """Return the time to full softmax's quality, "never", or nothing where that cannot be known."""
    return "never" if row.reaches_full is False else mean_text(seconds, row.seconds_to_full)
