"""The contract of every proposal: draws follow the stated distribution."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.cases import PROPOSAL_CASES, ProposalCase
from tests.data import data_path
from tests.proposals.chance import FALSE_ALARM, generator, pvalue
from tests.strategies import counts
from vastmax.errors import InputError
from vastmax.proposals import PROPOSALS, AliasTable, LogUniformProposal, Proposal, UniformProposal, UnigramProposal

NEED_COUNTS = {"unigram", "bigram"}  # cases that have no distribution if all counts are 0


def zipf_with_zeros(num_classes: int) -> np.ndarray:
    numbers = (1e6 / np.arange(1, num_classes + 1)).astype(np.int64)
    numbers[num_classes // 2 :: 7] = 0
    numbers[0] = 10**6
    return np.random.default_rng(0).permutation(numbers)


every_proposal = pytest.mark.parametrize("case", PROPOSAL_CASES, ids=lambda case: case.id)


def for_rows(context: torch.Tensor | None, num_rows: int) -> torch.Tensor | None:
    """Repeat the contexts cyclically for num_rows rows."""
    return None if context is None else context[torch.arange(num_rows) % len(context)]


def each_row(proposal: Proposal, context: torch.Tensor | None, num_classes: int) -> list[torch.Tensor]:
    """Return log Q (V,) of all classes for each context."""
    everything = torch.arange(num_classes)[None]
    if context is None:
        return [proposal.log_prob(everything)[0]]
    return [proposal.log_prob(everything, row)[0] for row in context.split(1)]


def test_every_proposal_has_a_case() -> None:
    assert {case.name for case in PROPOSAL_CASES} == set(PROPOSALS)


@every_proposal
@pytest.mark.parametrize(
    "num_classes",
    [1, 2, 3, pytest.param(1000, marks=pytest.mark.numerics), pytest.param(10**6, marks=pytest.mark.slow)],
)
def test_draws_follow_the_stated_probabilities(case: ProposalCase, num_classes: int) -> None:
    if num_classes > 1000 and not case.big:
        pytest.skip("another case of this proposal is as large")
    proposal, context = case.build(zipf_with_zeros(num_classes)), case.contexts(4, num_classes)
    of_rows = each_row(proposal, context, num_classes)
    for log_prob in of_rows:
        assert log_prob.dtype == torch.float64
        assert math.isclose(log_prob.exp().sum().item(), 1, rel_tol=1e-9)
    mixture = torch.stack(of_rows).logsumexp(0) - math.log(len(of_rows))
    torch.testing.assert_close(proposal.log_prob(torch.arange(num_classes), context), mixture)
    drawn = proposal.sample(400_000, context=context, generator=generator(1)).ids
    assert pvalue(drawn, mixture) > FALSE_ALARM
    rows = proposal.sample(200, num_rows=2000, context=for_rows(context, 2000), generator=generator(2)).ids
    assert rows.shape == (2000, 200)
    for i, log_prob in enumerate(of_rows):
        own = rows[i :: len(of_rows)]
        assert pvalue(own, log_prob) > FALSE_ALARM
        assert pvalue(own[:, 0], log_prob) > FALSE_ALARM and pvalue(own[0], log_prob) > FALSE_ALARM


@pytest.mark.numerics
@every_proposal
def test_what_stands_beside_draws_is_their_log_prob(case: ProposalCase) -> None:
    proposal = case.build(zipf_with_zeros(60))
    context = case.contexts(5, 60)
    for num_rows in (None, 5):
        samples = proposal.sample(9, num_rows=num_rows, context=context, generator=generator())
        stated = proposal.log_prob(samples.ids, context) + math.log(9)
        torch.testing.assert_close(samples.log_expected_count, stated, rtol=1e-12, atol=1e-12)


def test_the_test_of_draws_can_fail() -> None:
    numbers = zipf_with_zeros(1000)
    drawn = UnigramProposal(numbers, power=0.75).sample(400_000, generator=generator()).ids
    assert pvalue(drawn, UnigramProposal(numbers, power=0.7).log_prob(torch.arange(1000))) < FALSE_ALARM


@pytest.mark.numerics
@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0, 2.0])
def test_unigram_is_a_power_of_counts(power: float) -> None:
    numbers = np.array([5, 0, 1, 30])
    expected = np.where(numbers > 0, numbers.astype(float) ** power, 0)
    found = UnigramProposal(numbers, power=power).log_prob(torch.arange(4)).exp().numpy()
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


@pytest.mark.numerics
@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float32])
def test_log_uniform_is_the_closed_form_in_any_order(dtype: type) -> None:
    proposal = LogUniformProposal.from_counts(np.array([0, 50, 7, 7], dtype))
    ranks = [3, 0, 1, 2]
    expected = [math.log((rank + 2) / (rank + 1)) / math.log(5) for rank in ranks]
    np.testing.assert_allclose(proposal.log_prob(torch.arange(4)).exp().numpy(), expected, rtol=1e-14)


# --- the alias table ---


@given(counts())
def test_alias_tables_hold_the_masses_exactly(numbers: np.ndarray) -> None:
    if not numbers.any():
        return
    table = AliasTable(numbers)
    slots = len(table.entry)
    assert len(numbers) <= slots < 2 * len(numbers)
    held = [0] * slots  # Python integers of unbounded size: number of levels at which slots yield each class
    for slot, entry in enumerate(table.entry.tolist()):
        level, alias = divmod(entry, slots)  # below this level the slot yields itself, above it the alias
        own = level + (slot < alias)
        assert 0 <= own <= 2**62 // slots
        held[slot] += own
        held[alias] += 2**62 // slots - own
    assert held[: len(numbers)] == table.mass.tolist()
    assert sum(table.mass.tolist()) == 2**62 and not any(held[len(numbers) :])
    share = numbers / numbers.sum(dtype=np.float64)
    stated = table.log_prob(torch.arange(len(numbers))).exp().numpy()
    np.testing.assert_allclose(stated, share, rtol=1e-9, atol=2.0**-61)
    assert ((table.mass.numpy() > 0) == (numbers > 0)).all()


def test_draws_from_the_counts_of_a_large_corpus() -> None:
    """With 793,471 words, sums in single precision would distort the share of the rare ones."""
    counts_of_words = np.load(data_path("counts/lm1b_word_freq_int32.npy"))
    proposal = UnigramProposal(counts_of_words, power=0.75)
    log_prob = proposal.log_prob(torch.arange(len(counts_of_words)))
    assert pvalue(proposal.sample(2_000_000, generator=generator(4)).ids, log_prob) > FALSE_ALARM
    rare = counts_of_words <= np.sort(counts_of_words)[100_000]
    drawn = rare[proposal.sample(2_000_000, generator=generator(5)).ids.numpy()].sum()
    assert (
        stats.binomtest(int(drawn), 2_000_000, log_prob.exp()[torch.from_numpy(rare)].sum().item()).pvalue > FALSE_ALARM
    )


def test_alias_tables_take_their_support_from_a_state() -> None:
    table, other = AliasTable([3, 0, 1]), AliasTable([1, 1, 1])
    other.load_state_dict(table.state_dict())
    assert other.support == table.support == 2
    assert torch.equal(other.draw((99,), generator()), table.draw((99,), generator()))


@pytest.mark.slow
def test_more_classes_than_torch_can_draw_from() -> None:
    num_classes = 2**25
    weights = np.ones(num_classes)
    weights[-1] = num_classes / 3  # a quarter of the mass on the last class
    with pytest.raises(RuntimeError, match="2\\^24"):
        torch.multinomial(torch.from_numpy(weights), 1)
    drawn = AliasTable(weights).draw((200_000,), generator(3))
    last = int((drawn == num_classes - 1).sum())
    assert stats.binomtest(last, 200_000, 0.25).pvalue > FALSE_ALARM
    others = drawn[drawn < num_classes - 1].numpy()
    quarters = np.bincount(others // 2**23, minlength=4)
    assert stats.chisquare(quarters).pvalue > FALSE_ALARM  # the end is as likely as the start
    assert stats.chisquare(np.bincount(others % 8, minlength=8)).pvalue > FALSE_ALARM  # odd ids as likely as even ones


# --- without replacement ---


@every_proposal
@pytest.mark.parametrize("num_rows", [None, 50])
def test_nothing_comes_twice(case: ProposalCase, num_rows: int | None) -> None:
    proposal = case.build(zipf_with_zeros(60))
    context = for_rows(case.contexts(4, 60), num_rows or 4)
    for n in (1, 7, proposal.support - 1, proposal.support):
        samples = proposal.sample(n, num_rows=num_rows, context=context, replacement=False, generator=generator(n))
        ids, expected = samples.ids, samples.log_expected_count
        assert ids.shape == expected.shape == ((n,) if num_rows is None else (num_rows, n))
        assert all(len(set(row)) == n for row in ids.view(-1, n).tolist())
        assert (expected <= 0).all() and expected.isfinite().all()
        assert proposal.log_prob(ids, context).isfinite().all()  # no class of probability 0
    assert (expected == 0).all()


@every_proposal
@pytest.mark.parametrize("n", [1, 5, 11])
def test_weighted_sums_are_unbiased(case: ProposalCase, n: int) -> None:
    """Sums weighted by 1 / expected count are unbiased for the sum over classes: a z-test for each of 12 classes."""
    proposal = case.build([500, 100, 60, 60, 20, 10, 5, 3, 2, 1, 1, 1])
    options: dict[str, Any] = {"num_rows": 40_000, "context": for_rows(case.contexts(4, 12), 40_000)}
    for replacement in (True, False):
        ids, expected, *_ = proposal.sample(n, replacement=replacement, generator=generator(n), **options)
        weight = torch.zeros(40_000, 12, dtype=torch.float64).scatter_add_(1, ids, (-expected).exp())
        # if nearly all classes are drawn, weights are 1 except for rare large ones that the standard deviation misses
        error = (weight.mean(0) - 1) / (weight.std(0) / 200).clamp(min=1e-4)
        assert error.abs().max() < 5  # false alarms: 1 in 150,000 for the twelve classes together


def test_the_test_of_weights_can_fail() -> None:
    proposal = UnigramProposal([500, 100, 60, 60, 20, 10, 5, 3, 2, 1, 1, 1], power=1.0)
    ids, *_ = proposal.sample(5, num_rows=40_000, replacement=False, generator=generator())
    naive = proposal.log_prob(ids) + math.log(5)  # as if drawn with replacement
    weight = torch.zeros(40_000, 12, dtype=torch.float64).scatter_add_(1, ids, (-naive).exp())
    assert ((weight.mean(0) - 1) / (weight.std(0) / 200)).abs().max() > 5


def test_lopsided_distributions_do_not_wait_for_ever() -> None:
    proposal = UnigramProposal([10**15] + [1] * 20, power=1.0)
    ids, expected, *_ = proposal.sample(10, num_rows=1000, replacement=False, generator=generator())
    assert (ids == 0).any(1).all()
    others = torch.bincount(ids.flatten(), minlength=21)[1:]
    assert stats.chisquare(others.numpy()).pvalue > FALSE_ALARM
    weight = torch.zeros(1000, 21, dtype=torch.float64).scatter_add_(1, ids, (-expected).exp()).mean(0)
    assert abs(weight[1:].mean() - 1) < 0.1 and abs(weight[0] - 1) < 1e-9


def test_lopsided_distributions_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    proposal, drawn, draw = UnigramProposal([10**15] + [1] * 999, power=1.0), 0, UnigramProposal._draw

    def counting(self: UnigramProposal, shape: tuple[int, int], *others: Any) -> torch.Tensor:
        nonlocal drawn
        drawn += shape[1]
        return draw(self, shape, *others)

    monkeypatch.setattr(UnigramProposal, "_draw", counting)
    proposal.sample(10, replacement=False, generator=generator())
    assert drawn < 2 * 1000


def test_inclusion_of_what_is_hardly_ever_drawn() -> None:
    """For tiny ``Q τ`` the inclusion is ``Q τ``, even if Q underflows in float64; drawing all classes gives 1."""
    proposal = UnigramProposal([5, 3, 1, 1])
    log_prob = torch.tensor([-45.0, -2000.0, -torch.inf], dtype=torch.float64)
    some, whole = (proposal.sample(n, replacement=False, generator=generator()) for n in (2, 4))
    often = torch.tensor([-0.5, -5.0, -12.0, -30.0, -36.0], dtype=torch.float64)
    expected = (-torch.expm1(-often.exp() * some.exposure)).log()
    torch.testing.assert_close(some.log_expected_count_of(often), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(some.log_expected_count_of(log_prob), log_prob + some.exposure.log(), rtol=1e-15, atol=0)
    assert whole.log_expected_count_of(log_prob).tolist() == [0, 0, -torch.inf]


def test_a_class_that_is_not_drawn_is_judged_without_itself() -> None:
    """E[1(drawn) f(share)] = E[share f(share)] for functions f of the inclusion, whether or not a class was drawn."""
    proposal = UnigramProposal([60, 1, 20, 5, 5, 6, 1, 2])
    log_prob = proposal.log_prob(torch.arange(8)).expand(200_000, -1)
    samples = proposal.sample(2, num_rows=200_000, replacement=False, generator=generator())
    drawn = torch.zeros_like(log_prob, dtype=torch.bool).scatter_(1, samples.ids, True)
    share = samples.log_expected_count_of(log_prob, drawn).exp()
    for weigh in (torch.ones_like, torch.reciprocal, torch.log):  # values of f
        of_drawn, of_all = (drawn * weigh(share)).mean(0), (share * weigh(share)).mean(0)
        torch.testing.assert_close(of_drawn, of_all, rtol=0.03, atol=0.005)


def test_uniform_inclusion_is_known() -> None:
    expected = UniformProposal(40).sample(10, replacement=False).log_expected_count
    torch.testing.assert_close(expected, torch.full((10,), math.log(0.25), dtype=torch.float64), rtol=1e-14, atol=0)


@every_proposal
def test_expected_counts_of_any_class(case: ProposalCase) -> None:
    """For drawn classes it equals their stated counts; over all classes it sums to the number of draws."""
    proposal = case.build(zipf_with_zeros(60))
    everything = torch.arange(60)
    for n, replacement in ((7, True), (7, False), (proposal.support, False)):
        for num_rows in (None, 2000):
            context = for_rows(case.contexts(4, 60), num_rows or 4)
            log_prob = proposal.log_prob(everything.expand(num_rows or 1, -1), context)
            samples = proposal.sample(
                n, num_rows=num_rows, context=context, replacement=replacement, generator=generator()
            )
            beside = log_prob.gather(1, samples.ids.view(num_rows or 1, n)).view(samples.ids.shape)
            torch.testing.assert_close(samples.log_expected_count_of(beside), samples.log_expected_count)
            expected = samples.log_expected_count_of(log_prob).exp()
            assert (expected[log_prob == -torch.inf] == 0).all()
            if replacement or n == proposal.support or isinstance(proposal, UniformProposal):
                torch.testing.assert_close(expected.sum(-1).mean().item(), float(n))


# --- state, chance, errors ---


@every_proposal
def test_generators_repeat(case: ProposalCase) -> None:
    proposal, context = case.build(zipf_with_zeros(500)), case.contexts(3, 500)
    choices: list[dict[str, Any]] = [{}, {"num_rows": 3}, {"replacement": False}, {"replacement": False, "num_rows": 3}]
    for options in choices:
        first, again, other = (
            proposal.sample(40, context=context, generator=generator(seed), **options) for seed in (1, 1, 2)
        )
        assert torch.equal(first.ids, again.ids) and not torch.equal(first.ids, other.ids)
        assert torch.equal(first.log_expected_count, again.log_expected_count)
    same = generator(1)
    first, second = (proposal.sample(40, context=context, generator=same) for _ in range(2))
    assert not torch.equal(first.ids, second.ids)


@every_proposal
def test_state_and_casts(case: ProposalCase) -> None:
    proposal, context = case.build(zipf_with_zeros(100)), case.contexts(3, 100)
    other = case.build(np.arange(1, 101))
    everything = torch.arange(100)
    before = proposal.log_prob(everything, context)
    other.load_state_dict(proposal.state_dict())
    assert other.support == proposal.support
    assert torch.equal(other.log_prob(everything, context), before)
    assert torch.equal(proposal.half().log_prob(everything, context), before)  # probabilities stay in float64
    ids = proposal.bfloat16().sample(50, context=context, generator=generator()).ids
    assert torch.equal(ids, other.sample(50, context=context, generator=generator()).ids)
    built = case.build(zipf_with_zeros(100))
    built.to_empty(device="cpu").reset_parameters()
    if proposal.context != "hidden":  # those need the vectors again
        assert torch.equal(built.log_prob(everything, context), before)


@every_proposal
def test_state_can_be_assigned_to_the_meta_device(case: ProposalCase) -> None:
    proposal, context = case.build(zipf_with_zeros(100)), case.contexts(3, 100)
    with torch.device("meta"):
        other = case.build(np.arange(1, 101), device="meta")
    other.load_state_dict(proposal.state_dict(), assign=True)
    everything = torch.arange(100)
    assert torch.equal(other.log_prob(everything, context), proposal.log_prob(everything, context))
    first, again = (each.sample(9, context=context, generator=generator()) for each in (proposal, other))
    assert torch.equal(first.ids, again.ids)


@given(st.sampled_from(PROPOSAL_CASES), counts(max_words=40))
def test_all_counts_are_welcome(case: ProposalCase, numbers: np.ndarray) -> None:
    if case.id in NEED_COUNTS and not numbers.any():
        with pytest.raises(InputError, match="all 0"):
            case.build(numbers)
        return
    proposal, context = case.build(numbers), case.contexts(2, len(numbers))
    samples = proposal.sample(proposal.support, context=context, replacement=False, generator=generator())
    assert len(set(samples.ids.tolist())) == proposal.support and (samples.log_expected_count == 0).all()
    assert int(proposal.sample(30, context=context).ids.max()) < len(numbers)


def test_bad_input_is_told_clearly() -> None:
    with pytest.raises(InputError, match="num_samples is 0"):
        UniformProposal(3).sample(0)
    with pytest.raises(InputError, match="give at most 2"):
        UnigramProposal([4, 0, 1]).sample(3, replacement=False)
    with pytest.raises(InputError, match="0 or more"):
        UnigramProposal([4, -1])
    with pytest.raises(InputError, match="power is nan"):
        UnigramProposal([4, 1], power=math.nan)
    with pytest.raises(InputError, match=r"weights\[0\] is inf: give a finite number of 0 or more"):
        AliasTable([math.inf, 1])
    with pytest.raises(InputError, match="each of the 3 classes once"):
        LogUniformProposal(3, order=[0, 0, 1])
    with pytest.raises(InputError, match="num_classes is 0"):
        UniformProposal(0)
