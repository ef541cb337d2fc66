"""Every option of every sampled method has the optimum that is claimed for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.layers.optimum import METHODS, NIGHTLY, QUICK, cases_of, distance, few_cases_of, learnt, off
from vastmax.layers import TargetSampledSoftmax, inclusion, partitions
from vastmax.ops import Draws


@pytest.mark.numerics
@pytest.mark.parametrize("method", METHODS)
def test_the_optimum_is_what_is_claimed(method: str) -> None:
    """The cases cover every pair of options."""
    for case in few_cases_of(method):
        found, allowed = off(method, case, QUICK)
        assert found <= allowed, case


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_combination(method: str) -> None:
    wrong = [
        (found, allowed, case)
        for case in cases_of(method)
        for found, allowed in [off(method, case, NIGHTLY)]
        if found > allowed
    ]
    assert not wrong


# --- planted faults: each must move the optimum away from the claim ---

NONE = torch.zeros(0, dtype=torch.int64)
FAULTS: dict[str, Callable[[Draws], Draws]] = {
    "log Q the other way round": lambda draws: draws._replace(
        log_expected=-draws.log_expected, target_log_expected=-draws.target_log_expected
    ),
    "no log Q": lambda draws: draws._replace(
        log_expected=0 * draws.log_expected, target_log_expected=0 * draws.target_log_expected
    ),
    "hits removed where they must stay": lambda draws: draws._replace(distinct=True),
    "hits kept where they must go": lambda draws: draws._replace(hits=(NONE, NONE)),
}


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("sampled", "log Q the other way round"),
        ("sampled", "no log Q"),
        ("sampled", "hits kept where they must go"),
        ("sampled, target corrected", "log Q the other way round"),
        ("sampled, target corrected", "no log Q"),
        ("sampled, target corrected", "hits removed where they must stay"),
        ("nce", "log Q the other way round"),
        ("nce", "no log Q"),
        ("blackout", "log Q the other way round"),
        ("blackout", "hits removed where they must stay"),
        ("negative sampling", "hits kept where they must go"),
        ("importance", "log Q the other way round"),
    ],
)
def test_a_fault_is_found(method: str, fault: str) -> None:
    case = {"proposal": "unigram^0.75", "k": 32, "drawn": "by row", "replacement": True, "positives": 1}
    found, allowed = off(method, case, QUICK, fault=FAULTS[fault])
    assert found > 1.3 * allowed


# --- target sampling: the candidates of partitions ---


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize(
    ("positives", "options"),
    [(1, {"common": [0, 5]}), (3, {"bias": False, "sparse": False, "block_size": 3})],
)
def test_partitions_have_the_optimum_that_is_claimed(positives: int, options: dict[str, Any], corrected: bool) -> None:
    """log P with the correction, log P - log π without, up to differences of partitions; batches may span cuts."""
    number, generator = 40, torch.Generator().manual_seed(0)
    truth = 1 / torch.arange(3, number + 3, dtype=torch.float64)
    target = torch.multinomial(truth, 2400, replacement=True, generator=generator)
    truth = torch.bincount(target, minlength=number) / len(target)
    batches = target.view(-1, positives).split(30 // positives)
    layer = TargetSampledSoftmax(1, number, correct_inclusion=corrected, dtype=torch.float64, **options)
    cut = partitions(batches, 20, between_batches=True)
    share = inclusion(cut, number)
    share[options.get("common", [])] = 1
    start = truth.log() - (0 if corrected else torch.from_numpy(share).log())

    def prepared(generator: torch.Generator) -> Iterator[tuple[Tensor, None]]:
        for batch, _ in zip(batches, layer.prepare(batches, num_candidates=20), strict=False):
            yield (batch.squeeze(1) if positives == 1 else batch), None

    moved = learnt(layer, start, prepared, steps=8, truth=truth) - start
    assert distance(False, moved, truth) < 0.03
    if corrected:  # the two claims are far apart
        assert distance(False, -torch.from_numpy(share).log(), truth) > 0.1


# --- several positives per row: none is a sample of the others ---
