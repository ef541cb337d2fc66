"""Embeddings on disk: the folder format of vastmax, and the formats of other programs."""
