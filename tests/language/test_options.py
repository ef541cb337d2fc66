"""Schedules against hand-made tables, and rejected values."""

import math
from typing import Any

import pytest

from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions


def rates(options: LoopOptions, epochs: int) -> list[float]:
    """Return the learning rate at the start of each epoch."""
    return [options.rate(epoch / epochs, 0) for epoch in range(epochs)]


def test_halving_is_zarembas_small_network() -> None:
    """13 epochs: rate 1 for 4, then halved at each."""
    options = LoopOptions(epochs=13, optimizer="sgd", learning_rate=1.0, schedule="halving")
    assert rates(options, 13) == [1, 1, 1, 1, *(0.5**k for k in range(1, 10))]
    assert options.rate(3.99 / 13, 0) == 1
    assert options.rate(1.0, 0) == 0.5**9


def test_halving_is_zarembas_medium_network() -> None:
    """39 epochs: rate 1 for 6, then divided by 1.2 at each."""
    options = LoopOptions(epochs=39, learning_rate=1.0, schedule="halving", decay=1 / 1.2, constant_epochs=6)
    assert rates(options, 39) == pytest.approx([1.0] * 6 + [1.2**-k for k in range(1, 34)])


@pytest.mark.parametrize(
    ("options", "share", "setbacks", "rate"),
    [
        ({"schedule": "constant"}, 0.99, 7, 2.0),
        ({"schedule": "linear"}, 0.0, 7, 2.0),
        ({"schedule": "linear"}, 0.25, 0, 1.5),
        ({"schedule": "linear"}, 1.0, 0, 0.0),
        ({"schedule": "plateau"}, 0.9, 0, 2.0),
        ({"schedule": "plateau"}, 0.0, 3, 0.25),
        ({"schedule": "plateau", "decay": 0.1}, 0.0, 2, 0.02),
        ({"schedule": "halving", "epochs": 0.5}, 0.9, 0, 2.0),
        ({"schedule": "halving", "epochs": 2.5, "constant_epochs": 1}, 0.9, 0, 0.5),
        ({"schedule": "halving", "epochs": 2, "constant_epochs": 0}, 0.0, 0, 1.0),
    ],
)
def test_schedules(options: dict[str, Any], share: float, setbacks: int, rate: float) -> None:
    assert LoopOptions(learning_rate=2.0, **options).rate(share, setbacks) == pytest.approx(rate)


@pytest.mark.parametrize(("optimizer", "rate"), [("adagrad", 0.1), ("adam", 0.002), ("sgd", 20.0)])
def test_a_default_rate_for_each_optimizer(optimizer: Any, rate: float) -> None:
    assert LoopOptions(optimizer=optimizer).initial_learning_rate == rate


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", math.nan),
        ("epochs", "5"),
        ("minutes", 0),
        ("minutes", -1),
        ("optimizer", "rmsprop"),
        ("learning_rate", 0),
        ("learning_rate", math.inf),
        ("schedule", "cosine"),
        ("decay", 0),
        ("decay", 1.1),
        ("constant_epochs", -1),
        ("max_norm", -0.1),
        ("patience", 1.5),
        ("validations", -1),
        ("precision", "float16"),
        ("num_candidates", 0),
        ("seed", -1),
        ("seed", True),
    ],
)
def test_a_value_that_is_not_accepted_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} is {value!r}: give "):
        LoopOptions(**{name: value})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "transformer"}, "model is 'transformer': give 'lstm' or 'feed-forward'"),
        ({"batching": "page"}, "batching is 'page': give 'stream' or 'sentence'"),
        ({"dim": 0}, "dim is 0: give a whole number from 1"),
        ({"dim": "200"}, "dim is '200': give a whole number"),
        ({"rows": 2.5}, "rows is 2.5: give a whole number"),
        ({"embedding_dim": 0}, "embedding_dim is 0: give"),
        ({"order": 1}, "order is 1: give a whole number from 2"),
        ({"layers": True}, "layers is True: give"),
        ({"dropout": "much"}, "dropout is 'much': give a number from 0 to below 1"),
        ({"dropout": 1}, "dropout is 1: give a number from 0 to below 1"),
        ({"initial_range": 0}, "initial_range is 0: give a number above 0"),
        ({"tie": "yes"}, "tie is 'yes': give true or false"),
    ],
)
def test_model_options_that_cannot_be(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ModelOptions(**options)
