"""What a comparison found, in sentences computed from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vastmax.comparison.report.formats import number, whole
from vastmax.comparison.report.summary import MARGIN, SummaryRow

__all__ = ["Finding", "findings"]


@dataclass(frozen=True)
class Finding:
    """One answer: the question in short, the method, its number with the unit, and how it stands to full softmax."""

    title: str
    label: str
    value: str
    sentence: str  # goes on after the label


def findings(rows: Sequence[SummaryRow], reference: str | None) -> list[Finding]:
    """Return the best perplexity, the fastest in training, and the fastest within 5 % of the full softmax.

    Args:
        rows: of :func:`~vastmax.comparison.report.summary.summary_rows`.
        reference: the full softmax's label; None where it was not run.
    """
    perplexities = {row.label: row.test.mean for row in rows if row.test}
    speeds = {row.label: row.training_speed.mean for row in rows if row.test and row.training_speed}
    full = None if reference is None else perplexities.get(reference)
    found = []
    if perplexities:
        label = min(perplexities, key=perplexities.__getitem__)
        sentence = "has the lowest perplexity on the test text"
        if full is None:
            sentence += "."
        elif label == reference:
            sentence += ": no approximation beats it here."
        else:
            sentence += f", {_against(perplexities[label], full, reference)}."
        found.append(Finding("Best perplexity", label, f"{number(perplexities[label])} test perplexity", sentence))
    near = {} if full is None else {each: speeds[each] for each in speeds if perplexities[each] <= MARGIN * full}
    for title, fast in (("Fastest in training", speeds), ("Fastest within 5 % of full", near)):
        if not fast:
            continue
        label = max(fast, key=fast.__getitem__)
        if full is None:
            sentence = f"at perplexity {number(perplexities[label])}."
        elif label == reference:
            sentence = "is the full softmax itself: no method was both faster and as good."
        else:
            sentence = f"comes out {_against(perplexities[label], full, reference)}."
            if reference in speeds:
                sentence = f"trains {fast[label] / speeds[reference]:.3g} times as fast as {reference}, and {sentence}"
        found.append(Finding(title, label, f"{whole(fast[label])} words/s", sentence))
    return found


def _against(perplexity: float, full: float, reference: str | None) -> str:
    difference = 100 * (perplexity / full - 1)
    if difference >= 100:
        return f"at {1 + difference / 100:.2g} times {reference}'s {number(full)}"
    if abs(difference) < 0.05:
        return f"level with {reference}'s {number(full)}"
    side = "above" if difference > 0 else "below"
    return f"{abs(difference):.1f}\N{NO-BREAK SPACE}% {side} {reference}'s {number(full)}"
