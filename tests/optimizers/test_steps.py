"""Optimisers: rows absent from a batch stay bit-identical; sparse and dense gradients give the same result."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.optimizers.twins import STEPS, SparseTable, Twins, every_optimizer, train
from tests.oracles import lazy_adam
from vastmax.errors import CheckpointError, InputError
from vastmax.layers import build
from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer, sparse_parameters

pytestmark = pytest.mark.numerics


@pytest.mark.parametrize("name", ["adagrad", "sgd"])
def test_sparse_gradients_give_what_dense_ones_give(name: str) -> None:
    twins = [Twins(sparse) for sparse in (True, False)]
    for twin in twins:
        train(twin, SparseAwareOptimizer(twin, name, 0.3), STEPS)
    for sparse, dense in zip(twins[0].values(), twins[1].values(), strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-6, atol=1e-7)


def test_adagrad_is_the_formula() -> None:
    """Duchi et al. 2011, with the diagonal: x -= rate * g / sqrt(sum of g² so far)."""
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adagrad", 0.3)
    value, squares = model.table.weight.detach().double().numpy().copy(), np.zeros((20, 3))
    for words in STEPS:
        optimizer.zero_grad()
        model.backward(words)
        gradient = model.table.weight.grad.to_dense().double().numpy()
        squares += gradient**2
        value -= 0.3 * gradient / (np.sqrt(squares) + 1e-10)
        optimizer.step()
    np.testing.assert_allclose(model.table.weight.detach().numpy(), value, rtol=1e-5, atol=1e-6)


@every_optimizer
def test_rows_that_no_batch_met_keep_their_bits(name: str) -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, name, 0.3)
    before = model.table.weight.detach().clone()
    train(model, optimizer, STEPS[:3])
    then = model.table.weight.detach().clone()
    optimizer.zero_grad()
    model.backward([1, 1])
    assert optimizer.clip(1e-3) > 1e-3
    assert model.table.weight.grad.is_sparse
    optimizer.step()
    after = model.table.weight.detach()
    # rows of earlier batches do not move by their accumulated state either
    assert (then != before).any(1).nonzero().flatten().tolist() == [0, 3, 5, 19]
    assert (after != then).any(1).nonzero().flatten().tolist() == [1]


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e6])
def test_clipping_is_that_of_torch(max_norm: float) -> None:
    sparse, dense = (Twins(sparse) for sparse in (True, False))
    for twin in (sparse, dense):
        twin.backward([3, 3, 3, 5], scale=2.0)
    norm = SparseAwareOptimizer(sparse).clip(max_norm)
    expected = nn.utils.clip_grad_norm_(dense.parameters(), max_norm)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    for one, other in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one.grad.to_dense(), other.grad, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_clipped_too(dtype: torch.dtype) -> None:
    layer = nn.Linear(2, 1, bias=False).to(dtype)
    layer.weight.grad = torch.tensor([[3.0, 4.0]], dtype=dtype)
    assert SparseAwareOptimizer(layer).clip(1.0) == pytest.approx(5)
    assert layer.weight.grad.flatten().tolist() == pytest.approx([0.6, 0.8], rel=1e-2)


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan, None, "1"])
def test_a_norm_that_is_none_is_refused(max_norm: Any) -> None:
    with pytest.raises(InputError, match=r"^max_norm is .*: give a number above 0\.$"):
        SparseAwareOptimizer(Twins(sparse=True)).clip(max_norm)


def test_no_gradient_is_no_norm() -> None:
    assert SparseAwareOptimizer(Twins(sparse=True)).clip(1.0) == 0


@every_optimizer
def test_state_goes_on_bit_for_bit(name: str) -> None:
    whole = Twins(sparse=True)
    train(whole, SparseAwareOptimizer(whole, name, 0.3), STEPS)

    cut = Twins(sparse=True)
    first = SparseAwareOptimizer(cut, name, 0.3)
    train(cut, first, STEPS[:2])
    state = {name: tensor.clone() for name, tensor in first.state_tensors().items()}
    second = SparseAwareOptimizer(cut, name, 0.3)
    second.load_state_tensors(state)
    train(cut, second, STEPS[2:])
    for one, other in zip(whole.values(), cut.values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_adam_moves_by_the_rate_whatever_the_gradients_scale(scale: float) -> None:
    """Kingma & Ba 2015, section 2.1: the first step is the rate times the gradient's sign."""
    model = Twins(sparse=True)
    before = model.values()
    train(model, SparseAwareOptimizer(model, "adam", 0.01), [[3]], scale)
    moved = [(after - each).abs() for after, each in zip(model.values(), before, strict=True)]
    assert moved[0][3].tolist() == pytest.approx([0.01] * 3, rel=1e-2)
    assert float(moved[1].max()) == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize(("was", "now"), [("adam", "adagrad"), ("adagrad", "sgd")])
