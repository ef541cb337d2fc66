"""Evaluation of embeddings on gold standards: analogies, word similarity and translation."""
