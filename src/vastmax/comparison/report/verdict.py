"""Decide which differences between methods are significant, and which may be due to chance or to early stopping.

The gap between two methods is the difference of their mean log perplexities on the test text. It is significant if it
exceeds both of the following.

**Chance.** Both methods are scored on the same text, so losses are paired part by part: a part that is hard for one is
hard for the other, and only the variance of the differences counts (Koehn, *Statistical Significance Tests for Machine
Translation Evaluation*, 2004, https://aclanthology.org/W04-3250/, who resamples; Student's t is used here). With
several seeds, the variance between seeds, pooled over the two methods, is added, as another seed would be drawn for
both. The degrees of freedom of the sum are Satterthwaite's (*An Approximate Distribution of Estimates of Variance
Components*, 1946). All pairs are tested together, so Holm's procedure (*A Simple Sequentially Rejective Multiple Test
Procedure*, 1979) bounds the probability of even one wrong "different" at 5 %. If both methods have a single seed, the
effect of the seed is unknown, and a gap below 5 % is undecided.

**Falling.** The *fall* of a run is the decrease of its ln validation perplexity over the last doubling of its words.
Falls shrink from one doubling to the next. For the better method they are assumed to halve, so its future falls add up
to its last one; for the worse, to shrink by a third at most, so its future falls add up to twice its last. The gap must
exceed 2 × fall(worse) − fall(better). With several seeds, the worse method has its largest fall, the better its
smallest. A run of less than one epoch, or with fewer than three evaluations, has no reliable fall: as the worse method
of a pair it is still falling, whatever the gap; as the better its fall is taken as 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist, fmean, variance
from typing import Literal

from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import latest, summary_rows

__all__ = ["Pair", "fall_of", "judge", "verdict_sentences"]

FAMILY_ERROR = 0.05
"""The family-wise error rate: the probability that any pair is called different if none is."""

ONE_SEED_GAP = 0.05
"""The smallest gap that can be significant with one seed each, in nats (5 % of perplexity).

