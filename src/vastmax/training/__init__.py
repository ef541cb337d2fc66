"""Training: gradient steps over the compiled core, and what keeps them safe."""

from vastmax.training.embedding_trainer import EmbeddingTrainer
from vastmax.training.options import EmbeddingOptions

__all__ = ["EmbeddingOptions", "EmbeddingTrainer"]
