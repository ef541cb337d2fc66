"""Models on disk: a loaded model predicts like the saved one; a resumed run ends like an uninterrupted one."""

import json
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.corpora import sentences
from tests.limits import few_files
from vastmax.comparison import (
    METHODS,
    Method,
    RunConfig,
    RunResult,
    build_layer,
    method_with,
    run_language_model,
)
from vastmax.errors import FormatError, InputError
from vastmax.language import (
    LanguageCorpus,
    LanguageModel,
    LanguageModelLoop,
    LoopOptions,
    ModelOptions,
    build_model,
    draw_text,
    load_language_model,
    perplexity,
    read_language_corpus,
    save_language_model,
    score_text,
)
from vastmax.runs import TrainingInterrupted

TEXT = {"tokenizer": "whitespace", "lowercase": False, "unknown": "<unk>", "end_of_sentence": "</s>"}
SMALL: dict[str, Any] = {"dim": 16, "rows": 8, "length": 10}
ADAPTIVE = Method("adaptive", "adaptive", {"cutoffs": [50, 100]})


@pytest.fixture(scope="module")
def corpus() -> LanguageCorpus:
    return read_language_corpus(sentences(300, 8), sentences(20, 8, 1), sentences(20, 8, 2), min_count=2)


def config_of(method: Method, **model: Any) -> RunConfig:
    return RunConfig(method=method, model=ModelOptions(**{**SMALL, **model}), training=LoopOptions(epochs=1), threads=1)


def train(corpus: LanguageCorpus, config: RunConfig, folder: Path | None = None, **more: Any) -> RunResult:
    return run_language_model(corpus, config, folder, text=TEXT, **more)


def log_probs(model: LanguageModel, corpus: LanguageCorpus) -> np.ndarray:
    return perplexity(model, corpus.test, end=corpus.end_of_sentence).log_prob


@pytest.mark.parametrize("label", METHODS)
def test_what_was_trained_is_what_is_read(corpus: LanguageCorpus, tmp_path: Path, label: str) -> None:
    if label == "hierarchical-wordnet" and not Path("/usr/share/wordnet").exists():
        pytest.skip("WordNet's files are not in /usr/share/wordnet")
    run = train(corpus, config_of(METHODS[label]), tmp_path / "model")
    saved = load_language_model(tmp_path / "model")
    np.testing.assert_array_equal(log_probs(saved.model, corpus), log_probs(run.model, corpus))
    assert saved.vocabulary == corpus.vocabulary
    assert (saved.layer.name, saved.layer.options) == (run.record.layer, run.record.options)
    assert saved.options == config_of(METHODS[label]).model
    assert (run.record.building_seconds or 0) > 0
    assert not (tmp_path / "model" / "checkpoint").exists()


@pytest.mark.parametrize(
    ("label", "model"),
    [
        *((label, {"model": "feed-forward", "order": 3}) for label in METHODS if label != "hierarchical-wordnet"),
        ("full", {"tie": True}),
        ("sampled", {"tie": True}),
        ("adaptive", {"tie": True}),
        ("adaptive", {"tie": True, "model": "feed-forward", "linear": True}),
        ("full", {"embedding_dim": 8, "layers": 1}),
    ],
)
def test_every_model_is_read_back(corpus: LanguageCorpus, tmp_path: Path, label: str, model: dict[str, Any]) -> None:
    method = ADAPTIVE if label == "adaptive" else METHODS[label]
    config = config_of(method, **model)
    torch.manual_seed(0)
    built = build_model(config.model, build_layer(method, 16, corpus, threads=1), corpus.end_of_sentence)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    built.eval()
    save_language_model(tmp_path, built, corpus.vocabulary, method.spec, config.model, TEXT)
    read = load_language_model(tmp_path).model
    np.testing.assert_array_equal(log_probs(read, corpus), log_probs(built, corpus))
    assert sum(each.numel() for each in read.parameters()) == sum(each.numel() for each in built.parameters())


@pytest.mark.parametrize(
    ("label", "model"),
    [
        ("full", {"dropout": 0.3}),
        ("sampled", {"batching": "sentence"}),
        ("adaptive-importance", {}),
        ("target-sampling", {}),
        ("hierarchical", {"model": "feed-forward", "dropout": 0.2}),
    ],
)
def test_an_interrupted_run_ends_as_another(
    corpus: LanguageCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, model: dict[str, Any]
) -> None:
    monkeypatch.setattr(LanguageModelLoop, "report_seconds", 0.0)
    config = config_of(METHODS[label], **model)
    whole = train(corpus, config).record
    steps = 0

    def interrupt(_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted) as stopped:
        train(corpus, config, tmp_path, progress=interrupt)
    assert stopped.value.checkpoint == tmp_path / "checkpoint"
    assert 0 < stopped.value.share < 1
    resumed = train(corpus, config, tmp_path).record
    assert resumed.perplexity == whole.perplexity
    assert resumed.words == whole.words
    timed = ("seconds",)
    for there, here in zip(whole.curve, resumed.curve, strict=True):
        assert {k: v for k, v in there.items() if k not in timed} == {k: v for k, v in here.items() if k not in timed}


