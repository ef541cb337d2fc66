"""The bigram proposal against its formula, before and after adaptation."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import BigramOracle
from tests.proposals.chance import FALSE_ALARM, generator, pvalue
from vastmax import ops
from vastmax.errors import InputError
from vastmax.proposals import BigramProposal

TOKENS = [0, 1, 0, 1, 2, -1, 0, 0, 9, 3, 3, 3, 1, 2, 0, 4]


@pytest.fixture(scope="module", autouse=True, params=["torch", "compiled"])
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with ops.using(
        draw_bigrams=request.param, adapt_bigrams=request.param, tree_draws=request.param, tree_update=request.param
    ):
        yield


def stream(num_tokens: int, num_classes: int, seed: int = 0) -> np.ndarray:
    """Return tokens that depend on their predecessors; some are out of vocabulary."""
    chance = np.random.default_rng(seed)
    tokens = np.minimum(chance.geometric(0.1, num_tokens), num_classes) - 1
    tokens[1::2] = (tokens[::2][: num_tokens // 2] * 3 + tokens[1::2] // 8) % num_classes
    tokens[chance.random(num_tokens) < 0.03] = -1
    return tokens


def table(proposal: BigramProposal, histories: torch.Tensor) -> torch.Tensor:
    """Return Q (H, V) for each history."""
    everything = torch.arange(proposal.num_classes).expand(len(histories), -1)
    return proposal.log_prob(everything, histories).exp()


@pytest.mark.numerics
@given(st.lists(st.integers(-1, 6), max_size=60))
def test_probabilities_are_those_of_the_formula(tokens: list[int]) -> None:
    num_classes = 5  # 5 and 6 are out of vocabulary, like -1
    if not any(0 <= token < num_classes for token in tokens):
        with pytest.raises(InputError, match="counts are all 0"):
            BigramProposal.from_tokens(tokens, num_classes)
        return
    proposal, oracle = BigramProposal.from_tokens(tokens, num_classes), BigramOracle(tokens, num_classes)
    histories = [0, 1, 2, 3, 4, -1, 5, 2**60]
    expected = [[oracle.probability(w, h) for w in range(num_classes)] for h in histories]
    found = table(proposal, torch.tensor(histories))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(1).numpy(), 1, rtol=1e-12)
    mixture = proposal.log_prob(torch.arange(num_classes), torch.tensor(histories)).exp()
    np.testing.assert_allclose(mixture.numpy(), np.mean(expected, 0), rtol=1e-12)


@pytest.mark.numerics
def test_draws_of_each_history() -> None:
    proposal = BigramProposal.from_tokens(stream(3000, 50), 50)
    histories = torch.tensor([-1, 0, 1, 2, 3, 7, 20, 49])
    probability = table(proposal, histories)
    assert (probability[1:] - probability[0]).abs().sum(1).min() > 0.1  # they differ, so that a mix-up is detected
    ids = proposal.sample(50_000, context=histories, num_rows=8, generator=generator()).ids
    for row, own in zip(ids, probability, strict=True):
        assert pvalue(row, own.log()) > FALSE_ALARM
    shared = proposal.sample(200_000, context=histories, generator=generator()).ids
    assert pvalue(shared, probability.mean(0).log()) > FALSE_ALARM


def test_bigrams_may_be_given_in_parts() -> None:
    tokens = stream(500, 20)
    whole = BigramProposal.from_tokens(tokens, 20)
    known = (tokens[:-1] >= 0) & (tokens[1:] >= 0)
    parts = (tokens[:-1][known], tokens[1:][known], np.ones(known.sum()))
    again = BigramProposal(np.bincount(tokens[tokens >= 0], minlength=20), parts)
    assert torch.equal(table(whole, torch.arange(20)), table(again, torch.arange(20)))


def test_classes_that_only_a_bigram_leads_to_can_be_drawn_anywhere() -> None:
    proposal = BigramProposal([4, 0, 0], ([0], [1], [2]))
    assert proposal.support == 2
    assert table(proposal, torch.tensor([2])).tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3), 0]]


def test_histories_that_come_twice_count_twice_in_the_mixture() -> None:
    proposal, histories = BigramProposal.from_tokens(TOKENS, 5), torch.tensor([0, 3, 0, 0])
    mixture = proposal.log_prob(torch.arange(5), histories).exp()
    torch.testing.assert_close(mixture, table(proposal, histories).mean(0), rtol=1e-12, atol=0)


def test_the_power_is_the_unigram_tables() -> None:
    proposal = BigramProposal([16, 1, 0], ([1], [0], [3]), power=0.75)
    assert table(proposal, torch.tensor([0])).tolist() == [[pytest.approx(8 / 9), pytest.approx(1 / 9), 0]]
    assert proposal.bigram.weights.tolist() == [1]


def test_no_history_is_the_unigram() -> None:
    proposal = BigramProposal.from_tokens(TOKENS, 5)
    assert torch.equal(proposal.log_prob(torch.arange(5)), table(proposal, torch.tensor([-1]))[0].log())
    assert proposal.unigram_share(torch.tensor([-1, 4, 0])).tolist()[:2] == [1, 1]
    assert proposal.unigram_share(torch.tensor([0])) < 1


def test_rows_and_histories_must_be_as_many() -> None:
    proposal = BigramProposal.from_tokens(TOKENS, 5)
    histories = torch.tensor([0, 1])
    for num_rows in (0, 3, 4):
        with pytest.raises(InputError, match=f"num_rows is {num_rows} and context has 2 class ids"):
            proposal.sample(6, num_rows=num_rows, context=histories)
    with pytest.raises(InputError, match=r"ids have shape \(3, 1\) and context has 2 class ids"):
        proposal.log_prob(torch.zeros(3, 1, dtype=torch.int64), histories)
    none = histories[:0]
    assert proposal.sample(6, num_rows=0, context=none).log_expected_count.shape == (0, 6)
    assert proposal.sample(6, context=none).log_expected_count.isfinite().all()


def test_histories_may_be_narrow_integers() -> None:
    proposal = BigramProposal.from_tokens([99_999, 99_998, 99_999, 99_997], 100_000)
    ids, histories = torch.tensor([[99_998]]), torch.tensor([99_999])
    assert torch.equal(proposal.log_prob(ids, histories.int()), proposal.log_prob(ids, histories))


def test_state_of_another_text() -> None:
    proposal, other = (BigramProposal.from_tokens(stream(size, 30, seed=size), 30) for size in (400, 90))
    other.load_state_dict(proposal.state_dict())
    histories = torch.arange(-1, 30)
    assert torch.equal(table(other, histories), table(proposal, histories))
    assert other.support == proposal.support
    assert f"num_bigrams={len(proposal.pairs)}" in repr(other)


# --- adaptation ---


def drawn_rows(num_rows: int, num_classes: int, size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distinct classes (N, m), padded with -1 in some rows, and their probabilities (N, m)."""
    chance = generator(seed)
    ids = torch.rand(num_rows, num_classes, generator=chance).argsort(1)[:, :size]
    probability = torch.rand(num_rows, size, generator=chance, dtype=torch.float64) ** 4 + 1e-3
    short = torch.rand(num_rows, size, generator=chance) < 0.2
    return ids.masked_fill(short, -1), probability / probability.masked_fill(short, 0).sum(1, keepdim=True)


