"""The learning rate of a run, chosen by trying: short runs from the same start, judged by validation perplexity.

A rate that suits one loss overshoots with another, whose gradients are of another size, so that one rate for all
compares the rates and not the methods.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_type_hints

from vastmax.checks import conforms, described, refused
from vastmax.errors import DivergedError
from vastmax.language import Batches, LanguageModel, LanguageModelLoop, LoopOptions
from vastmax.runs import StopRequest, TrainingInterrupted, TrainingProgress

__all__ = ["FEWEST_STEPS", "PROBE_SHARE", "Probe", "probe"]

PROBE_SHARE = 0.2
"""Of a run's budget, which a probe takes at most."""

FEWEST_STEPS = 40
"""That tell rates apart."""

_MOST_STEPS = 400
_FACTORS = (0.5, 1.0, 2.0)  # of the usual rate: what is tried
_MOST_BEYOND = 3  # tries outside of these
_TIMED = 3  # steps
_HARMLESS = 1e-3  # of the default
_USUAL_STEPS = 500
"""From which on an optimiser's default is the usual rate. Of Adagrad, whose steps shrink as it goes, that of shorter
runs is lower, in proportion to the root of their steps: a rule of thumb between what suits most methods for 150 steps
and for 6,300: ``benchmarks/layer_rates.py``, ``benchmarks/results/layer-rates-2026-11-28.jsonl``."""


