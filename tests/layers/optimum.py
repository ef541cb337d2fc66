"""Every option of every sampling layer, optimised on a toy problem and compared with its claimed optimum.

The toy has a single hidden vector, so the layer reduces to its biases and the truth to one distribution P. A layer
starts at its claimed optimum and follows the mean gradient over many draws, with steps large enough to reach any
point: where the claim is wrong, the layer moves away. The result is the mean over the later half of the steps.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vastmax.layers import (
    BlackOut,
    ImportanceSampledSoftmax,
    InfrequentlyNormalizedSoftmax,
    NegativeSampling,
    NoiseContrastiveEstimation,
    OutputLayer,
    PartialSoftmax,
    SampledSoftmax,
    SamplingLayer,
    SelfNormalizedSoftmax,
)
from vastmax.ops import Draws
from vastmax.proposals import BigramProposal, Proposal, UniformProposal, UnigramProposal

P = torch.tensor([0.4, 0.2, 0.12, 0.1, 0.07, 0.05, 0.04, 0.02], dtype=torch.float64)
V = len(P)
COUNTS = (1000 * P).tolist()
ZERO = 4  # the class that one proposal never draws
# counts of the classes that follow contexts 0 and 1; contexts are drawn independently of targets
FOLLOWING = [0] * V + [1] * V, [*range(V)] * 2, [90, 1, 30, 5, 5, 9, 1, 9, 9, 60, 1, 30, 9, 1, 9, 1]
PROPOSALS: dict[str, Callable[[], Proposal]] = {
    "uniform": lambda: UniformProposal(V),
    "unigram^0.75": lambda: UnigramProposal(COUNTS, power=0.75),
    "unigram": lambda: UnigramProposal(COUNTS, power=1),
    "zero": lambda: UnigramProposal([0 if w == ZERO else count for w, count in enumerate(COUNTS)], power=1),
    "bigram": lambda: BigramProposal(COUNTS, FOLLOWING),
}
QUICK, NIGHTLY = 0.2, 0.5  # share of 100 batches or 20,000 rows that each step uses
CHANCE = {"by row": 0.006, "shared": 0.04, "in batch": 0.015}  # generous bounds on total variation due to sampling

Case = Mapping[str, Any]  # one option from each axis
Axes = Mapping[str, Sequence[Any]]


class Method(NamedTuple):
    """A training method, its options and the biases at its optimum."""

    make: Callable[..., OutputLayer]  # with in_features, a proposal or V, and options
    biases: Callable[[Tensor, Case], Tensor]  # given log Q (V,) and the case
    level: Callable[[Case], bool]  # whether the biases are claimed exactly, or only up to a shift
    axes: Axes
    allowed: Callable[[Case], float]  # total variation allowed for finite numbers of draws
    of_unseen: str = "stays"  # the bias of a class that is never drawn "stays" or "rises"


def log_p(log_q: Tensor, case: Case) -> Tensor:
    return P.log()


LEARNT: Axes = {"positives": (1, 3), "sparse": (True, False), "bias": (True, False)}
SAMPLED: Axes = {
    "proposal": tuple(PROPOSALS),
    "k": (2, 8, 32),
    "drawn": tuple(CHANCE),
    "replacement": (True, False),
    **LEARNT,
}


def of_samples(
    make: Callable[..., SamplingLayer],
    biases: Callable[[Tensor, Case], Tensor] = log_p,
    *,
    level: bool = False,
    bias: float = 0.0,
    distinct: float = 0.0,
    axes: Axes = SAMPLED,
    of_unseen: str = "stays",
    **options: Any,
) -> Method:
    """Return the Method of a layer that draws samples.

    Args:
        make: the layer's class.
        biases: as in Method.
        level: as in Method, the same for every case.
        bias: total variation due to the bias of an estimator from k draws, times k.
        distinct: the same for draws without replacement, with which the claim holds only approximately.
        axes: as in Method.
        of_unseen: as in Method.
        options: layer options that are the same in every case.
    """

    def allowed(case: Case) -> float:
        estimated = bias if case["replacement"] or case["drawn"] == "in batch" else distinct
        return CHANCE[case["drawn"]] + estimated / case["k"]

    return Method(partial(make, **options), biases, lambda case: level, axes, allowed, of_unseen)


METHODS = {
    "sampled": of_samples(SampledSoftmax, bias=0.55, distinct=0.55, of_unseen="rises"),
    "sampled, target corrected": of_samples(SampledSoftmax, distinct=0.06, correct_target=True),
    "nce": of_samples(NoiseContrastiveEstimation, level=True),
    "blackout": of_samples(BlackOut, distinct=0.03),
    # without replacement a class is drawn less often than k Q, which the claim does not cover
    "negative sampling": of_samples(
        NegativeSampling,
        lambda log_q, case: P.log() - torch.log1p(-P) - log_q - math.log(case["k"]),
        level=True,
        distinct=0.25,
        of_unseen="rises",
    ),
    "negative sampling, hits kept": of_samples(
        NegativeSampling,
        lambda log_q, case: P.log() - log_q - math.log(case["k"]),
        level=True,
        distinct=0.25,
        keep_hits=True,
        of_unseen="rises",
    ),
    "importance": of_samples(
        ImportanceSampledSoftmax,
        bias=1.3,
        distinct=1.3,
        axes={**SAMPLED, "drawn": ("by row", "shared")},
        effective_samples=None,
        of_unseen="rises",
    ),
    # rows with too small an effective sample size use all classes: closer than unguarded, and exact if all rows do
    "importance, guarded": of_samples(
        ImportanceSampledSoftmax,
        bias=1.3,
        axes={
            **SAMPLED,
            "drawn": ("by row", "shared"),
            "replacement": (True,),
            "effective_samples": (1.5, 4.0, 1e9),
            "proposal": ("uniform", "unigram^0.75", "unigram", "bigram"),
        },
    ),
    "partial": Method(
        PartialSoftmax,
        log_p,
        lambda case: False,
        {"head": (1, 4, V), "tail": (2, 8, 32), **LEARNT},
        lambda case: 0.02 + (0.3 if case["head"] < V else 0) / case["tail"],
    ),
    "self-normalised": Method(
        SelfNormalizedSoftmax,
        log_p,
        lambda case: case["penalty"] > 0,
        {"penalty": (0.0, 0.1, 1.0), "block_size": (None, 3), "positives": (1, 3), "bias": (True, False)},
        lambda case: 0.006,
    ),
    "infrequently normalised": Method(
        InfrequentlyNormalizedSoftmax,
        lambda log_q, case: P.log() + 0.5 / case["penalty"],
        lambda case: True,
        {"penalty": (0.2, 1.0), "fraction": (0.1, 0.5, 1.0), "block_size": (None, 3), **LEARNT},
        lambda case: 0.03,
    ),
    "infrequently normalised, likelihood": Method(
        partial(InfrequentlyNormalizedSoftmax, likelihood=True),
        log_p,
        lambda case: case["penalty"] > 0,
        {"penalty": (0.0, 0.2, 1.0), "fraction": (0.1, 0.5, 1.0), "block_size": (None, 3), **LEARNT},
        lambda case: 0.03,
    ),
}


def fits(case: Case) -> bool:
    """Return whether a method accepts this combination of options and makes a claim for it."""
    if case.get("drawn") == "in batch":  # the targets are draws from P with replacement
        return case["proposal"] == "unigram" and case["replacement"]
    return case.get("replacement", True) or case["k"] < V - 1


def cases_of(method: str) -> list[Case]:
    """Return every valid combination of a method's options."""
    axes = METHODS[method].axes
    return [case for each in itertools.product(*axes.values()) if fits(case := dict(zip(axes, each, strict=True)))]


