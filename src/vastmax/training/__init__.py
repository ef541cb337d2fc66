"""Gradient steps: options, the embedding trainer over the compiled core, checkpoints, and `train` around them."""

from vastmax.training.embedding_trainer import EmbeddingTrainer
from vastmax.training.interrupt import TrainingInterrupted
from vastmax.training.options import EmbeddingOptions
from vastmax.training.progress import TrainingProgress
from vastmax.training.train_embeddings import train

__all__ = [
    "EmbeddingOptions",
    "EmbeddingTrainer",
    "TrainingInterrupted",
    "TrainingProgress",
    "train",
]
