"""Estimates from each row's own draws, and their gradients, against the formula in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ops.test_guarded_draws import DTYPES, ROWS, N, drawn
from vastmax import ops
from vastmax.ops import GuardedDraws


def by_formula(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, found: GuardedDraws, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute both outputs row by row, from the vectors alone."""
    own, sums, at, first = [], [], 0, 0
    for row in range(N):
        targets = int((row == ROWS).sum())
        scores = (weight if bias is None else torch.cat([weight, bias[:, None]], 1)) @ (
            hidden[row] if bias is None else torch.cat([hidden[row], hidden.new_ones(1)])
        )
        own.append(scores[target[first : first + targets]])
        draws = slice(at + targets, at + targets + int(found.lengths[row]))
        ratios = (scores[found.ids[draws]] - own[-1][0]).exp() / found.log_prob[draws].double().exp()
        sums.append(ratios.sum().log())
        at, first = draws.stop, first + targets
    return torch.cat(own), torch.stack(sums)


def estimated(
    backend: str, dtype: torch.dtype, sparse: bool = False, **options: Any
) -> tuple[dict[str, Tensor], Tensor, Tensor, GuardedDraws, Tensor]:
    found, of, _ = drawn("compiled", dtype=dtype, **options)
    leaves = {n: of[n].clone().requires_grad_() for n in ("hidden", "weight", "bias") if of[n] is not None}
    given = leaves["hidden"], leaves["weight"], leaves.get("bias")
    with ops.using(row_estimates=backend):
        own, sums = ops.row_estimates(*given, ROWS, found, sparse=sparse)
    return leaves, own, sums, found, of["target"]


def upstream(zeros: bool) -> tuple[Tensor, Tensor]:
    """Return non-contiguous gradients of both outputs; with `zeros`, 0 for some rows, as for rows computed exactly."""
    generator = torch.Generator().manual_seed(1)
    to_own = torch.randn(len(ROWS), 2, generator=generator, dtype=torch.float64)[:, 0]
    to_sums = torch.randn(N, 2, generator=generator, dtype=torch.float64)[:, 1]
    return to_own, to_sums * (torch.arange(N) % 3 > 0) if zeros else to_sums


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": None}, {"blocks": 1}, {"block": 1, "blocks": 3}], ids=str)
def test_values_and_gradients_are_the_formulas(
    backend: str, dtype: torch.dtype, sparse: bool, options: dict[str, Any]
) -> None:
    leaves, own, sums, found, target = estimated(backend, dtype, sparse, **options)
    to_own, to_sums = upstream(zeros=True)
    torch.autograd.backward([own, sums], [to_own.to(own.dtype), to_sums.to(sums.dtype)])
    exact = {name: each.detach().double().requires_grad_() for name, each in leaves.items()}
    right = by_formula(exact["hidden"], exact["weight"], exact.get("bias"), found, target)
    torch.autograd.backward(list(right), [to_own, to_sums])
    digits = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    for a, b in zip((own, sums), right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=max(1e-12, digits / 100), atol=digits)
    for name, leaf in leaves.items():
        assert leaf.grad is not None and leaf.grad.is_sparse == (sparse and name != "hidden")
        gradient = leaf.grad.to_dense().double()
        right_one = exact[name].grad
        assert right_one is not None
        error = (gradient - right_one).norm() / right_one.norm()
        assert error < digits, f"{name}: {error}"


@pytest.mark.parametrize("which", [0, 1])
def test_one_output_alone_has_a_gradient(which: int) -> None:
    leaves, own, sums, found, target = estimated("compiled", torch.float64)
    (own, sums)[which].sum().backward()
    exact = {name: each.detach().requires_grad_() for name, each in leaves.items()}
    by_formula(exact["hidden"], exact["weight"], exact["bias"], found, target)[which].sum().backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, exact[name].grad)


def test_sums_of_no_use_leave_no_trace() -> None:
    """A row that uses its exact gradient may have a log-sum of -inf."""
    found, of, _ = drawn("compiled", dtype=torch.float32)
    found.log_sum[0] = -torch.inf
    hidden = of["hidden"].requires_grad_()
    own, sums = ops.row_estimates(hidden, of["weight"], of["bias"], ROWS, found)
    to_sums = torch.ones(N)
    to_sums[0] = 0
    torch.autograd.backward([own, sums], [torch.zeros(len(ROWS)), to_sums])
    assert hidden.grad is not None and hidden.grad.isfinite().all()


def test_gradients_can_be_differentiated_again() -> None:
    found, of, _ = drawn("compiled", blocks=2)
    leaves = [of[name].requires_grad_() for name in ("hidden", "weight", "bias")]

    def function(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        own, sums = ops.row_estimates(hidden, weight, bias, ROWS, found)
        return own.square().sum() + sums.square().sum()

    (first,) = torch.autograd.grad(function(*leaves), leaves[:1], create_graph=True)
    second = torch.autograd.grad(first.square().sum(), leaves)
    exact = [each.detach().requires_grad_() for each in leaves]
    own, sums = by_formula(exact[0], exact[1], exact[2], found, of["target"])
    (right,) = torch.autograd.grad(own.square().sum() + sums.square().sum(), exact[:1], create_graph=True)
    for a, b in zip(second, torch.autograd.grad(right.square().sum(), exact), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_it_does_not_depend_on_threads() -> None:
    def gradients(threads: int) -> list[np.ndarray]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            leaves, own, sums, *_ = estimated("compiled", torch.float32)
            (own.sum() + sums.square().sum()).backward()
        finally:
            torch.set_num_threads(before)
        return [leaf.grad.numpy() for leaf in leaves.values() if leaf.grad is not None]

    for a, b in zip(gradients(1), gradients(3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused() -> None:
    from vastmax import _core

    numbers = np.zeros(3, np.float32), np.zeros(3, np.float32), np.array([1, 0]), np.zeros(2, np.float32)
    rows, to_own, to_sums, out = np.array([0, 1]), np.ones(2, np.float32), np.ones(2, np.float32), np.zeros(3, "f4")
    _core.estimate_factors(*numbers, rows, to_own, to_sums, out)
    for wrong in (np.array([1, 1]), np.array([1, 0]), np.array([0, 2]), np.array([0])):
        with pytest.raises(ValueError, match="each of which has a target"):
            _core.estimate_factors(*numbers, wrong, np.ones(len(wrong), np.float32), to_sums, out)
    with pytest.raises(ValueError, match="draws must be of the rows"):
        _core.estimate_factors(*numbers[:2], np.array([1, 1]), numbers[3], rows, to_own, to_sums, out)
