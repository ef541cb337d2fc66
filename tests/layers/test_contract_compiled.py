"""The contract of every output layer, continued: compiled, on another device, and at a million classes."""

import copy
import gc

import pytest
import torch
from torch import Tensor

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V, batch, every_exact, every_layer, every_plain, gradients, loss_of, sharpened
from vastmax.layers import build


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case.label else [], id=case.id) for case in CASES],
)
def test_compiles_whole(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for shape in [(2, 5)] if case.label else [(6,), (2, 5)]:  # the second shape compiles with a dynamic number of rows
        hidden, target = batch(shape)
        target.view(-1)[0] = -100
        eager, other = loss_of(layer, hidden, target), loss_of(compiled, hidden, target)
        assert other.isfinite() and other.dtype == eager.dtype
        if case.kind == "exact":
            torch.testing.assert_close(other, eager)
            wanted, found = gradients(layer, hidden, eager), gradients(layer, hidden, other)
            for name in wanted:
                torch.testing.assert_close(found[name], wanted[name], msg=name)
        other = loss_of(compiled, hidden, target)
        layer.zero_grad()
        other.backward()
        sparse = {name for name, p in layer.named_parameters() if p.grad is not None and p.grad.is_sparse}
        assert sparse == set(layer.sparse_parameters)
    target = target.detach().clone()
    target.view(-1)[1] = V
    with pytest.raises(RuntimeError, match=f"give class ids from 0 to {V - 1}"):
        compiled(hidden, target)


OF_THE_BATCH = [case for case in CASES if case.options.get("in_batch") or case.name == "target-sampling"]


@pytest.mark.parametrize("case", OF_THE_BATCH, ids=lambda case: case.id)
def test_ignored_rows_are_no_other_rows_samples(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden, target = batch((6,))
    target[[1, 4, 5]] = -100
    kept = target >= 0
    wanted = gradients(layer, hidden, layer(hidden[kept], target[kept]))
    for call in (layer, compiled):
        loss = call(hidden, target)
        torch.testing.assert_close(loss, layer(hidden[kept], target[kept]))
        for name, found in gradients(layer, hidden, loss).items():
            torch.testing.assert_close(found, wanted[name], msg=name)
    assert compiled(hidden, torch.full_like(target, -100), reduction="sum") == 0


DRAWING = [
    case for case in CASES if case.kind != "exact" and case.name != "adaptive-importance"
]  # excluded because its draws change as it adapts


@pytest.mark.parametrize("case", DRAWING, ids=lambda case: case.id)
def test_the_operators_gradient_is_of_the_samples_that_its_loss_is_of(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((6,))
    parameters, number = list(layer.parameters()), layer._opaque_number
    sparse = [name in layer.sparse_parameters for name, _ in layer.named_parameters()]
    rows = hidden, target, parameters, None, None, None
    found = torch.ops.vastmax.loss(*rows, number, torch.tensor(11), None, sparse)
    found_gradients = gradients(layer, hidden, found.sum())
    torch.manual_seed(11)
    wanted = layer(hidden, target, reduction="none")
    torch.testing.assert_close(found, wanted)
    for name, gradient in gradients(layer, hidden, wanted.sum()).items():
        torch.testing.assert_close(found_gradients[name], gradient, msg=name)


@pytest.mark.parametrize("name", ["hierarchical", "adaptive", "sampled", "full"])
def test_a_dozen_heads_are_compiled_in_one_program(name: str) -> None:
    """More heads than the compiler's limit of specialisations: equal heads share a graph, each with its own loss."""
    torch.compiler.reset()
    hidden, target = batch((6,), dtype=torch.float32)
    for _ in range(12):
        layer = build(name, D, range(V, 0, -1))
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        found = loss_of(compiled, hidden, target)
        assert found.isfinite()
        if layer.kind == "exact":
            torch.testing.assert_close(found, loss_of(layer, hidden, target))


@every_plain
def test_compiles_under_autocast(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden, target = batch((32,), dtype=torch.bfloat16)  # as returned by a linear layer under autocast
    with torch.autocast("cpu", torch.bfloat16):
        eager, other = loss_of(layer, hidden, target), loss_of(compiled, hidden, target)
    assert other.dtype == eager.dtype == torch.float32
    if case.kind == "exact":
        torch.testing.assert_close(other, eager)
    wanted, found = gradients(layer, hidden, eager), gradients(layer, hidden, other)
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype, name
        if case.kind == "exact":
            torch.testing.assert_close(found[name], wanted[name], rtol=0.02, atol=1e-3, msg=name)


@every_exact
def test_compiled_code_uses_the_parameters_that_it_is_handed(case: LayerCase) -> None:
    torch.compiler.reset()
    layer, twice = case.build(D, V), case.build(D, V)
    handed = {name: (2 * p).detach().requires_grad_() for name, p in layer.named_parameters()}
    twice.load_state_dict({**twice.state_dict(), **handed})
    hidden, target = batch((6,))
    expected = twice(hidden, target)
    wanted = torch.autograd.grad(expected, list(twice.parameters()), materialize_grads=True)

    def call(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, parameters, (hidden, target))

    for function in (call, torch.compile(call, fullgraph=True, backend="aot_eager")):
        loss = function(handed)
        torch.testing.assert_close(loss, expected)
        found = torch.autograd.grad(loss, list(handed.values()), materialize_grads=True)
        for name, a, b in zip(handed, found, wanted, strict=True):
            torch.testing.assert_close(a.to_dense(), b.to_dense(), msg=name)


@every_plain
def test_compiles_with_inductor(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    hidden, target = batch((6,), dtype=torch.float32)
    loss = loss_of(torch.compile(layer, fullgraph=True), hidden, target)
    if case.kind == "exact":
        eager = layer(hidden, target)
        torch.testing.assert_close(loss, eager)
        wanted, found = gradients(layer, hidden, eager), gradients(layer, hidden, loss)
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_layer
def test_cuda(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    there = copy.deepcopy(layer).cuda()
    hidden, target = batch((2, 4))
    target[0, 0] = -100
    moved = hidden.detach().cuda().requires_grad_()
    torch.testing.assert_close(there.log_prob(moved).cpu(), layer.log_prob(hidden))
    kept = target.clamp(min=0)
    torch.testing.assert_close(there.target_log_prob(moved, kept.cuda()).cpu(), layer.target_log_prob(hidden, kept))
    assert torch.equal(there.topk(moved, 3)[1].cpu(), layer.topk(hidden, 3)[1])
    assert there.sample(moved, 2).is_cuda
    loss = loss_of(there, moved, target.cuda())
    assert loss.isfinite()
    if case.kind == "exact":
        torch.testing.assert_close(loss.cpu(), layer(hidden, target))
        wanted, found = gradients(layer, hidden, layer(hidden, target)), gradients(there, moved, loss)
        for name in wanted:
            torch.testing.assert_close(found[name].cpu(), wanted[name], msg=name)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case.name == "cnn" else [], id=case.id)
        for case in CASES
        if case.big
    ],
)
def test_a_million_classes(case: LayerCase) -> None:
    layer = case.build(4, 10**6, dtype=torch.float32)
    hidden = torch.randn(3, 4, requires_grad=True)
    target = torch.tensor([0, 10**6 - 1, 123_456])
    loss = loss_of(layer, hidden, target)
    loss.backward()
    assert loss.isfinite() and hidden.grad is not None and hidden.grad.isfinite().all()
    log_prob = layer.log_prob(hidden)
    torch.testing.assert_close(
        log_prob.double().exp().sum(-1), torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(layer.target_log_prob(hidden, target), log_prob[range(3), target], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.topk(hidden, 5)[0], log_prob.topk(5).values, rtol=1e-4, atol=1e-4)


def test_a_layer_that_is_gone_before_its_backward_is_one_sentence() -> None:
    torch.compiler.reset()
    step = torch.compile(lambda layer, *rows: layer(*rows), fullgraph=True, backend="aot_eager")
    layer = build("hierarchical", D, range(1, V + 1), dtype=torch.float64)
    loss = step(layer, *batch())
    del layer
    gc.collect()
    with pytest.raises(RuntimeError, match="the layer of a compiled loss is gone: keep it until backward has run"):
        loss.backward()
