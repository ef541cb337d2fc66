"""Kernels of every SIMD level against their documented loss, differentiated automatically in float64."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from vastmax import _core

pytestmark = pytest.mark.numerics

LEVELS = _core.simd_levels()
SHAPES = [(1, 1), (2, 3), (3, 2), (6, 1), (5, 6), (12, 12), (12, 14), (13, 7), (17, 16), (33, 17), (128, 64), (5, 512)]
DIMS = [1, 3, 16, 17, 100, 300, 517]


def block_loss(outputs, inputs, positive, total):
    scores = anp.dot(outputs, inputs.T)
    return anp.sum(total * anp.logaddexp(0.0, scores) - positive * scores)


def random_block(outputs, inputs, dim, scale=1.0, seed=0):
    generator = np.random.default_rng([seed, outputs, inputs, dim])
    rows = [generator.normal(0, scale / dim**0.25, (n, dim)).astype(np.float32) for n in (outputs, inputs)]
    positive = generator.integers(0, 3, (outputs, inputs)).astype(np.float32)
    return (*rows, positive, positive + generator.random((outputs, inputs), np.float32))


def assert_close(got, expected, what):
    error = np.abs(got - expected).max()
    assert error <= 3e-6 * max(1.0, np.abs(expected).max()), f"{what}: off by {error}"


def test_every_machine_has_the_plain_level_and_the_best_comes_first():
    assert LEVELS[-1] == "plain"
    assert [level for level in ("avx512", "avx2", "plain") if level in LEVELS] == LEVELS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_at_rate_one_subtracts_the_gradient(level, dim, shape):
    outputs, inputs, positive, total = random_block(*shape, dim)
    exact = [a.astype(np.float64) for a in (outputs, inputs, positive, total)]
    expected = autograd.grad(lambda rows: block_loss(*rows, *exact[2:]))(exact[:2])
    stepped = outputs.copy(), inputs.copy()
    loss = _core.kernel_step(level, *stepped, positive, total, rate=1.0)
    assert loss == pytest.approx(block_loss(*exact), rel=2e-6)
    assert_close(outputs - stepped[0], expected[0], "gradient of the outputs")
    assert_close(inputs - stepped[1], expected[1], "gradient of the inputs")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("score", [0.0, 1e-6, -1e-6, 5.0, -5.0, 30.0, -30.0, 86.0, 88.0, -88.0, 1e4, -1e4, 1e30, -1e30])
def test_sigmoid_and_loss_are_right_in_their_tails(level, score):
    outputs, inputs = np.array([[score]], np.float32), np.ones((1, 1), np.float32)
    for positive in (0.0, 1.0):
        stepped = outputs.copy(), inputs.copy()
        weights = np.full((1, 1), positive, np.float32), np.ones((1, 1), np.float32)
        loss = _core.kernel_step(level, *stepped, *weights, rate=1.0)
        exact = float(np.float32(score))
        expected = np.logaddexp(0, -exact if positive else exact)
        assert abs(loss - expected) <= 1e-6 * expected + 1e-7 * min(1, abs(exact))
        gradient = outputs[0, 0].astype(np.float64) - stepped[0][0, 0]
        assert gradient == pytest.approx(1 / (1 + np.exp(min(-exact, 700.0))) - positive, abs=1e-6 * max(1, abs(exact)))


def logistic(level, score):
    """Return the kernel's total loss and sigmoids of some scores (N,), each rounded only once by the update."""
    # the gradient lands in the second column, which starts at zero
    outputs = np.stack([score, np.zeros_like(score)], axis=1)
    weights = np.zeros((len(score), 1), np.float32), np.ones((len(score), 1), np.float32)
    loss = _core.kernel_step(level, outputs, np.ones((1, 2), np.float32), *weights, rate=1.0)
    return loss, -outputs[:, 1].astype(np.float64)


@pytest.mark.parametrize("level", LEVELS)
def test_the_error_of_the_sigmoid_is_as_stated(level):
    """The bound is the error stated in kernels.inl for exp(-a) plus three roundings."""
    scores = np.concatenate([np.linspace(-87, 87, 30_000), np.linspace(-2, 2, 20_000)]).astype(np.float32)
    sigmoid = np.concatenate([logistic(level, part)[1] for part in np.split(scores, range(128, len(scores), 128))])
    exact = 1 / (1 + np.exp(-scores.astype(np.float64)))
    error = np.abs(sigmoid / exact - 1)
    assert np.all(error <= 2.1e-7 + 3 * 2.0**-24 + 8e-8 * np.maximum(-scores, 0))
    assert error.max() > 2e-7  # the worst case of the polynomial is included


@pytest.mark.parametrize("level", LEVELS)
def test_the_error_of_the_loss_is_as_stated(level):
    """The bound is that of kernels.inl for log(1 + e), plus that for e through the slope and float rounding."""
    scores = np.linspace(-20, 20, 2001).astype(np.float32)
    loss = np.array([logistic(level, scores[i : i + 1])[0] for i in range(len(scores))])
    error = np.abs(loss - np.logaddexp(0, scores.astype(np.float64)))
    of_exponential = (2.1e-7 + 8e-8 * np.abs(scores)) / (1 + np.exp(np.abs(scores)))
    assert np.all(error <= 3.2e-8 + 7e-8 + of_exponential + 2.0**-24 * np.maximum(scores, 0))
    assert error[scores < 0].max() > 6e-8


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_loss(level, bad):
    outputs, inputs, positive, total = random_block(12, 12, 100)
    inputs[3, 50] = bad
    assert not np.isfinite(_core.kernel_step(level, outputs, inputs, positive, total, rate=0.1))


@pytest.mark.parametrize("level", LEVELS)
def test_a_rate_of_zero_changes_nothing(level):
    outputs, inputs, positive, total = random_block(12, 13, 100)
    stepped = outputs.copy(), inputs.copy()
    _core.kernel_step(level, *stepped, positive, total, rate=0.0)
    assert np.array_equal(stepped[0], outputs)
    assert np.array_equal(stepped[1], inputs)


def test_many_steps_bring_the_loss_to_its_minimum():
    """With free scores (d = k + m), the optimum is sigmoid(s) = P / A."""
    outputs, inputs, _, _ = random_block(4, 4, 8)
    share = np.random.default_rng(1).uniform(0.2, 0.8, (4, 4)).astype(np.float32)
    _core.kernel_step(LEVELS[0], outputs, inputs, share, np.ones((4, 4), np.float32), rate=0.1, repeat=20000)
    assert 1 / (1 + np.exp(-outputs @ inputs.T)) == pytest.approx(share, abs=1e-3)
