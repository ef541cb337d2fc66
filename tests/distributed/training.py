"""Processes that train a language model together match one that trains alone, also when stopped and resumed."""

from __future__ import annotations

import copy
import json
import math
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from tests.language.loops import TEXT, StopAfter, small_model
from vastmax.distributed import Together, shard_classes, unshard
from vastmax.language import (
    LSTM,
    Columns,
    FeedForward,
    LanguageModel,
    LanguageModelLoop,
    LoopOptions,
    make_batches,
    perplexity,
)
from vastmax.runs import ALONE, Processes, TrainingInterrupted

ADAM = {"optimizer": "adam", "learning_rate": 0.01}
SGD = {"optimizer": "sgd", "learning_rate": 2.0, "schedule": "constant", "max_norm": 0.3}
MODELS = {"lstm": LSTM, "feed-forward": FeedForward}


class Group(NamedTuple):
    """The processes, a mesh of all of them, and a mesh of this process alone."""

    processes: Processes
    everyone: DeviceMesh
    alone: DeviceMesh
    folder: Path


def model_of(
    name: str, spread: DeviceMesh | None, options: dict[str, Any] | None = None, **given: Any
) -> LanguageModel:
    kind = MODELS[given.pop("kind", "lstm")]
    model = small_model(name, options, kind=kind, **given).double()
    if spread is not None:
        shard_classes(model.output, spread)
    return model


def loop_of(
    model: LanguageModel,
    processes: Processes,
    folder: Path | None = None,
    *,
    rows: int = 3,
    batching: Any = "stream",
    **options: Any,
) -> LanguageModelLoop:
    given = LoopOptions(**{"epochs": 2, "learning_rate": 0.3, **options})
    batches = make_batches(batching, TEXT, rows=rows, length=20, end=1, seed=3)
    columns = Columns(processes.rank, processes.size)

    def validate(model: LanguageModel) -> float:
        report = perplexity(
            model,
            TEXT[:90],
            end=1,
            rows=rows,
            batching=batching,
            columns=columns,
            progress=lambda _: loop.meanwhile("validating"),
        )
        assert len(report.target) == 90 and report.target.tolist() == TEXT[:90].tolist()
        return report.perplexity

    loop = LanguageModelLoop(model, batches, given, validate=validate, processes=processes, checkpoint=folder)
    return loop


def run(loop: LanguageModelLoop, steps: float = math.inf) -> LanguageModelLoop:
    """Train to the end, or until the stop request was checked this many times."""
    try:
        with StopAfter(steps) as stop:
            loop.run(stop)
    except TrainingInterrupted as stopped:
        assert math.isfinite(steps) and stopped.checkpoint is not None
    return loop


def same(mine: LanguageModel, other: LanguageModel, **near: float) -> None:
    for each in (mine, other):
        if any(isinstance(table, DTensor) for table in each.output.parameters()):
            unshard(each.output)
    wanted = other.state_dict()
    for name, tensor in mine.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], **(near or {"rtol": 1e-9, "atol": 1e-10}), msg=_naming(name))


def _naming(name: str) -> Callable[[str], str]:
    return lambda text: f"{name}: {text}"


def same_curve(found: LanguageModelLoop, wanted: LanguageModelLoop) -> None:
    assert len(found.curve) == len(wanted.curve) >= 2 and found.words == wanted.words
    for mine, other in zip(found.curve, wanted.curve, strict=True):
        for key in mine.keys() - {"seconds"}:
            np.testing.assert_allclose(mine[key], other[key], rtol=1e-9, err_msg=key)


def as_one(
    group: Group,
    name: str,
    spread: bool,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **training: Any,
) -> None:
    """All processes learn what one learns; its draws are those of a layer sharded over a mesh of one process."""
    mine = model_of(name, group.everyone if spread else None, options, **(model or {}))
    other = model_of(name, group.alone if spread else None, options, **(model or {}))
    assert any(isinstance(each, DTensor) for each in mine.output.parameters()) == spread
    begun = copy.deepcopy(other.recurrent.state_dict() if isinstance(other, LSTM) else {})
    found = run(loop_of(mine, group.processes, **training))
    wanted = run(loop_of(other, ALONE, **training))
    assert not any(torch.equal(each, other.state_dict()[f"recurrent.{name}"]) for name, each in begun.items())
    same(mine, other)
    same_curve(found, wanted)


def resumed(group: Group, name: str, **training: Any) -> None:
    """Resume from several processes on one, from one on several, and between a sharded and an unsharded layer."""
    wanted = model_of(name, None)
    reference = run(loop_of(wanted, ALONE, **training))
    processes, rank = group.processes, group.processes.rank
    label = "-".join([name, *map(str, training.values())])
    ways: list[tuple[Processes, bool, float]] = [
        (processes, True, 3),
        (ALONE, False, 2),
        (processes, False, 3),
        (processes, True, math.inf),
    ]
    for place, (together, spread, steps) in enumerate(ways):
        model = model_of(name, group.everyone if spread else None)
        before, folder = (group.folder / f"{label}-{place - back}" for back in (1, 0))
        if together is ALONE:  # each resumes by itself
            folder = group.folder / f"{label}-{place}-{rank}"
        if place:
            came_from = before if before.exists() else group.folder / f"{before.name}-0"
            if rank == 0 or together is ALONE:
                shutil.copytree(came_from, folder)
            distributed.barrier()
            with torch.no_grad():  # everything must come from the checkpoint
                for each in model.output.parameters():
                    each.zero_()
        loop = loop_of(model, together, folder, **training)
        if place:
            loop.resume()
        run(loop, steps)
        assert loop.finished == math.isinf(steps)
        distributed.barrier()
    same(model, wanted)
    same_curve(loop, reference)


