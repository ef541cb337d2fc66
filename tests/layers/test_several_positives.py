"""Several positives per row: none is a sample of the others, all share one log Z, and their losses are averaged."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.oracles import sampled_softmax_loss
from vastmax.layers import (
    FullSoftmax,
    ImportanceSampledSoftmax,
    InfrequentlyNormalizedSoftmax,
    OutputLayer,
    SampledSoftmax,
    SamplingLayer,
    SelfNormalizedSoftmax,
    TargetSampledSoftmax,
    build,
    in_batch_softmax,
)
from vastmax.proposals import UniformProposal, UnigramProposal
from vastmax.vocabulary import Vocabulary


@pytest.mark.parametrize("number", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_positives_that_come_together_are_no_samples_of_each_other(number: int) -> None:
    """Every row has the same two positives, of which Q makes one a thousand times as likely as the other."""
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
    """Drawing all classes without replacement gives the full softmax, also with repeated and ignored positives."""
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
    """Return a layer of 9 classes in 4 dimensions whose deterministic loss is log Z less the target's score."""
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
    """Loss and gradients are the mean over the positives; eight cost no more matrix products than one."""
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
    """Each row's draws are the targets of other groups, against the formula; two towers give the same."""
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
