"""The learning rate chosen by trials."""

import itertools
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.corpora import sentences
from vastmax.comparison import RunConfig, method_named, run_language_model
from vastmax.comparison import probe as module
from vastmax.comparison.probe import Probe, probe
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.language import LanguageCorpus, LoopOptions, ModelOptions, build_model, make_batches, read_language_corpus
from vastmax.layers import LAYERS, build
from vastmax.runs import StopRequest, TrainingInterrupted

MODEL = ModelOptions(dim=8, layers=1, rows=4, length=5)


def best_at_once(best: int) -> Any:
    """Return a score that is lowest for the copy scored at this index; the first call is for timing."""
    scored = itertools.count()
    return lambda *_: 2.0 + abs(next(scored) - best)


@pytest.fixture(scope="module")
def corpus() -> LanguageCorpus:
    return read_language_corpus(sentences(400, 8), sentences(40, 8, 1), sentences(40, 8, 2), min_count=2)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_STEPS", 4)


def tried(corpus: LanguageCorpus, score: Any, **options: Any) -> tuple[Probe, Any, Any]:
    torch.manual_seed(1)
    model = build_model(MODEL, build("sampled", 8, corpus.vocabulary), corpus.end_of_sentence)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = make_batches("stream", corpus.train, rows=4, length=5, end=corpus.end_of_sentence, seed=1)
    found = probe(model, batches, LoopOptions(**{"epochs": 2, **options}), score, stop=StopRequest())
    return found, before, model.state_dict()


def test_the_rate_with_the_lowest_loss_is_taken_and_the_model_left_alone(corpus: LanguageCorpus) -> None:
    scores = iter([50.0, math.inf, 8.0, 9.0])  # the first call is for timing
    found, before, after = tried(corpus, lambda *_: next(scores), optimizer="sgd")
    assert found.why == "probe" and found.chosen == 20 and found.rates == [10, 20, 40]
    assert found.losses == [None, math.log(8), math.log(9)]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert 4 <= found.steps <= 400 and found.seconds > 0


