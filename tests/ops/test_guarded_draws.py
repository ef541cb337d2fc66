"""Guarded draws: compiled code against torch's, in the reported statistics and in distribution."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.proposals.chance import FALSE_ALARM, pvalue
from vastmax import ops
from vastmax.ops import GuardedDraws
from vastmax.proposals import BigramProposal

V, D, N = 60, 5, 40
ROWS = torch.tensor([row for row in range(N) for _ in range(1 + row % 3)])
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def proposal() -> BigramProposal:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.1, 3000), V) - 1
    return BigramProposal.from_tokens(tokens, V, smoothing=1.0)


def given(dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(4)
    return {
        "hidden": torch.randn(N, D, generator=generator).to(dtype),
        "weight": torch.randn(V, D, generator=generator).to(dtype),
        "bias": torch.randn(V, generator=generator).to(dtype),
        "target": torch.randint(V, (len(ROWS),), generator=generator),
        "rows": ROWS,
        "context": torch.randint(-1, V, (N,), generator=generator),
    }


def drawn(
    backend: str, seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any
) -> tuple[GuardedDraws, dict[str, Any], BigramProposal]:
    source, arguments = proposal(), {**given(dtype), "block": 8, "blocks": 12, "effective": 6.0, **options}

    def draw(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
        samples = source.sample(n, context=arguments["context"][rows], num_rows=len(rows))
        return samples.ids, samples.log_expected_count - samples.exposure.log()

    torch.manual_seed(seed)
    with ops.using(guarded_draws=backend):
        return ops.guarded_draws(draw, tables=source.tables, **arguments), arguments, source


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_all_that_is_told_of_the_draws_is_so(backend: str, dtype: torch.dtype, bias: bool) -> None:
    found, of, source = drawn(backend, dtype=dtype, **({} if bias else {"bias": None}))
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4} if dtype != torch.float64 else {"rtol": 1e-10, "atol": 1e-10}
    times = ROWS.bincount()
    owners = torch.repeat_interleave(found.lengths + times)
    is_target = found.log_prob == torch.inf
    assert torch.equal(found.ids[is_target], of["target"]) and torch.equal(owners[is_target], ROWS)
    begins = (found.lengths + times).cumsum(0) - found.lengths - times
    assert is_target[begins].all()
    ids, rows = found.ids[~is_target], owners[~is_target]
    log_prob = source.log_prob(ids[:, None], of["context"][rows])[:, 0]
    torch.testing.assert_close(found.log_prob[~is_target].double(), log_prob, **close)
    exact = {name: of[name].double() for name in ("hidden", "weight")}
    logits = (exact["hidden"][owners] * exact["weight"][found.ids]).sum(1)
    logits = logits if not bias else logits + of["bias"].double()[found.ids]
    torch.testing.assert_close(found.logits.double(), logits, **close)
    for row in range(N):
        of_row = slice(int(begins[row]), int(begins[row] + found.lengths[row] + times[row]))
        ratio = (logits[of_row] - logits[begins[row]]).exp()[times[row] :] / log_prob[rows == row].exp()
        torch.testing.assert_close(found.log_sum[row].double(), ratio.sum().log(), **close)
        torch.testing.assert_close(found.log_squares[row].double(), ratio.square().sum().log(), **close)
        at = 8
        while True:  # replay the rule
            size = float(ratio[:at].sum() ** 2 / ratio[:at].square().sum())
            if size >= 6 or at >= 96:
                break
            at += 8 * min(int(np.ceil(min(at * (6 / size - 1), at) / 8)), (96 - at) // 8)
        assert int(found.lengths[row]) == at and bool(found.content[row]) == (size >= 6)
    assert 0 < int(found.content.sum()) < N and len(found.lengths.unique()) > 4  # otherwise the test checks nothing


@pytest.mark.numerics
@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_what_rows_draw_first_is_as_likely_as_stated(backend: str) -> None:
    """A single block, so that stopping does not depend on the draws."""
    context = torch.arange(-1, 3).repeat_interleave(N // 4)
    found, _, source = drawn(backend, block=5000, blocks=1, context=context)
    ids = found.ids[found.log_prob < torch.inf].view(N, 5000)
    everything = torch.arange(V).expand(N, -1)
    for row, log_q in zip(ids[::5], source.log_prob(everything, context)[::5], strict=True):
        assert pvalue(row, log_q) > FALSE_ALARM


@pytest.mark.numerics
def test_both_backends_stop_alike() -> None:
    lengths = [torch.cat([drawn(name, seed)[0].lengths for seed in range(60)]) for name in ("torch", "compiled")]
    first, second = (each.view(60, N) for each in lengths)
    for row in range(0, N, 7):
        assert stats.mannwhitneyu(first[:, row].numpy(), second[:, row].numpy()).pvalue > FALSE_ALARM


def test_the_seed_decides_and_threads_do_not() -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(drawn("compiled", seed=5)[0])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert not torch.equal(found[0].ids[:20], drawn("compiled", seed=6)[0].ids[:20])


@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_numbers_that_are_none_end_it(backend: str) -> None:
    weight = given()["weight"]
    weight[:] = torch.nan
    found, *_ = drawn(backend, weight=weight)
    assert found.content.all() and (found.lengths == 8).all() and found.log_sum.isnan().all()
    none = {"hidden": torch.zeros(0, D, dtype=torch.float64), "context": torch.zeros(0, dtype=torch.int64)}
    empty = dict.fromkeys(("target", "rows"), torch.zeros(0, dtype=torch.int64))
    found, *_ = drawn(backend, **none, **empty)
    assert found.ids.shape == found.lengths.shape == (0,)


def test_other_proposals_are_asked() -> None:
    """Compiled code supports only tables; any other proposal is called, whatever the backend."""
    arguments = {name: each for name, each in given().items() if name != "context"}
    calls = []

    def draw(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
        calls.append(len(rows))
        ids = torch.randint(V, (len(rows), n))
        return ids, torch.full(ids.shape, -np.log(V), dtype=torch.float64)

    found = ops.guarded_draws(draw, **arguments, block=8, blocks=4, effective=9.0)
    assert ops.backend_of("guarded_draws", arguments["hidden"]) == "compiled"
    assert calls[0] == N and 8 * sum(calls) == int(found.lengths.sum())
