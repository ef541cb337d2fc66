"""Adaptive softmax against probabilities computed class by class, and against torch's."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.oracles import adaptive_log_prob, gradients_of
from vastmax.errors import InputError
from vastmax.layers import AdaptiveSoftmax, FullSoftmax
from vastmax.trees import StepCost, cheapest_cutoffs

D, V, CUTOFFS = 8, 11, (3, 6)
ORDER = np.random.default_rng(3).permutation(V)


def layer_of(cutoffs=CUTOFFS, order=ORDER, seed: int = 0, **options) -> AdaptiveSoftmax:
    layer = AdaptiveSoftmax(D, V, cutoffs, div_value=2, order=order, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def rows_of(count: int, width: int = D, seed: int = 7, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def to_numpy(layer: AdaptiveSoftmax):
    def array(tensor):
        return tensor.detach().numpy()

    def bias(tensor, size):
        return np.zeros(size) if tensor is None else array(tensor)

    biases = layer.tail_biases or [None] * len(layer.cutoffs)
    tails = [
        (array(p), array(w), bias(b, len(w)))
        for p, w, b in zip(layer.projections, layer.tail_weights, biases, strict=True)
    ]
    return (array(layer.head_weight), bias(layer.head_bias, len(layer.head_weight))), tails


@pytest.mark.numerics
@pytest.mark.parametrize("options", [{}, {"head_bias": False}, {"tail_bias": False}, {"order": None}], ids=str)
def test_probabilities_are_those_of_the_formula(options) -> None:
    layer, hidden = layer_of(**options), rows_of(4)
    order = np.arange(V) if options.get("order", 0) is None else ORDER
    log_prob = layer.log_prob(hidden).detach()
    for row, found in zip(hidden.detach().numpy(), log_prob.numpy(), strict=True):
        for rank in range(V):
            expected = adaptive_log_prob(to_numpy(layer), CUTOFFS, row, rank)
            assert found[order[rank]] == pytest.approx(expected, rel=1e-12)


def test_the_oracle_notices_a_permuted_id_and_a_flipped_sign() -> None:
    layer, hidden = layer_of(), rows_of(1)
    found = layer.log_prob(hidden)[0].detach().numpy()
    row = hidden[0].detach().numpy()
    assert any(abs(found[r] - adaptive_log_prob(to_numpy(layer), CUTOFFS, row, r)) > 0.1 for r in range(V))
    flipped = [adaptive_log_prob(to_numpy(layer), CUTOFFS, -row, r) for r in range(V)]
    assert np.abs(found[ORDER] - flipped).max() > 0.1


@pytest.mark.numerics
def test_gradients_are_those_of_the_formula() -> None:
    layer, hidden = layer_of(), rows_of(V + 2)
    target = torch.tensor([*range(V), 0, 0])
    factors = torch.linspace(-1, 2, V + 2, dtype=torch.float64)
    (layer(hidden, target, reduction="none") * factors).sum().backward()
    rank = np.argsort(ORDER)

    def loss(parameters, rows):
        losses = [-adaptive_log_prob(parameters, CUTOFFS, rows[i], rank[t]) for i, t in enumerate(target.tolist())]
        return sum(f * loss for f, loss in zip(factors.tolist(), losses, strict=True))

    ((head, head_bias), tails), to_hidden = gradients_of(loss, to_numpy(layer), hidden.detach().numpy())
    expected = {"head_weight": head, "head_bias": head_bias}
    for i, (projection, weight, bias) in enumerate(tails):
        expected |= {f"projections.{i}": projection, f"tail_weights.{i}": weight, f"tail_biases.{i}": bias}
    assert hidden.grad is not None
    np.testing.assert_allclose(hidden.grad.numpy(), to_hidden, rtol=1e-10, atol=1e-12)
    named = dict(layer.named_parameters())
    assert set(expected) == set(named)
    for name, gradient in expected.items():
        np.testing.assert_allclose(named[name].grad.numpy(), gradient, rtol=1e-10, atol=1e-12, err_msg=name)


def test_no_cutoffs_are_the_full_softmax() -> None:
    layer, full = layer_of(cutoffs=()), FullSoftmax(D, V, dtype=torch.float64)
    with torch.no_grad():
        full.weight[torch.from_numpy(ORDER)] = layer.head_weight
        full.bias[torch.from_numpy(ORDER)] = layer.head_bias  # type: ignore[index,misc]
    hidden, target = rows_of(V), torch.arange(V)
    torch.testing.assert_close(layer.log_prob(hidden), full.log_prob(hidden))
    torch.testing.assert_close(layer(hidden, target), full(hidden, target))


# --- comparison with torch ---


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # raised by torch's own at div_value 4
@pytest.mark.numerics
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("div_value", [4.0, 2.0, 1.5])
def test_from_torch_gives_equal_outputs(head_bias: bool, div_value: float) -> None:
    torch.manual_seed(0)
    peer = nn.AdaptiveLogSoftmaxWithLoss(24, 50, [5, 13, 30], div_value, head_bias).double()
    layer = AdaptiveSoftmax.from_torch(peer)
    hidden, target = rows_of(40, 24), torch.arange(40)
    output, loss = peer(hidden, target)
    torch.testing.assert_close(layer(hidden, target), loss)
    torch.testing.assert_close(layer.target_log_prob(hidden, target), output)
    torch.testing.assert_close(layer.log_prob(hidden), peer.log_prob(hidden))
    assert torch.equal(layer.topk(hidden, 1)[1].squeeze(1), peer.predict(hidden))
    if div_value == 4:
        return  # torch's last cluster has width 0, ours has width 1
    assert layer.num_parameters == sum(p.numel() for p in peer.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(layer(hidden, target), [hidden, layer.head_weight, *layer.tail_weights]),
        torch.autograd.grad(loss, [hidden, peer.head.weight, *(peer.tail[i][1].weight for i in range(3))]),  # type: ignore[index]
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.numerics
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_to_torch_gives_equal_outputs(head_bias: bool, ordered: bool) -> None:
    layer = layer_of(head_bias=head_bias, tail_bias=False, **({"order": None} if ordered else {}))
    peer = layer.to_torch(by_rank=not ordered)
    hidden, target = rows_of(2 * V), torch.arange(2 * V) % V
    output, loss = peer(hidden, layer.ranks.of(target))
    torch.testing.assert_close(loss, layer(hidden, target), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(output, layer.target_log_prob(hidden, target), rtol=1e-12, atol=1e-12)
    by_rank = peer.log_prob(hidden)
    torch.testing.assert_close(by_rank[:, layer.ranks.of(torch.arange(V))], layer.log_prob(hidden))
    assert torch.equal(layer.ranks.classes(peer.predict(hidden)), layer.topk(hidden, 1)[1].squeeze(1))
    found = torch.autograd.grad(loss, hidden)[0]
    torch.testing.assert_close(found, torch.autograd.grad(layer(hidden, target), hidden)[0])
    with torch.no_grad():
        layer.head_weight.add_(1)  # torch's is a copy
    assert not torch.equal(layer.head_weight, peer.head.weight)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("div_value", [4.0, 1.5])
def test_from_torch_and_back(div_value: float, dtype: torch.dtype) -> None:
    """The round trip also holds at div_value 4, where torch's last cluster has width 0."""
    peer = nn.AdaptiveLogSoftmaxWithLoss(24, 50, [5, 13, 30], div_value, True, dtype=dtype)
    back = AdaptiveSoftmax.from_torch(peer).to_torch()
    assert back.state_dict().keys() == peer.state_dict().keys()
    for name, tensor in back.state_dict().items():
        assert torch.equal(tensor, peer.state_dict()[name]) and tensor.dtype == dtype, name


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_what_torch_has_no_layer_for() -> None:
    with pytest.raises(InputError, match="tail_bias is True: give false, as torch's layer"):
        layer_of(order=None).to_torch()
    with pytest.raises(InputError, match=r"cutoffs is \(\): give one or more"):
        layer_of(cutoffs=(), tail_bias=False).to_torch()
    with pytest.raises(InputError, match="by_rank is False: give true, and ranks as targets"):
        layer_of(tail_bias=False).to_torch()
    with pytest.raises(InputError, match="by_rank is 1: give true or false"):
        layer_of(tail_bias=False).to_torch(by_rank=1)  # type: ignore[arg-type]
    narrow = AdaptiveSoftmax(D, V, CUTOFFS, div_value=4, tail_bias=False)
    with pytest.raises(
        InputError, match=r"div_value is 4.0: give less, as torch's cluster 1 would be 0 wide, and this layer's is 1"
    ):
        narrow.to_torch()


