"""A stopped and resumed run ends like an uninterrupted one; and checkpoint errors."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.language.loops import Scripted, StopAfter, small_loop, small_model
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.language import FeedForward, LanguageModel, LanguageModelLoop
from vastmax.runs import TrainingInterrupted, model_tensors

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
    for steps in (1, 3, 2, math.inf):  # with 5 steps per epoch, the third stop is in the middle of the second epoch
        torch.manual_seed(77)  # another process has another random state
        model, it = loop(folder)
        if it.has_checkpoint:
            it.resume()
            # the scripted validation continues where it stopped
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


def test_a_resumed_run_of_target_sampling_learns_from_its_partition(tmp_path: Path) -> None:
    """Candidates are not part of the state: they are derived from the text again."""

    def seen(folder: Path, steps: float) -> list[list[int]]:
        model = small_model("target-sampling")
        loop = small_loop(model, folder, num_candidates=9, epochs=1)
        if loop.has_checkpoint:
            loop.resume()
        found: list[list[int]] = []
        forward = model.forward

        def watched(words: Any, target: Any, state: Any) -> Any:
            found.append(model.output.candidates.tolist())
            assert set(target.flatten().tolist()) <= {*found[-1], -100}
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
    assert seen(tmp_path / "cut", 2) + seen(tmp_path / "cut", math.inf) == whole


# --- errors ---


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = small_model()
    loop = small_loop(model, tmp_path / "checkpoint")
    with pytest.raises(TrainingInterrupted), StopAfter(2) as stop:
        loop.run(stop)
    with torch.no_grad():
        model.output.weight[0, 0] = math.nan
    sentence = r"the loss is nan after 160 words: lower the learning rate \(0.3\)"
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
