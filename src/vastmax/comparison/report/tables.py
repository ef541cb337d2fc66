"""A comparison's tables: text for a terminal, and the page's cells with what they are sorted by and what stands out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vastmax.comparison.report.formats import memory, number, seconds, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import Estimate, SummaryRow, summary_rows

__all__ = ["comparison_table", "extra_tables", "method_table"]

_COLUMNS = [
    ("Method", False, "its name here; a link leads to where it was published"),
    ("Kind", False, ""),
    ("Test", True, "perplexity of the test text"),
    ("vs\N{NO-BREAK SPACE}full", True, "test perplexity against the full softmax's"),
    ("Valid", True, "perplexity of the validation text"),
    ("Train", True, "perplexity of the training text"),
    ("Training", True, "time spent in training"),
    ("Words/s", True, "words a second in training"),
    (
        "To full +\N{NO-BREAK SPACE}5\N{NO-BREAK SPACE}%",
        True,
        "training until full softmax's final validation perplexity + 5 %",
    ),
    ("Test words/s", True, "words of the test text a second, exact and normalised"),
    ("Memory", True, "the most that the run's process held"),
    ("Parameters", True, "of the whole model"),
]
_TREE = {
    "kind": "kind",
    "num_words": "words",
    "entropy_bits": "entropy, bits",
    "mean_bits": "mean path, bits",
    "longest_path": "longest",
    "balanced_bits": "balanced, bits",
    "num_classes": "classes",
    "largest_class": "largest",
    "mean_logits": "logits",
    "saving": "saving",
    "building_seconds": "built in, s",
}
_CHECKS = {
    "samples": "samples",
    "hidden_gradient_bias": "gradient bias",
    "hidden_gradient_rmse": "gradient error",
    "effective_sample_size": "effective samples",
    "kl_divergence": "KL(P‖Q), nats",
    "log_partition_mean": "mean log Z",
    "log_partition_std": "spread of log Z",
    "largest_difference": "largest error",
    "largest_sum_error": "largest |Σp − 1|",
}


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
    return columns, [_texts(row) for row in summary_rows(records)]


def _texts(row: SummaryRow) -> list[str]:
    return [
        row.label,
        row.kind or "",
        *(_spread_text(number, each) for each in (row.test, row.valid, row.train)),
        _mean_text(seconds, row.training_seconds),
        _mean_text(whole, row.training_speed),
        _to_full_text(row),
        _mean_text(whole, row.evaluation_speed),
        _mean_text(memory, row.peak_memory),
        _mean_text(whole, row.parameters),
        _status_text(row),
    ]


def method_table(rows: Sequence[SummaryRow], reference: str | None) -> dict[str, Any]:
    """Return columns, rows of runs that are done and of those that failed, and a note, for the page's first table."""
    done = [row for row in rows if row.status == "done"]
    full = next((row.test.mean for row in done if row.label == reference and row.test), None)
    usual = Counter(row.budget for row in rows).most_common(1)[0][0] if rows else ""
    columns = [
        {"name": name, "numeric": numeric, "hint": hint, "sorted": "ascending" if name == "Test" else "none"}
        for name, numeric, hint in _COLUMNS
    ]
    cells = [_cells(row, full) for row in done]
    for column, (better, bars) in _STANDING_OUT.items():
        _stand_out([each[column] for each in cells], better, bars)
    several = any(row.done + row.failed > 1 for row in rows)
    return {
        "columns": columns,
        "rows": [{**_method(row, usual), "cells": each} for row, each in zip(done, cells, strict=True)],
        "failed": [{**_method(row, usual), "error": row.error or ""} for row in rows if row.status != "done"],
        "table_note": "Means over seeds, ± their standard deviation." if several else "",
    }


# index among a row's cells: which end is better, and whether bars show the size
_STANDING_OUT = {0: (min, False), 5: (max, True), 6: (min, False), 7: (max, True), 8: (min, False)}


def _method(row: SummaryRow, usual_budget: str) -> dict[str, Any]:
    notes = [row.budget] if row.budget != usual_budget else []
    notes += [_status_text(row)] if row.failed and row.done else []
    url = re.search(r"https?://\S+", row.reference or "")
    return {
        "label": row.label,
        "kind": row.kind,
        "reference": row.reference,
        "url": url[0].rstrip(".,;)") if url else None,
        "notes": notes,
    }


