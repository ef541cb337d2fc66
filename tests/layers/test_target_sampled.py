"""Target sampling: its formula on the candidates, its limit with every class, and the rows its gradient touches."""

import copy
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.layers.held_out import TARGET, UPSTREAM, D, N, V, held_out, hidden_of, spread
from tests.layers.watching import LargestTensor
from tests.oracles import gradients_of, target_partitions, target_sampled_loss
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, TargetSampledSoftmax, inclusion, partitions

SHARE = np.random.default_rng(0).uniform(0.01, 1, V)


def layer_of(
    num_classes: int = V, *, correct_inclusion: bool = False, dtype: torch.dtype = torch.float64, **options
) -> TargetSampledSoftmax:
    layer = TargetSampledSoftmax(D, num_classes, correct_inclusion=correct_inclusion, dtype=dtype, **options)
    spread(layer)
    return layer


@pytest.mark.numerics
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize(("bias", "corrected"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(
    ("candidates", "common"),
    [(None, None), ([4, 7, 2, 4], None), (None, [20, 3]), ([12, 3, 21], [3, 20])],
)
def test_loss_and_gradients_are_those_of_the_formula(
    candidates: list[int] | None,
    common: list[int] | None,
    bias: bool,
    corrected: bool,
    block_size: int | None,
    sparse: bool,
) -> None:
    options = {"common": common, "bias": bias, "block_size": block_size, "sparse": sparse}
    layer, hidden = layer_of(correct_inclusion=corrected, **options), hidden_of()
    layer.set_inclusion(SHARE)
    layer.set_candidates(candidates)
    share = [1.0 if w in (common or []) else each for w, each in enumerate(SHARE)] if corrected else None
    loss = layer(hidden, TARGET, reduction="none")
    found = torch.autograd.grad(loss, [hidden, *layer.parameters()], UPSTREAM)
    expected = [np.zeros(tuple(part.shape)) for part in found]
    arrays = [parameter.detach().numpy() for parameter in layer.parameters()]

    def truth_of(target: int, h, weight, bias=None):
        return target_sampled_loss(h, weight, np.zeros(V) if bias is None else bias, target, among, share)

    among = [*(candidates or []), *(common or []), *TARGET.tolist()]  # other rows' targets are candidates
    for i, (h, t) in enumerate(zip(hidden.detach().numpy(), TARGET.tolist(), strict=True)):
        assert loss[i].item() == pytest.approx(float(truth_of(t, h, *arrays)), rel=1e-12)
        terms = gradients_of(partial(truth_of, t), h, *arrays)
        expected[0][i] = float(UPSTREAM[i]) * terms[0]
        for total, term in zip(expected[1:], terms[1:], strict=True):
            total += float(UPSTREAM[i]) * term
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.to_dense(), torch.from_numpy(truth))
    assert all(gradient.is_sparse == sparse for gradient in found[1:])


@pytest.mark.numerics
@pytest.mark.parametrize("by", ["candidates", "common"])
def test_with_every_class_it_is_the_full_softmax(by: str) -> None:
    every = torch.randperm(V)
    layer, full, hidden = layer_of(common=every if by == "common" else None), FullSoftmax(D, V).double(), hidden_of()
    if by == "candidates":
        layer.set_candidates(every)
    full.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "common"})
    ours, truth = layer(hidden, TARGET, reduction="none"), full(hidden, TARGET, reduction="none")
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(ours, [hidden, *layer.parameters()], UPSTREAM)
    expected = torch.autograd.grad(truth, [hidden, *full.parameters()], UPSTREAM)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.to_dense(), b, rtol=1e-10, atol=1e-12)


def test_gradient_nears_the_full_softmax_as_candidates_grow() -> None:
    num_classes, hidden = 300, hidden_of()
    layer, full = layer_of(num_classes), FullSoftmax(D, num_classes, dtype=torch.float64)
    full.load_state_dict(layer.state_dict())
    (truth,) = torch.autograd.grad(full(hidden, TARGET), full.weight)
    errors = []
    for number in (0, 20, 80, 200, 290):
        layer.set_candidates(torch.randperm(num_classes, generator=torch.Generator().manual_seed(0))[:number])
        (found,) = torch.autograd.grad(layer(hidden, TARGET), layer.weight)
        errors.append(float((found.to_dense() - truth).norm() / truth.norm()))
    assert all(after < before for before, after in pairwise(errors)), errors
    assert errors[0] > 0.3 and errors[-1] < 0.05, errors


def test_gradients_touch_candidates_and_targets_alone() -> None:
    layer = layer_of(1000, common=[500, 7])
    layer.set_candidates(np.array([3, 999], np.int32))
    layer(hidden_of(), TARGET).backward()
    assert layer.weight.grad is not None and layer.bias is not None and layer.bias.grad is not None
    for gradient in (layer.weight.grad, layer.bias.grad):
        assert gradient.coalesce().indices()[0].tolist() == sorted({3, 999, 500, 7, *TARGET.tolist()})


