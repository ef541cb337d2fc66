"""A user-defined layer in one file works with every trainer, the comparison, diagnostics and the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vastmax
from tests.cli.program import vastmax as command
from tests.corpora import sentences, write_corpus
from tests.toy_layer import ToySampledSoftmax
from vastmax.comparison import METHODS, RunConfig, method_named, run_language_model
from vastmax.comparison.report import write_report
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions, load_language_model, read_language_corpus, score_text
from vastmax.layers import LAYERS, LayerSpec, diagnose, parse_options

TEXT = {"tokenizer": "whitespace", "lowercase": False, "unknown": "<unk>", "end_of_sentence": "</s>"}
SMALL = ["--dim", "16", "--layers", "1", "--epochs", "1", "--threads", "1", "--held-out", "0.1"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYERS, "toy", ToySampledSoftmax)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "text.txt", count=300)


def test_it_trains_embeddings(text: Path) -> None:
    options: dict[str, Any] = {"dim": 8, "epochs": 1, "min_count": 1, "threads": 1, "engine": "torch"}
    found = vastmax.train(text, objective="toy", layer_options={"num_samples": 4}, **options)
    assert np.isfinite(found.vectors).all() and found.vectors.std() > 0
    with pytest.raises(InputError, match="ToySampledSoftmax has no option 'depth': give one of bias, block_size"):
        vastmax.train(text, objective="toy", layer_options={"depth": 4}, **options)


def test_it_trains_and_scores_a_language_model_on_the_command_line(text: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    trained = command("lm", "train", text, "-o", place, "--output-layer", "toy", "--option", "num_samples=5", *SMALL)
    assert trained.code == 0, trained.err
    scored = command("lm", "score", place, text, "--json")
    assert scored.code == 0, scored.err
    assert 1 < json.loads(scored.out)["perplexity"] < 200
    saved = load_language_model(place)
    assert saved.layer == LayerSpec("toy", {"num_samples": 5})
    assert isinstance(saved.model.output, ToySampledSoftmax) and saved.model.output.num_samples == 5
    wrong = command("lm", "train", text, "--output-layer", "toy", "--option", "depth=5", *SMALL)
    assert wrong.code == 1 and "ToySampledSoftmax has no option 'depth'" in wrong.err


def test_it_is_compared_diagnosed_and_reported(tmp_path: Path) -> None:
    corpus = read_language_corpus(sentences(200, 8), sentences(20, 8, 1), sentences(20, 8, 2), min_count=2)
    assert METHODS["toy-few"].options == {"num_samples": 4}
    records = []
    for label in ("full", "toy", "toy-few"):
        model = ModelOptions(dim=16, rows=8, length=10, tie=label == "toy")
        config = RunConfig(method=method_named(label), model=model, training=LoopOptions(epochs=1), threads=1)
        run = run_language_model(corpus, config, tmp_path / label, text=TEXT)
        records.append(run.record)
        saved = load_language_model(tmp_path / label)
        found = score_text(saved, sentences(20, 8, 2))
        assert found.perplexity == pytest.approx(run.record.perplexity["test"], rel=1e-6)
    record = records[1]
    assert record.kind == "estimator" and "A Toy" in record.reference
    assert record.diagnostics is not None and record.diagnostics["samples"] == 16
    errors = record.gradient_error or []
    assert [point["samples"] for point in errors] == [8, 32, 128][: len(errors)] and len(errors) >= 1
    assert errors[-1]["gradient_rmse"] < errors[0]["gradient_rmse"]
    write_report(records, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "toy-few" in page


def test_it_is_asked_before_every_batch() -> None:
    from tests.language.loops import StopAfter, small_loop, small_model

    model = small_model("toy")
    loop = small_loop(model, epochs=2)
    loop.run(StopAfter())
    assert isinstance(model.output, ToySampledSoftmax)
    assert len(model.output.prepared) == 2 * len(loop._batches)


def test_it_is_rebuilt_and_diagnosed() -> None:
    spec = LayerSpec("toy", parse_options("toy", {"num_samples": "8", "bias": "false"}))
    layer = spec.build(8, [5, 4, 3, 2, 1, 1])
    again = spec.rebuild(8, [5, 4, 3, 2, 1, 1], layer.state_dict())
    again.load_state_dict(layer.state_dict())
    hidden = torch.randn(5, 8)
    assert torch.equal(layer.log_prob(hidden), again.log_prob(hidden))
    found = diagnose(layer, hidden, torch.tensor([0, 1, 2, 3, 4]))
    assert found.samples == 8 and found.gradient_std > 0
