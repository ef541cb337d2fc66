"""Coalesced sparse gradients: every backend against float64, and the order in which rows are summed."""

import pytest
import torch
from torch import Tensor

from vastmax import ops
from vastmax.ops import coalesced
from vastmax.ops.dispatch import _ops

pytestmark = pytest.mark.numerics

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
PAIRS = [
    pytest.param(name, dtype, id=f"{name}-{dtype}")
    for name, backend in _ops["coalesced"].items()
    for dtype in DTYPES
    if backend.takes(torch.zeros(1, dtype=dtype))
]


def some(num_rows: int, count: int, *width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return an uncoalesced gradient with `count` random rows."""
    generator = torch.Generator().manual_seed(7)
    rows = torch.randint(num_rows, (1, count), generator=generator)
    values = torch.randn((count, *width), generator=generator, dtype=torch.float64).to(dtype)
    return torch.sparse_coo_tensor(rows, values, (num_rows, *width), check_invariants=False)


@pytest.mark.parametrize("rows", [[0, 2, 5], [2, 2, 5], [5, 0, 2], [1, 2, 2], []], ids=str)
@pytest.mark.parametrize(("backend", "dtype"), PAIRS)
def test_a_sparse_gradient_has_each_row_once(backend: str, dtype: torch.dtype, rows: list[int]) -> None:
    values = torch.arange(6.0, dtype=dtype).view(3, 2)[: len(rows)]
    gradient = torch.sparse_coo_tensor(torch.tensor([rows], dtype=torch.int64), values, (6, 2))
    with ops.using(coalesced=backend):
        found = coalesced(gradient)
    assert found.is_coalesced() and found.dtype == dtype and torch.equal(found.to_dense(), gradient.to_dense())
    assert found._indices()[0].tolist() == sorted(set(rows))
    rising = rows in ([], [0, 2, 5])
    assert (found._values().data_ptr() == values.data_ptr()) == rising  # no copy of sorted and unique rows


@pytest.mark.parametrize("width", [(), (1,), (3, 2), (0,), (40_000,)], ids=str)
@pytest.mark.parametrize("num_rows", [1, 7, 100_000])  # counting sort and radix sort
@pytest.mark.parametrize(("backend", "dtype"), PAIRS)
def test_every_backend_sums(backend: str, dtype: torch.dtype, num_rows: int, width: tuple[int, ...]) -> None:
    gradient = some(num_rows, 30, *width, dtype=dtype)
    rows, values = gradient._indices()[0], gradient._values()
    with ops.using(coalesced=backend):
        found = coalesced(gradient)
    met = sorted(set(rows.tolist()))
    assert found.is_coalesced() and found.shape == gradient.shape and found._indices()[0].tolist() == met
    assert found._values().dtype == dtype
    for row, sums in zip(met, found._values(), strict=True):
        mine = values[rows == row].double()
        near = len(mine) * torch.finfo(dtype).eps * mine.abs().sum(0)
        assert ((sums.double() - mine.sum(0)).abs() <= near).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_are_summed_in_the_order_in_which_they_stand_whatever_the_threads(dtype: torch.dtype) -> None:
    gradient = some(500, 3000, 100, dtype=dtype)
    with ops.using(coalesced="reference"):
        expected = coalesced(gradient)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(coalesced(gradient)._values(), expected._values())
    finally:
        torch.set_num_threads(before)


def test_gradients_that_are_not_plain() -> None:
    cells = torch.sparse_coo_tensor(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), (6, 2))
    assert torch.equal(coalesced(cells).to_dense(), cells.to_dense())
    gradient = some(5, 9, 3)
    strided = gradient._values().t().contiguous().t()
    spread = gradient._indices().t().expand(-1, 2).contiguous()[:, :1].t()
    for parts in ((gradient._indices(), strided), (spread, gradient._values())):
        other = torch.sparse_coo_tensor(*parts, gradient.shape, check_invariants=False)
        assert not (other._indices().stride()[1] == 1 and other._values().is_contiguous())
        torch.testing.assert_close(coalesced(other), coalesced(gradient))
    with torch.no_grad():  # as in a backward pass that is itself differentiable
        torch.testing.assert_close(coalesced(gradient.clone().requires_grad_()), coalesced(gradient))


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_sums_of_half_precision_are_kept_in_float32(backend: str) -> None:
    """A thousand ones sum to 1000, exact in bfloat16; a running bfloat16 sum would stop at 256."""
    values = torch.ones(1000, 2, dtype=torch.bfloat16)
    gradient = torch.sparse_coo_tensor(torch.zeros(1, 1000, dtype=torch.int64), values, (9, 2))
    with ops.using(coalesced=backend):
        total = coalesced(gradient)
    assert total.dtype == torch.bfloat16 and total.is_coalesced() and total._values().tolist() == [[1000.0, 1000.0]]


@pytest.mark.parametrize("row", [-1, 6])
def test_a_row_that_there_is_not(row: int) -> None:
    rows = torch.tensor([[3, row, 2]])
    gradient = torch.sparse_coo_tensor(rows, torch.ones(3, 2), (6, 2), check_invariants=False)
    with pytest.raises(ValueError, match="rows must be below the limit"):
        coalesced(gradient)


def test_which_values_the_core_takes() -> None:
    assert ops.backend_of("coalesced", torch.zeros(2, 2)) == "compiled"
    for other in (torch.zeros(2, 3).t(), torch.zeros(2).bfloat16(), torch.zeros(2, device="meta")):
        assert ops.backend_of("coalesced", other) == "torch"
