"""Gold standards of embeddings: analogies and word similarity."""
