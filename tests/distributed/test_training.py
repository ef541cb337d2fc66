"""Language models that several processes train together."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.processes import run
from tests.distributed.training import ADAM, SGD

FAST: list[dict[str, Any]] = [
    {"job": "averaged"},
    {"name": "full", "spread": True, **SGD},
    {"name": "full", "spread": False, **ADAM},
    {"name": "hierarchical", "spread": True, **ADAM},
    {"name": "hierarchical", "spread": False, "rows": 1},
    {"name": "sampled", "spread": True, "options": {"num_samples": 5}, **ADAM},
    {"name": "adaptive", "spread": False, "options": {"cutoffs": [8, 20]}, "model": {"kind": "feed-forward"}, **SGD},
    {"job": "resumed", "name": "full", **ADAM},
    {"job": "resumed_as_if_never_stopped", "name": "sampled", "spread": False},
    {"job": "stopped_by_one"},
    {"job": "by_the_clock"},
]
EXACT = {
    "full": {},
    "hierarchical": {},
    "class-based": {},
    "adaptive": {"cutoffs": [8, 20]},
    "differentiated": {"cutoffs": [8, 20]},
    "self-normalized": {},
    "partial": {"head": 5, "tail": 8},
}
SHARED = {
    "sampled": {"num_samples": 5},
    "nce": {"num_samples": 5, "shared": True},
    "negative-sampling": {"num_samples": 5, "shared": True},
    "blackout": {"num_samples": 5},
}
SLOW: list[dict[str, Any]] = [
    {"name": name, "spread": spread, "options": options, **more}
    for name, options in EXACT.items()
    for spread in (True, False)
    for more in ({}, ADAM, {**SGD, "batching": "sentence"}, {"rows": 1})
    if (name, spread) != ("partial", False)  # each process draws its own tail
]
SLOW += [
    {"name": name, "spread": True, "options": options, **more} for name, options in SHARED.items() for more in ({}, SGD)
]
SLOW += [{"name": "target-sampling", "spread": False, "num_candidates": 9, **more} for more in ({}, ADAM, {"rows": 1})]
SLOW += [
    {"name": name, "spread": False, "model": {"tie": True}, **more}
    for name in ("full", "class-based", "adaptive", "target-sampling")
    for more in ({}, ADAM)
]
SLOW += [
    {"name": "full", "spread": spread, "schedule": "plateau", "validations": 7, "patience": 2, "learning_rate": 1.0}
    for spread in (True, False)
]
SLOW += [{"job": "resumed", "name": name, **more} for name in ("hierarchical", "adaptive") for more in ({}, ADAM)]
SLOW += [
    {"job": "resumed_as_if_never_stopped", "name": name, "spread": spread}
    for name in ("full", "adaptive-importance", "infrequent-normalized")
    for spread in (True, False)
]
SLOW += [{"job": "own_draws"}, {"job": "averaged"}, {"job": "stopped_by_one"}, {"job": "by_the_clock"}]


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    well, printed = run("training", tmp_path, 2, *map(json.dumps, FAST))
    assert well, printed


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_processes_train_as_one_does(tmp_path: Path, size: int) -> None:
    well, printed = run("training", tmp_path, size, *map(json.dumps, SLOW))
    assert well, printed
