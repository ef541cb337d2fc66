"""Optimisers: rows absent from a batch stay bit-identical; sparse and dense gradients give the same result."""

import collections
import copy
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from tests.oracles import lazy_adam
from vastmax.errors import CheckpointError, InputError
from vastmax.layers import build
from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer, sparse_parameters

pytestmark = pytest.mark.numerics

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Twins(nn.Module):
    """A table followed by a matrix; the table's gradient is sparse or dense on request."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(20, 3, sparse=sparse)
        self.matrix = nn.Linear(3, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def backward(self, words: list[int], scale: float = 1.0) -> None:
        loss = self.matrix(self.table(torch.tensor(words))).tanh().sum() * scale
        loss.backward()

    def values(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters()]


class SparseTable(nn.Embedding):
    """A table, or a bias, whose gradient is sparse."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__(len(table), 1, sparse=True)
        self.weight = nn.Parameter(table)


STEPS = [[3, 5, 3, 3], [5, 0], [3, 19, 19], [1, 1]]  # words repeated within a step and in later steps


def train(model: Twins, optimizer: SparseAwareOptimizer, steps: list[list[int]], scale: float = 1.0) -> None:
    for words in steps:
        optimizer.zero_grad()
        model.backward(words, scale)
        optimizer.step()


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


# --- interoperation with torch ---


