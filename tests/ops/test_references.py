"""The references and their gradients against independent oracles that compute one row and class at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ops.cases import CASES, KINDS, RAGGED, OpCase, draws_of, ids, paths_of, word_classes
from tests.oracles import (
    blackout_loss,
    class_based_log_prob,
    log_sum_exp,
    nce_loss,
    sampled_softmax_loss,
    table_logits,
    tree_probabilities,
)
from vastmax import ops
from vastmax.ops import Part
from vastmax.ops.dispatch import REFERENCE, _ops
from vastmax.trees import huffman_tree


@pytest.fixture(autouse=True)
def references() -> Iterator[None]:
    with ops.using(**dict.fromkeys(_ops, REFERENCE)):
        yield


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_cross_entropy() -> None:
    hidden, weight, bias, target = (
        numbers(5, 4),
        numbers(9, 4, seed=1),
        numbers(9, seed=2),
        torch.tensor([0, 8, 3, -1, 9]),
    )
    narrow = Part(hidden[:, :2], numbers(6, 2, seed=3), None)
    log_partition, log_prob = ops.linear_cross_entropy([Part(hidden, weight, bias), narrow], target)
    for i, t in enumerate(target.tolist()):
        logits = table_logits(hidden[i].numpy(), weight.numpy(), bias.numpy(), range(9))
        logits += table_logits(hidden[i, :2].numpy(), narrow.weight.numpy(), np.zeros(6), range(6))
        assert log_partition[i].item() == pytest.approx(log_sum_exp(logits), rel=1e-13)
        expected = -math.inf if t < 0 else logits[t] - log_sum_exp(logits)
        assert log_prob[i].item() == pytest.approx(expected, rel=1e-13)
    torch.testing.assert_close(ops.linear_log_partition([Part(hidden, weight, bias), narrow]), log_partition)


ORACLES: dict[str, Callable[..., Any]] = {  # given expected counts and whether hits are kept
    "softmax": lambda given, often, own, repeat: sampled_softmax_loss(*given, often),
    "softmax-target-corrected": lambda given, often, own, repeat: sampled_softmax_loss(
        *given, often, own, keep_hits=repeat
    ),
    "nce": lambda given, often, own, repeat: nce_loss(*given, often, own),
    "negative-sampling": lambda given, often, own, repeat: nce_loss(*given, [1.0] * len(often), 1.0, keep_hits=False),
    "negative-sampling-keeping-hits": lambda given, often, own, repeat: nce_loss(*given, [1.0] * len(often), 1.0),
    "blackout": lambda given, often, own, repeat: blackout_loss(*given, often, own, keep_hits=repeat),
}


@pytest.mark.parametrize("drawn", ["with replacement", "distinct", "in batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_loss(kind: str, drawn: str) -> None:
    hidden, weight, bias = numbers(7, 4), numbers(6, 4, seed=1), numbers(6, seed=2)
    target, in_batch, distinct = ids((7,), 6), drawn == "in batch", drawn == "distinct"
    samples = target if in_batch else torch.tensor([3, 0, 4, 1]) if distinct else ids((20,), 6, seed=3)
    draws = draws_of(target, samples, 6, merged=drawn == "with replacement", in_batch=in_batch, distinct=distinct)
    found = ops.sampled_loss(kind, hidden, weight, bias, target, draws)  # type: ignore[arg-type]
    expected = dict(zip(draws.ids.tolist(), draws.log_expected.exp().tolist(), strict=True))
    assert drawn != "with replacement" or draws.times.max() > 1
    assert len(draws.hits[0]) > (7 if in_batch else 0)
    for i, t in enumerate(target.tolist()):
        others = [w for j, w in enumerate(samples.tolist()) if not (in_batch and j == i)]
        given = hidden[i].numpy(), weight.numpy(), bias.numpy(), t, others
        often, own = [expected[w] for w in others], float(draws.target_log_expected[i].exp())
        wanted = ORACLES[kind](given, often, own, not distinct)
        assert found[i].item() == pytest.approx(float(wanted), rel=1e-11)


def test_gathered_logits() -> None:
    hidden, weight, bias, target = numbers(5, 4), numbers(9, 4, seed=1), numbers(9, seed=2), ids((5,), 9)
    for classes in (ids((6,), 9, seed=3), ids((5, 6), 9, seed=3)):
        found = ops.gathered_logits(hidden, weight, bias, classes, target=target)
        for i, chosen in enumerate(classes.expand(5, 6).tolist()):
            met = [int(target[i]), *chosen]
            wanted = table_logits(hidden[i].numpy(), weight.numpy(), bias.numpy(), met)
            np.testing.assert_allclose(found[i].numpy(), wanted, rtol=1e-13)


def test_path_loss() -> None:
    tree = huffman_tree([30, 1, 7, 7, 2, 12, 90])
    hidden, weight, bias = numbers(3, 4), numbers(tree.num_inner_nodes, 4, seed=1), numbers(6, seed=2)
    leaves, rows = torch.tensor([0, 5, 6, 2, 1]), torch.tensor([0, 0, 1, 2, 2])
    found = ops.path_loss(hidden, weight, bias, paths_of(tree), leaves, rows)
    vectors = np.column_stack([weight.numpy(), bias.numpy()])
    for loss, leaf, row in zip(found.tolist(), leaves.tolist(), rows.tolist(), strict=True):
        probabilities = tree_probabilities(tree, np.append(hidden[row].numpy(), 1.0), vectors)
        assert math.exp(-loss) == pytest.approx(probabilities[tree.words[leaf]], rel=1e-12)


def test_class_softmax() -> None:
    hidden, weight, bias = numbers(8, 4), numbers(len(RAGGED), 4, seed=1), numbers(len(RAGGED), seed=2)
    words = torch.tensor([0, 1, 3, 5, 8, 14, 9, 7])
    found = ops.class_softmax(hidden, weight, bias, word_classes(RAGGED), words)
    classes = max(RAGGED) + 1  # all equally likely
    for i, w in enumerate(words.tolist()):
        alike = np.zeros((classes, 4)), np.zeros(classes)
        wanted = class_based_log_prob(hidden[i].numpy(), RAGGED, *alike, weight.numpy(), bias.numpy())[w]
        assert found[i].item() == pytest.approx(float(wanted) + math.log(classes), rel=1e-12, abs=1e-14)


def test_topk() -> None:
    values = numbers(4, 30)
    found, columns = ops.topk(values, 5)
    for row, best, places in zip(values.tolist(), found.tolist(), columns.tolist(), strict=True):
        assert best == sorted(row, reverse=True)[:5] == [row[place] for place in places]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gradients_are_finite_differences(case: OpCase) -> None:
    tensors = [None if each is None else each.requires_grad_() for each in case.tensors(torch.float64)]
    assert torch.autograd.gradcheck(case.call, tensors, fast_mode=True)
