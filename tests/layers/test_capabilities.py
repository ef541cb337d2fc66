"""Optional capabilities of layers beyond the contract, queried by capability and never by class."""

from inspect import signature
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from tests.cases import CASES, LayerCase, shuffled_zipf
from tests.layers.contract import D, V, batch, every_layer, loss_of
from vastmax.errors import InputError
from vastmax.layers import (
    LAYERS,
    LayerSpec,
    OutputLayer,
    TargetSampledSoftmax,
    TrainingText,
    build,
)
from vastmax.ops import Part, linear_cross_entropy
from vastmax.vocabulary import Vocabulary

COUNTS = np.arange(V, 0, -1)
WORDS = Vocabulary([f"w{i}" for i in range(V)], COUNTS)


def text(seed: int = 0) -> TrainingText:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(V, size=200)
    return TrainingText(WORDS, tokens, lambda name: generator.normal(size=(V, 3)), seed)


SPECS = [
    *((name, {}) for name in LAYERS),
    ("hierarchical", {"tree": "clustered", "epsilon": 0.3}),
    ("hierarchical", {"tree": "balanced-random", "bias": False, "sparse": False}),
    ("class-based", {"classes": 4}),
    ("adaptive", {"cutoffs": [5, 11], "div_value": 2}),
    ("sampled", {"proposal": "quadratic-kernel"}),
]


@pytest.mark.parametrize(("name", "options"), SPECS)
def test_a_layer_is_rebuilt_from_its_state(name: str, options: dict[str, Any]) -> None:
    spec = LayerSpec(name, options)
    layer = spec.build_for(D, text())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    state = layer.state_dict()
    again = spec.rebuild(D, WORDS, state)
    again.load_state_dict(state)
    found = again.state_dict()
    assert list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)
    hidden, target = batch(dtype=torch.float32)
    assert torch.equal(layer.log_prob(hidden), again.log_prob(hidden))
    assert again.sparse_parameters == layer.sparse_parameters
    torch.manual_seed(1)
    loss = layer(hidden, target, context=target)
    torch.manual_seed(1)
    assert torch.equal(loss, again(hidden, target, context=target))
    assert layer.structure_statistics(COUNTS) == again.structure_statistics(COUNTS)


def test_no_vectors_are_trained_for_a_layer_that_has_a_state() -> None:
    spec = LayerSpec("hierarchical", {"tree": "clustered"})
    states = [spec.build_for(D, text(seed)).state_dict() for seed in (0, 1)]
    assert not torch.equal(states[0]["tree_children"], states[1]["tree_children"])  # otherwise the test checks nothing
    again = spec.rebuild(D, WORDS, states[1])
    assert torch.equal(again.state_dict()["tree_children"], states[1]["tree_children"])


@pytest.mark.parametrize("name", ["hierarchical", "class-based", "adaptive", "adaptive-importance"])
def test_a_state_of_another_layer_is_told(name: str) -> None:
    with pytest.raises(InputError, match="the state lacks"):
        LayerSpec(name).rebuild(D, WORDS, build("full", D, COUNTS).state_dict())


# --- tables, samples, structure ---


@every_layer
def test_an_input_embedding_shares_the_layers_parameters(case: LayerCase) -> None:
    layer = case.build(D, V)
    embedding = layer.input_embedding()
    if embedding is None:
        assert case.name in ("hierarchical", "cnn", "differentiated")
        return
    ids = torch.tensor([[0, V - 1], [3, 3]])
    assert embedding(ids).shape == (2, 2, D)
    own = {id(parameter) for parameter in layer.parameters()}
    assert {id(parameter) for parameter in embedding.parameters()} <= own


@every_layer
def test_a_layer_with_k_samples_draws_k_and_leaves_the_layer_as_it_was(case: LayerCase) -> None:
    layer = case.build(D, V)
    before = repr(layer)
    few = layer.with_samples(6)
    assert repr(layer) == before
    samples = case.name in ("partial", "sampled", "nce", "negative-sampling", "blackout", "importance")
    if not (samples or case.name == "adaptive-importance") or case.options.get("in_batch"):
        assert few is None
        return
    assert few is not None and repr(few) != before
    if case.name == "partial":
        assert (layer.with_samples(7).head, layer.with_samples(7).tail) == (3, 4)  # type: ignore[union-attr]
    if "importance" in case.name:
        assert few.effective_samples is None and few.max_samples == 6
    for bad in (0, 2.5):
        with pytest.raises(InputError, match=f"k is {bad}: give a whole number of 1 or more"):
            layer.with_samples(bad)  # type: ignore[arg-type]
    other = layer.with_samples(6)
    assert other is not None
    other.weight = torch.nn.Parameter(torch.zeros_like(layer.weight))  # type: ignore[arg-type]
    other.register_forward_hook(lambda *_: pytest.fail("the layer's own hooks are others"))
    other.eval()
    assert layer.training and bool(layer.weight.any())  # type: ignore[operator, union-attr]
    assert [*map(id, few.parameters())] == [*map(id, layer.parameters())]
    hidden, target = batch()
    report = few.sampling_report(hidden, target, repeats=2)
    assert report == {} if case.name == "partial" else report["samples"] == 6
    assert few(hidden, target).isfinite() and layer(hidden, target).isfinite()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sparse", [True, False])