@dataclass(frozen=True)
class Probe:
    """How a learning rate was chosen.

    Attributes:
        chosen: The rate.
        why: "probe": it is where the loss is lowest; "all diverged": that of the lowest tried, none of which has a
            finite loss; "too short": the usual one, as too few steps fit into the share of the budget; "no memory": the
            optimiser's default, as no copy of the model fits.
        rates: What was tried, the lowest first.
        losses: The validation text's loss after each, in nats a word; None where it diverged.
        steps: Of each try.
        seconds: That all took; part of the budget.
    """

    chosen: float
    why: Literal["probe", "all diverged", "too short", "no memory"]
    rates: list[float]
    losses: list[float | None]
    steps: int
    seconds: float

    @classmethod
    def none(cls, rate: float, why: Literal["too short", "no memory"], seconds: float = 0.0) -> Probe:
        """Return that of a run that tries nothing."""
        return cls(rate, why, [], [], 0, seconds)

    @classmethod
    def of(cls, losses: Mapping[float, float], steps: int, seconds: float, growth: float) -> Probe:
        """Return `growth` times the rate where the loss is lowest, of losses by rate, infinite where it diverged."""
        rates, best = sorted(losses), _best(losses)
        known = [losses[rate] if math.isfinite(losses[rate]) else None for rate in rates]
        if not math.isfinite(losses[best]):
            return cls(best, "all diverged", rates, known, steps, seconds)
        return cls(float(f"{growth * _lowest(losses):.3g}"), "probe", rates, known, steps, seconds)

    def minutes_left(self, minutes: float | None) -> float | None:
        """Return what is left of a budget; None for none in minutes."""
        return None if minutes is None else max(minutes - self.seconds / 60, 0.1 * minutes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Probe:
        """Return what :meth:`to_json` wrote; InputError where it is something else."""
        kinds = get_type_hints(cls)
        for name, kind in kinds.items():
            value = document.get(name) if isinstance(document, Mapping) else None
            if not conforms(value, kind):
                raise refused(f"the probe's {name!r}", value, described(kind))
        return cls(**{name: document[name] for name in kinds})


def probe(
    model: LanguageModel,
    batches: Batches,
    options: LoopOptions,
    score: Callable[[LanguageModel, Callable[[float], None]], float],
    *,
    stop: StopRequest,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Probe:
    """Choose the learning rate of a run that is about to begin.

    Every rate trains a copy of the model for as many steps, from the same chance, and falls to 0 on the way. Three
    rates are tried, the usual one of so many steps, half and twice as much, for a quarter of the steps that fit into a
    fifth of the budget, at most 400 each. The run takes the best, times what the usual rate of its own steps is of that
    of a try. Where fewer than 40 steps would fit, it takes its usual rate.

    Where the best is the lowest or the highest that was tried, the next one outside follows, a factor of 2 further; and
    where all diverged, a quarter of the lowest. There are three of these at most, and only as many as a budget in
    minutes has time for in its fifth.

    Args:
        model: As it begins; it is left as it is.
        batches: Of the training text.
        options: Of the run; the learning rate that they begin with is the default.
        score: From a model, and what it calls as it goes, to the validation text's perplexity.
        stop: What a try asks after each step.
        progress: Called about every second.

    Raises:
        TrainingInterrupted: A stop was requested.
    """
    default = options.initial_learning_rate

    def loop_of(learner: LanguageModel, rate: float, steps: int) -> LanguageModelLoop:
        epochs = (steps - 0.5) / len(batches)
        short = replace(options, learning_rate=rate, schedule="linear", minutes=None, epochs=epochs, patience=0)
        return LanguageModelLoop(learner, batches, short, progress=told)

    def tried(rate: float, steps: int) -> LanguageModel:
        """A copy of the model after some steps."""
        learner = copy.deepcopy(model)
        loop_of(learner, rate, steps).run(stop)
        return learner

    def pause(_: float) -> None:
        if stop.requested:
            raise TrainingInterrupted(None, 0.0)

    def told(report: TrainingProgress) -> None:
        if progress is not None:
            progress(replace(report, doing="trying learning rates"))

    def loss_after(rate: float) -> float:
        """The validation text's, infinite where it diverged."""
        try:
            loss = math.log(score(tried(rate, steps), pause))
        except DivergedError:
            return math.inf
        return loss if math.isfinite(loss) else math.inf

    def that_fit(tries: int, a_step: float, scoring: float = 0.0) -> int:
        """Steps of each of so many tries, from the seconds that a step and a scoring take."""
        if options.minutes is None:
            fit = PROBE_SHARE * options.epochs * len(batches) / tries
        else:
            left = PROBE_SHARE * 60 * options.minutes - (time.perf_counter() - began)
            fit = (left / tries - scoring) / a_step
        return min(math.floor(fit), _MOST_STEPS)

    def usual(count: float) -> float:
        """The usual rate of so many steps."""
        return default * min(max(count, 1.0) / _USUAL_STEPS, 1.0) ** 0.5 if options.optimizer == "adagrad" else default

    loop_of(model, default, 1)  # torch loads what its optimisers need, once, which is no run's to pay for
    began = time.perf_counter()
    harmless = _HARMLESS * default  # what is timed must not diverge
    learner = tried(harmless, 1)  # the first step takes longer than those that follow
    steps, a_step, scoring = 0, time.perf_counter() - began, 0.0
    if that_fit(1, a_step) >= 2 * _TIMED:
        clock = time.perf_counter()
        tried(harmless, _TIMED)
        a_step, clock = (time.perf_counter() - clock) / _TIMED, time.perf_counter()
        score(learner, pause)
        scoring = time.perf_counter() - clock
        steps = that_fit(len(_FACTORS) + 1, a_step, scoring)
    whole = options.epochs * len(batches)
    if options.minutes is not None:
        whole = (1 - PROBE_SHARE) * 60 * options.minutes / a_step
    if steps < FEWEST_STEPS:
        return Probe.none(float(f"{usual(whole):.3g}"), "too short", time.perf_counter() - began)
    # on one grid for all methods, whose tries are of different lengths
    middle = default * 2.0 ** round(math.log2(usual(steps) / default))
    losses = {rate: loss_after(rate) for rate in (factor * middle for factor in _FACTORS)}
    for _ in range(_MOST_BEYOND):
        rate = _beyond(losses)
        if rate is None or that_fit(1, a_step, scoring) < steps:
            break
        losses[rate] = loss_after(rate)
    return Probe.of(losses, steps, time.perf_counter() - began, usual(whole) / usual(steps))


def _best(losses: Mapping[float, float]) -> float:
    """The rate with the lowest loss; the lowest where all diverged."""
    return min(sorted(losses), key=losses.__getitem__)


def _lowest(losses: Mapping[float, float]) -> float:
    """The rate at the lowest point of the parabola through the best and its neighbours, which are half and twice of it.

    Over the logarithm of the rate; the best itself where one of these was not tried, or diverged.
    """
    best = _best(losses)
    below, here, above = (losses.get(rate, math.inf) for rate in (best / 2, best, 2 * best))
    bend = below - 2 * here + above
    return best * 2 ** ((below - above) / (2 * bend)) if 0 < bend < math.inf else best


def _beyond(losses: Mapping[float, float]) -> float | None:
    """The rate to try next, outside of those that were tried; None where the best is among them."""
    best = _best(losses)
    if best == min(losses):
        return best / 2 if math.isfinite(losses[best]) else best / 4
    return 2 * best if best == max(losses) else None
