"""A short campaign, and proof that it finds planted faults: a minute on two cores."""

import time
from pathlib import Path

import pytest

from tests.campaign.deaths import deaths
from tests.campaign.figures import Figures
from tests.campaign.kills import kills
from tests.campaign.mutants import FINDS, cases, known, mutants, past_finds
from vastmax.machine import commit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory and files as Linux does"),
]


def seed_of_commit() -> int:
    """Derive the seed from the commit, so that a failure can be reproduced; without git, use the clock."""
    known = commit()
    return int(known.rstrip("+"), 16) if known else int(time.time())


def new_finds(figures: Figures) -> dict[str, int]:
    return {find: times for find, times in figures.finds.items() if not known(find)}


def test_planted_faults_of_readers_are_found(tmp_path: Path) -> None:
    found: dict[str, set[str]] = {}
    for case in cases("planted", "1", 60, tmp_path):
        found.setdefault(case["reader"], set()).add(case["find"])
        if len(found) == 5 and all(found[name] - {""} for name in found.keys() - {"refuses"}):
            break
    assert found["refuses"] == {""}
    believed, crash, memory, slow = (
        min(found[name] - {""}) for name in ("believes", "crashes", "fills memory", "spins")
    )
    assert believed.split()[0] in ("KeyError", "TypeError", "JSONDecodeError", "UnicodeDecodeError")
    assert crash == "crash (Fatal Python error: Segmentation fault)"
    assert memory == "more than 160 MB"
    assert slow == "more than 3 s"


def test_planted_faults_of_writers_are_found() -> None:
    found = set(deaths(1, 10, "planted").finds)
    assert "in place, over another: a mixture is found afterwards" in found
    assert any(find.startswith("leaving, first: the next write leaves *.tmp") for find in found)


def test_what_once_fell() -> None:
    figures = Figures()
    past_finds(figures)
    assert figures.cases == len(list(FINDS.glob("*/*"))) - len(list((FINDS / "open").glob("*")))
    assert not figures.finds


@pytest.mark.parametrize("part", [mutants, deaths, kills])
def test_a_short_campaign(part: object) -> None:
    seed = seed_of_commit()
    assert callable(part)
    figures = part(seed, 12)
    assert figures.cases > 0
    assert not new_finds(figures), f"seed {seed}"
