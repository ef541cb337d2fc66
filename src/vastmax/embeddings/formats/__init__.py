"""Embeddings on disk: our folder, and the formats of other programs."""
