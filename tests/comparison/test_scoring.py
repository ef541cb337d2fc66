"""How much of the held-out texts is scored, and the estimated time."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.corpora import sentences
from vastmax.comparison import RunConfig, estimated_seconds, method_named, within_budget
from vastmax.comparison import scoring as module
from vastmax.errors import InputError
from vastmax.language import LanguageCorpus, LoopOptions, ModelOptions, read_language_corpus


@pytest.fixture(scope="module")
def corpus() -> LanguageCorpus:
    return read_language_corpus(sentences(100, 20), sentences(400, 20, 1), sentences(400, 20, 2), min_count=2)


def config(minutes: float | None, dim: int = 4000, **options: Any) -> RunConfig:
    training = LoopOptions(minutes=minutes, validations=3, **options)
    return RunConfig(method=method_named("full"), model=ModelOptions(dim=dim, layers=2), training=training)


def test_texts_are_cut_to_what_the_budget_pays_for(corpus: LanguageCorpus) -> None:
    cut = within_budget(corpus, [config(0.6), config(0.7)])
    operations = 2 * 4000 * (len(corpus.vocabulary) + 8 * 4000 * 2)
    words = 0.25 * 36 * 2e10 / operations  # for the shorter run; half for the test text
    assert len(cut.test) == max(500, int(words / 2)) == 500
    cut = within_budget(corpus, [config(10), config(12)])
    words = 0.25 * 600 * 2e10 / operations
    assert len(cut.test) == int(words / 2) and len(cut.valid) == int(words / 8)  # three validations and training text
    assert len(within_budget(corpus, [config(10)], 0.125).valid) == max(500, int(words / 16))
    np.testing.assert_array_equal(cut.test, corpus.test[: len(cut.test)])
    np.testing.assert_array_equal(cut.train, corpus.train)
    assert cut.fingerprint != corpus.fingerprint
    assert cut.names["test"].endswith(f"(its first {len(cut.test):,} words)")


def test_the_cut_is_the_same_on_every_device(corpus: LanguageCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison may resume with another --device and must keep one text."""
    configs = [config(10)]
    here, time = within_budget(corpus, configs), estimated_seconds(corpus, configs) or 0
    monkeypatch.setattr(module, "check_device", lambda _: torch.device("cuda"))
    assert within_budget(corpus, configs).fingerprint == here.fingerprint != corpus.fingerprint
    assert (estimated_seconds(corpus, configs) or time) < time


def test_nothing_is_cut_where_there_is_time(corpus: LanguageCorpus) -> None:
    for configs, share in (([config(1, dim=8)], 0.25), ([config(None)], 0.25), ([config(1), config(None)], 0.25)):
        assert within_budget(corpus, configs, share) is corpus
    assert within_budget(corpus, [config(0.6)], 0) is corpus


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), "half", True])
def test_a_share_that_cannot_be(corpus: LanguageCorpus, share: Any) -> None:
    with pytest.raises(InputError, match="scoring is"):
        within_budget(corpus, [config(1)], share)


def test_what_a_comparison_takes(corpus: LanguageCorpus) -> None:
    configs = [config(10), config(12)]
    bounded = estimated_seconds(within_budget(corpus, configs), configs)
    assert bounded == pytest.approx(60 * 22 + 0.25 * 600 * 2, rel=0.02)  # the shorter run limits both
    whole = estimated_seconds(corpus, configs)
    operations = 2 * 4000 * (len(corpus.vocabulary) + 8 * 4000 * 2)
    words = len(corpus.test) + 4 * len(corpus.valid)
    assert whole == pytest.approx(60 * 22 + 2 * words * operations / 2e10, rel=0.02)
    assert estimated_seconds(corpus, [config(1), config(None)]) is None