@pytest.mark.parametrize("epochs", [2, 9])
def test_adagrads_rate_grows_with_the_steps_of_the_run(corpus: LanguageCorpus, epochs: int) -> None:
    whole = epochs * len(make_batches("stream", corpus.train, rows=4, length=5, end=corpus.end_of_sentence, seed=1))
    found, *_ = tried(corpus, best_at_once(2), epochs=epochs)
    assert found.steps == min(400, whole // 20)
    _, middle, _ = found.rates
    assert found.rates == [middle / 2, middle, 2 * middle] and math.log2(0.1 / middle).is_integer()
    assert 0.5**0.5 <= middle / (0.1 * (found.steps / 500) ** 0.5) <= 2**0.5
    assert found.chosen == pytest.approx(middle * (min(whole, 500) / found.steps) ** 0.5, rel=0.01)


def test_the_same_steps_and_chance_for_every_rate(corpus: LanguageCorpus) -> None:
    states: list[Any] = []

    def keep(model: Any, _: Any) -> float:
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return 2.0

    first, *_ = tried(corpus, keep)
    seen = len(states)
    second, *_ = tried(corpus, keep)
    assert first.steps == second.steps and seen == 1 + len(first.rates)
    for one, other in zip(states[:seen], states[seen:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    for one, other in itertools.pairwise(states[1:seen]):
        assert any(not torch.equal(one[name], other[name]) for name in one)


def test_no_rate_is_tried_where_time_is_short(corpus: LanguageCorpus) -> None:
    steps = len(make_batches("stream", corpus.train, rows=4, length=5, end=corpus.end_of_sentence, seed=1))
    found, *_ = tried(corpus, best_at_once(2), epochs=5 * 4 * 4.1 / steps)
    assert (found.why, found.steps, len(found.rates)) == ("probe", 4, 3)
    found, *_ = tried(corpus, best_at_once(2), epochs=5 * 4 * 3.9 / steps)
    assert (found.why, found.steps, found.rates) == ("too short", 0, [])
    assert found.chosen == pytest.approx(0.1 * (5 * 4 * 3.9 / 500) ** 0.5, rel=0.01)
    assert tried(corpus, best_at_once(2), epochs=0.01, optimizer="adam")[0].chosen == 0.002


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ({1.0: 3.0, 2.0: 2.0, 4.0: 3.0}, 2.0),
        ({1.0: 2.001, 2.0: 2.0, 4.0: 6.0}, 2**0.5),
        ({1.0: 6.0, 2.0: 2.0, 4.0: 2.5}, 2.62),  # minimum of 2.25 x² - 1.75 x + 2 in x = log2(rate)
        ({1.0: 3.0, 2.0: 2.0, 4.0: math.inf}, 2.0),
        ({1.0: 2.0, 2.0: 3.0, 4.0: 5.0}, 1.0),
        ({1.0: 3.0, 2.0: 3.0, 4.0: 3.0}, 1.0),
    ],
)
def test_the_rate_lies_where_a_parabola_does(losses: dict[float, float], chosen: float) -> None:
    assert Probe.of(losses, 40, 1.0, growth=1.0).chosen == pytest.approx(chosen, rel=0.01)
    assert Probe.of(losses, 40, 1.0, growth=3.0).chosen == pytest.approx(3 * chosen, rel=0.01)


def test_beyond_the_ends_of_what_is_tried(corpus: LanguageCorpus) -> None:
    scores = iter([50.0, 9.0, 8.0, 7.0, 6.0, 5.0, 6.0])
    found, *_ = tried(corpus, lambda *_: next(scores), optimizer="sgd")
    assert found.chosen == 160 and found.rates == [10, 20, 40, 80, 160, 320]
    assert found.losses == [*map(math.log, (9.0, 8.0, 7.0, 6.0, 5.0, 6.0))]
    scores = iter([50.0, 7.0, 8.0, 9.0, 6.0, 5.0, 4.0, 1.5])
    found, *_ = tried(corpus, lambda *_: next(scores), optimizer="sgd")  # at most three more
    assert found.chosen == 1.25 and found.rates == [1.25, 2.5, 5, 10, 20, 40]
    assert found.losses == [*map(math.log, (4.0, 5.0, 6.0, 7.0, 8.0, 9.0))]
    assert found.why == "probe" and next(scores) == 1.5


def test_where_all_diverge_lower_rates_are_tried(corpus: LanguageCorpus) -> None:
    scores = iter([50.0, *[math.inf] * 4, 9.0, 10.0])  # finite at 1/16 of the lowest; half of that is worse
    found, *_ = tried(corpus, lambda *_: next(scores), optimizer="sgd")
    assert (found.why, found.chosen) == ("probe", 10 / 16)
    assert found.rates == [10 / 32, 10 / 16, 10 / 4, 10, 20, 40]
    assert found.losses == [math.log(10), math.log(9), *[None] * 4]


@pytest.mark.parametrize(("optimizer", "lowest"), [("sgd", 10 / 64), ("adagrad", None)])
def test_where_nothing_is_finite_it_says_so(
    corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch, optimizer: str, lowest: float | None
) -> None:
    class Diverging(module.LanguageModelLoop):
        def step(self) -> None:
            super().step()
            if self._options.schedule == "linear" and self._options.initial_learning_rate > 1e-3 * default:
                raise DivergedError("the loss became nan.")

    default = LoopOptions(optimizer=optimizer).initial_learning_rate  # type: ignore[arg-type]
    monkeypatch.setattr(module, "LanguageModelLoop", Diverging)
    found, *_ = tried(corpus, lambda *_: 2.0, optimizer=optimizer)
    assert (found.why, found.losses) == ("all diverged", [None] * 6)
    assert found.chosen == found.rates[0]  # no higher, however long the run
    assert lowest is None or found.chosen == lowest


def test_it_takes_a_fifth_of_the_minutes_at_most(corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 1000)  # a few milliseconds per step
    found, *_ = tried(corpus, lambda *_: 2.0, minutes=0.1)  # the lowest is best; time for one more
    assert len(found.rates) == 4 and 0.1 * 6 < found.seconds < 0.21 * 6
    assert found.minutes_left(0.1) == pytest.approx(0.1 - found.seconds / 60)
    assert found.minutes_left(None) is None


def test_it_goes_beyond_while_a_fifth_of_the_minutes_lasts(
    corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 1000)
    monkeypatch.setattr(module, "_MOST_STEPS", 40)
    whole, *_ = tried(corpus, lambda *_: 2.0, minutes=1)
    assert len(whole.rates) == 6
    found, *_ = tried(corpus, lambda *_: 2.0, minutes=0.055)
    assert 3 < len(found.rates) < 6 and found.seconds < 0.21 * 60 * 0.055


def test_what_diverges_is_not_taken(corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverging(module.LanguageModelLoop):
        def step(self) -> None:
            super().step()
            if self._options.initial_learning_rate > 15:
                raise DivergedError("the loss became nan.")

    monkeypatch.setattr(module, "LanguageModelLoop", Diverging)
    found, *_ = tried(corpus, best_at_once(1), optimizer="sgd")
    assert found.losses[-2:] == [None, None] and found.chosen <= 10


def test_a_stop_while_scoring(corpus: LanguageCorpus) -> None:
    stop = StopRequest()
    model = build_model(MODEL, build("full", 8, corpus.vocabulary), corpus.end_of_sentence)
    batches = make_batches("stream", corpus.train, rows=4, length=5, end=corpus.end_of_sentence, seed=1)

    def score(_: Any, meanwhile: Any) -> float:
        stop.requested = True
        meanwhile(0.5)
        raise AssertionError("it went on")

    with pytest.raises(TrainingInterrupted):
        probe(model, batches, LoopOptions(epochs=2), score, stop=stop)


def config(layer: str = "sampled", **training: Any) -> RunConfig:
    chosen = "learning_rate" not in training
    options = LoopOptions(**{"epochs": 2, "validations": 2, **training})
    return RunConfig(method=method_named(layer), model=MODEL, training=options, threads=1, probe=chosen)


@pytest.mark.parametrize(
    "layer", [pytest.param(each, marks=[pytest.mark.slow] if each == "cnn" else []) for each in LAYERS]
)
def test_a_run_with_a_probe_is_the_run_with_its_rate(
    corpus: LanguageCorpus, tmp_path: Path, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_STEPS", 6)
    run = run_language_model(corpus, config(layer), tmp_path).record
    assert run.probe is not None and run.probe["why"] == "probe" and len(run.probe["losses"]) >= 3
    given = run_language_model(corpus, config(layer, learning_rate=run.probe["chosen"])).record
    assert given.probe is None
    assert given.perplexity == run.perplexity
    rates = [point["learning_rate"] for point in run.curve]
    assert rates == [point["learning_rate"] for point in given.curve]


def interrupt(report: Any) -> None:
    if report.doing == "training":
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_resumed_run_keeps_its_probe(corpus: LanguageCorpus, tmp_path: Path) -> None:
    whole = run_language_model(corpus, config(), tmp_path / "whole").record

    with pytest.raises(TrainingInterrupted):
        run_language_model(corpus, config(), tmp_path / "stopped", progress=interrupt)
    kept = json.loads((tmp_path / "stopped" / "probe.json").read_text(encoding="utf-8"))
    resumed = run_language_model(corpus, config(), tmp_path / "stopped").record
    assert resumed.probe == kept
    assert resumed.perplexity == whole.perplexity


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"chosen": "high"}', None])
def test_a_damaged_probe_is_told_in_a_sentence(corpus: LanguageCorpus, tmp_path: Path, content: str | None) -> None:
    with pytest.raises(TrainingInterrupted):
        run_language_model(corpus, config(), tmp_path, progress=interrupt)
    place = tmp_path / "probe.json"
    place.unlink() if content is None else place.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks its probe\.json .*: delete it to start again"):
        run_language_model(corpus, config(), tmp_path)


def test_what_has_no_room_for_a_copy_takes_the_default(corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from vastmax.comparison import memory

    def free() -> int:  # enough for the existing model, which counts as `taken`, not for a copy
        return 0

    needed = memory.memory_needed
    monkeypatch.setattr("vastmax.comparison.run.memory_needed", lambda *given: needed(*given) // 100)
    run = run_language_model(corpus, config()).record
    assert run.probe is not None and run.probe["why"] == "probe"
    monkeypatch.setattr(memory, "available_memory", free)
    monkeypatch.setattr("vastmax.comparison.run.numbers_kept", lambda _: 0)
    run = run_language_model(corpus, config()).record
    assert run.probe is not None and run.probe["why"] == "no memory" and run.probe["chosen"] == 0.1


def test_json() -> None:
    found = Probe(0.1, "probe", [0.1, 0.2], [1.0, None], 40, 2.5)
    assert Probe.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(InputError, match="the probe's 'steps' is 'many'"):
        Probe.from_json({**found.to_json(), "steps": "many"})
