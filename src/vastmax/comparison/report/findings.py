"""What a comparison found, in sentences computed from its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vastmax.comparison.report.formats import number, whole
from vastmax.comparison.report.summary import MARGIN, Estimate, SummaryRow

__all__ = ["Finding", "findings"]


@dataclass(frozen=True)
class Finding:
    """One answer: the question in short, the method, its number, and a sentence.

    Attributes:
        title: "Best perplexity", …
        label: the method that it is about.
        value: its number, with the unit.
        sentence: says how that stands to the full softmax; it goes on after the label.
    """

    title: str
    label: str
    value: str
    sentence: str


def findings(rows: Sequence[SummaryRow], reference: str | None) -> list[Finding]:
    """Return the best perplexity, the fastest in training, and the fastest within 5 % of the full softmax.

    Args:
        rows: of :func:`~vastmax.comparison.report.summary.summary_rows`.
        reference: the full softmax's label; None where it was not run.
    """
    full = next((row for row in rows if row.label == reference and row.test), None)
    rated = [row for row in rows if row.test]
    timed = [row for row in rated if row.training_speed]
    found = []
    if rated:
        found.append(_best(min(rated, key=_test), full))
    if timed:
        found.append(_fastest("Fastest in training", max(timed, key=_speed), full))
    near = [row for row in timed if full and _test(row) <= MARGIN * _test(full)]
    if near:
        found.append(_fastest("Fastest within 5 % of full", max(near, key=_speed), full))
    return found


def _best(row: SummaryRow, full: SummaryRow | None) -> Finding:
    value = f"{number(_test(row))} test perplexity"
    if full is None:
        sentence = "has the lowest perplexity on the test text."
    elif row.label == full.label:
        sentence = "has the lowest perplexity on the test text: no approximation beats it here."
    else:
        sentence = f"has the lowest perplexity on the test text, {_against(row, full)}."
    return Finding("Best perplexity", row.label, value, sentence)


def _fastest(title: str, row: SummaryRow, full: SummaryRow | None) -> Finding:
    value = f"{whole(_speed(row))} words/s"
    if full is None:
        return Finding(title, row.label, value, f"at perplexity {number(_test(row))}.")
    if row.label == full.label:
        return Finding(title, row.label, value, "is the full softmax itself: no method was both faster and as good.")
    times = (
        f"trains {_speed(row) / _speed(full):.3g} times as fast as {full.label}, and " if full.training_speed else ""
    )
    return Finding(title, row.label, value, f"{times}comes out {_against(row, full)}.")


def _against(row: SummaryRow, full: SummaryRow) -> str:
    difference = 100 * (_test(row) / _test(full) - 1)
    if difference >= 100:
        return f"at {1 + difference / 100:.2g} times {full.label}'s {number(_test(full))}"
    if abs(difference) < 0.05:
        return f"level with {full.label}'s {number(_test(full))}"
    side = "above" if difference > 0 else "below"
    return f"{abs(difference):.1f}\N{NO-BREAK SPACE}% {side} {full.label}'s {number(_test(full))}"


def _mean_of(value: Callable[[SummaryRow], Estimate | None]) -> Callable[[SummaryRow], float]:
    def mean(row: SummaryRow) -> float:
        estimate = value(row)
        if estimate is None:
            raise ValueError(f"{row.label} has no such number")
        return estimate.mean

    return mean


_test = _mean_of(lambda row: row.test)
_speed = _mean_of(lambda row: row.training_speed)
