"""Every option of every layer that samples, brought to its optimum on a toy, beside the distribution it claims there.

The toy has one hidden vector, so a layer is its biases and the truth is one distribution P. A layer starts at what it
claims and follows the mean gradient over many draws, with steps that would take it anywhere: where the claim is wrong,
it leaves. What is learnt is the mean of its later half.
"""

import itertools
import math
from collections.abc import Callable, Iterator
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
    SampledSoftmax,
    SamplingLayer,
    SelfNormalizedSoftmax,
    TargetSampledSoftmax,
    build,
    in_batch_softmax,
)
from vastmax.ops import Draws
from vastmax.proposals import Proposal, UniformProposal, UnigramProposal
from vastmax.vocabulary import Vocabulary

P = torch.tensor([0.4, 0.2, 0.12, 0.1, 0.07, 0.05, 0.04, 0.02], dtype=torch.float64)
V = len(P)
COUNTS = (1000 * P).tolist()
PROPOSALS: dict[str, Callable[[], Proposal]] = {
    "uniform": lambda: UniformProposal(V),
    "unigram^0.75": lambda: UnigramProposal(COUNTS, power=0.75),
    "unigram": lambda: UnigramProposal(COUNTS, power=1),
}
CHANCE = {"by row": 0.006, "shared": 0.025, "in batch": 0.006}  # total variation that draws alone leave, by far


class Claim(NamedTuple):
    """What a layer's biases are at its optimum."""

    make: Callable[..., SamplingLayer]
    biases: Callable[[Tensor, int], Tensor]  # given log Q (V,) and k
    level: bool  # whether the biases themselves are claimed, or all but a shift
    bias: float = 0.0  # total variation that a finite k leaves, over k: of an estimator
    distinct: float = 0.0  # the same of draws without replacement, where that only nearly keeps the claim
    in_batch: bool = True


def log_p(log_q: Tensor, k: int) -> Tensor:
    return P.log()


METHODS = {
    "sampled": Claim(SampledSoftmax, log_p, False, bias=0.55, distinct=0.55),
    "sampled, target corrected": Claim(
        lambda *given, **options: SampledSoftmax(*given, correct_target=True, **options), log_p, False, distinct=0.06
    ),
    "nce": Claim(NoiseContrastiveEstimation, log_p, True, distinct=0.12),
    "blackout": Claim(BlackOut, log_p, False, distinct=0.03),
    "negative sampling": Claim(
        NegativeSampling, lambda log_q, k: P.log() - torch.log1p(-P) - log_q - math.log(k), True, distinct=0.12
    ),
    "negative sampling, hits kept": Claim(
        lambda *given, **options: NegativeSampling(*given, keep_hits=True, **options),
        lambda log_q, k: P.log() - log_q - math.log(k),
        True,
        distinct=0.16,
    ),
    "importance": Claim(
        lambda *given, **options: ImportanceSampledSoftmax(*given, effective_samples=None, **options),
        log_p,
        False,
        bias=1.3,
        distinct=1.3,
        in_batch=False,
    ),
}


def learnt(
    layer: SamplingLayer, start: Tensor, batches: Callable[[torch.Generator], Iterator[Tensor]], *, steps: int = 30
) -> Tensor:
    """Return the biases (V,) that the mean gradient over batches of targets leads to."""
    assert layer.bias is not None
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(start)
    later = []
    for step in range(steps):
        gradient, number = torch.zeros(V, dtype=torch.float64), 0
        for target in batches(generator):
            loss = layer(torch.ones(len(target), 1, dtype=torch.float64), target)
            (found,) = torch.autograd.grad(loss, layer.bias)
            gradient += found.to_dense()
            number += 1
        with torch.no_grad():
            layer.bias -= (0.7 if step < steps // 2 else 0.3) * (gradient / number / P).clamp(-1, 1)
        if step >= steps // 2:
            later.append(layer.bias.detach().clone())
    return torch.stack(later).mean(0)


def distance(claim: Claim, found: Tensor, start: Tensor) -> float:
    """The total variation between P and what the biases say P is, had they been reached as claimed."""
    moved = found - start
    if claim.level:
        return float((P * moved.expm1()).abs().sum() / 2)
    return float(((P.log() + moved).softmax(0) - P).abs().sum() / 2)


def off(
    method: str,
    proposal: str,
    k: int,
    drawn: str,
    replacement: bool = True,
    positives: int = 1,
    *,
    effort: float = 1.0,
    fault: Callable[[Draws], Draws] = lambda draws: draws,
) -> tuple[float, float]:
    """How far a method's optimum is from its claim, and how far it may be."""
    claim, made = METHODS[method], PROPOSALS[proposal]()
    size, number, options = 64, max(1, int(150 * effort)), {"shared": drawn != "by row"}
    if drawn == "by row":
        size, number = int(20_000 * effort) // positives, 1
    elif drawn == "in batch":
        size = max(2, (k + 1) // positives)
        k = (size - 1) * positives  # a row's own are none of its samples
        options["in_batch"] = True
    layer = claim.make(1, made, num_samples=k, replacement=replacement, dtype=torch.float64, **options)
    draw = layer.draw
    layer.draw = lambda *given: fault(draw(*given))  # type: ignore[method-assign]
    start = claim.biases(made.log_prob(torch.arange(V)), k)

    def batches(generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(number):
            target = torch.multinomial(P, size * positives, replacement=True, generator=generator)
            yield target if positives == 1 else target.view(size, positives)

    found = distance(claim, learnt(layer, start, batches, steps=30 if effort == 1 else 16), start)
    estimated = claim.bias if replacement or drawn == "in batch" else claim.distinct
    return found, CHANCE[drawn] / math.sqrt(effort) + estimated / k


def fits(method: str, proposal: str, k: int, drawn: str, replacement: bool) -> bool:
    if drawn == "in batch":  # the targets are draws from P with replacement
        return METHODS[method].in_batch and proposal == "unigram" and replacement
    return replacement or k < V


CASES = [
    case
    for case in itertools.product(METHODS, PROPOSALS, (2, 8, 32), CHANCE, (True, False))
    if fits(*case)  # type: ignore[arg-type]
]


@pytest.mark.numerics
@pytest.mark.parametrize("method", METHODS)
def test_the_optimum_is_what_is_claimed(method: str) -> None:
    for case in CASES:
        if case[0] == method and case[2] < 32 and (case[3] == "by row" or case[1] == "unigram"):
            found, allowed = off(*case, effort=0.2)  # type: ignore[arg-type]
            assert found <= allowed, case


@pytest.mark.slow
@pytest.mark.parametrize("positives", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_combination(case: tuple[str, str, int, str, bool], positives: int) -> None:
    found, allowed = off(*case, positives=positives)  # type: ignore[arg-type]
    assert found <= allowed


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
    found, allowed = off(method, "unigram^0.75", 32, "by row", effort=0.2, fault=FAULTS[fault])
    assert found > 1.3 * allowed


# --- several positives of a row, which come together: none is a sample of the others ---


@pytest.mark.parametrize("number", [8, 64])
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
