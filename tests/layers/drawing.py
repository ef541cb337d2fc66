"""Shared code of the tests of sampling layers: a layer with random parameters, and its formula checked row by row."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.oracles import gradients_of
from vastmax.layers import SamplingLayer
from vastmax.proposals import UnigramProposal

D, V = 4, 12
COUNTS = [50, 1, 7, 30, 2, 9, 9, 120, 4, 3, 60, 5]


class Given(UnigramProposal):
    """A proposal that always draws the given ids, (n,) for all rows or (N, n), whatever their probability."""

    given: Tensor

    def __init__(self, ids: Sequence[Any], counts: Sequence[int]) -> None:
        super().__init__(counts, power=1)
        self.given = torch.tensor(ids)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        return self.given.expand(shape).clone()


def trained(kind: type[SamplingLayer], proposal: Any = None, **options: Any) -> Any:
    proposal = UnigramProposal(COUNTS) if proposal is None else proposal
    layer = kind(D, proposal, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def some_rows(n: int = 5, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, D, generator=generator, dtype=torch.float64)
    return hidden.requires_grad_(), torch.randint(V, (n,), generator=generator)


def arrays(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    weight = layer.weight.detach().numpy()
    return weight, np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().numpy()


def check_formula(layer: Any, oracle: Callable[..., Any], *, neutral: bool = False) -> None:
    """Check that a layer's loss and gradients for 9 samples, with repeats and hits, equal the oracle's.

    neutral: whether the method ignores expected counts: the oracle is then given 1 for each class.
    """
    hidden, target = some_rows()
    target[:2] = 7  # likely to be drawn
    n, upstream = len(target), [1.0, -2.0, 0.5, 3.0, 1.0]
    torch.manual_seed(7)
    samples = layer.proposal.sample(9, num_rows=None if layer.shared else n, replacement=layer.replacement)
    torch.manual_seed(7)
    rows = layer(hidden, target, reduction="none")
    found = torch.autograd.grad(rows, [hidden, *layer.parameters()], torch.tensor(upstream, dtype=torch.float64))
    drawn = (samples.ids == target[:, None]).any(1, keepdim=True)
    of_target = samples.log_expected_count_of(layer.proposal.log_prob(target)[:, None], drawn).squeeze(1)
    ids, expected = samples.ids.expand(n, -1).tolist(), samples.log_expected_count.exp().expand(n, -1)
    if layer.replacement:
        assert any(len(set(row)) < len(row) for row in ids)  # there are repeats
    assert any(t in row for t, row in zip(target.tolist(), ids, strict=True))  # and hits
    truth = [np.zeros(tuple(each.shape)) for each in found]
    for i in range(n):
        often, own = ([1.0] * 9, 1.0) if neutral else (expected[i].tolist(), float(of_target[i].exp()))
        given = (int(target[i]), ids[i], often, own)
        inputs = (hidden[i].detach().numpy(), *arrays(layer))
        np.testing.assert_allclose(rows[i].item(), oracle(*inputs, *given), rtol=1e-10)
        to_hidden, *to_table = gradients_of(lambda *x, g=given: oracle(*x, *g), *inputs)
        truth[0][i] = upstream[i] * to_hidden
        for total, part in zip(truth[1:], to_table, strict=False):
            total += upstream[i] * part
    for ours, theirs in zip(found, truth, strict=True):
        np.testing.assert_allclose(ours.to_dense(), theirs, atol=1e-11)
