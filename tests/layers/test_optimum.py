"""Every option of every layer that samples, brought to its optimum on a toy, beside the distribution it claims there.

The toy has one hidden vector, so a layer is its biases and the truth is one distribution P. A layer starts at what it
claims and follows the mean gradient over many draws, with steps that would take it anywhere: where the claim is wrong,
it leaves. What is learnt is the mean of its later half.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.oracles import sampled_softmax_loss
from vastmax.layers import (
    BlackOut,
    FullSoftmax,
    ImportanceSampledSoftmax,
    InfrequentlyNormalizedSoftmax,
    NegativeSampling,
    NoiseContrastiveEstimation,
    OutputLayer,
    PartialSoftmax,
    SampledSoftmax,
    SamplingLayer,
    SelfNormalizedSoftmax,
    TargetSampledSoftmax,
    build,
    in_batch_softmax,
    inclusion,
    partitions,
)
from vastmax.ops import Draws
from vastmax.proposals import BigramProposal, Proposal, UniformProposal, UnigramProposal
from vastmax.vocabulary import Vocabulary

P = torch.tensor([0.4, 0.2, 0.12, 0.1, 0.07, 0.05, 0.04, 0.02], dtype=torch.float64)
V = len(P)
COUNTS = (1000 * P).tolist()
ZERO = 4  # the class that one proposal never draws
# what follows two contexts, of which all classes are equally likely to be the target's
FOLLOWING = [0] * V + [1] * V, [*range(V)] * 2, [90, 1, 30, 5, 5, 9, 1, 9, 9, 60, 1, 30, 9, 1, 9, 1]
PROPOSALS: dict[str, Callable[[], Proposal]] = {
    "uniform": lambda: UniformProposal(V),
    "unigram^0.75": lambda: UnigramProposal(COUNTS, power=0.75),
    "unigram": lambda: UnigramProposal(COUNTS, power=1),
    "zero": lambda: UnigramProposal([0 if w == ZERO else count for w, count in enumerate(COUNTS)], power=1),
    "bigram": lambda: BigramProposal(COUNTS, FOLLOWING),
}
QUICK, NIGHTLY = 0.15, 0.5  # how many batches or rows a step takes, of 100 batches or 20,000 rows
CHANCE = {"by row": 0.006, "shared": 0.04, "in batch": 0.015}  # total variation that all draws leave, by far

Case = Mapping[str, Any]  # an option of each axis
Axes = Mapping[str, Sequence[Any]]


class Method(NamedTuple):
    """A way to train, its options, and what its biases are at its optimum."""

    make: Callable[..., OutputLayer]  # with in_features, a proposal or V, and options
    biases: Callable[[Tensor, Case], Tensor]  # given log Q (V,) and the case
    level: Callable[[Case], bool]  # whether the biases themselves are claimed, or all but a shift
    axes: Axes
    allowed: Callable[[Case], float]  # total variation that finite numbers of draws leave
    of_unseen: str = "stays"  # what becomes of a class that is never drawn: it "stays", or "rises"


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
    """A method that draws.

    Args:
        make: the layer's class.
        biases: as of Method.
        level: likewise, for every case.
        bias: total variation that k draws leave, times k: of an estimator.
        distinct: the same of draws without replacement, where that only nearly keeps the claim.
        axes: as of Method.
        of_unseen: likewise.
        options: of the layer, the same in every case.
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
    # without replacement a class is drawn less often than k Q: that is no part of what is claimed
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
    # a row whose draws are worth too little takes all classes: nearer than without, and exact where none suffices
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
    """Whether a method takes these options together, and claims something of them."""
    if case.get("drawn") == "in batch":  # the targets are draws from P with replacement
        return case["proposal"] == "unigram" and case["replacement"]
    return case.get("replacement", True) or case["k"] < V - 1


def cases_of(method: str) -> list[Case]:
    """Every combination of a method's options."""
    axes = METHODS[method].axes
    return [case for each in itertools.product(*axes.values()) if fits(case := dict(zip(axes, each, strict=True)))]


def pairs_of(case: Case) -> set[tuple[tuple[str, Any], ...]]:
    return set(itertools.combinations(case.items(), 2))


def few_cases_of(method: str) -> list[Case]:
    """Combinations that hold every pair of options that can stand together, found greedily."""
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
    """Return the biases (V,), or the table that serves as such, that the mean gradient over batches leads to."""
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
    """The total variation between the truth and what the biases say it is, by how far they moved from their claim."""
    if level:
        return float((truth * moved.expm1()).abs().sum() / 2)
    return float(((truth.log() + moved).softmax(0) - truth / truth.sum()).abs().sum() / 2)


