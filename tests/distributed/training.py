"""Two processes train a language model as one does: step by step, with its output layer whole or spread."""

from __future__ import annotations

import copy
import math
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from tests.language.loops import TEXT, StopAfter, small_model
from vastmax.distributed import shard_classes, unshard
from vastmax.language import Columns, LanguageModel, LanguageModelLoop, LoopOptions, make_batches, perplexity
from vastmax.runs import ALONE, Processes


def train(
    model: LanguageModel, processes: Processes, steps: float = math.inf, rows: int = 3, **options: Any
) -> LanguageModelLoop:
    batching = options.pop("batching", "stream")
    given = LoopOptions(**{"epochs": 2, "learning_rate": 0.3, **options})
    batches = make_batches(batching, TEXT, rows=rows, length=20, end=1, seed=3)

    def validate(model: LanguageModel) -> float:
        columns = Columns(processes.rank, processes.size)
        return perplexity(model, TEXT[:90], end=1, rows=rows, batching=batching, columns=columns).perplexity

    loop = LanguageModelLoop(model, batches, given, validate=validate, processes=processes)
    with StopAfter(steps) as stop:
        loop.run(stop)
    return loop


def same_run(processes: Processes, mesh: DeviceMesh | None, alone: DeviceMesh, name: str, **more: Any) -> None:
    options, given = more.pop("options", {}), more.pop("model", {})
    model = small_model(name, options, **given).double()
    reference = copy.deepcopy(model)
    if mesh is not None:
        shard_classes(model.output, mesh)
        shard_classes(reference.output, alone)
    wanted, found = train(reference, ALONE, **more), train(model, processes, **more)
    if mesh is not None:
        assert any(isinstance(each, DTensor) for each in model.output.parameters())
        for each in (model, reference):
            unshard(each.output)
    what = f"{name} {options} {more} {'spread' if mesh else 'whole'}"
    for (label, mine), other in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10, msg=lambda text: f"{what}, {label}: {text}")
    assert len(found.curve) == len(wanted.curve) >= 2
    for mine, other in zip(found.curve, wanted.curve, strict=True):
        for key in mine.keys() - {"seconds"}:
            np.testing.assert_allclose(mine[key], other[key], rtol=1e-9, err_msg=f"{what}, {key}")


if __name__ == "__main__":
    number, count, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=store, rank=number, world_size=count, timeout=timedelta(seconds=60)
    )
    everyone = init_device_mesh("cpu", (count,))
    groups = [distributed.new_group([rank]) for rank in range(count)]
    one = DeviceMesh.from_group(groups[number], "cpu")
    import json

    for text in sys.argv[4:]:
        job = json.loads(text)
        try:
            same_run(Processes(number, count, number), everyone if job.pop("spread") else None, one, **job)
            print("ok", text, flush=True)
        except Exception:
            import traceback

            print("FAIL", text, traceback.format_exc()[-1500:], flush=True)
            distributed.barrier()
    distributed.destroy_process_group()
