"""``python -m tests.campaign``: every part for its share of the time, and a line of figures for the log."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from tests.campaign.deaths import deaths
from tests.campaign.faults import faults
from tests.campaign.figures import Figures, log
from tests.campaign.kills import kills
from tests.campaign.mutants import mutants, settle

PARTS: dict[str, Callable[[int, float], Figures]] = {
    "mutants": mutants,
    "deaths": deaths,
    "kills": kills,
    "faults": faults,
}
"""Called with a seed and a time limit in seconds; a part finishes what it has begun when the time is over."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all parts together (60)")
    parser.add_argument("--seed", type=int, help="of all chance; that of a run that found something repeats it")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--no-log", action="store_true", help="leave the log as it is")
    parser.add_argument("--settle", action="store_true", help="only see which of the open finds are mended by now")
    given = parser.parse_args()
    if given.settle:
        return bool(settle().finds)
    seed = int(time.time()) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    began, found = time.monotonic(), {}
    for name in given.parts:
        print(f"{name} …", flush=True)
        found[name] = PARTS[name](seed, given.minutes * 60 / len(given.parts))
        figures = found[name]
        print(
            f"{name}: {figures.cases:,} cases, {len(figures.finds)} finds, at most {figures.worst_seconds:g} s and "
            f"{figures.worst_megabytes} MB a case",
            flush=True,
        )
    if not given.no_log:
        log(seed, (time.monotonic() - began) / 60, found)
    finds = {f"{name}: {find}": times for name, each in found.items() for find, times in each.finds.items()}
    for find, times in finds.items():
        print(f"{times:6,} x {find}")
    return bool(finds)


if __name__ == "__main__":
    raise SystemExit(main())
