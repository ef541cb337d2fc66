"""Proposals that follow the hidden vector: their probabilities against brute force, and updates of the vectors."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests import oracles
from tests.proposals.chance import FALSE_ALARM, generator, pvalue
from vastmax.errors import InputError
from vastmax.proposals import PROPOSALS, Proposal, QuadraticKernelProposal, RandomFourierProposal, feature_tree, kernel

Kind = type[QuadraticKernelProposal] | type[RandomFourierProposal]
KINDS: list[Kind] = [QuadraticKernelProposal, RandomFourierProposal]
QUADRATIC: list[dict[str, Any]] = [{}, {"alpha": 0.3, "bucket_size": 1}, {"alpha": 30.0, "bucket_size": 7}]
FOURIER: list[dict[str, Any]] = [{}, {"nu": 1.0, "num_frequencies": 3, "bucket_size": 1}, {"nu": 5.0, "bucket_size": 7}]


def table(num_classes: int, dim: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors and biases of classes; the biases are as uneven as word frequencies."""
    source = generator(seed)
    return torch.randn(num_classes, dim, generator=source), 2 * torch.randn(num_classes, generator=source) - 5


def told(kind: Kind, num_classes: int, dim: int = 4, **options: Any) -> Any:
    proposal = kind(num_classes, dim, **options)
    proposal.update(*table(num_classes, dim))
    return proposal


def contexts(rows: int, dim: int = 4) -> torch.Tensor:
    return torch.randn(rows, dim, generator=generator(7)) * torch.linspace(0.1, 3, rows)[:, None]


def everything(num_classes: int, rows: int) -> torch.Tensor:
    return torch.arange(num_classes).expand(rows, -1)


# --- stated probabilities ---


@pytest.mark.numerics
@pytest.mark.parametrize("options", QUADRATIC, ids=str)
@pytest.mark.parametrize("num_classes", [1, 2, 3, 100])
def test_quadratic_is_the_kernel_over_its_sum(num_classes: int, options: dict[str, Any]) -> None:
    proposal, hidden = told(QuadraticKernelProposal, num_classes, **options), contexts(5)
    vectors, biases = (values.double().numpy() for values in table(num_classes))
    stated = proposal.log_prob(everything(num_classes, 5), hidden).numpy()
    for row, found in zip(hidden.double().numpy(), stated, strict=True):
        expected = oracles.quadratic_kernel_log_prob(row, vectors, biases, options.get("alpha", 1.0))
        np.testing.assert_allclose(found, expected, atol=3e-6)


@pytest.mark.parametrize("wrong", ["alpha", "bias", "bias squared"])
def test_the_test_of_the_kernel_can_fail(wrong: str) -> None:
    proposal, hidden = told(QuadraticKernelProposal, 100), contexts(1)
    vectors, biases = (values.double().numpy() for values in table(100))
    row, alpha = hidden[0].double().numpy(), 1.0
    if wrong == "alpha":
        alpha = 1.1
    elif wrong == "bias":
        biases = -biases
    else:
        vectors, row, biases = np.c_[vectors, biases], np.append(row, 1.0), 0 * biases
    expected = oracles.quadratic_kernel_log_prob(row, vectors, biases, alpha)
    assert np.abs(proposal.log_prob(torch.arange(100), hidden).numpy() - expected).max() > 1e-3


@pytest.mark.numerics
@pytest.mark.parametrize("options", FOURIER, ids=str)
@pytest.mark.parametrize("num_classes", [1, 2, 3, 100])
def test_fourier_is_the_walk_down_its_tree(num_classes: int, options: dict[str, Any]) -> None:
    proposal, hidden = told(RandomFourierProposal, num_classes, **options), contexts(5)
    vectors, biases = (values.double().numpy() for values in table(num_classes))
    stated = proposal.log_prob(everything(num_classes, 5), hidden).numpy()
    frequencies = proposal.frequencies.double().numpy()
    for row, found in zip(hidden.double().numpy(), stated, strict=True):
        expected = oracles.random_fourier_log_prob(
            row, vectors, biases, frequencies, proposal.nu, proposal.tree.num_buckets
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fourier_comes_near_to_its_kernel_as_features_grow() -> None:
    """The RMS distance of bucket masses from the exponential kernel halves with four times the features."""
    vectors, _ = table(64)
    hidden = contexts(200)
    unit = torch.nn.functional.normalize
    cosines = unit(hidden.double(), dim=1) @ unit(vectors.double(), dim=1).t()
    kernel = (2.0 * cosines - 2.0).exp()  # with one class per bucket its mass is its kernel plus the floor
    distances = []
    for number in (64, 256, 1024, 4096):
        proposal = RandomFourierProposal(64, 4, nu=2.0, num_frequencies=number, bucket_size=1)
        proposal.update(vectors, None)
        query = proposal._query(hidden.double())
        found = (query.features @ proposal.tree.sums[64:].double().t()).clamp(min=0)
        distances.append((found - kernel).square().mean().sqrt().item())
    slope = np.polyfit(np.log([64, 256, 1024, 4096]), np.log(distances), 1)[0]
    assert -0.62 < slope < -0.38
    assert distances[-1] < 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [1, 2, 3, 1000])
