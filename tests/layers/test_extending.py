"""The example of the page "Extending" is a complete layer, as the page says."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from vastmax.layers import OutputLayer


def test_the_example_is_a_whole_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    layer: OutputLayer = import_module("cosine_softmax").CosineSoftmax(8, 50)
    hidden, target = torch.randn(3, 4, 8, requires_grad=True), torch.randint(50, (3, 4))
    layer(hidden, target, ignore_index=7, weight=torch.rand(50)).backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    torch.testing.assert_close(layer.log_prob(hidden).exp().sum(-1), torch.ones(3, 4))
    assert torch.equal(layer.topk(hidden, 5)[1], layer.log_prob(hidden).topk(5).indices)
    assert layer.sample(hidden, 6).shape == (3, 4, 6)
    scaled = layer.log_prob(3 * hidden)  # only the direction matters
    torch.testing.assert_close(scaled, layer.log_prob(hidden))
    torch.compiler.reset()
    assert torch.compile(layer, fullgraph=True, backend="aot_eager")(hidden, target).isfinite()
