"""Adam on a subset of rows: every backend against the reference and the oracle, and all other rows untouched."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.oracles import lazy_adam
from vastmax import ops
from vastmax.ops.dispatch import REFERENCE, _ops

pytestmark = pytest.mark.numerics

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
BACKENDS = list(_ops["adam_rows"])
PAIRS = [
    pytest.param(name, dtype, id=f"{name}-{dtype}")
    for name, backend in _ops["adam_rows"].items()
    for dtype in DTYPES
    if name != REFERENCE and backend.takes(torch.zeros(1, dtype=dtype))
]
SHAPES = [(7,), (7, 1), (7, 3), (300, 100), (5, 2, 3), (1, 40_000)]


def stepped(backend: str, tensors: list[Tensor], rows: Tensor, step: int = 3) -> Any:
    """Return table, means and squares after a step on copies, checking that the gradients are unchanged."""
    table, means, squares, gradients = (each.clone(memory_format=torch.preserve_format) for each in tensors)
    with ops.using(adam_rows=backend):
        assert ops.adam_rows(table, means, squares, rows, gradients, step, 0.1, (0.8, 0.95), 1e-2) is None
    assert torch.equal(gradients, tensors[3])
    return table, means, squares


def some(shape: tuple[int, ...], count: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return table, means, squares and gradients, and unsorted rows; all other rows are NaN."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randperm(shape[0], generator=generator)[:count]
    table, means, squares = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(3))
    for each, numbers in ((table, torch.randn), (means, torch.randn), (squares, torch.rand)):
        each[rows] = numbers((count, *shape[1:]), generator=generator, dtype=torch.float64)
    gradients = torch.randn((count, *shape[1:]), generator=generator, dtype=torch.float64)
    return [each.to(dtype) for each in (table, means, squares, gradients)], rows


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("backend", "dtype"), PAIRS)
def test_every_backend_is_the_formula(backend: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for count in {0, 1, shape[0] // 2, shape[0]}:
        tensors, rows = some(shape, count, dtype)
        truth = stepped(REFERENCE, [each.double() for each in tensors], rows)
        naive, found = (stepped(name, tensors, rows) for name in (REFERENCE, backend))
        for exact, rounded, ours in zip(truth, naive, found, strict=True):
            assert ours.dtype == dtype
            met = torch.isin(torch.arange(shape[0]), rows)
            assert ours[~met].isnan().all()
            error, usual = ((exact - each.double())[met].abs() for each in (ours, rounded))
            assert (error <= usual.max() + 4 * torch.finfo(dtype).eps * exact[met].abs().max()).all() if count else True


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_is_the_oracle(backend: str) -> None:
    """Kingma & Ba, algorithm 1, from the first step on, with rows that some steps skip."""
    generator = torch.Generator().manual_seed(5)
    table = torch.randn((5, 3), generator=generator, dtype=torch.float64)
    met = [[4, 0], [2], [], [0, 1, 2, 4], [0], [4, 2]]
    steps = [torch.randn((len(rows), 3), generator=generator, dtype=torch.float64) for rows in met]
    settings = 0.3, 0.7, 0.98, 0.05
    oracle = [dict(zip(rows, each.numpy(), strict=True)) for rows, each in zip(met, steps, strict=True)]
    expected = lazy_adam(table.numpy(), oracle, *settings)
    rate, beta1, beta2, epsilon = settings
    means, squares = torch.zeros_like(table), torch.zeros_like(table)
    with ops.using(adam_rows=backend):
        for t, (rows, each) in enumerate(zip(met, steps, strict=True), 1):
            places = torch.tensor(rows, dtype=torch.int64)
            ops.adam_rows(table, means, squares, places, each, t, rate, (beta1, beta2), epsilon)
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_step_by_hand(backend: str) -> None:
    """From moments of 0: rate * g / (|g| + epsilon / sqrt(1 - beta2)), more precise than 1 - beta2 in float32."""
    table, means, squares = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.zeros(2, 2), torch.zeros(2, 2)
    with ops.using(adam_rows=backend):
        gradients, epsilon = torch.tensor([[2.0, -1.0]]), math.sqrt(1 - 0.999)
        ops.adam_rows(table, means, squares, torch.tensor([0]), gradients, 1, 0.5, epsilon=epsilon)
    torch.testing.assert_close(table, torch.tensor([[1 - 0.5 * 2 / 3, 2 + 0.5 * 1 / 2], [5.0, 5.0]]))
    torch.testing.assert_close(means, torch.tensor([[0.2, -0.1], [0.0, 0.0]]), rtol=1e-6, atol=0)
    torch.testing.assert_close(squares, torch.tensor([[0.004, 0.001], [0.0, 0.0]]), rtol=1e-6, atol=0)


def test_threads_and_strides_change_nothing() -> None:
    (table, means, squares, gradients), rows = some((1000, 100), 900, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(stepped("compiled", [table, means, squares, gradients], rows))
    finally:
        torch.set_num_threads(before)
    found.append(stepped("compiled", [table, means, squares, gradients.t().contiguous().t()], rows))
    for other in found[1:]:
        assert all(torch.equal(a[rows], b[rows]) for a, b in zip(found[0], other, strict=True))
    for odd in ([table, means.t().contiguous().t(), squares], [table, means, squares.double()]):  # falls back to torch
        left = stepped("compiled", [*odd, gradients], rows)
        torch.testing.assert_close(left[0][rows], found[0][0][rows])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_write_is_known_to_torch(backend: str) -> None:
    (table, means, squares, gradients), rows = some((7, 3), 4, torch.float32)
    table = torch.nn.Parameter(table)
    before = [each._version for each in (table, means, squares)]
    with ops.using(adam_rows=backend), torch.no_grad():
        ops.adam_rows(table, means, squares, rows, gradients, 1, 0.1)
    for each, version in zip((table, means, squares), before, strict=True):
        assert each._version > version


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_that_there_is_not(row: int) -> None:
    tensors, _ = some((7, 3), 7, torch.float32)
    with pytest.raises(ValueError, match="rows must be rows of the table"):
        stepped("compiled", [*tensors[:3], tensors[3][:1]], torch.tensor([row]))


def test_shapes_that_do_not_fit() -> None:
    (table, means, squares, gradients), rows = some((7, 3), 7, torch.float32)
    for wrong in ([table, means[:6], squares, gradients], [table, means, squares[:6], gradients]):
        with pytest.raises(ValueError, match="means and squares must be of the table's shape"):
            stepped("compiled", wrong, rows)


def test_which_tables_the_core_takes() -> None:
    assert ops.backend_of("adam_rows", torch.zeros(2, 2)) == "compiled"
    assert ops.backend_of("adam_rows", torch.nn.Parameter(torch.zeros(2).double())) == "compiled"
    for other in (torch.zeros(2, 3).t(), torch.zeros(2).bfloat16(), torch.zeros(2, device="meta")):
        assert ops.backend_of("adam_rows", other) == "torch"
