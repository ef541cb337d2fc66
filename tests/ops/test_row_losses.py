"""The compiled losses of shared samples beyond the cases common to all backends: sizes, extremes, SIMD levels."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from vastmax import _core, ops
from vastmax.ops import Draws, SampledLoss
from vastmax.ops.dispatch import REFERENCE

KINDS = get_args(SampledLoss)
SIZES = [(1, 1, 1), (3, 5, 7), (2, 16, 16), (5, 33, 67), (70, 31, 1025), (4, 8, 0), (0, 4, 3)]


def given(rows: int, width: int, samples: int, dtype: torch.dtype, scale: float = 1.0) -> tuple[list[Any], Draws]:
    """Return the operands, NaN in all rows not used, the target and draws that hit every third row."""
    generator = torch.Generator().manual_seed(rows + samples)
    classes = 2 * samples + 2 * rows + 2
    order = torch.randperm(classes, generator=generator)
    ids, target = order[:samples].sort().values, order[samples : samples + rows].clone()
    hit = torch.arange(0, rows, 3)[: samples or 0]
    target[hit] = ids[: len(hit)]
    weight, bias = (torch.full(shape, torch.nan, dtype=torch.float64) for shape in ((classes, width), (classes,)))
    met = torch.cat([ids, target])
    weight[met] = torch.randn((len(met), width), generator=generator, dtype=torch.float64)
    bias[met] = torch.randn(len(met), generator=generator, dtype=torch.float64)
    hidden = scale * torch.randn((rows, width), generator=generator, dtype=torch.float64)
    times = torch.randint(1, 5, (samples,), generator=generator).to(dtype)
    expected = torch.randn(samples, generator=generator, dtype=torch.float64).to(dtype)
    own = torch.randn(rows, generator=generator, dtype=torch.float64).to(dtype)
    draws = Draws(ids, times, expected, own, (hit, torch.arange(len(hit))), None, False)
    return [hidden.to(dtype), weight.to(dtype), bias.to(dtype), target], draws


def found(backend: str, kind: Any, operands: list[Any], draws: Draws, dtype: torch.dtype) -> list[Tensor]:
    """Return losses and the gradients of hidden vectors and of the used rows of the table and biases."""
    hidden, weight, bias = (each.detach().to(dtype).clone().requires_grad_() for each in operands[:3])
    target = operands[3]
    given = draws._replace(**{name: getattr(draws, name).to(dtype) for name in draws._fields[1:4]})
    with ops.using(sampled_loss=backend):
        loss = ops.sampled_loss(kind, hidden, weight, bias, target, given)
    factor = torch.linspace(-1, 2, len(loss), dtype=dtype)
    gradients = torch.autograd.grad(loss, [hidden, weight, bias], factor)
    met = torch.cat([target, draws.ids])
    return [loss.detach(), gradients[0], gradients[1][met], gradients[2][met]]


def leaving_one_out(operands: list[Any], draws: Draws) -> list[Tensor]:
    """As :func:`found`, for BlackOut in float64, with 1 - p summed over all other terms to avoid cancellation."""
    hidden, weight, bias = (each.detach().double().requires_grad_() for each in operands[:3])
    target, ids, times = operands[3], draws.ids, draws.times.double()
    own = (hidden * weight[target]).sum(1) + bias[target]
    correction = draws.log_expected.double() - draws.target_log_expected.double()[:, None]
    samples = hidden @ weight[ids].t() + bias[ids] - correction
    once_less = torch.where(torch.eye(len(ids)) > 0, times - 1, times).log()
    others = torch.cat([own[:, None, None].expand(-1, len(ids), 1), samples[:, None] + once_less], 2).logsumexp(2)
    total = torch.cat([own[:, None], samples + times.log()], 1).logsumexp(1)
    loss = total - own - (times * (others - total[:, None])).sum(1)
    gradients = torch.autograd.grad(loss, [hidden, weight, bias], torch.linspace(-1, 2, len(loss), dtype=loss.dtype))
    met = torch.cat([target, ids])
    return [loss.detach(), gradients[0], gradients[1][met], gradients[2][met]]


@pytest.mark.parametrize("level", _core.simd_levels())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_and_level(kind: str, dtype: torch.dtype, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTMAX_SIMD", level)
    for size in SIZES:
        for scale in (1e-3, 1.0, 30.0):
            operands, draws = given(*size, dtype, scale)
            if kind == "blackout" and size[2] < 100:
                truth = leaving_one_out(operands, draws)
            elif kind == "blackout" and scale > 1:  # the reference loses all precision for a small 1 - p
                continue
            else:
                truth = found(REFERENCE, kind, operands, draws, torch.float64)
            naive, ours = (found(name, kind, operands, draws, dtype) for name in ("torch", "compiled"))
            for exact, rounded, mine in zip(truth, naive, ours, strict=True):
                assert mine.dtype == dtype and mine.shape == exact.shape
                if exact.numel():
                    # the truth's own logits are rounded too, and the error grows with the hidden vectors
                    tolerance = 8 * torch.finfo(dtype).eps * max(1.0, float(exact.abs().max()))
                    tolerance += 3e-14 * max(1.0, scale**2)
                    assert (exact - mine).abs().max() <= (exact - rounded).abs().max() + tolerance, (size, scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_can_be_differentiated_again(kind: Any, sparse: bool) -> None:
    operands, draws = given(6, 5, 7, torch.float64)
    met = torch.cat([operands[3], draws.ids])
    seconds = []
    for name in (REFERENCE, "compiled"):
        leaves = [each.clone().requires_grad_() for each in operands[:3]]
        with ops.using(sampled_loss=name):
            loss = ops.sampled_loss(kind, *leaves, operands[3], draws, sparse=sparse)  # type: ignore[arg-type]
        (first,) = torch.autograd.grad(loss.square().sum(), leaves[:1], create_graph=True)
        of_hidden, of_weight, of_bias = torch.autograd.grad(first.square().sum(), leaves)
        seconds.append([of_hidden, of_weight.to_dense()[met], of_bias.to_dense()[met]])
    for a, b in zip(*seconds, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_blackout_against_no_samples_is_0() -> None:
    operands, draws = given(4, 8, 0, torch.float64)
    for name in ("torch", "compiled"):
        for each in found(name, "blackout", operands, draws, torch.float64):
            assert not each.any()


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(kind: str) -> None:
    operands, draws = given(300, 40, 900, torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with ops.using(sampled_loss="compiled"), torch.no_grad():
                results.append(ops.sampled_loss(kind, *operands, draws))  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*results, rtol=2e-6, atol=2e-6)  # the preceding product is computed by BLAS


def test_a_gradient_of_the_target_keeps_its_digits_where_it_is_all_but_sure() -> None:
    """The gradient 1 - p is precise where float32 rounds p to 1."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[20.0], [0.0]]).requires_grad_()
    none = torch.tensor([0])[:0]
    draws = Draws(torch.tensor([1]), torch.ones(1), torch.zeros(1), torch.zeros(1), (none, none))
    loss = ops.sampled_loss("softmax", hidden, weight, None, torch.tensor([0]), draws)
    loss.sum().backward()
    expected = torch.tensor([-20.0]).double().exp().float()
    torch.testing.assert_close(loss.detach(), expected, atol=0, rtol=1e-5)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.stack([-expected, expected]), atol=0, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", ["target", "sample"])