def pairs_of(case: Case) -> set[tuple[tuple[str, Any], ...]]:
    return set(itertools.combinations(case.items(), 2))


def few_cases_of(method: str) -> list[Case]:
    """Return a greedily chosen subset of the cases that covers every valid pair of options."""
    cases, chosen = cases_of(method), list[Case]()
    missing = set[tuple[tuple[str, Any], ...]]().union(*map(pairs_of, cases))
    while missing:
        chosen.append(max(cases, key=lambda case: len(pairs_of(case) & missing)))
        missing -= pairs_of(chosen[-1])
    return chosen


def learnt(
    layer: OutputLayer,
    start: Tensor,
    batches: Callable[[torch.Generator], Iterator[tuple[Tensor, Tensor | None]]],
    *,
    steps: int,
    truth: Tensor = P,
) -> Tensor:
    """Return the biases (V,), or the table used in their place, after descent along the mean gradient over batches."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    parameter = layer.get_parameter("weight" if layer.bias is None else "bias")
    with torch.no_grad():
        layer.get_parameter("weight").zero_()
        parameter.copy_(start.view(parameter.shape))
    later = []
    for step in range(steps):
        gradient, number = torch.zeros_like(start), 0
        for target, context in batches(generator):
            loss = layer(torch.ones(len(target), 1, dtype=torch.float64), target, context=context)
            (found,) = torch.autograd.grad(loss, parameter)
            gradient += found.to_dense().view(-1)
            number += 1
        with torch.no_grad():
            move = (0.7 if step < steps // 2 else 0.3) * (gradient / number / truth).clamp(-1, 1)
            parameter -= move.view(parameter.shape)
        if step >= steps // 2:
            later.append(parameter.detach().view(-1).clone())
    return torch.stack(later).mean(0)


def distance(level: bool, moved: Tensor, truth: Tensor) -> float:
    """Return the total variation between the truth and the learnt distribution, given how far the biases moved."""
    if level:
        return float((truth * moved.expm1()).abs().sum() / 2)
    return float(((truth.log() + moved).softmax(0) - truth / truth.sum()).abs().sum() / 2)


def off(name: str, case: Case, effort: float, *, fault: Callable[[Draws], Draws] | None = None) -> tuple[float, float]:
    """Return the distance of a method's optimum from its claim, and the allowed distance."""
    method, options, proposal = METHODS[name], dict(case), None
    positives, drawn = options.pop("positives"), options.pop("drawn", "by row")
    size, number, contexts = int(20_000 * effort), 1, 0
    if "proposal" in case:
        proposal = PROPOSALS[options.pop("proposal")]()
        contexts = 2 if proposal.context == "previous" else 0
        options["num_samples"], options["shared"] = options.pop("k"), drawn != "by row"
        size //= positives
        if drawn == "in batch":
            size = max(2, (case["k"] + 1) // positives)
            options["in_batch"] = True
            case = {**case, "k": (size - 1) * positives}  # a row's own targets are not among its samples
        elif "effective_samples" in case:
            options["max_samples"] = 4 * case["k"]
    if drawn != "by row" or "tail" in case:
        size, number = min(size, 64), int(100 * effort)
    layer: Any = method.make(1, proposal or V, dtype=torch.float64, **options)
    if fault is not None:
        draw = layer._draw_for
        layer._draw_for = lambda *given: fault(draw(*given))
    log_q = torch.zeros(V) if proposal is None else proposal.log_prob(torch.arange(V), torch.arange(contexts))
    seen = log_q > -torch.inf
    start = method.biases(log_q.where(seen, 0), case)

    def batches(generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor | None]]:
        for _ in range(number):
            target = torch.multinomial(P, size * positives, replacement=True, generator=generator)
            context = torch.randint(contexts, (size,), generator=generator) if contexts else None
            yield target if positives == 1 else target.view(size, positives), context

    moved = learnt(layer, start, batches, steps=8 if effort == QUICK else 16) - start
    if not seen.all():  # unseen classes are outside the claim and must not affect the others
        assert moved[~seen] > 0.1 if method.of_unseen == "rises" else moved[~seen] == 0
    noise = CHANCE[drawn] * (1 / math.sqrt(effort) - 1)
    return distance(method.level(case), moved[seen], P[seen]), method.allowed(case) + noise