@pytest.mark.parametrize(
    ("label", "place"), [("adaptive", "vastmax.layers.adaptive.cheapest_cutoffs"), ("hierarchical-clustered", None)]
)
def test_what_was_learnt_for_a_layer_is_taken_from_the_checkpoint(
    corpus: LanguageCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, place: str | None
) -> None:
    """Several threads train the vectors, so another process would not build the same tree."""
    built = 0

    def another(*_: Any, **__: Any) -> Any:
        nonlocal built
        built += 1
        if place:
            return [3 * built]
        return np.random.default_rng(built).normal(size=(len(corpus.vocabulary), 4))

    monkeypatch.setattr(place or "vastmax.comparison.methods._vectors", another)
    monkeypatch.setattr(LanguageModelLoop, "report_seconds", 0.0)
    options = {} if place else {"epsilon": 0.3}  # words in several leaves, so that trees differ in size
    config = config_of(replace(METHODS[label], options={**METHODS[label].options, **options}))

    def interrupt(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted):
        train(corpus, config, tmp_path, progress=interrupt)
    run = train(corpus, config, tmp_path)
    assert built == 1
    assert run.record.building_seconds is None  # unknown after resuming
    saved = load_language_model(str(tmp_path))
    np.testing.assert_array_equal(log_probs(saved.model, corpus), log_probs(run.model, corpus))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu_is_stopped_and_goes_on(
    corpus: LanguageCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageModelLoop, "report_seconds", 0.0)
    training = LoopOptions(epochs=2, precision="bfloat16")
    config = replace(config_of(METHODS["sampled"]), training=training, device="cuda")
    whole = train(corpus, config)

    def interrupt(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted):
        train(corpus, config, tmp_path, progress=interrupt)
    resumed = train(corpus, config, tmp_path)
    np.testing.assert_allclose(log_probs(resumed.model, corpus), log_probs(whole.model, corpus), atol=1e-2)
    saved = load_language_model(tmp_path)  # on the CPU
    np.testing.assert_allclose(log_probs(saved.model, corpus), log_probs(resumed.model, corpus), atol=1e-2)


