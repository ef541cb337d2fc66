"""The contract of every output layer, continued: every way to restore the state gives the same layer."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tests.cases import LayerCase
from tests.layers.contract import D, V, batch, every_layer, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.layers import OutputLayer, build


def spoilt(case: LayerCase) -> OutputLayer:
    """Return a layer materialised from the meta device, its uninitialised memory filled with unusable values."""
    with torch.device("meta"):
        layer = case.build(D, V)
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*layer.parameters(), *layer.buffers()):
            tensor.fill_(float("nan") if tensor.is_floating_point() else 101)
    return layer


def replace(layer: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Replace every tensor by that of the state, as transformers' ``from_pretrained`` does."""
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        module = layer.get_submodule(path)
        kept = nn.Parameter(tensor.clone()) if leaf in module._parameters else tensor.clone()
        setattr(module, leaf, kept)


def fill(layer: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy every tensor of a state in place, as a distributed checkpoint does."""
    own = layer.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)


@pytest.mark.parametrize("restore", [replace, fill])
@every_layer
def test_a_state_is_the_layer_by_whatever_door_it_comes(case: LayerCase, restore) -> None:
    layer = sharpened(case.build(D, V))
    other = spoilt(case)
    restore(other, layer.state_dict())
    hidden, target = batch((6,))
    torch.testing.assert_close(other.log_prob(hidden), layer.log_prob(hidden), rtol=0, atol=1e-12)
    torch.testing.assert_close(other.target_log_prob(hidden, target), layer.target_log_prob(hidden, target))
    assert torch.equal(other.topk(hidden, 3)[1], layer.topk(hidden, 3)[1])
    torch.testing.assert_close(loss_of(other, hidden, target), loss_of(layer, hidden, target))


@every_layer
def test_copies_and_averages(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, _ = batch((6,))
    wanted = layer.log_prob(hidden)
    pickled = io.BytesIO()
    torch.save(layer, pickled)
    pickled.seek(0)
    others = [
        copy.deepcopy(layer),
        AveragedModel(layer).module,
        torch.load(pickled, weights_only=False),
    ]
    for other in others:
        torch.testing.assert_close(other.log_prob(hidden), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("adaptive", "ranks.order", "the state is not valid: order is"),
        ("differentiated", "ranks.order", "the state is not valid: order is"),
        ("adaptive", "ranks.rank", "rank in the state is not the inverse of order"),
        ("hierarchical", "tree_words", "the tree in the state"),
        ("hierarchical", "tree_children", "the tree in the state"),
        ("class-based", "class_of", "the state"),
        ("sampled", "proposal.table.mass", "masses in the state do not add up"),
    ],
)
def test_a_state_that_cannot_be_is_refused_when_it_is_loaded(name: str, key: str, message: str) -> None:
    counts = torch.randperm(V, generator=torch.Generator().manual_seed(0)) + 1
    layer = build(name, D, counts)
    state = layer.state_dict()
    state[key] = torch.zeros_like(state[key])
    with pytest.raises(InputError, match=message):
        build(name, D, counts).load_state_dict(state)


def test_a_state_that_cannot_be_is_refused_where_it_is_used() -> None:
    layer = build("class-based", D, range(V, 0, -1))
    layer.class_of.fill_(0)  # type: ignore[operator, union-attr]
    with pytest.raises(InputError, match="the state has 1 classes"):
        layer(*batch((3,), dtype=torch.float32))


def test_what_inference_mode_loads_is_derived_anew() -> None:
    with torch.inference_mode():
        layer = build("hierarchical", D, range(V, 0, -1), tree="balanced")
        other = sharpened(build("hierarchical", D, range(V, 0, -1), tree="balanced-random"))
        hidden, _ = batch((3,), dtype=torch.float32)
        layer.log_prob(hidden)
        layer.load_state_dict(other.state_dict())
        torch.testing.assert_close(layer.log_prob(hidden), other.log_prob(hidden))
