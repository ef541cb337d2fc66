"""SparseAwareOptimizer inside torch: schedulers, states, hooks, options and checkpoints."""

import collections
import copy
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from tests.optimizers.twins import STEPS, SparseTable, Twins, every_optimizer, train
from vastmax.errors import CheckpointError, InputError
from vastmax.optimizers import SparseAwareOptimizer

pytestmark = pytest.mark.numerics


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
