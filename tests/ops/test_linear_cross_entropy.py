"""The pair (log Z, the target's log-probability): over parts of the classes, and with gradients of either alone."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vastmax.ops import Part, linear_cross_entropy

N, D, V = 6, 5, 40
every_way = pytest.mark.parametrize("block_size", [None, 7], ids=["kept", "blocked"])


def tensors(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (N, D), (V, D), (V,)
    hidden, weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), torch.tensor([0, 39, 7, 7, 20, 33])


@every_way
@pytest.mark.parametrize("cuts", [(0, 20, 40), (0, 1, 8, 39, 40)], ids=str)
def test_parts_of_the_classes_make_the_whole(block_size: int | None, cuts: tuple[int, ...]) -> None:
    """Classes sharded over processes combine by log-sum-exp, maximum and sums of gradients."""
    hidden, weight, bias, target = tensors()
    whole = linear_cross_entropy([Part(hidden, weight, bias)], target, block_size)
    upstream = torch.randn(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.autograd.grad(whole[1], [hidden, weight, bias], upstream)
    held = []
    for start, stop in pairwise(cuts):
        part = Part(hidden, weight[start:stop], bias[start:stop])
        held.append(linear_cross_entropy([part], target - start, block_size))
    log_partition = torch.stack([each for each, _ in held]).logsumexp(0)
    of_parts = torch.stack([log_prob + own for own, log_prob in held])
    assert ((of_parts > -torch.inf).sum(0) == 1).all()
    log_prob = of_parts.amax(0) - log_partition
    torch.testing.assert_close(log_partition, whole[0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(log_prob, whole[1], rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad(log_prob, [hidden, weight, bias], upstream)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@every_way
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("to_partition", "to_target"),
    [(1.0, -1.0), (1.0, 0.0), (0.0, 1.0), (None, 1.0), (1.0, None), (1e-6, 1.0), (1e-3, -0.999), (2.0, 3.0)],
    ids=str,
)
def test_each_has_a_gradient_of_its_own(
    to_partition: float | None, to_target: float | None, dtype: torch.dtype, block_size: int | None
) -> None:
    hidden, weight, bias, target = tensors(dtype)
    inputs = [hidden, weight, bias]
    given = (to_partition, to_target)
    pair = linear_cross_entropy([Part(hidden, weight, bias)], target, block_size)
    loss = sum(factor * each.sum() for factor, each in zip(given, pair, strict=True) if factor is not None)
    found = torch.autograd.grad(loss, inputs)  # type: ignore[arg-type]
    logits = hidden.double() @ weight.double().T + bias.double()
    truth = logits.logsumexp(1), logits.log_softmax(1)[range(N), target]
    total = sum(factor * each.sum() for factor, each in zip(given, truth, strict=True) if factor is not None)
    expected = torch.autograd.grad(total, [hidden, weight, bias])  # type: ignore[arg-type]
    for ours, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=8 * torch.finfo(dtype).eps * scale)


@every_way
def test_it_goes_backward_twice(block_size: int | None) -> None:
    """Backward restores the probabilities that it overwrites."""
    hidden, weight, bias, target = tensors()
    log_partition, log_prob = linear_cross_entropy([Part(hidden, weight, bias)], target, block_size)
    loss = -log_prob.sum()
    first, again = (torch.autograd.grad(loss, [hidden, weight, bias], retain_graph=True) for _ in range(2))
    alone = torch.autograd.grad(log_partition.sum(), [hidden, weight, bias])
    fresh = torch.autograd.grad(
        linear_cross_entropy([Part(hidden, weight, bias)], None, block_size)[0].sum(), [hidden, weight, bias]
    )
    for a, b, c, d in zip(first, again, alone, fresh, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(c, d)