def test_what_is_no_number_is_not_hidden(kind: str, value: float, place: str) -> None:
    operands, draws = given(4, 3, 5, torch.float64)
    where = operands[3][1] if place == "target" else draws.ids[-1]
    operands[2][where] = value
    with torch.no_grad():
        usual, ours = (found_losses(name, kind, operands, draws) for name in (REFERENCE, "compiled"))
    rows = torch.ones(4, dtype=torch.bool) if place == "sample" else torch.arange(4) == 1
    # for an infinite logit the reference may give NaN where the formula has a value
    known = usual.isfinite() | (usual.isinf() & rows)
    torch.testing.assert_close(ours[known], usual[known])
    if value != value:
        assert ours[rows].isnan().all()


def found_losses(backend: str, kind: Any, operands: list[Any], draws: Draws) -> Tensor:
    with ops.using(sampled_loss=backend):
        hidden, weight, bias, target = operands
        return ops.sampled_loss(kind, hidden, weight, bias, target, draws)


def test_sizes_that_do_not_fit_are_refused() -> None:
    number, wide = torch.zeros(2).numpy(), torch.zeros(2, 3).numpy()
    with pytest.raises(ValueError, match="all sizes fit"):
        _core.row_losses(wide, wide, None, wide, *[number] * 6, *[False] * 4)  # pyright: ignore[reportCallIssue]


def test_which_vectors_the_core_takes() -> None:
    assert ops.backend_of("sampled_loss", torch.zeros(2, 2)) == "compiled"
    for other in (torch.zeros(2).bfloat16(), torch.zeros(2, device="meta")):
        assert ops.backend_of("sampled_loss", other) == "torch"
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.backend_of("sampled_loss", torch.zeros(2, 2)) == "torch"
