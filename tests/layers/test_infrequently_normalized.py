"""Infrequent normalisation: its formula on the sampled rows, its expectation, and the value log Z converges to."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.held_out import TARGET, UPSTREAM, D, N, V, held_out, hidden_of, spread
from tests.oracles import gradients_of, infrequently_normalized_loss
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, InfrequentlyNormalizedSoftmax, SelfNormalizedSoftmax


def layer_of(**options) -> InfrequentlyNormalizedSoftmax:
    layer = InfrequentlyNormalizedSoftmax(D, V, **options, dtype=torch.float64)
    spread(layer)
    return layer


def loss_of(layer: InfrequentlyNormalizedSoftmax, hidden: Tensor, drawn: list[bool]) -> Tensor:
    """Return losses (N,) with the given rows sampled."""
    chance = torch.where(torch.tensor(drawn), 0.0, 1.0 - 2**-24)

    def rand(*shape: int, **options) -> Tensor:
        assert shape == (N,)
        return chance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", rand)
        return layer(hidden, TARGET, reduction="none")


@pytest.mark.numerics
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("block_size", [None, 7])
@pytest.mark.parametrize("likelihood", [True, False])
@pytest.mark.parametrize("drawn", [[True] * N, [False] * N, [False, True, True, False, False]], ids=str)
def test_loss_and_gradients_are_those_of_the_formula(
    drawn: list[bool], likelihood: bool, block_size: int | None, sparse: bool
) -> None:
    penalty, fraction = 0.3, 0.25
    layer = layer_of(penalty=penalty, fraction=fraction, likelihood=likelihood, block_size=block_size, sparse=sparse)
    hidden = hidden_of()
    loss = loss_of(layer, hidden, drawn)
    found = torch.autograd.grad(loss, [hidden, *layer.parameters()], UPSTREAM)
    expected = [np.zeros(tuple(part.shape)) for part in found]
    arrays = [parameter.detach().numpy() for parameter in layer.parameters()]
    for i, (h, t) in enumerate(zip(hidden.detach().numpy(), TARGET.tolist(), strict=True)):
        rest = t, penalty, fraction, drawn[i], likelihood
        assert loss[i].item() == pytest.approx(float(infrequently_normalized_loss(h, *arrays, *rest)), rel=1e-12)
        terms = gradients_of(lambda *given, rest=rest: infrequently_normalized_loss(*given, *rest), h, *arrays)
        expected[0][i] = float(UPSTREAM[i]) * terms[0]
        for total, term in zip(expected[1:], terms[1:], strict=True):
            total += float(UPSTREAM[i]) * term
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.to_dense(), torch.from_numpy(truth))
    assert all(gradient.is_sparse == sparse for gradient in found[1:])


@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_with_the_likelihood_of_every_row_it_is_self_normalisation(penalty: float) -> None:
    """Without a penalty it is the full softmax; with a fraction of the rows both hold in expectation."""
    layer = layer_of(penalty=penalty, fraction=1.0, likelihood=True)
    other = SelfNormalizedSoftmax(D, V, penalty=penalty).double()
    full = FullSoftmax(D, V).double()
    for each in (other, full):
        each.load_state_dict(layer.state_dict())
    hidden = hidden_of()
    ours = torch.autograd.grad(layer(hidden, TARGET), [hidden, *layer.parameters()])
    for each in (other, full) if penalty == 0 else (other,):
        theirs = torch.autograd.grad(each(hidden, TARGET), [hidden, *each.parameters()])
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)
    assert layer.kind == ("surrogate" if penalty else "estimator") and layer.usual_log_partition == 0
    few = layer_of(penalty=penalty, fraction=0.3, likelihood=True)
    few.load_state_dict(layer.state_dict())
    torch.manual_seed(0)
    mean = torch.stack([few(hidden, TARGET).detach() for _ in range(4000)]).mean()
    assert float(mean) == pytest.approx(layer(hidden, TARGET).item(), rel=0.02)


@pytest.mark.parametrize("penalty", [0.1, 1.5])
def test_with_every_row_it_is_self_normalisation_of_shifted_logits(penalty: float) -> None:
    """-s + a log²Z = -s' + log Z' + a log²Z' - 1/(4a), with s' = s - 1/(2a)."""
    layer, other = layer_of(penalty=penalty, fraction=1.0), SelfNormalizedSoftmax(D, V, penalty=penalty).double()
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        other.bias -= 1 / (2 * penalty)
    hidden = hidden_of()
    ours, theirs = layer(hidden, TARGET, reduction="none"), other(hidden, TARGET, reduction="none")
    torch.testing.assert_close(ours, theirs - 1 / (4 * penalty))
    torch.testing.assert_close(layer.unnormalized_log_prob(hidden, TARGET), other.unnormalized_log_prob(hidden, TARGET))
    found = torch.autograd.grad(ours, [hidden, *layer.parameters()], UPSTREAM)
    expected = torch.autograd.grad(theirs, [hidden, *other.parameters()], UPSTREAM)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


DRAWS, LIMIT = 1500, 5.5  # LIMIT in standard errors: one false alarm in 26 million numbers, of which there are 200


def test_on_average_it_is_what_it_is_with_every_row() -> None:
    whole, layer, hidden = layer_of(fraction=1.0), layer_of(fraction=0.3), hidden_of()
    torch.manual_seed(4)

    def parts(of: InfrequentlyNormalizedSoftmax) -> Tensor:
        loss = of(hidden, TARGET, reduction="none")
        found = torch.autograd.grad(loss, [hidden, *of.parameters()], UPSTREAM)
        return torch.cat([loss.detach(), *(part.flatten() for part in found)])

    draws = torch.stack([parts(layer) for _ in range(DRAWS)])
    mean, limit = draws.mean(0), LIMIT * draws.std(0) / DRAWS**0.5 + 1e-12
    assert ((mean - parts(whole)).abs() <= limit).all()
    assert ((mean - parts(layer_of(fraction=1.0, penalty=0.13))).abs() > limit).any()  # the test detects a wrong factor


@pytest.mark.parametrize("fraction", [0.02, 0.5])
def test_rows_are_drawn_with_their_probability(fraction: float) -> None:
    layer, rows = layer_of(fraction=fraction, penalty=1.0), 20_000
    torch.manual_seed(0)
    with torch.no_grad():
        hidden, target = hidden_of(1).expand(rows, D), torch.zeros(rows, dtype=torch.int64)
        drawn = (layer(hidden, target, reduction="none") > layer(hidden, target, reduction="none").min() + 1e-6).sum()
    assert abs(int(drawn) - fraction * rows) < 4.5 * math.sqrt(rows * fraction * (1 - fraction))  # 1 in 150,000


def test_cost_falls_with_the_fraction() -> None:
    hidden, flops = hidden_of(), {}
    for sampled in (0, 2, N):
        layer = layer_of()
        with FlopCounterMode(display=False) as counter:
            loss_of(layer, hidden, [row < sampled for row in range(N)]).sum().backward()
        flops[sampled] = counter.get_total_flops()
    assert flops == {0: 0, 2: 2 * 3 * 2 * D * V, N: N * 3 * 2 * D * V}
    own = 3 * 2 * D  # embedding bags, which torch does not count
    assert layer_of(fraction=1.0).flops_per_token() == 3 * 2 * D * V + own
    assert layer_of(fraction=0.1).flops_per_token() == pytest.approx(0.1 * 3 * 2 * D * V + own)
    assert layer_of(fraction=0.5, block_size=7).flops_per_token() == 0.5 * 4 * 2 * D * V + own
    assert layer_of(fraction=0.1).flops_per_token(train=False) == 2 * D * V


def test_with_no_row_drawn_only_the_targets_are_touched() -> None:
    layer = layer_of(sparse=True)
    loss_of(layer, hidden_of(), [False] * N).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.coalesce().indices()[0].tolist() == sorted(set(TARGET.tolist()))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam])
def test_optimisers_take_sparse_gradients_of_few_rows_and_of_all(optimizer) -> None:
    layer, dense = layer_of(sparse=True), layer_of(sparse=False)
    if optimizer is torch.optim.SparseAdam:
        dense = layer_of(sparse=True)
    steps = [optimizer(each.parameters(), lr=0.1) for each in (layer, dense)]
    for drawn in ([True, False, False, False, True], [False] * N, [True] * N):
        for each, step in zip((layer, dense), steps, strict=True):
            step.zero_grad()
            loss_of(each, hidden_of(), drawn).sum().backward()
            step.step()
    torch.testing.assert_close(layer.weight, dense.weight)


def test_log_z_starts_and_stays_where_the_loss_is_least() -> None:
    hidden = torch.tanh(torch.randn(50, 32))
    layer = InfrequentlyNormalizedSoftmax(32, 5000, penalty=0.25)
    assert layer.usual_log_partition == 2.0
    assert (layer.log_partition(hidden) - 2).abs().max() < 0.4
    # one hidden vector, targets 0, 0, 1: log Z = 1/(2a) and the distribution is that of the targets
    layer = InfrequentlyNormalizedSoftmax(1, 2, penalty=0.25, fraction=1.0, dtype=torch.float64)
    hidden, target = torch.ones(3, 1, dtype=torch.float64), torch.tensor([0, 0, 1])
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, tolerance_grad=1e-10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = layer(hidden, target)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)  # type: ignore[arg-type]
    torch.testing.assert_close(layer.log_partition(hidden[:1]).item(), 2.0, rtol=1e-4, atol=0)
    torch.testing.assert_close(layer.log_prob(hidden[0]).exp().tolist(), [2 / 3, 1 / 3], rtol=1e-4, atol=0)


def test_log_z_of_unseen_text_is_as_usual_though_few_rows_are_normalised() -> None:
    without = held_out("self-normalized", penalty=0.0)
    every, few = (held_out("infrequent-normalized", penalty=1.0, fraction=fraction) for fraction in (1.0, 0.2))
    print(without, every, few, sep="\n")
    assert every.distance < 0.4 * without.distance and few.distance < 0.6 * without.distance
    assert every.loss < without.loss + 0.05 and few.loss < without.loss + 0.15
    assert abs(few.score - few.loss) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": 0.0}, "penalty is 0.0: give a number above 0"),
        ({"penalty": math.nan}, "penalty is nan"),
        ({"fraction": 0.0}, "fraction is 0.0: give a number above 0"),
        ({"fraction": 1.1}, "fraction is 1.1"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        InfrequentlyNormalizedSoftmax(D, V, **options)  # type: ignore[arg-type]


def test_compiled_backward_samples_the_rows_that_forward_did() -> None:
    torch.compiler.reset()
    layer, hidden = layer_of(fraction=0.4), hidden_of()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")

    def loss(given: Tensor, seed: int = 5) -> Tensor:
        torch.manual_seed(seed)
        return compiled(given, TARGET, reduction="sum")

    (found,) = torch.autograd.grad(loss(hidden), hidden)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        slope = (loss(hidden + 1e-6 * direction) - loss(hidden - 1e-6 * direction)) / 2e-6
        assert len({round(float(loss(hidden, seed)), 6) for seed in range(8)}) > 2  # other seeds, other rows
    torch.testing.assert_close((found * direction).sum(), slope, rtol=1e-6, atol=1e-8)
