"""Hierarchical softmax against paths walked one by one, and the pruning of its searches."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.cases import shuffled_zipf, tree_of_several_leaves
from tests.oracles import tree_probabilities
from vastmax.errors import InputError
from vastmax.layers import HierarchicalSoftmax, build
from vastmax.ops import leaves_above
from vastmax.trees import TREES, Tree, balanced_tree, huffman_tree

pytestmark = pytest.mark.numerics

D = 5


def layer_over(tree: Tree, spread: float = 1.0, **options) -> HierarchicalSoftmax:
    layer = HierarchicalSoftmax(D, tree, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def hidden_of(rows: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(rows, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def oracle(layer: HierarchicalSoftmax, tree: Tree, hidden: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (N, V), with the bias as the weight of a constant input 1."""
    vectors = np.column_stack([layer.weight.detach().numpy(), layer.bias.detach().numpy()])  # type: ignore[union-attr]
    rows = np.column_stack([hidden.numpy(), np.ones(len(hidden))])
    return torch.from_numpy(np.stack([tree_probabilities(tree, row, vectors) for row in rows]))


TREES_TO_WALK = {
    **{name: build_tree(shuffled_zipf(37)) for name, build_tree in TREES.items() if name.startswith(("huff", "bal"))},
    "several leaves": tree_of_several_leaves(shuffled_zipf(37)),
    "chain": huffman_tree(2 ** np.arange(30)),
    "one word": balanced_tree(1),
}


@pytest.mark.parametrize("tree", TREES_TO_WALK.values(), ids=TREES_TO_WALK.keys())
def test_probabilities_are_products_along_paths(tree: Tree) -> None:
    layer, hidden = layer_over(tree), hidden_of(4)
    expected = oracle(layer, tree, hidden)
    torch.testing.assert_close(layer.log_prob(hidden).exp(), expected, rtol=1e-11, atol=1e-14)
    target = torch.tensor([0, tree.num_words - 1, tree.num_words // 2, 0])
    losses = layer(hidden, target, reduction="none")
    torch.testing.assert_close(losses, -expected[range(4), target].log(), rtol=1e-10, atol=1e-12)


def test_the_oracle_notices_a_flipped_sign() -> None:
    tree = huffman_tree(shuffled_zipf(9))
    flipped = Tree.from_children(tree.children[:, ::-1])
    layer, hidden = layer_over(tree), hidden_of(2)
    assert (layer.log_prob(hidden).exp() - oracle(layer, flipped, hidden)).abs().max() > 0.05


def test_two_classes_are_logistic_regression() -> None:
    layer, hidden = layer_over(balanced_tree(2)), hidden_of(6)
    logit = F.linear(hidden, layer.weight, layer.bias).squeeze(1)
    positive = int((layer.tree.signs > 0).argmax())  # the word on the branch of sigmoid(h·v)
    target = torch.tensor([0, 1, 1, 0, 1, 0])
    expected = F.binary_cross_entropy_with_logits(logit, (target == positive).double(), reduction="none")
    torch.testing.assert_close(layer(hidden, target, reduction="none"), expected)


def test_real_counts_sum_to_one() -> None:
    counts = (1e6 / np.arange(1, 10_001) ** 1.1).astype(np.int64)
    layer = layer_over(huffman_tree(counts))
    total = layer.log_prob(hidden_of(3)).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)


# --- gradients and costs ---


def test_gradient_touches_the_path_and_nothing_else() -> None:
    tree = huffman_tree(shuffled_zipf(200))
    layer = layer_over(tree)
    target = torch.tensor([3, 77, 3, 150])
    layer(hidden_of(4), target).backward()
    met = sorted({int(node) for word in target for node in tree.path(int(word))[0]})
    for parameter in layer.parameters():
        gradient = parameter.grad
        assert gradient is not None and gradient._indices().squeeze(0).tolist() == met  # one entry per node
        dense = gradient.to_dense().reshape(len(parameter), -1)
        assert dense.abs().sum(1).nonzero().squeeze(1).tolist() == met


@pytest.mark.parametrize("tree", [huffman_tree(shuffled_zipf(40)), tree_of_several_leaves(shuffled_zipf(40))])
def test_dense_gradients_are_the_sparse_ones(tree: Tree) -> None:
    hidden, target = hidden_of(5), torch.tensor([0, 1, 39, 1, 20])
    found = []
    for sparse in (True, False):
        layer = layer_over(tree, sparse=sparse)
        layer(hidden, target).backward()
        found.append([parameter.grad for parameter in layer.parameters()])
        assert all(gradient is not None and gradient.is_sparse == sparse for gradient in found[-1])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.to_dense(), b)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam])
def test_optimisers_take_sparse_gradients(optimizer: type[torch.optim.Optimizer]) -> None:
    layer = layer_over(huffman_tree(shuffled_zipf(50)))
    before = layer.weight.detach().clone()
    steps = optimizer(layer.parameters(), lr=0.1)  # type: ignore[call-arg]
    hidden, target = hidden_of(1), torch.tensor([7])
    first = layer(hidden, target)
    first.backward()
    steps.step()
    assert layer(hidden, target) < first
    changed = (layer.weight != before).any(1).nonzero().squeeze(1).tolist()
    assert changed == sorted(layer.tree.path(7)[0].tolist())


