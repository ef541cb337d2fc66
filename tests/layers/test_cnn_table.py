"""The cached table of a character CNN, reused while parameters are unchanged and never stale."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.layers.cnn import WORDS, layer_of, parameters_of, rows_of
from vastmax.layers import CharCNNSoftmax
from vastmax.layers.base import output_layer as output_layer_file


class Calls:
    """Counter of the blocks that ran through the network."""

    def __init__(self, layer: CharCNNSoftmax) -> None:
        self.number = 0
        layer.cnn.register_forward_hook(lambda *_: setattr(self, "number", self.number + 1))

    def __call__(self) -> int:
        found, self.number = self.number, 0
        return found


def fresh(layer: CharCNNSoftmax, hidden: Tensor) -> Tensor:
    """Return the log-probabilities of a copy, which has no cached table yet."""
    return copy.deepcopy(layer).log_prob(hidden)


def optimizer_step(kind, **options):
    def change(layer: CharCNNSoftmax) -> None:
        optimizer = kind(layer.parameters(), lr=0.1, **options)
        layer(rows_of(3).to(layer.correction.dtype), torch.tensor([0, 1, 2])).backward()
        optimizer.step()

    return change


@torch.no_grad()
def under_inference_mode(layer: CharCNNSoftmax) -> None:
    with torch.inference_mode():
        layer.correction.add_(0.1)


def swap_data_back_and_forth(layer: CharCNNSoftmax) -> None:
    """Replace the parameters' data repeatedly, so that new values may reuse the address of the freed old ones."""
    for _ in range(4):
        for parameter in layer.parameters():
            parameter.data = parameter.data * 1.1