def rows_of(ids: torch.Tensor, probability: torch.Tensor) -> list[dict[int, float]]:
    pairs = (zip(row.tolist(), values.tolist(), strict=True) for row, values in zip(ids, probability, strict=True))
    return [{w: p for w, p in row if w >= 0} for row in pairs]


@pytest.mark.numerics
@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
def test_adaptation_is_the_formula(rate: float) -> None:
    """Many rows: repeated and unknown histories, overlapping sets, and sets without any bigram."""
    tokens = stream(600, 30)
    proposal, oracle = BigramProposal.from_tokens(tokens, 30), BigramOracle(tokens.tolist(), 30)
    histories = torch.tensor([3, 3, 3, 7, -1, 7, 12, 40, 3, 25] * 3)
    ids, probability = drawn_rows(30, 30, 8)
    proposal.adapt(histories, ids, probability, rate)
    oracle.adapt(histories.tolist(), rows_of(ids, probability), rate)
    everything = torch.arange(-1, 30)
    expected = [[oracle.probability(w, h) for w in range(30)] for h in everything.tolist()]
    np.testing.assert_allclose(table(proposal, everything).numpy(), expected, rtol=1e-11, atol=1e-15)


def test_one_row_moves_as_the_paper_says() -> None:
    proposal = BigramProposal([8, 4, 2, 2], ([0, 0, 0], [0, 1, 2], [4, 3, 1]))
    proposal.adapt(torch.tensor([0]), torch.tensor([[1, 3, 2]]), torch.tensor([[0.5, 0.3, 0.2]]), 0.1)
    q = proposal.unigram.weights.tolist()
    assert q == pytest.approx([0.5, 0.9 * 0.25 + 0.1 * 0.5 * 0.5, 0.9 / 8 + 0.1 * 0.5 * 0.2, 0.9 / 8 + 0.1 * 0.5 * 0.3])
    q = proposal.bigram.weights.tolist()  # class 3 never followed class 0
    assert q == pytest.approx([0.5, 0.9 * 3 / 8 + 0.1 * 0.5 * 5 / 7, 0.9 / 8 + 0.1 * 0.5 * 2 / 7])