def off(name: str, case: Case, effort: float, *, fault: Callable[[Draws], Draws] | None = None) -> tuple[float, float]:
    """How far a method's optimum is from its claim, and how far it may be."""
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
            case = {**case, "k": (size - 1) * positives}  # a row's own are none of its samples
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
    if not seen.all():  # it is no part of the claim, and may not spoil the others'
        assert moved[~seen] > 0.1 if method.of_unseen == "rises" else moved[~seen] == 0
    noise = CHANCE[drawn] * (1 / math.sqrt(effort) - 1)
    return distance(method.level(case), moved[seen], P[seen]), method.allowed(case) + noise


@pytest.mark.numerics
@pytest.mark.parametrize("method", METHODS)
def test_the_optimum_is_what_is_claimed(method: str) -> None:
    """With every pair of options."""
    for case in few_cases_of(method):
        found, allowed = off(method, case, QUICK)
        assert found <= allowed, case


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_combination(method: str) -> None:
    wrong = [
        (found, allowed, case) for case in cases_of(method) for found, allowed in [off(method, case)] if found > allowed
    ]
    assert not wrong


# --- planted faults: each must leave the claim ---

NONE = torch.zeros(0, dtype=torch.int64)
FAULTS: dict[str, Callable[[Draws], Draws]] = {
    "log Q the other way round": lambda draws: draws._replace(
        log_expected=-draws.log_expected, target_log_expected=-draws.target_log_expected
    ),
    "no log Q": lambda draws: draws._replace(
        log_expected=0 * draws.log_expected, target_log_expected=0 * draws.target_log_expected
    ),
    "hits removed where they must stay": lambda draws: draws._replace(distinct=True),
    "hits kept where they must go": lambda draws: draws._replace(hits=(NONE, NONE)),
}


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("sampled", "log Q the other way round"),
        ("sampled", "no log Q"),
        ("sampled", "hits kept where they must go"),
        ("sampled, target corrected", "log Q the other way round"),
        ("sampled, target corrected", "no log Q"),
        ("sampled, target corrected", "hits removed where they must stay"),
        ("nce", "log Q the other way round"),
        ("nce", "no log Q"),
        ("blackout", "log Q the other way round"),
        ("blackout", "hits removed where they must stay"),
        ("negative sampling", "hits kept where they must go"),
        ("importance", "log Q the other way round"),
    ],
)
def test_a_fault_is_found(method: str, fault: str) -> None:
    case = {"proposal": "unigram^0.75", "k": 32, "drawn": "by row", "replacement": True, "positives": 1}
    found, allowed = off(method, case, QUICK, fault=FAULTS[fault])
    assert found > 1.3 * allowed


