"""The self-normalised softmax: its formula, its limit without a penalty, and log Z on held-out text."""

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.held_out import TARGET, UPSTREAM, D, N, V, held_out, hidden_of, spread
from tests.oracles import gradients_of, self_normalized_loss
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, SelfNormalizedSoftmax


def layer_of(**options) -> SelfNormalizedSoftmax:
    layer = SelfNormalizedSoftmax(D, V, **options, dtype=torch.float64)
    spread(layer)
    return layer


@pytest.mark.numerics
@pytest.mark.parametrize("block_size", [None, 1, 7, 100])
@pytest.mark.parametrize("penalty", [0.1, 2.0])
def test_loss_and_gradients_are_those_of_the_formula(penalty: float, block_size: int | None) -> None:
    layer, hidden = layer_of(penalty=penalty, block_size=block_size), hidden_of()
    loss = layer(hidden, TARGET, reduction="none")
    found = torch.autograd.grad(loss, [hidden, *layer.parameters()], UPSTREAM)
    expected = [np.zeros(tuple(part.shape)) for part in found]
    arrays = [parameter.detach().numpy() for parameter in layer.parameters()]
    for i, (h, t) in enumerate(zip(hidden.detach().numpy(), TARGET.tolist(), strict=True)):
        assert loss[i].item() == pytest.approx(float(self_normalized_loss(h, *arrays, t, penalty)), rel=1e-12)
        terms = gradients_of(lambda *given, t=t: self_normalized_loss(*given, t, penalty), h, *arrays)
        expected[0][i] = float(UPSTREAM[i]) * terms[0]
        for total, term in zip(expected[1:], terms[1:], strict=True):
            total += float(UPSTREAM[i]) * term
    for ours, truth in zip(found, expected, strict=True):
        assert not ours.is_sparse
        torch.testing.assert_close(ours, torch.from_numpy(truth))


@pytest.mark.parametrize("block_size", [None, 4])
def test_without_a_penalty_it_is_the_full_softmax(block_size: int | None) -> None:
    layer, full, hidden = (
        layer_of(penalty=0.0),
        FullSoftmax(D, V, block_size=block_size, dtype=torch.float64),
        hidden_of(),
    )
    full.load_state_dict(layer.state_dict())
    ours, truth = layer(hidden, TARGET, reduction="none"), full(hidden, TARGET, reduction="none")
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(ours, [hidden, *layer.parameters()], UPSTREAM)
    expected = torch.autograd.grad(truth, [hidden, *full.parameters()], UPSTREAM)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_score_is_off_by_log_z() -> None:
    layer, hidden = layer_of(), hidden_of(6).view(2, 3, D)
    target = torch.tensor([[0, 1, 2], [V - 1, 3, 3]])
    score = layer.unnormalized_log_prob(hidden, target)
    assert score.shape == (2, 3)
    torch.testing.assert_close(score - layer.log_partition(hidden), layer.target_log_prob(hidden, target))
    assert layer.log_partition(hidden).abs().min() > 0.1  # otherwise the line above could not fail
    with pytest.raises(InputError, match=f"target contains {V}"):
        layer.unnormalized_log_prob(hidden, target + 1)
    score.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_z_starts_near_zero(dtype: torch.dtype) -> None:
    hidden = torch.tanh(torch.randn(50, 32)).to(dtype)
    log_partition = SelfNormalizedSoftmax(32, 5000, dtype=dtype).log_partition(hidden)
    assert log_partition.dtype == torch.float32 and log_partition.abs().max() < 0.4
    without = SelfNormalizedSoftmax(32, 5000, bias=False).log_partition(hidden.float())
    assert (without - math.log(5000)).abs().max() < 0.4


def test_flops_are_those_that_are_counted() -> None:
    for block_size in (None, 7):
        layer, hidden = layer_of(block_size=block_size), hidden_of()
        with FlopCounterMode(display=False) as counter:
            layer(hidden, TARGET).backward()
        assert counter.get_total_flops() == N * layer.flops_per_token()
    assert layer.flops_per_token(train=False) == 2 * D * V
    assert layer.num_parameters == V * (D + 1)


@pytest.mark.parametrize("penalty", [-0.1, math.nan, math.inf])
def test_bad_penalties(penalty: float) -> None:
    with pytest.raises(InputError, match=f"penalty is {penalty}: give a number of 0 or more"):
        SelfNormalizedSoftmax(D, V, penalty=penalty)


# --- on text: a trigram model of Penn Treebank's most frequent words ---


def test_log_z_of_unseen_text_is_near_zero_with_the_penalty_alone() -> None:
    full, without = held_out("full"), held_out("self-normalized", penalty=0.0)
    weak, strong = held_out("self-normalized", penalty=0.1), held_out("self-normalized", penalty=1.0)
    print(full, without, weak, strong, sep="\n")
    assert full.distance > 3  # the full softmax leaves log Z where the initial biases put it
    assert strong.distance < weak.distance < without.distance
    assert strong.distance < 0.4 * without.distance
    assert strong.loss < full.loss + 0.05
    assert abs(strong.score - strong.loss) < 0.1
