"""What any long run needs: the base of its loop, checkpoints, a polite stop, progress, an output folder."""

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
from vastmax.runs.progress import RECORDED, TrainingProgress
from vastmax.runs.run import Run, StopRequest, TrainingInterrupted, signals_held
from vastmax.runs.tensors import map_tensors, write_tensors

__all__ = [
    "CHECKPOINT_TENSORS",
    "RECORDED",
    "Checkpoint",
    "OutputFolder",
    "Run",
    "StopRequest",
    "TrainingInterrupted",
    "TrainingProgress",
    "arrays_of",
    "built_of_at_most",
    "check_room",
    "differences",
    "holds_checkpoint",
    "load_model_tensors",
    "map_tensors",
    "model_tensors",
    "plain",
    "signals_held",
    "tensors_of",
    "tensors_under",
    "write_tensors",
]
