"""The loop: what a budget, a schedule and patience do, and that a run that was stopped ends as one that was not."""

import copy
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.layers import FullSoftmax, build
from vastmax.models import LSTM, FeedForward, LanguageModel
from vastmax.training import (
    LanguageModelLoop,
    LoopOptions,
    StopRequest,
    StreamBatches,
    TrainingInterrupted,
    make_batches,
    model_tensors,
    sparse_parameters,
)
from vastmax.training.torch_state import load_state, save_state

V, D = 40, 8
TEXT = np.random.default_rng(0).zipf(1.3, 400) % V
COUNTS = np.bincount(TEXT, minlength=V)


class StopAfter(StopRequest):
    """Asks to stop after so many steps."""

    def __init__(self, steps: float = math.inf) -> None:
        super().__init__()
        self.steps = steps

    @property
    def requested(self) -> bool:
        self.steps -= 1
        return self.steps <= 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


@dataclass
class Scripted:
    """A validation that says what it is told to, and then the last of it for ever."""

    values: list[float]
    calls: int = 0

    def __call__(self, model: LanguageModel) -> float:
        assert model.training  # whoever validates sees to the mode
        model.eval()  # and need not put it back
        self.calls += 1
        return self.values[min(self.calls, len(self.values)) - 1]


def small_model(layer: str = "full", options: dict[str, Any] | None = None, **model: Any) -> LanguageModel:
    torch.manual_seed(5)
    given = {"tokens": TEXT} if layer == "adaptive-importance" else {}
    output = build(layer, D, COUNTS, **given, **(options or {}))
    kind = model.pop("kind", LSTM)
    return kind(output, **{**({"layers": 1} if kind is LSTM else {"order": 3}), **model})


