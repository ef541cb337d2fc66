"""Infrastructure of long runs: the loop, checkpoints, graceful stop, progress, output folder, processes."""

from vastmax.runs.checkpoint import (
    CHECKPOINT_TENSORS,
    Checkpoint,
    differences,
    holds_checkpoint,
    plain,
)
from vastmax.runs.model_state import (
    arrays_of,
    built_of_at_most,
    load_model_tensors,
    model_tensors,
    tensors_of,
    tensors_under,
)
from vastmax.runs.output import OutputFolder, check_room
from vastmax.runs.processes import (
    ALONE,
    EndedElsewhere,
    Processes,
    first_here,
    joined,
    leads,
    restarted,
    started_in_group,
    tells,
)
from vastmax.runs.progress import RECORDED, TrainingProgress
from vastmax.runs.run import Run, TrainingInterrupted
from vastmax.runs.stop import StopRequest, signals_held
from vastmax.runs.tensors import map_tensors, write_tensors

__all__ = [
    "ALONE",
    "CHECKPOINT_TENSORS",
    "RECORDED",
    "Checkpoint",
    "EndedElsewhere",
    "OutputFolder",
    "Processes",
    "Run",
    "StopRequest",
    "TrainingInterrupted",
    "TrainingProgress",
    "arrays_of",
    "built_of_at_most",
    "check_room",
    "differences",
    "first_here",
    "holds_checkpoint",
    "joined",
    "leads",
    "load_model_tensors",
    "map_tensors",
    "model_tensors",
    "plain",
    "restarted",
    "signals_held",
    "started_in_group",
    "tells",
    "tensors_of",
    "tensors_under",
    "write_tensors",
]
