"""Tables of vectors: rows that take fewer bytes than float32, and are decoded as they are read."""
