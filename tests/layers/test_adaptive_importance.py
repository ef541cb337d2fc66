"""Adaptive importance sampling: the formula, when and how the proposal adapts, and the benefit of adaptation."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import oracles
from tests.layers.contract import sharpened
from vastmax import ops
from vastmax.errors import InputError
from vastmax.layers import AdaptiveImportanceSampledSoftmax, ImportanceSampledSoftmax, build, diagnose
from vastmax.proposals import BigramProposal, UnigramProposal

D, V, N = 5, 12, 6
TOKENS = np.random.default_rng(0).choice(V, 60, p=np.arange(V, 0, -1) / (V * (V + 1) / 2)).tolist() + list(range(V))
CONTEXT = torch.tensor([1, 1, 0, 5, -1, 3])
TARGET = torch.tensor([2, 0, 4, 4, 1, 11])


class Scripted(BigramProposal):
    """A proposal that draws the given blocks in turn."""

    blocks: list[Tensor]

    def _draw_judged(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        block = self.blocks.pop(0)
        assert block.shape == shape
        return block, self.log_prob(block, context)


def layer_of(**options) -> AdaptiveImportanceSampledSoftmax:
    torch.manual_seed(0)
    proposal = BigramProposal.from_tokens(TOKENS, V)
    layer = AdaptiveImportanceSampledSoftmax(D, proposal, dtype=torch.float64, **options)
    sharpened(layer)
    return layer


def scripted(*blocks: np.ndarray, **options) -> AdaptiveImportanceSampledSoftmax:
    torch.manual_seed(0)
    proposal = Scripted.from_tokens(TOKENS, V)
    proposal.blocks = [torch.from_numpy(block) for block in blocks]
    layer = AdaptiveImportanceSampledSoftmax(D, proposal, dtype=torch.float64, **options)
    sharpened(layer)
    return layer


def rows_of() -> Tensor:
    return torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def stated(layer: AdaptiveImportanceSampledSoftmax) -> Tensor:
    """Return log Q (V + 1, V): the last V rows are for each previous class, the first for none."""
    return layer.proposal.log_prob(torch.arange(V).expand(V + 1, -1), torch.arange(-1, V))


# --- the formula ---


@pytest.mark.numerics
def test_loss_and_gradients_are_the_formula_with_each_rows_own_proposal() -> None:
    truth = oracles.BigramOracle(TOKENS, V)
    drawn = np.stack([np.random.default_rng(i).choice(V, 20) for i in range(N)])
    layer, hidden = scripted(drawn, num_samples=20, effective_samples=0.5), rows_of()
    with ops.using(guarded_draws="torch"):  # this backend calls the proposal
        loss = layer(hidden, TARGET, context=CONTEXT, reduction="none")
    loss.sum().backward()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr]
    to_weight = np.zeros_like(weight)
    for i, h in enumerate(hidden.detach().numpy()):
        proposal = [truth.probability(w, int(CONTEXT[i])) for w in range(V)]
        given = h, weight, bias, int(TARGET[i]), drawn[i].tolist(), proposal
        assert loss[i].item() == pytest.approx(oracles.importance_loss(*given), rel=1e-11)
        wanted = oracles.importance_gradients(*given)
        assert hidden.grad is not None
        np.testing.assert_allclose(hidden.grad[i].numpy(), wanted[0], rtol=1e-10, atol=1e-12)
        to_weight += wanted[1]
    assert layer.weight.grad is not None and layer.weight.grad.is_sparse
    np.testing.assert_allclose(layer.weight.grad.to_dense().numpy(), to_weight, rtol=1e-10, atol=1e-12)


def test_a_step_teaches_both_tables_and_then_the_mixture() -> None:
    """Some rows draw one block and some two; W is the set of distinct classes that a row drew."""
    truth = oracles.BigramOracle(TOKENS, V)
    first = np.stack([np.random.default_rng(i).integers(0, V, 4) for i in range(N)])
    second = np.stack([np.random.default_rng(i + N).integers(0, V, 4) for i in range(N)])
    probe, hidden = layer_of(num_samples=4), rows_of()
    logits = torch.nn.functional.linear(hidden, probe.weight, probe.bias).detach().numpy()
    sizes = []
    for i in range(N):
        proposal = [truth.probability(w, int(CONTEXT[i])) for w in range(V)]
        sizes.append(oracles.effective_sample_size(logits[i], proposal, first[i].tolist()))
    lowest, highest = sorted(sizes)[N // 2 - 1 : N // 2 + 1]
    target = (lowest + highest) / 2
    going = [i for i in range(N) if sizes[i] < target]
    layer = scripted(
        first,
        second[going],
        num_samples=4,
        effective_samples=target,
        max_samples=8,
        adaptation_rate=0.3,
        mixture_rate=0.7,
    )
    before = layer.proposal.unigram_share(CONTEXT)
    for i, h in enumerate(CONTEXT.tolist()):
        assert before[i].item() == pytest.approx(truth.share.get(h, 1.0), rel=1e-12)
    with ops.using(guarded_draws="torch"):  # this backend calls the proposal
        layer(hidden, TARGET, context=CONTEXT).backward()
    drawn = []
    for i in range(N):
        met = sorted({*first[i].tolist(), *(second[i].tolist() if i in going else [])})
        total = sum(math.exp(logits[i][w]) for w in met)
        drawn.append({w: math.exp(logits[i][w]) / total for w in met})
    truth.adapt(CONTEXT.tolist(), drawn, 0.3)
    tables = layer.proposal.unigram.weights / layer.proposal.unigram.total
    np.testing.assert_allclose(tables.numpy(), truth.unigram, rtol=1e-10)
    slope: dict[int, list[float]] = {}
    for i, h in enumerate(CONTEXT.tolist()):
        if h in truth.bigram:
            log_odds = float(torch.logit(before[i]))
            above, below = (
                truth.divergence(h, drawn[i], 1 / (1 + math.exp(-log_odds - step))) for step in (1e-5, -1e-5)
            )
            slope.setdefault(truth.bin(truth_row(h)), []).append((above - below) / 2e-5)
    after = layer.proposal.unigram_share(CONTEXT)
    for i, h in enumerate(CONTEXT.tolist()):
        if h in truth.bigram:
            move = -0.7 * float(np.mean(slope[truth.bin(truth_row(h))]))
            assert torch.logit(after[i]) - torch.logit(before[i]) == pytest.approx(move, rel=1e-4, abs=1e-8)
            assert move != 0
        else:
            assert after[i] == before[i] == 1


def truth_row(history: int) -> dict[int, int]:
    """Return the counts of the classes that followed a history, which determine its bin."""
    row: dict[int, int] = {}
    for previous, following in pairwise(TOKENS):
        if previous == history:
            row[following] = row.get(following, 0) + 1
    return row


def test_moves_keep_each_table_at_one() -> None:
    layer = layer_of(num_samples=8, effective_samples=4, adaptation_rate=0.5, mixture_rate=1.0)
    before = stated(layer)
    for _ in range(20):
        layer(rows_of(), TARGET, context=CONTEXT).backward()
    after = stated(layer)
    torch.testing.assert_close(after.exp().sum(1), torch.ones(V + 1, dtype=torch.float64), rtol=1e-10, atol=0)
    assert (after - before).abs()[torch.tensor([0, 1, 2, 4, 6])].amax(1).min() > 0.1  # for contexts and for none


# --- when it adapts ---


def test_it_adapts_in_training_alone() -> None:
    layer, hidden = layer_of(), rows_of()
    before = stated(layer)
    with torch.no_grad():
        layer(hidden, TARGET, context=CONTEXT)
    layer.eval()
    layer(hidden, TARGET, context=CONTEXT).backward()
    diagnose(layer, hidden, TARGET, context=CONTEXT, repeats=2)
    layer.target_log_prob(hidden, TARGET)
    assert torch.equal(stated(layer), before)
    layer.train()
    layer(hidden, TARGET, context=CONTEXT).backward()
    assert not torch.equal(stated(layer), before)


def test_a_rate_of_zero_keeps_the_proposal() -> None:
    layer = layer_of(adaptation_rate=0, mixture_rate=0)
    before = stated(layer)
    layer(rows_of(), TARGET, context=CONTEXT).backward()
    assert torch.equal(stated(layer), before)


def test_compiled_code_adapts_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator runs the loss in forward and again in backward, with the same draws and a single adaptation."""
    torch.compiler.reset()
    layer = layer_of(num_samples=8)
    calls = []
    adapt = layer.proposal.adapt_to_draws
    monkeypatch.setattr(
        layer.proposal, "adapt_to_draws", lambda *given, **rates: calls.append(given) or adapt(*given, **rates)
    )
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    compiled(rows_of(), TARGET, context=CONTEXT).backward()
    assert len(calls) == 1