Runs of the same method differ by as much if only the seed differs, or only the steps within a budget of minutes.
"""

MOST_METHODS = 50
"""The largest number of methods judged, the best ones, as the number of pairs grows with its square."""

Status = Literal["different", "undecided", "still falling"]


@dataclass(frozen=True)
class Pair:
    """The verdict on two methods; ``better`` has the lower test perplexity, ties are broken by name.

    Attributes:
        gap: difference of ln perplexity, worse minus better, at least 0.
        chance: half the width of the 95 % confidence interval of this gap alone; None if unknown.
        status: "different", "undecided" (not significant, chance unknown, or below 5 % with one seed each) or
            "still falling".
    """

    better: str
    worse: str
    gap: float
    chance: float | None
    status: Status


def judge(records: Iterable[RunRecord]) -> list[Pair]:
    """Return a verdict on every pair of the 50 best methods, without those that lack a finite test perplexity.

    Example:
        >>> curve = [{"words": 2.0**i, "valid_perplexity": 90.0} for i in range(4)]
        >>> runs = [
        ...     RunRecord(label=label, layer=label, perplexity={"test": test}, test_losses=losses, curve=curve)
        ...     for label, test, losses in (("full", 100.0, [4.6, 4.7]), ("nce", 200.0, [5.3, 5.4]))
        ... ]
        >>> [(pair.better, pair.status) for pair in judge(runs)]
        [('full', 'different')]
    """
    runs = [run for run in latest(records) if run.status == "done"]
    logs = {
        row.label: [math.log(value) for run in runs if run.label == row.label if (value := run.perplexity.get("test"))]
        for row in summary_rows(runs)
        if row.test and row.test.mean > 0
    }
    ranked = sorted(logs, key=lambda label: (fmean(logs[label]), label))[:MOST_METHODS]
    of = {label: [run for run in runs if run.label == label] for label in ranked}
    gaps = [(*pair, fmean(logs[pair[1]]) - fmean(logs[pair[0]])) for pair in combinations(ranked, 2)]
    errors = [_error(of[better], of[worse], logs[better], logs[worse]) for better, worse, _ in gaps]
    values = [None if error is None else _p_value(gap, *error) for (*_, gap), error in zip(gaps, errors, strict=True)]
    beyond = [
        each and not (gap < ONE_SEED_GAP and len(logs[better]) == len(logs[worse]) == 1)
        for (better, worse, gap), each in zip(gaps, _holm(values), strict=True)
    ]
    return [
        Pair(
            better,
            worse,
            gap,
            None if error is None else error[0] * _quantile(error[1]),
            "undecided" if not found else "different" if _outlasts(gap, of[better], of[worse]) else "still falling",
        )
        for (better, worse, gap), error, found in zip(gaps, errors, beyond, strict=True)
    ]


def fall_of(run: RunRecord) -> float | None:
    """Return the fall of ln validation perplexity over the last doubling of words; None if the run is too short.

    Between two points of the curve, it is interpolated linearly over the logarithm of the words.

    Example:
        >>> points = [{"words": 100.0 * 2**i, "valid_perplexity": 800.0 / 2**i} for i in range(3)]
        >>> round(fall_of(RunRecord(label="a", layer="full", curve=points)), 6)
        0.693147
    """
    points = sorted(
        (math.log(x), math.log(y))
        for point in run.curve
        if (x := point.get("words")) and (y := point.get("valid_perplexity")) and 0 < x < math.inf and 0 < y < math.inf
    )
    if len(points) < 3 or (run.epochs is not None and run.epochs < 1):
        return None
    last, end = points[-1]
    half = last - math.log(2)
    if half < points[0][0]:
        return None
    (left, before), (right, after) = next(pair for pair in pairwise(points) if pair[0][0] <= half <= pair[1][0])
    share = 0.0 if right == left else (half - left) / (right - left)
    return max(0.0, before + share * (after - before) - end)


def _outlasts(gap: float, better: Sequence[RunRecord], worse: Sequence[RunRecord]) -> bool:
    falls = [fall_of(run) for run in worse]
    if None in falls:
        return False
    least = min(fall_of(run) or 0.0 for run in better)
    return gap > 2 * max(fall for fall in falls if fall is not None) - least


def _error(
    first: Sequence[RunRecord], second: Sequence[RunRecord], logs: Sequence[float], others: Sequence[float]
) -> tuple[float, float] | None:
    """Return the standard error of a gap and its degrees of freedom; None if neither parts nor seeds give one."""
    if len({run.corpus.get("fingerprint") for run in (*first, *second)}) > 1:
        return None
    found = []  # variances of the mean, each with its degrees of freedom
    parts, other_parts = _parts(first), _parts(second)
    if parts and len(parts) == len(other_parts):
        differences = [a - b for a, b in zip(parts, other_parts, strict=True)]
        found.append((variance(differences) / len(differences), len(differences) - 1))
    seeds = len(logs) + len(others) - 2
    if seeds:
        squares = sum((log - fmean(each)) ** 2 for each in (logs, others) for log in each)
        found.append((squares / seeds * (1 / len(logs) + 1 / len(others)), seeds))
    if not found:
        return None
    total = sum(each for each, _ in found)
    freedom = 1 / sum((each / total) ** 2 / degrees for each, degrees in found) if total > 0 else 1.0
    return math.sqrt(total), freedom


def _parts(runs: Sequence[RunRecord]) -> list[float]:
    """Return the mean loss over seeds of each part of the test text; empty if the parts of the runs differ."""
    losses = [[loss for loss in run.test_losses if loss is not None and abs(loss) < 1e6] for run in runs]
    if {len(each) for each in losses} != {len(runs[0].test_losses)} or len(losses[0]) < 2:
        return []
    return [fmean(part) for part in zip(*losses, strict=True)]


def _p_value(gap: float, error: float, freedom: float) -> float:
    """Return the two-sided p-value of a gap.

    Student's t is transformed to a normal deviate by Wallace's formula (*Bounds on Normal Approximations to Student's
    and the Chi-Square Distributions*, 1959): within 0.02 standard deviations from 3 degrees of freedom; with fewer it
    is conservative.
    """
    if error == 0:
        return float(gap == 0)
    t = gap / error
    normal = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.erfc(normal / math.sqrt(2))


def _quantile(freedom: float) -> float:
    """Return the two-sided 5 % critical value of Student's t, by the same formula."""
    normal = NormalDist().inv_cdf(0.975) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(normal**2 / freedom))


