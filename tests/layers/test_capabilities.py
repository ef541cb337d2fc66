"""What is asked of any layer beyond the contract: by its capabilities, never by its class."""

from inspect import signature
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from tests.cases import CASES, LayerCase, shuffled_zipf
from tests.layers.contract import D, V, batch, every_layer
from vastmax.errors import InputError
from vastmax.layers import (
    LAYERS,
    HierarchicalSoftmax,
    LayerSpec,
    OutputLayer,
    TargetSampledSoftmax,
    TrainingText,
    build,
    partitions,
)
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
    ("hierarchical", {"tree": "balanced-random", "bias": False}),
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
    torch.manual_seed(1)
    loss = layer(hidden, target, context=target)
    torch.manual_seed(1)
    assert torch.equal(loss, again(hidden, target, context=target))
    assert layer.structure_statistics(COUNTS) == again.structure_statistics(COUNTS)


def test_no_vectors_are_trained_for_a_layer_that_has_a_state() -> None:
    spec = LayerSpec("hierarchical", {"tree": "clustered"})
    states = [spec.build_for(D, text(seed)).state_dict() for seed in (0, 1)]
    assert not torch.equal(states[0]["tree_children"], states[1]["tree_children"])  # or the test is blind
    again = spec.rebuild(D, WORDS, states[1])
    assert torch.equal(again.state_dict()["tree_children"], states[1]["tree_children"])


@pytest.mark.parametrize("name", ["hierarchical", "class-based", "adaptive", "adaptive-importance"])
def test_a_state_of_another_layer_is_told(name: str) -> None:
    with pytest.raises(InputError, match="the state is not that of this layer: it lacks"):
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
    target = torch.as_tensor(np.argsort(-shuffled_zipf(5000))[:3].copy())  # frequent: rare ones' clusters cost
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
def test_candidates_are_those_of_the_partition_in_which_a_batch_begins(tau: int, size: int) -> None:
    stream = np.random.default_rng(tau).zipf(1.3, 200) % V
    batches = np.array_split(stream, -(-200 // size))
    layer = TargetSampledSoftmax(D, V)
    cut, place = list(partitions(stream, tau)), 0
    prepared = layer.prepare(iter(batches), num_candidates=tau)
    for each in batches:
        next(prepared)
        partition = next(part for part in cut if part.start <= place < part.stop)
        assert layer.candidates is not None
        assert layer.candidates.tolist() == partition.candidates.tolist()
        place += each.size
    assert next(prepared, "no more") == "no more"
    late = TargetSampledSoftmax(D, V)
    for _ in islice(late.prepare(iter(batches), num_candidates=tau), 3):
        pass
    assert late.candidates is not None


def test_other_layers_look_at_no_target() -> None:
    def targets() -> Any:
        raise AssertionError("asked for")
        yield

    prepared = build("full", D, COUNTS).prepare(targets())
    assert [next(prepared) for _ in range(3)] == [None] * 3


# --- spreading over machines ---


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_tensor_is_cut_or_replicated(case: LayerCase) -> None:
    layer = case.build(D, 101)
    plan = layer.shard_plan()
    assert plan is not None
    tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
    assert plan.rows.keys() | plan.replicated == tensors.keys() and not plan.rows.keys() & plan.replicated
    assert plan.rows or case.name == "adaptive"  # which may be all head
    covered = np.zeros(101, int)
    for name, (of, first) in plan.rows.items():
        rows = len(tensors[name])
        if of == "node":
            assert isinstance(layer, HierarchicalSoftmax) and (first, rows) == (0, layer.tree.num_inner_nodes)
        else:
            assert first + rows <= 101
            covered[first : first + rows] += "weight" in name or name == "correction"
    if case.name == "adaptive":
        assert plan.together is not None
        head = int((plan.together == 0).sum())
        assert not covered[:head].any() and (covered[head:] == 1).all()
    elif case.name != "hierarchical":
        assert (covered == 1).all()
    if plan.together is not None:
        assert plan.together.shape == (101,)
    kinds = {"hierarchical": "owner", "class-based": "owner", "adaptive": "owner"}
    kinds |= dict.fromkeys(("full", "self-normalized", "infrequent-normalized", "differentiated", "cnn"), "log-sum-exp")
    assert plan.combine == kinds.get(case.name, "samples")


def test_a_layer_that_says_nothing_has_no_plan() -> None:
    assert OutputLayer.shard_plan(build("full", D, COUNTS)) is None