def test_rows_together_are_rows_in_turn() -> None:
    """Holds for rows with the same history, classes and probabilities, and for rows without common classes."""
    together, in_turn = (BigramProposal.from_tokens(stream(600, 30), 30) for _ in range(2))
    same = torch.arange(10).expand(5, -1), torch.arange(1.0, 11).expand(5, -1)
    apart = torch.arange(30).view(5, 6), torch.arange(1.0, 31).view(5, 6)
    histories = torch.full((5,), 3)
    for ids, probability in (same, apart):
        together.adapt(histories, ids, probability, 0.2)
        for row in range(5):
            in_turn.adapt(histories[:1], ids[row, None], probability[row, None], 0.2)
    everything = torch.arange(-1, 30)
    torch.testing.assert_close(table(together, everything), table(in_turn, everything), rtol=1e-12, atol=1e-15)


def test_adaptation_keeps_mass_and_what_can_be_drawn() -> None:
    proposal = BigramProposal.from_tokens(stream(2000, 40), 40)
    before = proposal.unigram.weights > 0, proposal.bigram.weights > 0
    histories = torch.arange(40)
    start = torch.searchsorted(proposal.pairs, histories * 40)
    stop = torch.searchsorted(proposal.pairs, histories * 40 + 40)
    for step in range(200):
        proposal.adapt(torch.arange(64) % 13, *drawn_rows(64, 40, 12, seed=step), rate=0.3)
    torch.testing.assert_close(proposal.unigram.total.item(), 1.0, rtol=1e-12, atol=0)
    sums = proposal.bigram.sum(start, stop)[stop > start]
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-12, atol=0)
    assert torch.equal(proposal.unigram.weights > 0, before[0]) and torch.equal(proposal.bigram.weights > 0, before[1])
    ids = proposal.sample(100_000, context=torch.tensor([5]), generator=generator()).ids
    assert pvalue(ids, table(proposal, torch.tensor([5]))[0].log()) > FALSE_ALARM


def test_what_a_model_rules_out_can_still_be_drawn() -> None:
    proposal = BigramProposal([1, 1, 1, 0])
    proposal.adapt(torch.tensor([0]), torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1.0, 0, 0, 0]]), 1.0)
    assert (proposal.unigram.weights > 0).tolist() == [True, True, True, False]
    samples = proposal.sample(3, replacement=False, generator=generator())
    assert sorted(samples.ids.tolist()) == [0, 1, 2] and samples.log_expected_count.tolist() == [0, 0, 0]


