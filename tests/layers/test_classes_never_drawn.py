"""Classes that a proposal never draws, or that never occurred."""

import math
from typing import Any

import pytest
import torch

from vastmax.layers import build, in_batch_softmax


@pytest.mark.parametrize("correct_target", [False, True])
def test_an_item_of_probability_0_is_a_finite_loss(correct_target: bool) -> None:
    queries, items = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)).unbind()
    log_prob = torch.tensor([-torch.inf, -1, -1, -1])
    losses = in_batch_softmax(queries, items, log_prob, correct_target=correct_target, reduction="none")
    assert losses.isfinite().all()
    rest = log_prob[1:] + math.log(3 / 2)  # as without that item, but with the number of draws kept
    without = in_batch_softmax(queries[1:], items[1:], rest, correct_target=correct_target, reduction="none")
    torch.testing.assert_close(losses[1:], without)


# --- classes that never occurred ---


def of_unseen(name: str, **options: Any) -> float:
    """Return the total probability of the 4 of 8 classes that are never targets, trained from a uniform start."""
    layer = build(name, 1, [40, 30, 20, 10, 0, 0, 0, 0], sparse=False, num_samples=8, **options)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        layer(torch.ones(64, 1), torch.multinomial(torch.tensor([0.4, 0.3, 0.2, 0.1]), 64, replacement=True)).backward()
        optimizer.step()
    return float(layer.log_prob(torch.ones(1, 1)).detach().exp()[0, 4:].sum())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sampled", {}),
        ("sampled", {"proposal": "bigram"}),
        ("sampled", {"correct_target": True}),
        ("nce", {}),
        ("blackout", {}),
        ("importance", {"effective_samples": None}),
    ],
)
def test_classes_that_never_occurred_become_improbable(name: str, options: dict[str, Any]) -> None:
    assert of_unseen(name, **options) < 0.05
    assert of_unseen(name, smoothing=0.0, **options) > 0.1  # never drawn, never pushed down
    assert "smoothing=1" in repr(build(name, 1, [3, 0], **options))
    assert "smoothing" not in repr(build(name, 1, [3, 1], **options))