def test_from_torch_copies() -> None:
    peer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])
    layer = AdaptiveSoftmax.from_torch(peer)
    with torch.no_grad():
        layer.head_weight.zero_()
    assert peer.head.weight.abs().max() > 0


# --- clusters without targets ---


def test_clusters_that_no_row_reaches_have_no_gradient() -> None:
    layer, hidden = layer_of(), rows_of(3)
    layer(hidden, torch.from_numpy(ORDER[[0, 4, 5]])).backward()
    reached = {name for name, p in layer.named_parameters() if p.grad is not None}
    assert reached == {"head_weight", "head_bias", "projections.0", "tail_weights.0", "tail_biases.0"}


def test_backward_twice_gives_the_same_twice() -> None:
    layer, hidden = layer_of(), rows_of(V)
    loss = layer(hidden, torch.arange(V))
    first, second = (torch.autograd.grad(loss, [hidden, *layer.parameters()], retain_graph=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.numerics
def test_targets_far_from_likely_keep_their_log_probability() -> None:
    """Log-probabilities stay finite where probabilities underflow."""
    layer = AdaptiveSoftmax(2, 4, [2], head_bias=False, tail_bias=False, dtype=torch.float32)
    with torch.no_grad():
        layer.head_weight.copy_(torch.tensor([[200.0, 0], [0, 0], [0, 0]]))
    hidden = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = layer(hidden, torch.tensor([1]))
    assert loss.item() == pytest.approx(200)
    loss.backward()
    assert hidden.grad is not None and hidden.grad[0, 0].item() == pytest.approx(200)


def test_topk_visits_no_cluster_that_cannot_win(monkeypatch) -> None:
    layer, hidden = layer_of(), rows_of(6)
    with torch.no_grad():
        layer.head_bias[-2:] = -50  # type: ignore[index]
    visited = []
    tail = layer._tail
    monkeypatch.setattr(layer, "_tail", lambda cluster, rows: visited.append(cluster) or tail(cluster, rows))
    layer.topk(hidden, 3)
    assert visited == []
    layer.topk(hidden, 4)
    assert visited == [0, 1]


# --- ids, state, cost ---


def test_ids_in_any_order_are_renamed_ids() -> None:
    layer, sorted_layer = layer_of(), layer_of(order=None)
    state = {k: v for k, v in layer.state_dict().items() if k not in ("ranks.order", "ranks.rank")}
    sorted_layer.load_state_dict(state)
    hidden, rank = rows_of(V), torch.arange(V)
    torch.testing.assert_close(
        layer(hidden, torch.from_numpy(ORDER)[rank], reduction="none"), sorted_layer(hidden, rank, reduction="none")
    )


def test_from_vocabulary_sorts_by_counts() -> None:
    layer = AdaptiveSoftmax.from_vocabulary(D, [1, 5, 0, 9, 5], [2, 4])
    assert layer.ranks.order is not None and layer.ranks.order.tolist() == [3, 1, 4, 0, 2]
    assert layer.ranks.shares == [0.7, 0.3, 0]
    assert AdaptiveSoftmax.from_vocabulary(D, [9, 5, 5, 1], [2]).ranks.order is None


def test_state_carries_order_and_cutoffs() -> None:
    layer, other = layer_of(), layer_of(order=ORDER[::-1].copy(), seed=1)
    state = layer.state_dict()
    assert state["ranks.cutoffs"].tolist() == list(CUTOFFS)
    assert state["ranks.order"].tolist() == ORDER.tolist()
    other.load_state_dict(state)
    hidden = rows_of(3)
    assert torch.equal(other.log_prob(hidden), layer.log_prob(hidden))
    other.reset_parameters()  # the order is kept
    assert other.ranks.order is not None and other.ranks.order.tolist() == ORDER.tolist()
    meta = layer_of().to("meta")
    meta.load_state_dict(state, assign=True)
    assert torch.equal(meta(hidden, torch.tensor([1, 5, 9])), layer(hidden, torch.tensor([1, 5, 9])))
    with pytest.raises(InputError, match=r"cutoffs are \[3, 6\] in the state and \[2, 6\] in the layer"):
        layer_of(cutoffs=(2, 6)).load_state_dict(state)


def test_automatic_cutoffs_are_those_of_the_counts() -> None:
    counts = np.roll((1e6 / np.arange(1, 5001)).astype(np.int64), 7)  # ids need not be sorted by frequency
    falling = np.sort(counts)[::-1]
    assert AdaptiveSoftmax.from_vocabulary(64, counts).cutoffs == cheapest_cutoffs(falling, 64)
    dear = StepCost(call=1.0)
    assert AdaptiveSoftmax.from_vocabulary(64, counts, cost=dear, rows=9).cutoffs == cheapest_cutoffs(
        falling, 64, cost=dear, rows=9
    )


def test_cutoffs_stand_in_the_repr() -> None:
    text = "AdaptiveSoftmax(in_features=8, num_classes=11, cutoffs=[3, 6], div_value=2)"
    assert repr(layer_of()) == text


def test_costs_are_what_is_counted() -> None:
    counts = np.array([4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    layer = AdaptiveSoftmax.from_vocabulary(D, counts, CUTOFFS, div_value=2)
    assert layer.num_parameters == (3 + 2) * (D + 1) + 4 * D + 3 * (4 + 1) + 2 * D + 5 * (2 + 1)
    target = torch.from_numpy(np.repeat(np.arange(V), counts))
    hidden = rows_of(len(target), dtype=torch.float32)
    with FlopCounterMode(display=False) as counted:
        loss = layer(hidden, target)
    assert counted.get_total_flops() == pytest.approx(len(target) * layer.flops_per_token(train=False))
    with FlopCounterMode(display=False) as counted:
        loss.backward()
    assert counted.get_total_flops() == pytest.approx(
        len(target) * (layer.flops_per_token() - layer.flops_per_token(train=False))
    )


def test_memory_is_bounded_where_all_targets_are_rare() -> None:
    """Logits of 512 rows over 200,000 classes would take 400 MB."""
    layer = AdaptiveSoftmax(16, 200_000, [100], dtype=torch.float32)
    hidden = rows_of(512, 16, dtype=torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        layer.target_log_prob(hidden, torch.full((512,), 199_999)).sum().backward()
    allocated = [event.cpu_memory_usage for event in profile.events()]
    assert 2**20 < max(allocated) < 2**25


def test_log_prob_is_the_same_without_gradients() -> None:
    layer, hidden = layer_of(), rows_of(5)
    with torch.no_grad():
        found, best = layer.log_prob(hidden), layer.topk(hidden, 6)
    torch.testing.assert_close(found, layer.log_prob(hidden).detach())
    torch.testing.assert_close(best[0], layer.topk(hidden, 6)[0].detach())


@pytest.mark.numerics
def test_autocast_touches_no_cluster_that_is_not_reached() -> None:
    layer = copy.deepcopy(layer_of()).float()
    hidden = rows_of(2, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        layer(hidden, torch.from_numpy(ORDER[:2])).backward()
    assert all(p.grad is None for p in layer.tail_weights)


@pytest.mark.parametrize("cutoffs", [(0,), (V,), (4, 4), (5, 3), (2.5,), ((1, 2),)], ids=str)
def test_cutoffs_that_do_not_fit(cutoffs) -> None:
    with pytest.raises(InputError, match="strictly rising whole numbers from 1 to 10"):
        AdaptiveSoftmax(D, V, cutoffs)


def test_other_bad_arguments() -> None:
    for order in (np.zeros(V, int), np.arange(V - 1), np.arange(V) + 0.5, np.arange(1, V + 1)):
        with pytest.raises(InputError, match=r"order is .*: give each of the 11 classes once"):
            AdaptiveSoftmax(D, V, CUTOFFS, order=order)
    with pytest.raises(InputError, match=r"div_value is 0.5"):
        AdaptiveSoftmax(D, V, CUTOFFS, div_value=0.5)
    with pytest.raises(InputError, match="cutoffs is 'many'"):
        AdaptiveSoftmax.from_vocabulary(D, [1, 2], "many")  # type: ignore[arg-type]