def test_without_a_context_the_unigram_table_alone_is_used_and_moved() -> None:
    layer, hidden = layer_of(num_samples=8), rows_of()
    bigrams, mixture = layer.proposal.bigram.weights.clone(), layer.proposal.mixture.clone()
    unigram = layer.proposal.unigram.weights.clone()
    layer(hidden, TARGET).backward()
    assert torch.equal(layer.proposal.bigram.weights, bigrams) and torch.equal(layer.proposal.mixture, mixture)
    assert not torch.equal(layer.proposal.unigram.weights, unigram)


def test_a_spoilt_row_teaches_nothing() -> None:
    layer = layer_of(num_samples=8, adaptation_rate=0.5, mixture_rate=1.0)
    hidden = rows_of().detach()
    hidden[2] = torch.nan
    layer(hidden, TARGET, context=CONTEXT).backward()
    assert not stated(layer).isnan().any()


@pytest.mark.parametrize("scale", [300.0, 1000.0])
def test_logits_of_thousands_spoil_no_table(scale: float) -> None:
    """Classes drawn together are thousands of nats apart, so dividing by the underflowing share of one overflows."""
    torch.manual_seed(0)
    tokens = torch.randint(50, (2000,))
    layer = AdaptiveImportanceSampledSoftmax(8, BigramProposal.from_tokens(tokens.numpy(), 50), num_samples=16)
    before = layer.proposal.bigram.total.clone(), layer.proposal.unigram.total.clone()
    for batch in range(30):
        rows = torch.arange(batch * 60, batch * 60 + 60)
        loss = layer(scale * torch.randn(60, 8), tokens[rows + 1], context=tokens[rows])
        loss.backward()
        assert loss.isfinite()
    after = layer.proposal.bigram.total, layer.proposal.unigram.total
    torch.testing.assert_close(after, before, rtol=1e-9, atol=0)