def test_a_state_of_another_optimizer_or_model_is_refused(was: str, now: str) -> None:
    model = Twins(sparse=True)
    first = SparseAwareOptimizer(model, was)
    train(model, first, STEPS)
    other = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for wrong in (SparseAwareOptimizer(model, now), SparseAwareOptimizer(other, was)):
        with pytest.raises(CheckpointError, match="does not match this model"):
            wrong.load_state_tensors(first.state_tensors())


@pytest.mark.parametrize("dtype", [torch.uint32, torch.int64, torch.bool])
@pytest.mark.parametrize("name", ["adam", "adagrad"])
def test_a_state_of_whole_numbers_is_refused(name: str, dtype: torch.dtype) -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, name)
    train(model, optimizer, STEPS)
    state = optimizer.state_tensors()
    wrong = next(key for key in state if not key.endswith("step"))
    with pytest.raises(CheckpointError, match=f"does not match this model and {name} .* of type torch"):
        optimizer.load_state_tensors({**state, wrong: torch.ones_like(state[wrong], dtype=dtype)})


@every_optimizer
def test_a_learning_rate_of_0_moves_nothing(name: str) -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, name, 0.3)
    before = model.values()
    optimizer.learning_rate = 0.0
    train(model, optimizer, STEPS)
    assert all(torch.equal(one, other) for one, other in zip(model.values(), before, strict=True))
    optimizer.learning_rate = 0.1
    train(model, optimizer, STEPS)
    assert not torch.equal(model.values()[1], before[1])


@pytest.mark.parametrize("options", [{"name": "adamw"}, {"learning_rate": 0}, {"learning_rate": math.nan}])
def test_what_is_no_optimizer_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^(optimizer|learning_rate) is .*: give "):
        SparseAwareOptimizer(Twins(sparse=True), **options)


def test_sparse_parameters_are_the_layers_and_the_embeddings() -> None:
    layer = build("sampled", 4, [3, 2, 1], num_samples=2)
    model = nn.ModuleDict({"layer": layer, "in": nn.Embedding(3, 4, sparse=True), "dense": nn.Embedding(3, 4)})
    model["in"].weight = layer.weight  # shared: listed once
    assert {id(each) for each in sparse_parameters(model)} == {id(layer.weight), id(layer.bias)}
    assert len(sparse_parameters(model)) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(9,), (9, 4)], ids=str)
@pytest.mark.parametrize(("name", "kind"), [("adagrad", torch.optim.Adagrad), ("adam", torch.optim.SparseAdam)])
def test_steps_on_rows_are_those_of_torch(
    name: str, kind: type[torch.optim.Optimizer], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """With repeated rows, sorted rows, no rows; at changing learning rates; and from a state written by torch."""
    generator = torch.Generator().manual_seed(1)
    model = SparseTable(torch.randn(shape, generator=generator).to(dtype))
    other = nn.Parameter(model.weight.detach().clone())
    ours, theirs = SparseAwareOptimizer(model, name, 0.1), kind([other], lr=0.1)  # type: ignore[call-arg]
    near = {torch.bfloat16: 2e-2, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    for step, rows in enumerate(([3, 1, 3], [0, 2, 8], [], [5, 1, 3, 3, 5], list(range(9)), [3, 3])):
        values = torch.randn((len(rows), *shape[1:]), generator=generator).to(dtype)
        gradient = torch.sparse_coo_tensor(torch.tensor([rows], dtype=torch.int64), values, shape)
        model.weight.grad, other.grad = gradient, gradient.clone()
        ours.learning_rate = theirs.param_groups[0]["lr"] = 0.1 / (step + 1)
        ours.step()
        theirs.step()
        assert model.weight.grad is not None and torch.equal(model.weight.grad.to_dense(), gradient.to_dense())
        torch.testing.assert_close(model.weight, other, rtol=near, atol=near)
        found, expected = ours.state_tensors(), theirs.state[other]
        assert {f"0.0.{each}" for each in expected} == set(found)
        for each in OPTIMIZERS[name]:
            torch.testing.assert_close(found[f"0.0.{each}"], torch.as_tensor(expected[each]), rtol=near, atol=near)
        if step == 3:
            ours = SparseAwareOptimizer(model, name, 0.1)
            ours.load_state_tensors({f"0.0.{each}": torch.as_tensor(value).clone() for each, value in expected.items()})


def test_adam_on_rows_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    model = SparseTable(torch.randn(6, 3, generator=generator, dtype=torch.float64))
    steps = [[5, 2, 5], [2], [0, 1, 5]]
    gradients = [torch.randn(len(rows), 3, generator=generator, dtype=torch.float64) for rows in steps]
    met = [dict(zip(rows, each.numpy(), strict=True)) for rows, each in zip(steps, gradients, strict=True)]
    met[0][5] = (gradients[0][0] + gradients[0][2]).numpy()
    expected = lazy_adam(model.weight.detach().numpy(), met, 0.1, 0.9, 0.999, 1e-8)
    optimizer = SparseAwareOptimizer(model, "adam", 0.1)
    for rows, values in zip(steps, gradients, strict=True):
        model.weight.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 3))
        optimizer.step()
    np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-13, atol=1e-15)