def test_building_a_layer_takes_the_vectors_of_its_tree_in(
    corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> np.ndarray:
        time.sleep(0.5)
        return np.random.default_rng(0).normal(size=(len(corpus.vocabulary), 4))

    monkeypatch.setattr("vastmax.comparison.methods._vectors", slow)
    assert (train(corpus, config_of(METHODS["hierarchical-clustered"])).record.building_seconds or 0) >= 0.5
    assert (train(corpus, config_of(METHODS["full"])).record.building_seconds or 1) < 0.5


def test_what_is_interrupted_while_it_is_judged_is_not_trained_again(
    corpus: LanguageCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vastmax.comparison import run

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    config = config_of(METHODS["full"])
    judge = run.judge
    monkeypatch.setattr(run, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, config, tmp_path)
    monkeypatch.setattr(run, "judge", judge)
    told: list[Any] = []
    monkeypatch.setattr(LanguageModelLoop, "report_seconds", 0.0)
    resumed = train(corpus, config, tmp_path, progress=told.append)
    assert not [each for each in told if each.doing == "training"], "no step was made"
    assert resumed.record.perplexity == train(corpus, config).record.perplexity


@pytest.fixture(scope="module")
def folder(corpus: LanguageCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    train(corpus, config_of(METHODS["full"]), place)
    return place


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocabulary.tsv"])
def test_damage_is_told_in_a_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / name
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(FormatError):
        load_language_model(tmp_path)
    damaged.unlink()
    with pytest.raises((FormatError, InputError)):
        load_language_model(tmp_path)


def test_files_of_two_models_are_told_apart(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(config.replace('"dim": 16', '"dim": 17'), encoding="utf-8")
    with pytest.raises(FormatError, match="its files do not match"):
        load_language_model(tmp_path)


HOSTILE = [
    *(("model", {"layers": layers}) for layers in (10**6, 2**31 - 1)),
    *(("model", {name: width}) for name in ("dim", "embedding_dim") for width in (10**5, 2**31 - 1)),
    ("model", {"model": "feed-forward", "order": 2**31 - 1}),
    *(("model", wrong) for wrong in ({"layers": "2"}, {"layers": None}, {"none": 1})),
    *(
        ("layer", wrong)
        for wrong in ({"name": "cnn"}, {"name": 7}, {"options": None}, {"options": {"tree": 1}}, {"x": 1})
    ),
    *(("text", wrong) for wrong in ({"tokenizer": []}, {"unknown": None}, {"end_of_sentence": {}}, {"lowercase": 3})),
    *((part, wrong) for part in ("model", "layer", "text") for wrong in (None, [], 7, "x")),
]


@pytest.mark.parametrize(("part", "wrong"), HOSTILE, ids=str)
def test_a_description_is_checked_before_it_is_believed(folder: Path, tmp_path: Path, part: str, wrong: Any) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config[part] = {**config[part], **wrong} if isinstance(wrong, dict) else wrong
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match="is damaged") as caught:
        load_language_model(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert time.monotonic() - began < 30 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_place_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vastmax lm train TRAIN -o DIR"):
        load_language_model(tmp_path)


def test_scores_are_those_of_the_run_and_sum_up(corpus: LanguageCorpus, folder: Path) -> None:
    saved = load_language_model(folder)
    text = sentences(20, 8, 2)  # the test text
    found = score_text(saved, text, keep=True)
    assert found.perplexity == perplexity(saved.model, corpus.test, end=corpus.end_of_sentence).perplexity
    assert found.texts == text
    assert found.sentence_words.tolist() == [9] * 20
    assert found.sentence_log_prob.sum() == pytest.approx(found.log_prob)
    assert np.exp(-found.log_prob / found.words) == pytest.approx(found.perplexity)
    assert found.unknown_share == corpus.unknown_share["test"]


def test_sentences_by_themselves_do_not_depend_on_their_order(folder: Path) -> None:
    saved = load_language_model(folder)
    text = [*sentences(20, 8, 2), ["g0w0"], ["g1w1", "g1w0"]]
    there = score_text(saved, text, batching="sentence").sentence_log_prob
    back = score_text(saved, text[::-1], batching="sentence").sentence_log_prob
    np.testing.assert_allclose(there, back[::-1], atol=1e-5)
    alone = [score_text(saved, [sentence]).log_prob for sentence in text]
    np.testing.assert_allclose(there, alone, atol=1e-5)


def test_draws_repeat_and_leave_out_what_is_forbidden(folder: Path) -> None:
    saved = load_language_model(folder)
    once = draw_text(saved, prompt="g0w0 nonsense\ng1w0", words=30, samples=3, seed=5)
    assert once == draw_text(saved, prompt="g0w0 nonsense\ng1w0", words=30, samples=3, seed=5)
    assert once.texts != draw_text(saved, prompt="g0w0 nonsense\ng1w0", words=30, samples=3, seed=6).texts
    assert once.prompt == ["g0w0", "<unk>", "</s>", "g1w0"]
    assert once.unknown == ["nonsense"]
    assert [len(text) for text in once.texts] == [30] * 3
    likely = draw_text(saved, words=2000, unknown=False, temperature=3.0)
    assert "<unk>" not in likely.texts[0]
    assert "<unk>" in draw_text(saved, words=2000, temperature=3.0).texts[0]
    best = draw_text(saved, words=20, samples=2, top_k=1)
    assert best.texts[0] == best.texts[1]


def test_a_model_of_single_sentences_draws_them_one_by_one(corpus: LanguageCorpus, tmp_path: Path) -> None:
    train(corpus, config_of(Method("full", "full"), batching="sentence"), tmp_path)
    saved = load_language_model(tmp_path)
    once = draw_text(saved, prompt="g0w0 g0w1\ng1w0", words=60, seed=3)
    assert once.prompt == ["g0w0", "g0w1", "</s>", "g1w0"]
    assert once.texts == draw_text(saved, prompt="g1w1 g0w0 g1w0\ng1w0", words=60, seed=3).texts
    text = once.texts[0]
    assert "</s>" in text
    best = draw_text(saved, words=60, top_k=1).texts[0]  # repeats the same best sentence
    assert "</s>" in best
    length = best.index("</s>") + 1
    assert best == (best[:length] * 60)[:60]


@pytest.mark.parametrize(
    "options", [{"words": 0}, {"samples": 0}, {"temperature": 0.0}, {"temperature": float("nan")}, {"top_k": 0}]
)
def test_draws_refuse_what_cannot_be(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        draw_text(load_language_model(folder), **options)


def test_options_are_read_from_text() -> None:
    found = method_with("hierarchical", {"tree": "clustered", "rule": "adaptive", "epsilon": "0.1", "trees": "4"})
    assert found.options == {"tree": "clustered", "rule": "adaptive", "epsilon": 0.1, "trees": 4}
    assert method_with("hierarchical-clustered", {"trees": "2"}).options == {"tree": "clustered", "trees": 2}
    assert method_with("sampled", {"num_samples": "64"}).options == {"num_samples": 64}
    for name, texts in (
        ("sampled", {"trees": "2"}),
        ("no-such-layer", {}),
    ):
        with pytest.raises(InputError):
            method_with(name, texts)


def test_a_word_of_the_text_is_not_taken_out(corpus: LanguageCorpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without removes class 0, '.*', which the train text contains: leave it out"):
        train(corpus, config_of(method_with("full", {"without": "[0]"})), tmp_path)
    assert not any(tmp_path.iterdir())


def test_too_many_open_files(corpus: LanguageCorpus, tmp_path: Path) -> None:
    train(corpus, config_of(METHODS["full"]), tmp_path)
    load_language_model(tmp_path)  # do the lazy imports first
    for number in (0, 1):
        with few_files(number), pytest.raises(InputError, match=r"cannot be read .*Too many open files"):
            load_language_model(tmp_path)