# --- target sampling: the candidates of partitions ---


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize(
    ("positives", "options"),
    [(1, {"common": [0, 5]}), (3, {"bias": False, "sparse": False, "block_size": 3})],
)
def test_partitions_have_the_optimum_that_is_claimed(positives: int, options: dict[str, Any], corrected: bool) -> None:
    """log P with the correction, and log P - log π without, to how far partitions differ; batches reach over cuts."""
    number, generator = 40, torch.Generator().manual_seed(0)
    truth = 1 / torch.arange(3, number + 3, dtype=torch.float64)
    target = torch.multinomial(truth, 2400, replacement=True, generator=generator)
    truth = torch.bincount(target, minlength=number) / len(target)
    batches = target.view(-1, positives).split(30 // positives)
    layer = TargetSampledSoftmax(1, number, correct_inclusion=corrected, dtype=torch.float64, **options)
    cut = partitions(batches, 20, between_batches=True)
    share = inclusion(cut, number)
    share[options.get("common", [])] = 1
    start = truth.log() - (0 if corrected else torch.from_numpy(share).log())

    def prepared(generator: torch.Generator) -> Iterator[tuple[Tensor, None]]:
        for batch, _ in zip(batches, layer.prepare(batches, num_candidates=20), strict=False):
            yield (batch.squeeze(1) if positives == 1 else batch), None

    moved = learnt(layer, start, prepared, steps=8, truth=truth) - start
    assert distance(False, moved, truth) < 0.03
    if corrected:  # and the claims are far from each other
        assert distance(False, -torch.from_numpy(share).log(), truth) > 0.1


# --- several positives of a row, which come together: none is a sample of the others ---


@pytest.mark.parametrize("number", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_positives_that_come_together_are_no_samples_of_each_other(number: int) -> None:
    """Two items are wanted by everybody, as often, and Q takes one to be a thousand times as frequent."""
    layer = SampledSoftmax(1, UnigramProposal([2000, 2, *[20] * 48], power=1), in_batch=True, sparse=False)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        layer(torch.ones(number, 1), torch.tensor([[0, 1]] * number)).backward()
        optimizer.step()
    probability = layer.log_prob(torch.ones(1, 1)).detach().exp()[0]
    assert float(probability[1] / probability[0]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("positives", [2, 5])
def test_one_estimate_of_z_serves_all_positives_of_a_row(positives: int, shared: bool, sparse: bool) -> None:
    """All classes drawn, without replacement: the full softmax, of rows with positives that repeat and are ignored."""
    options: dict[str, Any] = {"num_samples": 9, "replacement": False, "shared": shared, "sparse": sparse}
    layer = SampledSoftmax(4, UniformProposal(9), dtype=torch.float64, **options)
    full = FullSoftmax(4, 9, dtype=torch.float64)
    full.load_state_dict(layer.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.randint(9, (6, positives), generator=generator)
    target[0], target[1, 0], target[2] = 3, -100, -100
    for each in (full, layer):
        repeated = each(hidden[:, None].expand(6, positives, 4), target, reduction="none").sum(1)
        number = (target >= 0).sum(1).clamp(min=1)
        found = each(hidden, target, reduction="none")
        torch.testing.assert_close(found, repeated / number, rtol=1e-12, atol=1e-12)
        ours, theirs = (
            torch.autograd.grad(loss.sum(), [hidden, each.weight], retain_graph=True)
            for loss in (found, repeated / number)
        )
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.to_dense(), other.to_dense(), rtol=1e-10, atol=1e-12)


def shares_z(name: str, **options: Any) -> OutputLayer:
    """A layer of 9 classes in 4 dimensions whose loss is a row's normaliser less the target's score, without chance."""
    words = Vocabulary([f"w{i}" for i in range(9)], range(9, 0, -1))
    layer = build(name, 4, words, dtype=torch.float64, **options)
    if isinstance(layer, TargetSampledSoftmax):
        layer.set_inclusion(np.linspace(0.1, 0.9, 9))
        layer.set_candidates(range(9))
    return layer


SHARING: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("full", {"block_size": 2}),
    ("self-normalized", {}),
    ("self-normalized", {"block_size": 2}),
    ("infrequent-normalized", {"fraction": 1.0}),
    ("infrequent-normalized", {"fraction": 1.0, "likelihood": True}),
    ("target-sampling", {}),
    ("target-sampling", {"bias": False, "sparse": False}),
    ("importance", {"effective_samples": None, "replacement": False, "num_samples": 9}),
    ("importance", {"effective_samples": 1e9, "num_samples": 1, "max_samples": 1}),
    ("cnn", {"block_size": 4}),
]


@pytest.mark.parametrize(("name", "options"), SHARING)
def test_one_log_z_serves_all_positives_of_a_row(name: str, options: dict[str, Any]) -> None:
    """Loss and gradients are the mean over the positives, of which eight cost hardly more products than one."""
    layer, generator = shares_z(name, **options), torch.Generator().manual_seed(0)
    hidden = torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.randint(9, (6, 8), generator=generator)
    target[0], target[1, 0], target[2] = 3, -100, -100
    number = (target >= 0).sum(1).clamp(min=1)
    found = layer(hidden, target, reduction="none")
    repeated = layer(hidden[:, None].expand(6, 8, 4), target, reduction="none").sum(1) / number
    torch.testing.assert_close(found, repeated, rtol=1e-12, atol=1e-12)
    learnt = [hidden, *layer.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sum(), learnt) for each in (found, repeated)), strict=True):
        torch.testing.assert_close(one.to_dense(), other.to_dense(), rtol=1e-10, atol=1e-12)
    costs = []
    for each in (target.clamp(min=0), target[:, :1].clamp(min=0)):
        with FlopCounterMode(display=False) as counter:
            layer(hidden, each).backward()
        costs.append(counter.get_total_flops())
    assert costs[0] <= costs[1]


@pytest.mark.parametrize(
    "base",
    [
        FullSoftmax,
        SelfNormalizedSoftmax,
        InfrequentlyNormalizedSoftmax,
        TargetSampledSoftmax,
        SampledSoftmax,
        ImportanceSampledSoftmax,
    ],
)
def test_a_subclass_with_a_loss_of_its_own_has_it_for_several_positives_too(base: type[Any]) -> None:
    class Halved(base):
        def _loss(self, hidden: torch.Tensor, target: torch.Tensor, context: Any = None) -> torch.Tensor:
            return hidden.sum(1) / 2 + target

    layer = Halved(4, UniformProposal(9) if issubclass(base, SamplingLayer) else 9)
    hidden, target = torch.ones(2, 4), torch.tensor([[1, 3], [5, -100]])
    assert layer(hidden, target, reduction="none").tolist() == [4, 7]