def test_adam_takes_sparse_gradients_of_sparse_parameters_only() -> None:
    model = nn.Linear(2, 3)
    model.weight.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1, 2), (3, 2))
    with pytest.raises(InputError, match="Adam does not support sparse gradients"):
        SparseAwareOptimizer(model, "adam").step()


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_a_gradient_of_single_cells_is_left_to_torch(name: str) -> None:
    model = SparseTable(torch.zeros(3, 2))
    model.weight.grad = torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 1]]), torch.ones(2), (3, 2))
    SparseAwareOptimizer(model, name, 0.5).step()
    torch.testing.assert_close(model.weight, torch.tensor([[0, -0.5], [0, 0], [0, -0.5]]))


def test_gradients_stay_where_a_step_fails() -> None:
    """SparseAdam refuses a dense gradient; other parameters' gradients remain for inspection."""
    layer = build("sampled", 4, [5, 3, 2, 1], num_samples=2)
    optimizer = SparseAwareOptimizer(layer, "adam", 0.1)
    layer(torch.randn(3, 4), torch.tensor([0, 1, 3])).backward()
    assert layer.weight.grad is not None and layer.weight.grad.is_sparse
    layer.bias.grad = torch.ones(4)
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()
    assert layer.weight.grad is not None and layer.bias.grad is not None


def test_several_modules_are_clipped_together_and_learn_as_one() -> None:
    models = [nn.ModuleList([Twins(sparse=True), nn.Linear(2, 1)]) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [SparseAwareOptimizer(models[0], "adam", 0.1), SparseAwareOptimizer(list(models[1]), "adam", 0.1)]
    for twins, linear in models:
        linear(twins.matrix(twins.table(torch.tensor([3, 3, 5])))).sum().backward()  # type: ignore[union-attr]
    norms = [each.clip(0.1) for each in optimizers]
    assert norms[0] == norms[1] > 0.1
    for each in optimizers:
        each.step()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("module", [None, [nn.Linear(1, 1), "adam"], iter([nn.Linear(1, 1)])])
def test_what_is_no_model_is_refused(module: Any) -> None:
    with pytest.raises(InputError, match=r"^module is .*: give an nn.Module, or several in a list"):
        SparseAwareOptimizer(module)


@every_optimizer
def test_a_scaled_loss_gives_the_same_steps(name: str) -> None:
    """An overflow skips the step and halves the scale."""
    models = [Twins(sparse=True), Twins(sparse=True)]
    optimizers = [SparseAwareOptimizer(each, name, 0.3) for each in models]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for words, scale in (([3, 5, 3], 1.0), ([5, 0], math.inf), ([3, 1, 1], 1.0)):
        factors = scale, scale * float(scaler.scale(torch.ones(())))
        for model, optimizer, factor in zip(models, optimizers, factors, strict=True):
            optimizer.zero_grad()
            model.backward(words, factor)
        scaler.unscale_(optimizers[1])  # type: ignore[arg-type]
        if scale == 1:
            optimizers[0].step()
            assert optimizers[0].clip(1e-3) == pytest.approx(optimizers[1].clip(1e3), rel=1e-6)
        scaler.step(optimizers[1])  # type: ignore[arg-type]
        scaler.update()
    assert scaler.get_scale() == 512
    for one, other in zip(models[0].values(), models[1].values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