def test_what_it_has_learnt_travels_in_the_state() -> None:
    layer, other = layer_of(adaptation_rate=0.5), layer_of()
    layer(rows_of(), TARGET, context=CONTEXT).backward()
    assert not torch.allclose(stated(layer), stated(other))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(stated(layer), stated(other))
    twin = copy.deepcopy(layer)
    layer.reset_parameters()
    assert torch.equal(stated(layer), stated(layer_of())) and torch.equal(stated(twin), stated(other))


# --- the benefit ---


def test_it_follows_a_model_that_the_text_does_not_foretell() -> None:
    """Targets follow other bigrams than the proposal's text: KL and samples drop below those of a fixed proposal."""
    generator = np.random.default_rng(0)
    classes, rows = 60, 128
    truth = torch.from_numpy(generator.dirichlet(np.full(classes, 0.1), classes))
    tokens = generator.integers(0, classes, 20_000)
    results = {}
    for rate in (0.1, 0.0):
        torch.manual_seed(0)
        layer = AdaptiveImportanceSampledSoftmax(
            16,
            BigramProposal.from_tokens(tokens, classes),
            num_samples=16,
            effective_samples=10,
            max_samples=512,
            adaptation_rate=rate,
            mixture_rate=rate,
        )
        table = torch.nn.Embedding(classes, 16)
        optimizer = torch.optim.Adagrad([*layer.parameters(), *table.parameters()], lr=0.5)
        used = []
        for _ in range(40):
            context = torch.randint(classes, (rows,))
            layer(table(context), truth[context].multinomial(1).squeeze(1), context=context).backward()
            optimizer.step()
            optimizer.zero_grad()
            assert layer.used is not None
            used.append(layer.used.samples.double().mean().item())
        with torch.no_grad():
            log_p = layer.log_prob(table.weight).double()
        log_q = layer.proposal.log_prob(torch.arange(classes).expand(classes, -1), torch.arange(classes))
        results[rate] = (log_p.exp() * (log_p - log_q)).sum(1).mean().item(), np.mean(used[-10:])
    (divergence, samples), (fixed_divergence, fixed_samples) = results[0.1], results[0.0]
    assert divergence < 0.7 * fixed_divergence and samples < 0.8 * fixed_samples


