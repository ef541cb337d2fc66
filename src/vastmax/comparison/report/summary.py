"""Records of many runs to one row a method: means over seeds, the way to full softmax's quality, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from vastmax.comparison.report.records import RunRecord

__all__ = [
    "MARGIN",
    "Estimate",
    "SummaryRow",
    "latest",
    "pareto_front",
    "reference_label",
    "seconds_to_reach",
    "summary_rows",
    "target_perplexity",
]

MARGIN = 1.05
"""How far above full softmax's perplexity still counts as its quality."""


@dataclass(frozen=True)
class Estimate:
    """A mean over the seeds that have a number, and the deviation of single runs (n - 1), None for one run."""

    mean: float
    deviation: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Estimate | None:
        """Return the estimate of what is there and finite; None where nothing is.

        Example:
            >>> Estimate.of([1.0, 3.0, None])
            Estimate(mean=2.0, deviation=1.4142135623730951)
        """
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        return cls(fmean(known), stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One method over its seeds; numbers are None where no run has them.

    Attributes:
        label: of its runs, as are ``layer``, ``kind``, ``reference`` and ``budget``.
        status: "done" where one run or more is.
        error: of the last run that failed.
        done: how many runs are.
        failed: how many runs did.
        test: perplexity of the test text, as are ``valid`` and ``train`` of theirs.
        character: perplexity of the test text a character, which compares across vocabularies.
        epochs: passes over the training text.
        training_seconds: spent in training.
        training_speed: words a second in training.
        reaches_full: whether every run came down to :func:`target_perplexity`; None where that cannot be known, for
            want of a full softmax or a curve.
        seconds_to_full: training until then; None where some run never got there.
        evaluation_speed: words a second of the test text.
        peak_memory: bytes.
        parameters: of the whole model.
    """

    label: str
    layer: str
    kind: str | None
    reference: str | None
    budget: str
    status: str
    error: str | None
    done: int
    failed: int
    test: Estimate | None
    valid: Estimate | None
    train: Estimate | None
    character: Estimate | None
    epochs: Estimate | None
    training_seconds: Estimate | None
    training_speed: Estimate | None
    reaches_full: bool | None
    seconds_to_full: Estimate | None
    evaluation_speed: Estimate | None
    peak_memory: Estimate | None
    parameters: Estimate | None


def latest(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the last record of each label and seed, in order of first appearance: a run tried again counts once."""
    return list({(record.label, record.seed): record for record in records}.values())


def summary_rows(records: Iterable[RunRecord]) -> list[SummaryRow]:
    """Return one row a label: by test perplexity, the best first; then those without one; those that failed last.

    Example:
        >>> runs = [RunRecord(label="full", layer="full", seed=i, perplexity={"test": 114.0 + i}) for i in (0, 1)]
        >>> summary_rows(runs)[0].test
        Estimate(mean=114.5, deviation=0.7071067811865476)
    """
    runs = latest(records)
    target = target_perplexity(runs)
    labels = dict.fromkeys(record.label for record in runs)
    rows = [_row([record for record in runs if record.label == label], target) for label in labels]
    return sorted(rows, key=lambda row: (row.status == "failed", row.test.mean if row.test else math.inf))


def _row(runs: Sequence[RunRecord], target: float | None) -> SummaryRow:
    done = [run for run in runs if run.status == "done"]
    failed = [run for run in runs if run.status == "failed"]
    facts = (done or failed)[0]

    def over(value: Callable[[RunRecord], float | None]) -> Estimate | None:
        return Estimate.of(map(value, done))

    def perplexity(text: str) -> Estimate | None:
        # a mean over the seeds that have one would make a method look better for those where it is infinite
        found = [run.perplexity.get(text) for run in done]
        return None if any(value is None or not math.isfinite(value) for value in found) else Estimate.of(found)

    reached = [seconds_to_reach(run, target) for run in done if run.curve] if target else []
    return SummaryRow(
        label=facts.label,
        layer=facts.layer,
        kind=facts.kind,
        reference=facts.reference,
        budget=facts.budget,
        status="done" if done else "failed",
        error=failed[-1].error if failed else None,
        done=len(done),
        failed=len(failed),
        test=perplexity("test"),
        valid=perplexity("valid"),
        train=perplexity("train"),
        character=over(_character_perplexity),
        epochs=over(lambda run: run.epochs),
        training_seconds=over(lambda run: run.training_seconds),
        training_speed=over(lambda run: run.training_words_per_second),
        reaches_full=None not in reached if reached else None,
        # a mean over the seeds that got there would make a method look better for failing
        seconds_to_full=None if None in reached else Estimate.of(reached),
        evaluation_speed=over(lambda run: run.evaluation_words_per_second),
        peak_memory=over(lambda run: run.peak_memory),
        parameters=over(lambda run: run.parameters),
    )


def _character_perplexity(run: RunRecord) -> float | None:
    """exp((nats of the test text's words + nats of spelling its unknown ones out) / its characters), where known."""
    words, characters, spelling = (run.corpus.get(f"test_{each}") for each in ("words", "characters", "spelling"))
    perplexity = run.perplexity.get("test")
    numbers = [each for each in (words, characters, spelling, perplexity) if isinstance(each, (int, float))]
    if len(numbers) < 4 or not all(0 <= each < 1e300 for each in numbers) or 0 in (numbers[1], numbers[3]):
        return None
    return math.exp(min(700.0, (numbers[0] * math.log(numbers[3]) + numbers[2]) / numbers[1]))


def reference_label(records: Iterable[RunRecord]) -> str | None:
    """Return the label that others are measured by: a done run of the layer "full", one of that very label first."""
    full = [record.label for record in records if record.layer == "full" and record.status == "done"]
    return "full" if "full" in full else full[0] if full else None


def target_perplexity(records: Sequence[RunRecord]) -> float | None:
    """Return full softmax's final validation perplexity, mean over seeds, and 5 % more; None without full softmax."""
    label = reference_label(records)
    finals = [
        record.perplexity.get("valid") or (record.curve[-1].get("valid_perplexity") if record.curve else None)
        for record in records
        if record.label == label and record.status == "done"
    ]
    final = Estimate.of(finals)
    return None if final is None else MARGIN * final.mean


def seconds_to_reach(record: RunRecord, target: float) -> float | None:
    """Return the training seconds after which a run's validation perplexity was first at a target, or None for never.

    Between two points of the curve the logarithm of the perplexity is taken to be straight. Where the first point is
    there already, its time is an upper bound.

    Example:
        >>> points = [{"seconds": 10.0, "valid_perplexity": 400.0}, {"seconds": 20.0, "valid_perplexity": 100.0}]
        >>> round(seconds_to_reach(RunRecord(label="a", layer="full", curve=points), 200.0), 6)
        15.0
    """
    before: tuple[float, float] | None = None
    for point in record.curve:
        time, perplexity = point.get("seconds"), point.get("valid_perplexity")
        if time is None or perplexity is None or not perplexity > 0 or not math.isfinite(perplexity):
            continue
        if perplexity <= target:
            if before is None:
                return time
            share = math.log(before[1] / target) / math.log(before[1] / perplexity)
            return before[0] + share * (time - before[0])
        before = time, perplexity
    return None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points (cost, perplexity) no other one beats: cheaper and no worse, or better and no dearer.

    The best perplexity comes first, and with it the highest cost; of equal points all are there.

    Example:
        >>> pareto_front([(10, 100.0), (5, 120.0), (7, 130.0), (5, 120.0)])
        [0, 1, 3]
    """
    front = [
        index
        for index, (cost, quality) in enumerate(points)
        if not any(
            other[0] <= cost and other[1] <= quality and (other[0] < cost or other[1] < quality) for other in points
        )
    ]
    return sorted(front, key=lambda index: (points[index][1], points[index][0]))
