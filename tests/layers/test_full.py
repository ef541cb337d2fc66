"""The full softmax against its formula, blocked and unblocked, and the memory use of blocks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.watching import LargestTensor
from tests.oracles import full_gradients, full_log_prob
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax

pytestmark = pytest.mark.numerics

D, V, N = 6, 23, 5
BLOCKS = [None, 1, 4, 23, 100]
every_block = pytest.mark.parametrize("block_size", BLOCKS)


def layer_of(block_size: int | None, spread: float = 1.0) -> FullSoftmax:
    layer = FullSoftmax(D, V, block_size=block_size, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(N, D, generator=generator, dtype=torch.float64).requires_grad_()
    return hidden, torch.tensor([0, V - 1, 7, 7, 12])


@every_block
@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_loss_is_that_of_the_formula(block_size: int | None, spread: float) -> None:
    layer, (hidden, target) = layer_of(block_size, spread), batch()
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    expected = torch.from_numpy(np.stack([full_log_prob(h, weight, bias) for h in hidden.detach().numpy()]))
    torch.testing.assert_close(layer.log_prob(hidden), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(hidden, target, reduction="none"), -expected[range(N), target])
    torch.testing.assert_close(layer.target_log_prob(hidden, target), expected[range(N), target])
    log_partition = (hidden @ layer.weight.t() + layer.bias - expected)[:, 0]
    torch.testing.assert_close(layer.log_partition(hidden), log_partition)


@every_block
def test_gradient_has_two_terms(block_size: int | None) -> None:
    layer, (hidden, target) = layer_of(block_size), batch()
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    layer(hidden, target, reduction="none").backward(upstream)
    to_weight, to_bias = np.zeros_like(weight), np.zeros_like(bias)
    for i, (h, t) in enumerate(zip(hidden.detach().numpy(), target.tolist(), strict=True)):
        terms = full_gradients(h, weight, bias, t)
        torch.testing.assert_close(hidden.grad[i], upstream[i] * torch.from_numpy(terms[0]))  # type: ignore[index]
        to_weight += float(upstream[i]) * terms[1]
        to_bias += float(upstream[i]) * terms[2]
    torch.testing.assert_close(layer.weight.grad, torch.from_numpy(to_weight))
    torch.testing.assert_close(layer.bias.grad, torch.from_numpy(to_bias))  # type: ignore[union-attr]


@every_block
def test_gradient_of_log_partition_is_an_expectation(block_size: int | None) -> None:
    layer, (hidden, _) = layer_of(block_size), batch()
    found = torch.autograd.grad(layer.log_partition(hidden).sum(), [hidden, *layer.parameters()])
    logits = hidden @ layer.weight.t() + layer.bias
    expected = torch.autograd.grad(logits.logsumexp(-1).sum(), [hidden, *layer.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_lose_no_more_than_one_table(dtype: torch.dtype) -> None:
    """|truth - blocked| <= |truth - plain in the same dtype| + tolerance."""
    torch.manual_seed(0)
    truth = FullSoftmax(32, 500, dtype=torch.float64)
    plain, blocked = FullSoftmax(32, 500, dtype=dtype), FullSoftmax(32, 500, block_size=64, dtype=dtype)
    plain.load_state_dict(truth.state_dict())
    truth.load_state_dict(plain.state_dict())
    blocked.load_state_dict(plain.state_dict())
    hidden, target = torch.randn(64, 32).to(dtype), torch.randint(500, (64,))
    results = []
    for layer, given in ((truth, hidden.double()), (plain, hidden), (blocked, hidden)):
        given = given.clone().requires_grad_()
        loss = layer(given, target)
        found = torch.autograd.grad(loss, [given, *layer.parameters()])
        results.append([loss.double(), *(gradient.double() for gradient in found)])
    for exact, rounded, ours in zip(*results, strict=True):
        tolerance = torch.finfo(dtype).eps * exact.abs().max()
        assert (exact - ours).abs().max() <= 1.5 * (exact - rounded).abs().max() + tolerance


def test_blocks_never_hold_all_logits() -> None:
    hidden, target = torch.randn(400, D, requires_grad=True), torch.randint(3000, (400,))
    largest = {}
    for block_size in (None, 50):
        layer = FullSoftmax(D, 3000, block_size=block_size)
        with LargestTensor() as mode:
            layer(hidden, target).backward()
        largest[block_size] = mode.largest
    assert largest[None] == 400 * 3000  # the mode sees the full logits without blocks
    assert largest[50] == max(400 * 50, 3000 * D)
    with LargestTensor() as mode, torch.no_grad():
        FullSoftmax(D, 100_000).target_log_prob(hidden, target)
    assert mode.largest < 400 * 100_000 / 10


@every_block
def test_flops_are_those_that_are_counted(block_size: int | None) -> None:
    layer, (hidden, target) = layer_of(block_size), batch()
    with FlopCounterMode(display=False) as counter:
        layer(hidden, target).backward()
    assert counter.get_total_flops() == N * layer.flops_per_token()
    with FlopCounterMode(display=False) as counter:
        layer.target_log_prob(hidden, target)
    assert counter.get_total_flops() == N * layer.flops_per_token(train=False)
    assert layer.num_parameters == V * (D + 1)


# --- tied weights ---


def test_tied_weights_are_one_parameter() -> None:
    embedding = nn.Embedding(V, D, dtype=torch.float64)
    layer = layer_of(None)
    layer.tie_weights(embedding)
    model = nn.ModuleList([embedding, layer])
    assert sum(parameter.numel() for parameter in model.parameters()) == V * D + V
    target = torch.tensor([3, 4])
    layer(embedding(torch.tensor([1, 2])), target).backward()
    assert embedding.weight.grad is layer.weight.grad
    hidden = embedding(torch.tensor([1, 2])).detach()
    before = layer.log_prob(hidden)
    with torch.no_grad():
        embedding.weight.mul_(2)
    assert not torch.equal(layer.log_prob(hidden), before)


def test_what_cannot_be_tied() -> None:
    layer = layer_of(None)
    with pytest.raises(InputError, match=r"shape \(23, 5\): give an nn.Embedding or an nn.Parameter of shape"):
        layer.tie_weights(nn.Embedding(V, D - 1))
    with pytest.raises(InputError, match=r"the table to tie to is torch.float32 of shape"):
        layer.tie_weights(torch.zeros(V, D))  # type: ignore[arg-type]


def test_bad_blocks() -> None:
    with pytest.raises(InputError, match="block_size is 0: give a whole number of 1 or more"):
        FullSoftmax(D, V, block_size=0)


def test_a_class_of_probability_zero_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, (hidden, _) = layer_of(None), batch()
    with torch.no_grad():
        layer.bias[0] = -1e9  # type: ignore[index]
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=torch.float64))
    assert (layer.sample(hidden, 3) == 1).all()  # the smallest random number selects the first class with any mass