@every_optimizer
def test_a_state_dict_goes_on_bit_for_bit(name: str) -> None:
    """Through a file, with a scheduler; a copy of the optimiser and its model continues identically."""
    whole, cut = Twins(sparse=True), Twins(sparse=True)

    def prepared(model: Twins) -> tuple[SparseAwareOptimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = SparseAwareOptimizer(model, name, 0.3)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    def run(model: Twins, optimizer: SparseAwareOptimizer, schedule: Any, steps: list[list[int]]) -> None:
        for words in steps:
            train(model, optimizer, [words])
            schedule.step()

    run(whole, *prepared(whole), STEPS)
    first = prepared(cut)
    run(cut, *first, STEPS[:2])
    file = io.BytesIO()
    torch.save([each.state_dict() for each in first], file)
    file.seek(0)
    copied, *copies = copy.deepcopy((cut, *first))
    second = prepared(cut)
    for each, state in zip(second, torch.load(file, weights_only=True), strict=True):
        each.load_state_dict(state)
    assert second[0].learning_rate == 0.3 / 4
    run(cut, *second, STEPS[2:])
    run(copied, *copies, STEPS[2:])
    for one, other, third in zip(whole.values(), cut.values(), copied.values(), strict=True):
        assert torch.equal(one, other) and torch.equal(one, third)


TORCH = {"adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
SCHEDULES: dict[str, Any] = {
    "warm-up from 0": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 3),
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=5, cycle_momentum=False
    ),
    "plateau": lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", TORCH)
def test_schedulers_do_what_they_do_for_torch(name: str, schedule: str) -> None:
    models = [Twins(sparse=True), Twins(sparse=False)]
    optimizers = [SparseAwareOptimizer(models[0], name, 0.3), TORCH[name](models[1].parameters(), lr=0.3)]
    schedules = [SCHEDULES[schedule](each) for each in optimizers]
    for words in STEPS:
        for model, optimizer, each in zip(models, optimizers, schedules, strict=True):
            train(model, optimizer, [words])  # type: ignore[arg-type]
            each.step(*([1.0] if schedule == "plateau" else []))
        assert optimizers[0].param_groups[0]["lr"] == optimizers[1].param_groups[0]["lr"]
        for one, other in zip(models[0].values(), models[1].values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_adam_steps_at_a_rate_of_0_and_with_a_cycled_beta_as_torch_does() -> None:
    model, dense = Twins(sparse=True), Twins(sparse=False)
    ours = SparseAwareOptimizer(model, "adam", 0.3)
    theirs = [torch.optim.Adam(dense.matrix.parameters(), lr=0.3), torch.optim.SparseAdam([dense.table.weight], lr=0.3)]
    for step, words in enumerate(STEPS):
        ours.learning_rate = 0.3 * step
        beta = 0.9 - 0.1 * step
        for optimizer in (ours, *theirs):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = 0.3 * step, (beta, 0.999)
        model.backward(words)
        dense.backward(words)
        dense.table.weight.grad = dense.table.weight.grad.to_sparse(1)  # type: ignore[union-attr]
        for optimizer in (ours, *theirs):
            optimizer.step()
        for one, other in zip(model.values(), dense.values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    cycle = torch.optim.lr_scheduler.OneCycleLR(ours, 0.3, total_steps=5)
    ours.step()
    cycle.step()
    assert ours.param_groups[0]["betas"][0] < 0.95


@every_optimizer
def test_parameters_that_are_unfrozen_later_are_not_passed_by(name: str) -> None:
    model = Twins(sparse=True)
    model.table.requires_grad_(False)
    optimizer = SparseAwareOptimizer(model, name, 0.3)
    before = model.values()
    train(model, optimizer, [[3]])
    assert torch.equal(model.values()[0], before[0])
    model.table.weight.grad = torch.ones_like(model.table.weight)  # left from before it was frozen
    optimizer.step()
    model.table.weight.grad = None
    assert torch.equal(model.values()[0], before[0])
    assert model.table.weight not in optimizer.state  # a large frozen table takes no memory
    model.table.requires_grad_(True)
    with pytest.raises(InputError, match="a gradient that was frozen when the optimiser was made: make another after"):
        train(model, optimizer, [[3]])
    train(model, SparseAwareOptimizer(model, name, 0.3), [[3]])
    assert (model.values()[0] != before[0]).any(1).nonzero().flatten().tolist() == [3]


@every_optimizer
def test_state_and_groups_that_are_replaced_count(name: str) -> None:
    models = [Twins(sparse=True), Twins(sparse=True)]
    optimizers = [SparseAwareOptimizer(each, name, 0.3) for each in models]
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, STEPS[:2])
    first = optimizers[0]
    first.state = collections.defaultdict(dict, {key: dict(state) for key, state in first.state.items()})
    first.param_groups = [dict(group) for group in first.param_groups]
    for optimizer in optimizers:
        optimizer.param_groups[-1]["lr"] = 0.1
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, STEPS[2:])
    for one, other in zip(models[0].values(), models[1].values(), strict=True):
        assert torch.equal(one, other)


def test_adam_starts_where_there_is_no_state() -> None:
    """E.g. a model cast after creating the optimiser, or a table untouched by the checkpoint's steps."""
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adam", 0.3)
    model.double()
    train(model, optimizer, STEPS)
    assert optimizer.state[model.table.weight]["exp_avg"].dtype == torch.float64
    other = Twins(sparse=True)
    fresh, loaded = SparseAwareOptimizer(other, "adam", 0.3), Twins(sparse=True)
    again = SparseAwareOptimizer(loaded, "adam", 0.3)
    again.load_state_tensors(fresh.state_tensors())
    for each, its in ((other, fresh), (loaded, again)):
        train(each, its, STEPS)
    assert all(torch.equal(one, two) for one, two in zip(other.values(), loaded.values(), strict=True))


@pytest.mark.parametrize("rate", [-1, math.nan, "fast", None])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(InputError, match=r"^learning_rate is .*: give a number of 0 or more\.$"):
        SparseAwareOptimizer(Twins(sparse=True)).learning_rate = rate


def test_options_that_touch_every_row_are_refused_for_adam() -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adam")
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.1
    model.backward([1])
    with pytest.raises(InputError, match=r"^weight_decay and amsgrad would update every row of a sparse table: leave"):
        optimizer.step()


def test_a_number_of_steps_of_any_type_goes_on() -> None:
    """A file may hold it in a type that cannot be added to."""
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adam")
    train(model, optimizer, STEPS)
    found = {}
    for dtype in (torch.float32, torch.uint16, torch.float8_e4m3fn, torch.bool):
        state, copied = copy.deepcopy(optimizer.state_dict()), Twins(sparse=True)
        for each in state["state"].values():
            each["step"] = torch.tensor(1).to(dtype)
        other = SparseAwareOptimizer(copied, "adam")
        other.load_state_dict(state)
        train(copied, other, STEPS)
        found[dtype] = copied.values()
    for values in found.values():
        assert all(torch.equal(one, two) for one, two in zip(values, found[torch.float32], strict=True))


@pytest.mark.parametrize("step", [-1.0, math.nan, math.inf, "3", None])
def test_a_number_of_steps_that_is_none_is_refused(step: Any) -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adam")
    train(model, optimizer, STEPS)
    for place in range(3):
        state = copy.deepcopy(optimizer.state_dict())
        state["state"][place]["step"] = torch.tensor(step) if isinstance(step, float) else step
        with pytest.raises(CheckpointError, match="does not match this model and adam"):
            optimizer.load_state_dict(state)


def test_hooks_and_closures_are_called() -> None:
    model, calls = Twins(sparse=True), []
    optimizer = SparseAwareOptimizer(model, "adam", 0.1)
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> float:
        optimizer.zero_grad()
        model.backward([3, 5])
        calls.append("loss")
        return 2.5

    assert optimizer.step(closure) == 2.5
    assert calls == ["loss", "after"]
    assert optimizer.step() is None


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {"maximize": True}), ("sgd", {"momentum": 0.5}), ("adam", {"eps": 0.1}), ("adam", {"betas": (0.5, 0.9)})],
)
def test_changed_options_count_for_rows_too(name: str, options: dict[str, Any]) -> None:
    """No option of a parameter group is silently ignored: torch's slower step handles such rows."""
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.SparseAdam}
    model = SparseTable(torch.ones(5, 2))
    other = nn.Parameter(model.weight.detach().clone())
    ours, theirs = SparseAwareOptimizer(model, name, 0.1), kinds[name]([other], lr=0.1, **options)
    ours.param_groups[0].update(options)
    for rows in ([3, 1, 3], [3, 4]):
        gradient = torch.sparse_coo_tensor(torch.tensor([rows]), torch.full((len(rows), 2), 0.5), (5, 2))
        model.weight.grad, other.grad = gradient, gradient.clone()
        ours.step()
        theirs.step()
        torch.testing.assert_close(model.weight, other)