def test_proposals_follow_a_model() -> None:
    """KL(P || Q) decreases as Q adapts to P on its own samples."""
    proposal = BigramProposal.from_tokens(stream(4000, 30), 30)
    histories = torch.arange(30)
    model = (table(proposal, histories).log() + 0.8 * torch.randn(30, 30, generator=generator(5))).softmax(1)

    def divergence() -> float:
        return float((model * (model.log() - table(proposal, histories).log())).sum(1).mean())

    chance, before = generator(1), divergence()
    for _ in range(150):
        ids = proposal.sample(10, context=histories, num_rows=30, generator=chance).ids.sort(1).values
        ids[:, 1:] = ids[:, 1:].masked_fill(ids[:, 1:] == ids[:, :-1], -1)
        probability = model.gather(1, ids.clamp(min=0)).masked_fill(ids < 0, 0)
        proposal.adapt(histories, ids, probability, 0.05)
    assert divergence() < 0.6 * before


def test_the_mixture_goes_down_the_divergence() -> None:
    """A step of SGD against numerical gradients of the oracle's divergence, bin by bin."""
    tokens = stream(600, 30)
    proposal, oracle = BigramProposal.from_tokens(tokens, 30), BigramOracle(tokens.tolist(), 30)
    histories = torch.tensor([3, 7, -1, 12, 25, 3, 9, 40])
    ids, probability = drawn_rows(8, 30, 12)
    before = proposal.mixture.clone()
    proposal.adapt_mixture(histories, ids, probability, 0.7)
    slopes: dict[int, list[float]] = {}
    for h, drawn in zip(histories.tolist(), rows_of(ids, probability), strict=True):
        if h in oracle.bigram:
            bin_of = int(proposal.bins[h])
            up, down = (1 / (1 + np.exp(-before[bin_of].item() - side)) for side in (1e-6, -1e-6))
            slope = (oracle.divergence(h, drawn, up) - oracle.divergence(h, drawn, down)) / 2e-6
            slopes.setdefault(bin_of, []).append(slope)
    assert len(slopes) > 1
    expected = before.numpy().copy()
    for bin_of, found in slopes.items():
        expected[bin_of] -= 0.7 * np.mean(found)
    np.testing.assert_allclose(proposal.mixture.numpy(), expected, rtol=1e-7, atol=1e-8)


def test_a_mixture_that_is_right_stays() -> None:
    proposal = BigramProposal.from_tokens(stream(600, 30), 30)
    histories, before = torch.arange(30), proposal.mixture.clone()
    ids, _ = drawn_rows(30, 30, 12)
    proposal.adapt_mixture(histories, ids, table(proposal, histories).gather(1, ids.clamp(min=0)), 1.0)
    torch.testing.assert_close(proposal.mixture, before, rtol=0, atol=1e-12)


def test_bad_input_is_told_clearly() -> None:
    with pytest.raises(InputError, match="give three"):
        BigramProposal([1, 1], ([0], [1], [1, 2]))
    with pytest.raises(InputError, match="bigrams contain class ids 2 to 2: give 0 to 1"):
        BigramProposal([1, 1], ([0], [2], [1]))
    with pytest.raises(InputError, match="0 or more"):
        BigramProposal([1, 1], ([0], [1], [-1]))
    with pytest.raises(InputError, match=r"counts is float64 of shape \(1, 2\): give one number per class"):
        BigramProposal([[1, 1]])
    with pytest.raises(InputError, match=r"of shape \(2,\): give one number for each of 3 classes"):
        BigramProposal.from_tokens([0, 1], 3, counts=[1, 1])
    with pytest.raises(InputError, match="rate is 2"):
        BigramProposal([1, 1]).adapt(torch.tensor([0]), torch.tensor([[0]]), torch.tensor([[1.0]]), 2)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("pairs", lambda pairs: pairs.flip(0), "bigrams in the state"),
        ("pairs", lambda pairs: pairs - 100, "bigrams in the state"),
        ("pairs", lambda pairs: pairs * 1000, "bigrams in the state"),
        ("bins", lambda bins: bins + 64, "the mixture in the state"),
    ],
)
def test_a_state_that_is_no_table_is_refused_before_anything_is_drawn(name: str, spoil, message: str) -> None:
    proposal = BigramProposal.from_tokens(stream(300, 30), 30)
    state = proposal.state_dict()
    proposal.load_state_dict({**state, name: spoil(state[name])})
    with pytest.raises(InputError, match=message):
        proposal.sample(5, context=torch.tensor([1, 2]), num_rows=2)
