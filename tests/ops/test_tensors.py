"""Ranges one after the other, log-sum-exps by owner, and gradients of few rows."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops import coalesced, ragged_range, segment_logsumexp, sparse_uses


def test_ragged_ranges() -> None:
    start, length = torch.tensor([4, 0, 9, 2]), torch.tensor([2, 0, 3, 0])
    places, owners, first = ragged_range(start, length)
    assert places.tolist() == [4, 5, 9, 10, 11]
    assert owners.tolist() == [0, 0, 2, 2, 2]
    assert first.tolist() == [0, 2, 2, 5]
    assert [len(part) for part in ragged_range(start[:0], length[:0])] == [0, 0, 0]


def test_segment_logsumexp() -> None:
    values = torch.tensor([1000.0, -1000.0, 1.0, 1001.0], dtype=torch.float64, requires_grad=True)
    found = segment_logsumexp(values, torch.tensor([0, 1, 1, 0]), 2)
    torch.testing.assert_close(found, torch.stack([values[[0, 3]].logsumexp(0), values[[1, 2]].logsumexp(0)]))
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), values)[0], torch.tensor([0.2689414214, 0, 1, 0.7310585786]).double()
    )


def test_a_sparse_gradient_has_each_row_once() -> None:
    values = torch.arange(6.0).view(3, 2)
    for rows in ([0, 2, 5], [2, 2, 5], [5, 0, 2], [1, 2, 2]):
        gradient = torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 2))
        found = coalesced(gradient)
        assert found.is_coalesced() and torch.equal(found.to_dense(), gradient.to_dense())
        assert found._indices()[0].tolist() == sorted(set(rows))
        assert (found._values().data_ptr() == values.data_ptr()) == (rows == [0, 2, 5])  # no copy where none is needed
    cells = torch.sparse_coo_tensor(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), (6, 2))
    assert torch.equal(coalesced(cells).to_dense(), cells.to_dense())


@pytest.mark.parametrize("kinds", ["sd", "ds", "dsd", "ss", "sds", "d", "s"])
def test_all_that_a_table_receives_is_one_sparse_gradient(kinds: str) -> None:
    table, rows = torch.zeros(5, 2, requires_grad=True), torch.tensor([3, 1, 3])
    uses = sparse_uses(table, len(kinds))
    for_each = {"d": Tensor.sum, "s": lambda use: 2 * F.embedding(rows, use, sparse=True).sum()}
    torch.stack([for_each[kind](use) for use, kind in zip(uses, kinds, strict=True)]).sum().backward()
    expected = kinds.count("d") + kinds.count("s") * torch.tensor([0.0, 2, 0, 4, 0])[:, None].expand(5, 2)
    assert table.grad is not None and table.grad.is_sparse
    assert torch.equal(table.grad.to_dense(), expected)
