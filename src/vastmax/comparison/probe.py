"""Choose the learning rate of a run by a probe: short trials from the same initial model, by validation perplexity.

A learning rate that suits one loss overshoots with another whose gradients have another scale. With one rate for all,
a comparison would compare how well the rate fits, not the methods.
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
"""The largest share of a run's budget that a probe takes."""

FEWEST_STEPS = 40
"""The fewest steps per trial that distinguish learning rates."""

_MOST_STEPS = 400
_FACTORS = (0.5, 1.0, 2.0)  # trial rates, as multiples of the usual rate
_MOST_BEYOND = 3  # further trials outside this range
_TIMED = 3  # steps to time
_HARMLESS = 1e-3  # the rate for timing, as a share of the default
_USUAL_STEPS = 500
"""The number of steps from which the usual rate is the optimiser's default.

With Adagrad, whose effective step size shrinks over time, the usual rate of shorter runs is lower, in proportion to
the square root of their steps. This is a rule of thumb between the rates that suit most methods for 150 steps and for
6,300: ``benchmarks/layer_rates.py``, ``benchmarks/results/layer-rates-2026-11-28.jsonl``.
"""


@dataclass(frozen=True)
class Probe:
    """How a learning rate was chosen.

    Attributes:
        chosen: The chosen learning rate.
        why: "probe": the rate with the lowest loss; "all diverged": the lowest trial rate, as no trial has a finite
            loss; "too short": the usual rate, as too few steps fit into the probe's share of the budget; "no memory":
            the optimiser's default, as there is no memory for a copy of the model.
        rates: The trial rates, in increasing order.
        losses: The validation loss after each trial, in nats per word; None if it diverged.
        steps: Steps of each trial.
        seconds: Total duration in seconds; part of the budget.
    """

    chosen: float
    why: Literal["probe", "all diverged", "too short", "no memory"]
    rates: list[float]
    losses: list[float | None]
    steps: int
    seconds: float

    @classmethod
    def none(cls, rate: float, why: Literal["too short", "no memory"], seconds: float = 0.0) -> Probe:
        """Return the probe of a run without trials."""
        return cls(rate, why, [], [], 0, seconds)

    @classmethod
    def of(cls, losses: Mapping[float, float], steps: int, seconds: float, growth: float) -> Probe:
        """Return the probe that chooses `growth` times the rate with the lowest loss.

        ``losses`` maps each trial rate to its loss, infinite if it diverged.
        """
        rates, best = sorted(losses), _best(losses)
        known = [losses[rate] if math.isfinite(losses[rate]) else None for rate in rates]
        if not math.isfinite(losses[best]):
            return cls(best, "all diverged", rates, known, steps, seconds)
        return cls(float(f"{growth * _lowest(losses):.3g}"), "probe", rates, known, steps, seconds)

    def minutes_left(self, minutes: float | None) -> float | None:
        """Return the rest of a budget in minutes, at least a tenth of it; None if the budget is not in minutes."""
        return None if minutes is None else max(minutes - self.seconds / 60, 0.1 * minutes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Probe:
        """Return the probe of an object from :meth:`to_json`; InputError if it is not valid."""
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
    """Choose the learning rate of a run that is about to start.

    Each trial trains a copy of the model for the same number of steps with the same seed, and its learning rate decays
    linearly to 0. Three rates are tried: the usual rate for that number of steps, half and twice that. Each trial takes
    a quarter of the steps that fit into a fifth of the budget, at most 400. The run takes the best rate, multiplied by
    the ratio of the usual rate for its own number of steps to that for a trial. If fewer than 40 steps would fit, it
    takes its usual rate without trials.

    If the best rate is the lowest or the highest of those tried, the next rate outside follows, a factor of 2 further;
    if all diverged, a quarter of the lowest. There are at most three of these extra trials and, with a budget in
    minutes, only as many as fit into its fifth.

    Args:
        model: The initial model; not modified.
        batches: Batches of the training text.
        options: Options of the run; their initial learning rate is the default.
        score: Returns the validation perplexity of a model; calls its second argument with the share that is done.
        stop: Checked by a trial after each step.
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
        """Return a copy of the model after some steps."""
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
        """Return the validation loss after a trial, infinite if it diverged."""
        try:
            loss = math.log(score(tried(rate, steps), pause))
        except DivergedError:
            return math.inf
        return loss if math.isfinite(loss) else math.inf

    def that_fit(tries: int, a_step: float, scoring: float = 0.0) -> int:
        """Return how many steps of each of some trials fit, from the seconds that a step and a scoring take."""
        if options.minutes is None:
            fit = PROBE_SHARE * options.epochs * len(batches) / tries
        else:
            left = PROBE_SHARE * 60 * options.minutes - (time.perf_counter() - began)
            fit = (left / tries - scoring) / a_step
        return min(math.floor(fit), _MOST_STEPS)

    def usual(count: float) -> float:
        """Return the usual rate for a number of steps."""
        return default * min(max(count, 1.0) / _USUAL_STEPS, 1.0) ** 0.5 if options.optimizer == "adagrad" else default

    loop_of(model, default, 1)  # torch loads its optimisers lazily, which must not count against the budget
    began = time.perf_counter()
    harmless = _HARMLESS * default  # timed steps must not diverge
    learner = tried(harmless, 1)  # the first step is slower than the following ones
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
    # one grid of rates for all methods, although the lengths of their trials differ
    middle = default * 2.0 ** round(math.log2(usual(steps) / default))
    losses = {rate: loss_after(rate) for rate in (factor * middle for factor in _FACTORS)}
    for _ in range(_MOST_BEYOND):
        rate = _beyond(losses)
        if rate is None or that_fit(1, a_step, scoring) < steps:
            break
        losses[rate] = loss_after(rate)
    return Probe.of(losses, steps, time.perf_counter() - began, usual(whole) / usual(steps))


def _best(losses: Mapping[float, float]) -> float:
    """Return the rate with the lowest loss; the lowest rate if all diverged."""
    return min(sorted(losses), key=losses.__getitem__)


def _lowest(losses: Mapping[float, float]) -> float:
    """Return the rate at the minimum of the parabola through the losses of the best rate, half and twice of it.

    The parabola is over the logarithm of the rate. Returns the best rate if a neighbour was not tried or diverged.
    """
    best = _best(losses)
    below, here, above = (losses.get(rate, math.inf) for rate in (best / 2, best, 2 * best))
    bend = below - 2 * here + above
    return best * 2 ** ((below - above) / (2 * bend)) if 0 < bend < math.inf else best


def _beyond(losses: Mapping[float, float]) -> float | None:
    """Return the next rate to try outside the range of those tried; None if the best lies inside the range."""
    best = _best(losses)
    if best == min(losses):
        return best / 2 if math.isfinite(losses[best]) else best / 4
    return 2 * best if best == max(losses) else None
