"""Perplexity against brute force, however a text is cut, and frequency bands against hand-made ones."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tests.oracles import language as oracles
from tests.oracles import tree_probabilities
from vastmax.errors import InputError
from vastmax.language import LSTM, FeedForward, LanguageModel, PerplexityReport, frequency_bands, perplexity
from vastmax.layers import LAYERS, FullSoftmax, build

pytestmark = pytest.mark.numerics

V, D = 12, 5
TEXT = np.random.default_rng(3).integers(0, V, 57)
COUNTS = np.arange(2 * V, V, -1)


def model_over(layer: str, **options: Any) -> LanguageModel:
    torch.manual_seed(1)
    model = LSTM(build(layer, D, COUNTS), layers=1, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64))
    return model


def brute_force(model: LanguageModel) -> np.ndarray:
    """Return log-probabilities (n,), each word given all before it, from the formulas in numpy."""
    before = [0, *TEXT[:-1]]
    cell = {name: each.detach().numpy() for name, each in model.recurrent.named_parameters()}  # type: ignore[union-attr]
    names = {"W0": "weight_ih_l0", "U0": "weight_hh_l0", "b0": "bias_ih_l0", "c0": "bias_hh_l0"}
    weights = {"C": model.embedding.weight.detach().numpy(), **{ours: cell[its] for ours, its in names.items()}}
    hidden = oracles.lstm(weights, before, 1)
    output = {name: each.detach().numpy() for name, each in model.output.named_parameters()}
    if isinstance(model.output, FullSoftmax):
        table = oracles.log_softmax(hidden, output["weight"], output["bias"])
    else:  # the bias is one more dimension, in which hidden vectors are 1
        nodes = np.hstack([output["weight"], output["bias"][:, None]])
        rows = np.hstack([hidden, np.ones((len(hidden), 1))])
        table = np.log([tree_probabilities(model.output.tree, row, nodes) for row in rows])
    np.testing.assert_allclose(np.exp(table).sum(1), 1)
    return table[np.arange(len(TEXT)), TEXT]


@pytest.mark.parametrize("layer", ["full", "hierarchical"])
@pytest.mark.parametrize("length", [1, 7, 57, 100])
def test_one_row_is_brute_force_however_it_is_cut(layer: str, length: int) -> None:
    model = model_over(layer)
    expected = brute_force(model)
    report = perplexity(model, TEXT, end=0, rows=1, length=length)
    np.testing.assert_allclose(report.log_prob, expected, rtol=1e-9, atol=1e-10)
    assert report.target.tolist() == TEXT.tolist()
    assert report.perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-9)


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "cnn"])  # it needs words, not counts
def test_a_batch_that_is_scored_in_parts_is_scored_alike(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = model_over(layer), [*TEXT, *TEXT, *TEXT]
    whole = perplexity(model, text, end=0, rows=3)
    monkeypatch.setattr("vastmax.language.evaluation._LOGITS", 0)  # 16 rows at once
    shares: list[float] = []
    parts = perplexity(model, text, end=0, rows=3, progress=shares.append)
    np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=1e-9, atol=1e-10)
    assert len(shares) > 1 and shares == sorted(shares)


@pytest.mark.parametrize("batching", ["stream", "sentence"])
@pytest.mark.parametrize("rows", [2, 5, 100])
def test_the_words_are_the_texts_in_its_order(batching: str, rows: int) -> None:
    model = model_over("full")
    report = perplexity(model, TEXT, end=0, batching=batching, rows=rows, length=4)
    assert report.target.tolist() == TEXT.tolist()
    assert report.perplexity == pytest.approx(math.exp(-report.log_prob.mean()))


def test_a_sentence_is_scored_by_itself() -> None:
    model = model_over("full")
    text = [3, 4, 0, 5, 0]
    whole = perplexity(model, text, end=0, batching="sentence").log_prob
    parts = [perplexity(model, part, end=0, rows=1).log_prob for part in (text[:3], text[3:])]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_rests_and_the_mode_comes_back(training: bool) -> None:
    model = model_over("full", dropout=0.9).train(training)
    assert perplexity(model, TEXT, end=0).perplexity == perplexity(model, TEXT, end=0).perplexity
    assert model.training is training
    assert model.output.training is training


def test_the_loss_of_an_exact_layer_is_its_logarithm() -> None:
    model = FeedForward(FullSoftmax(D, V), order=3).double()
    words = torch.tensor([[0, *TEXT[:-1]]]).T
    loss, _ = model(words, torch.tensor(TEXT)[:, None])
    assert math.log(perplexity(model, TEXT, end=0, rows=1).perplexity) == pytest.approx(float(loss.detach()))


def test_what_is_impossible_is_infinite() -> None:
    model = model_over("full")
    with torch.no_grad():
        model.output.bias[TEXT[5]] = -1e6
    report = perplexity(model, TEXT, end=0)
    assert report.perplexity == math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frequency_bands(report, COUNTS)[0]["perplexity"] == math.inf


def test_no_word_is_refused() -> None:
    with pytest.raises(InputError, match=r"the text is .*: give word ids"):
        perplexity(model_over("full"), [], end=0)


def test_bands_by_hand() -> None:
    """Ranks are by count, ties by id: here id 1, then 0, then 2 to 104."""
    counts = np.array([5, 9, *[2] * 103])
    log_prob = np.log([0.5, 0.125, 0.1, 0.01])
    report = PerplexityReport(1.0, log_prob, np.array([1, 0, 10, 104]), 1.0)
    bands = frequency_bands(report, counts)
    assert [(band["lowest_rank"], band["highest_rank"], band["words"]) for band in bands] == [
        (1, 10, 2),
        (11, 100, 1),
        (101, 105, 1),
    ]
    assert [band["perplexity"] for band in bands] == pytest.approx([4.0, 10.0, 100.0])


def test_a_band_without_words_has_no_perplexity() -> None:
    bands = frequency_bands(PerplexityReport(2.0, np.log([0.5]), np.array([0]), 1.0), np.arange(20, 0, -1))
    assert [(band["words"], band["perplexity"]) for band in bands] == [(1, pytest.approx(2)), (0, None)]
    with pytest.raises(InputError, match="counts is empty"):
        frequency_bands(PerplexityReport(2.0, np.log([0.5]), np.array([0]), 1.0), [])
