"""In-batch negatives, for a class table and for two towers, against the formula row by row."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.oracles import gradients_of, sampled_softmax_loss
from vastmax.errors import InputError
from vastmax.layers import SampledSoftmax, in_batch_softmax
from vastmax.proposals import UnigramProposal

pytestmark = pytest.mark.numerics

D, COUNTS = 4, [50, 1, 7, 30, 2]
TARGET = [3, 0, 3, 1, 0, 4]


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    queries, items = torch.randn(2, len(TARGET), D, generator=generator, dtype=torch.float64)
    return queries.requires_grad_(), items.requires_grad_()


def log_q() -> Tensor:
    return UnigramProposal(COUNTS, power=1).log_prob(torch.tensor(TARGET))


def by_hand(query: Any, table: Any, bias: Any, row: int, correct_target: bool, same: list[int]) -> Any:
    """Return a row's loss; the table holds the batch's items in order, and ``same`` indexes those equal to its own."""
    often = [(len(TARGET) - 1) * COUNTS[t] / sum(COUNTS) for t in TARGET]
    others = [i for i in range(len(TARGET)) if i not in (() if correct_target else same) and i != row]
    own = often[row] if correct_target else None
    return sampled_softmax_loss(query, table, bias, row, others, [often[i] for i in others], own)


@pytest.mark.parametrize("correct_target", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_two_towers(correct_target: bool, named: bool) -> None:
    queries, items = rows()
    ids = torch.tensor(TARGET) if named else None
    found = in_batch_softmax(queries, items, log_q(), ids, correct_target=correct_target, reduction="none")
    found.sum().backward()
    assert queries.grad is not None and items.grad is not None
    bias, to_items = np.zeros(len(TARGET)), np.zeros((len(TARGET), D))
    for row, name in enumerate(TARGET):
        same = [i for i, other in enumerate(TARGET) if other == name] if named else [row]
        given = (queries[row].detach().numpy(), items.detach().numpy(), bias)
        rest = (row, correct_target, same)
        np.testing.assert_allclose(found[row].item(), by_hand(*given, *rest), rtol=1e-12)
        to_query, more, _ = gradients_of(lambda *x, r=rest: by_hand(*x, *r), *given)
        np.testing.assert_allclose(queries.grad[row], to_query, atol=1e-12)
        to_items += more
    np.testing.assert_allclose(items.grad, to_items, atol=1e-12)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("correct_target", [True, False])
def test_queries_of_one_process_among_the_items_of_all(correct_target: bool, grouped: bool) -> None:
    """Losses equal those computed with all queries together, and gradients add up."""
    queries, items = rows()
    group = torch.tensor([4, 1, 4, 4, 1, 7]) if grouped else None
    options: dict[str, Any] = {"group": group, "correct_target": correct_target, "reduction": "none"}
    everything = in_batch_softmax(queries, items, log_q(), torch.tensor(TARGET), **options)
    wanted = torch.autograd.grad(everything.sum(), (queries, items))
    parts = [torch.tensor([4, 1]), torch.tensor([0, 2, 3, 5]), torch.tensor([], dtype=torch.int64)]
    losses = [in_batch_softmax(queries[own], items, log_q(), torch.tensor(TARGET), own=own, **options) for own in parts]
    for own, loss in zip(parts, losses, strict=True):
        torch.testing.assert_close(loss, everything[own], rtol=1e-12, atol=1e-12)
    for found, whole in zip(torch.autograd.grad(torch.cat(losses).sum(), (queries, items)), wanted, strict=True):
        torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


def test_a_table_of_classes_is_two_towers_of_its_rows() -> None:
    layer = SampledSoftmax(
        D, UnigramProposal(COUNTS, power=1), in_batch=True, bias=False, sparse=False, dtype=torch.float64
    )
    queries, _ = rows()
    target = torch.tensor(TARGET)
    towers = in_batch_softmax(queries, layer.weight[target], log_q(), target)
    torch.testing.assert_close(layer(queries, target), towers, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(loss, layer.weight)[0] for loss in (layer(queries, target), towers))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_reductions_and_a_batch_of_one() -> None:
    queries, items = rows()
    losses = in_batch_softmax(queries, items, log_q(), reduction="none")
    torch.testing.assert_close(in_batch_softmax(queries, items, log_q()), losses.mean())
    torch.testing.assert_close(in_batch_softmax(queries, items, log_q(), reduction="sum"), losses.sum())
    alone = in_batch_softmax(queries[:1], items[:1], log_q()[:1])
    assert alone.item() == 0
    alone.backward()
    assert queries.grad is not None and not queries.grad.any()


def test_half_precision_keeps_log_q() -> None:
    queries, items = (torch.zeros(6, D, dtype=torch.bfloat16) for _ in range(2))
    rare = torch.full((6,), math.log(3.3e-7), dtype=torch.float64)
    found = in_batch_softmax(queries, items, rare)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.item(), math.log1p(1 / 3.3e-7), rtol=1e-6, atol=0)


def test_bad_input_is_told_clearly() -> None:
    queries, items = rows()
    with pytest.raises(InputError, match=r"have shapes \(6, 4\), \(5, 4\) and \(6,\): give \(N, d\)"):
        in_batch_softmax(queries, items[:5], log_q())
    with pytest.raises(InputError, match=r"ids is .*: give one per item, of shape \(6,\)"):
        in_batch_softmax(queries, items, log_q(), torch.tensor([1]))
    with pytest.raises(InputError, match=r"own is .*: give one place per query, int64 of shape \(6,\)"):
        in_batch_softmax(queries, items, log_q(), own=torch.arange(5))
    with pytest.raises(InputError, match="own contains 6: give places of items from 0 to 5"):
        in_batch_softmax(queries, items, log_q(), own=torch.arange(1, 7))
    with pytest.raises(InputError, match="reduction is 'max'"):
        in_batch_softmax(queries, items, log_q(), reduction="max")  # type: ignore[arg-type]