def test_what_a_step_touches_is_what_the_layer_says(name: str, sparse: bool) -> None:
    if not sparse and "sparse" not in signature(LAYERS[name]).parameters:
        pytest.skip("has no such option by name")
    case = LayerCase(name, words=name == "cnn")
    layer = case.build(D, 5000, **({} if sparse else {"sparse": False}))
    hidden, _ = batch((3,))
    target = torch.as_tensor(np.argsort(-shuffled_zipf(5000))[:3].copy())  # frequent ones: rare ones touch clusters
    layer(hidden, target).backward()
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    touched = sum(
        len(each.coalesce().indices()[0]) if each.is_sparse else len(each) for each in gradients if each.dim() == 2
    )
    assert (touched > 4500) == layer.touches_all_classes


def test_statistics_of_trees_and_classes() -> None:
    assert build("full", 2, COUNTS).structure_statistics(COUNTS) is None
    tree = build("hierarchical", 2, COUNTS).structure_statistics(COUNTS)
    assert tree is not None
    assert (tree["kind"], tree["num_leaves"]) == ("huffman", V)
    assert tree["mean_bits"] == pytest.approx(build("hierarchical", 2, COUNTS).mean_path)  # type: ignore[arg-type]
    classes = build("class-based", 2, COUNTS).structure_statistics(COUNTS)
    assert classes is not None
    assert classes["kind"] == "class-based"
    clustered = LayerSpec("hierarchical", {"tree": "clustered"}).build_for(2, text()).structure_statistics(COUNTS)
    assert clustered is not None and clustered["kind"] == "clustered"


# --- looking ahead ---


