"""Ragged ranges, segment log-sum-exps, and tables that are used more than once."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops import ragged_range, row_gradient, segment_logsumexp, sparse_uses


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


@pytest.mark.parametrize("kinds", ["sd", "ds", "dsd", "ss", "sds", "d", "s"])
def test_all_that_a_table_receives_is_one_sparse_gradient(kinds: str) -> None:
    table, rows = torch.zeros(5, 2, requires_grad=True), torch.tensor([3, 1, 3])
    uses = sparse_uses(table, len(kinds))
    for_each = {"d": Tensor.sum, "s": lambda use: 2 * F.embedding(rows, use, sparse=True).sum()}
    torch.stack([for_each[kind](use) for use, kind in zip(uses, kinds, strict=True)]).sum().backward()
    expected = kinds.count("d") + kinds.count("s") * torch.tensor([0.0, 2, 0, 4, 0])[:, None].expand(5, 2)
    assert table.grad is not None and table.grad.is_sparse
    assert torch.equal(table.grad.to_dense(), expected)


def test_a_single_row_of_a_wider_table_is_added_to_its_row_alone() -> None:
    wide = torch.arange(1.0, 6.0).view(1, 5)
    gradient = row_gradient(torch.tensor([1]), wide[:, :4], torch.Size([3, 4]), sparse=True)
    expected = torch.zeros(3, 4)
    expected[1] = wide[0, :4]
    torch.testing.assert_close(torch.zeros(3, 4).add_(gradient), expected)