def test_flops_are_those_of_the_mean_path() -> None:
    counts = [8, 4, 2, 2]
    layer = build("hierarchical", 10, counts)
    assert layer.flops_per_token(train=False) == 2 * 10 * (8 + 2 * 4 + 3 * 4) / 16
    assert layer.flops_per_token() == 3 * layer.flops_per_token(train=False)
    assert HierarchicalSoftmax(10, huffman_tree(counts)).mean_path == (1 + 2 + 3 + 3) / 4
    assert layer.num_parameters == 3 * 11


# --- top-k ---


@pytest.mark.parametrize("make", [huffman_tree, tree_of_several_leaves], ids=["huffman", "several leaves"])
@pytest.mark.parametrize("spread", [0.05, 1.0, 4.0])
def test_topk_of_many_classes(make, spread: float) -> None:
    layer, hidden = layer_over(make(shuffled_zipf(5000)), spread), hidden_of(40)
    values, classes = layer.topk(hidden, 10)
    expected = layer.log_prob(hidden).topk(10)
    torch.testing.assert_close(values, expected.values, rtol=1e-10, atol=1e-12)
    assert torch.equal(classes, expected.indices)


def test_search_leaves_most_of_the_tree_alone() -> None:
    layer, hidden = layer_over(huffman_tree(shuffled_zipf(5000)), 2.0), hidden_of(40)
    bound = layer.log_prob(hidden).topk(10).values[:, -1] - 1e-9
    found = leaves_above(layer._scores, hidden, bound)
    assert found is not None  # within the budget of a sixteenth of the tree
    rows, leaves = found
    assert torch.equal(torch.bincount(rows), torch.full((40,), 10))
    best = layer.log_prob(hidden).topk(10).indices
    assert torch.equal(leaves.view(40, 10).sort().values, best.sort().values)


def test_a_flat_distribution_is_swept() -> None:
    layer, hidden = layer_over(balanced_tree(8192), spread=0.0), hidden_of(4)
    assert leaves_above(layer._scores, hidden, torch.full((4,), -20.0)) is None
    values, classes = layer.topk(hidden, 3)
    torch.testing.assert_close(values, torch.full((4, 3), -13 * np.log(2), dtype=torch.float64))
    assert all(len(set(row)) == 3 for row in classes.tolist())


@pytest.mark.parametrize("make", [huffman_tree, tree_of_several_leaves], ids=["huffman", "several leaves"])
def test_beam(make) -> None:
    layer, hidden = layer_over(make(shuffled_zipf(500)), 2.0), hidden_of(30).view(5, 6, D)
    log_prob = layer.log_prob(hidden)
    expected = log_prob.topk(5)
    for width in (5, None, 400):
        values, classes = layer.beam_topk(hidden, 5, beam_width=width)
        assert values.shape == classes.shape == (5, 6, 5)
        torch.testing.assert_close(values, log_prob.gather(-1, classes))  # the classes found have their true values
        assert all(len(set(row)) == 5 for row in classes.view(-1, 5).tolist())
        assert (values[..., 0] <= expected.values[..., 0] + 1e-12).all()
    assert torch.equal(classes, expected.indices)  # the widest beam finds all of them


def test_a_narrow_beam_is_refused() -> None:
    layer = layer_over(balanced_tree(9))
    with pytest.raises(InputError, match="beam_width is 2: give a whole number of 3 or more"):
        layer.beam_topk(hidden_of(1), 3, beam_width=2)
    with pytest.raises(InputError, match="k is 10"):
        layer.beam_topk(hidden_of(1), 10)


# --- the tree as state ---


def test_a_state_brings_its_tree() -> None:
    trained = layer_over(huffman_tree(shuffled_zipf(30)))
    other = HierarchicalSoftmax(D, balanced_tree(30, order="random"), dtype=torch.float64)
    assert other.tree != trained.tree
    model = torch.nn.ModuleDict({"output": other})
    model.load_state_dict({f"output.{name}": values for name, values in trained.state_dict().items()})
    assert other.tree == trained.tree
    assert other.flops_per_token() == trained.flops_per_token()
    hidden, target = hidden_of(30), torch.arange(30)
    assert torch.equal(other.log_prob(hidden), trained.log_prob(hidden))
    assert torch.equal(other.target_log_prob(hidden, target), trained.target_log_prob(hidden, target))


def test_a_damaged_tree_is_refused() -> None:
    layer = layer_over(huffman_tree(shuffled_zipf(30)))
    state = layer.state_dict()
    state["tree_children"] = state["tree_children"].clone().fill_(-1)
    with pytest.raises(InputError, match=r"the tree in the state is not valid: .*-1 is the child of two branches"):
        HierarchicalSoftmax(D, layer.tree, dtype=torch.float64).load_state_dict(state)


def test_bad_trees_are_told_clearly() -> None:
    with pytest.raises(InputError, match="tree is 'oak': give one of huffman"):
        build("hierarchical", D, [1, 2], tree="oak")
    with pytest.raises(InputError, match="give one whole number for each of 5 words"):
        build("hierarchical", D, [1, 2, 3], tree=balanced_tree(5))
    with pytest.raises(InputError, match=r"give a vastmax.trees.Tree"):
        HierarchicalSoftmax(D, np.ones(3))  # type: ignore[arg-type]
