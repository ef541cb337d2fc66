"""Class-based softmax against brute force, against the full softmax where they coincide, and its search's pruning."""

import autograd
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.cases import shuffled_zipf
from tests.ops.cases import word_classes
from tests.oracles import class_based_log_prob
from vastmax.errors import InputError
from vastmax.layers import ClassBasedSoftmax, FullSoftmax, build
from vastmax.ops import group_by_class
from vastmax.trees import Classes

pytestmark = pytest.mark.numerics

D = 5
RAGGED = [2, 0, 0, 1, 0, 2, 0, 0, 3]


def layer_of(class_of, *, seed: int = 0, **options) -> ClassBasedSoftmax:
    torch.manual_seed(seed)
    layer = ClassBasedSoftmax(D, Classes(class_of), dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += torch.randn_like(parameter)
    return layer


def rows_of(n: int) -> torch.Tensor:
    return torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def arrays(layer: ClassBasedSoftmax):
    return [p.detach().numpy() for p in (layer.class_weight, layer.class_bias, layer.weight, layer.bias)]


def test_log_probabilities_are_those_of_the_formula() -> None:
    layer, hidden = layer_of(RAGGED), rows_of(4)
    for row, found in zip(hidden.detach().numpy(), layer.log_prob(hidden), strict=True):
        expected = np.array(class_based_log_prob(row, RAGGED, *arrays(layer)))
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
        # the oracle discriminates: another class, swapped ids or a flipped sign give other distributions
        assert np.abs(expected - class_based_log_prob(row, [2, 0, 0, 1, 0, 2, 0, 3, 0], *arrays(layer))).max() > 0.1
        assert np.abs(expected - class_based_log_prob(-row, RAGGED, *arrays(layer))).max() > 0.1


def test_gradients_are_those_of_the_formula() -> None:
    layer, hidden = layer_of(RAGGED), rows_of(7)
    target = [4, 4, 8, 0, 4, 1, 3]

    def loss(everything):
        rows, *parameters = everything
        return -sum(class_based_log_prob(row, RAGGED, *parameters)[t] for row, t in zip(rows, target, strict=True))

    expected = autograd.grad(loss)([hidden.detach().numpy(), *arrays(layer)])
    layer(hidden, torch.tensor(target), reduction="sum").backward()
    found = [hidden.grad, layer.class_weight.grad, layer.class_bias.grad, layer.weight.grad, layer.bias.grad]
    for gradient, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient.to_dense().numpy(), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("class_of", [np.zeros(9, int), np.random.default_rng(0).permutation(9)], ids=["one", "V"])
def test_one_class_and_classes_of_one_word_are_the_full_softmax(class_of) -> None:
    layer, hidden, target = layer_of(class_of), rows_of(6), torch.tensor([3, 0, 8, 3, 2, 5])
    full = FullSoftmax(D, 9, dtype=torch.float64)
    of_class = torch.from_numpy(class_of)
    with torch.no_grad():
        full.weight.copy_(layer.weight if class_of.max() == 0 else layer.class_weight[of_class])
        full.bias.copy_(layer.bias if class_of.max() == 0 else layer.class_bias[of_class])
    torch.testing.assert_close(layer.log_prob(hidden), full.log_prob(hidden), rtol=1e-12, atol=1e-12)
    assert torch.equal(layer.topk(hidden, 4)[1], full.topk(hidden, 4)[1])
    (to_hidden,) = torch.autograd.grad(layer(hidden, target), hidden)
    torch.testing.assert_close(to_hidden, torch.autograd.grad(full(hidden, target), hidden)[0], rtol=1e-12, atol=1e-12)


def test_the_gradient_holds_the_words_of_the_classes_met() -> None:
    layer = layer_of(RAGGED)
    layer(rows_of(3), torch.tensor([1, 3, 6])).backward()
    assert layer.weight.grad.is_sparse and layer.bias.grad.is_sparse
    expected = [w for w, c in enumerate(RAGGED) if c in (0, 1)]
    assert sorted(layer.weight.grad._indices()[0].tolist()) == expected  # each once
    assert sorted(layer.bias.grad._indices()[0].tolist()) == expected


@pytest.mark.parametrize("name", ["SGD", "SparseAdam", "Adagrad"])
def test_sparse_gradients_suit_the_optimisers(name: str) -> None:
    layer, other = layer_of(RAGGED), layer_of(RAGGED)
    parameters = [layer.weight, layer.bias]
    optimizer = getattr(torch.optim, name)(parameters, lr=0.1)
    layer(rows_of(3), torch.tensor([1, 3, 6])).backward()
    optimizer.step()
    moved = [w for w in range(9) if not torch.equal(layer.weight[w], other.weight[w])]
    assert moved == [1, 2, 4, 6, 7]  # the one-word class, 3, has nothing to learn inside it


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 10**6), st.integers(1, 20))
def test_every_row_is_in_one_group_with_the_words_of_its_class(given_classes, seed: int, width: int) -> None:
    class_of = np.unique(given_classes, return_inverse=True)[1]
    classes = torch.from_numpy(np.random.default_rng(seed).integers(0, class_of.max() + 1, 40))
    seen = []
    for group in group_by_class(classes, word_classes(class_of), 2**23 // width):
        for items, real, words, inside in zip(*group[:4], strict=True):
            (of_items,) = classes[items].unique().tolist()
            assert sorted(words[inside].tolist()) == np.flatnonzero(class_of == of_items).tolist()
            assert set(words.tolist()) == set(words[inside].tolist())
            seen += items[real].tolist()
        assert group.whole == bool(group.inside.all())
        assert len(group.words) == 1 or group.words.numel() <= width
    assert sorted(seen) == list(range(40))


def test_topk_leaves_classes_out() -> None:
    counts = shuffled_zipf(5000)
    layer = build("class-based", D, counts, classes=70)
    with torch.no_grad():
        layer.class_weight.mul_(20)
    hidden, looked_into = torch.randn(8, D), []
    within = layer._best_in_classes
    layer._best_in_classes = lambda *a: looked_into.append(a[2].numel()) or within(*a)
    values, words = layer.topk(hidden, 3)
    assert sum(looked_into) < 8 * 70 / 2
    expected = layer.log_prob(hidden).topk(3)
    assert torch.equal(words, expected.indices)
    torch.testing.assert_close(values, expected.values)


def test_topk_has_the_gradient_of_log_prob() -> None:
    layer, hidden = layer_of(RAGGED), rows_of(3)
    values, words = layer.topk(hidden, 5)
    gathered = layer.log_prob(hidden).gather(1, words)
    for of in (hidden, layer.weight, layer.class_bias):
        found, expected = (torch.autograd.grad(x.pow(2).sum(), of, retain_graph=True)[0] for x in (values, gathered))
        torch.testing.assert_close(found, expected)


def test_default_classes_follow_the_counts() -> None:
    counts = shuffled_zipf(900)
    layer = build("class-based", D, counts)
    assert layer.classes.num_classes == 90
    assert layer.classes.sizes[layer.classes.class_of[counts.argmax()]] == 1
    assert build("class-based", D, counts, classes=7).classes.num_classes == 7
    given = Classes(np.arange(900) % 4)
    assert build("class-based", D, counts, classes=given).classes == given


def test_a_state_brings_its_classes() -> None:
    layer, other = layer_of(RAGGED), layer_of(np.roll(RAGGED, 1), seed=3)
    other.load_state_dict(layer.state_dict())
    hidden, target = rows_of(4), torch.tensor([0, 8, 3, 3])
    assert other.classes == layer.classes
    assert torch.equal(other(hidden, target), layer(hidden, target))
    assert torch.equal(other.topk(hidden, 9)[1], layer.topk(hidden, 9)[1])
    assert other.flops_per_token() == layer.flops_per_token()
    state = layer.state_dict()
    state["class_of"] = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    with pytest.raises(InputError, match="the state has 3 classes and the layer 4"):
        other.load_state_dict(state)
    state["class_of"] = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 4])
    with pytest.raises(InputError, match="class_of in the state is not valid: class 3 has no word"):
        other.load_state_dict(state)


