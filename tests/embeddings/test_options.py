"""Options: the error for a bad value is one sentence naming the option, the value and what is accepted."""

import os
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from vastmax.embeddings import EmbeddingOptions
from vastmax.errors import InputError


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("model", "glove", "'skipgram' or 'cbow'"),
        ("objective", "ns", "'negative-sampling' or 'hierarchical'"),
        ("sharing", "all", "'block', 'window' or 'pair'"),
        ("cbow_combine", "max", "'mean' or 'sum'"),
        ("cbow_gradient", "", "'corrected' or 'published'"),
        ("subsample_formula", None, "'word2vec' or 'paper'"),
        ("dim", 0, "from 1 to"),
        ("dim", 2.5, "whole number"),
        ("dim", True, "whole number"),
        ("dim", "100", "whole number"),
        ("window", -1, "from 1 to"),
        ("negatives", 0, "from 1 to"),
        ("epochs", 0, "from 1 to"),
        ("seed", -1, "from 0 to"),
        ("seed", 2**63, "from 0 to"),
        ("threads", 0, "from 1 to"),
        ("subsample", 1.5, "from 0 to 1"),
        ("subsample", float("nan"), "from 0 to 1"),
        ("negative_exponent", float("inf"), "from -10 to 10"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", -1, "above 0"),
        ("min_learning_rate", -1e-9, "from 0"),
        ("shrink_window", 1, "true or false"),
    ],
)
def test_bad_value_is_one_sentence(name: str, value: Any, accepted: str) -> None:
    with pytest.raises(InputError) as caught:
        EmbeddingOptions(**{name: value})
    message = str(caught.value)
    assert message.startswith(name)
    assert repr(value) in message
    assert accepted in message
    assert "\n" not in message


def test_rates_that_cross_are_refused() -> None:
    with pytest.raises(InputError, match=r"min_learning_rate is 0\.1: give at most the learning_rate, 0\.05"):
        EmbeddingOptions(min_learning_rate=0.1)


def test_bounds_are_accepted() -> None:
    EmbeddingOptions(dim=1, window=1, negatives=1, epochs=1, seed=0, threads=1, subsample=0, min_learning_rate=0)
    EmbeddingOptions(seed=2**63 - 1, subsample=1, negative_exponent=-1, learning_rate=0.5, min_learning_rate=0.5)


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        EmbeddingOptions().dim = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, (0.085, 0.05, 0.031)),
        ({"objective": "hierarchical"}, (0.055, 0.032, 0.02)),
        ({"model": "cbow"}, (0.3, 0.26, 0.17)),
        ({"model": "cbow", "cbow_gradient": "published"}, (0.12, 0.12, 0.074)),
        ({"model": "cbow", "cbow_combine": "sum"}, (0.05, 0.05, 0.031)),
        ({"model": "cbow", "cbow_combine": "sum", "cbow_gradient": "published"}, (0.05, 0.05, 0.031)),
        ({"window": 1}, (0.085, 0.05, 0.031)),
        ({"negatives": 40}, (0.043, 0.043, 0.031)),
        ({"negatives": 40, "objective": "hierarchical"}, (0.055, 0.032, 0.02)),
        ({"model": "cbow", "negatives": 40}, (0.23, 0.23, 0.17)),
        ({"window": 20}, (0.043, 0.025, 0.016)),
        ({"model": "cbow", "window": 20}, (0.3, 0.26, 0.17)),
        ({"model": "cbow", "window": 20, "cbow_combine": "sum"}, (0.013, 0.012, 0.0078)),
        ({"engine": "torch", "window": 20}, (0.1, 0.1, 0.1)),
        ({"learning_rate": 0.01}, (0.01, 0.01, 0.01)),
    ],
)
def test_learning_rate_by_model_objective_and_epochs(options: dict[str, Any], rates: tuple[float, ...]) -> None:
    assert tuple(EmbeddingOptions(**options, epochs=each).initial_learning_rate for each in (1, 5, 20)) == rates


@pytest.mark.parametrize("options", [{}, {"model": "cbow"}, {"objective": "hierarchical"}, {"engine": "torch"}])
def test_ten_copies_of_a_text_are_one_read_ten_times(options: dict[str, Any]) -> None:
    once = EmbeddingOptions(**options, epochs=1).for_corpus(200_000_000)
    assert once.learning_rate == EmbeddingOptions(**options, epochs=10).for_corpus(20_000_000).learning_rate
    usual = EmbeddingOptions(**options)
    assert (
        usual.for_corpus(20_000_000).learning_rate
        == usual.for_corpus(1_000).learning_rate
        == usual.initial_learning_rate
    )
    assert EmbeddingOptions(**options, learning_rate=0.7).for_corpus(10**12).learning_rate == 0.7


def test_threads_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert EmbeddingOptions(threads=3).num_threads == 3
    if hasattr(os, "sched_getaffinity"):
        assert EmbeddingOptions().num_threads == len(os.sched_getaffinity(0))
    else:
        assert EmbeddingOptions().num_threads == os.cpu_count()