def test_a_partition_at_a_time() -> None:
    """The candidates of a partition include all of its targets, so a step uses only them."""
    targets = torch.randint(V, (200,), generator=torch.Generator().manual_seed(0))
    layer, hidden = layer_of(), hidden_of(200)
    for partition in partitions(targets, 6):
        layer.set_candidates(partition.candidates)
        span = slice(partition.start, partition.stop)
        whole = layer(hidden[span], targets[span], reduction="none")
        alone = torch.cat(
            [layer(hidden[i : i + 1], targets[i : i + 1], reduction="none") for i in range(*span.indices(200))]
        )
        torch.testing.assert_close(whole, alone)
    layer.set_candidates(None)
    assert layer.candidates is None and (layer(hidden[:1], targets[:1], reduction="none") == 0).all()


def test_common_classes_are_the_most_frequent() -> None:
    layer = TargetSampledSoftmax.from_vocabulary(D, [1, 9, 3, 9, 0], num_common=3)
    assert layer.common is not None and layer.common.tolist() == [1, 2, 3]
    assert TargetSampledSoftmax.from_vocabulary(D, [1, 9, 3], num_common=50).common.tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert TargetSampledSoftmax.from_vocabulary(D, [1, 9, 3]).common is None
    with pytest.raises(InputError, match="num_common is -1"):
        TargetSampledSoftmax.from_vocabulary(D, [1, 9, 3], num_common=-1)


def test_candidates_are_no_part_of_the_state_and_common_classes_are() -> None:
    layer, other = layer_of(common=[4, 2], correct_inclusion=True), layer_of(common=[0, 1])
    layer.set_inclusion(SHARE)
    layer.set_candidates([9, 9, 5])
    assert layer.candidates is not None and layer.candidates.tolist() == [5, 9]
    assert set(layer.state_dict()) == {"weight", "bias", "common"}
    other.load_state_dict(layer.state_dict())
    assert other.common is not None and other.common.tolist() == [2, 4] and other.candidates is None
    assert copy.deepcopy(layer).candidates.tolist() == [5, 9]  # type: ignore[union-attr]
    torch.testing.assert_close(copy.deepcopy(layer).log_inclusion, torch.from_numpy(SHARE).log())
    assert repr(layer).endswith("num_classes=23, correct_inclusion=True, common=2, candidates=2)")
    layer.reset_parameters()
    assert layer.candidates is None and layer.log_inclusion is None
    assert layer.common is not None and layer.common.tolist() == [2, 4]


def test_a_shortlist_is_normalised_alone() -> None:
    layer, hidden = layer_of(), hidden_of(6).view(2, 3, D)
    shortlist = [7, 0, V - 1]
    found, exact = layer.shortlist_log_prob(hidden, shortlist), layer.log_prob(hidden)[..., shortlist]
    assert found.shape == (2, 3, 3)
    torch.testing.assert_close(found, exact - exact.logsumexp(-1, keepdim=True))
    every = layer.shortlist_log_prob(hidden, torch.arange(V))
    torch.testing.assert_close(every, layer.log_prob(hidden))
    for ids in ([], [1, 2, 1]):
        with pytest.raises(InputError, match="one class or more, each once"):
            layer.shortlist_log_prob(hidden, ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, V], f"contain {V}: give class ids from 0 to {V - 1}"),
        ([-1], "contain -1"),
        ([0.5], "give class ids, an array of whole numbers"),
        ([True], "give class ids, an array of whole numbers"),
        ([[1, 2]], "of one dimension"),
        (3, "is 3: give class ids"),
    ],
)
def test_bad_ids(ids, message: str) -> None:
    layer = layer_of()
    with pytest.raises(InputError, match="candidates " + message if "contain" in message else message):
        layer.set_candidates(ids)
    with pytest.raises(InputError, match=message):
        TargetSampledSoftmax(D, V, common=ids)


@pytest.mark.parametrize(
    "share", [np.ones(V - 1), np.full(V, 1.5), np.full(V, -0.1), np.full(V, np.nan), np.ones((1, V)), "x", 0.5]
)
def test_bad_shares(share) -> None:
    layer = layer_of(correct_inclusion=True)
    with pytest.raises(InputError, match=r"share is .*: give shares from 0 to 1, one per class, \(23,\)"):
        layer.set_inclusion(share)
    assert layer.log_inclusion is None


