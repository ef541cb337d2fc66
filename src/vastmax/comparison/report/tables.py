"""The tables of a comparison: text for a terminal, and the page's cells with sort keys and highlighting."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from vastmax.comparison.report.formats import memory, number, seconds, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import Estimate, SummaryRow, summary_rows
from vastmax.comparison.report.verdict import Pair

__all__ = ["comparison_table", "extra_tables", "method_table", "pairs_table"]

_TREE = {
    "kind": "kind",
    "num_words": "words",
    "entropy_bits": "entropy, bits",
    "mean_bits": "mean path, bits",
    "longest_path": "longest path",
    "balanced_bits": "balanced, bits",
    "num_classes": "classes",
    "largest_class": "largest class",
    "mean_logits": "mean logits",
    "saving": "saving",
    "building_seconds": "build time, s",
}
_CHECKS = {
    "samples": "samples",
    "hidden_gradient_bias": "gradient bias",
    "hidden_gradient_rmse": "gradient error",
    "effective_sample_size": "effective samples",
    "kl_divergence": "KL(P‖Q), nats",
    "log_partition_mean": "mean log Z",
    "log_partition_std": "std of log Z",
    "largest_difference": "largest error",
    "largest_sum_error": "largest |Σp − 1|",
}


class _Column(NamedTuple):
    """A numeric column: heading and tooltip on the page, the field of `SummaryRow`, and its format."""

    name: str
    hint: str
    field: str
    text: Callable[[float], str]
    best: Callable[[Iterable[float]], float] | None = None  # min or max, to highlight; columns with max have bars


_NUMBERS = [
    _Column("Test", "perplexity on the test text", "test", number, min),
    _Column(
        "Per character", "test perplexity per character, comparable across vocabularies", "character", "{:.3f}".format
    ),
    _Column("Valid", "perplexity on the validation text", "valid", number),
    _Column("Train", "perplexity on the training text", "train", number),
    _Column("Epochs", "passes over the training text", "epochs", "{:.2g}".format),
    _Column("Training", "training time, without evaluation", "training_seconds", seconds),
    _Column("Words/s", "training words per second", "training_speed", whole, max),
    _Column(
        "To full +\N{NO-BREAK SPACE}5\N{NO-BREAK SPACE}%",
        "training time until the validation perplexity reaches the full softmax's final one + 5 %",
        "seconds_to_full",
        seconds,
        min,
    ),
    _Column("Test words/s", "exact log-probabilities of test words per second", "evaluation_speed", whole, max),
    _Column("Memory", "peak memory of the run's process", "peak_memory", memory, min),
    _Column("Parameters", "parameters of the whole model", "parameters", whole),
]


def comparison_table(records: Iterable[RunRecord]) -> tuple[list[str], list[list[str]]]:
    """Return column names and rows of text for a terminal, in the order of :func:`summary_rows`.

    The row of a failed run ends with its error.

    Example:
        >>> columns, rows = comparison_table([RunRecord(label="full", layer="full", perplexity={"test": 114.53})])
        >>> dict(zip(columns, rows[0]))["test"]
        '114.5'
    """
    found = summary_rows(records)
    columns = _columns(found)
    numbers = [column.name.lower().replace("\N{NO-BREAK SPACE}", " ") for column in columns]
    return ["method", "kind", *numbers, "status"], [
        [row.label, row.kind or "", *(_text_with_spread(row, column) for column in columns), _status_text(row)]
        for row in found
    ]


def _columns(rows: Sequence[SummaryRow]) -> list[_Column]:
    """Return the columns to show: perplexity per character only if a record has the numbers for it."""
    return [column for column in _NUMBERS if column.field != "character" or any(row.character for row in rows)]


def method_table(rows: Sequence[SummaryRow], reference: str | None) -> dict[str, Any]:
    """Return the columns, the rows of finished and of failed methods, and a note, for the page's first table."""
    done = [row for row in rows if row.status == "done"]
    full = next((row.test.mean for row in done if row.label == reference and row.test), None)
    usual = Counter(row.budget for row in rows).most_common(1)[0][0] if rows else ""
    columns = _columns(done)
    headings = [
        ("Method", "name of the method, linked to its publication"),
        ("Kind", ""),
        *((column.name, column.hint) for column in columns),
    ]
    headings.insert(3, ("vs\N{NO-BREAK SPACE}full", "test perplexity relative to the full softmax's"))
    cells = [[_cell(row, column) for column in columns] for row in done]
    for place, column in enumerate(columns):
        if column.best is not None:
            _stand_out([each[place] for each in cells], column.best)
    for row, each in zip(done, cells, strict=True):
        ratio = row.test.mean / full if full is not None and row.test else None
        each.insert(1, _written("", None) if ratio is None else _written(_difference(ratio), ratio))
    several = any(row.done + row.failed > 1 for row in rows)
    return {
        "columns": [
            {"name": name, "numeric": place > 1, "hint": hint, "sorted": "ascending" if name == "Test" else "none"}
            for place, (name, hint) in enumerate(headings)
        ],
        "rows": [{**_method(row, usual), "cells": each} for row, each in zip(done, cells, strict=True)],
        "failed": [{**_method(row, usual), "error": row.error or ""} for row in rows if row.status != "done"],
        "table_note": "Means over seeds ± standard deviation." if several else "",
    }


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


