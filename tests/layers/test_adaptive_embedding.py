"""Input embeddings tied to an adaptive softmax."""

import numpy as np
import pytest
import torch

from vastmax.errors import InputError
from vastmax.layers import AdaptiveEmbedding, AdaptiveSoftmax

D, V, CUTOFFS = 8, 11, (3, 6)
ORDER = np.random.default_rng(3).permutation(V)


def softmax_of(**options) -> AdaptiveSoftmax:
    torch.manual_seed(0)
    return AdaptiveSoftmax(D, V, CUTOFFS, div_value=2, order=ORDER, dtype=torch.float64, **options)


def test_vectors_are_rows_projected() -> None:
    softmax = softmax_of()
    vectors = AdaptiveEmbedding(softmax)(torch.arange(V).view(1, V))
    assert vectors.shape == (1, V, D)
    for rank, w in enumerate(ORDER.tolist()):
        if rank < 3:
            expected = softmax.head_weight[rank]
        else:
            i = 0 if rank < 6 else 1
            expected = softmax.tail_weights[i][rank - CUTOFFS[i]] @ softmax.projections[i]
        torch.testing.assert_close(vectors[0, w], expected)


def test_both_learn_one_parameter() -> None:
    softmax = softmax_of()
    embedding = AdaptiveEmbedding(softmax)
    classes = torch.arange(V)
    softmax(embedding(classes), classes).backward()
    assert all(p.grad is not None for p in softmax.parameters())
    softmax.zero_grad()
    upstream = torch.randn(3, D, dtype=torch.float64)
    chosen = torch.tensor([ORDER[1], ORDER[1], ORDER[7]])
    (embedding(chosen) * upstream).sum().backward()
    assert softmax.head_weight.grad is not None and softmax.tail_weights[1].grad is not None
    expected = torch.zeros_like(softmax.head_weight)
    expected[1] = upstream[0] + upstream[1]
    torch.testing.assert_close(softmax.head_weight.grad, expected)
    torch.testing.assert_close(softmax.tail_weights[1].grad[1], softmax.projections[1] @ upstream[2])
    torch.testing.assert_close(
        softmax.projections[1].grad, torch.outer(softmax.tail_weights[1][1].detach(), upstream[2])
    )


def test_compiles_whole() -> None:
    torch.compiler.reset()
    embedding = AdaptiveEmbedding(softmax_of())
    classes = torch.arange(V)
    compiled = torch.compile(embedding, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(classes), embedding(classes))


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)], ids=str)
def test_any_rank(shape) -> None:
    assert AdaptiveEmbedding(softmax_of())(torch.zeros(shape, dtype=torch.int64)).shape == (*shape, D)


def test_a_class_out_of_range() -> None:
    with pytest.raises(InputError, match="contains 11: give class ids from 0 to 10"):
        AdaptiveEmbedding(softmax_of())(torch.tensor([3, V]))
