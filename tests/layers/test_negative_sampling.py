"""Negative sampling: its formula, its relation to noise contrastive estimation, and the compiled trainer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.embeddings.trainers.core import LEVELS, NOISE_WORD, make_core, windows
from tests.layers.drawing import COUNTS, D, Given, V, check_formula, some_rows, trained
from tests.oracles import nce_loss
from vastmax.layers import NegativeSampling, NoiseContrastiveEstimation
from vastmax.proposals import UniformProposal, UnigramProposal
from vastmax.text import END_OF_SENTENCE

pytestmark = pytest.mark.numerics


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("keep_hits", [True, False])
def test_loss_and_gradients_are_the_formulas(shared: bool, replacement: bool, keep_hits: bool) -> None:
    layer = trained(NegativeSampling, shared=shared, replacement=replacement, keep_hits=keep_hits, num_samples=9)
    check_formula(layer, lambda *given: nce_loss(*given, keep_hits=keep_hits), neutral=True)


def test_it_is_noise_contrastive_estimation_where_every_class_is_expected_once() -> None:
    hidden, target = some_rows(40)
    found = []
    for kind, options in ((NegativeSampling, {"keep_hits": True}), (NoiseContrastiveEstimation, {})):
        layer = trained(kind, UniformProposal(V), num_samples=V, shared=True, **options)
        torch.manual_seed(4)
        loss = layer(hidden, target)
        found.append([loss, *torch.autograd.grad(loss, [hidden, *layer.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.to_dense(), theirs.to_dense(), rtol=1e-12, atol=1e-12)


def test_its_optimum_is_the_mutual_information_and_no_probability() -> None:
    """At s = log P - log(k Q) the mean gradient over targets drawn from P vanishes; at s = log P it does not."""
    probability = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    proposal, gradients = UnigramProposal(COUNTS, power=0.5), []
    log_noise = proposal.log_prob(torch.arange(V)) + np.log(5)
    for scores in (probability.log() - log_noise, probability.log()):
        layer = NegativeSampling(1, proposal, keep_hits=True, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(scores)  # type: ignore[union-attr]
        torch.manual_seed(5)
        target = torch.multinomial(probability, 100_000, replacement=True)
        layer(torch.ones(len(target), 1, dtype=torch.float64), target).backward()
        gradients.append(float(layer.bias.grad.to_dense().abs().max()))  # type: ignore[union-attr]
    assert gradients[0] < 6e-3 and gradients[1] > 0.03  # standard errors are near 1e-3


def test_defaults_are_word2vecs() -> None:
    layer = NegativeSampling.from_vocabulary(D, COUNTS)
    assert (layer.num_samples, layer.shared, layer.keep_hits) == (5, False, False)
    expected = torch.tensor(COUNTS, dtype=torch.float64).pow(0.75)
    torch.testing.assert_close(layer.proposal.log_prob(torch.arange(V)).exp(), expected / expected.sum())
    assert "keep_hits" not in repr(layer) and "keep_hits=True" in repr(trained(NegativeSampling, keep_hits=True))


# --- the compiled trainer: its in-place update is one step of SGD on this loss ---


def stepped(
    vectors: np.ndarray, outputs: np.ndarray, examples: list[tuple[int, list[int]]], proposal: Given, **how
) -> tuple[Tensor, Tensor, float]:
    """Return both matrices after one step of SGD, and the loss, with context words used one by one or combined."""
    table = torch.nn.Parameter(torch.from_numpy(vectors.astype(np.float64)))
    number = len(proposal.given)
    layer = NegativeSampling(vectors.shape[1], proposal, num_samples=number, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(outputs))
    combine = how.get("combine")
    rows, target = [], []
    for centre, context in examples:
        found = table[torch.tensor(context)]
        found = found if combine is None else (found.mean(0) if combine == "mean" else found.sum(0))[None]
        rows.append(found)
        target += [centre] * len(found)
    loss = layer(torch.cat(rows), torch.tensor(target), reduction="sum")
    loss.backward()
    torch.optim.SGD([table, layer.weight], lr=how.get("rate", 1.0)).step()
    return table.detach(), layer.weight.detach(), loss.item()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("combine", [None, "mean", "sum"])
@pytest.mark.parametrize("sentence", [[0, 1, 2, 3], [0, NOISE_WORD, 2, 3]], ids=["no-hit", "hit"])
def test_the_compiled_update_is_a_step_on_this_loss(level: str, combine: str | None, sentence: list[int]) -> None:
    """Four centres at once against five copies of one negative, which either is one of the centres or is not."""
    cbow = {"cbow": combine is not None, "cbow_mean": combine == "mean", "cbow_divides": combine == "mean"}
    core, vectors, outputs = make_core([*sentence, END_OF_SENTENCE], level=level, drawn=5, **cbow)
    proposal = Given([NOISE_WORD] * 5, [1] * 8)
    table, weight, loss = stepped(vectors, outputs, windows(sentence, 5), proposal, combine=combine)
    assert core.run(0, 1, 1).loss_sum == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(core.vectors, table, atol=2e-5)
    np.testing.assert_allclose(core.outputs, weight, atol=2e-5)
    assert np.abs(core.outputs - outputs).max() > 0.1


@pytest.mark.parametrize("combine", [None, "mean"])
def test_the_compiled_update_with_negatives_that_differ(combine: str | None) -> None:
    vocabulary, centres = 200_000, 4
    noise = np.ones(vocabulary)
    noise[:centres] = 0
    options = {"noise": noise, "vocabulary": vocabulary, "drawn": 5, "cbow": combine is not None, "rate": 0.5}
    core, vectors, outputs = make_core([*range(centres), END_OF_SENTENCE], **options)
    core.run(0, 1, 1)
    changed = np.flatnonzero((core.outputs != outputs).any(axis=1)).tolist()
    assert len(changed) == centres + 5  # the draws are distinct, and the changed rows identify them
    proposal = Given(changed[centres:], np.ones(vocabulary, np.int64).tolist())
    examples = windows(list(range(centres)), 5)
    table, weight, _ = stepped(vectors, outputs, examples, proposal, combine=combine, rate=0.5)
    np.testing.assert_allclose(core.vectors, table, atol=2e-5)
    np.testing.assert_allclose(core.outputs, weight, atol=2e-5)


def test_pairs_one_after_the_other() -> None:
    """Draws fresh negatives for each pair of words, as in the published code."""
    sentence = [0, 1, NOISE_WORD, 3]
    core, vectors, outputs = make_core([*sentence, END_OF_SENTENCE], rate=0.1, sharing="pair", block=1, drawn=5)
    core.run(0, 1, 1)
    proposal = Given([NOISE_WORD] * 5, [1] * 8)
    for centre, context in windows(sentence, 5):
        for word in context:
            table, weight, _ = stepped(vectors, outputs, [(centre, [word])], proposal, rate=0.1)
            vectors, outputs = table.numpy(), weight.numpy()
    np.testing.assert_allclose(core.vectors, vectors, atol=2e-5)
    np.testing.assert_allclose(core.outputs, outputs, atol=2e-5)