def _holm(values: Sequence[float | None]) -> list[bool]:
    """Return which p-values Holm's procedure rejects at the family-wise error rate; None is never rejected."""
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    beyond = [False] * len(values)
    for rank, (value, place) in enumerate(known):
        if value > FAMILY_ERROR / (len(known) - rank):
            break
        beyond[place] = True
    return beyond


def verdict_sentences(records: Iterable[RunRecord]) -> list[str]:
    """Return sentences on which differences are significant, for the top of the page and the end of terminal output.

    Example:
        >>> runs = [RunRecord(label=label, layer="full", perplexity={"test": 100.0}) for label in ("a", "b")]
        >>> verdict_sentences(runs)
        ['a and b cannot be told apart with one run each: give --seeds 3, or records with losses by part of the text.']
    """
    runs = [run for run in latest(records) if run.status == "done"]
    pairs = judge(runs)
    if not pairs:
        return []
    labels = list(dict.fromkeys(label for pair in pairs for label in (pair.better, pair.worse)))
    judged = [run for run in runs if run.label in labels]
    if all(run.epochs is not None and run.epochs < 1 for run in judged) and not any(
        pair.status == "different" for pair in pairs
    ):
        which = "both" if len(labels) == 2 else f"all {len(labels)}"
        return [
            f"Too short to judge: {which} methods trained for less than one epoch and may still improve; "
            f"{_longer(judged)}."
        ]
    best, top = pairs[0].better, pairs[: len(labels) - 1]
    seeds = Counter(run.label for run in judged)
    unknown = [pair.worse for pair in top if pair.status == "undecided" and pair.chance is None]
    chance = [pair.worse for pair in top if pair.status == "undecided" and pair.chance is not None]
    close = [pair.worse for pair in top if pair.worse in chance and pair.gap < ONE_SEED_GAP]
    close = [label for label in close if seeds[label] == seeds[best] == 1]
    chance = [label for label in chance if label not in close]
    falling = [pair.worse for pair in top if pair.status == "still falling"]
    found = []
    if unknown:
        found.append(
            f"{named([best, *unknown])} cannot be told apart with one run each: give --seeds 3, or records with losses "
            "by part of the text."
        )
    if close:
        verb = "is" if len(close) == 1 else "are"
        found.append(
            f"{named(close)} {verb} within {ONE_SEED_GAP:.0%} of {best}, too close to judge with one seed each: "
            "give --seeds 3."
        )
    if chance:
        verb = "is" if len(chance) == 1 else "are"
        found.append(
            f"{named(chance)} {verb} not significantly worse than {best}: give more --seeds or a longer test text."
        )
    if falling:
        subject = "The perplexity of" if len(falling) == 1 else "The perplexities of"
        verb, they = ("is", "it") if len(falling) == 1 else ("are", "they")
        found.append(
            f"{subject} {named(falling)} {verb} still falling, so {they} may overtake {best}: {_longer(judged)}."
        )
    if found:
        return found
    basis = ", with one seed each" if max(seeds.values()) == 1 else ""
    return [
        f"{best} is best{basis}: its lead over every other method is statistically significant, and larger than what "
        "that method could still gain with more training."
    ]


def named(labels: Sequence[str]) -> str:
    """Join names to an English list; of more than four only the first three and a count.

    Example:
        >>> named(["a", "b", "c"]), named(list("abcde"))
        ('a, b and c', 'a, b, c and 2 others')
    """
    if len(labels) > 4:
        return f"{', '.join(labels[:3])} and {len(labels) - 3} others"
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _longer(runs: Sequence[RunRecord]) -> str:
    """Return advice on a larger budget: at least four times this one, and at least one epoch for every run."""
    if any("epoch" in run.budget for run in runs):
        most = max((run.epochs or 0.0) for run in runs)
        return f"give --epochs {max(1, math.ceil(4 * most))} or more"
    spent = [run.training_seconds or 0.0 for run in runs]
    epochs = [time / run.epochs for run, time in zip(runs, spent, strict=True) if run.epochs]
    minutes = max([4 * max(spent), *epochs]) / 60
    scale = 10 ** math.floor(math.log10(minutes)) if minutes > 1 else 1
    return f"give --minutes-each {next(n * scale for n in (1, 2, 5, 10) if n * scale >= minutes):g} or more"