def _cell(row: SummaryRow, column: _Column) -> dict[str, Any]:
    text, value = _text(row, column), getattr(row, column.field)
    if text == "never":
        return _written(text, math.inf)
    spread = _spread(value) if column.field in ("test", "valid") else ""
    return _written(text, None if value is None else value.mean, spread)


def _written(text: str, value: float | None, spread: str = "") -> dict[str, Any]:
    sorted_by = "" if value is None else "Infinity" if value == math.inf else repr(value)
    return {"text": text, "spread": spread, "value": sorted_by, "best": False, "share": None}


def _difference(ratio: float) -> str:
    if ratio == 1:
        return "0 %"
    return f"× {ratio:.2f}" if ratio >= 2 else f"{100 * (ratio - 1):+.1f} %".replace("-", "−")


def _stand_out(cells: Sequence[dict[str, Any]], best: Callable[[Iterable[float]], float]) -> None:
    values = {place: float(cell["value"]) for place, cell in enumerate(cells) if cell["value"] not in ("", "Infinity")}
    if len(values) < 2:
        return
    for place, value in values.items():
        cells[place]["best"] = value == best(values.values())
        cells[place]["share"] = (
            round(value / max(values.values()), 3) if best is max and max(values.values()) > 0 else None
        )


def pairs_table(pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """Return the page's matrix of verdicts: one row and column per method, the best first; None without pairs."""
    if not pairs:
        return None
    labels = list(dict.fromkeys(label for pair in pairs for label in (pair.better, pair.worse)))
    found = {(pair.better, pair.worse): pair for pair in pairs}
    rows = []
    for rank, label in enumerate(labels, 1):
        cells = [_verdict(label, other, found.get((label, other)) or found.get((other, label))) for other in labels]
        rows.append({"label": label, "rank": rank, "cells": cells})
    return {"labels": labels, "rows": rows}


def _verdict(label: str, other: str, pair: Pair | None) -> dict[str, str]:
    """Compare the method of a row with that of a column: sign, sort key, and a tooltip with the gap."""
    if pair is None:
        return {"sign": "", "status": "", "value": "0", "hint": ""}
    sign = -1 if pair.better == label else 1
    chance = "" if pair.chance is None else f" ± {_percent(pair.chance)}"
    signs = {"different": "−" if sign < 0 else "+", "undecided": "≈", "still falling": "…"}
    gap = _percent(sign * pair.gap, signed=True)
    return {
        "sign": signs[pair.status],
        "status": pair.status.replace(" ", "-"),
        "value": repr(sign * pair.gap),
        "hint": f"{label} vs {other}: {gap}{chance} perplexity, {pair.status}",
    }


def _percent(logs: float, *, signed: bool = False) -> str:
    value = 100 * math.expm1(min(logs, 700.0))
    return f"{value:{'+' if signed else ''}{',.0f' if abs(value) >= 100 else '.2g'}} %".replace("-", "−")


def extra_tables(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return the tables of learning rates, trees and checks that the records have data for, from each first seed."""
    first = list({run.label: run for run in reversed(runs) if run.status == "done"}.values())[::-1]
    rates = {f"{rate:g}": f"loss at {rate:g}" for run in first for rate, _ in _tried(run)}
    found = [
        _table(
            "rates",
            "Learning rates",
            "How the learning rate of each method was chosen. Probe: the rate with the lowest loss after a few steps "
            "from the same initial model; Adagrad's is then increased, as the run is longer. All diverged: the lowest "
            "rate tried. Too short: the usual rate for the number of steps. No memory for a copy of the model: the "
            "default.",
            {"chosen": "chosen", "why": "reason", **dict(sorted(rates.items(), key=lambda each: float(each[0])))}
            | {"steps": "steps", "seconds": "probe time, s"},
            [(run.label, _rates(run)) for run in first],
        ),
        _table(
            "trees",
            "Trees and classes",
            "The cost per word, weighted by frequency: decisions on its path in a tree, or logits of two levels. The "
            "entropy is the lower bound of every tree's mean path. The budget does not include building a tree, with "
            "skip-gram vectors for it, nor another run whose vectors it uses.",
            _TREE,
            [(run.label, {**run.tree, "building_seconds": run.building_seconds} if run.tree else {}) for run in first],
        ),
        _table(
            "checks",
            "Checks and diagnostics",
            "The training gradient compared with the exact one on the trained model (an error of 1 is as large as the "
            "gradient itself), the normaliser Z, and log-probabilities compared with the normalised table in float64.",
            _CHECKS,
            [(run.label, {**(run.diagnostics or {}), **(run.brute_force or {})}) for run in first],
        ),
    ]
    return [table for table in found if table["rows"]]


def _tried(run: RunRecord) -> list[tuple[float, float | None]]:
    """Return the trial rates of a probe, each with its loss; what is not a number is left out."""
    probe = run.probe or {}
    rates, losses = (each if isinstance(each, list) else [] for each in (probe.get("rates"), probe.get("losses")))
    pairs = zip_longest(rates, losses[: len(rates)])
    return [(rate, loss if _is_number(loss) else None) for rate, loss in pairs if _is_number(rate)]


def _rates(run: RunRecord) -> dict[str, Any]:
    probe = run.probe or {}
    facts = {name: probe.get(name) for name in ("chosen", "steps", "seconds")}
    row: dict[str, Any] = {name: value for name, value in facts.items() if _is_number(value)}
    if "chosen" in row:
        row |= {"chosen": f"{row['chosen']:g}", "why": str(probe.get("why") or "")}
    return row | {f"{rate:g}": math.inf if loss is None else loss for rate, loss in _tried(run)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _table(name: str, title: str, text: str, fields: dict[str, str], rows: list[tuple[str, dict]]) -> dict[str, Any]:
    known = [field for field in fields if any(row.get(field) is not None for _, row in rows)]
    rows = [(label, row) for label, row in rows if any(row.get(field) is not None for field in known)]
    return {
        "name": name,
        "title": title,
        "text": text,
        "columns": [{"name": fields[field], "numeric": field not in ("kind", "why")} for field in known],
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
    """Return "done", or how many runs failed and why."""
    if not row.failed:
        return row.status
    which = "failed" if not row.done else f"{row.failed} of {row.done + row.failed} seeds failed"
    return f"{which}: {row.error}" if row.error else which


def _text(row: SummaryRow, column: _Column) -> str:
    """Format a mean; "never" if a run never reached the full softmax's quality."""
    value = getattr(row, column.field)
    if column.field == "seconds_to_full" and row.reaches_full is False:
        return "never"
    return "" if value is None else column.text(value.mean)


def _text_with_spread(row: SummaryRow, column: _Column) -> str:
    spread = _spread(getattr(row, column.field)) if column.text is number else ""
    return _text(row, column) + (f" ± {spread}" if spread else "")


def _spread(value: Estimate | None) -> str:
    """Format a standard deviation with one decimal, like its mean, or with one significant digit if below 0.05."""
    if value is None or value.deviation is None:
        return ""
    return f"{value.deviation:.1g}" if 0 < value.deviation < 0.05 else number(value.deviation)
