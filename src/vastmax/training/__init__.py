"""Gradient steps: the embedding trainer over the compiled core, the loop over torch models, checkpoints of both."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vastmax.training.embedding_trainer import EmbeddingTrainer
from vastmax.training.interrupt import StopRequest, TrainingInterrupted
from vastmax.training.loop_options import LoopOptions
from vastmax.training.options import EmbeddingOptions
from vastmax.training.output import OutputFolder, check_room
from vastmax.training.progress import TrainingProgress
from vastmax.training.train_embeddings import train

if TYPE_CHECKING:
    from vastmax.training.batches import Batch, Batching, SentenceBatches, StreamBatches, make_batches
    from vastmax.training.model_loop import LanguageModelLoop
    from vastmax.training.torch_optimizers import OPTIMIZERS, SparseAwareOptimizer, sparse_parameters
    from vastmax.training.torch_state import holds_state, load_model_tensors, load_state, model_tensors, tensors_under

__all__ = [
    "OPTIMIZERS",
    "Batch",
    "Batching",
    "EmbeddingOptions",
    "EmbeddingTrainer",
    "LanguageModelLoop",
    "LoopOptions",
    "OutputFolder",
    "SentenceBatches",
    "SparseAwareOptimizer",
    "StopRequest",
    "StreamBatches",
    "TrainingInterrupted",
    "TrainingProgress",
    "check_room",
    "holds_state",
    "load_model_tensors",
    "load_state",
    "make_batches",
    "model_tensors",
    "sparse_parameters",
    "tensors_under",
    "train",
]

# What needs torch is loaded when it is asked for: embeddings train without.
_OVER_TORCH = {
    "OPTIMIZERS": "torch_optimizers",
    "Batch": "batches",
    "Batching": "batches",
    "LanguageModelLoop": "model_loop",
    "SentenceBatches": "batches",
    "SparseAwareOptimizer": "torch_optimizers",
    "StreamBatches": "batches",
    "holds_state": "torch_state",
    "load_model_tensors": "torch_state",
    "load_state": "torch_state",
    "make_batches": "batches",
    "model_tensors": "torch_state",
    "sparse_parameters": "torch_optimizers",
    "tensors_under": "torch_state",
}


def __getattr__(name: str) -> Any:
    if name not in _OVER_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OVER_TORCH[name]}"), name)