@pytest.mark.parametrize("tau", [1, 3, 7, 1000])
@pytest.mark.parametrize("size", [1, 5, 40])
def test_candidates_are_those_of_the_partition_of_a_batch(tau: int, size: int) -> None:
    """A partition is the longest run of whole batches with at most τ distinct targets, found here batch by batch."""
    stream = np.random.default_rng(tau).zipf(1.3, 200) % V
    batches = np.array_split(stream, -(-200 // size))
    cut: list[list[set[int]]] = [[]]
    for each in batches:
        if cut[-1] and len(set(each).union(*cut[-1])) > tau:
            cut.append([])
        cut[-1].append(set(each))
    candidates = [sorted(set().union(*part)) for part in cut for _ in part]
    layer = TargetSampledSoftmax(D, V)
    found = []
    for _ in layer.prepare(batches, num_candidates=tau):
        assert layer.candidates is not None
        found.append(layer.candidates.tolist())
    assert found == candidates
    share = np.array([sum(each.size for each, ids in zip(batches, found, strict=True) if w in ids) for w in range(V)])
    assert layer.log_inclusion is not None
    np.testing.assert_allclose(layer.log_inclusion, np.log(np.maximum(share, share[share > 0].min()) / 200))
    late = TargetSampledSoftmax(D, V)
    for _ in islice(late.prepare(batches, num_candidates=tau), 3):
        pass
    assert late.candidates is not None and late.candidates.tolist() == found[min(2, len(found) - 1)]


def test_other_layers_look_at_no_target() -> None:
    def targets() -> Any:
        raise AssertionError("asked for")
        yield

    prepared = build("full", D, COUNTS).prepare(targets())
    assert [next(prepared) for _ in range(3)] == [None] * 3


def test_batches_without_a_target_are_prepared_too() -> None:
    for batches in ([[1, 2], []], [[]], [[], [1], [], [2], []]):
        layer = build("target-sampling", D, COUNTS)
        assert len(list(layer.prepare([np.array(each, np.int64) for each in batches]))) == len(batches)


@pytest.mark.parametrize("proposal", ["quadratic-kernel", "random-fourier"])
@pytest.mark.parametrize("assign", [False, True])
def test_a_proposal_follows_what_is_loaded(proposal: str, assign: bool) -> None:
    layer, (hidden, target) = build("sampled", D, COUNTS, proposal=proposal, num_samples=4), batch(dtype=torch.float32)
    with torch.no_grad():
        layer.weight.add_(torch.randn_like(layer.weight))  # type: ignore[operator, union-attr]
    state = layer.state_dict()
    found = build("sampled", D, COUNTS, proposal=proposal, num_samples=4, device="meta").to_empty(device="cpu")
    found.load_state_dict(state, assign=assign)
    for each in (layer, found):
        each.draw(hidden, target)  # type: ignore[operator]
    classes = torch.arange(V).expand(len(hidden), V)
    probabilities = [each.proposal.log_prob(classes, hidden) for each in (layer, found)]  # type: ignore[operator, union-attr]
    torch.testing.assert_close(*probabilities)


@pytest.mark.parametrize("wrong", [-1, V, -100])
def test_draws_for_targets_that_are_none_are_refused(wrong: int) -> None:
    with pytest.raises(InputError, match=f"target contains {wrong}: give class ids from 0 to {V - 1}"):
        build("sampled", D, COUNTS).draw(torch.zeros(2, D), torch.tensor([1, wrong]))  # type: ignore[operator]


# --- sharding over processes ---


WHOLE = {
    "target-sampling": "of one text",
    "target-sampling-common": "of one text",
    "target-sampling-dense": "of one text",
    "sampled-quadratic-kernel": "depends on the whole table",
    "sampled-random-fourier": "depends on the whole table",
    "partial-index": "without an index",
}
"""Cases that cannot be sharded, and part of their error messages."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_tensor_is_cut_or_replicated(case: LayerCase) -> None:
    layer = case.build(D, 101)
    if said := WHOLE.get(case.id):
        with pytest.raises(InputError, match=said):
            layer.shard_plan()
        return
    plan = layer.shard_plan()
    assert plan is not None and plan.cut and not plan.cut & plan.replicated
    tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
    assert plan.cut | plan.replicated == tensors.keys()
    largest = max(layer.parameters(), key=torch.Tensor.numel)
    assert any(tensors[name] is largest for name in plan.cut)


def test_log_z_is_the_log_sum_exp_of_the_ranks() -> None:
    layer, (hidden, target) = build("full", D, COUNTS, dtype=torch.float64), batch()
    weight, bias = layer.weight, layer.bias
    cuts = [(0, 11), (11, 11), (11, V)]  # one rank has no classes
    parts = [
        linear_cross_entropy([Part(hidden, weight[first:end], bias[first:end])], target - first) for first, end in cuts
    ]
    of_ranks, log_prob = (torch.stack(each) for each in zip(*parts, strict=True))
    loss = of_ranks.logsumexp(0) - (log_prob + of_ranks).amax(0)
    torch.testing.assert_close(loss, layer(hidden, target, reduction="none"))


@pytest.mark.parametrize("name", ["sampled", "nce", "negative-sampling", "blackout"])
@pytest.mark.parametrize("options", [{"num_samples": 5}, {"num_samples": 5, "shared": False}, {"in_batch": True}])
def test_a_loss_of_samples_needs_no_other_logits(name: str, options: dict[str, Any]) -> None:
    layer, (hidden, target) = build(name, D, COUNTS, **options, dtype=torch.float64), batch()
    torch.manual_seed(3)
    met = torch.cat([target, layer.draw(hidden, target).ids.flatten()])  # type: ignore[operator]
    whole = loss_of(layer, hidden, target)
    others = torch.ones(V, dtype=torch.bool).index_fill_(0, met, False)
    with torch.no_grad():
        for tensor in layer.shard_plan().cut:  # type: ignore[union-attr]
            getattr(layer, tensor)[others] = torch.nan
    assert torch.equal(loss_of(layer, hidden, target), whole)


def test_a_layer_that_says_nothing_has_no_plan() -> None:
    assert OutputLayer.shard_plan(build("full", D, COUNTS)) is None


TIED = [case for case in CASES if not case.label and hasattr(case.build(D, V), "tie_weights")]


@pytest.mark.parametrize("case", TIED, ids=lambda case: case.id)
def test_a_table_that_lookups_rewrite_is_not_tied(case: LayerCase) -> None:
    layer = case.build(D, V)
    own = layer.weight
    with pytest.raises(InputError, match=r"^the embedding to tie to has max_norm=1, which rewrites the table at "):
        layer.tie_weights(torch.nn.Embedding(V, D, max_norm=1.0, dtype=torch.float64))  # type: ignore[operator]
    assert layer.weight is own
    embedding = torch.nn.Embedding(V, D, sparse=bool(layer.sparse_parameters), dtype=torch.float64)
    layer.tie_weights(embedding)  # type: ignore[operator]
    _, target = batch()
    loss = layer(embedding(target), target)
    embedding(target + 1)  # a second lookup, between a loss and its backward pass
    loss.backward()
    assert layer.weight is embedding.weight and layer.weight.grad is not None
