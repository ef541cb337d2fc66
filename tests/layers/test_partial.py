"""The partial softmax: its formula on the classes drawn, its unbiased estimate of Z, and its limit with every class."""

import copy
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.watching import LargestTensor
from tests.oracles import full_gradients, full_log_prob, partial_gradients, partial_loss
from vastmax.errors import InputError
from vastmax.layers import ClassIndex, FullSoftmax, PartialSoftmax
from vastmax.ops import Part, linear_topk

D, V, N = 6, 40, 5
TARGET = torch.tensor([0, V - 1, 7, 7, 12])


class Found:
    """A stand-in for an index that returns the given heads, padded with -1."""

    def __init__(self, heads: Sequence[Sequence[int]]) -> None:
        self.heads = torch.tensor(heads)

    def search(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, k: int) -> Tensor:
        return self.heads[:, :k]

    def age(self) -> None:
        pass

    def forget(self) -> None:
        pass


def layer_of(num_classes: int = V, **options) -> PartialSoftmax:
    layer = PartialSoftmax(D, num_classes, **options, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def hidden_of(rows: int = N, seed: int = 2) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def arrays(layer: PartialSoftmax) -> tuple[np.ndarray, np.ndarray]:
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def best(layer: PartialSoftmax, hidden: np.ndarray, k: int) -> list[int]:
    return np.argsort(-full_log_prob(hidden, *arrays(layer)))[:k].tolist()


@pytest.mark.numerics
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(("head", "tail"), [(1, 3), (4, 10), (4, 0), (V - 1, 5), (3, 300)])
def test_loss_and_gradients_are_those_of_the_formula(head: int, tail: int, sparse: bool) -> None:
    layer, hidden = layer_of(head=head, tail=tail, sparse=sparse), hidden_of()
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    torch.manual_seed(7)
    loss = layer(hidden, TARGET, reduction="none")
    found = torch.autograd.grad(loss, [hidden, *layer.parameters()], upstream)
    torch.manual_seed(7)
    drawn = torch.randint(V, (tail,)).tolist()
    expected = [np.zeros(tuple(part.shape)) for part in found]
    for i, (h, t) in enumerate(zip(hidden.detach().numpy(), TARGET.tolist(), strict=True)):
        given = (h, *arrays(layer), t, best(layer, h, head), drawn)
        assert loss[i].item() == pytest.approx(float(partial_loss(*given)), rel=1e-12)
        to_hidden, to_weight, to_bias = partial_gradients(*given)
        expected[0][i] = float(upstream[i]) * to_hidden
        expected[1] += float(upstream[i]) * to_weight
        expected[2] += float(upstream[i]) * to_bias
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.to_dense(), torch.from_numpy(truth))