CHANGES = {
    "sgd": optimizer_step(torch.optim.SGD),
    "adam": optimizer_step(torch.optim.Adam, foreach=True),
    "fused": optimizer_step(torch.optim.AdamW, fused=True),
    "one number": lambda layer: nn.init.constant_(layer.cnn.characters[ord("s")][:1], 3.0),
    "correction": lambda layer: nn.init.normal_(layer.correction),
    "lift": lambda layer: nn.init.normal_(layer.correction_lift),
    "inference mode": under_inference_mode,
    "load": lambda layer: layer.load_state_dict(layer_of(seed=5).state_dict()),
    "assign": lambda layer: layer.load_state_dict(layer_of(seed=5).state_dict(), assign=True),
    "words": lambda layer: layer.load_state_dict({**layer.state_dict(), "symbols": layer.symbols.flip(0).clone()}),
    "data": swap_data_back_and_forth,
    "vector": lambda layer: nn.utils.vector_to_parameters(
        torch.randn(layer.num_parameters).double(), layer.parameters()
    ),
    "replaced": lambda layer: setattr(layer, "correction", nn.Parameter(torch.randn_like(layer.correction))),
    "reset": lambda layer: layer.reset_parameters(),
    "copied through data": lambda layer: (layer.train(), layer.correction.data.mul_(2), layer.eval()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
def test_no_change_leaves_an_old_table(change, grad: bool) -> None:
    layer, hidden = layer_of().eval(), rows_of(4)
    with torch.set_grad_enabled(grad):
        before = layer.log_prob(hidden).detach()
        assert torch.equal(layer.log_prob(hidden), before)
        with torch.enable_grad():
            change(layer)
        after = layer.log_prob(hidden).detach()
        assert not torch.equal(after, before)  # the table is in use, otherwise the next line checks nothing
        torch.testing.assert_close(after, fresh(layer, hidden), rtol=1e-12, atol=1e-12)
        assert torch.equal(
            layer.target_log_prob(hidden, torch.arange(4)), -layer(hidden, torch.arange(4), reduction="none")
        )
        torch.testing.assert_close(layer.target_log_prob(hidden, torch.arange(4)), after.diagonal())


def test_the_table_is_kept_while_nothing_changes() -> None:
    layer, hidden, target = layer_of().eval(), rows_of(4), torch.arange(4)
    calls = Calls(layer)
    with torch.no_grad():
        layer.log_prob(hidden)
        assert calls() > 0
        for _ in range(2):
            layer.log_prob(hidden), layer.topk(hidden, 2), layer.target_log_prob(hidden, target), layer.eval()
            layer.log_partition(hidden), layer.sample(hidden, 2), layer(hidden, target)
        with torch.inference_mode():
            layer.log_prob(hidden)
        assert calls() == 0
    layer(hidden, target).backward()
    blocks = calls()
    layer(hidden, target)
    assert calls() == blocks > 0  # a backward pass may have been followed by a step
    layer.train()
    for _ in range(2):
        layer(hidden, target)
        assert calls() == blocks


def test_one_table_serves_all_chunks_in_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer_file, "_CHUNK", 2 * len(WORDS))
    layer, hidden = layer_of(), rows_of(7)
    calls = Calls(layer)
    values, classes = layer.topk(hidden, 3)
    blocks = calls()
    assert layer._words._table is None
    expected = layer.log_prob(hidden).topk(3)
    assert calls() == blocks
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(classes, expected.indices)


def test_a_look_between_backward_and_a_step_that_nothing_counts() -> None:
    layer, hidden, target = layer_of(), rows_of(4), torch.arange(4)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    layer(hidden, target).backward()
    with torch.no_grad():
        before = layer.log_prob(hidden)
    versions = [p._version for p in layer.parameters()]
    optimizer.step()
    assert versions == [p._version for p in layer.parameters()]  # otherwise this test checks nothing
    assert (layer.log_prob(hidden) - before).abs().max() > 0.01
    torch.testing.assert_close(layer.log_prob(hidden), fresh(layer, hidden))


def test_gradients_flow_through_a_kept_table() -> None:
    layer, hidden, target = layer_of().eval(), rows_of(4), torch.arange(4)
    with torch.inference_mode():
        layer.log_prob(hidden)  # a table cached with gradients disabled
    found = torch.autograd.grad(layer(hidden, target), list(layer.parameters()))
    expected = torch.autograd.grad(copy.deepcopy(layer)(hidden, target), hidden)
    torch.testing.assert_close(torch.autograd.grad(layer(hidden, target), hidden), expected)
    other = copy.deepcopy(layer).train()
    for gradient, wanted in zip(
        found, torch.autograd.grad(other(hidden, target), list(other.parameters())), strict=True
    ):
        assert torch.equal(gradient, wanted)


def test_a_step_between_forward_and_backward_is_noticed() -> None:
    layer, hidden = layer_of(), rows_of(4)
    loss = layer(hidden, torch.arange(4))
    with torch.no_grad():
        layer.correction_lift.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_dtypes_have_tables_of_their_own() -> None:
    layer, hidden = layer_of(dtype=torch.float32).eval(), rows_of(4).float().detach()
    with torch.no_grad():
        plain = layer.log_prob(hidden)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = layer.log_prob(hidden)
        assert not torch.equal(plain, rounded)
        assert torch.equal(layer.log_prob(hidden), plain)
        doubled = layer.double().log_prob(hidden.double())
        assert doubled.dtype == torch.float64
        torch.testing.assert_close(doubled.float(), plain, rtol=1e-4, atol=1e-4)


def test_parameters_made_in_inference_mode_are_read_every_time() -> None:
    with torch.inference_mode():
        layer, hidden = layer_of().eval(), rows_of(3)
        before = layer.log_prob(hidden)
        layer.correction.mul_(3)
        assert not torch.equal(layer.log_prob(hidden), before)


def test_copies_and_states_leave_the_table_behind() -> None:
    layer, hidden = layer_of().eval(), rows_of(3)
    layer.log_prob(hidden)
    assert copy.deepcopy(layer)._words._table is None
    assert set(layer.state_dict()) == {*parameters_of(layer), "symbols"}
    assert layer.state_dict()["symbols"].dtype == torch.uint8
