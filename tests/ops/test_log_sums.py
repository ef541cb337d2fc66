"""Compiled sums of ratios beyond the cases common to all backends: sizes, extremes, SIMD levels, threads."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from vastmax import _core, ops

SIZES = [(1, 1), (3, 7), (2, 16), (5, 67), (70, 1025), (300, 130)]


def given(rows: int, samples: int, dtype: torch.dtype, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + samples)
    logits = (scale * torch.randn((rows, samples), generator=generator, dtype=torch.float64)).to(dtype)
    log_prob = (torch.randn(samples, generator=generator, dtype=torch.float64) - 5).to(dtype)
    times = torch.randint(1, 6, (samples,), generator=generator)
    return logits, logits[:, 0].clone(), log_prob, times


def in_numpy(logits: Tensor, bases: Tensor, log_prob: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log Σ r, log Σ r² and ∂ log Σ r, computed draw by draw."""
    terms = (logits.double() - bases.double()[:, None] - log_prob.double()).numpy().repeat(times.numpy(), axis=1)
    once, twice = np.logaddexp.reduce(terms, axis=1), np.logaddexp.reduce(2 * terms, axis=1)
    shares = np.add.reduceat(np.exp(terms - once[:, None]), np.r_[0, times.numpy().cumsum()[:-1]], axis=1)
    return torch.from_numpy(once), torch.from_numpy(twice), torch.from_numpy(shares)


@pytest.mark.parametrize("backend", ["torch", *_core.simd_levels()])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_size_and_level(dtype: torch.dtype, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend != "torch":
        monkeypatch.setenv("VASTMAX_SIMD", backend)
    near = {torch.float64: 1e-12, torch.float32: 2e-6}[dtype]
    for (rows, samples), scale in product(SIZES, (1e-3, 1.0, 30.0, 1e4)):
        logits, bases, log_prob, times = given(rows, samples, dtype, scale)
        logits.requires_grad_()
        bases.requires_grad_()
        with ops.using(log_sums="torch" if backend == "torch" else "compiled"):
            once, twice = ops.log_sums(logits, bases, log_prob, times)
        assert not twice.requires_grad
        right = in_numpy(logits.detach(), bases.detach(), log_prob, times)
        to_sums = torch.linspace(-1, 2, rows, dtype=dtype)
        to_logits, to_bases = torch.autograd.grad(once, [logits, bases], to_sums)
        torch.testing.assert_close(once.double(), right[0], rtol=near, atol=near * max(1.0, scale))
        torch.testing.assert_close(twice.double(), right[1], rtol=near, atol=2 * near * max(1.0, scale))
        shares = right[2] * to_sums.double()[:, None]
        torch.testing.assert_close(to_logits.double(), shares, rtol=1e-6, atol=5 * near * max(1.0, scale))
        torch.testing.assert_close(to_bases, -to_sums)


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_what_is_no_number_stays_none_and_nothing_drawn_has_no_mass(dtype: torch.dtype, backend: str) -> None:
    logits = torch.zeros(5, 40, dtype=dtype)
    logits[0, 33], logits[1], logits[2, 5], logits[4] = torch.nan, -torch.inf, torch.inf, torch.nan
    with ops.using(log_sums=backend):
        once, twice = ops.log_sums(logits, torch.zeros(5, dtype=dtype), torch.zeros(40, dtype=dtype))
        of_no_base, _ = ops.log_sums(
            torch.zeros(1, 3, dtype=dtype), torch.tensor([torch.nan]).to(dtype), torch.zeros(3)
        )
    assert (
        once[[0, 4]].isnan().all()
        and twice[[0, 4]].isnan().all()
        and of_no_base.isnan()
        and once[1] == twice[1] == -torch.inf
    )
    assert not once[2].isfinite() and not twice[2].isfinite()
    torch.testing.assert_close(once[3].double(), torch.tensor(40.0, dtype=torch.float64).log(), rtol=1e-6, atol=0)


def test_numbers_of_two_precisions_give_the_wider() -> None:
    logits, bases, log_prob, times = given(3, 7, torch.float32, 1.0)
    once, twice = ops.log_sums(logits, bases.double(), log_prob, times)
    right = in_numpy(logits, bases, log_prob, times)
    assert once.dtype == torch.float64
    torch.testing.assert_close((once, twice), right[:2], rtol=1e-6, atol=1e-6)


def test_it_does_not_depend_on_threads() -> None:
    def found(threads: int) -> list[Tensor]:
        logits, bases, log_prob, times = given(300, 130, torch.float32, 1.0)
        logits.requires_grad_()
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            once, twice = ops.log_sums(logits, bases, log_prob, times)
            return [once.detach(), twice, *torch.autograd.grad(once.square().sum(), logits)]
        finally:
            torch.set_num_threads(before)

    assert all(torch.equal(a, b) for a, b in zip(found(1), found(3), strict=True))


def test_gradients_can_be_differentiated_again() -> None:
    logits, bases, log_prob, times = given(3, 7, torch.float64, 1.0)

    def once(logits: Tensor, bases: Tensor) -> Tensor:
        return ops.log_sums(logits, bases, log_prob, times)[0]

    assert torch.autograd.gradgradcheck(once, (logits.requires_grad_(), bases.requires_grad_()))


def test_what_does_not_fit_is_refused() -> None:
    one, two, matrix = np.zeros(1, np.float32), np.zeros(2, np.float32), np.zeros((2, 1), np.float32)
    with pytest.raises(ValueError, match="bases must be a number for each row"):
        _core.ratio_sums(matrix, one, one, one, two, two, two)
    with pytest.raises(ValueError, match="sums must be a number for each row"):
        _core.ratio_sums(matrix, two, one, one, one, two, two)
    with pytest.raises(ValueError, match="of the logits' shape"):
        _core.ratio_gradients(matrix, two, one, one, two, two, np.zeros((1, 2), np.float32))
