"""Language models under autocast: close to float32 on every processor, also where torch has no half-precision LSTM."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vastmax.language import LSTM, MODELS, LanguageModel, State
from vastmax.layers import build

V, D = 60, 16
generator = torch.Generator().manual_seed(0)
WORDS, TARGET, MORE = (torch.randint(V, (9, 4), generator=generator) for _ in range(3))


def spread(kind: type[LanguageModel]) -> LanguageModel:
    """Return a model with weights as after training: gates and tanh outside their linear range."""
    model = kind(build("full", D, [3] * V))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def two_calls(model: LanguageModel, dtype: torch.dtype | None) -> tuple[Tensor, dict[str, Tensor], State]:
    """Return the loss () and gradients of a text cut in two, and the final state."""
    model.zero_grad()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        hidden, state = model.hidden(WORDS)
        _, after = model.hidden(MORE, state)
        loss = model.output(hidden, TARGET) + model(MORE, TARGET, state)[0]
    loss.backward()
    return loss.detach(), {name: each.grad.to_dense() for name, each in model.named_parameters()}, after


def check_autocast(kind: type[LanguageModel], dtype: torch.dtype) -> None:
    model = spread(kind)
    exact, exact_gradients, exact_state = two_calls(model, None)
    loss, gradients, state = two_calls(model, dtype)
    share = {torch.bfloat16: 0.03, torch.float16: 0.004}[dtype]  # several successive roundings of 2^-8 or 2^-11
    torch.testing.assert_close(loss, exact, rtol=share / 10, atol=0)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert (gradient - exact_gradients[name]).norm() <= share * exact_gradients[name].norm(), name
    for found, expected in zip(state, exact_state, strict=True):
        torch.testing.assert_close(found.to(expected.dtype), expected, rtol=share, atol=share)


def check_states_of_other_processors() -> None:
    """A checkpoint may move between processors where autocast reaches the LSTM and where it does not."""
    model = spread(LSTM)
    exact, _ = model(WORDS, TARGET, model.hidden(MORE)[1])
    for carried in (torch.float32, torch.bfloat16):
        state = tuple(each.to(carried) for each in model.hidden(MORE)[1])
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = model(WORDS, TARGET, state)
        torch.testing.assert_close(loss, exact, rtol=0.003, atol=0)


def check_chance_is_left_alone() -> None:
    """In a new process, before any LSTM probe: seeds give the same draws on every processor."""
    model = spread(LSTM)
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        model(WORDS, TARGET)
    assert torch.equal(torch.get_rng_state(), before)


def check_torch_has_no_lstm() -> None:
    """Otherwise the test proves nothing, or the workaround is no longer needed."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="LSTM"):
        nn.LSTM(D, D)(torch.zeros(2, 1, D))


def check_on_a_lesser_processor() -> None:
    check_chance_is_left_alone()
    check_torch_has_no_lstm()
    for kind in MODELS.values():
        for dtype in (torch.bfloat16, torch.float16):
            check_autocast(kind, dtype)
    check_states_of_other_processors()


every_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


@pytest.mark.numerics
@every_half
@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS)
def test_loss_gradients_and_state_are_near_float32(kind: type[LanguageModel], dtype: torch.dtype) -> None:
    check_autocast(kind, dtype)


@pytest.mark.numerics
def test_states_of_other_processors_are_gone_on_from() -> None:
    check_states_of_other_processors()


@pytest.mark.numerics
@every_half
@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS)
def test_words_are_scored_without_gradients(kind: type[LanguageModel], dtype: torch.dtype) -> None:
    model = spread(kind).eval()
    exact = model.output.log_prob(model.hidden(WORDS)[0])
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        scored = model.output.log_prob(model.hidden(WORDS)[0])
    torch.testing.assert_close(scored, exact, rtol=0.01, atol=0)


@pytest.mark.numerics
@every_half
@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS)
def test_models_cast_as_a_whole(kind: type[LanguageModel], dtype: torch.dtype) -> None:
    exact, _ = spread(kind)(WORDS, TARGET)
    loss, _ = spread(kind).to(dtype)(WORDS, TARGET)
    torch.testing.assert_close(loss, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("isa", ["AVX2", "SSE41"])
def test_on_a_processor_without_half_precision(isa: str) -> None:
    """In a subprocess, as oneDNN reads its level only once."""
    call = "from tests.language import test_autocast as t; t.check_on_a_lesser_processor()"
    subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        cwd=Path(__file__).parents[2],
        check=True,
    )