@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_it_trains_in_half_precision(backend: str) -> None:
    """The loss nears that of float64, including draws and adaptation, although the table has an 8-bit mantissa."""
    classes, rows = 200, 512
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(rows, 16, generator=generator, dtype=torch.float64)
    teacher = torch.randn(classes, 16, generator=generator, dtype=torch.float64)
    target = torch.multinomial((hidden @ teacher.t()).softmax(1), 1, generator=generator).squeeze(1)
    context = target.roll(1)

    def trained(dtype: torch.dtype) -> float:
        torch.manual_seed(0)
        proposal = BigramProposal.from_tokens(target.numpy(), classes, counts=np.ones(classes), smoothing=1.0)
        layer = AdaptiveImportanceSampledSoftmax(16, proposal, num_samples=16, sparse=False).to(dtype)
        optimizer = torch.optim.SGD(layer.parameters(), lr=2.0)
        with ops.using(guarded_draws=backend, row_estimates=backend, ragged_logits=backend):
            for _ in range(60):
                optimizer.zero_grad()
                layer(hidden.to(dtype), target, context=context).backward()
                optimizer.step()
        return float(-layer.target_log_prob(hidden.to(dtype), target).detach().double().mean())

    wide, half = trained(torch.float64), trained(torch.bfloat16)
    assert half == pytest.approx(wide, rel=0.05) and wide < 0.6 * math.log(classes)


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_few_classes(num_classes: int) -> None:
    layer = AdaptiveImportanceSampledSoftmax.from_vocabulary(
        D,
        [3, 0, 1][:num_classes],
        tokens=[0, 0, num_classes - 1, -1, 0],
        num_samples=4000,
        effective_samples=10,
        dtype=torch.float64,
    )
    target = torch.arange(N) % num_classes
    loss = layer(rows_of(), target, context=CONTEXT, reduction="none")
    torch.testing.assert_close(loss, -layer.target_log_prob(rows_of(), target), rtol=0, atol=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adaptation_rate": 1.5}, "adaptation_rate is 1.5: give a number from 0 to 1"),
        ({"mixture_rate": -1}, "mixture_rate is -1: give a number of 0 or more"),
        ({"shared": True}, "shared is not supported"),
        ({"replacement": False}, "replacement is not supported"),
        ({"effective_samples": None}, "effective_samples is None"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer_of(**options)


def test_only_a_bigram_proposal_adapts() -> None:
    with pytest.raises(InputError, match="has no option 'proposal'"):
        build("adaptive-importance", 4, [3, 2, 1], proposal="unigram")
    with pytest.raises(InputError, match="give a BigramProposal, as only that one adapts"):
        AdaptiveImportanceSampledSoftmax(D, UnigramProposal([1, 2]))  # type: ignore[arg-type]
    assert issubclass(AdaptiveImportanceSampledSoftmax, ImportanceSampledSoftmax)
