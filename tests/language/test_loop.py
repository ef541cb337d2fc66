"""The loop: budget, schedule and patience; and no step touches all of a sparse table."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.language.loops import TEXT, Scripted, StopAfter, V, small_loop, small_model
from vastmax.errors import InputError
from vastmax.language import LanguageModel, LanguageModelLoop, LoopOptions, StreamBatches
from vastmax.layers import FullSoftmax
from vastmax.optimizers import sparse_parameters
from vastmax.runs import StopRequest, TrainingInterrupted, TrainingProgress


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
    """With a fake clock on which a step takes 1 second and a validation 100."""
    clock = [0.0]
    monkeypatch.setattr("vastmax.runs.run.time.perf_counter", lambda: clock[0])

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
    assert [point["learning_rate"] for point in loop.curve] == pytest.approx([0.7, 0.4, 0.1])  # linear in time
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


@pytest.mark.numerics
def test_the_loop_is_what_one_writes_by_hand() -> None:
    """Two epochs in plain torch: batches of an epoch share the state, not gradients, which are clipped and reset."""
    model = small_model(tie=True)  # every gradient is dense
    hand = copy.deepcopy(model)
    batches = StreamBatches(TEXT, rows=3, length=30, start=1)  # the last batch of an epoch is shorter
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
            assert nn.utils.clip_grad_norm_(hand.parameters(), 0.05) > 0.05  # so that clipping has an effect
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
    assert [point["valid_perplexity"] for point in loop.curve] == [9, 7, 8, 7, 7]  # equal does not count as better
    assert torch.equal(model.output.weight, kept[1])
    assert not torch.equal(model.output.weight, kept[-1])


def test_an_infinite_perplexity_is_the_first_to_be_beaten() -> None:
    """As after a layer's first steps; patience waits for the next validation."""
    loop = small_loop(small_model(), epochs=4, patience=1, validate=Scripted([math.inf, 9.0, 8.0, 7.0]))
    with StopAfter() as stop:
        loop.run(stop)
    assert [point["valid_perplexity"] for point in loop.curve] == [None, 9.0, 8.0, 7.0]
    loop = small_loop(small_model(), epochs=4, patience=1, validate=Scripted([math.inf]))
    with StopAfter() as stop:
        loop.run(stop)
    assert len(loop.curve) == 2


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


@pytest.mark.numerics
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_either_precision_learns(precision: Any) -> None:
    loop = small_loop(small_model("hierarchical"), epochs=5, precision=precision)
    with StopAfter() as stop:
        loop.run(stop)
    losses = [point["train_loss"] for point in loop.curve]
    assert losses[-1] < losses[0] - 0.1


# --- sparse tables ---


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


def test_full_softmax_has_no_sparse_table() -> None:
    assert sparse_parameters(nn.ModuleList([FullSoftmax(4, 9)])) == []


def test_warmup_rises_to_the_schedule() -> None:
    options = LoopOptions(learning_rate=2.0, warmup=0.25, schedule="linear")
    assert [options.rate(share, 0) for share in (0, 0.125, 0.25, 0.5, 1)] == pytest.approx([0, 0.875, 1.5, 1, 0])
    steady = LoopOptions(learning_rate=2.0, warmup=0.5, schedule="constant")
    assert [steady.rate(share, 0) for share in (0.25, 0.5, 0.75)] == pytest.approx([1, 2, 2])


@pytest.mark.parametrize("validations", [0, 3])
@pytest.mark.parametrize("stopped", [1, 2, "last"])
def test_a_validation_that_is_cut_short_is_done_anew(tmp_path: Path, validations: int, stopped: int | str) -> None:
    def trained(folder: Path | None, cut: int | str | None) -> tuple[Any, dict[str, Any]]:
        model, stop, calls = small_model("sampled"), StopRequest(), 0

        def validate(_: LanguageModel) -> float:
            nonlocal calls
            calls += 1
            stop.requested = calls == cut or (cut == "last" and loop.share >= 1)
            loop.meanwhile("validating")
            return 10.0 - len(loop.curve)

        loop = small_loop(model, folder, validations=validations, validate=validate)
        if loop.has_checkpoint:
            loop.resume()
        loop.run(stop)
        return loop, model.state_dict()

    whole, expected = trained(None, None)
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "checkpoint", stopped)
    resumed, found = trained(tmp_path / "checkpoint", None)
    facts = [("epoch", "words", "valid_perplexity", "train_loss") for _ in whole.curve]
    for names, one, other in zip(facts, resumed.curve, whole.curve, strict=True):
        assert [one[name] for name in names] == [other[name] for name in names]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_is_done_beside_training_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModelLoop, "report_seconds", 0.0)
    told: list[TrainingProgress] = []
    loop = small_loop(
        small_model(), validations=2, progress=told.append, validate=lambda _: loop.meanwhile("validating") or 9.0
    )
    loop.run(StopRequest())
    assert [each.doing for each in told].count("validating") == 2
    assert "doing" not in told[0].to_record()


def test_progress_is_shown_told_or_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vastmax.display._SECONDS_BETWEEN_LINES", 0)
    told: list[Any] = []
    for progress in (True, False, None, told.append):
        small_loop(small_model(), progress=progress).run(StopRequest())
        assert ("training 100.0%" in capsys.readouterr().err) == (progress is True)
    assert told and told[-1].words == told[-1].words_total
    loop = small_loop(small_model(), progress="yes")
    with pytest.raises(InputError, match="progress is 'yes': give True for a bar, or a function"):
        loop.run(StopRequest())
    assert not loop.words
