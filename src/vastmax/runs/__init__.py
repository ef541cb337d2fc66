"""What any long run needs: a polite stop, progress, an output folder, sums of losses."""

from vastmax.runs.interrupt import StopRequest, TrainingInterrupted
from vastmax.runs.loss_sums import LossSums
from vastmax.runs.output import TORCH_STATE, OutputFolder, check_room
from vastmax.runs.progress import TrainingProgress

__all__ = [
    "TORCH_STATE",
    "LossSums",
    "OutputFolder",
    "StopRequest",
    "TrainingInterrupted",
    "TrainingProgress",
    "check_room",
]