def test_candidates_are_not_taken_without_knowing_how_often_they_are_some() -> None:
    layer = layer_of(correct_inclusion=True)
    with pytest.raises(InputError, match="without the inclusion frequencies of classes: call set_inclusion before"):
        layer.set_candidates([3])
    with pytest.raises(InputError, match="give an iterable that can be read twice, such as a list of batches"):
        layer.prepare(iter([[3]]))
    list(layer_of().prepare(iter([[3]])))  # a single pass, as published


def test_a_class_that_no_partition_holds_has_the_least_share() -> None:
    """The smallest share keeps the loss of a target not seen in training finite."""
    layer = layer_of(correct_inclusion=True)
    layer.set_inclusion([0, 0.25, *[0.5] * (V - 2)])
    assert layer.log_inclusion is not None
    assert layer.log_inclusion.exp().tolist() == pytest.approx([0.25, 0.25, *[0.5] * (V - 2)])
    layer.set_inclusion(np.zeros(V))
    assert layer.log_inclusion.tolist() == [0] * V


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_correction_is_not_rounded_to_the_parameters_dtype(dtype: torch.dtype) -> None:
    narrow, wide = layer_of(correct_inclusion=True, dtype=dtype), layer_of(correct_inclusion=True)
    with torch.no_grad():
        for layer in (narrow, wide):
            layer.weight.zero_()  # the logits consist of the correction only
            assert layer.bias is not None
            layer.bias.zero_()
            layer.set_inclusion(SHARE)
            layer.set_candidates(range(V))
    found = narrow(hidden_of().to(dtype), TARGET, reduction="none")
    torch.testing.assert_close(found.double(), wide(hidden_of(), TARGET, reduction="none"), rtol=1e-6, atol=1e-6)
    found.sum().backward()


def test_inclusion_is_the_share_of_places_whose_partition_holds_a_class() -> None:
    targets = np.random.default_rng(0).zipf(1.3, 200) % V
    cut = target_partitions(targets.tolist(), 5, -100)
    found = [sum(stop - start for start, stop, classes in cut if w in classes) / 200 for w in range(V + 1)]
    np.testing.assert_allclose(inclusion(partitions(targets, 5), V + 1), found)
    assert inclusion([], 2).tolist() == [0, 0]
    with pytest.raises(InputError, match="candidates contain 3: give class ids from 0 to 1"):
        inclusion(partitions([0, 3], 2), 2)


def test_costs_are_those_of_the_candidates() -> None:
    layer, hidden = layer_of(1000, common=[0, 1, V - 1], correct_inclusion=True), hidden_of()
    layer.set_inclusion(np.ones(1000))
    layer.set_candidates([0, 7, 12, 500])  # these and the common classes cover all targets
    with FlopCounterMode(display=False) as counter:
        layer(hidden, TARGET).backward()
    assert counter.get_total_flops() == N * layer.flops_per_token() == N * 3 * 2 * D * 6
    assert layer.flops_per_token(train=False) == 2 * D * 1000
    with LargestTensor() as mode:
        layer(hidden, TARGET)
    assert mode.largest < 1000


def test_many_candidates_never_hold_all_logits() -> None:
    layer, hidden = layer_of(3000, block_size=50), torch.randn(400, D, dtype=torch.float64, requires_grad=True)
    layer.set_candidates(range(3000))
    with LargestTensor() as mode:
        layer(hidden, torch.randint(3000, (400,))).backward()
    assert mode.largest == max(400 * 50, 3000 * D)


def test_perplexity_of_unseen_text_nears_the_full_softmax_as_partitions_grow() -> None:
    def losses(corrected: bool, *sizes: int) -> list[float]:
        options = {"correct_inclusion": corrected, "sparse": False}
        return [held_out("target-sampling", partition=size, **options).loss for size in sizes]

    full, found, published = held_out("full").loss, losses(True, 30, 100), losses(False, 30, 400)
    print(full, found, published)
    assert full + 0.15 > found[0] > found[1] and abs(found[1] - full) < 0.06
    assert published[0] > full + 0.5 and published[1] < full + 0.05


def test_compiled_code_follows_the_candidates() -> None:
    torch.compiler.reset()
    layer, hidden = layer_of(correct_inclusion=True), hidden_of()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    losses = []
    for candidates, share in ((None, None), ([3, 4], SHARE), ([3, 4, 5, 9], SHARE[::-1].copy()), (None, None)):
        layer.set_inclusion(SHARE)
        layer.set_candidates(candidates)
        layer.set_inclusion(share)
        ours, truth = compiled(hidden, TARGET), layer(hidden, TARGET)
        torch.testing.assert_close(ours, truth)
        found = torch.autograd.grad(ours, [hidden, *layer.parameters()])
        expected = torch.autograd.grad(truth, [hidden, *layer.parameters()])
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a.to_dense(), b.to_dense())
        losses.append(truth.item())
    assert losses[0] == losses[3] and len(set(losses)) == 3