def small_loop(model: LanguageModel, folder: Path | None = None, batching: Any = "stream", **options: Any) -> Any:
    more = {name: options.pop(name) for name in ("validate", "identity", "progress") if name in options}
    given = LoopOptions(**{"epochs": 2, "learning_rate": 0.3, **options})
    batches = make_batches(batching, TEXT, rows=4, length=20, end=1, seed=given.seed)
    return LanguageModelLoop(model, batches, given, checkpoint=folder, **more)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full": ({}, {"optimizer": "sgd", "schedule": "halving", "constant_epochs": 1}),
    "adam": ({"tie": True}, {"optimizer": "adam", "learning_rate": 0.01}),
    "dropout": ({"dropout": 0.4, "layers": 2}, {"schedule": "constant"}),
    "feed-forward": ({"kind": FeedForward, "dropout": 0.2}, {"max_norm": 0}),
    "sampled": ({"layer": "sampled", "options": {"num_samples": 5}}, {}),
    "sampled sparse adam": (
        {"layer": "sampled", "options": {"num_samples": 5}, "tie": True},
        {"optimizer": "adam", "learning_rate": 0.01},
    ),
    "quadratic kernel": ({"layer": "sampled", "options": {"num_samples": 5, "proposal": "quadratic-kernel"}}, {}),
    "nce": ({"layer": "nce", "options": {"num_samples": 5}}, {"batching": "sentence"}),
    "importance": ({"layer": "importance", "options": {"num_samples": 16, "effective_samples": 8}}, {}),
    "adaptive-importance": ({"layer": "adaptive-importance", "options": {"num_samples": 16}}, {}),
    "infrequent-normalized": ({"layer": "infrequent-normalized"}, {}),
    "target-sampling": ({"layer": "target-sampling"}, {"num_candidates": 9}),
    "target-sampling by sentences": ({"layer": "target-sampling"}, {"num_candidates": 6, "batching": "sentence"}),
    "plateau": ({}, {"schedule": "plateau", "validations": 7, "patience": 5}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_stopped_and_resumed_ends_as_if_never_stopped(
    case: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    def loop(folder: Path) -> tuple[LanguageModel, LanguageModelLoop]:
        model = small_model(**case[0])
        it = small_loop(model, folder, validate=Scripted([9, 8, 7, 8, 6, 9, 9, 9, 9]), **case[1])
        return model, it

    whole, expected = loop(tmp_path / "whole")
    with StopAfter() as stop:
        expected.run(stop)

    folder, stops = tmp_path / "cut", 0
    for steps in (1, 3, 2, math.inf):  # the third falls into the second epoch's middle where there are 5 an epoch
        torch.manual_seed(77)  # what chance another process has
        model, it = loop(folder)
        if it.has_checkpoint:
            it.resume()
            # the script goes on where it stood
            it._validate.calls = len(it.curve)
        try:
            with StopAfter(steps) as stop:
                it.run(stop)
        except TrainingInterrupted as stopped:
            assert stopped.checkpoint == folder
            stops += 1
    assert stops == 3
    assert it.words == expected.words
    for name, tensor in model_tensors(whole).items():
        assert torch.equal(tensor, model_tensors(model)[name]), name
    ours, theirs = ([{**point, "seconds": 0} for point in each.curve] for each in (it, expected))
    assert ours == theirs


@pytest.mark.parametrize(
    "layer", ["sampled", "nce", "target-sampling", "hierarchical", "negative-sampling", "blackout"]
)
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd"])
def test_a_step_never_updates_a_table_densely(layer: str, optimizer: str) -> None:
    model = small_model(layer)
    tables = sparse_parameters(model)
    assert {parameter.shape for parameter in model.parameters() if V in parameter.shape} <= {t.shape for t in tables}
    loop = small_loop(model, optimizer=optimizer, learning_rate=0.1, epochs=0.2)
    with StopAfter() as stop:
        loop.run(stop)
    assert loop.words
    for table in tables:
        assert table.grad is not None
        assert table.grad.is_sparse


def test_a_resumed_run_of_target_sampling_learns_from_its_partition(tmp_path: Path) -> None:
    """Candidates are no part of the state: they come from the text again."""

    def seen(folder: Path, steps: float) -> list[list[int]]:
        model = small_model("target-sampling")
        loop = small_loop(model, folder, num_candidates=9, epochs=1)
        if loop.has_checkpoint:
            loop.resume()
        found: list[list[int]] = []
        forward = model.forward

        def watched(words: Any, target: Any, state: Any) -> Any:
            found.append(model.output.candidates.tolist())
            assert set(target[0].tolist()) & set(found[-1])  # the partition is the one that the batch begins in
            return forward(words, target, state)

        model.forward = watched  # type: ignore[method-assign]
        try:
            with StopAfter(steps) as stop:
                loop.run(stop)
        except TrainingInterrupted:
            pass
        return found

    whole = seen(tmp_path / "whole", math.inf)
    assert len(set(map(tuple, whole))) > 1
    assert all(len(each) <= 9 for each in whole)
    assert seen(tmp_path / "cut", 2) + seen(tmp_path / "cut", math.inf) == whole


# --- budgets, schedules, validation ---


@pytest.mark.parametrize(
    ("epochs", "validations", "steps", "points"),
    [(1, 0, 5, 1), (2, 0, 10, 2), (0.5, 0, 3, 1), (2.5, 0, 13, 3), (2, 4, 10, 4), (1, 3, 5, 3), (1, 50, 5, 5)],
)
def test_a_budget_of_epochs(epochs: float, validations: int, steps: int, points: int) -> None:
    validate = Scripted([5.0])
    loop = small_loop(small_model(), epochs=epochs, validations=validations, validate=validate)
    with StopAfter() as stop:
        loop.run(stop)
    assert loop.words == 80 * steps
    assert loop.epochs == pytest.approx(steps / 5)
    assert len(loop.curve) == validate.calls == points
    assert loop.share == 1


def test_a_budget_of_minutes_leaves_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own, on which a step takes 1 second and a validation 100."""
    clock = [0.0]
    monkeypatch.setattr("vastmax.training.model_loop.time.perf_counter", lambda: clock[0])

    def validate(model: LanguageModel) -> float:
        clock[0] += 100
        return 5.0

    model = small_model()
    forward = model.forward

    def step(*given: Any) -> Any:
        clock[0] += 1
        return forward(*given)

    model.forward = step  # type: ignore[method-assign]
    loop = small_loop(model, minutes=10 / 60, validations=3, validate=validate, optimizer="sgd", learning_rate=1.0)
    with StopAfter() as stop:
        loop.run(stop)
    assert loop.seconds == 10
    assert [point["seconds"] for point in loop.curve] == [4, 7, 10]
    assert [point["learning_rate"] for point in loop.curve] == pytest.approx([0.7, 0.4, 0.1])  # linear in the time
    assert loop.epochs == 2


def test_the_curve_tells_the_schedule_and_the_losses() -> None:
    loop = small_loop(small_model(), optimizer="sgd", learning_rate=1.0, schedule="halving", epochs=6)
    with StopAfter() as stop:
        loop.run(stop)
    assert [point["learning_rate"] for point in loop.curve] == [1, 1, 1, 1, 0.5, 0.25]
    assert [point["epoch"] for point in loop.curve] == [1, 2, 3, 4, 5, 6]
    assert [point["valid_perplexity"] for point in loop.curve] == [None] * 6
    losses = [point["train_loss"] for point in loop.curve]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < math.log(V) * 1.05


def test_the_loop_is_what_one_writes_by_hand() -> None:
    """Two epochs by torch alone: the state goes on within an epoch, gradients stop there, are clipped and forgotten."""
    model = small_model(tie=True)  # every gradient is dense
    hand = copy.deepcopy(model)
    batches = StreamBatches(TEXT, rows=3, length=30, start=1)  # the last of an epoch is shorter
    loop = LanguageModelLoop(
        model, batches, LoopOptions(epochs=2, optimizer="sgd", learning_rate=2.0, schedule="constant", max_norm=0.05)
    )
    with StopAfter() as stop:
        loop.run(stop)

    optimizer, losses = torch.optim.SGD(hand.parameters(), lr=2.0), []
    for epoch in range(2):
        state, sums, words = None, 0.0, 0
        for number in range(len(batches)):
            batch = batches.batch(epoch, number)
            hidden, state = hand.hidden(batch.words, None if state is None else tuple(each.detach() for each in state))
            loss = hand.output(hidden, batch.target)
            optimizer.zero_grad()
            loss.backward()
            assert nn.utils.clip_grad_norm_(hand.parameters(), 0.05) > 0.05  # or nothing would be clipped here
            optimizer.step()
            kept = int((batch.target >= 0).sum())
            sums, words = sums + float(loss.detach()) * kept, words + kept
        losses.append(sums / words)
    assert [point["train_loss"] for point in loop.curve] == pytest.approx(losses, rel=1e-6)
    for (name, ours), theirs in zip(model.named_parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)


def test_patience_ends_the_run_and_gives_back_the_best() -> None:
    kept: list[torch.Tensor] = []

    class Watched(Scripted):
        def __call__(self, model: LanguageModel) -> float:
            kept.append(model.output.weight.detach().clone())
            return super().__call__(model)

    model = small_model()
    loop = small_loop(model, epochs=50, patience=3, validate=Watched([9, 7, 8, 7, 7]))
    with StopAfter() as stop:
        loop.run(stop)
    assert [point["valid_perplexity"] for point in loop.curve] == [9, 7, 8, 7, 7]  # equal is no better
    assert torch.equal(model.output.weight, kept[1])
    assert not torch.equal(model.output.weight, kept[-1])


def test_without_patience_the_last_stays() -> None:
    model = small_model()
    loop = small_loop(model, epochs=4, validate=Scripted([5, 6, 7, 8]))
    with StopAfter() as stop:
        loop.run(stop)
    assert len(loop.curve) == 4


def test_patience_waits_for_no_validation() -> None:
    loop = small_loop(small_model(), epochs=4, patience=1)
    with StopAfter() as stop:
        loop.run(stop)
    assert len(loop.curve) == 4


def test_plateau_slows_down_where_nothing_is_gained() -> None:
    loop = small_loop(
        small_model(), epochs=6, schedule="plateau", learning_rate=0.4, validate=Scripted([9, 8, 8, 7, 8])
    )
    with StopAfter() as stop:
        loop.run(stop)
    assert [point["learning_rate"] for point in loop.curve] == [0.4, 0.4, 0.4, 0.2, 0.2, 0.1]


def test_a_seed_repeats_a_run_whatever_chance_came_before() -> None:
    def run(seed: int, before: int) -> torch.Tensor:
        model = small_model("sampled", {"num_samples": 5})
        torch.manual_seed(before)
        with StopAfter() as stop:
            small_loop(model, seed=seed, epochs=1).run(stop)
        return model.output.weight.detach()

    assert torch.equal(run(1, 3), run(1, 4))
    assert not torch.equal(run(1, 3), run(2, 3))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_either_precision_learns(precision: Any) -> None:
    loop = small_loop(small_model("hierarchical"), epochs=5, precision=precision)
    with StopAfter() as stop:
        loop.run(stop)
    losses = [point["train_loss"] for point in loop.curve]
    assert losses[-1] < losses[0] - 0.1


# --- what goes wrong ---


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = small_model()
    loop = small_loop(model, tmp_path / "checkpoint")
    with pytest.raises(TrainingInterrupted), StopAfter(2) as stop:
        loop.run(stop)
    with torch.no_grad():
        model.output.weight[0, 0] = math.nan
    sentence = r"the loss became nan after 160 words: lower the learning rate \(0.3\)"
    with pytest.raises(DivergedError, match=sentence), StopAfter() as stop:
        loop.run(stop)
    again = small_loop(small_model(), tmp_path / "checkpoint")
    again.resume()
    assert again.words == 160


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"learning_rate": 0.2}, "was made with learning_rate=0.3, now came learning_rate=0.2"),
        ({"identity": {"corpus": "b"}}, "was made with corpus='a', now came corpus='b'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(other: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    mine = {"identity": {"corpus": "a"}}
    with pytest.raises(TrainingInterrupted), StopAfter(1) as stop:
        small_loop(small_model(), tmp_path, **mine).run(stop)
    with pytest.raises(CheckpointError, match=sentence):
        small_loop(small_model(), tmp_path, **{**mine, **other}).resume()


@pytest.mark.parametrize("part", ["state.json", "state.safetensors"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:50])])
def test_a_damaged_checkpoint_is_refused(part: str, damage: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted), StopAfter(1) as stop:
        small_loop(small_model(), tmp_path).run(stop)
    damage(tmp_path / part)
    with pytest.raises(CheckpointError, match="cannot be read"):
        small_loop(small_model(), tmp_path).resume()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted), StopAfter(1) as stop:
        small_loop(small_model(), tmp_path).run(stop)
    for other in (small_model("hierarchical"), small_model(embedding_dim=5)):
        with pytest.raises(CheckpointError, match="another model"):
            small_loop(other, tmp_path).resume()


def test_no_folder_no_checkpoint() -> None:
    loop = small_loop(small_model())
    assert not loop.has_checkpoint
    for wrong in (loop.save, loop.resume):
        with pytest.raises(InputError, match="no folder for a checkpoint"):
            wrong()
    with pytest.raises(TrainingInterrupted) as stopped, StopAfter(1) as stop:
        loop.run(stop)
    assert stopped.value.checkpoint is None


FILL_UP = """
import resource, sys, warnings
from pathlib import Path
from tests.training.test_model_loop import *
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
loop = LanguageModelLoop(model := small_model(), make_batches("stream", TEXT, rows=4, length=20, end=1),
                         LoopOptions(epochs=2), checkpoint=Path(sys.argv[1]), checkpoint_minutes=1e-9)
with StopAfter() as stop, warnings.catch_warnings(record=True) as met:
    warnings.simplefilter("always")
    loop.run(stop)
print(loop.words, len(met), met[0].message, sep="|")
"""


def test_a_full_disk_is_a_warning_and_the_run_goes_on(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FILL_UP, str(tmp_path / "checkpoint"), "4096"],
        capture_output=True,
        text=True,
        check=True,
    )
    words, warned, message = ran.stdout.strip().split("|")
    assert int(words) == 2 * len(TEXT)
    assert int(warned) == 11  # a checkpoint a step, and one at the end
    assert message.startswith("no checkpoint was written: cannot write")
    assert "too large" in message
    assert not list((tmp_path / "checkpoint").glob("*"))


def test_a_kill_while_saving_leaves_the_last_state(tmp_path: Path) -> None:
    """Every file of a state holds its number: a state of two numbers would be half of one and half of the next."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # save one state after the other until killed
        for number in range(10**6):
            tensors = {name: torch.full((200, 100), float(number)) for name in "ab"}
            save_state(tmp_path, tensors, {"number": number})
            os.write(writer, b".")
    os.read(reader, 1)
    time.sleep(0.25)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors, facts = load_state(tmp_path)
        assert {float(value) for tensor in tensors.values() for value in tensor.unique()} == {float(facts["number"])}
        assert facts["number"] >= 1
        save_state(tmp_path, {"a": torch.zeros(1)}, {"number": -1})  # what the kill left is no obstacle
    assert load_state(tmp_path)[1] == {"number": -1}
    assert {path.name for path in tmp_path.iterdir()} == {"state.json", "state.safetensors"}


def test_full_softmax_has_no_sparse_table() -> None:
    assert sparse_parameters(nn.ModuleList([FullSoftmax(4, 9)])) == []
