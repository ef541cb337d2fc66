"""The compiled sum tree against torch's: the same leaves and bitwise equal sums."""

import numpy as np
import pytest
import torch

from vastmax import ops

SIZES = [1, 2, 3, 5, 8, 100, 4097, 70_001]


def tree(size: int, seed: int = 0) -> torch.Tensor:
    """Return the sums over weights of very different magnitudes, a third of them 0."""
    generator = np.random.default_rng(seed)
    weights = generator.random(size) ** 12 * (generator.random(size) > 1 / 3)
    sums = torch.zeros(2 * size, dtype=torch.float64)
    sums[size:] = torch.from_numpy(weights)
    ops.add_up(sums)
    return sums


def ranges(size: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    ends = torch.randint(size + 1, (rows, 2), generator=torch.Generator().manual_seed(size)).sort(1).values
    ends[0] = torch.tensor([0, size])
    return ends[:, 0].contiguous(), ends[:, 1].contiguous()


def drawn(backend: str, sums: torch.Tensor, *given: torch.Tensor | None) -> torch.Tensor:
    with ops.using(tree_draws=backend):
        return ops.tree_draws(sums, *given)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("of_ranges", [False, True])
def test_both_backends_draw_the_same(size: int, of_ranges: bool) -> None:
    sums, chance = tree(size), torch.Generator().manual_seed(1)
    rows = 40 if of_ranges else 3
    chances = torch.rand(rows, 1500, dtype=torch.float64, generator=chance)
    chances[:, 0], chances[:, 1] = 0, 1 - 2**-53
    given = ranges(size, rows) if of_ranges else (None, None)
    found = drawn("compiled", sums, *given, chances)
    assert torch.equal(found, drawn("torch", sums, *given, chances))
    assert torch.equal(found[:, ::3], drawn("compiled", sums, *given, chances[:, ::3]))  # strides
    weights = sums[size:]
    assert bool((weights[found[found >= 0]] > 0).all())
    assert drawn("compiled", sums, *given, chances[:, :0]).shape == (rows, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.001, 0.5])
def test_both_backends_add_up_the_same(size: int, share: float) -> None:
    generator = torch.Generator().manual_seed(size)
    ids = torch.randint(size, (max(1, int(share * size)),), generator=generator)
    weights = torch.rand(len(ids), dtype=torch.float64, generator=generator)
    found = []
    for backend in ("torch", "compiled"):
        sums = tree(size)
        version = sums._version
        with ops.using(tree_update=backend):
            ops.tree_update(sums, ids, weights)
            ops.tree_update(sums, ids[:0], weights[:0])
        assert sums._version > version
        found.append(sums)
    assert torch.equal(*found)
    last = dict(zip(ids.tolist(), weights.tolist(), strict=True))
    assert all(found[0][size + i] == weight for i, weight in last.items())


def test_threads_change_nothing() -> None:
    sums, chances = tree(70_001), torch.rand(2, 20_000, dtype=torch.float64)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(drawn("compiled", sums, *ranges(70_001, 2), chances))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_what_is_no_tree_of_this_machine_is_torchs() -> None:
    assert ops.backend_of("tree_draws", torch.zeros(4, dtype=torch.float64)) == "compiled"
    assert ops.backend_of("tree_draws", torch.zeros(4)) == "torch"
    assert ops.backend_of("tree_update", torch.zeros(8, dtype=torch.float64)[::2]) == "torch"
    assert ops.backend_of("tree_draws", torch.zeros(4, dtype=torch.float64, device="meta")) == "torch"
