"""Summarise the records of many runs by method: means over seeds, time to the full softmax's quality, Pareto front."""

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
"""The largest ratio to the full softmax's perplexity that counts as the same quality."""


@dataclass(frozen=True)
class Estimate:
    """A mean over the seeds that have a value, and the sample standard deviation (n - 1), None for one run."""

    mean: float
    deviation: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Estimate | None:
        """Return the estimate from the finite values; None if there are none.

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
    """The summary of one method over its seeds; a number is None if no run has it.

    Attributes:
        label: label of the runs; ``layer``, ``kind``, ``reference`` and ``budget`` are likewise those of its runs.
        status: "done" if at least one run is, else "failed".
        error: error of the last failed run.
        done: number of finished runs.
        failed: number of failed runs.
        test: perplexity on the test text; ``valid`` and ``train`` likewise. None unless it is finite for every run.
        character: perplexity per character on the test text, which is comparable across vocabularies.
        epochs: passes over the training text.
        training_seconds: seconds spent in training.
        training_speed: training speed, in words per second.
        reaches_full: whether every run reached :func:`target_perplexity`; None if unknown, without a full softmax or
            a curve.
        seconds_to_full: training seconds until then; None if a run never reached it.
        evaluation_speed: words of the test text scored per second.
        peak_memory: bytes.
        parameters: parameters of the whole model.
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
    """Return the last record of each label and seed, in order of first appearance: a retried run counts once."""
    return list({(record.label, record.seed): record for record in records}.values())


def summary_rows(records: Iterable[RunRecord]) -> list[SummaryRow]:
    """Return one row per label, by increasing test perplexity; rows without one follow, failed methods come last.

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
        # a mean over the finite seeds alone would hide those that diverged
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
        # a mean over the seeds that reached it would reward a method for the seeds that did not
        seconds_to_full=None if None in reached else Estimate.of(reached),
        evaluation_speed=over(lambda run: run.evaluation_words_per_second),
        peak_memory=over(lambda run: run.peak_memory),
        parameters=over(lambda run: run.parameters),
    )


def _character_perplexity(run: RunRecord) -> float | None:
    """Return exp((nats of the test words + nats to spell its unknown words) / its characters); None if unknown."""
    words, characters, spelling = (run.corpus.get(f"test_{each}") for each in ("words", "characters", "spelling"))
    perplexity = run.perplexity.get("test")
    numbers = [each for each in (words, characters, spelling, perplexity) if isinstance(each, (int, float))]
    if len(numbers) < 4 or not all(0 <= each < 1e300 for each in numbers) or 0 in (numbers[1], numbers[3]):
        return None
    return math.exp(min(700.0, (numbers[0] * math.log(numbers[3]) + numbers[2]) / numbers[1]))


def reference_label(records: Iterable[RunRecord]) -> str | None:
    """Return the label of the reference: a finished run of the layer "full", preferably labelled "full", else None."""
    full = [record.label for record in records if record.layer == "full" and record.status == "done"]
    return "full" if "full" in full else full[0] if full else None


def target_perplexity(records: Sequence[RunRecord]) -> float | None:
    """Return 1.05 × the full softmax's final validation perplexity, a mean over seeds; None without a full softmax."""
    label = reference_label(records)
    finals = [
        record.perplexity.get("valid") or (record.curve[-1].get("valid_perplexity") if record.curve else None)
        for record in records
        if record.label == label and record.status == "done"
    ]
    final = Estimate.of(finals)
    return None if final is None else MARGIN * final.mean


def seconds_to_reach(record: RunRecord, target: float) -> float | None:
    """Return the training seconds after which a run's validation perplexity first reached a target; None if never.

    The logarithm of the perplexity is interpolated linearly between two points of the curve. If the first point is
    already at the target, its time is returned, an upper bound.

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
    """Return the indices of the points (cost, perplexity) on the Pareto front: no other point dominates them.

    They are sorted by increasing perplexity, so decreasing cost. Equal points are all included.

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