def test_draws_follow_hidden_vectors(kind: Kind, num_classes: int) -> None:
    """A million draws for each of three hidden vectors, and for their mixture."""
    options = {"num_frequencies": 12} if kind is RandomFourierProposal else {}
    proposal, hidden = told(kind, num_classes, bucket_size=4, **options), contexts(3)
    stated = proposal.log_prob(everything(num_classes, 3), hidden)
    drawn = proposal.sample(10**6, num_rows=3, context=hidden, generator=generator(1)).ids
    for row in range(3):
        assert pvalue(drawn[row], stated[row]) > FALSE_ALARM
        if num_classes == 1000:
            assert pvalue(drawn[row], stated[row - 1]) < FALSE_ALARM
    mixture = stated.logsumexp(0) - math.log(3)
    torch.testing.assert_close(proposal.log_prob(torch.arange(num_classes), hidden), mixture, rtol=0, atol=3e-6)
    shared = proposal.sample(10**6, context=hidden, generator=generator(2)).ids
    assert pvalue(shared, mixture) > FALSE_ALARM


@pytest.mark.parametrize("kind", KINDS)
def test_how_many_are_asked_for_does_not_matter(kind: Kind) -> None:
    """Few classes are looked up one by one, many by whole levels and in chunks of rows."""
    proposal, hidden = told(kind, 3000, bucket_size=2), contexts(40)
    whole = proposal.log_prob(everything(3000, 40), hidden)
    for m in (1, 3, 50, 700):
        ids = torch.randint(3000, (40, m), generator=generator(m))
        torch.testing.assert_close(proposal.log_prob(ids, hidden), whole.gather(1, ids), rtol=0, atol=1e-9)
        mixture = whole.logsumexp(0) - math.log(40)
        torch.testing.assert_close(proposal.log_prob(ids[0], hidden), mixture[ids[0]], rtol=0, atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_make_no_difference(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the sums, computing probabilities and drawing all work in chunks."""
    whole, hidden = told(kind, 300, bucket_size=3), contexts(6)
    stated = whole.log_prob(everything(300, 6), hidden)
    monkeypatch.setattr(kernel, "_CHUNK", 1000)
    monkeypatch.setattr(feature_tree, "_CHUNK", 200)
    proposal = told(kind, 300, bucket_size=3)
    torch.testing.assert_close(proposal.tree.sums[1:], whole.tree.sums[1:])
    torch.testing.assert_close(proposal.log_prob(everything(300, 6), hidden), stated, rtol=0, atol=1e-5)
    drawn = proposal.sample(20_000, num_rows=6, context=hidden, generator=generator(1)).ids
    assert all(pvalue(row, own) > FALSE_ALARM for row, own in zip(drawn, stated, strict=True))


# --- updates of the vectors ---


@pytest.mark.numerics
@pytest.mark.parametrize("kind", KINDS)
def test_updates_equal_a_fresh_build(kind: Kind) -> None:
    vectors, biases = table(300)
    proposal, hidden = kind(300, 4, bucket_size=3), contexts(4)
    uniform = torch.full((4, 300), -math.log(300), dtype=torch.float64)
    torch.testing.assert_close(proposal.log_prob(everything(300, 4), hidden), uniform, rtol=0, atol=1e-6)
    proposal.update(vectors, biases)
    before = uniform
    for seed in range(5):
        ids = torch.randint(300, (20,), generator=generator(seed))  # with duplicates
        new_vectors, new_biases = table(300, seed=seed + 1)
        vectors[ids], biases[ids] = new_vectors[ids], new_biases[ids]
        proposal.update(vectors, biases, ids)
        fresh = kind(300, 4, bucket_size=3)
        fresh.update(vectors, biases)
        torch.testing.assert_close(proposal.tree.sums, fresh.tree.sums)
        found, expected = (each.log_prob(everything(300, 4), hidden) for each in (proposal, fresh))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert (before - found).abs().max() > 0.1  # a missed update would be detected
        before = found


@pytest.mark.parametrize("kind", KINDS)
def test_state_holds_the_vectors(kind: Kind) -> None:
    proposal, hidden = told(kind, 100), contexts(3)
    stated = proposal.log_prob(everything(100, 3), hidden)
    options = {"seed": 5} if kind is RandomFourierProposal else {}
    other = kind(100, 4, device="meta", **options).to_empty(device="cpu")
    other.load_state_dict(proposal.state_dict(), strict=True)
    if kind is RandomFourierProposal:
        assert torch.equal(other.log_prob(everything(100, 3), hidden), stated)
    other.reset_parameters()
    uniform = torch.full_like(stated, -math.log(100))
    torch.testing.assert_close(other.log_prob(everything(100, 3), hidden), uniform, rtol=0, atol=1e-6)
    assert proposal.half().vectors.dtype == torch.float32


@pytest.mark.numerics
@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_and_odd_vectors(kind: Kind) -> None:
    vectors, biases = table(50)
    vectors[0], vectors[1], biases[2] = 0, 1e4, 500
    proposal, hidden = kind(50, 4, bucket_size=3), contexts(3)
    hidden[0] = 0
    proposal.update(vectors, biases)
    stated = proposal.log_prob(everything(50, 3), hidden)
    assert stated.isfinite().all()
    torch.testing.assert_close(stated.exp().sum(1), torch.ones(3, dtype=torch.float64))
    assert proposal.sample(100, context=hidden, num_rows=3).log_expected_count.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_has_samples_to_share(kind: Kind) -> None:
    proposal, nobody = told(kind, 30), torch.zeros(0, 4)
    samples = proposal.sample(7, context=nobody)
    assert torch.equal(samples.ids.sort().values, samples.ids.sort().values.clamp(0, 29))
    beside = proposal.log_prob(samples.ids, torch.zeros(1, 4)) + math.log(7)
    torch.testing.assert_close(samples.log_expected_count, beside, rtol=0, atol=1e-6)
    assert proposal.sample(7, context=nobody, num_rows=0).ids.shape == (0, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_has_diverged_still_gets_classes(kind: Kind) -> None:
    """Probabilities are NaN, so that the loss shows the divergence instead of an index out of range."""
    proposal, hidden = told(kind, 50, bucket_size=3), contexts(3)
    vectors, biases = table(50)
    vectors[4] = math.nan
    proposal.update(vectors, biases)
    samples = proposal.sample(100, context=hidden, num_rows=3, generator=generator())
    assert samples.ids.min() >= 0 and samples.ids.max() < 50
    assert samples.log_expected_count.isnan().all()
    proposal.update(*table(50), ids=torch.tensor([4]))
    assert torch.equal(
        proposal.log_prob(samples.ids, hidden), told(kind, 50, bucket_size=3).log_prob(samples.ids, hidden)
    )


# --- errors ---


@pytest.mark.parametrize("name", ["quadratic-kernel", "random-fourier"])
def test_bad_input_is_told_clearly(name: str) -> None:
    with pytest.raises(InputError, match="in_features is missing"):
        PROPOSALS[name].from_counts([1, 2, 3])
    with pytest.raises(InputError, match="in_features is '4': give a whole number"):
        QuadraticKernelProposal(9, "4")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seed is -1: give a whole number"):
        RandomFourierProposal(9, 4, seed=-1)
    with pytest.raises(InputError, match="bucket_size is 0"):
        PROPOSALS[name].from_counts([1, 2, 3], in_features=2, bucket_size=0)
    proposal: Proposal = PROPOSALS[name].from_counts([1, 0, 3], in_features=2)
    for context in (None, torch.zeros(3, 4), torch.zeros(2)):
        with pytest.raises(InputError, match=r"hidden vectors \(N, 2\)"):
            proposal.sample(2, context=context)
    with pytest.raises(InputError, match="num_rows is 3 for 2 hidden vectors"):
        proposal.sample(2, num_rows=3, context=torch.zeros(2, 2))
    with pytest.raises(InputError, match="ids has 3 rows for 2 hidden vectors"):
        proposal.log_prob(torch.zeros(3, 1, dtype=torch.int64), torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"weight is .*: give a tensor of shape \(3, 2\)"):
        proposal.update(torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"bias is .*: give a tensor of shape \(3,\)"):
        proposal.update(torch.zeros(3, 2), torch.zeros(2))


def test_bad_options_are_told_clearly() -> None:
    with pytest.raises(InputError, match="alpha is -1"):
        QuadraticKernelProposal(3, 2, alpha=-1)
    with pytest.raises(InputError, match="nu is nan"):
        RandomFourierProposal(3, 2, nu=math.nan)
    with pytest.raises(InputError, match="num_frequencies is 0"):
        RandomFourierProposal(3, 2, num_frequencies=0)
    with pytest.raises(InputError, match="in_features is 0"):
        RandomFourierProposal(3, 0)