def _cells(row: SummaryRow, full: float | None) -> list[dict[str, Any]]:
    ratio = None if full is None or row.test is None else Estimate(row.test.mean / full)
    to_full = _cell(row.seconds_to_full, _to_full_text(row))
    if row.reaches_full is False:
        to_full["value"] = "Infinity"
    return [
        _cell(row.test, _mean_text(number, row.test), spread=True),
        _cell(ratio, "" if ratio is None else _difference(ratio.mean)),
        _cell(row.valid, _mean_text(number, row.valid), spread=True),
        _cell(row.train, _mean_text(number, row.train)),
        _cell(row.training_seconds, _mean_text(seconds, row.training_seconds)),
        _cell(row.training_speed, _mean_text(whole, row.training_speed)),
        to_full,
        _cell(row.evaluation_speed, _mean_text(whole, row.evaluation_speed)),
        _cell(row.peak_memory, _mean_text(memory, row.peak_memory)),
        _cell(row.parameters, _mean_text(whole, row.parameters)),
    ]


def _cell(value: Estimate | None, text: str, *, spread: bool = False) -> dict[str, Any]:
    deviation = value.deviation if value and spread else None
    return {
        "text": text,
        "spread": "" if deviation is None else _deviation_text(deviation),
        "value": "" if value is None else repr(value.mean),
        "best": False,
        "share": None,
    }


def _difference(ratio: float) -> str:
    if ratio == 1:
        return "0 %"
    return f"× {ratio:.2f}" if ratio >= 2 else f"{100 * (ratio - 1):+.1f} %".replace("-", "−")


def _stand_out(cells: Sequence[dict[str, Any]], better: Callable[[Iterable[float]], float], bars: bool) -> None:
    values = [float(cell["value"]) for cell in cells if cell["value"] not in ("", "Infinity")]
    if len(values) < 2:
        return
    for cell in cells:
        if cell["value"] in ("", "Infinity"):
            continue
        value = float(cell["value"])
        cell["best"] = value == better(values)
        cell["share"] = round(value / max(values), 3) if bars and max(values) > 0 else None


def extra_tables(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return the tables of trees and of checks, as far as the records have them; of several seeds the first run's."""
    first = list({run.label: run for run in reversed(runs) if run.status == "done"}.values())[::-1]
    found = [
        _table(
            "trees",
            "Trees and classes",
            "What a word costs: decisions along its path in a tree, or logits of two levels, weighted by frequency. "
            "The entropy is the least that any tree can reach. Building one, skip-gram vectors for it included, is "
            "part of no budget, nor is another run whose vectors it borrows.",
            _TREE,
            [(run.label, {**run.tree, "building_seconds": run.building_seconds} if run.tree else {}) for run in first],
        ),
        _table(
            "checks",
            "Checks and diagnostics",
            "Training's gradient against the exact one on the trained model (an error of 1 is as large as the gradient "
            "itself), the normaliser Z, and log-probabilities against the normalised table in float64.",
            _CHECKS,
            [(run.label, {**(run.diagnostics or {}), **(run.brute_force or {})}) for run in first],
        ),
    ]
    return [table for table in found if table["rows"]]


def _table(name: str, title: str, text: str, fields: dict[str, str], rows: list[tuple[str, dict]]) -> dict[str, Any]:
    known = [field for field in fields if any(row.get(field) is not None for _, row in rows)]
    rows = [(label, row) for label, row in rows if any(row.get(field) is not None for field in known)]
    return {
        "name": name,
        "title": title,
        "text": text,
        "columns": [{"name": fields[field], "numeric": field != "kind"} for field in known],
        "rows": [(label, [_value(field, row.get(field)) for field in known]) for label, row in rows],
    }


def _value(field: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if field == "saving":
        return f"{100 * value:.1f} %".replace("-", "−")
    decimals = 0 if value == int(value) else 2
    text = f"{value:,.{decimals}f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"
    return text.replace("-", "−")


def _status_text(row: SummaryRow) -> str:
    """Return "done", or what failed and why."""
    if not row.failed:
        return row.status
    which = "failed" if not row.done else f"{row.failed} of {row.done + row.failed} seeds failed"
    return f"{which}: {row.error}" if row.error else which


def _mean_text(text: Callable[[float], str], value: Estimate | None) -> str:
    """Return a mean in a format, or nothing where there is none."""
    return "" if value is None else text(value.mean)


def _spread_text(text: Callable[[float], str], value: Estimate | None) -> str:
    """Return a mean in a format, and over several seeds its standard deviation."""
    if value is None or value.deviation is None:
        return _mean_text(text, value)
    return f"{text(value.mean)} ± {_deviation_text(value.deviation)}"


def _deviation_text(deviation: float) -> str:
    """Return a standard deviation with a decimal, like what it belongs to; with one digit where that would be none."""
    return f"{deviation:.1g}" if 0 < deviation < 0.05 else number(deviation)


def _to_full_text(row: SummaryRow) -> str:
    """Return the time to full softmax's quality, "never", or nothing where that cannot be known."""
    return "never" if row.reaches_full is False else _mean_text(seconds, row.seconds_to_full)