def resumed_as_if_never_stopped(group: Group, name: str, spread: bool) -> None:
    """On as many processes, dropout and draws included; bit-identical on two, where a sum has only one order."""
    mesh, options = group.everyone if spread else None, {"validations": 3}
    whole = model_of(name, mesh, dropout=0.3, layers=2)
    run(loop_of(whole, group.processes, **options))
    folder = group.folder / f"{name}-{spread}"
    for steps in (2, 3, math.inf):
        torch.manual_seed(77 + group.processes.rank)
        model = model_of(name, mesh, dropout=0.3, layers=2)
        loop = loop_of(model, group.processes, folder, **options)
        if folder.exists():
            loop.resume()
        run(loop, steps)
        distributed.barrier()
    same(model, whole, **({"rtol": 0, "atol": 0} if group.processes.size == 2 else {}))


def stopped_by_one(group: Group) -> None:
    """If one process is asked to stop, all stop at the same place, also within a validation."""
    for steps in (3, 6, 7):
        loop = loop_of(model_of("full", None), group.processes, group.folder / f"stopped-{steps}", validations=40)
        run(loop, steps if group.processes.rank == 1 else 10**6)
        (first, *others) = group.processes.gather([loop.words, len(loop.curve)])
        assert all(each == first for each in others) and first[0] and not loop.finished


def by_the_clock(group: Group) -> None:
    """Clocks differ between processes, but decisions by the clock agree."""
    loop = loop_of(model_of("full", group.everyone), group.processes, minutes=0.02, validations=3, schedule="linear")
    if group.processes.rank:
        loop.seconds = 0.2
    run(loop)
    first, *others = group.processes.gather([loop.words, len(loop.curve), loop.learning_rate])
    assert all(each == first for each in others) and first[1] == 3


def own_draws(group: Group) -> None:
    """With a replicated layer, each process draws its own samples, and all learn the same from all draws."""
    for name, options, rows in (
        ("sampled", {"num_samples": 5}, 3),
        ("sampled", {"num_samples": 5, "proposal": "quadratic-kernel"}, 3),
        ("negative-sampling", {}, 1),
        ("adaptive-importance", {"num_samples": 16}, 3),
        ("adaptive-importance", {"num_samples": 16}, 1),
    ):
        model = model_of(name, None, options)
        before = perplexity(model, TEXT[:90], end=1).perplexity
        loop = run(loop_of(model, group.processes, epochs=4, rows=rows))
        assert loop.curve[-1]["valid_perplexity"] < 0.9 * before, (name, loop.curve, before)  # type: ignore[operator]
        for key, each in model.state_dict().items():
            of_first = each.clone()
            distributed.broadcast(of_first, 0)
            assert torch.allclose(of_first, each, rtol=1e-12, atol=1e-12), (name, key)
        draws = torch.rand(4)
        of_first = draws.clone()
        distributed.broadcast(of_first, 0)
        assert torch.equal(of_first, draws) == (group.processes.rank == 0)


def averaged(group: Group) -> None:
    """Gradients are averaged over processes: rows that some have, rows that none has, replicated values."""
    torch.manual_seed(3)
    table = torch.nn.Embedding(6, 2, sparse=True)
    model = torch.nn.Sequential(table, torch.nn.Linear(2, 1)).double()
    rank, size = group.processes.rank, group.processes.size
    with torch.no_grad():
        model[1].weight += rank  # all start from the first one's weights
    output = model_of("full", None).output
    together = Together(model, output)
    alone = copy.deepcopy(model)
    rows = [[1, 1, 4], [4, 5], [0]]
    for _ in range(2):
        together(torch.tensor(rows[rank])).sum().backward()
        together.average()
        (sum(alone(torch.tensor(rows[each])).sum() for each in range(size)) / size).backward()  # type: ignore[union-attr]
        for mine, other in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine.grad.to_dense(), other.grad.to_dense())  # type: ignore[union-attr]
        assert table.weight.grad is not None and table.weight.grad.is_coalesced()
        model.zero_grad()
        alone.zero_grad()
        rows = [[2], [2], [2]]


JOBS: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (as_one, resumed, resumed_as_if_never_stopped, stopped_by_one, by_the_clock, own_draws, averaged)
}


if __name__ == "__main__":
    number, count, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=store, rank=number, world_size=count, timeout=timedelta(seconds=60)
    )
    line = init_device_mesh("cpu", (count,))
    singles = [distributed.new_group([rank]) for rank in range(count)]
    place = Path(store.removeprefix("file://")).parent
    here = Group(Processes(number, count, number), line, DeviceMesh.from_group(singles[number], "cpu"), place)
    for text in sys.argv[4:]:
        job = json.loads(text)
        print(text, flush=True)  # the last one printed is the failed one
        JOBS[job.pop("job", "as_one")](here, **job)
        distributed.barrier()
    distributed.destroy_process_group()
