"""Top-k against a full sort."""

import pytest
import torch

from vastmax.ops import topk


@pytest.mark.parametrize("columns", [1, 5, 63, 64, 255, 256, 257, 1000, 1023, 1025, 5000])
@pytest.mark.parametrize("k", [1, 3, 4])
@pytest.mark.parametrize("where", ["anywhere", "last", "one chunk", "negative infinity"])
def test_it_is_topk(columns: int, k: int, where: str) -> None:
    k = min(k, columns)
    values = torch.randn(7, columns, generator=torch.Generator().manual_seed(columns + k), dtype=torch.float64)
    if where == "last":
        values[:, -k:] += 100
    elif where == "one chunk":
        values[:, 64:128] += 100
    elif where == "negative infinity":
        values[:, : columns // 2] = -torch.inf
    expected = values.topk(k)
    found, places = topk(values, k)
    assert torch.equal(found, expected.values)
    assert torch.equal(values.gather(1, places), found)
    assert all(len(set(row)) == k for row in places.tolist())


def test_ties_give_different_columns() -> None:
    found, places = topk(torch.zeros(2, 3000), 5)
    assert found.tolist() == [[0] * 5] * 2
    assert all(len(set(row)) == 5 for row in places.tolist())


def test_no_rows() -> None:
    assert [part.shape for part in topk(torch.zeros(0, 3000), 5)] == [(0, 5)] * 2
