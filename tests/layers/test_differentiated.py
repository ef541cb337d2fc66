"""Differentiated softmax against probabilities computed class by class, and against the full softmax."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.watching import LargestTensor
from tests.oracles import differentiated_log_prob, gradients_of
from vastmax.errors import InputError
from vastmax.layers import DifferentiatedSoftmax, FullSoftmax

pytestmark = pytest.mark.numerics

D, V, CUTOFFS = 9, 11, (3, 6)
WIDTHS = {"slices": (5, 3, 1), "projections": (9, 4, 2)}
ORDER = np.random.default_rng(3).permutation(V)

every_variant = pytest.mark.parametrize("variant", WIDTHS)


def layer_of(variant="slices", cutoffs=CUTOFFS, widths=None, order=ORDER, **options) -> DifferentiatedSoftmax:
    widths = WIDTHS[variant] if widths is None else widths
    layer = DifferentiatedSoftmax(D, V, cutoffs, widths, variant=variant, order=order, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def rows_of(count: int, seed: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator, dtype=torch.float64).requires_grad_()


def to_numpy(layer: DifferentiatedSoftmax):
    sizes = layer.ranks.sizes
    biases = torch.zeros(V, dtype=torch.float64) if layer.biases is None else torch.cat(list(layer.biases)).detach()
    blocks = []
    for block, (weight, bias) in enumerate(zip(layer.weights, biases.split(sizes), strict=True)):
        projection = None
        if layer.variant == "projections":
            own = str(block) in layer.projections
            projection = layer.projections[str(block)].detach().numpy() if own else np.eye(D)
        blocks.append((projection, weight.detach().numpy(), bias.numpy()))
    return blocks


@every_variant
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"order": None}, {"block_size": 2}], ids=str)
def test_probabilities_are_those_of_the_formula(variant, options) -> None:
    layer, hidden = layer_of(variant, **options), rows_of(4)
    order = np.arange(V) if options.get("order", 0) is None else ORDER
    log_prob = layer.log_prob(hidden).detach().numpy()
    target = layer.target_log_prob(hidden, torch.tensor([0, 4, 9, 10])).detach().numpy()
    np.testing.assert_allclose(target, log_prob[range(4), [0, 4, 9, 10]], rtol=1e-12)
    for row, found in zip(hidden.detach().numpy(), log_prob, strict=True):
        for rank in range(V):
            expected = differentiated_log_prob(to_numpy(layer), row, rank)
            assert found[order[rank]] == pytest.approx(expected, rel=1e-12)


def test_the_oracle_notices_a_permuted_id_and_a_permuted_slice() -> None:
    layer, hidden = layer_of(), rows_of(1)
    found, row = layer.log_prob(hidden)[0].detach().numpy(), hidden[0].detach().numpy()
    by_id = [differentiated_log_prob(to_numpy(layer), row, rank) for rank in range(V)]
    assert np.abs(found - by_id).max() > 0.1
    turned = [differentiated_log_prob(to_numpy(layer), np.roll(row, 1), rank) for rank in range(V)]
    assert np.abs(found[ORDER] - turned).max() > 0.1


@every_variant
@pytest.mark.parametrize("block_size", [None, 2, 100])
def test_gradients_are_those_of_the_formula(variant, block_size) -> None:
    layer, hidden = layer_of(variant, block_size=block_size), rows_of(V + 2)
    target = torch.tensor([*range(V), 0, 0])
    factors = torch.linspace(-1, 2, V + 2, dtype=torch.float64)
    (layer(hidden, target, reduction="none") * factors).sum().backward()
    rank = np.argsort(ORDER)
    given = to_numpy(layer)
    fixed = [projection for projection, _, _ in given]
    own = [block for block in range(3) if str(block) in layer.projections]

    def loss(projections, weights, biases, rows):
        chosen = list(fixed)
        for block, projection in zip(own, projections, strict=True):
            chosen[block] = projection
        blocks = list(zip(chosen, weights, biases, strict=True))
        losses = [-differentiated_log_prob(blocks, rows[i], rank[t]) for i, t in enumerate(target.tolist())]
        return sum(f * loss for f, loss in zip(factors.tolist(), losses, strict=True))

    to_projections, to_weights, to_biases, to_hidden = gradients_of(
        loss, [fixed[b] for b in own], [w for _, w, _ in given], [b for _, _, b in given], hidden.detach().numpy()
    )
    expected = {f"biases.{block}": gradient for block, gradient in enumerate(to_biases)}
    expected |= {f"weights.{block}": gradient for block, gradient in enumerate(to_weights)}
    expected |= {f"projections.{b}": gradient for b, gradient in zip(own, to_projections, strict=True)}
    assert hidden.grad is not None
    np.testing.assert_allclose(hidden.grad.numpy(), to_hidden, rtol=1e-10, atol=1e-12)
    named = dict(layer.named_parameters())
    assert set(named) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(named[name].grad.numpy(), gradient, rtol=1e-10, atol=1e-12, err_msg=name)


@every_variant
@pytest.mark.parametrize("block_size", [None, 4])
def test_one_block_is_the_full_softmax(variant, block_size) -> None:
    layer = layer_of(variant, cutoffs=(), widths=(D,), block_size=block_size)
    assert not layer.projections
    full = FullSoftmax(D, V, dtype=torch.float64)
    order = torch.from_numpy(ORDER)
    with torch.no_grad():
        full.weight[order] = layer.weights[0]
        full.bias[order] = layer.biases[0]  # type: ignore[index]
    hidden, target = rows_of(V), torch.arange(V)
    torch.testing.assert_close(layer.log_prob(hidden), full.log_prob(hidden))
    torch.testing.assert_close(layer.log_partition(hidden), full.log_partition(hidden))
    mine, theirs = layer(hidden, target), full(hidden, target)
    torch.testing.assert_close(mine, theirs)
    wanted = torch.autograd.grad(theirs, [hidden, full.weight, full.bias])  # type: ignore[list-item]
    found = torch.autograd.grad(mine, [hidden, layer.weights[0], layer.biases[0]])  # type: ignore[list-item]
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1][order])
    torch.testing.assert_close(found[2], wanted[2][order])
    assert layer.num_parameters == full.num_parameters
    assert layer.flops_per_token(train=False) == full.flops_per_token(train=False)


def test_many_logits_are_never_held_at_once() -> None:
    rows, classes = 300, 60_000  # 18 million logits: above the limit for keeping them
    layer = DifferentiatedSoftmax(7, classes, [100, 5000])
    hidden, target = torch.randn(rows, 7, requires_grad=True), torch.randint(classes, (rows,))
    with LargestTensor() as mode:
        layer(hidden, target).backward()
        layer.topk(hidden, 4)
    assert mode.largest < rows * classes / 30


@every_variant
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_log_prob_is_the_same_without_gradients(variant, bias: bool, dtype) -> None:
    layer, hidden = layer_of(variant, bias=bias).to(dtype), rows_of(5).to(dtype)
    expected = layer.log_prob(hidden)
    with torch.no_grad():
        found, target = layer.log_prob(hidden), layer.target_log_prob(hidden, torch.arange(5))
    tolerance = {torch.bfloat16: 0.1, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=tolerance)
    torch.testing.assert_close(target, found.diagonal(), rtol=0, atol=tolerance)
    if dtype == torch.float32:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer.log_prob(hidden), found, rtol=0.05, atol=0.3)


@every_variant
def test_costs_are_what_is_counted(variant) -> None:
    layer, hidden = layer_of(variant), rows_of(16)
    tables = 3 * WIDTHS[variant][0] + 3 * WIDTHS[variant][1] + 5 * WIDTHS[variant][2]
    projections = D * (4 + 2) if variant == "projections" else 0
    assert layer.num_parameters == tables + projections + V
    with FlopCounterMode(display=False) as counted:
        layer(hidden, torch.arange(16) % V)
    assert counted.get_total_flops() == 16 * layer.flops_per_token(train=False) == 16 * 2 * (tables + projections)
    layer = layer_of(variant, bias=False)  # the bias involves no matrix products
    with FlopCounterMode(display=False) as counted:
        layer(hidden, torch.arange(16) % V).backward()
    assert counted.get_total_flops() == 16 * layer.flops_per_token()


# --- defaults ---


@every_variant
@pytest.mark.parametrize("num_classes", [10_000, 100_000])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.2])
def test_default_blocks_halve_the_products_at_least(variant, num_classes: int, exponent: float) -> None:
    counts = (1e9 / np.arange(1, num_classes + 1) ** exponent).astype(np.int64)
    layer = DifferentiatedSoftmax.from_vocabulary(256, counts, variant=variant, device="meta")
    full = FullSoftmax(256, num_classes, device="meta")
    assert len(layer.widths) == 3
    share = 0.5 if exponent else {"slices": 0.51, "projections": 1}[variant]  # without rare classes most are wide
    assert layer.flops_per_token() <= share * full.flops_per_token()


def test_default_blocks_hold_their_shares_of_the_counts() -> None:
    counts = np.random.default_rng(0).permutation((1e9 / np.arange(1, 5001)).astype(np.int64))
    layer = DifferentiatedSoftmax.from_vocabulary(64, counts)
    first, second, third = layer.ranks.shares
    assert 0.8 <= first < 0.801 and 0.95 <= first + second < 0.951 and third == pytest.approx(1 - first - second)
    by_rank = np.sort(counts)[::-1]
    assert by_rank[: layer.cutoffs[0]].sum() / counts.sum() == pytest.approx(first)


@every_variant
@pytest.mark.parametrize("in_features", [1, 2, 3, 4, 6, 7, 15, 16, 100])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 50])
def test_defaults_work_at_any_size(variant, in_features: int, num_classes: int) -> None:
    for counts in (np.zeros(num_classes, int), np.arange(num_classes), np.ones(num_classes, int)):
        layer = DifferentiatedSoftmax.from_vocabulary(in_features, counts, variant=variant)
        assert layer.log_prob(torch.zeros(in_features)).exp().sum().item() == pytest.approx(1, rel=1e-5)


def test_order_and_cutoffs_persist() -> None:
    layer, other = layer_of(), layer_of(order=ORDER[::-1].copy())
    other.load_state_dict(layer.state_dict())
    hidden = rows_of(2)
    assert torch.equal(other.log_prob(hidden), layer.log_prob(hidden))
    assert repr(layer) == (
        "DifferentiatedSoftmax(in_features=9, num_classes=11, cutoffs=[3, 6], widths=[5, 3, 1], variant='slices')"
    )


# --- errors ---


@pytest.mark.parametrize("widths", [(5, 4), (5, 3, 2), (3, 5, 1), (9, 0, 0), (3, 3, 3), ()], ids=str)
def test_widths_that_are_no_slices(widths) -> None:
    with pytest.raises(InputError, match="give 3 whole numbers, one per block, strictly falling, which sum to in_feat"):
        layer_of(widths=widths)


@pytest.mark.parametrize("widths", [(10, 4, 2), (9, 9, 2), (4, 2)], ids=str)
def test_widths_that_are_no_projections(widths) -> None:
    with pytest.raises(InputError, match="strictly falling, which are at most in_features, 9"):
        layer_of("projections", widths=widths)


def test_other_bad_arguments() -> None:
    with pytest.raises(InputError, match="variant is 'slice'"):
        DifferentiatedSoftmax(8, 4, [2], variant="slice")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="block_size is 0"):
        DifferentiatedSoftmax(8, 4, [2], block_size=0)
    with pytest.raises(InputError, match="in_features is 3, too narrow for 3 blocks"):
        DifferentiatedSoftmax(3, 9, [2, 4])


def test_what_backward_needs_is_let_go_after_it() -> None:
    layer, hidden = DifferentiatedSoftmax(D, 900, [100, 300]), torch.randn(40, D, requires_grad=True)
    saved: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):  # tensors that autograd saves
        layer(hidden, torch.randint(900, (40,)))
    assert max(saved) == 40 * 900


def test_counts_may_be_as_large_as_int64() -> None:
    counts = [2**61] * 6 + [2**40] * 6
    layer = DifferentiatedSoftmax.from_vocabulary(D, counts)
    assert layer.cutoffs[0] == 5 and layer.ranks.shares[0] == pytest.approx(5 / 6, rel=1e-3)


def test_a_state_whose_biases_are_of_all_blocks_loads() -> None:
    layer, other = layer_of(), layer_of()
    state = layer.state_dict()
    state["bias"] = torch.cat([state.pop(f"biases.{block}") for block in range(3)])
    with torch.no_grad():
        for each in other.biases:
            each.zero_()
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(layer.biases, other.biases, strict=True))