def test_a_weight_decay_on_sparse_rows_is_refused() -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adagrad")
    optimizer.param_groups[0]["weight_decay"] = 0.1
    model.backward([1])
    with pytest.raises(InputError, match="with weight_decay or fused does not support sparse gradients"):
        optimizer.step()


def test_parameters_are_given_at_construction() -> None:
    optimizer = SparseAwareOptimizer(Twins(sparse=True))
    with pytest.raises(InputError, match=r"^parameters cannot be added: construct "):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    with pytest.raises(InputError, match=r"^module has no trainable parameter: give one "):
        SparseAwareOptimizer(Twins(sparse=True).requires_grad_(False))


@pytest.mark.parametrize("change", ["group", "shape", "name", "missing", "text", "rate", "no rate", "state"])
def test_a_damaged_state_dict_is_refused(change: str) -> None:
    model = Twins(sparse=True)
    optimizer = SparseAwareOptimizer(model, "adagrad")
    train(model, optimizer, STEPS)
    state = copy.deepcopy(optimizer.state_dict())
    if change == "group":
        state["param_groups"][0]["params"].pop()
    elif change == "shape":
        state["state"][0]["sum"] = torch.ones(2)
    elif change == "name":
        state["state"][0]["exp_avg"] = state["state"][0].pop("sum")
    elif change == "missing":
        del state["state"]
    elif change == "rate":
        state["param_groups"][0]["lr"] = -1.0
    elif change == "no rate":
        del state["param_groups"][0]["lr"]
    elif change == "state":
        del state["state"][0]
    else:
        state["state"][0]["sum"] = "sum"
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(CheckpointError, match="does not match this model and adagrad"):
        optimizer.load_state_dict(state)
    for place, known in before["state"].items():
        assert all(torch.equal(value, optimizer.state_dict()["state"][place][name]) for name, value in known.items())


@pytest.mark.filterwarnings("ignore:torch.distributed")
@every_optimizer
def test_distributed_checkpoints_hold_the_state(name: str, tmp_path: Path) -> None:
    """torch loads into the state of a new optimiser: moments missing from it would be lost silently."""
    models = [Twins(sparse=True), Twins(sparse=True)]
    optimizers = [SparseAwareOptimizer(each, name, 0.3) for each in models]
    train(models[0], optimizers[0], STEPS[:2])
    optimizers[0].learning_rate = 0.2
    for model, optimizer, move in zip(models, optimizers, (checkpoint.save, checkpoint.load), strict=True):
        states = dict(zip(("model", "optimizer"), get_state_dict(model, optimizer), strict=True))
        move(states, checkpoint_id=tmp_path)
    set_state_dict(*models[1:], *optimizers[1:], model_state_dict=states["model"], optim_state_dict=states["optimizer"])
    assert optimizers[1].learning_rate == 0.2
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, STEPS[2:])
    for one, other in zip(models[0].values(), models[1].values(), strict=True):
        assert torch.equal(one, other)