def test_a_group_is_left_out_of_its_rows_samples() -> None:
    """Against the formula: to each row the targets of other groups are draws, and two towers agree."""
    counts, target, group = [50, 1, 7, 30, 2], torch.tensor([3, 0, 3, 1, 0, 4]), torch.tensor([9, 9, 2, 2, 5, 5])
    proposal = UnigramProposal(counts, power=1)
    layer = SampledSoftmax(4, proposal, in_batch=True, bias=False, sparse=False, dtype=torch.float64)
    hidden = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = layer(hidden, target, group=group, reduction="none")
    for i, t in enumerate(target.tolist()):
        others = [int(w) for w, g in zip(target, group, strict=True) if g != group[i]]
        given = hidden[i].numpy(), layer.weight.detach().numpy(), np.zeros(5), t, others
        wanted = sampled_softmax_loss(*given, [4 * counts[w] / sum(counts) for w in others])
        assert found[i].item() == pytest.approx(float(wanted), rel=1e-12)
    towers = in_batch_softmax(
        hidden, layer.weight[target], proposal.log_prob(target), target, group=group, reduction="none"
    )
    torch.testing.assert_close(found, towers)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(hidden, target, group=group), found.mean())


@pytest.mark.parametrize("correct_target", [False, True])
def test_an_item_of_probability_0_is_a_finite_loss(correct_target: bool) -> None:
    queries, items = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)).unbind()
    log_prob = torch.tensor([-torch.inf, -1, -1, -1])
    losses = in_batch_softmax(queries, items, log_prob, correct_target=correct_target, reduction="none")
    assert losses.isfinite().all()
    rest = log_prob[1:] + math.log(3 / 2)  # as if it were not in the batch, but for how many draws there are
    without = in_batch_softmax(queries[1:], items[1:], rest, correct_target=correct_target, reduction="none")
    torch.testing.assert_close(losses[1:], without)


# --- classes that never occurred ---


def of_unseen(name: str, **options: Any) -> float:
    """The probability of 4 of 8 classes that are never targets, after training: all start alike."""
    layer = build(name, 1, [40, 30, 20, 10, 0, 0, 0, 0], sparse=False, num_samples=8, **options)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        layer(torch.ones(64, 1), torch.multinomial(torch.tensor([0.4, 0.3, 0.2, 0.1]), 64, replacement=True)).backward()
        optimizer.step()
    return float(layer.log_prob(torch.ones(1, 1)).detach().exp()[0, 4:].sum())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sampled", {}),
        ("sampled", {"proposal": "bigram"}),
        ("sampled", {"correct_target": True}),
        ("nce", {}),
        ("blackout", {}),
        ("importance", {"effective_samples": None}),
    ],
)
def test_classes_that_never_occurred_become_improbable(name: str, options: dict[str, Any]) -> None:
    assert of_unseen(name, **options) < 0.05
    assert of_unseen(name, smoothing=0.0, **options) > 0.1  # never drawn, never pushed down
    assert "smoothing=1" in repr(build(name, 1, [3, 0], **options))
    assert "smoothing" not in repr(build(name, 1, [3, 1], **options))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("proposal", ["unigram", "bigram"])
def test_one_positive_a_row_is_what_a_target_is(shared: bool, replacement: bool, proposal: str) -> None:
    options: dict[str, Any] = {"shared": shared, "replacement": replacement, "proposal": proposal, "num_samples": 4}
    layer = build("sampled", 4, [9, 5, 4, 3, 2, 1, 1], dtype=torch.float64, **options)
    hidden = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target, context = torch.tensor([0, 1, 1, 5, 3]), torch.tensor([1, 2, -1, 0, 6])
    losses = []
    for each in (target, target[:, None], torch.stack([target, torch.full_like(target, -100)], 1)):
        torch.manual_seed(0)
        losses.append(layer(hidden, each, context=context, reduction="none"))
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])
    assert layer(hidden, torch.stack([target, target.roll(1)], 1)).isfinite()


def test_several_positives_under_autocast_have_no_negative_loss() -> None:
    layer = FullSoftmax(64, 12)
    with torch.no_grad():
        layer.weight *= 40
    hidden = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    target = (hidden @ layer.weight.t()).argmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(hidden, target[:, None], reduction="none")
        torch.testing.assert_close(found, layer(hidden, target, reduction="none"))
