"""Logits of each row's own classes: already known logits, every SIMD level, threads, and the grouping of ids."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vastmax import _core, ops

LEVELS = _core.simd_levels()


def given(dtype: torch.dtype, width: int = 70) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, width, generator=generator).to(dtype) for size in (30, 200))
    rows = torch.repeat_interleave(torch.arange(30) % 7)
    ids = torch.randint(200, (len(rows),), generator=generator)
    return hidden, weight, torch.randn(200, generator=generator).to(dtype), ids, torch.sort(rows).values


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width", [1, 15, 64, 131])
def test_every_simd_level_is_the_formula(level: str, dtype: torch.dtype, width: int) -> None:
    hidden, weight, bias, ids, rows = given(dtype, width)
    wide = torch.promote_types(dtype, torch.float32)
    exact = (hidden.double()[rows] * weight.double()[ids]).sum(1) + bias.double()[ids]
    out, factors = torch.empty(len(ids), dtype=wide), torch.randn(len(ids), dtype=wide)
    close = {"rtol": 3e-5 if wide == torch.float32 else 1e-12, "atol": 1e-4 if wide == torch.float32 else 1e-12}

    def array(tensor: Tensor) -> np.ndarray:
        return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()

    _core.ragged_logits(array(hidden), array(weight), array(bias), ids.numpy(), rows.numpy(), out.numpy(), 2, level)
    torch.testing.assert_close(out.double(), exact, **close)
    of_hidden = torch.empty_like(hidden)
    _core.gradient_of_rows(array(weight), ids.numpy(), rows.numpy(), factors.numpy(), array(of_hidden), 2, level)
    terms = factors.double()[:, None] * weight.double()[ids]
    wanted = torch.zeros(30, width, dtype=torch.float64).index_add_(0, rows, terms)
    half = {"rtol": 2**-8, "atol": 1e-3} if dtype == torch.bfloat16 else close
    torch.testing.assert_close(of_hidden.double(), wanted, **half)
    met, starts, order = _core.group_ids(ids.numpy(), 200)
    of_table, of_bias = torch.empty(len(met), width, dtype=dtype), torch.empty(len(met), dtype=wide)
    groups = factors.numpy(), starts, order, array(of_table), of_bias.numpy(), 2, level
    _core.gradient_of_table(array(hidden), rows.numpy(), *groups)
    terms = factors.double()[:, None] * hidden.double()[rows]
    wanted = torch.zeros(200, width, dtype=torch.float64).index_add_(0, ids, terms)[torch.tensor(met)]
    torch.testing.assert_close(of_table.double(), wanted, **half)
    wanted = torch.zeros(200, dtype=torch.float64).index_add_(0, ids, factors.double())[torch.tensor(met)]
    torch.testing.assert_close(of_bias.double(), wanted, **close)


@pytest.mark.parametrize("limit", [1, 5, 300, 70_000, 2**40])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_equal_ids_come_together(limit: int, count: int) -> None:
    ids = np.random.default_rng(limit).integers(0, limit, count)
    ids[::3] = ids[: len(ids[::3])] if count > 1 else ids[::3]
    values, starts, order = _core.group_ids(ids, limit)
    np.testing.assert_array_equal(values, np.unique(ids))
    np.testing.assert_array_equal(order, np.argsort(ids, kind="stable"))
    assert starts.tolist() == [*np.searchsorted(np.sort(ids), values), count]


def test_what_is_known_is_taken_and_has_its_gradients() -> None:
    hidden, weight, bias, ids, rows = given(torch.float64)
    known = ops.ragged_logits(hidden, weight, bias, ids, rows)
    leaves = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
    others = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
    for name in ("torch", "compiled"):
        with ops.using(ragged_logits=name):
            found = ops.ragged_logits(*leaves, ids, rows, known=7 * known)
            assert torch.equal(found, 7 * known)
            wanted = ops.ragged_logits(*others, ids, rows)
            for one, other in zip(
                torch.autograd.grad(found.square().sum() / 7, leaves),
                torch.autograd.grad(wanted.square().sum(), others),
                strict=True,
            ):
                torch.testing.assert_close(one, other)


def test_threads_change_nothing() -> None:
    threads, found = torch.get_num_threads(), []
    hidden, weight, bias, ids, rows = given(torch.float32)
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            leaves = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
            logits = ops.ragged_logits(*leaves, ids, rows, sparse=True)
            gradients = torch.autograd.grad(logits.sin().sum(), leaves)
            found.append([logits, *(each.to_dense() for each in gradients)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_sparse_gradients_hold_each_row_once() -> None:
    hidden, weight, bias, ids, rows = given(torch.float32)
    weight.requires_grad_()
    ops.ragged_logits(hidden, weight, bias, ids, rows, sparse=True).sum().backward()
    assert weight.grad is not None and weight.grad.is_sparse
    assert torch.equal(weight.grad._indices()[0], ids.unique())


def test_derivatives_of_derivatives() -> None:
    hidden, weight, _, ids, rows = given(torch.float64, width=3)
    leaves = [each[:, :3].clone().requires_grad_() for each in (hidden, weight)]

    def scores(*given: Tensor) -> Tensor:
        return ops.ragged_logits(*given, None, ids[:9], rows[:9]).sin().sum()  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(scores, leaves) and torch.autograd.gradgradcheck(scores, leaves)


def test_the_core_refuses_what_does_not_fit() -> None:
    hidden, weight, _, ids, rows = (each.numpy() for each in given(torch.float32))
    out = np.empty(len(ids), np.float32)
    for bad in ((ids + 200, rows), (ids - 200, rows), (ids, rows + 30), (ids[1:], rows)):
        with pytest.raises(ValueError, match="ids must be rows of the table"):
            _core.ragged_logits(hidden, weight, None, *bad, out)
    with pytest.raises(ValueError, match="rows must rise"):
        _core.gradient_of_rows(weight, ids, rows[::-1].copy(), out, np.empty((30, 70), np.float32))
    with pytest.raises(ValueError, match="below the limit"):
        _core.group_ids(ids, 20)


def test_which_backend() -> None:
    half = torch.zeros(1, dtype=torch.float16)
    assert ops.backend_of("ragged_logits", torch.zeros(1)) == "compiled"
    assert ops.backend_of("ragged_logits", half) == ops.backend_of("ragged_logits", half.to("meta")) == "torch"
