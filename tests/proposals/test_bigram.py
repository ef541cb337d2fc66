"""The bigram proposal is what its formula says, before and after it adapts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import BigramOracle
from tests.proposals.test_proposals import FALSE_ALARM, generator, pvalue
from vastmax.errors import InputError
from vastmax.proposals import BigramProposal

TOKENS = [0, 1, 0, 1, 2, -1, 0, 0, 9, 3, 3, 3, 1, 2, 0, 4]


def stream(num_tokens: int, num_classes: int, seed: int = 0) -> np.ndarray:
    """Tokens in which the next depends on the one before; some are unknown."""
    chance = np.random.default_rng(seed)
    tokens = np.minimum(chance.geometric(0.1, num_tokens), num_classes) - 1
    tokens[1::2] = (tokens[::2][: num_tokens // 2] * 3 + tokens[1::2] // 8) % num_classes
    tokens[chance.random(num_tokens) < 0.03] = -1
    return tokens


def table(proposal: BigramProposal, histories: torch.Tensor) -> torch.Tensor:
    """Q (H, V) by each of the histories."""
    everything = torch.arange(proposal.num_classes).expand(len(histories), -1)
    return proposal.log_prob(everything, histories).exp()


@given(st.lists(st.integers(-1, 6), max_size=60))
def test_probabilities_are_those_of_the_formula(tokens: list[int]) -> None:
    num_classes = 5  # 5 and 6 are unknown, like -1
    if not any(0 <= token < num_classes for token in tokens):
        with pytest.raises(InputError, match="not all 0"):
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


def test_draws_of_each_history() -> None:
    proposal = BigramProposal.from_tokens(stream(3000, 50), 50)
    histories = torch.tensor([-1, 0, 1, 2, 3, 7, 20, 49])
    probability = table(proposal, histories)
    assert (probability[1:] - probability[0]).abs().sum(1).min() > 0.1  # they differ, so that a mix-up shows
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


def test_no_history_is_the_unigram() -> None:
    proposal = BigramProposal.from_tokens(TOKENS, 5)
    assert torch.equal(proposal.log_prob(torch.arange(5)), table(proposal, torch.tensor([-1]))[0].log())
    assert proposal.unigram_share(torch.tensor([-1, 4, 0])).tolist()[:2] == [1, 1]
    assert proposal.unigram_share(torch.tensor([0])) < 1


def test_state_of_another_text() -> None:
    proposal, other = (BigramProposal.from_tokens(stream(size, 30, seed=size), 30) for size in (400, 90))
    other.load_state_dict(proposal.state_dict())
    histories = torch.arange(-1, 30)
    assert torch.equal(table(other, histories), table(proposal, histories))
    assert other.support == proposal.support
    assert f"num_bigrams={len(proposal.pairs)}" in repr(other)


def test_bad_input_is_told_clearly() -> None:
    with pytest.raises(InputError, match="three arrays"):
        BigramProposal([1, 1], ([0], [1], [1, 2]))
    with pytest.raises(InputError, match="from 2 to 2: there are 0 to 1"):
        BigramProposal([1, 1], ([0], [2], [1]))
    with pytest.raises(InputError, match="0 or more"):
        BigramProposal([1, 1], ([0], [1], [-1]))
