"""Paths climbed from their leaves, against the stored paths of a tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import counts
from vastmax._core import children_links
from vastmax.ops import climbed_paths
from vastmax.trees import Tree, balanced_tree, huffman_tree


def above(tree: Tree) -> torch.Tensor:
    return torch.from_numpy(children_links(tree.children.reshape(-1))[0].copy())


@given(counts(), st.data())
def test_any_leaves_have_the_paths_that_the_tree_says(numbers: np.ndarray, data: st.DataObject) -> None:
    tree = huffman_tree(numbers)
    leaves = data.draw(st.lists(st.integers(0, tree.num_leaves - 1), max_size=9))
    found = climbed_paths(above(tree), torch.tensor(leaves, dtype=torch.int64))
    assert found.offsets.tolist() == [0, *np.cumsum([tree.lengths[leaf] for leaf in leaves]).tolist()]
    for start, leaf in zip(found.offsets, leaves, strict=False):
        span = slice(int(start), int(start) + int(tree.lengths[leaf]))
        nodes, signs = tree.path(leaf)
        assert found.nodes[span].tolist() == nodes.tolist() and found.signs[span].tolist() == signs.tolist()


@pytest.mark.parametrize("num_words", [1, 2, 5])
def test_all_leaves_in_order_are_the_trees_own_paths(num_words: int) -> None:
    tree = balanced_tree(num_words)
    found = climbed_paths(above(tree), torch.arange(num_words))
    for name in ("offsets", "nodes", "signs"):
        assert getattr(found, name).tolist() == getattr(tree, name).tolist(), name
