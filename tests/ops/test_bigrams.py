"""Draws from bigrams and adaptation to them: compiled code against torch's, which other tests check by formula."""

import numpy as np
import pytest
import torch

from vastmax import _core, ops
from vastmax.ops import BigramTables
from vastmax.proposals import BigramProposal

V = 300
CONTEXT = torch.cat([torch.tensor([-1, V, 2**40, 0, 1, 1, V - 1]), torch.arange(40) % 13])
N = len(CONTEXT)


def tables(bigrams: bool = True) -> BigramTables:
    """Return uneven tables: a history with many successors, some with none, and weights of 0."""
    generator = np.random.default_rng(0)
    previous = np.minimum(generator.geometric(0.2, 6000) - 1, V - 1)
    pairs = previous, generator.integers(V, size=6000), np.ones(6000)
    proposal = BigramProposal(generator.integers(0, 50, V), pairs if bigrams else None)
    proposal.mixture += torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return proposal.tables


def chances(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    coins, places = torch.rand(2, N, n, dtype=torch.float64, generator=generator)
    places[:, :1], places[:, 1:2] = 0, 1 - 2**-53
    return coins, places


def drawn(backend: str, of: BigramTables, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    with ops.using(draw_bigrams=backend):
        return ops.draw_bigrams(of, CONTEXT, *chances(n))


@pytest.mark.parametrize("bigrams", [True, False])
@pytest.mark.parametrize("n", [0, 1, 7, 200])
def test_both_backends_draw_the_same_and_say_how_likely(bigrams: bool, n: int) -> None:
    of = tables(bigrams)
    ids, log_prob = drawn("compiled", of, n)
    others, log_other = drawn("torch", of, n)
    assert ids.shape == (N, n) and torch.equal(ids, others)
    torch.testing.assert_close(log_prob, log_other, rtol=1e-13, atol=1e-13)
    assert log_prob.isfinite().all()


def lessons() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return draws with repeats, an empty row, one with infinite logits, one with NaN, and logits of -inf."""
    lengths = torch.randint(60, (N,), generator=torch.Generator().manual_seed(1))
    lengths[5], lengths[6] = 0, 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(V // 4, (int(offsets[-1]),), generator=generator)
    score = 3 * torch.randn(N, V, dtype=torch.float64, generator=generator)
    score[:, 7] = -torch.inf
    score[8, :40], score[9, :40] = torch.inf, torch.nan
    return ids, score[torch.repeat_interleave(lengths), ids], offsets  # repeated classes of a row have equal logits


def adapted(backend: str, of: BigramTables, **rates: float) -> BigramTables:
    with ops.using(adapt_bigrams=backend):
        ops.adapt_bigrams(of, CONTEXT, *lessons(), **rates)
    return of


@pytest.mark.parametrize("bigrams", [True, False])
@pytest.mark.parametrize(("rate", "mixture_rate"), [(0.05, 0.7), (1.0, 0.0), (0.0, 2.0), (0.0, 0.0), (1e-9, 1.0)])
def test_both_backends_learn_the_same(bigrams: bool, rate: float, mixture_rate: float) -> None:
    found = [adapted(name, tables(bigrams), rate=rate, mixture_rate=mixture_rate) for name in ("torch", "compiled")]
    for one, other, before in zip(*found, tables(bigrams), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-15)
        if rate == mixture_rate == 0:
            assert torch.equal(other, before)
    if rate and bigrams:
        assert not torch.equal(found[1].bigram, tables().bigram)
    sums = found[1].unigram
    torch.testing.assert_close(sums[1], sums[V:].sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("gap", [400.0, 650.0, 700.0, 720.0, 745.0, 2000.0])
def test_bigrams_that_the_model_thinks_all_but_impossible_spoil_nothing(backend: str, gap: float) -> None:
    """The table keeps its mass and finite weights, although dividing by an underflowing share would overflow."""
    proposal = BigramProposal.from_tokens([0, 1, 0, 2, 0, 3, 1, 3], 4, smoothing=1.0)
    before = proposal.bigram.total.clone()
    logits = torch.tensor([-gap, -gap - 40, 0.0], dtype=torch.float64)
    with ops.using(adapt_bigrams=backend):
        for _ in range(3):
            ops.adapt_bigrams(
                proposal.tables,
                torch.tensor([0]),
                torch.tensor([1, 2, 0]),
                logits,
                torch.tensor([0, 3]),
                rate=0.01,
                mixture_rate=0.1,
            )
    assert proposal.bigram.weights.isfinite().all() and proposal.mixture.isfinite().all()
    torch.testing.assert_close(proposal.bigram.total, before, rtol=1e-12, atol=0)


def test_writes_are_seen() -> None:
    of = tables()
    versions = [each._version for each in of]
    adapted("compiled", of, rate=0.1, mixture_rate=0.1)
    moved = [after._version > before for after, before in zip(of, versions, strict=True)]
    assert moved == [name in ("unigram", "bigram", "mixture") for name in BigramTables._fields]


def test_threads_change_nothing() -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append([*drawn("compiled", tables(), 50), *adapted("compiled", tables(), rate=0.1, mixture_rate=1.0)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_core_refuses_what_does_not_fit() -> None:
    arrays = [each.numpy() for each in tables()]
    ids, logits, offsets = (each.numpy() for each in lessons())
    context = CONTEXT.numpy()
    for bad in ((ids - 100, logits, offsets), (ids + V, logits, offsets), (ids, logits[1:], offsets)):
        with pytest.raises(ValueError, match="ids must be classes"):
            _core.adapt_bigrams(*arrays, context, *bad, 0.1, 0.1)
    with pytest.raises(ValueError, match="ids must be classes"):
        _core.adapt_bigrams(*arrays, context, ids, logits, offsets[::-1].copy(), 0.1, 0.1)
    with pytest.raises(ValueError, match="tables must be"):
        _core.adapt_bigrams(arrays[0][1:], *arrays[1:], context, ids, logits, offsets, 0.1, 0.1)
