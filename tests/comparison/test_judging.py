"""The brute-force check of a layer, and what judging leaves unchanged."""

import dataclasses

import pytest
import torch

from tests.corpora import sentences
from vastmax.comparison.judging import check_by_brute_force, diagnose, judge
from vastmax.errors import VastmaxError
from vastmax.language import LSTM, perplexity, read_language_corpus
from vastmax.layers import FullSoftmax, build

pytestmark = pytest.mark.filterwarnings("ignore:no word of the training text is unknown")


class Unnormalised(FullSoftmax):
    """Distorts log Z slightly, everywhere or for one class of its table."""

    table: float = 0.0
    score: float = 0.0
    broken: float = 0.0

    def _log_prob(self, hidden):
        found = super()._log_prob(hidden) + self.table
        found[0, -1] += self.broken
        return found

    def _target_log_prob(self, hidden, target):
        return super()._target_log_prob(hidden, target) + self.score


def check(**wrong: float) -> dict[str, float | int]:
    torch.manual_seed(0)
    layer = Unnormalised(4, 9)
    for name, value in wrong.items():
        setattr(layer, name, value)
    return check_by_brute_force(layer, torch.randn(3, 4), torch.tensor([0, 1, 2]))


def test_a_sound_layer_passes() -> None:
    facts = check()
    assert facts["rows"] == 3
    assert max(facts["largest_difference"], facts["largest_sum_error"]) < 1e-5


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": 0.1, "score": 0.1},  # both equally, so that only the sum reveals it
        {"table": -0.1, "score": -0.1},
        {"score": 0.1},
        {"score": float("nan")},
        {"broken": float("nan")},  # for a class that is no target
        {"broken": 5.0},
    ],
)
def test_a_layer_that_does_not_sum_to_1_is_found(wrong: dict[str, float]) -> None:
    with pytest.raises(VastmaxError, match="Unnormalised's log-probabilities differ from brute force"):
        check(**wrong)


def test_a_judgement_has_its_parts_and_changes_nothing() -> None:
    corpus = read_language_corpus(sentences(60), sentences(20, seed=1), sentences(30, seed=2), min_count=1)
    layer = build("sampled", 8, corpus.vocabulary, num_samples=5)
    model = LSTM(layer, layers=1, dropout=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = judge(model, corpus, "stream") | diagnose(model, corpus)
    texts = {"train": corpus.train[: len(corpus.valid)], "valid": corpus.valid, "test": corpus.test}
    end = corpus.end_of_sentence
    assert found["perplexity"] == {name: perplexity(model, ids, end=end).perplexity for name, ids in texts.items()}
    assert len(set(found["perplexity"].values())) == 3
    assert sum(band["words"] for band in found["bands"]) == len(corpus.test)
    assert [point["samples"] for point in found["gradient_error"]] == [8, 32, 128]
    assert found["brute_force"]["rows"] == 16
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert layer.num_samples == 5


def test_a_partial_softmax_has_an_error_of_its_gradient_too() -> None:
    corpus = read_language_corpus(sentences(60), sentences(20, seed=1), sentences(30, seed=2), min_count=1)
    layer = build("partial", 8, corpus.vocabulary)
    errors = diagnose(LSTM(layer, layers=1), corpus)["gradient_error"]
    assert [point["samples"] for point in errors] == [8, 32, 128]
    assert errors[0]["gradient_rmse"] > errors[-1]["gradient_rmse"] > 0
    assert (layer.head, layer.tail) == (100, 1000)


@pytest.mark.parametrize("words", [100, 128, 129, 200, 400])
def test_diagnostics_are_of_more_than_a_row(words: int) -> None:
    corpus = read_language_corpus(sentences(60), sentences(60, seed=1), sentences(30, seed=2), min_count=1)
    corpus = dataclasses.replace(corpus, valid=corpus.valid[:words])
    model = LSTM(build("full", 8, corpus.vocabulary), layers=1)
    assert diagnose(model, corpus)["diagnostics"]["rows"] == min(words, 128)