@pytest.mark.parametrize(("head", "tail"), [(V, 0), (V, 9), (10 * V, 9)])
def test_with_every_class_in_the_head_it_is_the_full_softmax(head: int, tail: int) -> None:
    layer, full, hidden = layer_of(head=head, tail=tail), FullSoftmax(D, V, dtype=torch.float64), hidden_of()
    full.load_state_dict(layer.state_dict())
    ours, truth = layer(hidden, TARGET, reduction="none"), full(hidden, TARGET, reduction="none")
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(ours.sum(), [hidden, *layer.parameters()])
    expected = torch.autograd.grad(truth.sum(), [hidden, *full.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.to_dense(), b, rtol=1e-10, atol=1e-12)


# --- the estimate of Z ---

DRAWS, LIMIT = 2000, 4.5  # LIMIT in standard errors: one false alarm in 150,000, for each of three rows


def partitions(layer: PartialSoftmax, hidden: Tensor, target: Tensor) -> Tensor:
    """Return estimates (DRAWS, N) of Z, one per draw of the tail."""
    torch.manual_seed(11)
    with torch.no_grad():
        logit = layer.target_log_prob(hidden, target) + layer.log_partition(hidden)
        return torch.stack([(layer(hidden, target, reduction="none") + logit).exp() for _ in range(DRAWS)])


def standard_errors(estimates: Tensor, truth: Tensor) -> Tensor:
    return (estimates.mean(0) - truth).abs() / (estimates.std(0) / len(estimates) ** 0.5)


@pytest.mark.parametrize("heads", [None, [[3, 7, 9], [5, -1, -1], [7, 30, -1]]], ids=["exact", "found"])
def test_the_estimate_of_z_is_unbiased(heads: list[list[int]] | None) -> None:
    layer = layer_of(head=3, tail=16)
    if heads is not None:
        layer.index = Found(heads)  # type: ignore[assignment]
    hidden, target = 0.3 * hidden_of(3).detach(), torch.tensor([0, V - 1, 7])
    estimates, truth = partitions(layer, hidden, target), layer.log_partition(hidden).exp()
    assert (standard_errors(estimates, truth) < LIMIT).all()
    # The test detects similar wrong weights: (V - h) / m, and about (V + h) / m, with the head h counted twice.
    logits = (hidden @ layer.weight.t() + layer.bias).detach()
    for row, logit in enumerate(logits):
        head = {int(target[row]), *(best(layer, hidden[row].numpy(), 3) if heads is None else heads[row])} - {-1}
        in_head = logit[sorted(head)].exp().sum()
        for factor in ((V - len(head)) / V, V / (V - len(head))):
            wrong = in_head + (estimates[:, row : row + 1] - in_head) * factor
            assert standard_errors(wrong, truth[row]) > LIMIT


def test_gradient_nears_the_full_softmax_as_the_head_grows() -> None:
    """Uses a softmax as after training, in which most classes have almost no mass."""
    num_classes, rows = 300, 8
    hidden, target = hidden_of(rows), torch.arange(rows)
    errors = []
    for head in (1, 4, 16, 64, 256):
        layer = layer_of(num_classes, head=head, tail=20)
        terms = [full_gradients(h, *arrays(layer), row)[1] for row, h in enumerate(hidden.detach().numpy())]
        truth = torch.from_numpy(sum(terms))
        torch.manual_seed(0)
        found = [torch.autograd.grad(layer(hidden, target, reduction="sum"), layer.weight)[0] for _ in range(30)]
        distances = [float((gradient.to_dense() - truth).norm() / truth.norm()) for gradient in found]
        errors.append(float(np.mean(distances)))
    assert all(after < 0.9 * before for before, after in pairwise(errors)), errors
    assert errors[0] > 0.2 and errors[-1] < 0.01, errors


def test_gradients_touch_head_tail_and_target_alone() -> None:
    layer = layer_of(1000, head=3, tail=5)
    layer(hidden_of(), TARGET).backward()
    assert layer.weight.grad is not None
    touched = layer.weight.grad.coalesce().indices()[0]
    assert len(touched) <= 3 * N + 5 + N
    assert set(TARGET.tolist()) <= set(touched.tolist())


def test_compiled_backward_draws_what_forward_drew() -> None:
    torch.compiler.reset()
    layer, hidden = layer_of(head=2, tail=6), hidden_of()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")

    def loss(given: Tensor) -> Tensor:
        torch.manual_seed(5)
        return compiled(given, TARGET, reduction="sum")

    (found,) = torch.autograd.grad(loss(hidden), hidden)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        slope = (loss(hidden + 1e-6 * direction) - loss(hidden - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close((found * direction).sum(), slope, rtol=1e-6, atol=1e-8)
    torch.manual_seed(6)
    other = compiled(hidden, TARGET, reduction="sum")
    assert abs(float((other - loss(hidden)).detach())) > 1e-3  # another seed draws another tail


# --- the search ---


@pytest.mark.parametrize("block_size", [1, 7, V, 1000])
@pytest.mark.parametrize("k", [1, 9, V])
def test_blocked_search_is_exact(k: int, block_size: int) -> None:
    layer, hidden = layer_of(), hidden_of()
    values, found = linear_topk([Part(hidden, layer.weight, layer.bias)], k, block_size, normalized=False)
    logits = hidden @ layer.weight.t() + layer.bias
    torch.testing.assert_close(values, logits.gather(1, found))
    for row, h in zip(found.tolist(), hidden.detach().numpy(), strict=True):
        assert sorted(row) == sorted(best(layer, h, k))


def test_never_holds_all_logits() -> None:
    layer, hidden = PartialSoftmax(D, 20_000, head=10, tail=50, block_size=500), hidden_of(400).float()
    with LargestTensor() as mode:
        layer(hidden, torch.randint(20_000, (400,))).backward()
    assert mode.largest <= 400 * 510


def test_flops_are_those_that_are_counted() -> None:
    layer, hidden = layer_of(head=3, tail=8), hidden_of()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(hidden, TARGET)  # products with the head are embedding bags, which torch does not count
    assert counter.get_total_flops() == N * 2 * D * (V + 8)
    assert layer.flops_per_token() == 2 * D * (V + 3 * (3 + 1 + 8))
    assert layer.flops_per_token(train=False) == 2 * D * V


# --- the index ---


def test_an_index_that_probes_every_list_finds_what_the_search_finds() -> None:
    layer, hidden = layer_of(500, head=9, tail=20), hidden_of().detach()
    index = ClassIndex(lists=12, probes=12)
    found = index.search(hidden, layer.weight, layer.bias, 9)
    for row, h in zip(found.tolist(), hidden.numpy(), strict=True):
        assert sorted(row) == sorted(best(layer, h, 9))
    assert index.num_compared(500) == 512
    assert ClassIndex(lists=10, probes=2).num_compared(500) == 110


def test_an_index_of_few_lists_finds_much_and_never_a_class_twice() -> None:
    """Uses a table of 20 clusters, a structure like that after training."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, D))
    table = torch.from_numpy(np.repeat(centres, 50, 0) + 0.2 * generator.normal(size=(1000, D))).float()
    hidden = torch.from_numpy(centres[:8]).float()
    found = ClassIndex(lists=20, probes=4).search(hidden, table, None, 30)
    truth = (hidden @ table.t()).topk(30).indices
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    assert np.mean(shared) > 24
    assert all(len({c for c in row if c >= 0}) == sum(c >= 0 for c in row) for row in found.tolist())


def test_an_index_is_rebuilt_on_schedule_and_with_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = ClassIndex._build
    monkeypatch.setattr(ClassIndex, "_build", lambda self, table: built.append(len(table)) or build(self, table))
    layer, hidden = layer_of(head=3, index=ClassIndex(rebuild_every=3)), hidden_of()
    seen = []
    for _ in range(7):
        layer(hidden, TARGET)  # without a backward pass this does not count as a step
        layer(hidden, TARGET).backward()
        seen.append(len(built))
    assert seen == [1, 1, 1, 2, 2, 2, 3]
    layer.load_state_dict(layer.state_dict())
    layer(hidden, TARGET)
    layer.reset_parameters()
    layer(hidden, TARGET)
    layer.tie_weights(torch.nn.Embedding(V, D, dtype=torch.float64))
    layer(hidden, TARGET)
    assert len(built) == 6
    copy.deepcopy(layer)(hidden, TARGET)
    assert len(built) == 7
    layer(hidden, TARGET)
    assert len(built) == 7


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vastmax.layers.partial.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'vastmax\[index\]'"):
        PartialSoftmax(D, V, index=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": 0}, "head is 0: give a whole number of 1 or more"),
        ({"tail": -1}, "tail is -1"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PartialSoftmax(D, V, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rebuild_every", "probes", "lists"])
def test_bad_options_of_the_index(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0: give a whole number of 1 or more"):
        ClassIndex(**{name: 0})