def test_tied_weights_are_one_parameter() -> None:
    layer, embedding = layer_of(RAGGED), torch.nn.Embedding(9, D, dtype=torch.float64, sparse=True)
    layer.tie_weights(embedding)
    assert layer.weight is embedding.weight
    layer(embedding(torch.tensor([1, 3])), torch.tensor([2, 5])).backward()
    assert embedding.weight.grad.is_sparse
    assert sorted(embedding.weight.grad.coalesce().indices()[0].tolist()) == [0, 1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(InputError, match=r"shape \(9, 5\)"):
        layer.tie_weights(torch.nn.Embedding(8, D))


def test_costs_are_counted() -> None:
    class_of = np.arange(64) % 8
    layer, hidden, target = layer_of(class_of, bias=False), rows_of(16), torch.arange(16)
    assert layer.num_parameters == 8 * D + 64 * D
    with FlopCounterMode(display=False) as counter:
        loss = layer(hidden, target, reduction="sum")
    assert counter.get_total_flops() == 16 * layer.flops_per_token(train=False)
    with FlopCounterMode(display=False) as counter:
        layer(hidden, target, reduction="sum").backward()
    assert counter.get_total_flops() == 16 * layer.flops_per_token()
    assert loss.isfinite()
    assert layer_of(RAGGED).flops_per_token(train=False) == 2 * D * (4 + (5 * 5 + 2 * 2 + 1 + 1) / 9)
    counts = [0, 0, 0, 3, 1, 0, 0, 0, 0]
    assert layer_of(RAGGED, counts=counts).flops_per_token(train=False) == 2 * D * (4 + (3 * 1 + 1 * 5) / 4)


def test_errors() -> None:
    with pytest.raises(InputError, match=r"give a vastmax\.trees\.Classes"):
        ClassBasedSoftmax(D, RAGGED)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="classes is 4: give a whole number from 1 to 3"):
        build("class-based", D, [1, 2, 3], classes=4)
    with pytest.raises(InputError, match="classes has 2 words and the vocabulary has 3"):
        build("class-based", D, [1, 2, 3], classes=Classes([0, 1]))


def test_classes_with_unlike_numbers_of_rows_share_a_product() -> None:
    class_of = np.arange(12) % 3
    hidden, target = rows_of(9), torch.tensor([0, 3, 6, 9, 1, 4, 7, 2, 5])  # four rows, three, and two: padded to four
    layer, plain = layer_of(class_of), layer_of(class_of)
    layer(hidden, target, reduction="sum").backward()
    together, hidden.grad = hidden.grad, None
    for row, word in zip(hidden.split(1), target.split(1), strict=True):
        plain(row, word, reduction="sum").backward()
    torch.testing.assert_close(together, hidden.grad)
    for a, b in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad.to_dense())  # type: ignore[union-attr]
