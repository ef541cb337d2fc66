"""Tables of vectors: rows in fewer bytes than float32, decoded on access."""
