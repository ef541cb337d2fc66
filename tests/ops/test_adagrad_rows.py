"""Adagrad on a subset of rows: every backend against the reference, and all other rows untouched."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vastmax import ops
from vastmax.ops.dispatch import REFERENCE, _ops

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
PAIRS = [
    pytest.param(name, dtype, id=f"{name}-{dtype}")
    for name, backend in _ops["adagrad_rows"].items()
    for dtype in DTYPES
    if name != REFERENCE and backend.takes(torch.zeros(1, dtype=dtype))
]
SHAPES = [(7,), (7, 1), (7, 3), (300, 100), (5, 2, 3), (1, 40_000)]


def stepped(backend: str, tensors: list[Tensor], rows: Tensor, rate: float = 0.1, epsilon: float = 1e-3) -> Any:
    """Return table and squares after a step on copies, checking that the gradients are unchanged."""
    table, squares, gradients = (each.clone(memory_format=torch.preserve_format) for each in tensors)
    with ops.using(adagrad_rows=backend):
        assert ops.adagrad_rows(table, squares, rows, gradients, rate, epsilon) is None
    assert torch.equal(gradients, tensors[2])
    return table, squares


def some(shape: tuple[int, ...], count: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return table, squares and gradients, and unsorted rows; all other rows are NaN."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randperm(shape[0], generator=generator)[:count]
    table, squares = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
    table[rows] = torch.randn((count, *shape[1:]), generator=generator, dtype=torch.float64)
    squares[rows] = torch.rand((count, *shape[1:]), generator=generator, dtype=torch.float64)
    gradients = torch.randn((count, *shape[1:]), generator=generator, dtype=torch.float64)
    return [each.to(dtype) for each in (table, squares, gradients)], rows


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("backend", "dtype"), PAIRS)
def test_every_backend_is_the_formula(backend: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for count in {0, 1, shape[0] // 2, shape[0]}:
        tensors, rows = some(shape, count, dtype)
        truth = stepped(REFERENCE, [each.double() for each in tensors], rows)
        naive, found = (stepped(name, tensors, rows) for name in (REFERENCE, backend))
        for exact, rounded, ours in zip(truth, naive, found, strict=True):
            assert ours.dtype == dtype
            met, rest = torch.isin(torch.arange(shape[0]), rows), ours.isnan()
            assert rest.flatten(1).all(1)[~met].all() if ours.dim() > 1 else rest[~met].all()
            error, usual = ((exact - each.double())[met].abs() for each in (ours, rounded))
            assert (error <= usual.max() + 4 * torch.finfo(dtype).eps * exact[met].abs().max()).all() if count else True


def test_the_formula_by_hand() -> None:
    table, squares = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.tensor([[0.0, 5.0], [1.0, 1.0]])
    ops.adagrad_rows(table, squares, torch.tensor([0]), torch.tensor([[2.0, -2.0]]), 0.5)
    torch.testing.assert_close(table, torch.tensor([[0.5, 2 + 1 / 3], [5.0, 5.0]]))
    torch.testing.assert_close(squares, torch.tensor([[4.0, 9.0], [1.0, 1.0]]))


def test_threads_and_strides_change_nothing() -> None:
    (table, squares, gradients), rows = some((500, 33), 400, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(stepped("compiled", [table, squares, gradients], rows))
    finally:
        torch.set_num_threads(before)
    found.append(stepped("compiled", [table, squares, gradients.t().contiguous().t()], rows))
    for other in found[1:]:
        assert all(torch.equal(a[rows], b[rows]) for a, b in zip(found[0], other, strict=True))
    odd = stepped("compiled", [table, squares.t().contiguous().t(), gradients], rows)  # falls back to torch
    torch.testing.assert_close(odd[0][rows], found[0][0][rows])


@pytest.mark.parametrize("backend", [name for name in _ops["adagrad_rows"]])
def test_a_write_is_known_to_torch(backend: str) -> None:
    """The tensor's version counter increases: autograd and proposals that follow a table check it."""
    (table, squares, gradients), rows = some((7, 3), 4, torch.float32)
    table = torch.nn.Parameter(table)
    before = table._version, squares._version
    with ops.using(adagrad_rows=backend), torch.no_grad():
        ops.adagrad_rows(table, squares, rows, gradients, 0.1)
    assert table._version > before[0] and squares._version > before[1]


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_that_there_is_not(row: int) -> None:
    tensors, _ = some((7, 3), 7, torch.float32)
    with pytest.raises(ValueError, match="rows must be rows of the table"):
        stepped("compiled", [*tensors[:2], tensors[2][:1]], torch.tensor([row]))


def test_which_tables_the_core_takes() -> None:
    assert ops.backend_of("adagrad_rows", torch.zeros(2, 2)) == "compiled"
    assert ops.backend_of("adagrad_rows", torch.nn.Parameter(torch.zeros(2).double())) == "compiled"
    for other in (torch.zeros(2, 3).t(), torch.zeros(2).bfloat16(), torch.zeros(2, device="meta")):
        assert ops.backend_of("adagrad_rows", other) == "torch"
